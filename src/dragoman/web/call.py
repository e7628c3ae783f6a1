"""One HTTP request as the routes see it: ids, the headers that matter, its body, its answer.

ASGI: https://asgi.readthedocs.io/en/latest/specs/www.html
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from dragoman.errors import BodyTooLarge, ClientError, MalformedBody

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

# Only what some route or dialect reads is decoded.
_WANTED_HEADERS = {
    b"access-control-request-method": "access-control-request-method",
    b"anthropic-beta": "anthropic-beta",
    b"authorization": "authorization",
    b"content-length": "content-length",
    b"idempotency-key": "idempotency-key",
    b"if-none-match": "if-none-match",
    b"origin": "origin",
    b"x-api-key": "x-api-key",
    b"x-stream-format": "x-stream-format",
}

Headers = list[tuple[bytes, bytes]]


class BodyTimeout(ClientError):
    """The body stopped coming."""

    status = 408
    code = "body_timeout"
    default_message = "The body did not arrive in time."


class Call:
    """Lives as long as its request. `send_*` may be used once."""

    __slots__ = (
        "_receive",
        "common_headers",
        "has_body_left",
        "headers",
        "is_answered",
        "late_headers",
        "method",
        "path",
        "request_id",
        "scope",
        "send",
        "status",
    )

    def __init__(self, scope: Scope, receive: Receive, send: Send, request_id: str) -> None:
        self.scope = scope
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self._receive = receive
        self.send = send
        self.request_id = request_id
        self.headers: dict[str, str] = {}
        for name, value in scope["headers"]:
            wanted = _WANTED_HEADERS.get(name)
            if wanted is not None:
                self.headers[wanted] = value.decode("latin-1")
        self.common_headers: Headers = []
        """Whatever the answer turns out to be, these come with it."""
        self.late_headers: Callable[[], Headers] | None = None
        """Those that are known only when the answer begins."""
        self.has_body_left = self.method not in ("GET", "HEAD", "OPTIONS")
        self.is_answered = False
        self.status = 0

    def presented_key(self) -> str | None:
        """The secret of `Authorization: Bearer` or of `x-api-key`, whichever comes with one."""
        authorization = self.headers.get("authorization")
        if authorization is not None:
            scheme, _, secret = authorization.partition(" ")
            if scheme.lower() == "bearer" and secret:
                return secret.strip()
        return self.headers.get("x-api-key")

    async def read_body(self, max_bytes: int, timeout_s: float) -> bytes:
        """The whole body. Raises `BodyTooLarge` as soon as it is known to be, or `BodyTimeout`."""
        length = self.headers.get("content-length", "")
        if length.isdecimal() and int(length[:20]) > max_bytes:
            raise _too_large(max_bytes)
        # A timer for each request would cost more than all the rest here: the wait for the first
        # piece, which nearly always is the whole, is the server's to bound.
        try:
            message = await self._receive()
        except TimeoutError:
            raise BodyTimeout from None
        body: bytes = message.get("body", b"")
        if not message.get("more_body", False):
            if message["type"] == "http.disconnect":
                raise MalformedBody("The connection was closed before the body was whole.")
            self.has_body_left = False
            if len(body) > max_bytes:
                raise _too_large(max_bytes)
            return body
        chunks, size = [body], len(body)
        try:
            async with asyncio.timeout(timeout_s):
                while message.get("more_body", False):
                    message = await self._receive()
                    if message["type"] == "http.disconnect":
                        raise MalformedBody("The connection was closed before the body was whole.")
                    chunks.append(message.get("body", b""))
                    size += len(chunks[-1])
                    if size > max_bytes:
                        raise _too_large(max_bytes)
        except TimeoutError:
            raise BodyTimeout from None
        self.has_body_left = False
        return b"".join(chunks)

    async def wait_for_disconnect(self) -> None:
        """Return when the client has gone. Only after the body was read."""
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def send_head(self, status: int, headers: Headers) -> None:
        """Send status and headers; the request id and the cross-origin headers are added."""
        self.is_answered = True
        self.status = status
        headers.append((b"x-request-id", self.request_id.encode()))
        headers += self.common_headers
        if self.late_headers is not None:
            headers += self.late_headers()
        if self.has_body_left:
            # What is left of the body is not read: the connection cannot be used again.
            headers.append((b"connection", b"close"))
        await self.send({"type": "http.response.start", "status": status, "headers": headers})

    async def send_body(self, body: bytes, *, more: bool = False) -> None:
        await self.send({"type": "http.response.body", "body": body, "more_body": more})

    async def send_whole(self, status: int, headers: Headers, body: bytes) -> None:
        headers.append((b"content-length", b"%d" % len(body)))
        await self.send_head(status, headers)
        await self.send_body(body)


def _too_large(max_bytes: int) -> BodyTooLarge:
    return BodyTooLarge(f"The body is larger than {max_bytes} bytes, the most that is read.")
