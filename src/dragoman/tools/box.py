"""All tool servers of a process: finds the one that has a tool, and makes an outcome of whatever happens."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import msgspec

from dragoman.http_client import HttpClient
from dragoman.records.tool_server import ServerTool, ToolOutcome, ToolServer
from dragoman.tools.http_server import HttpToolServer
from dragoman.tools.mcp_server import McpToolServer
from dragoman.tools.outcomes import ToolFault
from dragoman.tools.references import NotSetUp, ResolveSecret

MAX_WAITING = 64
"""Calls of one server at a time, those that wait for another to end included."""

_log = logging.getLogger("dragoman.tools")


class Ways(msgspec.Struct, frozen=True, kw_only=True):
    """How tool servers are reached."""

    public: HttpClient
    """Connects to nothing but the public Internet."""
    anywhere: HttpClient
    """For servers with `allow_private`."""
    resolve: ResolveSecret


class _Runner(Protocol):
    async def offered(self, *, timeout_s: float) -> list[ServerTool]: ...

    async def call(
        self, tool: ServerTool, arguments: str, *, timeout_s: float, max_bytes: int
    ) -> ToolOutcome:
        """Raises `ToolFault`."""
        ...

    async def aclose(self) -> None: ...


class _Entry:
    __slots__ = ("calls", "runner", "server")

    def __init__(self, server: ToolServer, runner: _Runner) -> None:
        self.server = server
        self.runner = runner
        self.calls = 0


class ServerToolBox:
    """Implements `ports.ToolBox`. Belongs to one event loop.

    `servers` says which tool servers there are now, by key; another mapping means that some have changed.
    """

    def __init__(self, servers: Callable[[], Mapping[str, ToolServer]], ways: Ways) -> None:
        self._servers = servers
        self._ways = ways
        self._seen: Mapping[str, ToolServer] = {}
        self._entries: dict[str, _Entry] = {}
        self._closing: set[asyncio.Task[None]] = set()

    async def offered(self, servers: Sequence[str], *, timeout_s: float) -> list[ServerTool]:
        entries = [entry for key in dict.fromkeys(servers) if (entry := self._entry(key))]
        lists = await asyncio.gather(
            *[entry.runner.offered(timeout_s=timeout_s) for entry in entries]
        )
        return sorted([tool for tools in lists for tool in tools], key=lambda tool: tool.id)

    async def call(
        self, tool: ServerTool, arguments: str, *, timeout_s: float, max_bytes: int
    ) -> ToolOutcome:
        try:
            entry = self._entry(tool.server)
            if entry is None:
                raise ToolFault("unknown_tool", "There is no such tool any more.")
            if entry.calls >= MAX_WAITING:
                raise ToolFault("unreachable", "The tool has too many calls waiting.")
            entry.calls += 1
            try:
                async with asyncio.timeout(timeout_s):
                    return await entry.runner.call(
                        tool, arguments, timeout_s=timeout_s, max_bytes=max_bytes
                    )
            finally:
                entry.calls -= 1
        except TimeoutError:
            fault = ToolFault("timeout", f"The tool did not answer within {timeout_s:g} s.")
        except ToolFault as raised:
            fault = raised
            if isinstance(raised, NotSetUp):
                _log.warning("tool server %s: %s", tool.server, raised.reason)
        return fault.outcome(max_bytes)

    async def aclose(self) -> None:
        """End every session and every child process."""
        for key in list(self._entries):
            self._drop(key)
        if self._closing:
            await asyncio.wait(self._closing)

    def _entry(self, key: str) -> _Entry | None:
        now = self._servers()
        if now is not self._seen:
            self._seen = now
            for known, entry in list(self._entries.items()):
                if now.get(known) != entry.server:
                    self._drop(known)
        found = self._entries.get(key)
        if found is not None:
            return found
        server = now.get(key)
        if server is None or server.disabled_s is not None:
            return None
        client = self._ways.anywhere if server.allow_private else self._ways.public
        make = HttpToolServer if server.kind == "http" else McpToolServer
        found = self._entries[key] = _Entry(server, make(server, client, self._ways.resolve))
        return found

    def _drop(self, key: str) -> None:
        """It is gone, disabled or another one now: calls that run end as if it had died."""
        entry = self._entries.pop(key)
        closing = asyncio.create_task(entry.runner.aclose())
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)
