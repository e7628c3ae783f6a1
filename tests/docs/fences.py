"""The fenced blocks of the documents: what a reader would paste."""

from __future__ import annotations

import re
from dataclasses import dataclass

from tests.conftest import REPOSITORY

DOCUMENTS = tuple(
    str(path.relative_to(REPOSITORY))
    for folder in (REPOSITORY, REPOSITORY / "docs")
    for path in sorted(folder.glob("*.md"))
)
ADDRESS = "http://127.0.0.1:8000"
"""Where the documents' server listens."""

_FENCE = re.compile(r"^```([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Fence:
    document: str
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.document}:{self.line}"

    def at(self, url: str) -> str:
        """The text, for a server that listens at `url`."""
        return self.text.replace(ADDRESS, url)


def read(document: str) -> str:
    return (REPOSITORY / document).read_text()


def fences(*languages: str) -> list[Fence]:
    """Those of all documents; with `languages`, only of these."""
    found = []
    for document in DOCUMENTS:
        text = read(document)
        for match in _FENCE.finditer(text):
            line = text.count("\n", 0, match.start()) + 1
            found.append(Fence(document, line, match[1], match[2]))
    return [fence for fence in found if not languages or fence.language in languages]


def prose(document: str) -> str:
    """The document without its fenced blocks."""
    return _FENCE.sub("", read(document))
