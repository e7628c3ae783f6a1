"""What the description says of the real dialects holds: against their decoders and encoders."""

from __future__ import annotations

from typing import Any

import jsonschema_rs
import msgspec
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from dragoman.dialects.anthropic import ANTHROPIC, decode_count_request
from dragoman.dialects.dreamsolve import DREAMSOLVE
from dragoman.dialects.openai import OPENAI
from dragoman.dialects.studio import STUDIO
from dragoman.errors import InvalidRequest
from dragoman.ports import Dialect
from dragoman.web.interface import PATHS, InterfacePages

DIALECTS: tuple[Dialect, ...] = (OPENAI, STUDIO, ANTHROPIC, DREAMSOLVE)
PAGES = InterfacePages(DIALECTS, version="0.0.1", server_url="http://127.0.0.1:8000")
DOCUMENT: dict[str, Any] = msgspec.json.decode(PAGES.document)
OPERATIONS = [
    pytest.param(operation, id=operation["operationId"])
    for methods in DOCUMENT["paths"].values()
    for operation in methods.values()
]
ALL_DIALECTS = pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)


def require_valid(value: Any, schema: dict[str, Any]) -> None:
    whole = {**schema, "components": DOCUMENT["components"]}
    jsonschema_rs.validator_for(whole).validate(value)


def test_document_is_valid_openapi() -> None:
    OpenAPIV31SpecValidator(DOCUMENT).validate()


def test_every_completion_endpoint_is_described() -> None:
    described = {(m, path) for path, methods in DOCUMENT["paths"].items() for m in methods}
    assert described >= {
        ("post", "/v1/chat/completions"),
        ("post", "/api/v1/chat/completions"),
        ("post", "/api/v1/completions"),
        ("post", "/v1/messages"),
        ("post", "/v1/messages/count_tokens"),
        ("get", "/v1/models"),
        ("get", "/v1/models/{model}"),
        ("get", "/api/v1/models"),
        ("get", "/v1/credits"),
        ("get", "/v1/key"),
        ("get", "/api/v1/usage"),
        ("get", "/healthz"),
    }


@pytest.mark.parametrize("operation", OPERATIONS)
def test_every_example_fits_its_schema(operation: dict[str, Any]) -> None:
    contents = [answer.get("content", {}) for answer in operation["responses"].values()]
    contents.append(operation.get("requestBody", {}).get("content", {}))
    for content in contents:
        for media in content.values():
            for example in media.get("examples", {}).values():
                require_valid(example["value"], media["schema"])


@ALL_DIALECTS
def test_every_example_is_taken_by_its_dialect(dialect: Dialect) -> None:
    operation = DOCUMENT["paths"][dialect.wire.path]["post"]
    examples = operation["requestBody"]["content"]["application/json"]["examples"]
    assert len(examples) >= 2
    for example in examples.values():
        request = dialect.decode_request(msgspec.json.encode(example["value"]), {})
        assert request.extensions == ()
        assert dialect.bind_target(request, "model").messages


def test_example_of_count_tokens_is_taken() -> None:
    operation = DOCUMENT["paths"]["/v1/messages/count_tokens"]["post"]
    for example in operation["requestBody"]["content"]["application/json"]["examples"].values():
        assert decode_count_request(msgspec.json.encode(example["value"]), {}).messages


@ALL_DIALECTS
def test_every_frame_of_a_stream_fits_its_schema(dialect: Dialect) -> None:
    contents = DOCUMENT["paths"][dialect.wire.path]["post"]["responses"]["200"]["content"]
    media = contents[dialect.wire.stream_media_type]
    schema = media["schema"]["contentSchema"]
    stream: str = media["examples"]["text"]["value"]
    frames = [line[6:] for line in stream.splitlines() if line.startswith("data: ")]
    assert len(frames) > 3
    for frame in frames:
        if frame != "[DONE]":
            require_valid(msgspec.json.decode(frame), schema)


@ALL_DIALECTS
def test_required_fields_are_those_that_the_decoder_asks_for(dialect: Dialect) -> None:
    operation = DOCUMENT["paths"][dialect.wire.path]["post"]
    media = operation["requestBody"]["content"]["application/json"]
    name = media["schema"]["$ref"].rpartition("/")[2]
    body = next(iter(media["examples"].values()))["value"]
    required = set(DOCUMENT["components"]["schemas"][name]["required"])
    assert "messages" in required
    for field in body:
        without = msgspec.json.encode({k: v for k, v in body.items() if k != field})
        if field in required:
            with pytest.raises(InvalidRequest):
                dialect.decode_request(without, {})
        else:
            dialect.decode_request(without, {})


@ALL_DIALECTS
def test_bounds_are_those_that_the_decoder_keeps(dialect: Dialect) -> None:
    media = DOCUMENT["paths"][dialect.wire.path]["post"]["requestBody"]["content"]
    name = media["application/json"]["schema"]["$ref"].rpartition("/")[2]
    body = dialect.wire.examples[0].body
    for field, schema in DOCUMENT["components"]["schemas"][name]["properties"].items():
        for bound, step in (("minimum", -1), ("maximum", 1)):
            if bound in schema:
                beyond = msgspec.json.encode({**body, field: schema[bound] + step})
                with pytest.raises(InvalidRequest) as refusal:
                    dialect.decode_request(beyond, {})
                assert refusal.value.param == field


@pytest.mark.parametrize("path", PATHS)
def test_pages_are_served_from_memory_under_a_strict_policy(path: str) -> None:
    page = PAGES.page(path)
    assert page is not None
    status, headers, body = page
    fields = dict(headers)
    assert status == 200
    assert body
    assert fields[b"content-security-policy"].startswith(b"default-src 'none';")
    assert fields[b"etag"].startswith(b'"')
    assert PAGES.page(path) is page


def test_other_paths_have_no_page() -> None:
    assert PAGES.page("/docs/../../secrets") is None
    assert PAGES.page("/docs/") is None
