"""Many clients at once, each on a connection of its own: so that several processes get some each.

As little as a client can be, so that what is measured in parallel is the server and not the crowd.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any

MESSAGES = [{"role": "user", "content": "Count to ten."}]
CHAT = "/v1/chat/completions"
TIMEOUT_S = 60.0


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
        self.leave()

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._port)
        return self._streams

    def leave(self) -> None:
        if self._streams is not None:
            self._streams[1].transport.abort()
            self._streams = None

    async def ask(self, **fields: Any) -> Reply:
        """A chat completion; `fields` go into its body."""
        return await self.send("POST", CHAT, {"model": "priced", "messages": MESSAGES} | fields)

    async def send(self, method: str, path: str, body: object = None) -> Reply:
        """Raises `OSError` or `EOFError` where the answer is cut short."""
        reader, writer = await self.connect()
        content = b"" if body is None else json.dumps(body).encode()
        head = (
            f"{method} {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {self._key}\r\n"
            f"content-type: application/json\r\ncontent-length: {len(content)}\r\n\r\n"
        )
        try:
            writer.write(head.encode() + content)
            async with asyncio.timeout(TIMEOUT_S):
                reply = await _read_reply(reader)
        except BaseException:
            self.leave()
            raise
        if reply.headers.get("connection") == "close":
            self.leave()
        return reply


async def _read_reply(reader: asyncio.StreamReader) -> Reply:
    lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    pairs = [line.split(": ", 1) for line in lines[1:] if line]
    headers = {name.lower(): value for name, value in pairs}
    body = b""
    if headers.get("transfer-encoding") == "chunked":
        while size := int(await reader.readline(), 16):
            body += (await reader.readexactly(size + 2))[:-2]
        await reader.readline()
    else:
        body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Reply(int(lines[0].split(" ")[1]), headers, body)
