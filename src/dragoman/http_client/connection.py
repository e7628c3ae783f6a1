"""One connection and the answer that it is receiving.

An `asyncio.Protocol` feeds httptools directly: no streams, no task of its own. A connection holds at
most one exchange. When the answer's last byte is parsed, the connection goes back to its pool inside
the same callback, and the `HttpResponse` lives on with the bytes it has buffered.

Time bounds cost nothing a request: there is one timer a connection, which is only moved when a
deadline comes to lie before it, and which looks at the deadline anew when it rings.
"""

from __future__ import annotations

import asyncio
from typing import Protocol, cast

import httptools

from dragoman.http_client.endpoint import HttpRequest
from dragoman.http_client.errors import (
    BadResponse,
    ClientClosed,
    ConnectionLost,
    HttpClientError,
    Phase,
    ResponseTooLarge,
    TimedOut,
)
from dragoman.http_client.response import HttpResponse
from dragoman.http_client.settings import HttpSettings

_FOREVER = float("inf")
_PHASE_WORDS: dict[Phase, str] = {
    "first_byte": "sent nothing",
    "idle": "fell silent within its answer",
    "total": "did not finish its answer",
}


class ConnectionOwner(Protocol):
    """The pool, as a connection sees it."""

    def put_back(self, connection: Connection) -> None:
        """The exchange is over and the connection fit for another."""

    def forget(self, connection: Connection) -> None:
        """The connection is gone; called once."""


class Connection(asyncio.Protocol):
    """See the module's top. Made by the pool through `loop.create_connection`."""

    def __init__(
        self, owner: ConnectionOwner, loop: asyncio.AbstractEventLoop, settings: HttpSettings
    ) -> None:
        self.loop = loop
        self.is_closed = False
        self.max_body_bytes = 0
        self.created_s = loop.time()
        self.reused = False
        self._owner = owner
        self._settings = settings
        self._name = ""
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._response: HttpResponse | None = None
        self._request: HttpRequest | None = None
        # Of the exchange that is running:
        self._has_data = False
        self._is_informational = False
        self._is_done = False
        self._is_out_of_step = False
        self._is_kept_alive = False
        self._is_head_in = False
        self._pieces: list[bytes] = []
        self._head_bytes = 0
        self._unproductive_bytes = 0
        self._body_bytes = 0
        self._ends_at = _FOREVER
        # The timer:
        self._deadline = _FOREVER
        self._phase: Phase = "idle"
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = _FOREVER
        self._is_paused = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        if self.is_closed:
            self._transport.abort()

    # --- An exchange ---

    @property
    def is_usable(self) -> bool:
        transport = self._transport
        return not self.is_closed and transport is not None and not transport.is_closing()

    def exchange(self, request: HttpRequest, data: bytes) -> HttpResponse:
        """Send `data`, the head of `request`, and its body; the response has no head yet."""
        transport = self._transport
        assert transport is not None
        assert self._response is None, "one exchange at a time"
        response = HttpResponse(self, self._settings.buffer_bytes)
        self._response = response
        self._request = request
        self._name = request.endpoint.key
        self.max_body_bytes = request.max_body_bytes
        self._has_data = self._is_informational = self._is_head_in = False
        self._is_done = self._is_out_of_step = self._is_kept_alive = False
        self._head_bytes = self._unproductive_bytes = self._body_bytes = 0
        timeouts = request.timeouts
        now = self.loop.time()
        self._ends_at = now + timeouts.total_s
        self._set_deadline(now + timeouts.first_byte_s, "first_byte")
        body = request.body
        if len(body) < 65536:
            transport.write(data + body)
        else:
            transport.writelines((data, body))
        return response

    def abort(self, error: HttpClientError) -> None:
        """Close at once; whoever waits for the answer gets `error`."""
        self._end(error)
        if self._transport is not None:
            self._transport.abort()

    def resume_reading(self) -> None:
        """The reader has caught up."""
        if self._is_paused and self.is_usable and self._transport is not None:
            self._is_paused = False
            self._transport.resume_reading()
            assert self._request is not None
            self._set_deadline(self.loop.time() + self._request.timeouts.idle_s, "idle")

    def discard_rest(self, grace_s: float) -> None:
        """Nobody reads the answer's rest; it must be over soon for the connection to be kept."""
        self._ends_at = min(self._ends_at, self.loop.time() + grace_s)
        self.resume_reading()
        self._set_deadline(self._ends_at, "total")

    # --- Called by the event loop ---

    def data_received(self, data: bytes) -> None:
        response, request = self._response, self._request
        if response is None or request is None:
            # A server that speaks when nothing was asked is not in step with us.
            self.abort(ConnectionLost(f"{self._name} sent data that nobody asked for"))
            return
        self._has_data = True
        self._unproductive_bytes += len(data)
        broken: Exception | None = None
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            broken = error
        if self._pieces:
            self._hand_on_pieces(response)
        if self._is_too_large():
            return
        if broken is not None:
            if not self._is_done:
                text = f"{self._name} sent what is not HTTP: {type(broken).__name__}"
                self.abort(BadResponse(text))
                return
            self._is_out_of_step = True
        if self._is_done:
            self._finish(response, request)
            return
        if response.is_full:
            self._pause_reading()
        else:
            self._set_deadline(self.loop.time() + request.timeouts.idle_s, "idle")
        if response.has_news:
            response.wake()

    def _hand_on_pieces(self, response: HttpResponse) -> None:
        """Give the reader what one read brought, as one piece, unless it passes the bound."""
        pieces, self._pieces = self._pieces, []
        body = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        self._unproductive_bytes = 0
        self._body_bytes += len(body)
        if self._body_bytes <= self.max_body_bytes:
            response.add_body(body)

    def eof_received(self) -> None:
        self._peer_closed(None)

    def connection_lost(self, exc: Exception | None) -> None:
        self._peer_closed(exc)

    def resume_writing(self) -> None:
        # A long request has left our buffer: the server's time to answer begins now.
        if self._request is not None and not self._has_data:
            self._set_deadline(self.loop.time() + self._request.timeouts.first_byte_s, "first_byte")

    # --- Called by the parser ---

    def on_message_begin(self) -> None:
        if self._is_done:
            self._is_out_of_step = True

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._response is not None and not self._is_head_in:
            self._head_bytes += len(name) + len(value) + 4
            self._response.add_header(name, value)

    def on_headers_complete(self) -> None:
        response = self._response
        if response is None or self._is_done:
            return
        status: int = self._parser.get_status_code()
        if status < 200:
            self._is_informational = True
            response.drop_headers()
            return
        self._is_head_in = True
        self._unproductive_bytes = 0
        response.status = status
        if self._request is not None and self._request.endpoint.is_head:
            # The parser cannot know that no body follows, so the connection is not used again.
            self._is_done = self._is_out_of_step = True

    def on_body(self, data: bytes) -> None:
        # Called for each chunk, of which a read may hold many: everything else waits for the last.
        if not self._is_done:
            self._pieces.append(data)

    def on_message_complete(self) -> None:
        if self._is_informational:
            self._is_informational = False
        else:
            self._is_done = True
            # The parser forgets the answer's flags as soon as this returns.
            self._is_kept_alive = self._parser.should_keep_alive()

    # --- Endings ---

    def _is_too_large(self) -> bool:
        """Whether a bound is passed, which ends the connection.

        `_head_bytes` bounds a head however it is split; `_unproductive_bytes` whatever else never
        becomes a body: a header without end, informational answers, trailers, chunk extensions.
        """
        bound = self._settings.max_head_bytes
        if self._body_bytes > self.max_body_bytes:
            self.abort(ResponseTooLarge(f"{self._name} sent over {self.max_body_bytes} bytes"))
        elif self._head_bytes > bound or (self._unproductive_bytes > bound and not self._is_done):
            self.abort(ResponseTooLarge(f"{self._name} sent too long a head or framing"))
        else:
            return False
        return True

    def _finish(self, response: HttpResponse, request: HttpRequest) -> None:
        """The answer's last byte is in."""
        transport = self._transport
        assert transport is not None
        response.complete()
        self._response = self._request = None
        if self._is_paused:
            self._is_paused = False
            transport.resume_reading()
        is_fit = (
            not self._is_out_of_step
            and not request.endpoint.closes
            and self._is_kept_alive
            and transport.get_write_buffer_size() == 0
            and not transport.is_closing()
        )
        if is_fit:
            self.reused = True
            self._ends_at = _FOREVER
            self._set_deadline(self.loop.time() + self._settings.keepalive_s, "idle")
            self._owner.put_back(self)
        else:
            self._end(None)
            if transport.get_write_buffer_size():
                transport.abort()  # it answered without reading the request to its end
            else:
                transport.close()
        response.wake()

    def _peer_closed(self, exc: Exception | None) -> None:
        response = self._response
        if response is not None and exc is None and self._is_ended_by_close(response):
            self._response = self._request = None
            response.complete()
            response.wake()
        if not self._has_data:
            self._end(
                ConnectionLost(f"{self._name} closed the connection unanswered", is_untouched=True)
            )
        else:
            self._end(ConnectionLost(f"{self._name} closed the connection within its answer"))

    def _is_ended_by_close(self, response: HttpResponse) -> bool:
        """Whether the body has no length of its own, so that the connection's end is its end.

        https://www.rfc-editor.org/rfc/rfc9112#name-message-body-length
        """
        if not self._is_head_in:
            return False
        coding = response.headers.get("transfer-encoding")
        if coding is not None:
            return not coding.lower().rstrip().endswith("chunked")
        return "content-length" not in response.headers

    def _end(self, error: HttpClientError | None) -> None:
        if self.is_closed:
            return
        self.is_closed = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        response, self._response, self._request = self._response, None, None
        if response is not None:
            response.fail(error or ClientClosed("the connection is closed"))
        self._owner.forget(self)

    # --- Reading and time ---

    def _pause_reading(self) -> None:
        if not self._is_paused and self._transport is not None:
            self._is_paused = True
            self._transport.pause_reading()
            # While the reader is slow, the server's silence is our doing.
            self._set_deadline(self._ends_at, "total")

    def _set_deadline(self, at: float, phase: Phase) -> None:
        if at >= self._ends_at:
            at, phase = self._ends_at, "total"
        self._deadline = at
        self._phase = phase
        if at < self._timer_at:
            if self._timer is not None:
                self._timer.cancel()
            self._timer_at = at
            self._timer = self.loop.call_at(at, self._ring)

    def _ring(self) -> None:
        self._timer = None
        self._timer_at = _FOREVER
        if self.is_closed:
            return
        if self.loop.time() < self._deadline:
            self._set_deadline(self._deadline, self._phase)
            return
        phase = self._phase
        text = f"{self._name} {_PHASE_WORDS.get(phase, 'was idle')} in time ({phase})"
        self.abort(TimedOut(text, phase))
