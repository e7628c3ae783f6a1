"""A server that is a coroutine: the test says byte for byte what a connection does."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress


class Line:
    """One connection, from the server's side."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def request(self) -> tuple[str, bytes]:
        """The next request's head and body; raises `IncompleteReadError` when the client closed."""
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        length = 0
        for line in head.lower().split("\r\n"):
            if line.startswith("content-length:"):
                length = int(line.partition(":")[2])
        return head, await self.reader.readexactly(length)

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def send_bytewise(self, data: bytes) -> None:
        for index in range(len(data)):
            await self.send(data[index : index + 1])
            await asyncio.sleep(0)

    async def closed_by_client(self) -> None:
        while await self.reader.read(65536):
            pass

    def close(self) -> None:
        self.writer.close()

    def reset(self) -> None:
        raw: socket.socket = self.writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


class RawServer:
    def __init__(self) -> None:
        self.port = 0
        self.accepted = 0
        self.open = 0
        self.tasks: set[asyncio.Task[None]] = set()
        self.all_closed = asyncio.Event()
        self.all_closed.set()

    def url(self, path: str = "/", scheme: str = "http", host: str = "127.0.0.1") -> str:
        return f"{scheme}://{host}:{self.port}{path}"


Handler = Callable[[Line], Awaitable[None]]


@asynccontextmanager
async def serve(
    handler: Handler,
    *,
    tls: ssl.SSLContext | None = None,
    unix_path: str | None = None,
    host: str = "127.0.0.1",
) -> AsyncIterator[RawServer]:
    """Run `handler` for each connection; it is cancelled, and the connection closed, in the end."""
    server = RawServer()
    tasks = server.tasks

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        server.accepted += 1
        server.open += 1
        server.all_closed.clear()
        # uvloop raises RuntimeError where a write meets a connection that the client has closed.
        ended = (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError, RuntimeError)
        try:
            with suppress(*ended):
                await handler(Line(reader, writer))
        finally:
            writer.close()
            tasks.discard(task)
            server.open -= 1
            if not server.open:
                server.all_closed.set()

    if unix_path is not None:
        listener = await asyncio.start_unix_server(accept, unix_path)
    else:
        listener = await asyncio.start_server(accept, host, 0, ssl=tls, backlog=1024)
        server.port = listener.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listener.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def answering(*answers: bytes) -> Handler:
    """A handler that gives each request on a connection the next answer, the last one for ever."""

    async def handle(line: Line) -> None:
        count = 0
        while True:
            await line.request()
            await line.send(answers[min(count, len(answers) - 1)])
            count += 1

    return handle


def with_length(body: bytes, *, status: str = "200 OK", headers: str = "") -> bytes:
    head = f"HTTP/1.1 {status}\r\n{headers}Content-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def chunked(*chunks: bytes, headers: str = "", is_ended: bool = True) -> bytes:
    head = f"HTTP/1.1 200 OK\r\n{headers}Transfer-Encoding: chunked\r\n\r\n".encode()
    body = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks)
    return head + body + (b"0\r\n\r\n" if is_ended else b"")
