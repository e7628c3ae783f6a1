"""From one wire format through the other and back: nothing that a model or its tools rely on is lost.

Both formats' real codecs are used, and every hop is bytes. Conversations are compared by what they
say (`essence`): the formats differ in where they cut turns and join texts.
"""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.dialects import anthropic_values, canonical
from tests.wire.anthropic.vendor import check_response, check_stream
from tests.wire.replay import HEAD, MODEL, sse_payloads

from dragoman.chat import (
    ChatRequest,
    ChatResponse,
    Choice,
    Image,
    Message,
    Opaque,
    Part,
    Reasoning,
    Refusal,
    StreamEvent,
    Text,
    ToolCall,
    ToolResult,
    collect,
    events_of,
)
from dragoman.dialects.anthropic import ANTHROPIC, ANTHROPIC_UPSTREAM
from dragoman.dialects.anthropic_tools import canonical_tool_id
from dragoman.dialects.openai import OPENAI, OPENAI_UPSTREAM
from dragoman.records.provider import ProviderRow

OPENAI_ROW = ProviderRow(
    name="o",
    wire="openai",
    base_url="https://o.test/v1",
    forwards=("reasoning_details", "cache_control"),
)
ANTHROPIC_ROW = ProviderRow(name="a", wire="anthropic", base_url="https://a.test/v1")
ASKED = {
    "openai": OPENAI.decode_request(
        b'{"model":"m","messages":[{"role":"user","content":"Hi"}],'
        b'"stream":true,"stream_options":{"include_usage":true}}',
        {},
    ),
    "anthropic": ANTHROPIC.decode_request(
        b'{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"Hi"}]}', {}
    ),
}


def essence(messages: tuple[Message, ...]) -> list[tuple[Any, ...]]:
    """What is said, thought, called and answered, in order; neighbouring texts are one."""
    found: list[tuple[Any, ...]] = []
    for message in messages:
        for part in message.parts:
            match part:
                case Text(text=text) | Refusal(text=text):
                    if found and found[-1][:2] == ("said", message.role):
                        # Instructions in several pieces are paragraphs.
                        gap = "\n\n" if message.role == "system" else ""
                        text = found.pop()[2] + gap + text
                    found.append(("said", message.role, text))
                case ToolCall():
                    found.append(("called", part.id, part.name, json.loads(part.arguments)))
                case ToolResult():
                    said = "".join([p.text for p in part.parts if isinstance(p, Text)])
                    found.append(("answered", part.call_id, said))
                case Reasoning():
                    found.append(("thought", part.text, part.signature, part.redacted))
                case Image():
                    found.append(("shown", part.url, part.data, part.media_type))
                case Opaque():
                    found.append(("kept", part.json))
    return found


def through_openai(request: ChatRequest) -> ChatRequest:
    body = OPENAI_UPSTREAM.encode_request(request, MODEL, OPENAI_ROW, stream=False)
    return OPENAI.decode_request(body, {})


def through_anthropic(request: ChatRequest) -> ChatRequest:
    body = ANTHROPIC_UPSTREAM.encode_request(request, MODEL, ANTHROPIC_ROW, stream=False)
    return ANTHROPIC.decode_request(body, {})


# --- Requests -----------------------------------------------------------------------------------


def _carried_by_both(message: Message) -> Message:
    """Without what one of the two has no place for."""
    parts: list[Part] = []
    for part in message.parts:
        if isinstance(part, ToolResult):
            # Images in results move behind them, and a failure is told in the text.
            kept = tuple([inner for inner in part.parts if isinstance(inner, Text)][:1])
            parts.append(ToolResult(call_id=part.call_id, parts=kept))
        elif not isinstance(part, Opaque):
            parts.append(part)
    return Message(message.role, tuple(parts) or (Text("."),))


conversations = (anthropic_values.conversations() | canonical.conversations()).map(
    lambda messages: (*map(_carried_by_both, messages), Message("user", (Text("Well?"),)))
)


@settings(max_examples=60)
@given(conversations)
def test_a_conversation_keeps_its_calls_ids_order_and_signed_thinking(
    messages: tuple[Message, ...],
) -> None:
    asked = msgspec.structs.replace(ASKED["openai"], messages=messages)
    first = through_anthropic(asked)
    # Through one format, a conversation is in the order that this format wants; from there on
    # neither may change it.
    assert essence(through_openai(first).messages) == essence(first.messages)
    assert essence(through_anthropic(through_openai(first)).messages) == essence(first.messages)
    called = [item for item in essence(messages) if item[0] in ("called", "answered")]
    kept = [item for item in essence(first.messages) if item[0] in ("called", "answered")]
    ids = [item[1] for item in called if item[0] == "called"]
    if len(ids) > len(set(ids)):
        # An id that a later turn uses again is given a new one, since this format wants all to differ.
        called = [(item[0], *item[2:]) for item in called]
        kept = [(item[0], *item[2:]) for item in kept]
    assert sorted(map(repr, kept)) == sorted(map(repr, called))


@settings(max_examples=40)
@given(anthropic_values.requests())
def test_tools_and_their_choice_survive(request: ChatRequest) -> None:
    plain = msgspec.structs.replace(request, messages=(Message("user", (Text("Hi"),)),))
    there = through_openai(plain)
    back = through_anthropic(there)
    for found in (there, back):
        assert found.tools == plain.tools
        assert found.tool_choice == plain.tool_choice
        assert found.parallel_tool_calls == plain.parallel_tool_calls
        assert found.max_output_tokens == plain.max_output_tokens
        assert found.sampling.temperature == plain.sampling.temperature
        assert found.response_format.schema == plain.response_format.schema


# --- Answers ------------------------------------------------------------------------------------


def _plain(response: ChatResponse) -> ChatResponse:
    """One choice, without token probabilities, which only one format has; refusals are texts."""
    choice = response.choices[0]
    parts = tuple([p for p in choice.parts if not isinstance(p, Refusal)])
    return ChatResponse(
        choices=(Choice(parts=parts, finish_reason=choice.finish_reason),),
        usage=response.usage,
    )


responses = canonical.responses(max_choices=1).map(_plain)


def _same(found: ChatResponse, response: ChatResponse) -> bool:
    said = [essence((Message("assistant", r.choices[0].parts),)) for r in (found, response)]
    return (
        said[0] == said[1]
        and found.usage == response.usage
        and found.choices[0].finish_reason == response.choices[0].finish_reason
    )


def _with_canonical_ids(response: ChatResponse) -> ChatResponse:
    """Ids as they are when a client of ours sends them back."""
    choice = response.choices[0]
    parts = [
        msgspec.structs.replace(part, id=canonical_tool_id(part.id))
        if isinstance(part, ToolCall)
        else part
        for part in choice.parts
    ]
    return msgspec.structs.replace(
        response, choices=(msgspec.structs.replace(choice, parts=tuple(parts)),)
    )


@given(responses, st.booleans())
def test_an_answer_survives_both_formats(response: ChatResponse, openai_first: bool) -> None:
    found = response
    for name in ("openai", "anthropic") if openai_first else ("anthropic", "openai"):
        if name == "openai":
            body = OPENAI.encode_response(ASKED[name], found, HEAD)
            found = OPENAI_UPSTREAM.decode_response(body)
        else:
            body = ANTHROPIC.encode_response(ASKED[name], found, HEAD)
            found = _with_canonical_ids(ANTHROPIC_UPSTREAM.decode_response(body))
    assert _same(found, response)


def _stream_through(name: str, events: list[StreamEvent]) -> list[StreamEvent]:
    dialect, upstream = (
        (OPENAI, OPENAI_UPSTREAM) if name == "openai" else (ANTHROPIC, ANTHROPIC_UPSTREAM)
    )
    encoder = dialect.stream_encoder(ASKED[name], HEAD)
    sent = b"".join([encoder.feed([event]) for event in events]) + encoder.close()
    decoder: Any = upstream.stream_decoder()
    found: list[StreamEvent] = []
    for payload in sse_payloads(sent):
        found += decoder.feed(payload)
    return found + decoder.close()  # type: ignore[no-any-return]  # the two share no base


@given(canonical.streams(max_choices=1), st.booleans())
def test_a_stream_survives_both_formats(
    case: tuple[ChatResponse, list[StreamEvent]], openai_first: bool
) -> None:
    response = _plain(case[0])
    # The cuts of the strategy's stream come back in the first hop's deltas.
    events = case[1] if _plain(case[0]) == case[0] else events_of(response)
    for name in ("openai", "anthropic") if openai_first else ("anthropic", "openai"):
        events = _stream_through(name, events)
        if name == "anthropic":
            events = events_of(_with_canonical_ids(collect(events)))
    assert _same(collect(events), response)


# --- Agents -------------------------------------------------------------------------------------

ODD_IDS = ["call_abc123", "functions.look:0", "call_a|fc_b", "toolu_01A", "é"]


@pytest.mark.parametrize("call_id", ODD_IDS)
def test_an_anthropic_agent_over_an_openai_provider_closes_its_tool_loop(call_id: str) -> None:
    answer = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "gpt",
        "choices": [
            {
                "index": 0,
                "finish_reason": "tool_calls",
                "message": {
                    "role": "assistant",
                    "content": "I look.",
                    "tool_calls": [
                        {
                            "id": call_id,
                            "type": "function",
                            "function": {"name": "look", "arguments": '{"at": "Rome"}'},
                        }
                    ],
                },
            }
        ],
        "usage": {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13},
    }
    response = OPENAI_UPSTREAM.decode_response(json.dumps(answer).encode())
    whole = check_response(ANTHROPIC.encode_response(ASKED["anthropic"], response, HEAD))
    encoder = ANTHROPIC.stream_encoder(ASKED["anthropic"], HEAD)
    streamed = check_stream(encoder.feed(events_of(response)))
    assert streamed is not None
    for message in (whole, streamed):
        content = [block.model_dump(exclude_none=True) for block in message.content]
        result = {"type": "tool_result", "tool_use_id": content[1]["id"], "content": "sunny"}
        body = {
            "model": "m",
            "max_tokens": 100,
            "messages": [
                {"role": "user", "content": "Weather?"},
                {"role": "assistant", "content": content},
                {"role": "user", "content": [result]},
            ],
        }
        request = ANTHROPIC.decode_request(json.dumps(body).encode(), {})
        sent = json.loads(OPENAI_UPSTREAM.encode_request(request, MODEL, OPENAI_ROW, stream=False))[
            "messages"
        ]
        assert sent[1]["tool_calls"][0]["id"] == call_id
        assert json.loads(sent[1]["tool_calls"][0]["function"]["arguments"]) == {"at": "Rome"}
        assert sent[2] == {"role": "tool", "tool_call_id": call_id, "content": "sunny"}


def test_an_openai_agent_over_an_anthropic_provider_returns_its_signed_thinking() -> None:
    content = [
        {"type": "thinking", "thinking": "Hm.", "signature": "c2ln"},
        {"type": "redacted_thinking", "data": "b3BhcXVl"},
        {"type": "text", "text": "I look."},
        {"type": "tool_use", "id": "toolu_01A", "name": "look", "input": {"at": "Rome"}},
        {"type": "tool_use", "id": "toolu_01B", "name": "look", "input": {}},
    ]
    answer = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude",
        "content": content,
        "stop_reason": "tool_use",
        "stop_sequence": None,
        "usage": {"input_tokens": 9, "cache_read_input_tokens": 90, "output_tokens": 4},
    }
    response = ANTHROPIC_UPSTREAM.decode_response(json.dumps(answer).encode())
    shown = json.loads(OPENAI.encode_response(ASKED["openai"], response, HEAD))
    assert shown["usage"]["prompt_tokens"] == 99
    assert shown["usage"]["prompt_tokens_details"]["cached_tokens"] == 90
    body = {
        "model": "m",
        "messages": [
            {"role": "user", "content": "Weather?"},
            shown["choices"][0]["message"],
            {"role": "tool", "tool_call_id": "toolu_01A", "content": "sunny"},
            {"role": "tool", "tool_call_id": "toolu_01B", "content": "dark"},
        ],
    }
    request = OPENAI.decode_request(json.dumps(body).encode(), {})
    sent = json.loads(
        ANTHROPIC_UPSTREAM.encode_request(request, MODEL, ANTHROPIC_ROW, stream=False)
    )["messages"]
    assert sent[1] == {"role": "assistant", "content": content}
    assert [block["tool_use_id"] for block in sent[2]["content"]] == ["toolu_01A", "toolu_01B"]
