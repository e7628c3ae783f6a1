"""The interface description is valid OpenAPI 3.1 and says what the types and encoders say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from dragoman.chat import ChatRequest, ChatResponse, Message, ResponseHead, StreamEvent, Text
from dragoman.errors import DragomanError, InvalidRequest, MalformedBody
from dragoman.ports import Example, StreamEncoder, WireTypes
from dragoman.web.openapi import (
    Answer,
    Content,
    Operation,
    PathParameter,
    QueryParameter,
    completion_operation,
    describe_interface,
    error_answers,
)


class Turn(msgspec.Struct):
    text: str


class Ask(msgspec.Struct, forbid_unknown_fields=True):
    turns: list[Turn] | None = None
    stream: bool | None = None


class Reply(msgspec.Struct):
    text: str


class Fault(msgspec.Struct):
    error: str


class OneFrame:
    """Everything in one frame."""

    def feed(self, events: Sequence[StreamEvent]) -> bytes:
        return b"data: %d\n\n" % len(events)

    def close(self) -> bytes:
        return b"data: end\n\n"


class EchoDialect:
    """The smallest dialect there can be."""

    name: Literal["openai", "studio", "dreamsolve", "anthropic"] = "openai"
    names_request_in_own_header = True
    wire = WireTypes(
        path="/echo",
        summary="Echo",
        request=Ask,
        response=Reply,
        stream_frame=Reply,
        error=Fault,
        stream_media_type="text/event-stream",
        examples=(
            Example(name="plain", summary="Plain", body={"turns": [{"text": "hi"}]}),
            Example(name="stream", summary="Streamed", body={"turns": [], "stream": True}),
        ),
        request_headers=(("x-echo", "How loud."),),
    )

    def decode_request(self, body: bytes, headers: Mapping[str, str]) -> ChatRequest:
        ask = msgspec.json.decode(body, type=Ask)
        if ask.turns is None:
            raise InvalidRequest("turns is required", param="turns")
        turns = tuple(Message("user", (Text(turn.text),)) for turn in ask.turns)
        return ChatRequest(dialect="openai", target=None, messages=turns)

    def bind_target(self, request: ChatRequest, kind: Literal["model", "project"]) -> ChatRequest:
        return request

    def encode_response(
        self, request: ChatRequest, response: ChatResponse, head: ResponseHead
    ) -> bytes:
        return msgspec.json.encode(Reply(response.choices[0].text))

    def encode_error(self, error: DragomanError, request_id: str) -> bytes:
        return msgspec.json.encode(Fault(error.message))

    def error_status(self, error: DragomanError) -> int:
        return 418 if error.status == 401 else error.status

    def stream_encoder(self, request: ChatRequest, head: ResponseHead) -> StreamEncoder:
        return OneFrame()

    def stream_content_type(self, request: ChatRequest) -> str:
        return "text/event-stream"


def describe(*operations: Operation) -> dict[str, Any]:
    document = msgspec.json.decode(
        describe_interface(operations, version="1.2.3", server_url="http://here")
    )
    assert isinstance(document, dict)
    return document


@pytest.fixture(name="document")
def describe_echo() -> dict[str, Any]:
    return describe(completion_operation(EchoDialect()))


def test_document_is_valid_openapi(document: dict[str, Any]) -> None:
    OpenAPIV31SpecValidator(document).validate()
    assert document["openapi"].startswith("3.1.")
    assert document["info"]["version"] == "1.2.3"
    assert document["servers"] == [{"url": "http://here"}]


def test_validator_finds_a_broken_document(document: dict[str, Any]) -> None:
    del document["paths"]["/echo"]["post"]["responses"]["200"]["description"]
    assert list(OpenAPIV31SpecValidator(document).iter_errors())


def test_types_are_prefixed_by_their_family(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    assert set(schemas) == {"openai.Ask", "openai.Turn", "openai.Reply", "openai.Fault"}
    turns = schemas["openai.Ask"]["properties"]["turns"]
    assert turns["anyOf"][0]["items"] == {"$ref": "#/components/schemas/openai.Turn"}


def test_unknown_fields_are_allowed_at_the_top(document: dict[str, Any]) -> None:
    assert "additionalProperties" not in document["components"]["schemas"]["openai.Ask"]


def test_fields_that_the_decoder_asks_for_are_required(document: dict[str, Any]) -> None:
    ask = document["components"]["schemas"]["openai.Ask"]
    assert ask["required"] == ["turns"]


def test_answers_are_made_by_the_dialects_own_encoders(document: dict[str, Any]) -> None:
    contents = document["paths"]["/echo"]["post"]["responses"]["200"]["content"]
    answer = contents["application/json"]["examples"]["text"]["value"]
    assert answer == {"text": "The capital of France is Paris."}
    stream = contents["text/event-stream"]["examples"]["text"]["value"]
    assert stream == "data: 6\n\ndata: end\n\n"


def test_errors_stand_under_the_dialects_own_status(document: dict[str, Any]) -> None:
    responses = document["paths"]["/echo"]["post"]["responses"]
    assert "401" not in responses
    teapot = responses["418"]["content"]["application/json"]
    assert teapot["examples"]["unauthenticated"]["value"] == {"error": "Invalid API key."}
    assert teapot["schema"] == {"$ref": "#/components/schemas/openai.Fault"}
    assert {"Retry-After", "x-request-id", "request-id"} <= set(responses["429"]["headers"])


def test_what_is_left_of_the_limits_comes_with_every_answer_to_a_known_key() -> None:
    class Plain(EchoDialect):
        def error_status(self, error: DragomanError) -> int:
            return error.status

    responses = describe(completion_operation(Plain()))["paths"]["/echo"]["post"]["responses"]
    rate = {
        "X-RateLimit-Limit",
        "X-RateLimit-Remaining",
        *(
            f"x-ratelimit-{what}-{of}"
            for what in ("limit", "remaining", "reset")
            for of in ("requests", "tokens")
        ),
    }
    for status, response in responses.items():
        # Told before the key is looked at, there is nobody whose limits they would be.
        expected = set() if status in ("401", "405") else rate
        assert {name for name in response["headers"] if "atelimit" in name.lower()} == expected
    assert set(responses) >= {"200", "400", "402", "403", "409", "413", "429", "503"}


def test_a_completion_can_be_repeated_under_a_name(document: dict[str, Any]) -> None:
    echo = document["paths"]["/echo"]["post"]
    assert "Idempotency-Key" in {p["name"] for p in echo["parameters"]}
    assert "idempotent-replayed" in echo["responses"]["200"]["headers"]
    assert {"Retry-After", "x-should-retry"} <= set(echo["responses"]["409"]["headers"])


def test_two_errors_of_one_status_share_its_answer() -> None:
    both = error_answers(EchoDialect(), (InvalidRequest("a"), MalformedBody("b")))
    assert [answer.status for answer in both] == [400]
    assert both[0].contents[0].examples == (
        ("invalid_request", {"error": "a"}),
        ("malformed_body", {"error": "b"}),
    )


def test_request_headers_and_path_parameters_are_listed() -> None:
    look_up = Operation(
        method="get",
        path="/things/{id}",
        id="look_up",
        family="things",
        summary="Look a thing up",
        path_parameters=(PathParameter("id", "Which.", "one"),),
        query_parameters=(QueryParameter("deep", "How deep to look."),),
        answers=(Answer(status=200, description="It.", contents=(Content(type=Reply),)),),
        is_public=True,
    )
    document = describe(completion_operation(EchoDialect()), look_up)
    OpenAPIV31SpecValidator(document).validate()
    echo = document["paths"]["/echo"]["post"]
    assert [(p["in"], p["name"], p["required"]) for p in echo["parameters"]] == [
        ("header", "x-echo", False),
        ("header", "Idempotency-Key", False),
    ]
    thing = document["paths"]["/things/{id}"]["get"]
    assert [(p["in"], p["name"]) for p in thing["parameters"]] == [
        ("path", "id"),
        ("query", "deep"),
    ]
    assert not any("atelimit" in name.lower() for name in thing["responses"]["200"]["headers"])
    assert thing["security"] == []
    assert echo["security"] == [{"bearer": []}, {"x-api-key": []}]
