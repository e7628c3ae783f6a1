"""How chat-completions providers are asked and understood, one peculiarity a test."""

from __future__ import annotations

import json
import re
from typing import Any

import msgspec
import pytest
from tests.wire.replay import MODEL

from dragoman.chat import (
    ChatRequest,
    ChatResponse,
    Choice,
    Finished,
    Image,
    Message,
    Opaque,
    PartDelta,
    PartStarted,
    Reasoning,
    Refusal,
    StreamEvent,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
    Usage,
    collect,
    events_of,
)
from dragoman.dialects.openai import OPENAI_UPSTREAM, OpenAIStreamDecoder
from dragoman.errors import (
    ContextOverflow,
    DragomanError,
    InvalidRequest,
    ProviderError,
    ProviderGarbled,
    ProviderOverloaded,
    ProviderRefusedUs,
    UnsupportedField,
)
from dragoman.records.provider import ProviderRow

# --- Requests -----------------------------------------------------------------------------------


def encode(
    *messages: Message, forwards: tuple[str, ...] = (), stream: bool = False, **fields: Any
) -> dict[str, Any]:
    request = ChatRequest(dialect="anthropic", target="m", messages=messages, **fields)
    row = ProviderRow(
        name="test", wire="openai", base_url="https://provider.test/v1", forwards=forwards
    )
    body = OPENAI_UPSTREAM.encode_request(request, MODEL, row, stream=stream)
    found: dict[str, Any] = json.loads(body)
    return found


def messages_of(*messages: Message, forwards: tuple[str, ...] = ()) -> list[Any]:
    found: list[Any] = encode(*messages, forwards=forwards)["messages"]
    return found


def test_tool_results_come_before_the_rest_of_their_turn() -> None:
    turn = Message(
        "user",
        (
            Text("And now?"),
            ToolResult(call_id="a", parts=(Text("one"), Text("two"))),
            ToolResult(call_id="b", parts=(Text("no"),), is_error=True),
        ),
    )
    assert messages_of(turn) == [
        {"role": "tool", "content": "one\n\ntwo", "tool_call_id": "a"},
        {"role": "tool", "content": "Error: no", "tool_call_id": "b"},
        {"role": "user", "content": "And now?"},
    ]


def test_images_of_a_tool_result_follow_it() -> None:
    image = Image(data="AAAA", media_type="image/png")
    result = ToolResult(call_id="a", parts=(Text("seen"), image))
    assert messages_of(Message("tool", (result,))) == [
        {"role": "tool", "content": "seen", "tool_call_id": "a"},
        {
            "role": "user",
            "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}],
        },
    ]


def test_only_a_users_texts_are_an_array() -> None:
    texts = (Text("a"), Text("b"))
    system, user, assistant = messages_of(
        Message("system", texts), Message("user", texts), Message("assistant", texts)
    )
    assert system["content"] == "a\n\nb"
    assert user["content"] == [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    assert assistant["content"] == "ab"


def test_thinking_and_cache_marks_go_only_where_the_row_forwards_them() -> None:
    said = Message("assistant", (Reasoning(text="Hm", signature="s"), Text("x")))
    asked = Message("user", (Text("x", cache="1h"),))
    assert messages_of(asked, said) == [
        {"role": "user", "content": "x"},
        {"role": "assistant", "content": "x"},
    ]
    assert messages_of(said, forwards=("reasoning_content",))[0]["reasoning_content"] == "Hm"
    assert messages_of(said, forwards=("reasoning",))[0]["reasoning"] == "Hm"
    assert messages_of(said, forwards=("reasoning_details",))[0]["reasoning_details"] == [
        {"type": "reasoning.text", "text": "Hm", "signature": "s", "index": 0}
    ]
    assert messages_of(asked, forwards=("cache_control",))[0]["content"] == [
        {"type": "text", "text": "x", "cache_control": {"type": "ephemeral", "ttl": "1h"}}
    ]


def test_ids_that_are_too_long_are_replaced_alike_in_call_and_result() -> None:
    call_id = "toolu_" + "x" * 60
    call, result = messages_of(
        Message("assistant", (ToolCall(id=call_id, name="f"),)),
        Message("tool", (ToolResult(call_id=call_id),)),
    )
    assert len(call["tool_calls"][0]["id"]) <= 40
    assert call["tool_calls"][0]["id"] == result["tool_call_id"]


def test_ids_have_the_form_that_the_row_demands_alike_in_call_and_result() -> None:
    row = ProviderRow(
        name="test", wire="openai", base_url="https://provider.test/v1", tool_call_id_chars=9
    )
    ids = ("call_abc123", "D681PevKs", "toolu_01A09q90qw90lq917835lq9", "a-b_c.d:e", "äöüßäöüßä")
    asked = ChatRequest(
        dialect="openai",
        target="m",
        messages=(
            Message("assistant", tuple(ToolCall(id=call_id, name="f") for call_id in ids)),
            Message("tool", tuple(ToolResult(call_id=call_id) for call_id in ids)),
        ),
    )
    bodies = [
        json.loads(OPENAI_UPSTREAM.encode_request(asked, MODEL, row, stream=False))
        for _ in range(2)
    ]
    called, *results = bodies[0]["messages"]
    sent = [call["id"] for call in called["tool_calls"]]
    assert sent == [result["tool_call_id"] for result in results]
    assert all(re.fullmatch("[A-Za-z0-9]{9}", call_id) for call_id in sent)
    assert len(set(sent)) == len(ids)
    assert sent[1] == "D681PevKs"
    assert bodies[0] == bodies[1]


def test_a_part_of_another_wire_format_is_refused() -> None:
    part = Opaque(wire="anthropic", kind="document", json="{}")
    with pytest.raises(UnsupportedField, match="'document'"):
        encode(Message("user", (part,)))
    part = Opaque(wire="openai", kind="file", json='{"type":"file","file":{"file_id":"f"}}')
    assert messages_of(Message("user", (part,)))[0]["content"] == [
        {"type": "file", "file": {"file_id": "f"}}
    ]


@pytest.mark.parametrize(
    ("thinking", "effort"),
    [
        (Thinking(effort="xhigh"), "xhigh"),
        (Thinking(budget_tokens=1024), "low"),
        (Thinking(budget_tokens=10_000), "medium"),
        (Thinking(budget_tokens=32_000), "high"),
        (Thinking(), None),
        (Thinking(enabled=False), None),
    ],
    ids=str,
)
def test_a_thinking_budget_becomes_an_effort(thinking: Thinking, effort: str | None) -> None:
    body = encode(Message("user", (Text("x"),)), thinking=thinking)
    assert body.get("reasoning_effort") == effort


def test_only_fields_that_the_row_allows_are_forwarded_and_none_twice() -> None:
    extensions = tuple(
        (name, msgspec.Raw(b'"x"')) for name in ("service_tier", "guided_regex", "model", "user")
    )
    body = OPENAI_UPSTREAM.encode_request(
        ChatRequest(
            dialect="openai",
            target="m",
            messages=(Message("user", (Text("x"),)),),
            extensions=extensions,
        ),
        MODEL,
        ProviderRow(
            name="t", wire="openai", base_url="https://x.test", forwards=("guided_regex", "model")
        ),
        stream=False,
    )
    assert body.count(b'"model"') == 1
    assert set(json.loads(body)) == {"model", "messages", "guided_regex"}


# --- Answers ------------------------------------------------------------------------------------


def decode(message: dict[str, Any], **fields: Any) -> ChatResponse:
    choice = {"index": 0, "finish_reason": "stop", **fields.pop("choice", {}), "message": message}
    return OPENAI_UPSTREAM.decode_response(
        json.dumps({"id": "x", "model": "m", "choices": [choice], **fields}).encode()
    )


def choice_of(message: dict[str, Any], **fields: Any) -> Choice:
    return decode(message, **fields).choices[0]


def test_mistrals_content_is_parts_with_thinking_among_them() -> None:
    content = [
        {"type": "thinking", "thinking": [{"type": "text", "text": "Hm"}], "closed": True},
        {"type": "text", "text": "Hi"},
    ]
    assert choice_of({"content": content}).parts == (Reasoning(text="Hm"), Text("Hi"))


@pytest.mark.parametrize("field", ["reasoning", "reasoning_content"])
def test_thinking_has_two_names(field: str) -> None:
    assert choice_of({"content": "Hi", field: "Hm"}).parts == (Reasoning(text="Hm"), Text("Hi"))


def test_ids_of_calls_are_made_where_they_are_missing_or_repeated() -> None:
    call = {"function": {"name": "f", "arguments": "{}"}}
    calls = [call, {**call, "id": ""}, {**call, "id": "a"}, {**call, "id": "a"}]
    found = choice_of({"content": None, "tool_calls": calls})
    ids = [part.id for part in found.parts if isinstance(part, ToolCall)]
    assert ids == ["call_0", "call_1", "a", "call_3"]
    assert found.finish_reason == "tool_calls"


def test_arguments_that_are_an_object_become_text() -> None:
    calls = [{"id": "a", "function": {"name": "f", "arguments": {"x": 1}}}]
    assert choice_of({"tool_calls": calls}).parts == (
        ToolCall(id="a", name="f", arguments='{"x":1}'),
    )


def test_the_old_function_call_is_a_tool_call() -> None:
    found = choice_of(
        {"content": None, "function_call": {"name": "f", "arguments": "{}"}},
        choice={"finish_reason": "function_call"},
    )
    assert found.parts == (ToolCall(id="call_0", name="f", arguments="{}"),)
    assert found.finish_reason == "tool_calls"


@pytest.mark.parametrize(
    ("given", "reason"),
    [("stop", "stop"), ("length", "length"), ("content_filter", "content_filter"), ("eos", "stop"), ("model_length", "length"), (None, "stop")],
)  # fmt: skip
def test_reasons_of_many_providers(given: str | None, reason: str) -> None:
    assert choice_of({"content": "x"}, choice={"finish_reason": given}).finish_reason == reason


@pytest.mark.parametrize("reason", ["error", "abort", "insufficient_system_resource"])
def test_a_reason_that_means_failure_is_one(reason: str) -> None:
    with pytest.raises(ProviderError):
        decode({"content": "x"}, choice={"finish_reason": reason})


def test_vllms_stop_reason_is_the_stop_string() -> None:
    assert choice_of({"content": "x"}, choice={"stop_reason": "END"}).stop_sequence == "END"
    assert choice_of({"content": "x"}, choice={"stop_reason": 128009}).stop_sequence is None
    assert choice_of({"content": "x"}, choice={"matched_stop": "END"}).stop_sequence == "END"


def test_an_empty_finish_reason_is_none_yet() -> None:
    delta = chunk({"content": "a"}, finish="")
    assert parts_of(delta, delta, STOP) == (Text("aa"),)


def test_zeros_in_place_of_usage_do_not_replace_what_was_told() -> None:
    found = read(chunk({"content": "a"}), STOP, usage_chunk(3, 2), usage_chunk(0, 0))
    assert found.usage == Usage(input_tokens=3, output_tokens=2)


@pytest.mark.parametrize(
    ("given", "usage"),
    [
        (None, Usage(is_estimated=True)),
        ({"prompt_tokens": 9, "completion_tokens": 3}, Usage(input_tokens=9, output_tokens=3)),
        ({"prompt_tokens": 9, "completion_tokens": None, "total_tokens": 9}, Usage(input_tokens=9)),
        ({"prompt_tokens": -9, "completion_tokens": -1}, Usage(is_estimated=True)),
        ({"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}, Usage(is_estimated=True)),
        # What no model can have read or written is not charged for.
        ({"prompt_tokens": 10**10, "completion_tokens": 3}, Usage(is_estimated=True)),
        ({"prompt_tokens": 9, "completion_tokens": 10**18}, Usage(is_estimated=True)),
        (
            {"prompt_tokens": 9, "completion_tokens": 3, "completion_tokens_details": {"reasoning_tokens": 10**30}},
            Usage(input_tokens=9, output_tokens=3),
        ),
        (
            {"prompt_tokens": 9, "completion_tokens": 3, "prompt_cache_hit_tokens": 4},
            Usage(input_tokens=9, output_tokens=3, cached_input_tokens=4),
        ),
        (
            {"prompt_tokens": 9, "completion_tokens": 3, "prompt_tokens_details": {"cached_tokens": 99}},
            Usage(input_tokens=9, output_tokens=3, cached_input_tokens=9),
        ),
        # OpenAI counts reasoning within the completion, xAI beside it.
        (
            {"prompt_tokens": 9, "completion_tokens": 8, "total_tokens": 17, "completion_tokens_details": {"reasoning_tokens": 5}},
            Usage(input_tokens=9, output_tokens=8, reasoning_tokens=5),
        ),
        (
            {"prompt_tokens": 9, "completion_tokens": 8, "total_tokens": 22, "completion_tokens_details": {"reasoning_tokens": 5}},
            Usage(input_tokens=9, output_tokens=13, reasoning_tokens=5),
        ),
    ],
)  # fmt: skip
def test_usage_of_many_providers(given: Any, usage: Usage) -> None:
    assert decode({"content": "x"}, usage=given).usage == usage


def test_a_whole_answer_without_usage_is_left_to_be_counted() -> None:
    response = decode({"content": "x"})
    finished = events_of(response)[-1]
    assert isinstance(finished, Finished)
    assert finished.usage is None
    assert collect(events_of(response)) == response


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[]",
        b"{}",
        b'{"choices":[]}',
        b'{"choices":[{"index":0}]}',
        b'{"choices":[{"index":5,"message":{"content":"x"}},{"index":0,"message":{"content":"x"}}]}',
        b'{"choices":[{"message":{"tool_calls":[{"id":"a","function":{"arguments":"{}"}}]}}]}',
        b'{"choices":[{"message":{"content":7}}]}',
    ],
)
def test_an_answer_that_cannot_be_read_is_garbled(body: bytes) -> None:
    with pytest.raises(ProviderGarbled):
        OPENAI_UPSTREAM.decode_response(body)


def test_an_error_with_a_successs_status_is_an_error() -> None:
    with pytest.raises(ProviderOverloaded):
        OPENAI_UPSTREAM.decode_response(b'{"error":{"message":"Rate limited","code":429}}')


# --- Streams ------------------------------------------------------------------------------------


def chunk(delta: dict[str, Any] | None = None, finish: str | None = None, **fields: Any) -> bytes:
    index = fields.pop("index", 0)
    choice = {"index": index, "delta": delta or {}, "finish_reason": finish}
    return json.dumps({"id": "x", "model": "m", "choices": [choice], **fields}).encode()


def call_delta(**fields: Any) -> bytes:
    return chunk({"tool_calls": [fields]})


def usage_chunk(prompt: int, completion: int) -> bytes:
    usage = {"prompt_tokens": prompt, "completion_tokens": completion}
    return json.dumps({"id": "x", "choices": [], "usage": usage}).encode()


DONE = b"[DONE]"
STOP = chunk(finish="stop")


def events_of_stream(*payloads: bytes) -> list[StreamEvent]:
    decoder = OpenAIStreamDecoder()
    events: list[StreamEvent] = []
    for payload in payloads:
        events += decoder.feed(payload)
    return events + decoder.close()


def read(*payloads: bytes) -> ChatResponse:
    return collect(events_of_stream(*payloads))


def parts_of(*payloads: bytes) -> tuple[Any, ...]:
    return read(*payloads).choices[0].parts


def test_roles_may_be_missing_or_come_again() -> None:
    role = {"role": "assistant", "content": "a"}
    assert parts_of(chunk({"content": "a"}), chunk(role), chunk(role), STOP) == (Text("aaa"),)


@pytest.mark.parametrize(
    "tail",
    [
        (STOP, usage_chunk(3, 2), DONE),
        (STOP, DONE),
        (chunk(finish="stop", usage={"prompt_tokens": 3, "completion_tokens": 2}), DONE),
        (chunk(finish="stop", usage={"prompt_tokens": 3, "completion_tokens": 1}), usage_chunk(3, 2)),
        (STOP, b'{"choices":[],"usage":null}', usage_chunk(3, 2)),
        (STOP, chunk({"content": ""}, usage={"prompt_tokens": 3, "completion_tokens": 2})),
    ],
)  # fmt: skip
def test_usage_comes_once_wherever_the_provider_puts_it(tail: tuple[bytes, ...]) -> None:
    running = {"prompt_tokens": 3, "completion_tokens": 1}
    has_usage = tail != (STOP, DONE)
    first = chunk({"content": "a"}, usage=running if has_usage else None)
    events = events_of_stream(first, *tail)
    usages = [event.usage for event in events if isinstance(event, Finished)]
    assert usages == [Usage(input_tokens=3, output_tokens=2) if has_usage else None]


def test_the_finish_is_held_until_usage_came() -> None:
    decoder = OpenAIStreamDecoder()
    decoder.feed(chunk({"content": "a"}))
    assert not any(isinstance(event, Finished) for event in decoder.feed(STOP))
    (finished,) = decoder.feed(usage_chunk(3, 2))
    assert isinstance(finished, Finished)
    assert decoder.feed(DONE) == []
    assert decoder.close() == []


def test_of_several_choices_only_the_last_finish_waits() -> None:
    decoder = OpenAIStreamDecoder()
    decoder.feed(chunk({"content": "a"}))
    decoder.feed(chunk({"content": "b"}, index=1))
    (_, first) = decoder.feed(STOP)
    assert first == Finished("stop", 0)
    (_,) = decoder.feed(chunk(finish="length", index=1))
    assert decoder.feed(usage_chunk(3, 2)) == [
        Finished("length", 1, None, Usage(input_tokens=3, output_tokens=2))
    ]


def test_choices_one_after_another() -> None:
    found = read(
        chunk({"content": "a"}), STOP, chunk({"content": "b"}, index=1), chunk(finish="stop", index=1), usage_chunk(1, 2)
    )  # fmt: skip
    assert [choice.text for choice in found.choices] == ["a", "b"]
    assert found.usage.output_tokens == 2


def test_calls_with_ids_only_at_first() -> None:
    parts = parts_of(
        call_delta(index=0, id="a", type="function", function={"name": "f", "arguments": ""}),
        call_delta(index=0, function={"arguments": '{"x"'}),
        call_delta(index=0, function={"arguments": ":1}"}),
        call_delta(index=1, id="b", type="function", function={"name": "g", "arguments": "{}"}),
        chunk(finish="tool_calls"),
    )
    assert parts == (
        ToolCall(id="a", name="f", arguments='{"x":1}'),
        ToolCall(id="b", name="g", arguments="{}"),
    )


def test_interleaved_calls_are_put_one_after_the_other() -> None:
    parts = parts_of(
        call_delta(index=0, id="a", function={"name": "f", "arguments": '{"x":'}),
        call_delta(index=1, id="b", function={"name": "g", "arguments": '{"y":'}),
        call_delta(index=0, function={"arguments": "1}"}),
        chunk({"content": "So "}),
        call_delta(index=1, function={"arguments": "2}"}),
        chunk({"content": "be it."}),
        chunk(finish="tool_calls"),
    )
    assert parts == (
        ToolCall(id="a", name="f", arguments='{"x":1}'),
        ToolCall(id="b", name="g", arguments='{"y":2}'),
        Text("So be it."),
    )


def test_calls_that_interleave_for_long_keep_all_they_got() -> None:
    payloads = [
        call_delta(index=0, id="a", function={"name": "f", "arguments": '{"x":['}),
        call_delta(index=1, id="b", function={"name": "g", "arguments": '{"y":['}),
    ]
    for _ in range(100):
        payloads += [call_delta(index=i, function={"arguments": "{},{}"}) for i in range(2)]
        payloads += [call_delta(index=i, function={"arguments": ","}) for i in range(2)]
    payloads += [call_delta(index=i, function={"arguments": "{}]}"}) for i in range(2)]
    first, second = parts_of(*payloads, chunk(finish="tool_calls"))
    assert len(json.loads(first.arguments)["x"]) == 201
    assert json.loads(second.arguments)["y"] == json.loads(first.arguments)["x"]


def test_a_call_streams_live_until_another_begins() -> None:
    decoder = OpenAIStreamDecoder()
    decoder.feed(call_delta(index=0, id="a", function={"name": "f", "arguments": ""}))
    assert decoder.feed(call_delta(index=0, function={"arguments": "{}"})) == [PartDelta("{}")]
    assert decoder.feed(call_delta(index=1, id="b", function={"name": "g", "arguments": ""}))[
        -1
    ] == PartStarted(ToolCall(id="b", name="g"))


def test_calls_without_an_index() -> None:
    parts = parts_of(
        call_delta(id="a", function={"name": "f", "arguments": '{"x":'}),
        call_delta(function={"arguments": "1}"}),
        call_delta(id="b", function={"name": "g", "arguments": "{}"}),
        call_delta(function={"name": "h", "arguments": "{}"}),
        chunk(finish="stop"),
    )
    assert parts == (
        ToolCall(id="a", name="f", arguments='{"x":1}'),
        ToolCall(id="b", name="g", arguments="{}"),
        ToolCall(id="call_2", name="h", arguments="{}"),
    )


def test_whole_calls_that_all_have_index_0() -> None:
    parts = parts_of(
        call_delta(index=0, id="a", function={"name": "f", "arguments": "{}"}),
        call_delta(index=0, id="b", function={"name": "g", "arguments": "{}"}),
        chunk(finish="stop"),
    )
    assert parts == (
        ToolCall(id="a", name="f", arguments="{}"),
        ToolCall(id="b", name="g", arguments="{}"),
    )


def test_id_and_name_on_every_delta_are_one_call() -> None:
    parts = parts_of(
        call_delta(index=0, id="a", function={"name": "f", "arguments": '{"x":'}),
        call_delta(index=0, id="a", function={"name": "f", "arguments": "1}"}),
        chunk(finish="tool_calls"),
    )
    assert parts == (ToolCall(id="a", name="f", arguments='{"x":1}'),)


def test_a_name_may_come_after_the_id() -> None:
    parts = parts_of(
        call_delta(index=0, id="a", function={"name": "", "arguments": ""}),
        call_delta(index=0, function={"name": "f", "arguments": "{}"}),
        chunk(finish="tool_calls"),
    )
    assert parts == (ToolCall(id="a", name="f", arguments="{}"),)


def test_a_call_that_never_gets_a_name_is_garbled() -> None:
    with pytest.raises(ProviderGarbled):
        read(call_delta(index=0, id="a", function={"arguments": "{}"}), STOP)


def test_thinking_then_text_then_a_call() -> None:
    parts = parts_of(
        chunk({"role": "assistant", "reasoning": "H", "content": ""}),
        chunk({"reasoning": "m", "content": None}),
        chunk({"content": "Hi"}),
        call_delta(index=0, id="a", function={"name": "f", "arguments": "{}"}),
        chunk(finish="tool_calls"),
    )
    assert parts == (
        Reasoning(text="Hm"),
        Text("Hi"),
        ToolCall(id="a", name="f", arguments="{}"),
    )


def test_thinking_told_in_two_fields_at_once_is_taken_once() -> None:
    def both(text: str) -> bytes:
        detail = {"type": "reasoning.text", "text": text, "index": 0}
        return chunk({"content": "", "reasoning": text, "reasoning_details": [detail]})

    signed = {"type": "reasoning.text", "signature": "s", "index": 0}
    parts = parts_of(
        both("H"),
        both("m"),
        chunk({"content": "", "reasoning_details": [signed]}),
        chunk({"reasoning_details": [{"type": "reasoning.encrypted", "data": "e"}]}),
        chunk({"content": "Hi"}),
        STOP,
    )
    assert parts == (Reasoning(text="Hm", signature="s"), Reasoning(redacted="e"), Text("Hi"))


def test_mistrals_thinking_streams_in_content() -> None:
    thought = {"type": "thinking", "thinking": [{"type": "text", "text": "Hm"}]}
    parts = parts_of(chunk({"content": [thought]}), chunk({"content": "Hi"}), STOP)
    assert parts == (Reasoning(text="Hm"), Text("Hi"))


def test_a_refusal_comes_whole() -> None:
    events = events_of_stream(chunk({"refusal": "I ca"}), chunk({"refusal": "nnot."}), STOP)
    assert PartStarted(Refusal("I cannot.")) in events


def test_text_after_the_finish_reason_is_not_lost() -> None:
    assert parts_of(chunk({"content": "a"}), STOP, chunk({"content": "b"}), DONE) == (
        Text("a"),
        Text("b"),
    )


def test_chunks_without_choices_in_between_mean_nothing() -> None:
    empty = b'{"id":"","choices":[],"prompt_filter_results":[]}'
    assert parts_of(empty, chunk({"content": "a"}), empty, chunk({"content": "b"}), STOP) == (
        Text("ab"),
    )


@pytest.mark.parametrize(
    "payloads",
    [
        (),
        (DONE,),
        (chunk({"content": "a"}),),
        (chunk({"content": "a"}), DONE),
        (chunk({"content": "a"}), usage_chunk(1, 1), DONE),
        (chunk({"content": "a"}), chunk({"content": "b"}, index=1), STOP, DONE),
        (b"{",),
        (b"<html>",),
        (chunk({"content": "a"}, index=128),),
        (chunk({"content": "a"}), STOP, usage_chunk(1, 1), chunk({"content": "b"})),
    ],
)
def test_a_stream_that_is_cut_or_cannot_be_read_is_garbled(payloads: tuple[bytes, ...]) -> None:
    with pytest.raises(ProviderGarbled):
        events_of_stream(*payloads)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ({"message": "Overloaded", "type": "overloaded_error"}, ProviderOverloaded),
        ({"message": "Rate limited", "code": 429}, ProviderOverloaded),
        ({"message": "Provider disconnected", "code": "server_error"}, ProviderError),
        ({"message": "maximum context length is 8192 tokens", "code": 400}, ContextOverflow),
        ("out of memory", ProviderError),
    ],
)
def test_an_error_in_mid_stream_is_raised(error: Any, kind: type[DragomanError]) -> None:
    decoder = OpenAIStreamDecoder()
    decoder.feed(chunk({"content": "a"}))
    with pytest.raises(kind):
        decoder.feed(json.dumps({"error": error}).encode())


# --- Errors by blame ----------------------------------------------------------------------------


def error_of(status: int, body: Any, **headers: str) -> DragomanError:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return OPENAI_UPSTREAM.decode_error(status, named, raw)


@pytest.mark.parametrize("status", [401, 402, 403])
def test_a_refusal_of_our_key_is_the_operators(status: int) -> None:
    body = {"error": {"message": "Incorrect API key provided: sk-abcdefgh12345678", "code": "x"}}
    error = error_of(status, body)
    assert type(error) is ProviderRefusedUs
    assert "sk-" not in error.message + (error.detail or "")


@pytest.mark.parametrize(
    "message",
    [
        "API key not valid. Please pass a valid API key.",
        "Your credit balance is too low",
        "Authentication failed",
    ],
)
def test_a_400_about_our_account_is_the_operators(message: str) -> None:
    error = error_of(400, {"error": {"message": message}})
    assert isinstance(error, ProviderRefusedUs)


def test_a_400_that_quotes_a_prompt_about_keys_is_still_the_clients() -> None:
    message = "1 validation error: input 'explain api key authentication and quota billing'"
    error = error_of(400, {"error": {"message": message}})
    assert isinstance(error, InvalidRequest)


def test_a_spent_quota_is_the_operators_though_it_is_a_429() -> None:
    body = {"error": {"message": "You exceeded your current quota", "code": "insufficient_quota"}}
    assert type(error_of(429, body)) is ProviderRefusedUs


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry_after": "20"}, 20.0),
        ({"retry_after_ms": "1500", "retry_after": "9"}, 1.5),
        ({"retry_after": "999999"}, 3600.0),
        ({"retry_after": "soon"}, None),
        ({"retry_after": "-1"}, None),
        ({}, None),
        (
            {"retry_after": "Wed, 21 Oct 2026 07:28:30 GMT", "date": "Wed, 21 Oct 2026 07:28:00 GMT"},
            30.0,
        ),
        ({"retry_after": "Wed, 21 Oct 2026 07:28:30 GMT"}, None),
    ],
)  # fmt: skip
def test_a_429_says_when_to_come_back(headers: dict[str, str], seconds: float | None) -> None:
    error = error_of(429, {"error": {"message": "slow down"}}, **headers)
    assert type(error) is ProviderOverloaded
    assert error.retry_after_s == seconds


@pytest.mark.parametrize(
    "body",
    [
        # OpenAI, vLLM, SGLang, llama.cpp, Mistral, Groq.
        {"error": {"message": "This model's maximum context length is 128000 tokens. However, your messages resulted in 130000 tokens.", "type": "invalid_request_error", "param": "messages", "code": "context_length_exceeded"}},
        {"object": "error", "message": "This model's maximum context length is 2048 tokens. However, you requested 3000 tokens in the messages.", "type": "BadRequestError", "param": None, "code": 400},
        {"object": "error", "message": "The input (3000 tokens) is longer than the model's context length (2048 tokens).", "type": "BadRequestError", "param": None, "code": 400},
        {"error": {"code": 400, "message": "the request exceeds the available context size", "type": "exceed_context_size_error", "n_prompt_tokens": 9, "n_ctx": 8}},
        {"object": "error", "message": "Prompt contains 40000 tokens, too large for model with 32768 maximum context length", "type": "invalid_request_error", "code": "3051"},
        {"error": {"message": "Please reduce the length of the messages or completion.", "type": "invalid_request_error", "param": "messages", "code": "context_length_exceeded"}},
    ],
)  # fmt: skip
def test_an_overflow_is_known_by_code_or_wording(body: Any) -> None:
    error = error_of(400, body)
    assert type(error) is ContextOverflow
    assert error.param == "messages"


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (404, {"error": {"message": "The model `gpt-9` does not exist or you do not have access to it.", "type": "invalid_request_error", "param": None, "code": "model_not_found"}}),
        (404, {"object": "error", "message": "The model `x` does not exist.", "type": "NotFoundError", "param": "model", "code": 404}),
        (404, {"error": {"message": 'model "x" not found, try pulling it first', "type": "api_error"}}),
        (400, {"object": "error", "message": "Invalid model: x", "type": "invalid_model", "code": "1500"}),
        (404, b"<html>nginx</html>"),
        (404, {"detail": "Not Found"}),
    ],
)  # fmt: skip
def test_a_model_that_the_provider_lacks_is_not_the_clients_fault(status: int, body: Any) -> None:
    assert type(error_of(status, body)) is ProviderError


@pytest.mark.parametrize(
    ("status", "body", "param"),
    [
        (400, {"error": {"message": "bad", "param": "messages.[1].role"}}, "messages[1].role"),
        (400, {"error": {"message": "bad", "param": "tools[0].function.parameters"}}, "tools[0].function.parameters"),
        (422, {"detail": [{"loc": ["body", "messages", 0, "role"], "msg": "bad"}]}, "messages[0].role"),
        (422, {"object": "error", "message": {"detail": [{"loc": ["body", "top_p"], "msg": "bad"}]}}, "top_p"),
        (400, {"error": {"message": "bad", "param": None}}, None),
        (400, {"error": {"message": "bad", "param": "<script>"}}, None),
        (400, {"error": "bad"}, None),
        (400, [{"error": {"message": "bad", "code": 400, "status": "INVALID_ARGUMENT"}}], None),
    ],
)  # fmt: skip
def test_a_400_names_our_field(status: int, body: Any, param: str | None) -> None:
    error = error_of(status, body)
    assert type(error) is InvalidRequest
    assert error.param == param
    assert "bad" in error.message


@pytest.mark.parametrize(
    "body",
    [
        {"error": {"message": "1 validation error: 'input': 'my own words'", "param": "messages"}},
        {"error": {"message": "maximum context length is 10 tokens: 'my own words'"}},
        {"detail": [{"loc": ["body", "messages"], "msg": "bad: 'my own words'"}]},
    ],
)
def test_what_quotes_the_request_is_told_to_the_client_and_not_to_the_log(body: Any) -> None:
    error = error_of(400, body)
    assert error.blame == "client"
    assert "my own words" not in (error.detail or "")
    assert "400" in (error.detail or "")


@pytest.mark.parametrize(
    "inside",
    [
        "sk-proj-abcdefghijklmnop",
        "https://internal.example.test/v1?key=secret",
        "10.0.3.7:8000",
        "/home/operator/models/secret.gguf",
        "org-AbCdEf123456",
        "A" * 40,
    ],
)
def test_nothing_of_the_providers_inside_reaches_the_client(inside: str) -> None:
    body = {"error": {"message": f"refused {inside} here", "param": "user"}}
    error = error_of(400, body)
    assert "refused … here" in error.message
    assert inside not in (error.detail or "")


@pytest.mark.parametrize(
    "body", [b"", b"null", b"[]", b"7", b"<html>", b"\xff", b"[" * 50_000, b"x" * 10**6]
)
@pytest.mark.parametrize("status", [300, 400, 404, 418, 422, 429, 500, 502, 503, 529])
def test_any_body_is_survived(status: int, body: bytes) -> None:
    error = error_of(status, body)
    assert error.blame == ("client" if status in (400, 422) else "provider")
    assert len(error.message) < 500


def test_a_huge_message_is_cut() -> None:
    error = error_of(400, {"error": {"message": "word " * 10_000, "param": "stop"}})
    assert len(error.message) < 500
