"""Telling text from tool calls in what a model without tools writes."""

from __future__ import annotations

import json
import random
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.engine.grammar_samples import Sampler

from dragoman.chat import Tool, ToolCall
from dragoman.providers.local_calls import (
    BadParameters,
    CallArguments,
    CallBegun,
    CallEnded,
    ForcedCallReader,
    PlainText,
    PossibleCallReader,
    Read,
    calls_grammar,
    describe_call,
)

NAMES = frozenset({"get_weather", "add"})


def split_at_random(text: str, seed: int) -> list[str]:
    source = random.Random(seed)
    pieces = []
    while text:
        count = source.randint(1, 6)
        pieces.append(text[:count])
        text = text[count:]
    return pieces


def joined(found: list[Read]) -> list[tuple[str, str]]:
    """Calls with their arguments, and texts, neighbours put together."""
    result: list[tuple[str, str]] = []
    for item in found:
        match item:
            case PlainText(text):
                if result and result[-1][0] == "":
                    result[-1] = ("", result[-1][1] + text)
                else:
                    result.append(("", text))
            case CallBegun(name):
                result.append((name, ""))
            case CallArguments(text):
                result[-1] = (result[-1][0], result[-1][1] + text)
            case CallEnded():
                pass
    return result


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Just text.", [("", "Just text.")]),
        ("2 < 3 and <tool> is no marker", [("", "2 < 3 and <tool> is no marker")]),
        (
            '<tool_call>{"name": "add", "arguments": {"a": 1}}</tool_call>',
            [("add", '{"a": 1}')],
        ),
        (
            'Sure. <tool_call>{"name": "add", "arguments": {}}</tool_call>\n'
            '<tool_call>[{"name": "get_weather", "arguments": {"city": "Rome"}}]</tool_call>',
            [("", "Sure. "), ("add", "{}"), ("get_weather", '{"city": "Rome"}')],
        ),
        ('{"name": "add", "parameters": {"a": 1}}', [("add", '{"a": 1}')]),
        ('{"name": "unknown", "arguments": {}}', [("", '{"name": "unknown", "arguments": {}}')]),
        ('{"city": "Rome"}', [("", '{"city": "Rome"}')]),
        ('<tool_call>{"name": "add"', [("", '<tool_call>{"name": "add"')]),
        ('<tool_call>{"name": "add", "arguments": {}}', [("add", "{}")]),
        ("<tool_call>not JSON</tool_call>", [("", "<tool_call>not JSON</tool_call>")]),
        ('{"name": "add", "arguments": [1]}', [("", '{"name": "add", "arguments": [1]}')]),
        ("", []),
    ],
)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_possible_call_is_read_however_the_text_is_split(
    text: str, expected: list[tuple[str, str]], seed: int
) -> None:
    reader = PossibleCallReader(NAMES)
    found: list[Read] = []
    for piece in split_at_random(text, seed):
        found += reader.feed(piece)
    assert joined(found + reader.finish()) == expected


def test_text_is_held_back_only_while_it_may_be_a_call() -> None:
    reader = PossibleCallReader(NAMES)
    assert joined(reader.feed("Hello <")) == [("", "Hello ")]
    assert joined(reader.feed("b>")) == [("", "<b>")]
    reader = PossibleCallReader(NAMES)
    assert reader.feed('{"na') == []
    assert joined(reader.feed('tion": 1')) == [("", '{"nation": 1')]


@given(st.text(max_size=60), st.integers(0, 99))
def test_no_text_is_lost_or_changed(text: str, seed: int) -> None:
    reader = PossibleCallReader(NAMES)
    found: list[Read] = []
    for piece in split_at_random(text, seed):
        found += reader.feed(piece)
    assert "".join(part for _, part in joined(found + reader.finish())) == text


TOOLS = [
    Tool(
        name='odd "name" \\ é',
        parameters=msgspec.Raw(
            b'{"type":"object","properties":{"s":{"type":"string"},"o":{"type":"object"}},'
            b'"required":["s"]}'
        ),
    ),
    Tool(name="plain", parameters=msgspec.Raw(b'{"properties":{}}')),
]
SCHEMAS: list[dict[str, Any]] = [
    {
        "type": "object",
        "properties": {"s": {"type": "string"}, "o": {"type": "object"}},
        "required": ["s"],
    },
    {"properties": {}},
]


@pytest.mark.parametrize("parallel", [False, True])
@pytest.mark.parametrize("seed", range(20))
def test_forced_calls_are_read_as_their_grammar_writes_them(parallel: bool, seed: int) -> None:
    text = Sampler(calls_grammar(TOOLS, SCHEMAS, parallel=parallel), seed).text()
    reader = ForcedCallReader()
    found: list[Read] = []
    for piece in split_at_random(text, seed):
        found += reader.feed(piece)
    assert reader.finish() == []
    written = json.loads(text)
    calls = written if parallel else [written]
    read = [(name, json.loads(arguments)) for name, arguments in joined(found)]
    assert read == [(call["name"], call["arguments"]) for call in calls]


def test_a_forced_call_that_is_cut_is_still_closed() -> None:
    reader = ForcedCallReader()
    found = reader.feed('{"name":"plain","arguments":{"a": "b')
    assert found == [CallBegun("plain"), CallArguments('{"a": "b')]
    assert reader.finish() == [CallEnded()]


def test_parameters_that_cannot_be_enforced_are_told_by_their_tool() -> None:
    with pytest.raises(BadParameters) as refused:
        calls_grammar(TOOLS, [{}, {"not": {}}], parallel=False)
    assert refused.value.index == 1


def test_an_earlier_call_is_written_as_it_would_be_read() -> None:
    call = ToolCall(id="call_1", name="add", arguments='{"a":1}')
    reader = PossibleCallReader(NAMES)
    assert joined(reader.feed(describe_call(call)) + reader.finish()) == [("add", '{"a":1}')]
