"""Properties of the `openai` codecs: both sides against each other, and against anything at all."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.dialects.canonical import FORWARDS, json_values, requests, responses, streams
from tests.wire.replay import HEAD, MODEL, sse_payloads

from dragoman.chat import (
    ChatRequest,
    ChatResponse,
    Failed,
    Started,
    StreamEvent,
    collect,
)
from dragoman.dialects.openai import OPENAI, OPENAI_UPSTREAM
from dragoman.dialects.openai.upstream_stream import OpenAIStreamDecoder
from dragoman.dialects.studio import STUDIO
from dragoman.errors import DragomanError, InvalidRequest, ProviderError
from dragoman.ports import Dialect
from dragoman.records.provider import ProviderRow

ROW = ProviderRow(
    name="test", wire="openai", base_url="https://provider.test/v1", forwards=FORWARDS
)


@given(requests(), st.sampled_from(["max_tokens", "max_completion_tokens"]))
def test_a_request_survives_the_way_to_a_provider_and_back(
    request: ChatRequest, field: Any
) -> None:
    row = ProviderRow(
        name="test",
        wire="openai",
        base_url="https://provider.test/v1",
        forwards=FORWARDS,
        max_tokens_field=field,
    )
    body = OPENAI_UPSTREAM.encode_request(request, MODEL, row, stream=request.stream)
    assert OPENAI.decode_request(body, {}) == request


@given(responses())
def test_an_answer_survives_the_way_to_a_client_and_back(response: ChatResponse) -> None:
    request = OPENAI.decode_request(b'{"model":"m","messages":[{"role":"user","content":""}]}', {})
    body = OPENAI.encode_response(request, response, HEAD)
    decoded = OPENAI_UPSTREAM.decode_response(body)
    assert decoded.choices == response.choices
    assert decoded.usage == response.usage


@given(streams(), st.booleans())
def test_a_stream_survives_the_way_to_a_client_and_back(
    case: tuple[ChatResponse, list[StreamEvent]], include_usage: bool
) -> None:
    response, events = case
    body = {
        "model": "m",
        "messages": [{"role": "user", "content": ""}],
        "stream": True,
        "stream_options": {"include_usage": include_usage},
    }
    request = OPENAI.decode_request(json.dumps(body).encode(), {})
    encoder = OPENAI.stream_encoder(request, HEAD)
    sent = b"".join([encoder.feed([event]) for event in events]) + encoder.close()
    decoder = OPENAI_UPSTREAM.stream_decoder()
    found: list[StreamEvent] = []
    for payload in sse_payloads(sent):
        found += decoder.feed(payload)
    found += decoder.close()
    collected = collect(found)
    assert collected.usage == response.usage
    assert collected.choices == response.choices


@given(streams())
def test_events_in_one_list_and_one_by_one_are_the_same_bytes(
    case: tuple[ChatResponse, list[StreamEvent]],
) -> None:
    body = b'{"model":"m","messages":[{"role":"user","content":""}],"stream":true}'
    for dialect in (OPENAI, STUDIO):
        request = dialect.decode_request(body, {})
        together, apart = (dialect.stream_encoder(request, HEAD) for _ in range(2))
        one = together.feed(case[1]) + together.close()
        assert one == b"".join([apart.feed([event]) for event in case[1]]) + apart.close()


# --- Anything at all ----------------------------------------------------------------------------

_FIELDS = st.sampled_from(
    [
        *("model", "messages", "temperature", "max_tokens", "stop", "n", "tools", "tool_choice"),
        *("response_format", "logit_bias", "stream_options", "metadata", "labels", "functions"),
        *("session_id", "user", "top_logprobs", "system_prompt_args", "tags", "x"),
    ]
)
_MESSAGE_FIELDS = st.sampled_from(
    [
        *("role", "content", "tool_calls", "tool_call_id", "name", "refusal", "metadata"),
        *("reasoning_details", "completion_id"),
    ]
)
_near_values = (
    json_values
    | st.sampled_from(["user", "assistant", "tool", "system", "", "auto", "required", 0, -1, 1e300])
    | st.lists(
        st.fixed_dictionaries(
            {"type": st.sampled_from(["text", "image_url", "function", "file"])},
            optional={"text": json_values, "image_url": json_values, "function": json_values},
        ),
        max_size=2,
    )
)
_near_messages = st.lists(st.dictionaries(_MESSAGE_FIELDS, _near_values, max_size=4), max_size=3)
_near_bodies = st.fixed_dictionaries(
    {"model": st.just("m"), "messages": _near_messages | _near_values},
    optional={"tools": _near_values, "stop": _near_values, "tool_choice": _near_values},
) | st.dictionaries(_FIELDS, _near_values, max_size=5)


@pytest.mark.parametrize("dialect", [OPENAI, STUDIO], ids=lambda dialect: dialect.name)
class TestAnyBody:
    @settings(max_examples=200)
    @given(body=_near_bodies | json_values)
    def test_json_is_decoded_or_refused(self, dialect: Dialect, body: Any) -> None:
        self._decode(dialect, json.dumps(body).encode())

    @given(body=st.binary(max_size=200))
    def test_bytes_are_decoded_or_refused(self, dialect: Dialect, body: bytes) -> None:
        self._decode(dialect, body)

    def _decode(self, dialect: Dialect, body: bytes) -> None:
        refused: InvalidRequest | None = None
        try:
            request = dialect.decode_request(body, {})
            dialect.bind_target(request, "model")
            dialect.bind_target(request, "project")
        except InvalidRequest as error:
            refused = error
        if refused is not None:
            assert dialect.error_status(refused) == 400
            shown = json.loads(dialect.encode_error(refused, "req_1"))["error"]
            assert shown["type"] == "invalid_request_error"
            assert len(shown["message"]) < 1000


_CHUNKS = st.fixed_dictionaries(
    {},
    optional={
        "choices": st.lists(
            st.fixed_dictionaries(
                {},
                optional={
                    "index": st.integers(-1, 2),
                    "finish_reason": st.sampled_from([None, "stop", "length", "error", "x"]),
                    "delta": st.fixed_dictionaries(
                        {},
                        optional={
                            "content": st.none() | st.text(max_size=5),
                            "reasoning": st.none() | st.text(max_size=5),
                            "refusal": st.none() | st.text(max_size=5),
                            "tool_calls": st.lists(
                                st.fixed_dictionaries(
                                    {},
                                    optional={
                                        "index": st.integers(0, 2),
                                        "id": st.none() | st.sampled_from(["", "a", "b"]),
                                        "function": st.fixed_dictionaries(
                                            {},
                                            optional={
                                                "name": st.none() | st.sampled_from(["", "f", "g"]),
                                                "arguments": st.sampled_from(
                                                    ["", "{", "}", "{}", '{"a":1}', None]
                                                ),
                                            },
                                        ),
                                    },
                                ),
                                max_size=3,
                            ),
                        },
                    ),
                },
            ),
            max_size=2,
        ),
        "usage": st.none() | st.just({"prompt_tokens": 1, "completion_tokens": 2}),
    },
)


@settings(max_examples=300)
@given(st.lists(_CHUNKS, max_size=8), st.booleans())
def test_any_chunks_give_a_legal_order_of_events_or_a_provider_error(
    chunks: list[Any], has_done: bool
) -> None:
    decoder = OpenAIStreamDecoder()
    events: list[StreamEvent] = []
    try:
        for chunk in chunks:
            events += decoder.feed(json.dumps(chunk).encode())
        if has_done:
            events += decoder.feed(b"[DONE]")
        events += decoder.close()
    except ProviderError:
        return
    started = {event.choice for event in events if isinstance(event, Started)}
    # Which choices were asked for only the caller knows, so indices may be sparse here.
    dense = {choice: place for place, choice in enumerate(sorted(started))}
    collect(
        [
            msgspec.structs.replace(event, choice=dense[event.choice])
            for event in events
            if not isinstance(event, Failed)
        ]
    )


@given(st.binary(max_size=100))
def test_any_bytes_in_place_of_an_answer_are_a_provider_error(body: bytes) -> None:
    with pytest.raises(ProviderError):
        OPENAI_UPSTREAM.decode_response(body)
    error = OPENAI_UPSTREAM.decode_error(500, {}, body)
    assert isinstance(error, DragomanError)
