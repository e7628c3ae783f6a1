"""What a model is told of a call, whatever came of it.

Results are text, and bounded. What cannot be shown as text is described.
"""

from __future__ import annotations

from typing import Literal

from dragoman.records.tool_server import ToolOutcome

Fault = Literal[
    "timeout",
    "unreachable",
    "invalid_arguments",
    "tool_failed",
    "garbled",
    "too_long",
    "unknown_tool",
]


class ToolFault(Exception):
    """A call came to nothing. The message is for the model: it names neither addresses nor secrets."""

    def __init__(self, word: Fault, message: str) -> None:
        super().__init__(message)
        self.word: Fault = word
        self.message = message

    def outcome(self, max_bytes: int) -> ToolOutcome:
        text, is_cut = cut(self.message, max_bytes)
        return ToolOutcome(text=text, is_error=True, error=self.word, is_cut=is_cut)


def told(text: str, max_bytes: int, *, is_longer: bool = False) -> ToolOutcome:
    """A result; `is_longer`: there was more of it than `text`."""
    shown, is_cut = cut(text, max_bytes, is_longer=is_longer)
    return ToolOutcome(text=shown or "(the result is empty)", is_cut=is_cut)


def cut(text: str, max_bytes: int, *, is_longer: bool = False) -> tuple[str, bool]:
    """`text` in at most `max_bytes` of UTF-8, and whether anything is missing; the end says so."""
    # No character takes less than a byte; half a surrogate pair is no character at all.
    data = text[: max_bytes + 1].encode("utf-8", "replace")
    if len(data) <= max_bytes and len(text) <= max_bytes and not is_longer:
        return data.decode(), False
    note = f"\n[cut: only the first part of a longer result, of at most {max_bytes} bytes]"
    kept = data[: max(max_bytes - len(note), 0)].decode("utf-8", "ignore")
    return (kept + note)[:max_bytes], True


def describe_binary(media_type: str, size: int | None) -> str:
    """Stands for what is no text."""
    kind = "".join(each for each in media_type[:100] if each.isprintable()) or "binary data"
    return f"[{kind}, {size} bytes: not shown]" if size is not None else f"[{kind}: not shown]"
