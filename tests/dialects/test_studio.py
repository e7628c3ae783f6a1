"""The `studio` dialect's own rules: Prem's and Adaptive's fields side by side."""

from __future__ import annotations

import json
from typing import Any, Literal

import msgspec
import pytest
from adaptive_sdk.rest import rest_types
from tests.wire.replay import HEAD

from dragoman.chat import (
    NO_CONTEXT,
    NO_SAMPLING,
    ChatRequest,
    ChatResponse,
    Choice,
    Finished,
    PartDelta,
    PartEnded,
    PartStarted,
    Reasoning,
    Refusal,
    Started,
    Text,
    ToolCall,
    ToolChoice,
    ToolSwitch,
    Usage,
)
from dragoman.dialects.studio import MODEL_SAMPLING, STUDIO, StudioChunk, StudioRequest
from dragoman.errors import (
    DragomanError,
    FirstTokenTimeout,
    Forbidden,
    InsufficientCredits,
    Internal,
    InvalidRequest,
    Overloaded,
    RateLimited,
    Unauthenticated,
    UnknownEntity,
)

USER = {"role": "user", "content": "Hi"}
ASK: dict[str, Any] = {"model": "m", "messages": [USER]}
TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}
UUID = "3c90c3cc-0d44-4b50-8888-8dd25736052a"


def decode(**fields: Any) -> ChatRequest:
    return STUDIO.decode_request(json.dumps({**ASK, **fields}).encode(), {})


def bind(kind: Literal["model", "project"], **fields: Any) -> ChatRequest:
    return STUDIO.bind_target(decode(**fields), kind)


# --- What is taken ------------------------------------------------------------------------------


def test_null_means_absent_for_every_optional_field() -> None:
    fields = set(StudioRequest.__struct_encode_fields__) - {"model", "messages"}
    request = decode(**dict.fromkeys(fields))
    assert request == decode()
    assert request.context == NO_CONTEXT


def test_defaults_are_a_models_and_not_a_projects() -> None:
    assert bind("model").default_sampling == MODEL_SAMPLING
    assert (MODEL_SAMPLING.temperature, MODEL_SAMPLING.top_p) == (0.7, 1.0)
    assert bind("project").default_sampling is NO_SAMPLING


def test_null_temperature_and_top_p_are_the_defaults() -> None:
    assert bind("model", temperature=None, top_p=None) == bind("model")


def test_prems_example_is_taken_with_tool_fields_on_a_system_message() -> None:
    call = {"id": "<string>", "type": "function", "function": {"name": "a", "arguments": "b"}}
    message = {"role": "system", "content": "x", "name": "n", "tool_calls": [call], "tool_call_id": "y"}  # fmt: skip
    (system,) = bind("model", messages=[message]).messages
    assert (system.role, system.name, system.text) == ("system", "n", "x")


@pytest.mark.parametrize("role", ["system", "user", "assistant"])
def test_content_may_be_null_on_any_role(role: str) -> None:
    assert decode(messages=[{"role": role, "content": None}]).messages[0].parts == ()


def test_a_system_message_after_the_first_is_a_models_400_and_fine_for_a_project() -> None:
    messages = [{"role": "system", "content": "a"}, USER, {"role": "system", "content": "b"}]
    with pytest.raises(InvalidRequest) as caught:
        bind("model", messages=messages)
    assert caught.value.param == "messages[2].role"
    assert len(bind("project", messages=messages).messages) == 3


def test_user_is_a_uuid_for_a_project_only() -> None:
    assert bind("model", user="ann").context.user == "ann"
    assert bind("project", user=UUID).context.user == UUID
    assert bind("project", user=UUID.upper()).context.user == UUID
    with pytest.raises(InvalidRequest) as caught:
        bind("project", user="ann")
    assert caught.value.param == "user"


def test_image_urls_are_a_models_only_and_data_uris_anyones() -> None:
    def ask(url: str) -> dict[str, Any]:
        content = [{"type": "image_url", "image_url": url}]
        return {"messages": [{"role": "user", "content": content}]}

    data, web = ask("data:image/png;base64,AAAA"), ask("https://images.test/a.png")
    assert bind("model", **data).messages == bind("project", **data).messages
    assert bind("model", **web).messages
    with pytest.raises(InvalidRequest) as caught:
        bind("project", **web)
    assert caught.value.param == "messages[0].content[0].image_url"


def test_functions_and_switches_are_told_apart_element_by_element() -> None:
    request = decode(tools=[None, TOOL, {"id": "search", "enabled": False}, None])
    assert [tool.name for tool in request.tools] == ["look"]
    assert request.context.tool_switches == (ToolSwitch("search", False),)


def test_null_tools_alone_are_no_tools() -> None:
    assert decode(tools=[None, None]) == decode()


def test_required_may_mean_the_servers_own_tools() -> None:
    assert decode(tool_choice="required", use_tools=True).tool_choice == ToolChoice("required")


@pytest.mark.parametrize(("n", "choices"), [(0, 1), (1, 1), (None, 1), (3, 3)])
def test_no_number_of_choices_is_one(n: int | None, choices: int) -> None:
    assert decode(n=n).choices == choices


def test_max_tokens_may_be_0_and_max_completion_tokens_may_not() -> None:
    assert decode(max_tokens=0).max_output_tokens == 0
    with pytest.raises(InvalidRequest, match="max_completion_tokens"):
        decode(max_completion_tokens=0)


def test_stop_has_no_limit_of_four() -> None:
    stops = [str(i) for i in range(20)]
    assert decode(stop=stops).stop == tuple(stops)


def test_labels_and_metadata_are_one_and_labels_win() -> None:
    labels = decode(labels={"a": "1"}, metadata={"a": "2", "b": "3"}).context.labels
    assert dict(labels) == {"a": "1", "b": "3"}


def test_the_context_of_an_interaction() -> None:
    context = decode(
        session_id=UUID.upper(),
        ab_campaign="spring",
        tags=["x", "y"],
        system_prompt_args={"tone": "kind"},
        max_ttft_ms=0,
        use_tools=False,
        store=False,
    ).context
    assert context.session_id == UUID
    assert (context.campaign, context.tags) == ("spring", ("x", "y"))
    assert (context.max_ttft_ms, context.use_tools, context.store) == (0, False, False)
    assert context.system_prompt_args is not None
    assert json.loads(bytes(context.system_prompt_args)) == {"tone": "kind"}


def test_a_message_keeps_its_completion_and_metadata() -> None:
    extras = {"completion_id": UUID, "metadata": [1, {"a": None}]}
    first, second = decode(messages=[{**USER, **extras}, USER]).messages
    assert first.completion_id == UUID
    assert first.metadata is not None
    assert json.loads(bytes(first.metadata)) == [1, {"a": None}]
    assert (second.completion_id, second.metadata) == (None, None)


def test_usage_is_streamed_only_where_asked_for() -> None:
    assert decode(stream=True).stream_usage == "none"
    assert decode(stream=True, stream_options={}).stream_usage == "none"
    options = {"include_usage": True}
    assert decode(stream=True, stream_options=options).stream_usage == "separate_chunk"
    assert decode(stream_options=options).stream_usage == "none"


def test_a_bare_json_schema_is_taken() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string"}}}
    wanted = decode(response_format={"type": "json_schema", "json_schema": schema})
    assert wanted.response_format.schema is not None
    assert json.loads(bytes(wanted.response_format.schema)) == schema


# --- What is refused ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"model": None}, "model"),
        ({"messages": []}, "messages"),
        ({"messages": [USER, {"role": "bot", "content": ""}]}, "messages[1].role"),
        ({"messages": [{"role": "tool", "content": "x", "tool_call_id": "a"}]}, "messages[0].tool_call_id"),
        ({"messages": [{**USER, "completion_id": "x"}]}, "messages[0].completion_id"),
        ({"temperature": 3}, "temperature"),
        ({"top_p": -0.1}, "top_p"),
        ({"frequency_penalty": 3}, "frequency_penalty"),
        ({"presence_penalty": -3}, "presence_penalty"),
        ({"n": -1}, "n"),
        ({"max_tokens": -1}, "max_tokens"),
        ({"max_tokens": 5, "max_completion_tokens": 6}, "max_tokens"),
        ({"max_ttft_ms": -1}, "max_ttft_ms"),
        ({"session_id": "yesterday"}, "session_id"),
        ({"session_id": UUID + "0"}, "session_id"),
        ({"stop": ["a", ""]}, "stop[1]"),
        ({"tools": [{"id": "a"}]}, "tools[0]"),
        ({"tools": [TOOL, {"enabled": True}]}, "tools[1]"),
        ({"tools": [{**TOOL, "id": "a", "enabled": True}]}, "tools[0]"),
        ({"tools": ["search"]}, "tools[0]"),
        ({"tools": [{"id": "a", "enabled": True}], "tool_choice": "required"}, "tool_choice"),
        ({"labels": {"a": 1}}, "labels.a"),
        ({"metadata": {"a": None}}, "metadata.a"),
        ({"labels": {str(i): "" for i in range(65)}}, "labels"),
        ({"tags": ["x"] * 65}, "tags"),
        ({"tags": [7]}, "tags[0]"),
        ({"ab_campaign": ""}, "ab_campaign"),
        ({"system_prompt_args": []}, "system_prompt_args"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema"),
    ],
)  # fmt: skip
def test_a_broken_rule_is_refused_by_name(fields: Any, param: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        decode(**fields)
    assert caught.value.param is not None
    assert caught.value.param.replace("[...]", "[0]") == param


@pytest.mark.parametrize(
    ("error", "status", "kind", "code"),
    [
        (InvalidRequest("x"), 400, "invalid_request_error", "invalid_request"),
        (Unauthenticated(), 401, "authentication_error", "unauthenticated"),
        (InsufficientCredits(), 402, "payment_required", "insufficient_credits"),
        (Forbidden(), 403, "permission_error", "forbidden"),
        (FirstTokenTimeout(), 408, "timeout_error", "first_token_timeout"),
        (RateLimited(), 429, "rate_limit_error", "rate_limited"),
        (Internal(), 500, "server_error", "internal"),
        (Overloaded(), 503, "service_unavailable", "overloaded"),
    ],
)
def test_every_error_has_its_status_type_and_code(
    error: DragomanError, status: int, kind: str, code: str
) -> None:
    assert STUDIO.error_status(error) == status
    shown = json.loads(STUDIO.encode_error(error, "req_1"))["error"]
    assert (shown["type"], shown["code"]) == (kind, code)
    assert set(shown) == {"message", "type", "param", "code"}


@pytest.mark.parametrize("entity", ["model", "project", "ab_campaign"])
def test_a_404_says_what_kind_of_thing_was_not_found(entity: str) -> None:
    error = UnknownEntity("'x' does not exist", entity=entity)
    assert STUDIO.error_status(error) == 404
    message = json.loads(STUDIO.encode_error(error, "req_1"))["error"]["message"]
    assert message == f"EntityNotFound: {entity}: 'x' does not exist"


# --- Answers ------------------------------------------------------------------------------------


def test_content_is_always_a_string() -> None:
    for parts in ((), (ToolCall(id="a", name="f"),), (Refusal("No."),), (Reasoning(text="x"),)):
        response = ChatResponse(choices=(Choice(parts=parts, finish_reason="stop"),), usage=Usage())
        body = STUDIO.encode_response(decode(), response, HEAD)
        message = json.loads(body)["choices"][0]["message"]
        assert message["content"] == ("No." if parts == (Refusal("No."),) else "")
        rest_types.ChatResponse.model_validate_json(body)


def test_every_choice_has_a_completion_id_of_its_own() -> None:
    choice = Choice(parts=(Text("x"),), finish_reason="stop")
    response = ChatResponse(choices=(choice, choice), usage=Usage())
    body = json.loads(STUDIO.encode_response(decode(n=2), response, HEAD))
    ids = [choice["completion_id"] for choice in body["choices"]]
    assert ids == list(HEAD.completion_ids[:2])
    assert body["session_id"] == HEAD.session_id


def test_a_fingerprint_that_is_not_known_is_null() -> None:
    response = ChatResponse(choices=(Choice(parts=(), finish_reason="stop"),), usage=Usage())
    head = msgspec.structs.replace(HEAD, system_fingerprint=None)
    assert (
        json.loads(STUDIO.encode_response(decode(), response, head))["system_fingerprint"] is None
    )


def test_every_delta_has_id_role_and_content() -> None:
    encoder = STUDIO.stream_encoder(decode(stream=True), HEAD)
    sent = encoder.feed(
        [
            Started(),
            PartStarted(Reasoning()),
            PartDelta("Hm"),
            PartEnded(),
            PartStarted(Text("")),
            PartDelta("Hi"),
            PartEnded(),
            PartStarted(ToolCall(id="a", name="f")),
            PartDelta("{}"),
            PartEnded(),
            PartStarted(Refusal("No.")),
            PartEnded(),
            Finished("tool_calls", usage=Usage()),
        ]
    )
    frames = [frame.removeprefix(b"data: ") for frame in sent.split(b"\n\n") if frame]
    strict = msgspec.json.Decoder(StudioChunk)
    texts = []
    for frame in frames:
        assert msgspec.json.encode(strict.decode(frame)) == frame
        (choice,) = json.loads(frame)["choices"]
        delta = choice["delta"]
        assert (delta["id"], delta["role"]) == (HEAD.completion_ids[0], "assistant")
        texts.append(delta["content"])
    assert "".join(texts) == "HiNo."
    assert not any(b'"usage"' in frame for frame in frames)


def test_the_examples_are_decoded() -> None:
    for example in STUDIO.wire.examples:
        request = STUDIO.decode_request(json.dumps(example.body).encode(), {})
        assert STUDIO.bind_target(request, "model").extensions == ()
