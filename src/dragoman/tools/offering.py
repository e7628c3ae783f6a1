"""From what a server says of its tools to what a model is offered.

Servers are believed in nothing: what a provider would refuse, or what is too large, is left out, because
one bad tool would otherwise fail every request that it is offered with.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable
from hashlib import blake2b

import msgspec

from dragoman.chat import Tool
from dragoman.records.tool_server import ServerTool

MAX_TOOLS = 128
"""Of one server."""
MAX_NAME_CHARS = 128
MAX_FUNCTION_CHARS = 64
"""What every provider takes: https://platform.openai.com/docs/api-reference/chat/create."""
MAX_DESCRIPTION_CHARS = 4000
MAX_SCHEMA_BYTES = 32 * 1024
MAX_SCHEMA_DEPTH = 64
MAX_NAMED = 5

_PLAIN = re.compile(r"[A-Za-z0-9_-]+\Z")
_ODD = re.compile(r"[^A-Za-z0-9_-]")
_EMPTY_SCHEMA = msgspec.Raw(b'{"type":"object","properties":{}}')

_log = logging.getLogger("dragoman.tools")


class ListedTool(msgspec.Struct, frozen=True):
    """A tool as its server describes it."""

    name: str
    description: str | None
    schema: bytes
    """JSON."""


def function_name(server: str, tool: str) -> str:
    """As the model calls it: no two tools of any servers share a name.

    Where `{server}__{tool}` would not do, or could be read in two ways, a hash makes the difference.
    """
    plain = f"{server}__{tool}"
    if (
        len(plain) <= MAX_FUNCTION_CHARS
        and _PLAIN.match(plain)
        and "__" not in server
        and "__" not in tool
        and not server.endswith("_")
        and not tool.startswith("_")
    ):
        return plain
    mark = blake2b(f"{server}/{tool}".encode("utf-8", "replace"), digest_size=5).hexdigest()
    return f"{_ODD.sub('_', plain)[: MAX_FUNCTION_CHARS - len(mark) - 1]}_{mark}"


def offer(server: str, listed: Iterable[ListedTool]) -> list[ServerTool]:
    """Those that a model can be told of, sorted by id; says in the log which cannot, and why."""
    offered: dict[str, ServerTool] = {}
    refused: list[str] = []
    for tool in listed:
        if len(offered) == MAX_TOOLS:
            refused.append(f"all beyond the first {MAX_TOOLS}")
            break
        reason = _fault_of(tool)
        if reason is None and tool.name in offered:
            reason = "is listed twice"
        if reason is not None:
            refused.append(f"{tool.name[:MAX_NAME_CHARS]!r} {reason}")
            continue
        offered[tool.name] = _server_tool(server, tool)
    if refused:
        more = len(refused) - MAX_NAMED
        _log.warning(
            "tool server %s: %s%s: not offered",
            server,
            "; ".join(refused[:MAX_NAMED]),
            f"; and {more} more" if more > 0 else "",
        )
    return sorted(offered.values(), key=lambda each: each.name)


def _server_tool(server: str, tool: ListedTool) -> ServerTool:
    description = tool.description
    if description is not None:
        description = description[:MAX_DESCRIPTION_CHARS].encode("utf-8", "replace").decode()
    schema = msgspec.json.decode(tool.schema)
    return ServerTool(
        server=server,
        name=tool.name,
        function=Tool(
            name=function_name(server, tool.name),
            description=description or None,
            # Providers want the properties spelled out, even where there are none.
            parameters=msgspec.Raw(tool.schema) if "properties" in schema else _EMPTY_SCHEMA,
        ),
    )


def _fault_of(tool: ListedTool) -> str | None:
    """Why no model can be told of it."""
    if not tool.name or len(tool.name) > MAX_NAME_CHARS or not tool.name.isprintable():
        return "has no usable name"
    if len(tool.schema) > MAX_SCHEMA_BYTES:
        return f"has a schema of over {MAX_SCHEMA_BYTES} bytes"
    try:
        schema = msgspec.json.decode(tool.schema)
    except (msgspec.DecodeError, RecursionError):
        return "has a schema that is not JSON"
    if not isinstance(schema, dict) or schema.get("type") != "object":
        return "has a schema that is no object's"
    if not isinstance(schema.get("properties", {}), dict) or _depth(schema) > MAX_SCHEMA_DEPTH:
        return "has a schema that cannot be read"
    # Not on the way to the server's start.
    import jsonschema_rs  # noqa: PLC0415

    # Whatever it calls itself: another metaschema would be fetched from where its name says.
    schema.pop("$schema", None)
    if not jsonschema_rs.meta.is_valid(schema):
        return "has a schema that is none"
    return None


def _depth(value: object) -> int:
    """How deeply lists and objects are nested, without recursion."""
    deepest = 0
    left: list[tuple[object, int]] = [(value, 1)]
    while left:
        each, depth = left.pop()
        if isinstance(each, dict):
            left += [(inner, depth + 1) for inner in each.values()]
        elif isinstance(each, list):
            left += [(inner, depth + 1) for inner in each]
        else:
            continue
        deepest = max(deepest, depth)
        if deepest > MAX_SCHEMA_DEPTH:
            break
    return deepest
