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
    "/docs/page.css": b"text/css; charset=utf-8",
    "/docs/page.js": b"text/javascript; charset=utf-8",
    "/docs/icon.svg": b"image/svg+xml",
}
PATHS = ("/openapi.json", "/docs", *_STATIC_TYPES)


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
        pages = {
            "/openapi.json": _page(self.document, b"application/json"),
            "/docs": _page(html, b"text/html; charset=utf-8"),
        }
        for path, media_type in _STATIC_TYPES.items():
            body = (_STATIC / path.removeprefix("/docs/")).read_bytes()
            pages[path] = _page(body, media_type)
        return pages


def _page(body: bytes, media_type: bytes) -> Page:
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
