"""The tool servers of a process, as the store has them now."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Protocol

from dragoman.config import Config, resolve_secret
from dragoman.http_client import HttpClient, HttpSettings
from dragoman.records.tool_server import ServerTool, ToolOutcome, ToolServer
from dragoman.tools.box import ServerToolBox, Ways


class ServerBook(Protocol):
    """What knows the tool servers: the book of projects."""

    @property
    def tool_servers(self) -> tuple[ToolServer, ...]:
        """The same object as long as none changed."""
        ...

    def is_stale(self) -> bool: ...

    async def refresh(self) -> None: ...


class ToolHouse:
    """Implements `ports.ToolBox` over the tool servers of a book, whichever those are at the time."""

    def __init__(self, book: ServerBook, box: Callable[[_Servers], ServerToolBox]) -> None:
        self._book = book
        self._servers: tuple[ToolServer, ...] = ()
        self._by_key: Mapping[str, ToolServer] = {}
        self._box = box(self._now)

    async def offered(self, servers: Sequence[str], *, timeout_s: float) -> list[ServerTool]:
        if self._book.is_stale():
            await self._book.refresh()
        return await self._box.offered(servers, timeout_s=timeout_s)

    async def call(
        self, tool: ServerTool, arguments: str, *, timeout_s: float, max_bytes: int
    ) -> ToolOutcome:
        return await self._box.call(tool, arguments, timeout_s=timeout_s, max_bytes=max_bytes)

    def _now(self) -> Mapping[str, ToolServer]:
        servers = self._book.tool_servers
        if servers is not self._servers:
            self._servers = servers
            self._by_key = {server.key: server for server in servers}
        return self._by_key


_Servers = Callable[[], Mapping[str, ToolServer]]


def open_tools(config: Config, book: ServerBook, closing: AsyncExitStack) -> ToolHouse:
    """`closing` ends every session and every child process. Nothing is asked or started before it is needed."""
    return ToolHouse(book, lambda servers: open_tool_box(config, servers, closing))


def open_tool_box(config: Config, servers: _Servers, closing: AsyncExitStack) -> ServerToolBox:
    """Over `servers`, by key: another mapping means that some have changed."""
    ways = Ways(
        public=HttpClient(HttpSettings(proxy=config.proxies, public_only=True)),
        anywhere=HttpClient(HttpSettings(proxy=config.proxies)),
        resolve=resolve_secret,
    )
    closing.push_async_callback(ways.public.aclose)
    closing.push_async_callback(ways.anywhere.aclose)
    box = ServerToolBox(servers, ways)
    closing.push_async_callback(box.aclose)
    return box
