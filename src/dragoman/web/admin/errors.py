"""The admin API's one shape of errors, whoever raises them: we, Litestar or msgspec."""

from __future__ import annotations

import math

import msgspec

from dragoman.errors import (
    Conflict,
    DragomanError,
    Forbidden,
    RateLimited,
    Unauthenticated,
    UnknownEntity,
    UnknownRoute,
)
from dragoman.web.call import Headers

_TYPES: tuple[tuple[type[DragomanError], str], ...] = (
    (Unauthenticated, "authentication_error"),
    (Forbidden, "permission_error"),
    (UnknownEntity, "not_found_error"),
    (UnknownRoute, "not_found_error"),
    (Conflict, "conflict_error"),
    (RateLimited, "rate_limit_error"),
)


class AdminErrorDetail(msgspec.Struct, frozen=True, kw_only=True):
    message: str
    """What is wrong, and what to do about it."""
    type: str
    param: str | None = None
    """The path of the field at fault: `limits.requests_per_minute`."""
    code: int
    """The HTTP status."""


class AdminError(msgspec.Struct, frozen=True, kw_only=True):
    error: AdminErrorDetail


def encode_error(error: DragomanError) -> bytes:
    return msgspec.json.encode(
        AdminError(
            error=AdminErrorDetail(
                # What a failure of ours says may hold our inside: its class says enough.
                message=error.default_message if error.status >= 500 else error.message,
                type=_type(error),
                param=error.param,
                code=error.status,
            )
        )
    )


def error_headers(error: DragomanError) -> Headers:
    headers: Headers = [(b"content-type", b"application/json")]
    if error.retry_after_s is not None:
        headers.append((b"retry-after", b"%d" % max(1, math.ceil(error.retry_after_s))))
    return headers


def _type(error: DragomanError) -> str:
    for kind, name in _TYPES:
        if isinstance(error, kind):
            return name
    if error.status == 503:
        return "service_unavailable"
    return "server_error" if error.status >= 500 else "invalid_request_error"
