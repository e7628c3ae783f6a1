"""Every operation of this server, for its description: completions, and what stands beside them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from dragoman import errors
from dragoman.dialects.anthropic import CountTokensRequest, TokenCount
from dragoman.ports import Dialect, Example
from dragoman.web.accounts import (
    PARAMETERS,
    Credits,
    KeyDetails,
    UsagePageBody,
    UsageSumsBody,
)
from dragoman.web.interactions_operations import conversation_operations
from dragoman.web.neighbours import Health, ModelEntry, ModelList
from dragoman.web.openapi import (
    UNKNOWN_MODEL,
    Answer,
    Content,
    Operation,
    PathParameter,
    QueryParameter,
    completion_operation,
    error_answers,
)

_UNKNOWN_MODEL_IN_PATH = errors.UnknownEntity(
    "model 'a-model' does not exist", entity="model", is_in_path=True, param="model"
)

_CLOSED_DOOR = (errors.Unauthenticated(), errors.Forbidden())
_QUESTION_FAILURES = (
    errors.InvalidRequest("'x' is not a parameter here", param="x"),
    *_CLOSED_DOOR,
    errors.RateLimited(retry_after_s=1),
    errors.StoreUnavailable(retry_after_s=1),
)


def operations(dialects: Sequence[Dialect]) -> list[Operation]:
    """Everything that the server answers: each dialect's completions, then what stands beside."""
    found: list[Operation] = []
    for dialect in dialects:
        found.append(completion_operation(dialect))
        found += _beside(dialect)
    for dialect in dialects:
        if dialect.name == "studio":
            found += conversation_operations(dialect)
    found.append(_health())
    return found


def _beside(dialect: Dialect) -> list[Operation]:
    match dialect.name:
        case "openai":
            return [
                _model_list("/v1/models", dialect),
                _model("/v1/models/{model}", dialect),
                _credits(dialect),
                _key(dialect),
            ]
        case "studio":
            return [
                _model_list("/api/v1/models", dialect),
                _model("/api/v1/models/{model}", dialect),
                _usage(dialect),
            ]
        case "anthropic":
            return [_count_tokens(dialect)]
        case "dreamsolve":
            return []


def _success(description: str, type_: Any) -> Answer:
    return Answer(status=200, description=description, contents=(Content(type=type_),))


def _model_list(path: str, dialect: Dialect) -> Operation:
    return Operation(
        method="get",
        path=path,
        id=f"{dialect.name}_models",
        family=dialect.name,
        summary="The models that can be asked for",
        answers=(
            _success("All of them.", ModelList),
            *error_answers(dialect, _CLOSED_DOOR),
        ),
        names_request_in_own_header=dialect.names_request_in_own_header,
    )


def _model(path: str, dialect: Dialect) -> Operation:
    return Operation(
        method="get",
        path=path,
        id=f"{dialect.name}_model",
        family=dialect.name,
        summary="One model",
        path_parameters=(
            PathParameter("model", "Its id, or an alias of it; may hold slashes.", "local"),
        ),
        answers=(
            _success("The model.", ModelEntry),
            *error_answers(dialect, (*_CLOSED_DOOR, _UNKNOWN_MODEL_IN_PATH)),
        ),
        names_request_in_own_header=dialect.names_request_in_own_header,
    )


def _count_tokens(dialect: Dialect) -> Operation:
    known = {field.encode_name for field in msgspec.structs.fields(CountTokensRequest)}
    asked = dialect.wire.examples[0]
    example = Example(
        name=asked.name,
        summary=asked.summary,
        body={name: value for name, value in asked.body.items() if name in known},
    )
    return Operation(
        method="post",
        path="/v1/messages/count_tokens",
        id="anthropic_count_tokens",
        family=dialect.name,
        summary="Count the tokens of a prompt; nothing is generated",
        request=CountTokensRequest,
        examples=(example,),
        answers=(
            _success("How many there are.", TokenCount),
            *error_answers(
                dialect,
                (
                    errors.MalformedBody(),
                    *_CLOSED_DOOR,
                    UNKNOWN_MODEL,
                    errors.BodyTooLarge(),
                    errors.RateLimited(retry_after_s=12),
                    errors.ProviderTimeout(),
                ),
            ),
        ),
        names_request_in_own_header=dialect.names_request_in_own_header,
    )


def _credits(dialect: Dialect) -> Operation:
    return Operation(
        method="get",
        path="/v1/credits",
        id="credits",
        family=dialect.name,
        summary="The balance of the calling key's account",
        answers=(
            _success("What is available, held and spent.", Credits),
            *error_answers(dialect, _QUESTION_FAILURES),
        ),
        names_request_in_own_header=dialect.names_request_in_own_header,
    )


def _key(dialect: Dialect) -> Operation:
    return Operation(
        method="get",
        path="/v1/key",
        id="key",
        family=dialect.name,
        summary="The calling key: what it may do, and what is left of its limits",
        answers=(
            _success("The key.", KeyDetails),
            *error_answers(dialect, _QUESTION_FAILURES[:-2]),
        ),
        names_request_in_own_header=dialect.names_request_in_own_header,
    )


def _usage(dialect: Dialect) -> Operation:
    return Operation(
        method="get",
        path="/api/v1/usage",
        id="usage",
        family=dialect.name,
        summary="The usage of the calling key's account: records, the newest first, or sums",
        query_parameters=tuple(
            QueryParameter(name, description) for name, description in PARAMETERS.items()
        ),
        answers=(
            _success("A page of records; or sums, with `group_by`.", UsagePageBody | UsageSumsBody),
            *error_answers(dialect, _QUESTION_FAILURES),
        ),
        names_request_in_own_header=dialect.names_request_in_own_header,
    )


def _health() -> Operation:
    return Operation(
        method="get",
        path="/healthz",
        id="health",
        family="server",
        summary="Whether the server takes requests, and which of its features are on",
        answers=(
            _success("It does.", Health),
            Answer(
                status=503,
                description="It is stopping.",
                contents=(Content(type=Health),),
            ),
        ),
        is_public=True,
    )
