"""What a provider that speaks Anthropic's wire format is asked, and how its answers are read."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from tests.wire.replay import MODEL, ROWS

from dragoman.chat import (
    ChatRequest,
    Image,
    Message,
    Opaque,
    Part,
    PartDelta,
    PartEnded,
    PartStarted,
    Reasoning,
    Refusal,
    ResponseFormat,
    Sampling,
    Started,
    StreamEvent,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
    collect,
)
from dragoman.dialects.anthropic import ANTHROPIC_UPSTREAM, UPSTREAM_LACKS
from dragoman.dialects.anthropic.upstream import can_send_stop
from dragoman.errors import (
    BodyTooLarge,
    ContextOverflow,
    DragomanError,
    InvalidRequest,
    ProviderError,
    ProviderGarbled,
    ProviderOverloaded,
    ProviderRefusedUs,
    ProviderTimeout,
    UnsupportedField,
)

ROW = ROWS["anthropic"]


def message(role: Any, *parts: Part | str, name: str | None = None) -> Message:
    return Message(role, tuple(Text(p) if isinstance(p, str) else p for p in parts), name)


def encode(*messages: Message, row: Any = ROW, model: Any = MODEL, **fields: Any) -> dict[str, Any]:
    request = ChatRequest(
        dialect="openai", target="m", messages=messages or (message("user", "Hi"),), **fields
    )
    body = ANTHROPIC_UPSTREAM.encode_request(request, model, row, stream=False)
    found: dict[str, Any] = json.loads(body)
    return found


# --- Requests -----------------------------------------------------------------------------------


def test_a_maximum_is_always_sent() -> None:
    small = msgspec.structs.replace(MODEL, max_output_tokens=100)
    assert encode()["max_tokens"] == 4096
    assert encode(model=small)["max_tokens"] == 100
    assert encode(model=small, max_output_tokens=7)["max_tokens"] == 7


def test_system_messages_are_lifted_in_order() -> None:
    body = encode(
        message("system", "One."), message("user", "Hi"), message("system", "Two."),
        message("user", "Ho"),
    )  # fmt: skip
    assert body["system"] == [{"type": "text", "text": "One."}, {"type": "text", "text": "Two."}]
    assert body["messages"] == [
        {
            "role": "user",
            "content": [{"type": "text", "text": "Hi"}, {"type": "text", "text": "Ho"}],
        }
    ]


def test_turns_alternate_and_results_come_first_in_theirs() -> None:
    body = encode(
        message("user", "Weather?"),
        message("assistant", "I look."),
        message("assistant", ToolCall(id="a", name="f"), ToolCall(id="b", name="f")),
        message("user", "Hurry!"),
        message("tool", ToolResult(call_id="b", parts=(Text("B"),), name="f")),
        message("tool", ToolResult(call_id="a")),
    )
    assert [turn["role"] for turn in body["messages"]] == ["user", "assistant", "user"]
    assert body["messages"][2]["content"] == [
        {"type": "tool_result", "tool_use_id": "b", "content": "B"},
        {"type": "tool_result", "tool_use_id": "a"},
        {"type": "text", "text": "Hurry!"},
    ]


def test_repeated_and_odd_tool_ids_become_unique_and_plain() -> None:
    body = encode(
        message("user", "Go"),
        message("assistant", ToolCall(id="call_0", name="f"), ToolCall(id="f:1", name="f")),
        message("tool", ToolResult(call_id="call_0"), ToolResult(call_id="f:1")),
        message("assistant", ToolCall(id="call_0", name="f")),
        message("tool", ToolResult(call_id="call_0")),
    )
    turns = body["messages"]
    first = [block["id"] for block in turns[1]["content"]]
    again = [block["id"] for block in turns[3]["content"]]
    assert first == ["call_0", "toolu_b64_Zjox"]
    assert len({*first, *again}) == 3
    assert [block["tool_use_id"] for block in turns[2]["content"]] == first
    assert [block["tool_use_id"] for block in turns[4]["content"]] == again
    assert all(i.replace("_", "").replace("-", "").isalnum() for i in first + again)


def test_results_of_calls_with_one_id_in_one_turn_are_told_apart_by_their_order() -> None:
    call = ToolCall(id="call_0", name="f")
    body = encode(
        message("user", "Go"),
        message("assistant", call, call),
        message("tool", ToolResult(call_id="call_0", parts=(Text("first"),))),
        message("tool", ToolResult(call_id="call_0", parts=(Text("second"),))),
        message("assistant", call),
        message("tool", ToolResult(call_id="call_0", parts=(Text("third"),))),
    )
    calls = [block["id"] for turn in (1, 3) for block in body["messages"][turn]["content"]]
    results = [
        (block["tool_use_id"], block["content"])
        for turn in (2, 4)
        for block in body["messages"][turn]["content"]
    ]
    assert len(set(calls)) == 3
    assert results == list(zip(calls, ("first", "second", "third"), strict=True))


def test_blank_texts_are_left_out() -> None:
    body = encode(
        message("system", " "),
        message("user", "Hi", "", "\n"),
        message("assistant", ""),
        message("user", "Still there?"),
    )
    assert "system" not in body
    assert body["messages"] == [
        {
            "role": "user",
            "content": [{"type": "text", "text": "Hi"}, {"type": "text", "text": "Still there?"}],
        }
    ]


def test_only_signed_thinking_goes_back() -> None:
    body = encode(
        message("user", "Hi"),
        message(
            "assistant",
            Reasoning(text="mine"),
            Reasoning(text="yours", signature="c2ln"),
            Reasoning(redacted="x"),
            "Hello",
            Refusal("no"),
        ),
    )
    assert body["messages"][1]["content"] == [
        {"type": "thinking", "thinking": "yours", "signature": "c2ln"},
        {"type": "redacted_thinking", "data": "x"},
        {"type": "text", "text": "Hello"},
        {"type": "text", "text": "no"},
    ]


@pytest.mark.parametrize(
    ("arguments", "sent"),
    [("", {}), ("null", {}), ('{"a": 1}', {"a": 1}), ('{"a": ', {"INVALID_JSON": '{"a": '})],
)
def test_arguments_are_sent_as_an_object(arguments: str, sent: dict[str, Any]) -> None:
    call = ToolCall(id="a", name="f", arguments=arguments)
    body = encode(message("user", "Hi"), message("assistant", call))
    assert body["messages"][1]["content"][0]["input"] == sent


def test_tools_and_schemas() -> None:
    plain = Tool(name="f", parameters=msgspec.Raw(b'{"properties": {"a": {}}}'), strict=True)
    typed = Tool(name="g", parameters=msgspec.Raw(b'{"type": "object"}'), cache="5m")
    body = encode(tools=(plain, typed), tool_choice=ToolChoice("required"))
    assert body["tools"] == [
        {
            "name": "f",
            "input_schema": {"type": "object", "properties": {"a": {}}},
            "strict": True,
        },
        {
            "name": "g",
            "input_schema": {"type": "object"},
            "cache_control": {"type": "ephemeral"},
        },
    ]
    assert body["tool_choice"] == {"type": "any"}


@pytest.mark.parametrize(
    ("choice", "parallel", "sent"),
    [
        (ToolChoice("auto"), None, None),
        (ToolChoice("auto"), True, None),
        (ToolChoice("auto"), False, {"type": "auto", "disable_parallel_tool_use": True}),
        (ToolChoice("none"), False, {"type": "none"}),
        (ToolChoice("required"), False, {"type": "any", "disable_parallel_tool_use": True}),
        (ToolChoice("named", "f"), None, {"type": "tool", "name": "f"}),
    ],
)
def test_tool_choice(choice: ToolChoice, parallel: bool | None, sent: Any) -> None:
    body = encode(tools=(Tool(name="f"),), tool_choice=choice, parallel_tool_calls=parallel)
    assert body.get("tool_choice") == sent


@pytest.mark.parametrize(
    ("thinking", "config", "effort"),
    [
        (Thinking(effort="minimal"), {"type": "adaptive"}, "low"),
        (Thinking(effort="xhigh"), {"type": "adaptive"}, "xhigh"),
        (Thinking(effort="high", is_implied=True), None, "high"),
        (Thinking(budget_tokens=2000), {"type": "enabled", "budget_tokens": 2000}, None),
        (Thinking(enabled=False, effort="none"), {"type": "disabled"}, None),
    ],
)
def test_thinking(thinking: Thinking, config: Any, effort: str | None) -> None:
    body = encode(thinking=thinking)
    assert body.get("thinking") == config
    assert body.get("output_config", {}).get("effort") == effort


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"choices": 2}, "n"),
        ({"logprobs": True}, "logprobs"),
        ({"sampling": Sampling(seed=0)}, "seed"),
        ({"sampling": Sampling(frequency_penalty=0.1)}, "frequency_penalty"),
        ({"sampling": Sampling(presence_penalty=-0.1)}, "presence_penalty"),
        ({"sampling": Sampling(logit_bias=((1, 1.0),))}, "logit_bias"),
        ({"sampling": Sampling(temperature=1.01)}, "temperature"),
        ({"stop": ("a", "\n")}, "stop"),
        ({"response_format": ResponseFormat(kind="json_object")}, "response_format"),
        ({"thinking": Thinking(effort="extreme")}, "reasoning_effort"),
    ],
)
def test_what_cannot_be_asked_is_refused_by_name(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(UnsupportedField) as caught:
        encode(**fields)
    assert caught.value.param == param


@pytest.mark.parametrize(
    ("said", "param"),
    [
        (message("user", "Hi", name="Ann"), "messages[1].name"),
        (
            message("user", Opaque(wire="openai", kind="file", json="{}")),
            "messages[1].content[0]",
        ),
        (
            message("user", "See", Image(data="AAAA", media_type="image/bmp")),
            "messages[1].content[1]",
        ),
    ],
)
def test_parts_that_cannot_be_sent_are_refused_by_their_path(said: Message, param: str) -> None:
    with pytest.raises(UnsupportedField) as caught:
        encode(message("system", "S"), said)
    assert caught.value.param == param


def test_instructions_alone_are_refused() -> None:
    with pytest.raises(UnsupportedField) as caught:
        encode(message("system", "Be kind."), message("user", " "))
    assert caught.value.param == "messages"


def test_neutral_values_are_not_refused() -> None:
    sampling = Sampling(temperature=1.0, frequency_penalty=0.0, presence_penalty=0.0)
    assert encode(sampling=sampling)["temperature"] == 1.0


def test_routing_learns_of_what_is_lacking() -> None:
    assert {"n", "seed", "logprobs", "logit_bias", "json_object"} <= UPSTREAM_LACKS
    assert not can_send_stop("\n\n")
    assert can_send_stop("\nUser:")


def test_only_allowed_unknown_fields_are_forwarded() -> None:
    row = msgspec.structs.replace(ROW, forwards=("container", "model"))
    unknown = [("container", b'{"id": "c"}'), ("speed", b'"fast"'), ("model", b'"other"')]
    body = encode(row=row, extensions=tuple((name, msgspec.Raw(raw)) for name, raw in unknown))
    assert body["container"] == {"id": "c"}
    assert "speed" not in body
    assert body["model"] == "upstream-model"


def test_the_user_is_not_told_to_the_provider() -> None:
    assert "metadata" not in encode()


# --- Answers ------------------------------------------------------------------------------------


def answered(**fields: Any) -> bytes:
    return json.dumps({"content": [], "stop_reason": "end_turn"} | fields).encode()


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        ("end_turn", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("tool_use", "tool_calls"),
        ("pause_turn", "paused"),
        ("refusal", "content_filter"),
        ("of_tomorrow", "stop"),
    ],
)
def test_stop_reasons(reason: str, expected: str) -> None:
    response = ANTHROPIC_UPSTREAM.decode_response(answered(stop_reason=reason))
    assert response.choices[0].finish_reason == expected


def test_unknown_blocks_are_kept_and_unknown_fields_ignored() -> None:
    block = {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": []}
    text = {"type": "text", "text": "Hi", "citations": [{"type": "x"}]}
    response = ANTHROPIC_UPSTREAM.decode_response(answered(content=[block, text], new=1))
    kept, said = response.choices[0].parts
    assert isinstance(kept, Opaque)
    assert json.loads(kept.json) == block
    assert said == Text("Hi")
    assert response.usage.is_estimated


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"{}",
        b"[]",
        answered(content=[{"type": "text"}]),
        answered(stop_reason=None),
    ],
)
def test_what_is_no_answer_is_garbled(body: bytes) -> None:
    with pytest.raises(ProviderGarbled):
        ANTHROPIC_UPSTREAM.decode_response(body)


def test_an_error_with_status_200_is_that_error() -> None:
    body = b'{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}'
    with pytest.raises(ProviderOverloaded):
        ANTHROPIC_UPSTREAM.decode_response(body)


# --- Streams ------------------------------------------------------------------------------------

START = {
    "type": "message_start",
    "message": {
        "id": "msg_1",
        "model": "claude-opus-4-6",
        "usage": {"input_tokens": 10, "cache_read_input_tokens": 5, "output_tokens": 1},
    },
}
STOP = {"type": "message_stop"}


def feed(*frames: dict[str, Any]) -> list[StreamEvent]:
    decoder = ANTHROPIC_UPSTREAM.stream_decoder()
    events: list[StreamEvent] = []
    for frame in frames:
        events += decoder.feed(json.dumps(frame).encode())
    return events + decoder.close()


def block(kind: dict[str, Any], *deltas: dict[str, Any], index: int = 0) -> list[dict[str, Any]]:
    return [
        {"type": "content_block_start", "index": index, "content_block": kind},
        *[{"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas],
        {"type": "content_block_stop", "index": index},
    ]


def ended(reason: str | None = "end_turn", **usage: int) -> dict[str, Any]:
    return {"type": "message_delta", "delta": {"stop_reason": reason}, "usage": usage}


def test_totals_at_the_end_replace_those_at_the_start_one_by_one() -> None:
    usage = collect(feed(START, ended(output_tokens=20), STOP)).usage
    assert (usage.input_tokens, usage.cached_input_tokens, usage.output_tokens) == (15, 5, 20)
    usage = collect(feed(START, ended(output_tokens=20, input_tokens=100), STOP)).usage
    assert (usage.input_tokens, usage.cached_input_tokens, usage.output_tokens) == (105, 5, 20)


@pytest.mark.parametrize(
    "told",
    [
        {"input_tokens": 0, "cache_read_input_tokens": 0, "output_tokens": 0},
        {"input_tokens": -5, "cache_read_input_tokens": -1, "output_tokens": -5},
        {"output_tokens": 10**18},
        {"input_tokens": 10**10},
        {"cache_read_input_tokens": 2**62},
    ],
)
def test_usage_that_cannot_be_is_as_good_as_none(told: dict[str, int]) -> None:
    assert collect(feed(START, ended("end_turn", **told), STOP)).usage.is_estimated
    usage = {"input_tokens": 5, "output_tokens": 5} | told
    assert ANTHROPIC_UPSTREAM.decode_response(answered(usage=usage)).usage.is_estimated


def test_a_count_that_cannot_be_is_garbled() -> None:
    with pytest.raises(ProviderGarbled):
        ANTHROPIC_UPSTREAM.decode_count_response(b'{"input_tokens":1000000000000}')


def test_text_that_comes_with_its_block_and_a_thought_that_is_omitted() -> None:
    thought = {"type": "thinking", "thinking": "", "signature": ""}
    signature = {"type": "signature_delta", "signature": "c2ln"}
    events = feed(
        START,
        *block(thought, signature),
        *block({"type": "text", "text": "A"}, {"type": "text_delta", "text": "B"}, index=1),
        ended(),
        STOP,
    )
    assert events[0] == Started(0, "msg_1", "claude-opus-4-6")
    assert collect(events).choices[0].parts == (Reasoning(signature="c2ln"), Text("AB"))


def test_a_call_without_parameters_has_empty_arguments_until_it_ends() -> None:
    call = {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {}}
    events = feed(
        START,
        *block(call, {"type": "input_json_delta", "partial_json": ""}),
        ended("tool_use"),
        STOP,
    )
    assert events[1:3] == [PartStarted(ToolCall(id="toolu_1", name="f")), PartEnded()]


def test_a_block_that_only_anthropic_understands_comes_whole_with_its_input() -> None:
    search = {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {}}
    pieces = [
        {"type": "input_json_delta", "partial_json": piece} for piece in ('{"query', '":"x"}')
    ]
    events = feed(START, *block(search, *pieces), ended("pause_turn"), STOP)
    part = events[1].part if isinstance(events[1], PartStarted) else None
    assert isinstance(part, Opaque)
    assert json.loads(part.json) == search | {"input": {"query": "x"}}
    assert events[2] == PartEnded()
    broken = [{"type": "input_json_delta", "partial_json": '{"query'}]
    with pytest.raises(ProviderGarbled):
        feed(START, *block(search, *broken), ended(), STOP)


def test_citations_pings_and_events_of_tomorrow_are_ignored() -> None:
    cited = {"type": "citations_delta", "citation": {"type": "char_location"}}
    events = feed(
        START,
        {"type": "ping"},
        {"type": "of_tomorrow", "x": [1]},
        *block({"type": "text", "text": ""}, cited, {"type": "text_delta", "text": "A"}),
        ended(),
        STOP,
    )
    assert [event for event in events if isinstance(event, PartDelta)] == [PartDelta("A")]


TEXT = block({"type": "text", "text": ""}, {"type": "text_delta", "text": "A"})


@pytest.mark.parametrize(
    "frames",
    [
        [],
        [START],
        [START, *TEXT[:2]],
        [START, *TEXT],
        [START, *TEXT, ended()],
        [START, *TEXT[:2], ended(), STOP],
        [START, *TEXT, STOP],
        [START, *TEXT, ended(None), STOP],
        [START, START],
        [TEXT[0]],
        [START, TEXT[1]],
        [START, TEXT[2]],
        [START, TEXT[0], TEXT[0]],
        [START, TEXT[0], TEXT[1] | {"index": 1}],
        [STOP],
    ],
)
def test_a_stream_that_is_cut_or_out_of_order_is_garbled(frames: list[dict[str, Any]]) -> None:
    with pytest.raises(ProviderGarbled):
        feed(*frames)


@pytest.mark.parametrize(
    ("kind", "raised"),
    [
        ("overloaded_error", ProviderOverloaded),
        ("rate_limit_error", ProviderOverloaded),
        ("authentication_error", ProviderRefusedUs),
        ("timeout_error", ProviderTimeout),
        ("api_error", ProviderError),
        (None, ProviderError),
    ],
)
def test_an_error_in_a_stream_is_raised_by_its_type(
    kind: str | None, raised: type[DragomanError]
) -> None:
    with pytest.raises(DragomanError) as caught:
        feed(START, {"type": "error", "error": {"type": kind, "message": "m"}})
    assert type(caught.value) is raised


# --- Errors -------------------------------------------------------------------------------------


def error(kind: str, text: str = "m") -> bytes:
    return json.dumps({"type": "error", "error": {"type": kind, "message": text}}).encode()


@pytest.mark.parametrize(
    ("status", "body", "raised"),
    [
        (400, error("invalid_request_error", "messages.0.content: too odd"), InvalidRequest),
        (400, error("invalid_request_error", "prompt is too long: 9 > 8"), ContextOverflow),
        (
            400,
            error(
                "invalid_request_error",
                "input length and `max_tokens` exceed context limit: 9 + 9 > 10",
            ),
            ContextOverflow,
        ),
        (
            400,
            error("invalid_request_error", "Your credit balance is too low to access the API."),
            ProviderRefusedUs,
        ),
        (401, error("authentication_error", "invalid x-api-key"), ProviderRefusedUs),
        (402, error("billing_error"), ProviderRefusedUs),
        (403, error("permission_error"), ProviderRefusedUs),
        (404, error("not_found_error", "model: claude-x"), ProviderRefusedUs),
        (413, error("request_too_large"), BodyTooLarge),
        (429, error("rate_limit_error"), ProviderOverloaded),
        (500, error("api_error"), ProviderError),
        (504, error("timeout_error"), ProviderTimeout),
        (529, error("overloaded_error"), ProviderOverloaded),
        (400, b"<html>bad request</html>", ProviderError),
        (401, b"", ProviderRefusedUs),
        (413, b"<html>cloudflare</html>", BodyTooLarge),
        (429, b"{}", ProviderOverloaded),
        (502, b"<html>" + b"x" * 100_000, ProviderError),
        (503, b"null", ProviderOverloaded),
        (418, b"\xff\xfe", ProviderError),
    ],
)
def test_errors_by_blame(status: int, body: bytes, raised: type[DragomanError]) -> None:
    found = ANTHROPIC_UPSTREAM.decode_error(status, {}, body)
    assert type(found) is raised
    assert len(found.message) < 2000
    assert found.detail is None or len(found.detail) < 2000


def test_a_refused_field_is_named_as_we_write_paths() -> None:
    body = error("invalid_request_error", "messages.0.content.1.text: must not be blank")
    found = ANTHROPIC_UPSTREAM.decode_error(400, {}, body)
    assert found.param == "messages[0].content[1].text"
    assert "must not be blank" in found.message


def test_what_may_hold_a_key_or_a_prompt_stays_out_of_the_log() -> None:
    for status, kind in ((401, "authentication_error"), (400, "invalid_request_error")):
        found = ANTHROPIC_UPSTREAM.decode_error(status, {}, error(kind, "sk-ant-secret"))
        assert "secret" not in (found.detail or "")


@pytest.mark.parametrize(
    ("value", "seconds"), [("3", 3.0), ("0.5", 0.5), ("x", None), ("-1", None), ("nan", None)]
)
def test_retry_after(value: str, seconds: float | None) -> None:
    headers = {"retry-after": value}
    found = ANTHROPIC_UPSTREAM.decode_error(429, headers, error("rate_limit_error"))
    assert found.retry_after_s == seconds


def test_retry_after_may_be_a_date() -> None:
    now, then = "Wed, 21 Oct 2026 07:28:00 GMT", "Wed, 21 Oct 2026 07:28:30 GMT"
    headers = {"retry-after": then, "date": now}
    found = ANTHROPIC_UPSTREAM.decode_error(529, headers, error("overloaded_error"))
    assert found.retry_after_s == 30


def test_a_count() -> None:
    assert ANTHROPIC_UPSTREAM.decode_count_response(b'{"input_tokens":2095,"new":1}') == 2095
