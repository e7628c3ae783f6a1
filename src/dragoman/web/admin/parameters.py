"""What the routes of the admin API share: query parameters, and answers that say whether a thing is new."""

from __future__ import annotations

from typing import Annotated, Any, TypeVar, cast
from urllib.parse import unquote

from litestar import Request, Response
from litestar.datastructures import ResponseHeader
from litestar.di import NamedDependency
from litestar.params import HeaderParameter, PathParameter, QueryParameter, SkipValidation

from dragoman.errors import InvalidRequest
from dragoman.policy.administration import Administration

T = TypeVar("T")

ForActor = NamedDependency[SkipValidation[Administration]]
"""The operations, on behalf of whoever calls."""
Limit = Annotated[int, QueryParameter(ge=1, le=1000, description="The most entries of one page.")]
Id = Annotated[str, PathParameter(max_length=200)]
Number = Annotated[int, PathParameter(ge=1, le=1 << 31)]
PathText = Annotated[str, PathParameter(max_length=400)]
"""The rest of the path, slashes and all; `exact_rest` tells it as it was sent."""
AnyRequest = Request[Any, Any, Any]
_REST_AT = 6
"""Of `/admin/v1/noun/id/noun/…`."""
Cursor = Annotated[
    str | None,
    QueryParameter(name="cursor", max_length=20, description="`next_cursor` of the page before."),
]
TextCursor = Annotated[
    str | None,
    QueryParameter(name="cursor", max_length=200, description="`next_cursor` of the page before."),
]
IdempotencyKey = Annotated[
    str | None,
    HeaderParameter(
        name="Idempotency-Key",
        max_length=255,
        description="Your name for this wish: sent again with the same key, it is done once.",
    ),
]


def before(cursor: str | None) -> int | None:
    """The sequence number that the last page ended with. Raises `InvalidRequest`."""
    if cursor is None or cursor == "":
        return None
    if not (cursor.isascii() and cursor.isdecimal()) or len(cursor) > 18:
        raise unknown_cursor()
    return int(cursor)


def unknown_cursor() -> InvalidRequest:
    return InvalidRequest(
        "cursor is not one of ours; send the next_cursor of the page before, or none",
        param="cursor",
    )


def exact_rest(request: AnyRequest, given: str) -> str:
    """What the path ends with as a `PathText`, exactly as it was sent: Litestar leaves out slashes at its end and
    second ones within, and so may name another user, or another model."""
    raw: bytes | None = cast(dict[str, Any], request.scope).get("raw_path")
    if raw is None:
        return given.removeprefix("/")
    return unquote(raw.partition(b"?")[0].split(b"/", _REST_AT)[_REST_AT].decode("ascii"))


def made(view: T, *, is_new: bool) -> Response[T]:
    """201, or 200 for what the same wish did before."""
    if is_new:
        return Response(view, status_code=201)
    return Response(
        view, status_code=200, headers=[ResponseHeader(name="idempotent-replayed", value="true")]
    )


def required(key: str | None) -> str:
    """Raises `InvalidRequest`."""
    if not key:
        raise InvalidRequest(
            "Idempotency-Key is needed, so that a payment that is told twice is posted once;"
            " send the id that your payment processor gave it",
            param="Idempotency-Key",
        )
    return key
