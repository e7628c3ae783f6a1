"""What `anthropic` takes from its clients and shows them, rule by rule."""

from __future__ import annotations

import json
from typing import Any

import httpx2
import msgspec
import pytest
from anthropic import Anthropic, APIStatusError
from tests.wire.anthropic.vendor import check_stream
from tests.wire.replay import HEAD, MODEL, ROWS, frames

from dragoman import errors
from dragoman.chat import (
    NO_SAMPLING,
    ChatRequest,
    Failed,
    Finished,
    Opaque,
    PartDelta,
    PartEnded,
    PartStarted,
    Refusal,
    Started,
    StreamEvent,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolChoice,
    Usage,
)
from dragoman.dialects.anthropic import (
    ANTHROPIC,
    ANTHROPIC_UPSTREAM,
    decode_count_request,
    encode_count,
)
from dragoman.errors import DragomanError, InvalidRequest

USER = {"role": "user", "content": "Hi"}
TOOL = {"name": "look", "input_schema": {"type": "object"}}
CALL = {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {}}
RESULT = {"type": "tool_result", "tool_use_id": "toolu_1", "content": "seen"}


def decode(**fields: Any) -> ChatRequest:
    body = {"model": "m", "max_tokens": 2000, "messages": [USER]} | fields
    return ANTHROPIC.decode_request(json.dumps(body).encode(), {})


def refusal(**fields: Any) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        decode(**fields)
    assert caught.value.param is not None
    assert caught.value.param in caught.value.message
    return caught.value


# --- Requests -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"model": None}, "model"),
        ({"max_tokens": None}, "max_tokens"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "system", "content": "x"}]}, "messages"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": []}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": [CALL]}]}, "messages[0].content[0].type"),
        ({"messages": [{"role": "assistant", "content": [RESULT]}]}, "messages[0].content[0].type"),
        (
            {"messages": [{"role": "user", "content": [{"type": "x"}]}]},
            "messages[0].content[0].type",
        ),
        (
            {"messages": [USER, {"role": "system", "content": [CALL]}]},
            "messages[1].content[0].type",
        ),
        (
            {"messages": [{"role": "assistant", "content": [CALL | {"input": [1]}]}]},
            "messages[0].content[0].input",
        ),
        ({"system": [CALL]}, "system[0].type"),
        ({"temperature": 1.1}, "temperature"),
        ({"temperature": -0.1}, "temperature"),
        ({"top_p": 2}, "top_p"),
        ({"top_k": -1}, "top_k"),
        ({"top_k": 2**31}, "top_k"),
        ({"max_tokens": 2**31}, "max_tokens"),
        ({"stop_sequences": ["x"] * 257}, "stop_sequences"),
        ({"stop_sequences": ["x" * 4097]}, "stop_sequences[0]"),
        ({"metadata": {"user_id": "x" * 1025}}, "metadata.user_id"),
        ({"stop_sequences": ["a", ""]}, "stop_sequences[1]"),
        ({"tools": [TOOL, TOOL]}, "tools[1].name"),
        ({"tools": [TOOL | {"name": "a b"}]}, "tools[0].name"),
        ({"tools": [TOOL | {"name": "a" * 129}]}, "tools[0].name"),
        ({"tools": [{"name": "look"}]}, "tools[0].input_schema"),
        ({"tools": [TOOL | {"input_schema": []}]}, "tools[0].input_schema"),
        ({"tools": [{"type": "bash_20250124", "name": "bash"}]}, "tools[0].type"),
        ({"tool_choice": {"type": "any"}}, "tool_choice"),
        ({"tools": [TOOL], "tool_choice": {"type": "tool", "name": "x"}}, "tool_choice.name"),
        ({"thinking": {"type": "enabled", "budget_tokens": 1023}}, "thinking.budget_tokens"),
        ({"thinking": {"type": "enabled", "budget_tokens": 2000}}, "thinking.budget_tokens"),
        ({"thinking": {"type": "between_tools"}}, "thinking.type"),
        ({"output_config": {"effort": "huge"}}, "output_config.effort"),
        (
            {"output_config": {"format": {"type": "json_schema", "schema": 1}}},
            "output_config.format.schema",
        ),
    ],
)
def test_a_broken_rule_is_refused_by_its_path(fields: dict[str, Any], param: str) -> None:
    assert refusal(**fields).param == param


def test_a_result_must_answer_a_call_of_the_turn_before_it() -> None:
    asked = {"role": "assistant", "content": [CALL]}
    answered = {"role": "user", "content": [RESULT]}
    decode(messages=[USER, asked, answered])
    late = [USER, asked, answered, {"role": "assistant", "content": "Done"}, answered]
    for messages in ([answered], [USER, answered], late):
        param = refusal(messages=messages).param
        assert param == f"messages[{len(messages) - 1}].content[0].tool_use_id"


def test_an_image_must_be_of_a_type_that_models_see() -> None:
    source = {"type": "base64", "media_type": "image/tiff", "data": "AAAA"}
    content = [{"type": "image", "source": source}]
    param = refusal(messages=[{"role": "user", "content": content}]).param
    assert param == "messages[0].content[0].source.media_type"


@pytest.mark.parametrize("content", [None, "", [], "text", [{"type": "text", "text": ""}]])
def test_an_assistants_message_is_taken_back_in_any_form(content: Any) -> None:
    request = decode(messages=[USER, {"role": "assistant", "content": content}, USER])
    assert [message.role for message in request.messages] == ["user", "assistant", "user"]


def test_neutral_values_and_nulls_ask_for_nothing() -> None:
    neutral = decode(
        tools=[],
        stop_sequences=[],
        system="",
        thinking=None,
        temperature=None,
        stream=False,
        metadata={},
        output_config={},
        tool_choice={"type": "auto", "disable_parallel_tool_use": False},
        x=None,
    )
    assert neutral == decode()


def test_unknown_fields_and_hints_are_named_once_each() -> None:
    tools = [TOOL | {"defer_loading": True, "allowed_callers": ["direct"]}]
    tools.append(TOOL | {"name": "see", "defer_loading": True, "input_examples": [{}]})
    cited = {"type": "text", "text": "A", "citations": [{"type": "char_location"}]}
    request = decode(
        service_tier="auto",
        tools=tools,
        messages=[USER, {"role": "assistant", "content": [cited]}, USER],
    )
    assert [name for name, _ in request.extensions] == [
        "service_tier",
        "tools[].defer_loading",
        "tools[].input_examples",
        "messages[].content[].citations",
    ]


def test_blocks_that_only_anthropic_understands_are_kept_as_they_came() -> None:
    document = '{"type":"document",  "source":{"type":"url","url":"https://a.test/b.pdf"}}'
    kept = [
        document,
        '{"type":"image","source":{"type":"file","file_id":"file_1"}}',
        '{"type":"container_upload","file_id":"file_2"}',
    ]
    body = (
        '{"model":"m","max_tokens":9,"messages":[{"role":"user","content":['
        + ",".join(kept)
        + "]}]}"
    )
    request = ANTHROPIC.decode_request(body.encode(), {})
    assert request.messages[0].parts == tuple(
        Opaque(wire="anthropic", kind=json.loads(text)["type"], json=text) for text in kept
    )


def test_a_call_made_by_code_and_a_result_with_a_document_are_kept_whole() -> None:
    by_code = CALL | {"caller": {"type": "code_execution_20250825", "tool_id": "srvtoolu_1"}}
    with_document = RESULT | {"content": [{"type": "document", "source": {"type": "text"}}]}
    request = decode(
        messages=[
            USER,
            {"role": "assistant", "content": [by_code]},
            {"role": "user", "content": [with_document]},
        ]
    )
    kept = [message.parts[0] for message in request.messages[1:]]
    assert [type(part) for part in kept] == [Opaque, Opaque]
    assert [json.loads(part.json) for part in kept if isinstance(part, Opaque)] == [
        by_code,
        with_document,
    ]


def test_input_stays_as_written_but_for_what_we_wrapped() -> None:
    text = '{"model":"m","max_tokens":9,"messages":[{"role":"assistant","content":[%s]}]}'
    written = '{"b": 1,  "a": 1.50}'
    call = '{"type":"tool_use","id":"toolu_1","name":"f","input":%s}'
    request = ANTHROPIC.decode_request((text % (call % written)).encode(), {})
    assert request.messages[0].parts == (ToolCall(id="toolu_1", name="f", arguments=written),)
    wrapped = json.dumps({"INVALID_JSON": '{"b": '})
    request = ANTHROPIC.decode_request((text % (call % wrapped)).encode(), {})
    assert request.messages[0].parts == (ToolCall(id="toolu_1", name="f", arguments='{"b": '),)


def test_top_level_cache_control_marks_the_last_part_that_can_be_cached() -> None:
    thought = {"type": "thinking", "thinking": "Hm", "signature": "s"}
    said = [{"type": "text", "text": "A"}, thought]
    request = decode(
        messages=[USER, {"role": "assistant", "content": said}],
        cache_control={"type": "ephemeral", "ttl": "1h"},
    )
    assert request.messages[1].parts[0] == Text("A", "1h")
    assert request.messages[0].parts[0] == Text("Hi")


@pytest.mark.parametrize(
    ("fields", "thinking"),
    [
        ({}, None),
        ({"thinking": {"type": "disabled"}}, Thinking(enabled=False)),
        (
            {"thinking": {"type": "enabled", "budget_tokens": 1024}},
            Thinking(budget_tokens=1024),
        ),
        (
            {"thinking": {"type": "adaptive"}, "output_config": {"effort": "max"}},
            Thinking(effort="max"),
        ),
        ({"output_config": {"effort": "low"}}, Thinking(effort="low", is_implied=True)),
    ],
)
def test_thinking_is_what_was_asked(fields: dict[str, Any], thinking: Thinking | None) -> None:
    assert decode(**fields).thinking == thinking


@pytest.mark.parametrize(
    ("choice", "expected", "parallel"),
    [
        ({"type": "auto"}, ToolChoice("auto"), None),
        ({"type": "auto", "disable_parallel_tool_use": True}, ToolChoice("auto"), False),
        ({"type": "any"}, ToolChoice("required"), None),
        ({"type": "none"}, ToolChoice("none"), None),
        (
            {"type": "tool", "name": "look", "disable_parallel_tool_use": True},
            ToolChoice("named", "look"),
            False,
        ),
    ],
)
def test_tool_choice(choice: dict[str, Any], expected: ToolChoice, parallel: bool | None) -> None:
    request = decode(tools=[TOOL], tool_choice=choice)
    assert request.tool_choice == expected
    assert request.parallel_tool_calls is parallel
    assert request.tools == (Tool(name="look", parameters=msgspec.Raw(b'{"type": "object"}')),)


def test_the_dialect_sets_no_sampling_default() -> None:
    request = ANTHROPIC.bind_target(decode(), "model")
    assert request.default_sampling == request.sampling == NO_SAMPLING


def test_a_body_nested_deep_is_refused() -> None:
    for nested in ("[" * 100_000, '{"a":' * 100_000):
        body = '{"model":"m","max_tokens":1,"messages":' + nested
        with pytest.raises(InvalidRequest):
            ANTHROPIC.decode_request(body.encode(), {})
    deep = b'{"type":"tool_use","id":"a","name":"f","input":' + b'{"a":' * 100_000
    body = '{"model":"m","max_tokens":1,"messages":[{"role":"assistant","content":['
    with pytest.raises(InvalidRequest):
        ANTHROPIC.decode_request(body.encode() + deep, {})


def test_values_at_their_bounds_are_taken() -> None:
    request = decode(
        max_tokens=2**31 - 1,
        top_k=0,
        temperature=1,
        top_p=0,
        stop_sequences=["x" * 4096] * 256,
        metadata={"user_id": "x" * 1024},
        thinking={"type": "enabled", "budget_tokens": 2**31 - 2},
    )
    assert request.max_output_tokens == 2**31 - 1
    assert request.context.user == "x" * 1024


def test_counting_needs_no_maximum() -> None:
    body = {"model": "m", "messages": [USER], "system": "S", "tools": [TOOL]}
    request = decode_count_request(json.dumps(body).encode(), {})
    assert [message.text for message in request.messages] == ["S", "Hi"]
    assert json.loads(encode_count(42)) == {"input_tokens": 42}
    with pytest.raises(InvalidRequest, match="messages is required"):
        decode_count_request(b'{"model":"m"}', {})


# --- Errors -------------------------------------------------------------------------------------


def _as_the_vendors_client_raises(status: int, body: bytes) -> APIStatusError:
    request = httpx2.Request("POST", "https://dragoman.test/v1/messages")
    response = httpx2.Response(status, content=body, request=request)
    with Anthropic(api_key="k") as client:
        return client._make_status_error_from_response(response)


@pytest.mark.parametrize(
    ("error", "status", "kind", "raised"),
    [
        (errors.InvalidRequest(), 400, "invalid_request_error", "BadRequestError"),
        (errors.Unauthenticated(), 401, "authentication_error", "AuthenticationError"),
        (errors.InsufficientCredits(), 402, "billing_error", "PaymentRequiredError"),
        (errors.Forbidden(), 403, "permission_error", "PermissionDeniedError"),
        (errors.UnknownEntity("model 'x' is unknown"), 404, "not_found_error", "NotFoundError"),
        (errors.UnknownRoute(), 404, "not_found_error", "NotFoundError"),
        (errors.MethodNotAllowed(), 405, "invalid_request_error", "APIStatusError"),
        (errors.FirstTokenTimeout(), 408, "timeout_error", "RequestTimeoutError"),
        (errors.Conflict(), 409, "conflict_error", "ConflictError"),
        (errors.BodyTooLarge(), 413, "request_too_large", "ContentTooLargeError"),
        (errors.RateLimited(), 429, "rate_limit_error", "RateLimitError"),
        (errors.Internal(), 500, "api_error", "InternalServerError"),
        (errors.ProviderRefusedUs(), 500, "api_error", "InternalServerError"),
        (errors.ProviderUnreachable(), 503, "api_error", "ServiceUnavailableError"),
        (errors.Draining(), 503, "api_error", "ServiceUnavailableError"),
        (errors.ProviderTimeout(), 504, "timeout_error", "GatewayTimeoutError"),
        (errors.Overloaded(), 529, "overloaded_error", "OverloadedError"),
        (errors.ProviderOverloaded(), 529, "overloaded_error", "OverloadedError"),
    ],
)
def test_errors_have_anthropics_statuses_and_types(
    error: DragomanError, status: int, kind: str, raised: str
) -> None:
    assert ANTHROPIC.error_status(error) == status
    body = ANTHROPIC.encode_error(error, "req_1")
    assert json.loads(body) == {
        "type": "error",
        "error": {"type": kind, "message": error.message},
        "request_id": "req_1",
    }
    assert type(_as_the_vendors_client_raises(status, body)).__name__ == raised


# --- Streams ------------------------------------------------------------------------------------


def streamed(*events: StreamEvent) -> bytes:
    encoder = ANTHROPIC.stream_encoder(decode(stream=True), HEAD)
    return b"".join([encoder.feed([event]) for event in events]) + encoder.close()


def call_stream(*pieces: str, reason: Any = "tool_calls") -> bytes:
    return streamed(
        Started(),
        PartStarted(ToolCall(id="call_1", name="f")),
        *[PartDelta(piece) for piece in pieces],
        PartEnded(),
        Finished(reason, usage=Usage(input_tokens=1, output_tokens=2)),
    )


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        ((), {}),
        (("",), {}),
        (("null",), {}),
        (("{", '"a":', "1}"), {"a": 1}),
        (("  ", "\n", '{"a":1}'), {"a": 1}),
        (("[1", ",2]"), {"INVALID_JSON": "[1,2]"}),
        (("I would ", "call f"), {"INVALID_JSON": "I would call f"}),
        (('"{}"',), {"INVALID_JSON": '"{}"'}),
    ],
)
def test_streamed_input_is_an_object_for_the_vendors_client(
    pieces: tuple[str, ...], expected: dict[str, Any]
) -> None:
    message = check_stream(call_stream(*pieces))
    assert message is not None
    assert [block.model_dump(exclude_none=True) for block in message.content] == [
        {"type": "tool_use", "id": "toolu_id_call_1", "name": "f", "input": expected}
    ]
    assert message.stop_reason == "tool_use"


def test_input_that_is_cut_says_so_by_the_stop_reason() -> None:
    message = check_stream(call_stream('{"a":', '"b', reason="length"))
    assert message is not None
    assert message.stop_reason == "max_tokens"


def test_a_forced_call_that_finished_with_stop_is_a_tool_use() -> None:
    message = check_stream(call_stream("{}", reason="stop"))
    assert message is not None
    assert message.stop_reason == "tool_use"


def test_a_refusal_in_words_is_text_and_a_stop_reason() -> None:
    message = check_stream(
        streamed(Started(), PartStarted(Refusal("I cannot.")), PartEnded(), Finished("stop"))
    )
    assert message is not None
    assert message.stop_reason == "refusal"
    assert message.stop_details is not None
    assert message.stop_details.explanation == "I cannot."
    assert [block.model_dump(exclude_none=True) for block in message.content] == [
        {"type": "text", "text": "I cannot."}
    ]


def test_a_part_that_comes_whole_in_its_start_loses_nothing() -> None:
    message = check_stream(
        streamed(
            Started(),
            PartStarted(Text("All at once.")),
            PartEnded(),
            PartStarted(ToolCall(id="toolu_7", name="f", arguments='{"a":1}')),
            PartEnded(),
            Finished("tool_calls"),
        )
    )
    assert message is not None
    assert [block.model_dump(exclude_none=True) for block in message.content] == [
        {"type": "text", "text": "All at once."},
        {"type": "tool_use", "id": "toolu_7", "name": "f", "input": {"a": 1}},
    ]


def test_nothing_follows_an_error_and_nothing_pretends_an_end() -> None:
    encoder = ANTHROPIC.stream_encoder(decode(stream=True), HEAD)
    encoder.feed([Started(), PartStarted(Text(""))])
    last = encoder.feed([PartDelta("Hel"), Failed(errors.ProviderGarbled(detail="secret"))])
    assert frames(last)[-1] == [
        ["event", "error"],
        [
            "data",
            {
                "type": "error",
                "error": {"type": "api_error", "message": errors.ProviderGarbled.default_message},
                "request_id": HEAD.request_id,
            },
        ],
    ]
    assert encoder.feed([PartDelta("lo"), PartEnded(), Finished("stop")]) == b""
    assert encoder.close() == b""


def test_a_kept_block_of_an_answer_is_shown_as_it_came() -> None:
    block = {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {}}
    part = Opaque(wire="anthropic", kind="server_tool_use", json=json.dumps(block))
    stream = streamed(Started(), PartStarted(part), PartEnded(), Finished("paused"))
    assert frames(stream)[1][1][1]["content_block"] == block
    message = check_stream(stream)
    assert message is not None
    assert message.stop_reason == "pause_turn"


def test_the_request_of_a_kept_answer_reaches_an_anthropic_provider_again() -> None:
    block = {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {}}
    request = decode(messages=[USER, {"role": "assistant", "content": [block]}, USER])
    sent = ANTHROPIC_UPSTREAM.encode_request(request, MODEL, ROWS["anthropic"], stream=False)
    assert json.loads(sent)["messages"][1]["content"] == [block]
