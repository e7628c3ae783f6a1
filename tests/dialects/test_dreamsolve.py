"""What `dreamsolve` takes from its clients and shows them, rule by rule."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.wire.replay import HEAD, frames

from dragoman import errors
from dragoman.chat import (
    ChatRequest,
    ChatResponse,
    Choice,
    Failed,
    Finished,
    Part,
    PartDelta,
    PartEnded,
    PartStarted,
    Reasoning,
    Started,
    StreamEvent,
    Text,
    ToolCall,
    ToolChoice,
    Usage,
)
from dragoman.dialects.dreamsolve import DREAMSOLVE
from dragoman.errors import DragomanError, InvalidRequest

USER = {"role": "user", "content": "Hi"}
TOOL = {"name": "get_weather", "description": "Weather", "input_schema": {"type": "object"}}


def decode(headers: dict[str, str] | None = None, **fields: Any) -> ChatRequest:
    body = {"messages": [USER]} | fields
    return DREAMSOLVE.decode_request(json.dumps(body).encode(), headers or {})


def answer(*parts: Part, reason: Any = "stop") -> dict[str, Any]:
    response = ChatResponse(
        choices=(Choice(parts=parts, finish_reason=reason),),
        usage=Usage(input_tokens=20, cached_input_tokens=5, output_tokens=3),
    )
    found: dict[str, Any] = json.loads(DREAMSOLVE.encode_response(decode(), response, HEAD))
    return found


def test_defaults() -> None:
    request = decode()
    assert request.target is None
    assert request.max_output_tokens == 1000
    assert request.stream is request.bare_text is False
    assert decode(max_tokens=None, tools=[], tool_choice="auto", stream=None) == request


@pytest.mark.parametrize("max_tokens", [1, 100_000])
def test_max_tokens_within_its_range(max_tokens: int) -> None:
    assert decode(max_tokens=max_tokens).max_output_tokens == max_tokens


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": 100_001}, "max_tokens"),
        ({"max_tokens": "many"}, "max_tokens"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
        ({"messages": ["Hi"]}, "messages[0]"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image"}]}]},
            "messages[0].content[0].type",
        ),
        ({"tool_choice": "any"}, "tool_choice"),
        ({"tool_choice": {"type": "any"}, "tools": []}, "tool_choice"),
        ({"tool_choice": "sometimes", "tools": [TOOL]}, "tool_choice"),
        ({"tool_choice": {"type": "tool", "name": "x"}, "tools": [TOOL]}, "tool_choice.name"),
        ({"tools": [{"name": "x"}]}, "tools[0].input_schema"),
        ({"stream": "yes"}, "stream"),
    ],
)
def test_other_faults_name_their_field_in_one_string(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        decode(**fields)
    assert caught.value.param == param
    body = json.loads(DREAMSOLVE.encode_error(caught.value, "req_1"))
    assert list(body) == ["error"]
    assert param in body["error"]


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b'"x"', b"null", b"{}", b'{"messages":{}}', b'{"messages":[]}', b"\xff"],
)
def test_a_body_without_messages_is_told_so_in_the_documents_words(body: bytes) -> None:
    with pytest.raises(InvalidRequest) as caught:
        DREAMSOLVE.decode_request(body, {})
    assert DREAMSOLVE.error_status(caught.value) == 400
    assert json.loads(DREAMSOLVE.encode_error(caught.value, "req_1")) == {
        "error": "Messages are required and must be an array"
    }


def test_system_messages_are_collected_in_order() -> None:
    request = decode(
        messages=[
            USER,
            {"role": "system", "content": "One."},
            {"role": "assistant", "content": "Yes?"},
            {"role": "system", "content": [{"type": "text", "text": "Two."}]},
        ]
    )
    assert [(message.role, message.text) for message in request.messages] == [
        ("system", "One."),
        ("system", "Two."),
        ("user", "Hi"),
        ("assistant", "Yes?"),
    ]


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ("auto", ToolChoice("auto")),
        ("any", ToolChoice("required")),
        ("none", ToolChoice("none")),
        ({"type": "any"}, ToolChoice("required")),
        ({"type": "tool", "name": "get_weather"}, ToolChoice("named", "get_weather")),
    ],
)
def test_tool_choice_in_words_and_in_anthropics_form(choice: Any, expected: ToolChoice) -> None:
    assert decode(tools=[TOOL], tool_choice=choice).tool_choice == expected


def test_a_model_named_by_the_client_is_ignored_and_said_to_be() -> None:
    request = decode(model="gpt-5", temperature=0.1)
    assert request.target is None
    assert [name for name, _ in request.extensions] == ["model", "temperature"]


# --- Answers ------------------------------------------------------------------------------------


def test_the_answer_holds_text_and_calls_and_the_whole_prompt_in_its_usage() -> None:
    body = answer(
        Reasoning(text="Hm."),
        Text("Let me see."),
        ToolCall(id="call_1", name="get_weather", arguments='{"location":"Paris"}'),
        reason="tool_calls",
    )
    assert body == {
        "id": "msg_" + HEAD.response_id,
        "type": "message",
        "role": "assistant",
        "content": [
            {"type": "text", "text": "Let me see."},
            {
                "type": "tool_use",
                "id": "toolu_id_call_1",
                "name": "get_weather",
                "input": {"location": "Paris"},
            },
        ],
        "model": HEAD.model,
        "stop_reason": "tool_use",
        "stop_sequence": None,
        "usage": {"input_tokens": 20, "output_tokens": 3},
    }


@pytest.mark.parametrize(
    ("reason", "shown"),
    [("stop", "end_turn"), ("length", "max_tokens"), ("content_filter", "refusal")],
)
def test_stop_reasons(reason: Any, shown: str) -> None:
    assert answer(Text("x"), reason=reason)["stop_reason"] == shown


def test_an_empty_answer_still_has_a_text() -> None:
    assert answer()["content"] == [{"type": "text", "text": ""}]


def test_what_was_answered_is_taken_back() -> None:
    content = answer(ToolCall(id="f:0", name="get_weather", arguments="oops"))["content"]
    result = {"type": "tool_result", "tool_use_id": content[0]["id"], "content": "21 °C"}
    request = decode(
        tools=[TOOL],
        messages=[
            USER,
            {"role": "assistant", "content": content},
            {"role": "user", "content": [result]},
        ],
    )
    assert request.messages[1].parts == (ToolCall(id="f:0", name="get_weather", arguments="oops"),)
    assert request.messages[2].role == "tool"


@pytest.mark.parametrize(
    ("error", "status", "text"),
    [
        (errors.Unauthenticated(), 401, "Unauthorized. Please log in."),
        (errors.InsufficientCredits(), 402, "Insufficient credits"),
        (errors.RateLimited(), 429, "Rate limit exceeded"),
        (errors.Internal(), 500, "Failed to get AI response"),
        (errors.Overloaded(), 500, "Failed to get AI response"),
        (errors.ProviderTimeout(), 500, "Failed to get AI response"),
        (errors.EngineFailed(), 500, "Failed to get AI response"),
        (errors.FirstTokenTimeout(), 500, "Failed to get AI response"),
        (errors.BodyTooLarge(), 413, errors.BodyTooLarge.default_message),
        (errors.UnknownRoute(), 404, errors.UnknownRoute.default_message),
        (errors.MethodNotAllowed(), 405, errors.MethodNotAllowed.default_message),
        (errors.ContextOverflow("messages are too long"), 400, "messages are too long"),
    ],
)
def test_errors_are_one_string(error: DragomanError, status: int, text: str) -> None:
    assert DREAMSOLVE.error_status(error) == status
    assert json.loads(DREAMSOLVE.encode_error(error, "req_1")) == {"error": text}


# --- Streams ------------------------------------------------------------------------------------

EVENTS: list[StreamEvent] = [
    Started(),
    PartStarted(Reasoning()),
    PartDelta("Hm."),
    PartEnded(0, "c2ln"),
    PartStarted(Text("")),
    PartDelta("Hello"),
    PartDelta(" Wörld"),
    PartEnded(),
    PartStarted(ToolCall(id="call_1", name="f")),
    PartDelta("{}"),
    PartEnded(),
    Finished("tool_calls", usage=Usage(input_tokens=1, output_tokens=2)),
]


def test_a_stream_is_plain_text_by_its_header_and_frames_by_its_content() -> None:
    request = decode(stream=True)
    assert DREAMSOLVE.stream_content_type(request) == "text/plain; charset=utf-8"
    encoder = DREAMSOLVE.stream_encoder(request, HEAD)
    found = frames(encoder.feed(EVENTS) + encoder.close())
    assert [frame[0][1] for frame in found] == [
        "message_start",
        *("content_block_start", "content_block_delta", "content_block_delta"),
        *("content_block_stop", "content_block_start", "content_block_delta"),
        *("content_block_stop", "message_delta", "message_stop"),
    ]
    # Thinking is not shown, and takes no index.
    assert [frame[1][1].get("index") for frame in found] == [
        *(None, 0, 0, 0, 0, 1, 1, 1, None, None)
    ]
    assert found[-2][1][1]["usage"] == {"input_tokens": 1, "output_tokens": 2}


@pytest.mark.parametrize("value", ["text", " Text "])
def test_bare_text_is_text_alone(value: str) -> None:
    request = decode({"x-stream-format": value}, stream=True)
    assert request.bare_text
    encoder = DREAMSOLVE.stream_encoder(request, HEAD)
    assert encoder.feed(EVENTS) + encoder.close() == "Hello Wörld".encode()


def test_bare_text_has_no_frame_for_an_error() -> None:
    encoder = DREAMSOLVE.stream_encoder(decode({"x-stream-format": "text"}, stream=True), HEAD)
    failed: list[StreamEvent] = [*EVENTS[:6], Failed(errors.ProviderGarbled())]
    assert encoder.feed(failed) + encoder.close() == b"Hello"


def test_other_stream_formats_change_nothing() -> None:
    assert not decode({"x-stream-format": "text"}).bare_text
    assert not decode({"x-stream-format": "json"}, stream=True).bare_text
