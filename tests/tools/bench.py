"""A box of tools whose servers a test can change."""

from __future__ import annotations

import os

import msgspec

from dragoman.http_client import HttpClient, HttpSettings
from dragoman.records.tool_server import ServerTool, ToolOutcome, ToolServer
from dragoman.tools.box import ServerToolBox, Ways

PLENTY_S = 30.0


SECRET = "hush-8d1f27"


def resolve(reference: str) -> str:
    if reference == "env:PATH":
        return os.environ["PATH"]
    if reference == "env:SECRET":
        return SECRET
    raise LookupError(f"{reference} is not set")


class Bench:
    """Close it in the end."""

    def __init__(self) -> None:
        self.servers: dict[str, ToolServer] = {}
        self.public = HttpClient(HttpSettings(public_only=True))
        self.anywhere = HttpClient()
        self.box = ServerToolBox(
            lambda: self.servers,
            Ways(public=self.public, anywhere=self.anywhere, resolve=resolve),
        )

    def put(self, server: ToolServer) -> None:
        self.servers = {**self.servers, server.key: server}

    async def tools(self, key: str) -> dict[str, ServerTool]:
        offered = await self.box.offered([key], timeout_s=PLENTY_S)
        return {tool.name: tool for tool in offered}

    async def call(
        self, key: str, name: str, timeout_s: float = PLENTY_S, **arguments: object
    ) -> ToolOutcome:
        tools = await self.tools(key)
        return await self.box.call(
            tools[name],
            msgspec.json.encode(arguments).decode(),
            timeout_s=timeout_s,
            max_bytes=32_768,
        )

    async def aclose(self) -> None:
        await self.box.aclose()
        await self.public.aclose()
        await self.anywhere.aclose()
