"""Properties of the `anthropic` and `dreamsolve` codecs: both sides against each other, the vendor's
types against what we emit, and anything at all against everything that decodes."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.dialects.anthropic_values import FORWARDED, requests, responses, streams
from tests.dialects.canonical import json_values
from tests.wire.anthropic.vendor import check_response, check_stream
from tests.wire.replay import HEAD, MODEL, sse_payloads

from dragoman.chat import (
    ChatRequest,
    ChatResponse,
    Choice,
    Collector,
    Opaque,
    Reasoning,
    Refusal,
    StreamEvent,
    Text,
    ToolCall,
    Usage,
    collect,
)
from dragoman.dialects.anthropic import (
    ANTHROPIC,
    ANTHROPIC_UPSTREAM,
    decode_count_request,
)
from dragoman.dialects.anthropic_tools import (
    arguments_of,
    canonical_tool_id,
    is_plain_name,
    tool_input,
    wire_tool_id,
)
from dragoman.dialects.dreamsolve import DREAMSOLVE
from dragoman.errors import DragomanError, InvalidRequest, ProviderError
from dragoman.ports import Dialect
from dragoman.records.provider import ProviderRow

ROW = ProviderRow(
    name="test", wire="anthropic", base_url="https://provider.test/v1", forwards=FORWARDED
)
PLAIN = b'{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"Hi"}]}'


def with_canonical_ids(choice: Choice) -> Choice:
    """Undo what every client of ours undoes by sending an id back."""
    parts = [
        msgspec.structs.replace(part, id=canonical_tool_id(part.id))
        if isinstance(part, ToolCall)
        else part
        for part in choice.parts
    ]
    return msgspec.structs.replace(choice, parts=tuple(parts))


# --- Both sides ---------------------------------------------------------------------------------


@settings(max_examples=50)
@given(requests())
def test_a_request_survives_the_way_to_a_provider_and_back(request: ChatRequest) -> None:
    body = ANTHROPIC_UPSTREAM.encode_request(request, MODEL, ROW, stream=request.stream)
    assert ANTHROPIC.decode_request(body, {}) == request


@settings(max_examples=20)
@given(requests())
def test_a_count_asks_for_the_same_prompt(request: ChatRequest) -> None:
    body = ANTHROPIC_UPSTREAM.encode_count_request(request, MODEL, ROW)
    counted = decode_count_request(body, {})
    assert counted.messages == request.messages
    assert counted.tools == request.tools
    assert counted.thinking == request.thinking
    assert counted.max_output_tokens is None


@settings(max_examples=50)
@given(responses())
def test_an_answer_survives_the_way_to_a_client_and_back(response: ChatResponse) -> None:
    body = ANTHROPIC.encode_response(ANTHROPIC.decode_request(PLAIN, {}), response, HEAD)
    decoded = ANTHROPIC_UPSTREAM.decode_response(body)
    assert with_canonical_ids(decoded.choices[0]) == response.choices[0]
    assert decoded.usage == response.usage


@settings(max_examples=50)
@given(streams())
def test_a_stream_survives_the_way_to_a_client_and_back(
    case: tuple[ChatResponse, list[StreamEvent]],
) -> None:
    response, events = case
    decoder = ANTHROPIC_UPSTREAM.stream_decoder()
    found: list[StreamEvent] = []
    for payload in sse_payloads(_sent(ANTHROPIC, events)):
        found += decoder.feed(payload)
    found += decoder.close()
    collected = collect(found)
    assert with_canonical_ids(collected.choices[0]) == response.choices[0]
    assert collected.usage == response.usage


def _sent(dialect: Dialect, events: list[StreamEvent]) -> bytes:
    encoder = dialect.stream_encoder(dialect.decode_request(PLAIN, {}), HEAD)
    return b"".join([encoder.feed([event]) for event in events]) + encoder.close()


@given(streams(), st.sampled_from([ANTHROPIC, DREAMSOLVE]))
def test_events_in_one_list_and_one_by_one_are_the_same_bytes(
    case: tuple[ChatResponse, list[StreamEvent]], dialect: Dialect
) -> None:
    encoder = dialect.stream_encoder(dialect.decode_request(PLAIN, {}), HEAD)
    assert encoder.feed(case[1]) + encoder.close() == _sent(dialect, case[1])


@settings(max_examples=50)
@given(streams())
def test_the_vendors_accumulator_makes_of_a_stream_what_the_whole_answer_says(
    case: tuple[ChatResponse, list[StreamEvent]],
) -> None:
    response, events = case
    request = ANTHROPIC.decode_request(PLAIN, {})
    whole = check_response(ANTHROPIC.encode_response(request, response, HEAD))
    streamed = check_stream(_sent(ANTHROPIC, events))
    assert streamed is not None
    # The parsed message of a stream has a field more in its texts.
    assert streamed.model_dump() == whole.model_dump()


# --- Ids and inputs -----------------------------------------------------------------------------


@given(st.text(st.characters(codec="utf-8"), max_size=80))
def test_any_tool_id_is_shown_plainly_and_comes_back(call_id: str) -> None:
    shown = wire_tool_id(call_id)
    assert is_plain_name(shown)
    assert shown.startswith("toolu_")
    assert canonical_tool_id(shown) == call_id


@given(st.text(max_size=30).map(lambda text: "toolu_b64_" + text) | st.text(max_size=30))
def test_any_id_of_a_client_is_taken(wire_id: str) -> None:
    assert isinstance(canonical_tool_id(wire_id), str)


@given(st.text(st.characters(codec="utf-8"), max_size=60) | json_values.map(json.dumps))
def test_any_arguments_are_shown_as_an_object_and_come_back(arguments: str) -> None:
    shown = tool_input(arguments)
    assert isinstance(json.loads(bytes(shown)), dict)
    returned = arguments_of(shown)
    if arguments.strip() in ("", "null"):
        assert returned == "{}"
    else:
        assert returned in (arguments, arguments.strip())


# --- Anything at all ----------------------------------------------------------------------------


def _objects(
    required: dict[str, Any], optional: dict[str, Any] | None = None
) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(required, optional=optional)


_BLOCK = _objects(
    {
        "type": st.sampled_from(
            [
                *("text", "image", "tool_use", "tool_result", "thinking", "redacted_thinking"),
                *("document", "server_tool_use", "x"),
            ]
        )
    },
    optional={
        "text": json_values,
        "id": st.sampled_from(["toolu_1", "a.b", 5]),
        "name": json_values,
        "input": json_values,
        "tool_use_id": st.sampled_from(["toolu_1", "toolu_b64_%", None]),
        "content": json_values,
        "source": _objects(
            {"type": st.sampled_from(["base64", "url", "file", "x"])},
            optional={"data": json_values, "url": json_values, "media_type": json_values},
        ),
        "cache_control": st.sampled_from([None, {"type": "ephemeral"}, {"type": "x"}]),
        "thinking": json_values,
        "caller": json_values,
        "toolset_name": st.sampled_from([None, "browser"]),
    },
)
_MESSAGE = _objects(
    {},
    optional={
        "role": st.sampled_from(["user", "assistant", "system", "tool", "", None]),
        "content": st.text(max_size=5) | st.lists(_BLOCK, max_size=3) | json_values,
    },
)
_TOOL = _objects(
    {},
    optional={
        "name": st.sampled_from(["f", "g", "", "a b", None]),
        "type": st.sampled_from(["custom", "web_search_20250305", None]),
        "input_schema": json_values,
        "input_examples": json_values,
    },
)
_BODY = _objects(
    {
        "model": st.just("m"),
        "max_tokens": st.sampled_from([1, 9, 4096]),
        "messages": st.lists(_MESSAGE, max_size=4),
    },
    optional={
        "system": st.text(max_size=5) | st.lists(_BLOCK, max_size=2) | json_values,
        "tools": st.lists(_TOOL, max_size=2) | json_values,
        "tool_choice": json_values
        | _objects(
            {"type": st.sampled_from(["auto", "any", "tool", "none", "x"])},
            optional={"name": st.sampled_from(["f", "z"])},
        ),
        "thinking": json_values,
        "output_config": json_values | st.just({"format": {"type": "json_schema", "schema": 1}}),
        "stop_sequences": json_values,
        "temperature": json_values,
        "cache_control": st.just({"type": "ephemeral"}),
        "metadata": json_values,
        "x": json_values,
    },
)


@pytest.mark.parametrize("dialect", [ANTHROPIC, DREAMSOLVE], ids=lambda dialect: dialect.name)
class TestAnyBody:
    @settings(max_examples=150)
    @given(body=_BODY | json_values)
    def test_json_is_decoded_or_refused(self, dialect: Dialect, body: Any) -> None:
        self._decode(dialect, json.dumps(body).encode())

    @given(body=st.binary(max_size=200))
    def test_bytes_are_decoded_or_refused(self, dialect: Dialect, body: bytes) -> None:
        self._decode(dialect, body)

    @given(at=st.integers(0, 1000), byte=st.integers(0, 255), cut=st.booleans(), body=_BODY)
    def test_damaged_json_is_decoded_or_refused(
        self, dialect: Dialect, at: int, byte: int, cut: bool, body: Any
    ) -> None:
        text = bytearray(json.dumps(body, ensure_ascii=False).encode())
        place = at % len(text)
        text[place] = byte
        self._decode(dialect, bytes(text[:place] if cut else text))

    def _decode(self, dialect: Dialect, body: bytes) -> None:
        refused: InvalidRequest | None = None
        try:
            request = dialect.decode_request(body, {})
        except InvalidRequest as error:
            refused = error
        else:
            dialect.bind_target(request, "model")
            self._reaches_a_provider(request)
        if refused is not None:
            assert dialect.error_status(refused) == 400
            shown = json.loads(dialect.encode_error(refused, "req_1"))["error"]
            message = shown if isinstance(shown, str) else shown["message"]
            assert 0 < len(message) < 1000

    def _reaches_a_provider(self, request: ChatRequest) -> None:
        """What was taken can be asked for, or is refused by name; it is never half JSON."""
        refused: InvalidRequest | None = None
        try:
            body = ANTHROPIC_UPSTREAM.encode_request(request, MODEL, ROW, stream=False)
        except InvalidRequest as error:
            refused = error
        else:
            json.loads(body)
        assert refused is None or refused.param


_VALUE = st.none() | st.text(max_size=5) | st.integers(-1, 5)
_CONTENT_BLOCK = _objects(
    {"type": st.sampled_from(["text", "tool_use", "thinking", "redacted_thinking", "new"])},
    optional={"text": _VALUE, "id": _VALUE, "name": _VALUE, "input": json_values, "data": _VALUE},
)
_EVENT = _objects(
    {
        "type": st.sampled_from(
            [
                *("message_start", "content_block_start", "content_block_delta"),
                *("content_block_stop", "message_delta", "message_stop", "ping", "error", "new"),
            ]
        )
    },
    optional={
        "index": st.integers(0, 2),
        "message": st.just({"id": "msg_1", "usage": {"input_tokens": 3}}) | json_values,
        "content_block": _CONTENT_BLOCK,
        "delta": _objects(
            {},
            optional={
                "type": _VALUE,
                "text": _VALUE,
                "partial_json": st.sampled_from(["", "{", "}", "{}"]),
                "thinking": _VALUE,
                "signature": _VALUE,
                "stop_reason": st.sampled_from([None, "end_turn", "tool_use", "new"]),
            },
        ),
        "usage": st.just({"output_tokens": 4}) | json_values,
        "error": json_values | st.just({"type": "overloaded_error", "message": "x"}),
    },
)
_OPENING = [
    {"type": "message_start", "message": {"id": "msg_1", "usage": {"input_tokens": 3}}},
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
]


@settings(max_examples=150)
@given(st.lists(_EVENT, max_size=8), st.booleans())
def test_any_events_of_a_provider_are_an_answer_or_its_failure(
    frames: list[dict[str, Any]], is_opened: bool
) -> None:
    decoder = ANTHROPIC_UPSTREAM.stream_decoder()
    collector = Collector()
    failure: DragomanError | None = None
    try:
        for frame in _OPENING + frames if is_opened else frames:
            collector.feed(decoder.feed(json.dumps(frame).encode()))
        collector.feed(decoder.close())
    except DragomanError as error:
        failure = error
    assert failure is not None or collector.response().choices


@given(st.binary(max_size=100) | json_values.map(lambda value: json.dumps(value).encode()))
def test_any_body_of_a_provider_is_an_answer_or_its_failure(body: bytes) -> None:
    with pytest.raises(ProviderError):
        ANTHROPIC_UPSTREAM.decode_response(body)
    with pytest.raises(ProviderError):
        ANTHROPIC_UPSTREAM.decode_count_response(body)
    with pytest.raises(ProviderError):
        ANTHROPIC_UPSTREAM.stream_decoder().feed(body)


@given(
    st.integers(300, 600),
    st.binary(max_size=100)
    | _objects({"error": _objects({}, optional={"type": _VALUE, "message": st.text()})}).map(
        lambda value: json.dumps(value).encode()
    ),
    st.text(max_size=5),
)
def test_any_error_of_a_provider_is_one_of_ours(status: int, body: bytes, wait: str) -> None:
    error = ANTHROPIC_UPSTREAM.decode_error(status, {"retry-after": wait}, body)
    assert isinstance(error, DragomanError)
    assert error.retry_after_s is None or 0 <= error.retry_after_s <= 3600


_ANSWER_PART = (
    st.builds(Text, st.text(max_size=5))
    | st.builds(Refusal, st.text(max_size=5))
    | st.builds(Reasoning, text=st.text(max_size=5), signature=st.none() | st.just("c2ln"))
    | st.builds(
        ToolCall, id=st.text(max_size=5), name=st.text(max_size=5), arguments=st.text(max_size=9)
    )
    | st.just(Opaque(wire="openai", kind="audio", json="{}"))
)


@given(st.lists(_ANSWER_PART, max_size=4), st.sampled_from([ANTHROPIC, DREAMSOLVE]))
def test_whatever_a_model_produced_the_vendors_types_take_it(
    parts: list[Any], dialect: Dialect
) -> None:
    response = ChatResponse(
        choices=(Choice(parts=tuple(parts), finish_reason="stop"),),
        usage=Usage(input_tokens=3, output_tokens=4),
    )
    request = dialect.decode_request(PLAIN, {})
    check_response(dialect.encode_response(request, response, HEAD))
