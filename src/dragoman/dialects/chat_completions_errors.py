"""What `openai` and `studio` share of an error: its coarse type, and what of its words is shown."""

from __future__ import annotations

from dragoman.errors import (
    Conflict,
    DragomanError,
    FirstTokenTimeout,
    Forbidden,
    InsufficientCredits,
    RateLimited,
    Unauthenticated,
    UnknownEntity,
    UnknownRoute,
)

_TYPES: tuple[tuple[type[DragomanError], str], ...] = (
    (Unauthenticated, "authentication_error"),
    (InsufficientCredits, "payment_required"),
    (Forbidden, "permission_error"),
    (UnknownEntity, "not_found_error"),
    (UnknownRoute, "not_found_error"),
    (FirstTokenTimeout, "timeout_error"),
    (Conflict, "conflict_error"),
    (RateLimited, "rate_limit_error"),
)


def error_type(error: DragomanError, status: int) -> str:
    """`status` is what the dialect answers with: a 400 is a fault of the body, whatever was missing."""
    if status == 400:
        return "invalid_request_error"
    for kind, name in _TYPES:
        if isinstance(error, kind):
            return name
    if status == 503:
        return "service_unavailable"
    return "server_error" if status >= 500 else "invalid_request_error"


def shown_message(error: DragomanError, status: int) -> str:
    """What a failure of ours or a provider's says may hold our inside: its class says enough."""
    return error.default_message if status >= 500 else error.message
