"""Conversations in the form in which they are kept."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from dragoman.chat import (
    Image,
    Message,
    Opaque,
    Part,
    Reasoning,
    Refusal,
    Text,
    Tool,
    ToolCall,
    ToolResult,
)
from dragoman.policy.interactions.transcript import encode_answer, encode_messages, encode_tools

PNG = Image(data="aGVsbG8=", media_type="image/png", detail="low")
PNG_URL = "data:image/png;base64,aGVsbG8="


def encoded(*messages: Message, with_data: bool = True) -> Any:
    return json.loads(bytes(encode_messages(messages, with_data=with_data)))


def answer(*parts: Part) -> Any:
    return json.loads(bytes(encode_answer(parts)))


@pytest.mark.parametrize(
    ("message", "wire"),
    [
        (Message("user", (Text("hi"),)), {"role": "user", "content": "hi"}),
        (Message("user", (), name="ann"), {"role": "user", "content": "", "name": "ann"}),
        (
            Message("system", (Text("a"), Text("b"))),
            {
                "role": "system",
                "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}],
            },
        ),
        (
            Message("user", (PNG, Text("what?"))),
            {
                "role": "user",
                "content": [
                    {"type": "image_url", "image_url": {"url": PNG_URL, "detail": "low"}},
                    {"type": "text", "text": "what?"},
                ],
            },
        ),
        (
            Message("user", (Image(url="https://example.com/a.png"),)),
            {
                "role": "user",
                "content": [
                    {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}
                ],
            },
        ),
        (
            Message("assistant", (ToolCall(id="c1", name="f"),)),
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [
                    {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
                ],
            },
        ),
        (
            Message("tool", (ToolResult(call_id="c1", parts=(Text("done"),)),)),
            {"role": "tool", "tool_call_id": "c1", "content": "done"},
        ),
        (
            Message("tool", (ToolResult(call_id="c1"),)),
            {"role": "tool", "tool_call_id": "c1", "content": ""},
        ),
        (
            Message("user", (Opaque(wire="openai", kind="file", json='{"type":"file","n":1}'),)),
            {"role": "user", "content": [{"type": "file", "n": 1}]},
        ),
        (
            Message("user", (Text("hi"),), completion_id="c", metadata=msgspec.Raw(b'{"a":[1,2]}')),
            {"role": "user", "content": "hi", "completion_id": "c", "metadata": {"a": [1, 2]}},
        ),
    ],
)
def test_a_message_has_openais_form(message: Message, wire: Any) -> None:
    assert encoded(message) == [wire]


def test_results_of_one_turn_come_before_what_else_it_says() -> None:
    turn = Message(
        "user",
        (
            Text("and now?"),
            ToolResult(call_id="a", parts=(Text("1"),)),
            ToolResult(call_id="b", parts=(Text("see"), PNG), is_error=True),
        ),
    )
    assert encoded(turn) == [
        {"role": "tool", "tool_call_id": "a", "content": "1"},
        {
            "role": "tool",
            "tool_call_id": "b",
            "content": [
                {"type": "text", "text": "see"},
                {"type": "image_url", "image_url": {"url": PNG_URL, "detail": "low"}},
            ],
        },
        {"role": "user", "content": "and now?"},
    ]


def test_an_answer_is_an_assistants_message() -> None:
    assert answer(Text("hi")) == {"role": "assistant", "content": "hi"}
    assert answer() == {"role": "assistant", "content": ""}
    assert answer(Refusal("no")) == {"role": "assistant", "content": None, "refusal": "no"}
    told = answer(
        Reasoning(text="let me "),
        Reasoning(text="think", signature="s"),
        Text("so: "),
        ToolCall(id="1", name="f", arguments='{"a": 1}'),
        ToolCall(id="2", name="g", arguments="{}"),
    )
    assert told["reasoning_content"] == "let me think"
    assert told["content"] == "so: "
    assert [call["function"]["name"] for call in told["tool_calls"]] == ["f", "g"]
    assert told["tool_calls"][0]["function"]["arguments"] == '{"a": 1}'


def test_without_data_images_and_files_are_described() -> None:
    turn = Message("user", (PNG, Opaque(wire="openai", kind="file", json="{}"), Text("hi")))
    (wire,) = encoded(turn, with_data=False)
    assert [part["text"] for part in wire["content"]] == [
        "[image image/png, 8 characters, not kept]",
        "[file, 2 characters, not kept]",
        "hi",
    ]


def test_functions_have_openais_form() -> None:
    assert encode_tools(()) is None
    raw = encode_tools(
        [
            Tool(name="f", description="Does.", parameters=msgspec.Raw(b'{"type":"object"}')),
            Tool(name="g", strict=True),
        ]
    )
    assert raw is not None
    first, second = json.loads(bytes(raw))
    assert first == {
        "type": "function",
        "function": {"name": "f", "description": "Does.", "parameters": {"type": "object"}},
    }
    assert second["function"]["strict"] is True
