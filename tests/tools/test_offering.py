"""Names that every provider takes, and that no two tools share."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from dragoman.tools.offering import ListedTool, function_name, offer

SLUGS = st.from_regex(r"[a-z0-9][a-z0-9_-]{0,63}", fullmatch=True)
NAMES = st.text(min_size=1, max_size=128)


@given(SLUGS, NAMES)
def test_a_function_has_a_name_that_every_provider_takes(server: str, tool: str) -> None:
    assert re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", function_name(server, tool))


@given(st.lists(st.tuples(SLUGS, NAMES), max_size=20, unique=True))
def test_no_two_tools_share_a_name(tools: list[tuple[str, str]]) -> None:
    assert len({function_name(*tool) for tool in tools}) == len(tools)


def test_names_that_could_be_read_in_two_ways_differ() -> None:
    assert function_name("a", "b") == "a__b"
    assert function_name("a__b", "c") != function_name("a", "b__c")
    assert function_name("a_", "b") != function_name("a", "_b")
    assert function_name("a", "b.c") != function_name("a", "b/c")


def test_offers_are_in_order_and_empty_schemas_are_spelled_out() -> None:
    listed = [
        ListedTool("b", None, b'{"type":"object"}'),
        ListedTool("a", "", b'{"type":"object"}'),
    ]
    offered = offer("s", listed)
    assert [tool.id for tool in offered] == ["s/a", "s/b"]
    assert bytes(offered[0].function.parameters) == b'{"type":"object","properties":{}}'
    assert offered[0].function.description is None
