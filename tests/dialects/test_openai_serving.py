"""The `openai` dialect's own rules: what is taken, what is refused and in which words."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from tests.wire.replay import HEAD

from dragoman.chat import (
    NO_CONTEXT,
    NO_SAMPLING,
    TEXT_FORMAT,
    ChatRequest,
    ChatResponse,
    Choice,
    Failed,
    Finished,
    Image,
    Message,
    NanoUSD,
    Opaque,
    PartDelta,
    PartEnded,
    PartStarted,
    Reasoning,
    Refusal,
    Started,
    StreamEvent,
    Text,
    Thinking,
    ToolCall,
    ToolChoice,
    ToolResult,
    Usage,
)
from dragoman.dialects.openai import OPENAI
from dragoman.dialects.openai.serving import ChatCompletionChunk, ChatCompletionRequest
from dragoman.errors import (
    BodyTooLarge,
    Conflict,
    DragomanError,
    FirstTokenTimeout,
    Forbidden,
    InsufficientCredits,
    Internal,
    InvalidRequest,
    MalformedBody,
    MethodNotAllowed,
    Overloaded,
    ProviderGarbled,
    ProviderRefusedUs,
    RateLimited,
    Unauthenticated,
    UnknownEntity,
    UnknownRoute,
)

ASK: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}
TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}
CALL = {"id": "call_1", "type": "function", "function": {"name": "look", "arguments": "{}"}}


def decode(**fields: Any) -> ChatRequest:
    return OPENAI.decode_request(json.dumps({**ASK, **fields}).encode(), {})


def refusal(**fields: Any) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        decode(**fields)
    return caught.value


# --- What is taken ------------------------------------------------------------------------------


def test_the_least_request_has_the_dialects_defaults() -> None:
    request = decode()
    assert request.target == "m"
    assert request.messages == (Message("user", (Text("Hi"),)),)
    assert request.sampling is NO_SAMPLING
    assert (request.default_sampling.temperature, request.default_sampling.top_p) == (1.0, 1.0)
    assert request.choices == 1
    assert request.max_output_tokens is None
    assert not request.stream
    assert request.context is NO_CONTEXT
    assert request.extensions == ()


def test_null_means_absent_for_every_optional_field() -> None:
    fields = set(ChatCompletionRequest.__struct_encode_fields__)
    nulls = dict.fromkeys(fields - {"model", "messages"})
    assert decode(**nulls) == decode()
    assert decode(x_unknown=None) == decode()


@pytest.mark.parametrize(
    "neutral",
    [
        {"n": 1},
        {"logprobs": False},
        {"top_logprobs": 0},
        {"logit_bias": {}},
        {"parallel_tool_calls": True},
        {"stream_options": {}},
        {"stop": []},
        {"tools": []},
        {"tool_choice": "auto"},
        {"response_format": {"type": "text"}},
        {"stream": False},
    ],
    ids=str,
)
def test_a_neutral_value_asks_for_nothing(neutral: dict[str, Any]) -> None:
    assert decode(**neutral) == decode()


def test_penalties_of_zero_are_kept_as_neutral_numbers() -> None:
    sampling = decode(frequency_penalty=0, presence_penalty=0).sampling
    assert (sampling.frequency_penalty, sampling.presence_penalty) == (0, 0)


def test_developer_is_system() -> None:
    assert decode(messages=[{"role": "developer", "content": "Be kind."}]).messages == (
        Message("system", (Text("Be kind."),)),
    )


def test_unknown_fields_are_kept_by_name_as_written() -> None:
    request = decode(x_one={"a": [1]}, guided_regex="a+", x_null=None)
    assert [(name, bytes(raw)) for name, raw in request.extensions] == [
        ("x_one", b'{"a": [1]}'),
        ("guided_regex", b'"a+"'),
    ]


def test_both_maximums_are_one_field() -> None:
    assert decode(max_tokens=7).max_output_tokens == 7
    assert decode(max_completion_tokens=7).max_output_tokens == 7
    assert decode(max_tokens=7, max_completion_tokens=7).max_output_tokens == 7


def test_stop_is_a_string_or_up_to_four() -> None:
    assert decode(stop="END").stop == ("END",)
    assert decode(stop=["a", "b", "c", "d"]).stop == ("a", "b", "c", "d")


def test_content_parts() -> None:
    content = [
        {"type": "text", "text": "Look"},
        {"type": "image_url", "image_url": {"url": "https://images.test/a.png", "detail": "high"}},
        {"type": "image_url", "image_url": "DATA:image/PNG;base64,AAAA"},
        {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
    ]
    message = decode(messages=[{"role": "user", "content": content}]).messages[0]
    assert message.parts == (
        Text("Look"),
        Image(url="https://images.test/a.png", detail="high"),
        Image(data="AAAA", media_type="image/png"),
        Opaque(
            wire="openai",
            kind="input_audio",
            json='{"type":"input_audio","input_audio":{"data": "AAAA", "format": "wav"}}',
        ),
    )


@pytest.mark.parametrize(
    ("answered", "parts"),
    [
        ({"content": "Hi"}, (Text("Hi"),)),
        ({"content": ""}, ()),
        ({"content": None, "tool_calls": [CALL]}, (ToolCall(id="call_1", name="look", arguments="{}"),)),
        ({"tool_calls": [CALL]}, (ToolCall(id="call_1", name="look", arguments="{}"),)),
        ({"content": "", "tool_calls": []}, ()),
        ({"content": None, "refusal": "No."}, (Refusal("No."),)),
        ({"content": [{"type": "text", "text": "Hi"}, {"type": "refusal", "refusal": "No."}]}, (Text("Hi"), Refusal("No."))),
        ({"content": "Hi", "reasoning_content": "Hm"}, (Reasoning(text="Hm"), Text("Hi"))),
        ({"content": "Hi", "reasoning": "Hm"}, (Reasoning(text="Hm"), Text("Hi"))),
        (
            {"content": "Hi", "reasoning_content": "Hm", "reasoning_details": [{"type": "reasoning.text", "text": "Hm", "signature": "s"}]},
            (Reasoning(text="Hm", signature="s"), Text("Hi")),
        ),
    ],
)  # fmt: skip
def test_what_we_answered_is_accepted_back(answered: dict[str, Any], parts: Any) -> None:
    messages = [*ASK["messages"], {"role": "assistant", **answered}]
    assert decode(messages=messages).messages[1].parts == parts


@pytest.mark.parametrize("content", ["", [], [{"type": "text", "text": ""}]], ids=str)
def test_tool_content_may_be_empty(content: Any) -> None:
    messages = [
        {"role": "assistant", "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "call_1", "content": content},
    ]
    (part,) = decode(messages=messages).messages[1].parts
    assert isinstance(part, ToolResult)
    assert "".join(inner.text for inner in part.parts if isinstance(inner, Text)) == ""


def test_ids_of_tool_calls_may_come_again_in_another_turn() -> None:
    turn = [
        {"role": "assistant", "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "call_1", "content": "x"},
    ]
    assert len(decode(messages=[*turn, *ASK["messages"], *turn]).messages) == 5


def test_tool_choice_forms() -> None:
    named = {"type": "function", "function": {"name": "look"}}
    assert decode(tools=[TOOL], tool_choice=named).tool_choice == ToolChoice("named", "look")
    assert decode(tools=[TOOL], tool_choice="required").tool_choice == ToolChoice("required")
    assert decode(tools=[TOOL], tool_choice="none").tool_choice == ToolChoice("none")
    assert decode(tool_choice="none").tool_choice == ToolChoice("none")


def test_a_tool_without_parameters_takes_none() -> None:
    request = decode(tools=[{"type": "function", "function": {"name": "look", "parameters": None}}])
    assert json.loads(bytes(request.tools[0].parameters)) == {"type": "object", "properties": {}}


def test_thinking_is_asked_for_by_effort() -> None:
    assert decode(reasoning_effort="low").thinking == Thinking(effort="low")
    assert decode(reasoning_effort="none").thinking == Thinking(enabled=False, effort="none")


def test_user_metadata_and_store_are_context() -> None:
    context = decode(user="ann", metadata={"a": "b"}, store=False).context
    assert (context.user, context.store) == ("ann", False)
    assert context.metadata is not None
    assert json.loads(bytes(context.metadata)) == {"a": "b"}


# --- What is refused ----------------------------------------------------------------------------

USER = {"role": "user", "content": "Hi"}


@pytest.mark.parametrize(
    ("fields", "param", "words"),
    [
        ({"model": None}, "model", "must be a string, not null"),
        ({"model": ""}, "model", "model is required"),
        ({"model": 7}, "model", "model must be a string, not an integer"),
        ({"messages": None}, "messages", "must be an array, not null"),
        ({"messages": []}, "messages", "at least one"),
        ({"messages": "Hi"}, "messages", "must be an array"),
        ({"messages": [{}]}, "messages[0].role", "is required"),
        ({"messages": [USER, {"role": "tool ", "content": ""}]}, "messages[1].role", "'tool ' is unknown"),
        ({"messages": [{"role": "user"}]}, "messages[0].content", "is required"),
        ({"messages": [{"role": "user", "content": 7}]}, "messages[0].content", "must be"),
        ({"messages": [{"role": "assistant"}]}, "messages[0].content", "calls no tools"),
        ({"messages": [{"role": "assistant", "content": None}]}, "messages[0].content", "calls no tools"),
        ({"messages": [{"role": "user", "content": "x", "tool_calls": [CALL]}]}, "messages[0].tool_calls", "does not belong"),
        ({"messages": [{"role": "user", "content": "x", "tool_call_id": "a"}]}, "messages[0].tool_call_id", "does not belong"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].tool_call_id", "is required"),
        ({"messages": [{"role": "tool", "content": "x", "tool_call_id": "a"}]}, "messages[0].tool_call_id", "matches no tool call"),
        (
            {"messages": [{"role": "assistant", "tool_calls": [CALL]}, USER, {"role": "assistant", "content": "x"}, {"role": "tool", "content": "", "tool_call_id": "call_1"}]},
            "messages[3].tool_call_id",
            "'call_1' matches no tool call",
        ),
        ({"messages": [{"role": "assistant", "tool_calls": [{"id": "a", "type": "custom", "custom": {}}]}]}, "messages[0].tool_calls[0]", "function"),
        ({"messages": [{"role": "user", "content": [{"type": "video"}]}]}, "messages[0].content[0].type", "video"),
        ({"messages": [{"role": "user", "content": [{"type": "refusal", "refusal": "x"}]}]}, "messages[0].content[0]", "only an assistant"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "file:///etc/passwd"}}]}]}, "messages[0].content[0].image_url", "http(s) URL or a data URI"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:text/html;base64,AAAA"}}]}]}, "messages[0].content[0].image_url", "data URI of an image"),
        ({"temperature": 2.01}, "temperature", "between 0 and 2"),
        ({"temperature": -0.1}, "temperature", "between 0 and 2"),
        ({"temperature": "hot"}, "temperature", "must be a number, not a string"),
        ({"top_p": 1.1}, "top_p", "between 0 and 1"),
        ({"frequency_penalty": 2.5}, "frequency_penalty", "between -2 and 2"),
        ({"presence_penalty": -2.5}, "presence_penalty", "between -2 and 2"),
        ({"max_tokens": 0}, "max_tokens", "between 1 and"),
        ({"max_tokens": -1}, "max_tokens", "between 1 and"),
        ({"max_tokens": 10**18}, "max_tokens", "between 1 and"),
        ({"max_tokens": 1.5}, "max_tokens", "must be an integer"),
        ({"max_completion_tokens": 0}, "max_completion_tokens", "between 1 and"),
        ({"max_tokens": 7, "max_completion_tokens": 8}, "max_tokens", "differ"),
        ({"n": 0}, "n", "between 1 and 128"),
        ({"n": 129}, "n", "between 1 and 128"),
        ({"n": 10**400}, "n", "between 1 and 128"),
        ({"stop": ["a", "b", "c", "d", "e"]}, "stop", "at most 4"),
        ({"stop": ""}, "stop", "1 to"),
        ({"stop": ["a", ""]}, "stop[1]", "1 to"),
        ({"stop": 7}, "stop", "must be"),
        ({"seed": 2**63}, "seed", "64-bit"),
        ({"logit_bias": {"x": 1}}, "logit_bias", "not a token id"),
        ({"logit_bias": {"5": 101}}, "logit_bias", "between -100 and 100"),
        ({"logit_bias": {str(i): 1 for i in range(1025)}}, "logit_bias", "at most 1024"),
        ({"top_logprobs": 3}, "top_logprobs", "needs logprobs"),
        ({"logprobs": True, "top_logprobs": 21}, "top_logprobs", "between 0 and 20"),
        ({"tools": [{"type": "custom", "custom": {"name": "x"}}]}, "tools[0].type", "'custom' is not supported"),
        ({"tools": [{"type": "function"}]}, "tools[0].function", "is required"),
        ({"tools": [{"type": "function", "function": {}}]}, "tools[0].function.name", "is required"),
        ({"tools": [{"type": "function", "function": {"name": ""}}]}, "tools[0].function.name", "1 to 128"),
        ({"tools": [{"type": "function", "function": {"name": "x", "parameters": []}}]}, "tools[0].function.parameters", "must be an object"),
        ({"tool_choice": "required"}, "tool_choice", "needs tools"),
        ({"tool_choice": "any"}, "tool_choice", "'any' is unknown"),
        ({"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "other"}}}, "tool_choice", "'other', which is not among tools"),
        ({"tools": [TOOL], "tool_choice": {"type": "allowed_tools"}}, "tool_choice", "must be"),
        ({"response_format": {"type": "xml"}}, "response_format.type", "'xml' is unknown"),
        ({"response_format": {}}, "response_format.type", "is required"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema", "is required"),
        ({"response_format": {"type": "json_schema", "json_schema": {"schema": {}}}}, "response_format.json_schema.name", "is required"),
        ({"response_format": {"type": "json_schema", "json_schema": {"name": "x"}}}, "response_format.json_schema.schema", "is required"),
        ({"response_format": {"type": "json_schema", "json_schema": {"name": 7, "schema": {}}}}, "response_format.json_schema.name", "must be a string"),
        ({"functions": [{"name": "f"}]}, "functions", "use tools"),
        ({"function_call": "auto"}, "function_call", "use tools"),
        ({"reasoning_effort": "immense"}, "reasoning_effort", "immense"),
        ({"metadata": []}, "metadata", "must be an object"),
        ({"user": "x" * 1025}, "user", "at most 1024"),
    ],
)  # fmt: skip
def test_a_broken_rule_is_refused_by_name(fields: Any, param: str, words: str) -> None:
    error = refusal(**fields)
    assert error.param == param
    assert words in error.message


@pytest.mark.parametrize("field", ["model", "messages"])
def test_what_is_required_is_missed_by_name(field: str) -> None:
    body = {name: value for name, value in ASK.items() if name != field}
    with pytest.raises(InvalidRequest) as caught:
        OPENAI.decode_request(json.dumps(body).encode(), {})
    assert (caught.value.message, caught.value.param) == (f"{field} is required", field)


def test_a_metadata_value_must_be_a_string() -> None:
    error = refusal(metadata={"a": 7})
    assert error.param is not None
    assert error.param.startswith("metadata")
    assert "must be a string" in error.message


@pytest.mark.parametrize(
    "fields",
    [
        {"messages": [{"role": "x\n" * 10_000, "content": ""}]},
        {"messages": [{"role": "user", "content": [{"type": "x" * 10_000}]}]},
        {"reasoning_effort": "x" * 10_000},
        {"tool_choice": "x" * 10_000},
        {"response_format": {"type": "x" * 10_000}},
        {"logit_bias": {"x" * 10_000: 1}},
    ],
    ids=lambda fields: next(iter(fields)),
)
def test_an_error_repeats_little_of_what_was_sent(fields: dict[str, Any]) -> None:
    error = refusal(**fields)
    assert len(error.message) < 200
    assert "\n" not in error.message


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"null",
        b'"text"',
        b"{",
        b'{"model":"m","messages":[{"role":"user","content":"\xff"}]}',
        b'{"model":"m","messages":[{"role":"user","content":"\\ud800"}]}',
        b'{"model":"m","functions":' + b"[" * 100_000 + b"}",
        b'{"model":"m","x":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    ],
    ids=lambda body: repr(body[:20]),
)
def test_what_is_no_json_object_is_malformed(body: bytes) -> None:
    with pytest.raises(MalformedBody):
        OPENAI.decode_request(body, {})


# --- Errors -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "status", "kind"),
    [
        (InvalidRequest("x", param="n"), 400, "invalid_request_error"),
        (UnknownEntity("model 'x' does not exist"), 400, "invalid_request_error"),
        (Unauthenticated(), 401, "authentication_error"),
        (InsufficientCredits(), 402, "payment_required"),
        (Forbidden(), 403, "permission_error"),
        (UnknownRoute(), 404, "not_found_error"),
        (MethodNotAllowed(), 405, "invalid_request_error"),
        (FirstTokenTimeout(), 408, "timeout_error"),
        (Conflict(), 409, "conflict_error"),
        (BodyTooLarge(), 413, "invalid_request_error"),
        (RateLimited(), 429, "rate_limit_error"),
        (Internal(), 500, "server_error"),
        (ProviderRefusedUs(detail="sk-secret"), 500, "server_error"),
        (Overloaded(), 503, "service_unavailable"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, DragomanError) else None,
)
def test_every_error_has_its_status_and_type(error: DragomanError, status: int, kind: str) -> None:
    assert OPENAI.error_status(error) == status
    shown = json.loads(OPENAI.encode_error(error, "req_1"))["error"]
    assert (shown["type"], shown["code"]) == (kind, status)
    assert set(shown) == {"message", "type", "param", "code"}


def test_the_words_of_401_and_402_are_the_published_ones() -> None:
    def message(error: DragomanError) -> str:
        found: str = json.loads(OPENAI.encode_error(error, "req_1"))["error"]["message"]
        return found

    assert message(Unauthenticated()) == "Invalid API key."
    assert message(InsufficientCredits()) == "Insufficient credits. Please top up your account."


def test_a_server_error_never_says_what_happened_inside() -> None:
    body = OPENAI.encode_error(ProviderGarbled("row 7 of table keys", detail="x"), "req_1")
    assert b"row 7" not in body
    assert b"table" not in body


# --- Answers ------------------------------------------------------------------------------------


def encode(*parts: Any, usage: Usage | None = None) -> dict[str, Any]:
    response = ChatResponse(
        choices=(Choice(parts=parts, finish_reason="stop"),), usage=usage or Usage()
    )
    found: dict[str, Any] = json.loads(OPENAI.encode_response(decode(), response, HEAD))
    return found


def test_content_is_null_only_beside_calls_or_a_refusal() -> None:
    call = ToolCall(id="a", name="look")
    assert encode()["choices"][0]["message"]["content"] == ""
    assert encode(Text("x"))["choices"][0]["message"]["content"] == "x"
    assert encode(call)["choices"][0]["message"]["content"] is None
    assert encode(Refusal("No."))["choices"][0]["message"] == {
        "role": "assistant",
        "content": None,
        "refusal": "No.",
    }


def test_a_call_without_arguments_has_an_empty_object() -> None:
    message = encode(ToolCall(id="a", name="look"))["choices"][0]["message"]
    assert message["tool_calls"][0]["function"]["arguments"] == "{}"


def test_usage_shows_its_details_only_where_there_are_any() -> None:
    assert encode(Text(""), usage=Usage(input_tokens=3, output_tokens=2))["usage"] == {
        "prompt_tokens": 3,
        "completion_tokens": 2,
        "total_tokens": 5,
    }
    counts = Usage(input_tokens=9, output_tokens=4, cached_input_tokens=5, reasoning_tokens=3)
    usage = encode(Text(""), usage=counts)["usage"]
    assert usage["prompt_tokens_details"] == {"cached_tokens": 5}
    assert usage["completion_tokens_details"] == {"reasoning_tokens": 3}


def test_cost_is_in_dollars_and_only_where_it_is_known() -> None:
    response = ChatResponse(choices=(Choice(parts=(), finish_reason="stop"),), usage=Usage())
    priced = msgspec.structs.replace(response, usage=Usage(cost_nano_usd=NanoUSD(1_500_000)))
    assert json.loads(OPENAI.encode_response(decode(), priced, HEAD))["usage"]["cost"] == 0.0015
    assert "cost" not in json.loads(OPENAI.encode_response(decode(), response, HEAD))["usage"]


def test_a_paused_turn_is_not_shown_as_whole() -> None:
    response = ChatResponse(choices=(Choice(parts=(), finish_reason="paused"),), usage=Usage())
    body = json.loads(OPENAI.encode_response(decode(), response, HEAD))
    assert body["choices"][0]["finish_reason"] == "length"


# --- Streams ------------------------------------------------------------------------------------


def stream(events: list[StreamEvent], **fields: Any) -> list[bytes]:
    encoder = OPENAI.stream_encoder(decode(stream=True, **fields), HEAD)
    sent = encoder.feed(events) + encoder.close()
    return [frame.removeprefix(b"data: ") for frame in sent.split(b"\n\n") if frame]


HELLO: list[StreamEvent] = [
    Started(),
    PartStarted(Text("")),
    PartDelta("Hello"),
    PartEnded(),
    Finished("stop", usage=Usage(input_tokens=1, output_tokens=1)),
]


def test_the_final_chunk_carries_finish_reason_and_usage() -> None:
    *chunks, done = stream(HELLO)
    assert done == b"[DONE]"
    final = json.loads(chunks[-1])
    assert final["choices"][0]["finish_reason"] == "stop"
    assert final["usage"]["total_tokens"] == 2
    assert all("usage" not in json.loads(chunk) for chunk in chunks[:-1])
    assert all(json.loads(chunk)["choices"] for chunk in chunks)


def test_include_usage_asks_for_a_chunk_of_its_own() -> None:
    *chunks, last, done = stream(HELLO, stream_options={"include_usage": True})
    assert done == b"[DONE]"
    assert json.loads(last)["choices"] == []
    assert json.loads(last)["usage"]["total_tokens"] == 2
    assert all(json.loads(chunk)["usage"] is None for chunk in chunks)


def test_every_chunk_is_of_the_described_type() -> None:
    strict = msgspec.json.Decoder(ChatCompletionChunk)
    for frame in stream(HELLO)[:-1]:
        assert msgspec.json.encode(strict.decode(frame)) == frame


def test_a_failure_is_one_error_frame_and_the_end() -> None:
    frames = stream([*HELLO[:3], Failed(ProviderGarbled()), *HELLO[3:]])
    assert set(json.loads(frames[-1])) == {"error"}
    assert b"[DONE]" not in frames
    assert not any(b'"finish_reason":"' in frame for frame in frames)


def test_a_stream_that_is_not_whole_has_no_done() -> None:
    assert b"[DONE]" not in stream(HELLO[:3])
    assert b"[DONE]" not in stream([*HELLO, Started(1)], n=2)


def test_an_answer_without_parts_still_has_a_role() -> None:
    role, final, _ = stream([Started(), Finished("length", usage=Usage())])
    assert json.loads(role)["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert json.loads(final)["choices"][0]["finish_reason"] == "length"


def test_a_streamed_call_without_arguments_has_an_empty_object() -> None:
    call = ToolCall(id="a", name="look")
    frames = stream([Started(), PartStarted(call), PartEnded(), Finished("tool_calls")])
    deltas = [json.loads(frame)["choices"][0]["delta"] for frame in frames[:-1]]
    assert deltas[0]["content"] is None
    assert deltas[0]["tool_calls"][0]["function"] == {"name": "look", "arguments": ""}
    assert deltas[1]["tool_calls"] == [{"index": 0, "function": {"arguments": "{}"}}]


def test_signed_thinking_is_told_whole_at_its_end() -> None:
    thought = Reasoning()
    frames = stream(
        [
            Started(),
            PartStarted(thought),
            PartDelta("Hm"),
            PartDelta("m."),
            PartEnded(signature="s"),
            PartStarted(Reasoning(redacted="e")),
            PartEnded(),
            Finished("stop"),
        ]
    )
    deltas = [json.loads(frame)["choices"][0]["delta"] for frame in frames[:-1]]
    assert [delta.get("reasoning_content") for delta in deltas[1:3]] == ["Hm", "m."]
    assert deltas[3]["reasoning_details"] == [
        {"type": "reasoning.text", "text": "Hmm.", "signature": "s", "index": 0}
    ]
    assert deltas[4]["reasoning_details"] == [
        {"type": "reasoning.encrypted", "data": "e", "index": 1}
    ]


def test_the_examples_are_decoded() -> None:
    for example in OPENAI.wire.examples:
        request = OPENAI.decode_request(json.dumps(example.body).encode(), {})
        assert OPENAI.bind_target(request, "model").response_format is not None
        assert request.response_format == TEXT_FORMAT or example.name == "json_mode"
