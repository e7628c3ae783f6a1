"""HTTP/1.1 on httptools: bytes of one connection ↔ ASGI messages.

Ours, because the completion path pays for it at every request: no timer, no event object and no
check of our own header names per request; a whole answer is one write. Bounds on what comes before a
request's body (size, time) are part of it. llhttp does the parsing, strictly.

A connection answers one request at a time. Requests that a client sends ahead wait in `_queue`, and
reading is paused meanwhile, so their number is bounded by what one read brings, and by a limit.

HTTP: https://www.rfc-editor.org/rfc/rfc9112. ASGI: https://asgi.readthedocs.io/en/latest/specs/www.html
"""

from __future__ import annotations

import asyncio
import http
import logging
import socket
import struct
from collections import deque
from collections.abc import Awaitable, Callable, MutableMapping
from email.utils import formatdate
from typing import Any, cast
from urllib.parse import unquote

import httptools

from dragoman.web.call import Receive, Scope, Send

MAX_HEAD_BYTES = 64 * 1024
"""Past it no more is read; what one read brings (256 KiB at most) may be over it."""
MAX_HEADERS = 256
MAX_WAITING_REQUESTS = 64
"""Sent ahead of their answers on one connection; those over it are not answered."""
MAX_BUFFERED_BODY_BYTES = 256 * 1024
HEAD_TIMEOUT_S = 30.0
BODY_SILENCE_S = 30.0
"""The longest wait for more of a body that was announced."""
KEEP_ALIVE_S = 75.0
LINGER_S = 1.0
WRITE_STALL_S = 300.0
"""How long a client may read nothing of an answer that waits for it."""

Asgi = Callable[[Scope, Receive, Send], Awaitable[None]]
Message = MutableMapping[str, Any]

_log = logging.getLogger("dragoman.server")

_STATUS_LINES = {
    status.value: b"HTTP/1.1 %d %s\r\n" % (status.value, status.phrase.encode())
    for status in http.HTTPStatus
}
# Anthropic's own, for "overloaded".
_STATUS_LINES[529] = b"HTTP/1.1 529 Overloaded\r\n"
_BAD_REQUEST = (
    b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain; charset=utf-8\r\n"
    b"content-length: %d\r\nconnection: close\r\n\r\n%s"
)


class Connections:
    """The connections of one server, and what they share: the application, the date, the sweep."""

    def __init__(self, application: Asgi) -> None:
        self.application = application
        self.open: set[HttpProtocol] = set()
        self.loop = asyncio.get_running_loop()
        self.date_header = b""
        self._timer: asyncio.TimerHandle | None = None
        self._sweep()

    def protocol(self) -> HttpProtocol:
        return HttpProtocol(self)

    def _sweep(self) -> None:
        """Once a second: tell the date anew, and close connections that were idle for too long."""
        self.date_header = b"date: %s\r\n" % formatdate(usegmt=True).encode()
        now_s = self.loop.time()
        for connection in list(self.open):
            connection.close_if_late(now_s)
        self._timer = self.loop.call_later(1.0, self._sweep)

    async def close(self, wait_s: float) -> None:
        """Close what is idle, wait for answers under way, and cut those that outlast `wait_s`."""
        for connection in list(self.open):
            connection.close_when_idle()
        for attempt in range(2):
            tasks = [c.task for c in self.open if c.task is not None]
            if tasks:
                await asyncio.wait(tasks, timeout=wait_s)
            if attempt == 0:
                for task in tasks:
                    task.cancel()
        for connection in list(self.open):
            connection.close()
        if self._timer is not None:
            self._timer.cancel()


class HttpProtocol(asyncio.Protocol):
    """One connection."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._loop = connections.loop
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport
        self._queue: deque[Exchange] = deque()
        self._current: Exchange | None = None
        """The request that is being answered."""
        self._arriving: Exchange | None = None
        """The request whose body is not whole yet."""
        self._url = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._hosts = 0
        self._in_head = True
        self._head_bytes = 0
        self._framing_bytes = 0
        """What came within a body since its last byte: trailers, mostly."""
        self._has_body_come = False
        self._waits_since_s = self._loop.time()
        """Since when the connection waits for a request, or for the rest of its head."""
        self._writable: asyncio.Future[None] | None = None
        self._full_since_s = 0.0
        self._is_reading = True
        self._is_deaf = False
        """What still comes is read and thrown away."""
        self.is_closing = False
        self.task: asyncio.Task[None] | None = None
        """Answers the current request."""

    # --- The transport's side ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports have the interface and not the class.
        self._transport = cast(asyncio.Transport, transport)
        peer = transport.get_extra_info("peername")
        self._peer = peer[:2] if isinstance(peer, tuple) else None
        self._connections.open.add(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        self._connections.open.discard(self)
        self.is_closing = True
        self.resume_writing()
        if self._current is not None:
            self._current.disconnect()
        for waiting in self._queue:
            waiting.disconnect()
        self._queue.clear()

    def eof_received(self) -> bool:
        return False

    def data_received(self, data: bytes) -> None:
        if self._is_deaf:
            return
        try:
            self._feed(data)
        except httptools.HttpParserError:
            self._refuse(b"Invalid HTTP request.")
            return
        if self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                self._refuse(b"The request's head is too large.")
        elif self._arriving is not None:
            self._framing_bytes = 0 if self._has_body_come else self._framing_bytes + len(data)
            self._has_body_come = False
            if self._framing_bytes > MAX_HEAD_BYTES:
                self._refuse(b"The request's trailers are too large.")

    def _feed(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as offer:
            # Java's HTTP client offers HTTP/2 with its first request, body and all. The parser passes
            # the body of such a request over, so its head is parsed again, less the offer.
            head = self._head_without_offer()
            self._parser = httptools.HttpRequestParser(self)
            self._parser.feed_data(head)
            self._feed(data[offer.args[0] :])

    def _head_without_offer(self) -> bytes:
        parser = self._parser
        version = parser.get_http_version().encode()
        lines = [b"%s %s HTTP/%s" % (parser.get_method(), self._url, version)]
        for name, value in self._headers:
            if name == b"connection":
                if b"close" in value.lower():
                    lines.append(b"connection: close")
            elif name not in (b"upgrade", b"http2-settings"):
                lines.append(b"%s: %s" % (name, value))
        return b"\r\n".join(lines) + b"\r\n\r\n"

    def pause_writing(self) -> None:
        if self._writable is None:
            self._writable = self._loop.create_future()
            self._full_since_s = self._loop.time()

    def resume_writing(self) -> None:
        if self._writable is not None:
            if not self._writable.done():
                self._writable.set_result(None)
            self._writable = None

    # --- The parser's side ---

    def on_message_begin(self) -> None:
        self._url = b""
        self._headers = []
        self._hosts = 0
        self._in_head = True
        self._head_bytes = 0
        self._waits_since_s = self._loop.time()

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        # What follows a body must not pass for what stands before it (RFC 9110, 6.5.1).
        if self._in_head:
            name = name.lower()
            self._headers.append((name, value))
            if name == b"host":
                self._hosts += 1

    def on_headers_complete(self) -> None:
        self._in_head = False
        if len(self._headers) > MAX_HEADERS:
            raise httptools.HttpParserCallbackError("too many headers")
        if len(self._queue) >= MAX_WAITING_REQUESTS:
            raise httptools.HttpParserCallbackError("too many requests ahead of their answers")
        parser = self._parser
        if self._hosts > 1 or (self._hosts == 0 and parser.get_http_version() == "1.1"):
            # RFC 9112, 3.2: servers must refuse what names no host, or several.
            raise httptools.HttpParserCallbackError("not exactly one host")
        if parser.get_method() == b"CONNECT":
            raise httptools.HttpParserCallbackError("this is no proxy")
        if parser.should_upgrade():
            return  # it comes again, see `_feed`
        url = httptools.parse_url(self._url)
        path = (url.path or b"/").decode("latin-1")
        if "%" in path:
            path = unquote(path, errors="replace")
        version = parser.get_http_version()
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": version,
            "method": parser.get_method().decode("ascii"),
            "scheme": "http",
            "path": path,
            "raw_path": url.path,
            "query_string": url.query or b"",
            "root_path": "",
            "headers": self._headers,
            "client": self._peer,
        }
        keeps = version == "1.1" and parser.should_keep_alive()
        exchange = Exchange(self, scope, is_kept=keeps, takes_chunks=version == "1.1")
        self._arriving = exchange
        if self._current is None:
            self._start(exchange)
        else:
            self._queue.append(exchange)
            self._pause_reading()

    def on_body(self, body: bytes) -> None:
        exchange = self._arriving
        self._has_body_come = True
        if exchange is not None and exchange.add_body(body) > MAX_BUFFERED_BODY_BYTES:
            self._pause_reading()

    def on_message_complete(self) -> None:
        exchange, self._arriving = self._arriving, None
        if exchange is not None:
            exchange.end_body()

    # --- Exchanges, one after another ---

    def _start(self, exchange: Exchange) -> None:
        self._current = exchange
        self.task = self._loop.create_task(exchange.run(self._connections.application))

    def ended(self, exchange: Exchange) -> None:
        """`exchange` is answered, or never will be: go on with what waits, or close."""
        self._current = self.task = None
        self._waits_since_s = self._loop.time()
        if not exchange.is_answered:
            # Cut off without its end, so that no client takes the answer for whole. What has no
            # length and no chunks would look whole after an orderly close.
            if exchange.is_chunked:
                self.close()
            else:
                self._reset()
        elif self._arriving is exchange:
            self._linger()
        elif not exchange.is_kept or self.is_closing:
            self.close()
        elif self._queue:
            self._start(self._queue.popleft())
        self.resume_reading()

    def _reset(self) -> None:
        """Close with a reset, the only way to say that bytes without length or chunks are not all."""
        sock = self._transport.get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.abort()

    def _linger(self) -> None:
        """Close once the client has had time to read the answer.

        It is still sending what is not wanted. Closed at once, the kernel would answer that with a
        reset, which may overtake the answer.
        """
        self._is_deaf = self.is_closing = True
        if not self._transport.is_closing():
            self._transport.write_eof()
            self._loop.call_later(LINGER_S, self.close)

    def _refuse(self, reason: bytes) -> None:
        """What came is no HTTP, or too much: say so, unless an answer is under way, and close."""
        self._is_deaf = True
        if self._queue and self._queue[-1] is self._arriving:
            self._queue.pop()  # it will never be whole
        current = self._current
        last = self._queue[-1] if self._queue else current
        if last is not None and (last is not self._arriving or last.is_begun):
            # The fault is behind requests that are whole, and are answered first.
            last.is_kept = False
            return
        if not self._transport.is_closing():
            self._transport.write(_BAD_REQUEST % (len(reason), reason))
        if current is not None:
            current.disconnect()
        self.close()

    def close_if_late(self, now_s: float) -> None:
        limit_s = HEAD_TIMEOUT_S if self._head_bytes and self._in_head else KEEP_ALIVE_S
        if self._current is None:
            if now_s - self._waits_since_s > limit_s:
                self.close()
        elif self.is_full and now_s - self._full_since_s > WRITE_STALL_S:
            # Whoever reads nothing for so long holds a slot of the engine, or a provider, for nobody.
            self._transport.abort()

    def close_when_idle(self) -> None:
        self.is_closing = True
        if self._current is None:
            self.close()

    def close(self) -> None:
        self.is_closing = True
        if not self._transport.is_closing():
            self._transport.close()

    # --- For exchanges ---

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        return self._loop

    @property
    def is_full(self) -> bool:
        """Whether more is written than the client has read; see `drain`."""
        return self._writable is not None

    def date_header(self) -> bytes:
        return self._connections.date_header

    def write(self, data: bytes) -> None:
        self._transport.write(data)

    async def drain(self) -> None:
        """Return when the client has read enough for more to be written."""
        while self._writable is not None:
            await asyncio.shield(self._writable)

    def _pause_reading(self) -> None:
        if self._is_reading and not self._transport.is_closing():
            self._is_reading = False
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        if not self._is_reading and not self._queue and not self._transport.is_closing():
            self._is_reading = True
            self._transport.resume_reading()


class Exchange:
    """One request and its answer, as ASGI's `receive` and `send`."""

    __slots__ = (
        "_body",
        "_body_bytes",
        "_changed",
        "_has_no_body",
        "_head",
        "_is_disconnected",
        "_is_received",
        "_is_whole",
        "_left",
        "_owes_continue",
        "_protocol",
        "_scope",
        "_takes_chunks",
        "is_answered",
        "is_begun",
        "is_chunked",
        "is_kept",
    )

    def __init__(
        self, protocol: HttpProtocol, scope: Scope, *, is_kept: bool, takes_chunks: bool
    ) -> None:
        self._protocol = protocol
        self._scope = scope
        self._takes_chunks = takes_chunks
        self._body: list[bytes] = []
        self._body_bytes = 0
        self._is_whole = False
        self._is_received = False
        """Whether the application has had the end of the body."""
        self._is_disconnected = False
        self._changed: asyncio.Future[None] | None = None
        self._head: bytes | None = None
        """Written together with the first piece of the body, where that comes at once."""
        self._has_no_body = False
        self._left = 0
        """Bytes of the body that were announced and not sent yet."""
        self._owes_continue = takes_chunks and any(
            name == b"expect" and value.lower() == b"100-continue"
            for name, value in scope["headers"]
        )
        self.is_kept = is_kept
        self.is_begun = False
        self.is_chunked = False
        self.is_answered = False

    async def run(self, application: Asgi) -> None:
        try:
            await application(self._scope, self.receive, self.send)
        except Exception as error:  # noqa: BLE001 - the connection must not outlive its exchange's failure
            _log.error("an exchange failed with %s", type(error).__name__)
        finally:
            self._protocol.ended(self)

    # --- The connection's side ---

    def add_body(self, body: bytes) -> int:
        """Keep a piece of the body; how many bytes now wait to be received."""
        if self.is_answered:
            return 0
        self._body.append(body)
        self._body_bytes += len(body)
        self._notify()
        return self._body_bytes

    def end_body(self) -> None:
        self._is_whole = True
        self._notify()

    def disconnect(self) -> None:
        self._is_disconnected = True
        self._notify()

    def _notify(self) -> None:
        if self._changed is not None and not self._changed.done():
            self._changed.set_result(None)

    # --- The application's side ---

    async def receive(self) -> Message:
        """The next piece of the body; after its end, the client's leaving.

        Raises `TimeoutError` where a body that was announced does not come.
        """
        if self._owes_continue and not (self.is_begun or self._is_disconnected):
            self._owes_continue = False
            self._protocol.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        while not (self._is_disconnected or self.is_answered):
            if self._body or (self._is_whole and not self._is_received):
                return self._take_body()
            self._protocol.resume_reading()
            await self._change()
        return {"type": "http.disconnect"}

    async def _change(self) -> None:
        """Wait for whatever comes next: for ever only after the body's end."""
        loop = self._protocol.loop
        self._changed = changed = loop.create_future()
        if self._is_received:
            await changed
            return
        timer = loop.call_later(BODY_SILENCE_S, _give_up, changed)
        try:
            await changed
        finally:
            timer.cancel()

    def _take_body(self) -> Message:
        body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        self._body = []
        self._body_bytes = 0
        self._is_received = self._is_whole
        return {"type": "http.request", "body": body, "more_body": not self._is_whole}

    async def send(self, message: Message) -> None:
        if self._protocol.is_full:
            await self._protocol.drain()
        if self._is_disconnected:
            return
        if message["type"] == "http.response.start":
            self._head = self._encode_head(message["status"], message["headers"])
            self.is_begun = True
            self._protocol.loop.call_soon(self._flush_head)
            return
        more: bool = message.get("more_body", False)
        self._protocol.write(self._encode_body(message.get("body", b""), more=more))
        if not more:
            # Fewer bytes than announced leave the answer open: it is cut, which the client sees.
            self.is_answered = not self._left
            self._notify()

    def _flush_head(self) -> None:
        """Write a head that no body followed at once."""
        if self._head is not None and not self._is_disconnected:
            self._protocol.write(self._head)
            self._head = None

    def _encode_head(self, status: int, headers: list[tuple[bytes, bytes]]) -> bytes:
        parts = [_STATUS_LINES[status], self._protocol.date_header()]
        lines = 3
        length: bytes | None = None
        for name, value in headers:
            if name == b"content-length":
                length = value
            elif name == b"connection" and value == b"close":
                self.is_kept = False
                continue
            parts += (name, b": ", value, b"\r\n")
            lines += 1
        self._has_no_body = self._scope["method"] == "HEAD" or status in (204, 304)
        if length is not None:
            self._left = 0 if self._has_no_body else int(length)
        elif not self._has_no_body:
            self.is_chunked = self._takes_chunks
            if self.is_chunked:
                parts.append(b"transfer-encoding: chunked\r\n")
                lines += 1
            else:
                self.is_kept = False
        if not self.is_kept or self._protocol.is_closing:
            parts.append(b"connection: close\r\n")
            lines += 1
        parts.append(b"\r\n")
        head = b"".join(parts)
        # A header's value that holds a line break would begin a header of a client's choosing.
        if head.count(b"\n") != lines or head.count(b"\r") != lines or b"\0" in head:
            raise ValueError("the value of a header holds a line break")
        return head

    def _encode_body(self, body: bytes, *, more: bool) -> bytes:
        head, self._head = self._head or b"", None
        if self._has_no_body:
            return head
        if not self.is_chunked:
            self._left -= len(body) if self._left else 0
            return head + body
        if body:
            return b"%s%x\r\n%s\r\n%s" % (head, len(body), body, b"" if more else b"0\r\n\r\n")
        return head if more else head + b"0\r\n\r\n"


def _give_up(changed: asyncio.Future[None]) -> None:
    if not changed.done():
        changed.set_exception(TimeoutError())
