"""A session with one MCP server, in our own words: the only module that knows the SDK's types.

Imported when an MCP server is first asked: the SDK takes a second to load.

The SDK checks results against the schemas that servers name for them, with patterns that a hostile server
could make endless. Results are text for a model here, and so are not checked.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import anyio
import httpx2
import mcp_types
import msgspec
from mcp.client.client import Client
from mcp.client.session import ClientSession, IncomingMessage
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError
from pydantic import TypeAdapter, ValidationError

from dragoman import __version__
from dragoman.http_client import HttpClient
from dragoman.records.tool_server import ToolServer
from dragoman.tools.mcp_http import GuardedTransport
from dragoman.tools.mcp_pipes import Child, run_child
from dragoman.tools.mcp_words import (
    BROKEN,
    MAX_MESSAGE_BYTES,
    REFUSED,
    TIMED_OUT,
    TOO_LONG,
    UNREACHABLE,
)
from dragoman.tools.offering import MAX_TOOLS, ListedTool
from dragoman.tools.outcomes import Fault, ToolFault, describe_binary
from dragoman.tools.references import ReferredValues, ResolveSecret

MAX_PAGES = 16
MAX_ERROR_CHARS = 2000

_RESULTS: TypeAdapter[Any] = TypeAdapter(mcp_types.CallToolResult | mcp_types.InputRequiredResult)
# What goes wrong below MCP, when a session begins.
_BREAKS = (
    OSError,
    RuntimeError,
    ValueError,
    httpx2.HTTPError,
    anyio.ClosedResourceError,
    anyio.BrokenResourceError,
    anyio.EndOfStream,
    BaseExceptionGroup,
)
_ENDINGS = ("Connection closed", "SSE stream")
# The SDK logs what it cannot read, and so users' words.
_LOUD = ("mcp", "client", "httpx2", "httpcore2")


class Answered(msgspec.Struct, frozen=True):
    """What a tool answered, as text."""

    text: str
    is_error: bool


class SessionGone(Exception):
    """The server has forgotten the session before it looked at the call, which may be made again."""


class McpSession:
    """Any task may use it, for as long as the one that opened it keeps it open."""

    def __init__(self, session: ClientSession) -> None:
        self._session = session

    async def list_tools(self) -> list[ListedTool]:
        """Raises `ToolFault` or `SessionGone`."""
        listed: list[ListedTool] = []
        cursor: str | None = None
        for _ in range(MAX_PAGES):
            try:
                page = await self._session.list_tools(
                    params=mcp_types.PaginatedRequestParams(cursor=cursor)
                )
            except MCPError as error:
                raise _fault_of(error) from error
            except (ValidationError, RuntimeError, ValueError) as error:
                raise ToolFault("garbled", "The tool's server lists no tools.") from error
            for tool in page.tools:
                try:
                    schema = msgspec.json.encode(tool.input_schema)
                except (ValueError, RecursionError, TypeError):
                    schema = b""
                listed.append(ListedTool(tool.name, tool.description, schema))
            following = page.next_cursor
            if not following or following == cursor or len(listed) > MAX_TOOLS:
                break
            cursor = following
        return listed

    async def call(self, name: str, arguments: dict[str, Any]) -> Answered:
        """Raises `ToolFault` or `SessionGone`."""
        request = mcp_types.CallToolRequest(
            params=mcp_types.CallToolRequestParams(name=name, arguments=arguments)
        )
        try:
            result = await self._session.send_request(request, _RESULTS)
        except MCPError as error:
            raise _fault_of(error) from error
        except (ValidationError, RuntimeError, ValueError) as error:
            raise ToolFault("garbled", "The tool's answer cannot be read.") from error
        if not isinstance(result, mcp_types.CallToolResult):
            raise ToolFault("tool_failed", "The tool asks for input, which it cannot be given.")
        return Answered(_text_of(result), bool(result.is_error))


def _text_of(result: mcp_types.CallToolResult) -> str:
    pieces = [_shown(block) for block in result.content]
    if not pieces and result.structured_content is not None:
        try:
            return msgspec.json.encode(result.structured_content).decode()
        except (ValueError, RecursionError, TypeError):
            return ""
    return "\n".join(pieces)


def _shown(block: mcp_types.ContentBlock) -> str:
    if isinstance(block, mcp_types.TextContent):
        return block.text
    if isinstance(block, mcp_types.ImageContent | mcp_types.AudioContent):
        return describe_binary(block.mime_type, len(block.data) * 3 // 4)
    if isinstance(block, mcp_types.ResourceLink):
        return f"[{block.name}: {block.uri}]"
    resource = block.resource
    if isinstance(resource, mcp_types.TextResourceContents):
        return resource.text
    return describe_binary(resource.mime_type or "", len(resource.blob) * 3 // 4)


def _fault_of(error: MCPError) -> ToolFault | SessionGone:
    code, message = error.error.code, error.error.message
    if code == mcp_types.INVALID_REQUEST and message == "Session terminated":
        return SessionGone()
    # Servers use the SDK's number for errors of their own.
    is_closed = code == mcp_types.CONNECTION_CLOSED and message.startswith(_ENDINGS)
    if code == TOO_LONG or (is_closed and "byte limit" in message):
        return ToolFault("too_long", "The tool's result is too long to be read.")
    word: Fault
    if code in {UNREACHABLE, REFUSED}:
        word, text = "unreachable", "The tool's server cannot be reached."
    elif is_closed:
        word, text = "unreachable", "The tool's server ended before it answered."
    elif code == TIMED_OUT:
        word, text = "timeout", "The tool did not answer in time."
    elif code in {BROKEN, mcp_types.PARSE_ERROR}:
        word, text = "garbled", "The tool's answer cannot be read."
    elif code == mcp_types.INVALID_PARAMS:
        word, text = "invalid_arguments", message
    else:
        word, text = "tool_failed", message
    return ToolFault(word, text[:MAX_ERROR_CHARS] or "The tool failed.")


@asynccontextmanager
async def open_session(
    server: ToolServer,
    client: HttpClient,
    resolve: ResolveSecret,
    *,
    on_change: Callable[[], None],
    on_end: Callable[[], None],
) -> AsyncGenerator[McpSession, None]:
    """`on_change`: its tools are others now. `on_end`: it will answer nothing any more.

    Raises `ToolFault` where it does not come about. Belongs to one task.
    """
    for name in _LOUD:
        logging.getLogger(name).setLevel(logging.CRITICAL)

    async def heed(message: IncomingMessage) -> None:
        if isinstance(message, mcp_types.ToolListChangedNotification):
            on_change()

    transport = (
        _over_pipes(server, resolve, on_end)
        if server.kind == "mcp_stdio"
        else _over_http(server, client, resolve)
    )
    opened = Client(
        transport,
        message_handler=heed,
        client_info=mcp_types.Implementation(name="dragoman", version=__version__),
        cache=None,
    )
    async with AsyncExitStack() as stack:
        try:
            await stack.enter_async_context(opened)
        except (MCPError, *_BREAKS) as error:
            raise _first_fault(error) from error
        yield McpSession(opened.session)


def _first_fault(error: BaseException) -> BaseException:
    """What an error, or a group of them, comes down to: a cancellation first."""
    inner = [error]
    found: ToolFault | None = None
    while inner:
        each = inner.pop()
        if isinstance(each, BaseExceptionGroup):
            inner += each.exceptions
        elif isinstance(each, asyncio.CancelledError | KeyboardInterrupt | SystemExit):
            return each
        elif isinstance(each, ToolFault):
            found = each
        elif isinstance(each, MCPError):
            fault = _fault_of(each)
            found = fault if isinstance(fault, ToolFault) else found
    return found or ToolFault("unreachable", "The tool's server opens no session.")


@asynccontextmanager
async def _over_pipes(
    server: ToolServer, resolve: ResolveSecret, on_end: Callable[[], None]
) -> AsyncGenerator[Any, None]:
    variables = ReferredValues(server.environment, resolve)
    environment = _own_environment(resolve) | dict(await variables.read())
    child = Child(
        server=server.key,
        command=server.command,
        environment=tuple(environment.items()),
        scrub=variables.scrub,
    )
    async with run_child(child, on_end) as streams:
        yield streams


def _own_environment(resolve: ResolveSecret) -> dict[str, str]:
    """Nothing of ours but what finding programs needs."""
    found = {}
    for name in ("PATH", "HOME"):
        try:
            found[name] = resolve(f"env:{name}")
        except LookupError:
            continue
    return found


@asynccontextmanager
async def _over_http(
    server: ToolServer, client: HttpClient, resolve: ResolveSecret
) -> AsyncGenerator[Any, None]:
    transport = GuardedTransport(
        client, ReferredValues(server.headers, resolve), allow_private=server.allow_private
    )
    async with (
        httpx2.AsyncClient(transport=transport, trust_env=False) as http,
        streamable_http_client(
            server.url or "", http_client=http, max_sse_event_size=MAX_MESSAGE_BYTES
        ) as streams,
    ):
        yield streams
