"""Many clients at once, each on a connection of its own: so that several processes get some each.

As little as a client can be, so that what is measured in parallel is the server and not the crowd.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from tests.server_process import ServerProcess

MESSAGES = [{"role": "user", "content": "Count to ten."}]
CHAT = "/v1/chat/completions"
TIMEOUT_S = 60.0
NO_HEADERS: Mapping[str, str] = {}


@dataclass(frozen=True)
class Reply:
    """What came, to the end of its body."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def is_whole(self) -> bool:
        """Whether it is an answer from beginning to end, and not the tale of a failure."""
        return self.status == 200 and (
            self.body.endswith(b"data: [DONE]\n\n") if self._is_stream else b'"usage"' in self.body
        )

    @property
    def _is_stream(self) -> bool:
        return self.headers["content-type"].startswith("text/event-stream")

    @property
    def request_id(self) -> str:
        return self.headers["x-request-id"]


@asynccontextmanager
async def running(server: ServerProcess) -> AsyncIterator[ServerProcess]:
    """`with server`, for several side by side: nobody waits for another's start or stop."""
    await asyncio.to_thread(server.__enter__)
    try:
        yield server
    finally:
        await asyncio.to_thread(server.__exit__, None, None, None)


class Client:
    """One connection, kept."""

    def __init__(self, port: int, key: str) -> None:
        self._port = port
        self._key = key
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def __aenter__(self) -> Client:
        await self.connect()
        return self

    async def __aexit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        await self.leave()

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._port)
        return self._streams

    async def leave(self) -> None:
        """Return when the connection is closed."""
        if self._streams is not None:
            _, writer = self._streams
            self._streams = None
            writer.transport.abort()
            with suppress(OSError):
                await writer.wait_closed()

    async def ask(self, **fields: Any) -> Reply:
        """A chat completion; `fields` go into its body."""
        return await self.send("POST", CHAT, {"model": "priced", "messages": MESSAGES} | fields)

    async def send(self, method: str, path: str, body: object = None) -> Reply:
        """Raises `OSError` or `EOFError` where the answer is cut short."""
        reader = await self.begin(method, path, body)
        try:
            async with asyncio.timeout(TIMEOUT_S):
                reply = await _read_reply(reader)
        except BaseException:
            await self.leave()
            raise
        if reply.headers.get("connection") == "close":
            await self.leave()
        return reply

    async def begin(
        self, method: str, path: str, body: object = None, headers: Mapping[str, str] = NO_HEADERS
    ) -> asyncio.StreamReader:
        """Send a request; where its answer can be read."""
        reader, writer = await self.connect()
        content = b"" if body is None else json.dumps(body).encode()
        head = (
            f"{method} {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {self._key}\r\n"
            f"content-type: application/json\r\ncontent-length: {len(content)}\r\n"
        )
        head += "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
        writer.write(head.encode() + b"\r\n" + content)
        return reader

    async def leave_after(
        self, path: str, body: object, piece: bytes, count: int, headers: Mapping[str, str]
    ) -> str:
        """Leave as soon as `piece` has come so often; returns the request's id."""
        reader = await self.begin("POST", path, body, headers)
        async with asyncio.timeout(TIMEOUT_S):
            _, told = await _read_head(reader)
            seen = b""
            while seen.count(piece) < count:
                read = await reader.read(65536)
                assert read, seen
                seen += read
        await self.leave()
        return told["x-request-id"]


async def _read_head(reader: asyncio.StreamReader) -> tuple[int, dict[str, str]]:
    lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    pairs = [line.split(": ", 1) for line in lines[1:] if line]
    return int(lines[0].split(" ")[1]), {name.lower(): value for name, value in pairs}


async def _read_reply(reader: asyncio.StreamReader) -> Reply:
    status, headers = await _read_head(reader)
    body = b""
    if headers.get("transfer-encoding") == "chunked":
        while size := int(await reader.readline(), 16):
            body += (await reader.readexactly(size + 2))[:-2]
        await reader.readline()
    else:
        body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Reply(status, headers, body)
