"""The interface description: an OpenAPI 3.1 document, generated from what the server runs on.

Request and answer schemas come from the types that decode and encode them; examples of answers,
streams and errors are made by the dialects' own encoders from one made-up answer. So the document
cannot drift from the wire: nothing in it repeats a rule by hand.

Each dialect's types get the dialect's name as a prefix (`openai.Message`), because every dialect
has a `Message` and theirs differ. Source: https://spec.openapis.org/oas/v3.1.1
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal

import msgspec

from dragoman import chat, errors
from dragoman.ports import Dialect, Example
from dragoman.web.json_schema import SchemaBook

SCHEMA_DIALECT = "https://json-schema.org/draft/2020-12/schema"
REQUEST_ID = "req_00000000000000000000000000"

_DESCRIPTION = """\
One server, several published completion APIs. The path alone decides the dialect, so the vendors'
own clients work with only base URL and key replaced: OpenAI clients use `/v1`, those of Anthropic,
Prem and Adaptive the server's root.

Every answer carries `x-request-id`, which also finds the request in the log and in the usage records;
with a key that is known, also how much of its limits is left. An explicit `null`
means that an optional field is absent. Unknown fields are ignored, and named in
`x-dragoman-ignored`. A stream that fails in the middle ends with one error frame and without a
finish reason."""

_SECURITY_SCHEMES = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "`Authorization: Bearer <key>`. `dragoman keys create` makes a key.",
    },
    "x-api-key": {
        "type": "apiKey",
        "in": "header",
        "name": "x-api-key",
        "description": "The same key, as Anthropic's clients send it.",
    },
}

_HEADERS: dict[str, tuple[str, dict[str, Any]]] = {
    "x-request-id": ("Names this request, in the log too.", {"type": "string"}),
    "request-id": ("The same as `x-request-id`.", {"type": "string"}),
    "x-dragoman-ignored": (
        "Names of the request's fields that were not understood, where there were any.",
        {"type": "string"},
    ),
    "Retry-After": ("Seconds to wait before trying again.", {"type": "integer"}),
    "x-should-retry": (
        "`false` where trying again cannot help; the vendors' clients heed it.",
        {"enum": ["true", "false"]},
    ),
    "Allow": ("The methods that this path answers.", {"type": "string"}),
    "idempotent-replayed": (
        "`true` where an earlier answer to the same `Idempotency-Key` was sent again, at no cost.",
        {"enum": ["true"]},
    ),
    "X-RateLimit-Limit": ("How many requests any 60 seconds may have.", {"type": "integer"}),
    "X-RateLimit-Remaining": ("How many of them are left.", {"type": "integer"}),
    "x-ratelimit-limit-requests": ("The same as `X-RateLimit-Limit`.", {"type": "integer"}),
    "x-ratelimit-remaining-requests": ("The same as `X-RateLimit-Remaining`.", {"type": "integer"}),
    "x-ratelimit-reset-requests": ("Until all of them are left: `1m0s`.", {"type": "string"}),
    "x-ratelimit-limit-tokens": ("How many tokens any 60 seconds may have.", {"type": "integer"}),
    "x-ratelimit-remaining-tokens": ("How many of them are left.", {"type": "integer"}),
    "x-ratelimit-reset-tokens": ("Until all of them are left: `1m0s`.", {"type": "string"}),
}
_RATE_HEADERS = tuple(name for name in _HEADERS if name.lower().startswith("x-ratelimit-"))
_HEADERS_OF_STATUS = {
    405: ("Allow",),
    408: ("x-should-retry",),
    409: ("x-should-retry", "Retry-After"),
    429: ("Retry-After", "x-should-retry"),
    503: ("Retry-After",),
}
_BEFORE_THE_KEY = frozenset({401, 405})
"""Told before anybody's limits are known."""

_IDEMPOTENCY_KEY = (
    "Idempotency-Key",
    "Your own name for this request, of 1 to 255 characters: sent again with the same key and body"
    " within 24 hours, it is answered the same and charged once.",
)


class Content(msgspec.Struct, frozen=True, kw_only=True):
    """One media type of an answer. `type` is what is encoded, or a stream's frames decode to."""

    media_type: str = "application/json"
    type: Any = None
    is_stream: bool = False
    examples: tuple[tuple[str, Any], ...] = ()


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    status: int
    description: str
    contents: tuple[Content, ...] = ()


class PathParameter(msgspec.Struct, frozen=True):
    name: str
    description: str
    example: str


class QueryParameter(msgspec.Struct, frozen=True):
    name: str
    description: str


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """One method at one path. Types of one `family` share a prefix, and its tag."""

    method: Literal["get", "post", "delete"]
    path: str
    id: str
    family: str
    summary: str
    description: str = ""
    path_parameters: tuple[PathParameter, ...] = ()
    query_parameters: tuple[QueryParameter, ...] = ()
    request_headers: tuple[tuple[str, str], ...] = ()
    request: Any = None
    required: tuple[str, ...] = ()
    """Fields that must be there although the request's type leaves their check to the decoder."""
    examples: tuple[Example, ...] = ()
    answers: tuple[Answer, ...]
    is_public: bool = False
    is_idempotent: bool = False
    """Takes an `Idempotency-Key`."""
    names_request_in_own_header: bool = False


def describe_interface(
    operations: Sequence[Operation], *, version: str, server_url: str = "/"
) -> bytes:
    """The OpenAPI document, as compact JSON."""
    schemas: dict[str, Any] = {}
    paths: dict[str, dict[str, Any]] = {}
    families = list(dict.fromkeys(operation.family for operation in operations))
    for family in families:
        members = [operation for operation in operations if operation.family == family]
        book = SchemaBook(f"{family}.")
        for operation in members:
            paths.setdefault(operation.path, {})[operation.method] = _operation(operation, book)
            _tolerate_unknown_fields(operation, book)
        schemas |= book.components
    document = {
        "openapi": "3.1.1",
        "info": {
            "title": "Dragoman",
            "version": version,
            "summary": "LLM completions in several dialects.",
            "description": _DESCRIPTION,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "jsonSchemaDialect": SCHEMA_DIALECT,
        "servers": [{"url": server_url}],
        "tags": [{"name": family} for family in families],
        # In the order of the operations, so that readers see the completions first.
        "paths": paths,
        "components": {
            "schemas": schemas,
            "headers": {
                name: {"description": text, "schema": schema}
                for name, (text, schema) in _HEADERS.items()
            },
            "securitySchemes": _SECURITY_SCHEMES,
        },
    }
    return msgspec.json.encode(document)


# --- A dialect as an operation ------------------------------------------------------------------


def completion_operation(dialect: Dialect) -> Operation:
    """The dialect's completion endpoint, with answers that its own encoders made."""
    wire = dialect.wire
    plain = next((example for example in wire.examples if not example.body.get("stream")), None)
    streamed = next((example for example in wire.examples if example.body.get("stream")), plain)
    contents = [
        Content(type=wire.response, examples=_answer_examples(dialect, plain)),
        Content(
            media_type=wire.stream_media_type,
            type=wire.stream_frame,
            is_stream=True,
            examples=_stream_examples(dialect, streamed),
        ),
    ]
    return Operation(
        method="post",
        path=wire.path,
        id=f"{dialect.name}_completion",
        family=dialect.name,
        summary=wire.summary,
        request_headers=(*wire.request_headers, _IDEMPOTENCY_KEY),
        is_idempotent=True,
        request=wire.request,
        required=_required_fields(dialect, plain),
        examples=wire.examples,
        answers=(
            Answer(
                status=200,
                description="The completion, or a stream of it where `stream` is true.",
                contents=tuple(contents),
            ),
            *error_answers(dialect, _failures(dialect)),
        ),
        names_request_in_own_header=dialect.names_request_in_own_header,
    )


def _required_fields(dialect: Dialect, example: Example | None) -> tuple[str, ...]:
    """Those without which the example is refused, found by leaving each out."""
    if example is None:
        return ()

    def is_refused_without(name: str) -> bool:
        body = {field: value for field, value in example.body.items() if field != name}
        try:
            dialect.decode_request(msgspec.json.encode(body), {})
        except errors.InvalidRequest as refusal:
            return refusal.param == name
        return False

    return tuple(name for name in example.body if is_refused_without(name))


def error_answers(dialect: Dialect, failures: Iterable[errors.DragomanError]) -> tuple[Answer, ...]:
    """How the dialect tells of each of `failures`, gathered by its status."""
    by_status: dict[int, list[errors.DragomanError]] = {}
    for error in failures:
        by_status.setdefault(dialect.error_status(error), []).append(error)
    return tuple(
        Answer(
            status=status,
            description=" Or: ".join(dict.fromkeys(_reason(failure) for failure in alike)),
            contents=(
                Content(
                    type=dialect.wire.error,
                    examples=tuple(
                        (failure.code, _decoded(dialect.encode_error(failure, REQUEST_ID)))
                        for failure in alike
                    ),
                ),
            ),
        )
        for status, alike in sorted(by_status.items())
    )


UNKNOWN_MODEL = errors.UnknownEntity(
    "model 'a-model' does not exist", entity="model", param="model"
)


def _failures(dialect: Dialect) -> Iterable[errors.DragomanError]:
    """Everything that a completion can fail with."""
    yield errors.InvalidRequest("max_tokens must be at least 1", param="max_tokens")
    yield errors.MalformedBody()
    yield errors.Unauthenticated()
    yield errors.InsufficientCredits()
    yield errors.Forbidden()
    if dialect.name == "studio":
        yield errors.FirstTokenTimeout()
    if dialect.name != "dreamsolve":
        yield UNKNOWN_MODEL
    yield errors.MethodNotAllowed(allow=("POST",))
    yield errors.Conflict("The Idempotency-Key was used for another request.")
    yield errors.BodyTooLarge()
    yield errors.RateLimited(retry_after_s=12)
    yield errors.Internal()
    yield errors.Overloaded(retry_after_s=1)
    yield errors.StoreUnavailable(retry_after_s=1)
    yield errors.ProviderTimeout()


_REASONS = {
    errors.InvalidRequest: "A field breaks a rule; the message names it.",
    errors.MalformedBody: "The body is not a JSON object.",
    errors.UnknownEntity: "Something that the request names does not exist.",
}


def _reason(error: errors.DragomanError) -> str:
    return _REASONS.get(type(error), error.default_message)


_EVENTS: tuple[chat.StreamEvent, ...] = (
    chat.Started(),
    chat.PartStarted(chat.Text("")),
    chat.PartDelta("The capital of France"),
    chat.PartDelta(" is Paris."),
    chat.PartEnded(),
    chat.Finished("stop", usage=chat.Usage(input_tokens=14, output_tokens=8)),
)
_HEAD = chat.ResponseHead(
    request_id=REQUEST_ID,
    response_id="7b7e1a7c0d5f4f0f9a3b2c1d0e9f8a7b",
    created_s=1_767_225_600,
    model="smollm2-135m-instruct",
    session_id="3c90c3cc-0d44-4b50-8888-8dd25736052a",
    completion_ids=("76d1fab3-214c-47ef-bb04-16270639bf89",),
    system_fingerprint="fp_0123456789abcdef",
)


def _request(dialect: Dialect, example: Example) -> chat.ChatRequest:
    request = dialect.decode_request(msgspec.json.encode(example.body), {})
    return dialect.bind_target(request, "model")


def _answer_examples(dialect: Dialect, example: Example | None) -> tuple[tuple[str, Any], ...]:
    if example is None:
        return ()
    answer = dialect.encode_response(_request(dialect, example), chat.collect(_EVENTS), _HEAD)
    return (("text", _decoded(answer)),)


def _stream_examples(dialect: Dialect, example: Example | None) -> tuple[tuple[str, Any], ...]:
    if example is None:
        return ()
    encoder = dialect.stream_encoder(_request(dialect, example), _HEAD)
    stream = encoder.feed(_EVENTS) + encoder.close()
    return (("text", stream.decode()),)


def _decoded(body: bytes) -> Any:
    return msgspec.json.decode(body)


# --- From operations to OpenAPI -----------------------------------------------------------------


def _tolerate_unknown_fields(operation: Operation, book: SchemaBook) -> None:
    """Strict decoding is only the fast path: a field that nobody knows is ignored and named."""
    if operation.request is None:
        return
    top = book.components[book.name_of(operation.request)]
    top.pop("additionalProperties", None)
    if operation.required:
        top["required"] = list(dict.fromkeys((*operation.required, *top.get("required", ()))))


def _operation(operation: Operation, book: SchemaBook) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": operation.id,
        "tags": [operation.family],
        "summary": operation.summary,
    }
    if operation.description:
        described["description"] = operation.description
    parameters = [
        *(
            {**_parameter("path", p.name, p.description), "example": p.example}
            for p in operation.path_parameters
        ),
        *(_parameter("query", p.name, p.description) for p in operation.query_parameters),
        *(_parameter("header", name, text) for name, text in operation.request_headers),
    ]
    if parameters:
        described["parameters"] = parameters
    if operation.request is not None:
        media: dict[str, Any] = {"schema": book.schema(operation.request)}
        if operation.examples:
            media["examples"] = {
                example.name: {"summary": example.summary, "value": example.body}
                for example in operation.examples
            }
        described["requestBody"] = {"required": True, "content": {"application/json": media}}
    described["responses"] = {
        str(answer.status): _answer(answer, operation, book) for answer in operation.answers
    }
    described["security"] = (
        [] if operation.is_public else [{name: []} for name in _SECURITY_SCHEMES]
    )
    return described


def _parameter(place: str, name: str, text: str) -> dict[str, Any]:
    return {
        "name": name,
        "in": place,
        "required": place == "path",
        "description": text,
        "schema": {"type": "string"},
    }


def _answer(answer: Answer, operation: Operation, book: SchemaBook) -> dict[str, Any]:
    names = ["x-request-id"]
    if operation.names_request_in_own_header:
        names.append("request-id")
    if answer.status == 200 and operation.request is not None:
        names.append("x-dragoman-ignored")
        if operation.is_idempotent:
            names.append("idempotent-replayed")
    if not operation.is_public and answer.status not in _BEFORE_THE_KEY:
        names += _RATE_HEADERS
    names += _HEADERS_OF_STATUS.get(answer.status, ())
    described: dict[str, Any] = {
        "description": answer.description,
        "headers": {name: {"$ref": f"#/components/headers/{name}"} for name in names},
    }
    if answer.contents:
        described["content"] = {
            content.media_type: _content(content, book) for content in answer.contents
        }
    return described


def _content(content: Content, book: SchemaBook) -> dict[str, Any]:
    schema = {} if content.type is None else book.schema(content.type)
    if content.is_stream:
        # OpenAPI 3.1 has no word for a sequence of frames: the text is a string, whose pieces
        # hold JSON of this schema.
        schema = {
            "type": "string",
            "description": "Server-sent events; each `data:` line holds one such JSON value.",
            "contentMediaType": "application/json",
            "contentSchema": schema,
        }
    media: dict[str, Any] = {"schema": schema}
    if content.examples:
        media["examples"] = {name: {"value": value} for name, value in content.examples}
    return media
