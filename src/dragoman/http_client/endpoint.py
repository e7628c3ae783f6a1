"""Where a request goes and what stands above its body, checked and encoded once for many requests.

Everything that could smuggle a second request (CR, LF and other control characters in a URL or a
header) is refused here, so that the hot path can join bytes without looking at them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import urlsplit

import msgspec

from dragoman.records.provider import Timeouts

Headers = Iterable[tuple[str, str]]

# https://www.rfc-editor.org/rfc/rfc9110#name-tokens
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
# https://www.rfc-editor.org/rfc/rfc9110#name-field-values, without the obsolete folding
_FIELD_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
_TARGET = re.compile(r"[\x21-\x7e]+")
_HOST = re.compile(r"[A-Za-z0-9._\-]+|[0-9A-Fa-f:.]+(%[A-Za-z0-9._\-]+)?")

# The client frames the body itself.
_OWN_HEADERS = frozenset({"content-length", "transfer-encoding", "host"})

DEFAULT_TIMEOUTS = Timeouts()


class Origin(msgspec.Struct, frozen=True, kw_only=True):
    """Who is spoken to: `host` and `port`, or the Unix socket at `socket_path`."""

    host: str
    port: int
    is_tls: bool = False
    socket_path: str | None = None

    def __str__(self) -> str:
        if self.socket_path is not None:
            return f"unix:{self.socket_path}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.is_tls else 'http'}://{host}:{self.port}"


class Endpoint:
    """A method, a URL and fixed headers. Made once, and used for any number of requests.

    `unix_socket` replaces the network: the URL's host is then only what the `Host` header says.
    Raises `ValueError`, which never repeats a header's value, when a part cannot be sent.
    """

    __slots__ = (
        "closes",
        "head",
        "is_head",
        "is_idempotent",
        "key",
        "max_connections",
        "origin",
        "proxied_head",
    )

    def __init__(
        self,
        method: str,
        url: str,
        headers: Headers = (),
        *,
        unix_socket: str | None = None,
        max_connections: int = 256,
    ) -> None:
        if not _TOKEN.fullmatch(method):
            raise ValueError("the method is not an HTTP token")
        origin, host, target = _parse_url(url, unix_socket)
        lines = b"Host: " + host + b"\r\nAccept-Encoding: identity\r\n" + encode_headers(headers)
        start = method.encode() + b" "
        self.origin = origin
        self.key = str(origin)
        self.max_connections = max_connections
        self.is_head = method == "HEAD"
        self.is_idempotent = method in {"GET", "HEAD", "OPTIONS", "PUT", "DELETE"}
        self.closes = b"\r\nconnection: close\r\n" in lines.lower()
        self.head = start + target + b" HTTP/1.1\r\n" + lines
        # https://www.rfc-editor.org/rfc/rfc9112#name-absolute-form
        self.proxied_head = start + b"http://" + host + target + b" HTTP/1.1\r\n" + lines

    def __repr__(self) -> str:
        return f"Endpoint({self.key!r})"


class HttpRequest(msgspec.Struct, frozen=True):
    """One use of an endpoint."""

    endpoint: Endpoint
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()
    """More headers, for this request alone."""
    timeouts: Timeouts = DEFAULT_TIMEOUTS
    max_body_bytes: int = 64 * 1024 * 1024
    """The longest answer that is accepted."""

    def __repr__(self) -> str:
        return f"HttpRequest({self.endpoint.key!r}, {len(self.body)} bytes)"


def encode_headers(headers: Headers) -> bytes:
    """Header lines in wire form; raises `ValueError` where one could break out of its line."""
    lines = []
    for name, value in headers:
        if not _TOKEN.fullmatch(name):
            raise ValueError(f"{name!r} is no header name")
        if name.lower() in _OWN_HEADERS:
            raise ValueError(f"header {name!r} is set by the client itself")
        if not _FIELD_VALUE.fullmatch(value):
            raise ValueError(f"the value of header {name!r} holds characters that cannot be sent")
        lines.append(f"{name}: {value}\r\n")
    return "".join(lines).encode("latin-1")


def _parse_url(url: str, unix_socket: str | None) -> tuple[Origin, bytes, bytes]:
    """The origin, the `Host` header's value, and the request target."""
    if not _TARGET.fullmatch(url):
        raise ValueError("the URL holds blanks, control or non-ASCII characters")
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"}:
        raise ValueError(f"URL scheme {parts.scheme!r} is not http or https")
    if parts.username is not None:
        raise ValueError("the URL holds a user name; credentials belong in a header")
    host = parts.hostname
    if not host or not _HOST.fullmatch(host):
        raise ValueError("the URL names no valid host")
    is_tls = parts.scheme == "https"
    try:
        port = parts.port
    except ValueError:
        raise ValueError("the URL's port is not a number below 65536") from None
    shown = f"[{host}]" if ":" in host else host
    if port is not None and port != (443 if is_tls else 80):
        shown = f"{shown}:{port}"
    target = parts.path or "/"
    if parts.query:
        target = f"{target}?{parts.query}"
    if unix_socket is not None and is_tls:
        raise ValueError("a Unix socket is spoken to without TLS: use http://")
    origin = Origin(
        host=host,
        port=port or (443 if is_tls else 80),
        is_tls=is_tls,
        socket_path=unix_socket,
    )
    return origin, shown.encode("ascii"), target.encode("ascii")
