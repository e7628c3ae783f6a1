"""`anthropic`, upstream: a provider's errors, by blame.

Their own words reach a client only where the client's request is at fault. The log gets them only
where they cannot hold a key or a prompt.

Source: https://platform.claude.com/docs/en/api/errors
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from dragoman.dialects.retry_after import retry_after_s
from dragoman.errors import (
    BodyTooLarge,
    ContextOverflow,
    DragomanError,
    InvalidRequest,
    ProviderError,
    ProviderOverloaded,
    ProviderRefusedUs,
    ProviderTimeout,
)

MAX_ERROR_TEXT = 1000
"""Characters of a provider's error that are kept."""


class ErrorBody(msgspec.Struct):
    type: str | None = None
    message: str | None = None


class _ErrorAnswer(msgspec.Struct):
    error: ErrorBody = msgspec.field(default_factory=ErrorBody)


_error_answer = msgspec.json.Decoder(_ErrorAnswer)

_TOO_LARGE = "The request is too large for the model's provider."
_OVERFLOWS = ("prompt is too long", "exceed context limit", "maximum context length")
_BILLING = ("credit balance", "billing", "spend limit", "usage limit")


def decode_error(status: int, headers: Mapping[str, str], body: bytes) -> DragomanError:
    """What an answer with an error status means, by blame; any body will do, none included."""
    try:
        error = _error_answer.decode(body[: 64 * 1024]).error
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        error = ErrorBody(None, clip(body[:MAX_ERROR_TEXT].decode(errors="replace")))
        return _by_status(status, headers, error.message or "")
    return error_of(error.type, error.message or "", status=status, headers=headers)


def error_within(body: bytes) -> DragomanError | None:
    """The error that `body` holds, where it is one."""
    try:
        error = _error_answer.decode(body).error
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None
    return error_of(error.type, error.message or "", status=None) if error.type else None


def error_of(
    kind: str | None,
    message: str,
    *,
    status: int | None,
    headers: Mapping[str, str] | None = None,
) -> DragomanError:
    """By the error's type, which says more than a status that a proxy may have changed."""
    place = f"{status or 'stream'} {clip(kind or '')}"
    detail = clip(f"{place}: {message}")
    match kind:
        case "overloaded_error" | "rate_limit_error":
            return ProviderOverloaded(retry_after_s=retry_after_s(headers or {}), detail=detail)
        case "authentication_error":
            # Its words may show the key.
            return ProviderRefusedUs(detail=place)
        case "permission_error" | "billing_error" | "not_found_error":
            return ProviderRefusedUs(detail=detail)
        case "invalid_request_error":
            return _invalid(message, place)
        case "request_too_large":
            return BodyTooLarge(_TOO_LARGE, detail=place)
        case "timeout_error":
            return ProviderTimeout(detail=detail)
        case _ if status is not None:
            return _by_status(status, headers or {}, message)
        case _:
            return ProviderError(detail=detail)


def _by_status(status: int, headers: Mapping[str, str], message: str) -> DragomanError:
    detail = clip(f"{status}: {message}")
    match status:
        case 413:
            return BodyTooLarge(_TOO_LARGE, detail=str(status))
        case 401:
            return ProviderRefusedUs(detail=str(status))
        case 402 | 403 | 404 | 407:
            return ProviderRefusedUs(detail=detail)
        case 408 | 504:
            return ProviderTimeout(detail=detail)
        case 429 | 529 | 503:
            return ProviderOverloaded(retry_after_s=retry_after_s(headers), detail=detail)
        case _:
            # A 400 that is not in the API's own shape is no verdict on the client's request.
            return ProviderError(detail=detail)


def _invalid(message: str, detail: str) -> DragomanError:
    """The request itself is refused; `detail` must not hold `message`, which may quote it."""
    lowered = message.lower()
    if any(words in lowered for words in _BILLING):
        return ProviderRefusedUs(detail=clip(f"{detail}: {message}"))
    shown = f"The model's provider refused the request: {clip(message)}"
    if any(words in lowered for words in _OVERFLOWS):
        return ContextOverflow(shown, param="messages", detail=detail)
    return InvalidRequest(shown, param=_param(message), detail=detail)


def _param(message: str) -> str | None:
    """The field that the API names before a colon (`messages.0.content: …`), as we write paths."""
    path, colon, _ = message.partition(":")
    if not colon or len(path) > 100 or not path or not path.replace(".", "_").isidentifier():
        return None
    return "".join(
        f"[{step}]" if step.isdigit() else f".{step}" for step in path.split(".")
    ).removeprefix(".")


def clip(text: str) -> str:
    return text if len(text) <= MAX_ERROR_TEXT else text[:MAX_ERROR_TEXT] + "…"
