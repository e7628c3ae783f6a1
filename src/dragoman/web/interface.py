"""What this server offers, described: `/openapi.json`, the page at `/docs` and its files.

Made at the first request for any of them, and kept. What makes them is imported then, too: nothing of
it costs a start anything.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import msgspec

from dragoman.ports import Dialect

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self';"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

Page = tuple[int, list[tuple[bytes, bytes]], bytes]

_STATIC = Path(__file__).parent / "static"
_STATIC_TYPES = {
    "page.css": b"text/css; charset=utf-8",
    "page.js": b"text/javascript; charset=utf-8",
    "icon.svg": b"image/svg+xml",
}
PATHS = ("/openapi.json", "/docs", *(f"/docs/{name}" for name in _STATIC_TYPES))


class InterfacePages:
    """The documents, by path, as they go over the wire."""

    def __init__(self, dialects: Sequence[Dialect], *, version: str, server_url: str) -> None:
        self._dialects = tuple(dialects)
        self._version = version
        self._server_url = server_url

    def page(self, path: str) -> Page | None:
        """Status, headers in lower case and body of the document at `path`, if there is one."""
        return self._pages.get(path)

    @cached_property
    def document(self) -> bytes:
        """The OpenAPI document."""
        from dragoman.web.openapi import describe_interface  # noqa: PLC0415 - see the module's top
        from dragoman.web.operations import operations  # noqa: PLC0415

        return describe_interface(
            operations(self._dialects), version=self._version, server_url=self._server_url
        )

    @cached_property
    def _pages(self) -> dict[str, Page]:
        from dragoman.web.docs_page import render_page  # noqa: PLC0415

        html = render_page(msgspec.json.decode(self.document)).encode()
        return {
            "/openapi.json": page_of(self.document, b"application/json"),
            "/docs": page_of(html, b"text/html; charset=utf-8"),
            **static_pages("/docs"),
        }


def static_pages(page_path: str) -> dict[str, Page]:
    """The files of a page at `page_path`, which stand below it."""
    return {
        f"{page_path}/{name}": page_of((_STATIC / name).read_bytes(), media_type)
        for name, media_type in _STATIC_TYPES.items()
    }


def page_of(body: bytes, media_type: bytes) -> Page:
    """A page as it goes over the wire."""
    etag = b'"%s"' % hashlib.sha256(body).hexdigest()[:32].encode()
    headers = [
        (b"content-type", media_type),
        (b"etag", etag),
        # Always asked for again, mostly answered with 304: an upgrade shows at once.
        (b"cache-control", b"no-cache"),
        (b"content-security-policy", CONTENT_SECURITY_POLICY.encode()),
        (b"x-content-type-options", b"nosniff"),
        (b"referrer-policy", b"no-referrer"),
    ]
    return 200, headers, body
