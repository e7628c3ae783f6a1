"""A provider that costs next to nothing: canned OpenAI answers from a raw protocol on uvloop.

Run as a process of its own, `python -m bench.provider PORT`, so that its core can be chosen.
"""

from __future__ import annotations

import asyncio
import re
import sys
from typing import cast

import uvloop

from bench.payloads import answer_body, stream_events

_CONTENT_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_HEADERS_END = b"\r\n\r\n"


def plain_answer() -> bytes:
    body = answer_body()
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (
        len(body),
        body,
    )


def streamed_answer() -> bytes:
    """Every event is an HTTP chunk of its own; the whole goes out in one burst."""
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(event), event) for event in stream_events())
    # nginx buffers a proxied answer unless the answer itself forbids it.
    return (
        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nx-accel-buffering: no\r\n"
        b"transfer-encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"
    )


class CannedAnswers(asyncio.Protocol):
    """Answers each request whole; whether streamed is read from its body."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._pending = b""
        self._plain = plain_answer()
        self._streamed = streamed_answer()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._pending += data
        assert self._transport is not None
        while (headers_end := self._pending.find(_HEADERS_END)) >= 0:
            length = _CONTENT_LENGTH.search(self._pending, 0, headers_end)
            body_start = headers_end + len(_HEADERS_END)
            body_end = body_start + (int(length.group(1)) if length else 0)
            if len(self._pending) < body_end:
                return
            body = self._pending[body_start:body_end]
            self._pending = self._pending[body_end:]
            is_streamed = b'"stream":true' in body
            self._transport.write(self._streamed if is_streamed else self._plain)


async def serve(port: int) -> None:
    """Serve on `port` until the process is ended."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(CannedAnswers, "127.0.0.1", port, backlog=1024)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
