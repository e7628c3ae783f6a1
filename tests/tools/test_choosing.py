"""Which tools a request has."""

from __future__ import annotations

import msgspec
import pytest

from dragoman.chat import ChatRequest, Message, RequestContext, Text, Tool, ToolSwitch
from dragoman.errors import InvalidRequest
from dragoman.records.project import AttachedTool
from dragoman.records.tool_server import ServerTool
from dragoman.tools.choosing import asks_for_tools, choose, servers_of

OFFERED = [
    ServerTool(server=server, name=name, function=Tool(name=f"{server}__{name}"))
    for server, name in (("map", "find"), ("map", "route"), ("shop", "buy"), ("shop", "look"))
]
ATTACHED = (
    AttachedTool("map"),
    AttachedTool("map/route", enabled=False),
    AttachedTool("shop/look", enabled=False),
)


def asking(
    *switches: tuple[str, bool], use_tools: bool | None = None, **fields: object
) -> ChatRequest:
    request = ChatRequest(
        dialect="studio",
        target="p",
        messages=(Message("user", (Text("hi"),)),),
        context=RequestContext(
            use_tools=use_tools,
            tool_switches=tuple([ToolSwitch(name, enabled) for name, enabled in switches]),
        ),
    )
    return msgspec.structs.replace(request, **fields)


def chosen(request: ChatRequest) -> list[str]:
    return [tool.id for tool in choose(ATTACHED, OFFERED, request)]


def test_nothing_runs_unasked() -> None:
    assert not asks_for_tools(asking().context)
    assert chosen(asking()) == []


def test_use_tools_turns_on_what_is_enabled() -> None:
    assert asks_for_tools(asking(use_tools=True).context)
    assert chosen(asking(use_tools=True)) == ["map/find"]


def test_switches_choose_among_what_is_attached() -> None:
    assert chosen(asking(("map/route", True), use_tools=True)) == ["map/find", "map/route"]
    assert chosen(asking(("map", False), ("shop/look", True), use_tools=True)) == ["shop/look"]
    assert chosen(asking(("map", True), ("map/find", False), use_tools=True)) == ["map/route"]


def test_a_switch_alone_turns_on_what_it_names() -> None:
    request = asking(("shop/look", True))
    assert asks_for_tools(request.context)
    assert chosen(request) == ["shop/look"]
    assert not asks_for_tools(asking(("map", False)).context)


def test_use_tools_false_is_the_last_word() -> None:
    request = asking(("map", True), use_tools=False)
    assert not asks_for_tools(request.context)
    assert chosen(request) == []


@pytest.mark.parametrize("name", ["shop/buy", "maps", "map/fly", "", "x" * 5000])
def test_a_switch_of_nothing_is_refused(name: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        chosen(asking(("map", True), (name, True)))
    assert refused.value.param == "tools[1].id"
    assert "'map/find'" in refused.value.message
    assert len(refused.value.message) < 500


def test_a_server_that_cannot_be_asked_may_have_what_is_named() -> None:
    assert choose(ATTACHED, [], asking(("map/anything", True))) == ()


def test_several_choices_are_refused() -> None:
    with pytest.raises(InvalidRequest) as refused:
        chosen(asking(use_tools=True, choices=2))
    assert refused.value.param == "n"


def test_functions_may_not_share_a_name() -> None:
    with pytest.raises(InvalidRequest, match="'map__find'"):
        chosen(asking(use_tools=True, tools=(Tool(name="map__find"),)))


def test_servers_are_asked_once_each() -> None:
    assert servers_of(ATTACHED) == ["map", "shop"]
