"""The Protocol of whoever runs server-side tools."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from dragoman.records.tool_server import ServerTool, ToolOutcome


class ToolBox(Protocol):
    async def offered(self, servers: Sequence[str], *, timeout_s: float) -> list[ServerTool]:
        """The tools of the servers with those keys, by id; what was heard before, where that is fresh.

        A server that cannot be asked, is disabled or does not exist offers what it offered last, or nothing.
        """
        ...

    async def call(
        self, tool: ServerTool, arguments: str, *, timeout_s: float, max_bytes: int
    ) -> ToolOutcome:
        """Whatever goes wrong is an outcome; only cancellation is raised, and reaches the tool."""
        ...
