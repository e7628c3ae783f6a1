"""Which server-side tools a request has: what is attached to its model, as the request switches it.

Tools never run unasked. `use_tools: true` turns on those that are attached as enabled; a switch turns one, or all of a
server, on or off; `use_tools: false` turns off everything. Switches alone turn on what they name, and nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence

from dragoman.chat import ChatRequest, RequestContext
from dragoman.errors import InvalidRequest
from dragoman.records.project import AttachedTool
from dragoman.records.tool_server import ServerTool

MAX_NAMED = 20
MAX_SHOWN_CHARS = 100
MAX_OFFERED = 128
"""More functions than this no model is sent: https://platform.openai.com/docs/api-reference/chat/create."""


def asks_for_tools(context: RequestContext) -> bool:
    """Whether the request turns any tool on."""
    if context.use_tools is None:
        return any(switch.enabled for switch in context.tool_switches)
    return context.use_tools


def servers_of(attached: Sequence[AttachedTool]) -> list[str]:
    """Keys of the servers whose tools are attached."""
    return list(dict.fromkeys(_server_of(each.id) for each in attached))


def choose(
    attached: Sequence[AttachedTool], offered: Sequence[ServerTool], request: ChatRequest
) -> tuple[ServerTool, ...]:
    """Those of `offered` that are on for `request`. Raises `InvalidRequest`."""
    context = request.context
    for index, switch in enumerate(context.tool_switches):
        if not _is_known(switch.id, attached, offered):
            raise _unknown(index, switch.id, attached, offered)
    if context.use_tools is False:
        return ()
    by_default = {each.id: each.enabled and context.use_tools is True for each in attached}
    switched = {switch.id: switch.enabled for switch in context.tool_switches}
    chosen = [tool for tool in offered if _is_on(tool, by_default, switched)]
    if not chosen:
        return ()
    if request.choices > 1:
        raise InvalidRequest("n must be 1 where server-side tools are used", param="n")
    names = {tool.function.name for tool in chosen}
    for function in request.tools:
        if function.name in names:
            raise InvalidRequest(
                f"tools: the function '{function.name[:MAX_SHOWN_CHARS]}' has the name of a"
                " server-side tool; rename it, or switch that tool off",
                param="tools",
            )
    return tuple(chosen[: max(MAX_OFFERED - len(request.tools), 0)])


def _is_on(tool: ServerTool, by_default: dict[str, bool], switched: dict[str, bool]) -> bool:
    """The narrower word goes before the wider, and the request's before the project's."""
    default = by_default.get(tool.id, by_default.get(tool.server))
    if default is None:
        # Its server is attached for other tools.
        return False
    return switched.get(tool.id, switched.get(tool.server, default))


def _is_known(switch: str, attached: Sequence[AttachedTool], offered: Sequence[ServerTool]) -> bool:
    ids = {each.id for each in attached}
    if switch in ids or switch in servers_of(attached):
        return True
    server = _server_of(switch)
    if server not in ids:
        return False
    of_server = [tool.id for tool in offered if tool.server == server]
    # A server that cannot be asked may well have it.
    return not of_server or switch in of_server


def _unknown(
    index: int, switch: str, attached: Sequence[AttachedTool], offered: Sequence[ServerTool]
) -> InvalidRequest:
    ids = sorted({each.id for each in attached} | {tool.id for tool in offered})
    listed = ", ".join(f"'{each}'" for each in ids[:MAX_NAMED]) or "none"
    more = ", …" if len(ids) > MAX_NAMED else ""
    return InvalidRequest(
        f"tools[{index}].id: '{switch[:MAX_SHOWN_CHARS]}' is no tool of this model; there are"
        f" {listed}{more}",
        param=f"tools[{index}].id",
    )


def _server_of(tool_id: str) -> str:
    return tool_id.partition("/")[0]
