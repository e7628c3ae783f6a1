"""Who runs server-side tools: MCP servers, and plain HTTP endpoints."""

from __future__ import annotations

from typing import Literal

import msgspec

from dragoman.chat import Tool

ToolServerKind = Literal["mcp_http", "mcp_stdio", "http"]
"""`mcp_http`: MCP over streamable HTTP. `mcp_stdio`: MCP over the pipes of a child process. `http`: each
tool is an address that takes its arguments as JSON."""


class HttpTool(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One tool of a server of kind `http`."""

    name: str
    description: str | None = None
    parameters: msgspec.Raw = msgspec.Raw(b'{"type":"object","properties":{}}')
    """A JSON Schema, against which arguments are checked before anything is sent."""
    path: str = ""
    """Below the server's URL."""
    method: Literal["POST", "GET"] = "POST"
    """`GET` sends the arguments as the query."""


class ToolServer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    key: str
    """Unique; lower-case letters, digits, `-` and `_`."""
    kind: ToolServerKind
    url: str | None = None
    command: tuple[str, ...] = ()
    """Of `mcp_stdio`: program and arguments."""
    environment: tuple[tuple[str, str], ...] = ()
    """Of `mcp_stdio`: variables; a value may be a reference, `env:NAME` or `file:PATH`."""
    headers: tuple[tuple[str, str], ...] = ()
    """Sent with every request; a value may be a reference, and has to be if it is secret."""
    tools: tuple[HttpTool, ...] = ()
    """Of `http`; MCP servers say themselves what they have."""
    allow_private: bool = False
    """Whether `url` may lead to this machine or a private network, and may be without TLS."""
    applied: msgspec.Raw | None = None
    """The definition in the settings file that was applied last, as JSON; `None`: it is not from the file."""
    created_s: float = 0.0
    disabled_s: float | None = None
    """Since then its tools are offered to nobody."""


class ServerTool(msgspec.Struct, frozen=True, kw_only=True):
    """One tool that a server has, as a model is told of it."""

    server: str
    """The server's key."""
    name: str
    """As the server calls it."""
    function: Tool
    """As the model calls it: `{server}__{name}`, in the characters that every provider takes."""

    @property
    def id(self) -> str:
        return f"{self.server}/{self.name}"


class ToolOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """What came of one call of a tool: always something that the model can be told."""

    text: str
    is_error: bool = False
    error: str | None = None
    """A word for what went wrong: `timeout`, `unreachable`, `invalid_arguments`, `tool_failed`,
    `garbled`, `too_long`, `unknown_tool`, `too_many_calls`, `cancelled`."""
    is_cut: bool = False
    """The result was longer than is passed on."""


class ToolCallRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One call of a server-side tool, as it is kept with the interaction."""

    round: int
    """Counted from 1: which answer of the model asked for it."""
    tool: str
    """`{server}/{tool}`."""
    arguments: str
    result: str
    """What the model was told."""
    error: str | None = None
    is_cut: bool = False
    total_ms: float = 0.0
