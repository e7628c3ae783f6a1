"""An answer, as its reader sees it."""

from __future__ import annotations

import asyncio
from typing import Protocol

from dragoman.http_client.errors import ClientClosed, HttpClientError


class AnswerSource(Protocol):
    """The connection, as an answer that is still coming in sees it."""

    loop: asyncio.AbstractEventLoop
    max_body_bytes: int

    def resume_reading(self) -> None:
        """The reader has caught up."""

    def discard_rest(self, grace_s: float) -> None:
        """Nobody reads the rest, which must be over soon."""

    def abort(self, error: HttpClientError) -> None:
        """Close at once."""


class HttpResponse:
    """An answer whose head is in. Read it with `read()` or `chunks()`, and `close()` it in the end.

    One reader at a time. A cancelled read closes the connection at once.
    """

    __slots__ = (
        "_buffer",
        "_buffered",
        "_connection",
        "_error",
        "_headers",
        "_high_water",
        "_is_complete",
        "_is_discarding",
        "_raw_headers",
        "_waiter",
        "status",
    )

    def __init__(self, connection: AnswerSource, high_water: int) -> None:
        self.status = 0
        self._connection: AnswerSource | None = connection
        self._raw_headers: list[tuple[bytes, bytes]] = []
        self._headers: dict[str, str] | None = None
        self._buffer: list[bytes] = []
        self._buffered = 0
        self._high_water = high_water
        self._is_complete = False
        self._is_discarding = False
        self._error: HttpClientError | None = None
        self._waiter: asyncio.Future[None] | None = None

    def __repr__(self) -> str:
        return f"HttpResponse(status={self.status})"

    @property
    def headers(self) -> dict[str, str]:
        """Names in lower case; the values of a repeated header are joined with commas."""
        if self._headers is None:
            headers: dict[str, str] = {}
            for raw_name, raw_value in self._raw_headers:
                name = raw_name.decode("latin-1").lower()
                value = raw_value.decode("latin-1")
                headers[name] = f"{headers[name]}, {value}" if name in headers else value
            self._headers = headers
        return self._headers

    @property
    def is_complete(self) -> bool:
        """Whether the whole answer has arrived, read or not."""
        return self._is_complete

    async def read(self) -> bytes:
        """The rest of the body. Raises an `HttpClientError` when it does not end as it should."""
        connection = self._connection
        if connection is not None:
            self._high_water = connection.max_body_bytes
            connection.resume_reading()
        while not self._is_complete:
            if self._error is not None:
                raise self._error
            await self._wait()
        return self._take()

    def chunks(self) -> BodyChunks:
        """The body as it comes: everything that has arrived since the last chunk, never empty.

        Raises an `HttpClientError` after the last good bytes when the body does not end as it should.
        """
        return BodyChunks(self)

    async def next_chunk(self) -> bytes:
        """What has arrived since the last chunk; empty at the body's end."""
        while not self._buffer:
            if self._is_complete:
                return b""
            if self._error is not None:
                raise self._error
            await self._wait()
        return self._take()

    def release(self, grace_s: float = 1.0) -> None:
        """The reader has what it wants, though the body may not have ended.

        The connection is kept if the rest comes within `grace_s`. What comes is dropped, so
        nothing can be read after this.
        """
        connection, self._connection = self._connection, None
        if connection is not None:
            self._is_discarding = True
            self._buffer = []
            self._buffered = 0
            connection.discard_rest(grace_s)

    def close(self) -> None:
        """End the exchange: nothing is left to do after a whole answer, else the connection closes."""
        if self._connection is not None:
            self._connection.abort(ClientClosed("the answer was closed before its end"))

    async def head_received(self) -> None:
        """Wait until `status` and `headers` are known. The client calls this; its users need not."""
        while self.status == 0:
            if self._error is not None:
                raise self._error
            await self._wait()

    async def _wait(self) -> None:
        connection = self._connection
        if connection is None:  # it ended in silence: closed by us
            raise ClientClosed("the answer is closed")
        waiter = connection.loop.create_future()
        self._waiter = waiter
        try:
            await waiter
        except asyncio.CancelledError:
            self.close()
            raise
        finally:
            self._waiter = None

    def _take(self) -> bytes:
        buffer = self._buffer
        data = buffer[0] if len(buffer) == 1 else b"".join(buffer)
        self._buffer = []
        self._buffered = 0
        if self._connection is not None:
            self._connection.resume_reading()
        return data

    # What the connection tells the response.

    def add_header(self, name: bytes, value: bytes) -> None:
        self._raw_headers.append((name, value))

    def drop_headers(self) -> None:
        self._raw_headers.clear()

    def add_body(self, data: bytes) -> None:
        if self._is_discarding:
            return
        self._buffer.append(data)
        self._buffered += len(data)

    def complete(self) -> None:
        self._is_complete = True
        self._connection = None

    def fail(self, error: HttpClientError) -> None:
        if self._error is None and not self._is_complete:
            self._error = error
        self._connection = None
        self.wake()

    def wake(self) -> None:
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    @property
    def is_full(self) -> bool:
        return self._buffered >= self._high_water

    @property
    def has_news(self) -> bool:
        return self.status != 0 and (self._waiter is not None)


class BodyChunks:
    """Iterates over a body. No generator: one that is left in the middle needs a task to be ended."""

    __slots__ = ("_response",)

    def __init__(self, response: HttpResponse) -> None:
        self._response = response

    def __aiter__(self) -> BodyChunks:
        return self

    async def __anext__(self) -> bytes:
        chunk = await self._response.next_chunk()
        if not chunk:
            raise StopAsyncIteration
        return chunk
