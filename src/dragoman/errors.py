"""The error tree: every refusal and failure that a client can be told of.

Each class states its HTTP status, a stable code, whether the same request may be tried again (by us
on another target, or by the client later) and who is to blame. Policy raises these; only dialects
turn them into wire shapes; adapters translate foreign exceptions into them once, with `raise … from`.
Messages are shown to clients: they name the field, the value and the remedy, and never hold a
secret, a prompt, or anything of our inside. What only the log may see goes to `detail`.
"""

from __future__ import annotations

from typing import ClassVar, Literal

Blame = Literal["client", "server", "provider"]


class DragomanError(Exception):
    """`param` is the path of the field at fault, e.g. ``messages[3].role``."""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal"
    is_retryable: ClassVar[bool] = False
    blame: ClassVar[Blame] = "server"
    default_message: ClassVar[str] = "The server failed; the request id finds the cause in its log."

    def __init__(
        self,
        message: str | None = None,
        *,
        param: str | None = None,
        retry_after_s: float | None = None,
        detail: str | None = None,
    ) -> None:
        self.message = message if message is not None else self.default_message
        self.param = param
        self.retry_after_s = retry_after_s
        self.detail = detail
        super().__init__(self.message)

    def with_message(self, message: str) -> DragomanError:
        """The same error told in other words."""
        return type(self)(
            message, param=self.param, retry_after_s=self.retry_after_s, detail=self.detail
        )


class Internal(DragomanError):
    """A fault of ours that nothing more can be said of."""


# --- The client's ---


class ClientError(DragomanError):
    status = 400
    blame = "client"
    code = "bad_request"
    default_message = "The request cannot be served."


class InvalidRequest(ClientError):
    """The body breaks a rule of its dialect."""

    code = "invalid_request"
    default_message = "The request is not valid."


class MalformedBody(InvalidRequest):
    """The body is not JSON at all, or not a JSON object."""

    code = "malformed_body"
    default_message = "The body must be a JSON object."


class UnsupportedField(InvalidRequest):
    """A known field that no target left can honour."""

    code = "unsupported_field"


class ContextOverflow(InvalidRequest):
    """The prompt does not fit the model's context."""

    code = "context_length_exceeded"


class Unauthenticated(ClientError):
    status = 401
    code = "unauthenticated"
    default_message = "Invalid API key."


class InsufficientCredits(ClientError):
    status = 402
    code = "insufficient_credits"
    default_message = "Insufficient credits. Please top up your account."


class Forbidden(ClientError):
    status = 403
    code = "forbidden"
    default_message = "This key may not do that."


class UnknownEntity(ClientError):
    """Something that the request names does not exist. `entity`: model, project, ab_campaign, …

    `is_in_path`: the path names it, not the body.
    """

    status = 404
    code = "unknown_entity"

    def __init__(
        self,
        message: str | None = None,
        *,
        entity: str = "model",
        is_in_path: bool = False,
        param: str | None = None,
        retry_after_s: float | None = None,
        detail: str | None = None,
    ) -> None:
        super().__init__(message, param=param, retry_after_s=retry_after_s, detail=detail)
        self.entity = entity
        self.is_in_path = is_in_path


class UnknownRoute(ClientError):
    status = 404
    code = "unknown_route"
    default_message = "There is nothing at this path."


class MethodNotAllowed(ClientError):
    status = 405
    code = "method_not_allowed"
    default_message = "This method is not allowed here."

    def __init__(
        self,
        message: str | None = None,
        *,
        allow: tuple[str, ...] = (),
        param: str | None = None,
        retry_after_s: float | None = None,
        detail: str | None = None,
    ) -> None:
        super().__init__(message, param=param, retry_after_s=retry_after_s, detail=detail)
        self.allow = allow


class FirstTokenTimeout(ClientError):
    """No token within the request's own `max_ttft_ms`: nothing is charged, and a retry would not help."""

    status = 408
    code = "first_token_timeout"
    default_message = "No token was produced within max_ttft_ms."


class Conflict(ClientError):
    status = 409
    code = "conflict"
    default_message = "The request conflicts with an earlier one."


class BodyTooLarge(ClientError):
    status = 413
    code = "body_too_large"
    default_message = "The body is too large."


class RateLimited(ClientError):
    status = 429
    code = "rate_limited"
    is_retryable = True
    default_message = "Rate limit exceeded."


# --- The server's ---


class Overloaded(DragomanError):
    """The embedded engine's queue, or another bound of ours, is full."""

    status = 503
    code = "overloaded"
    is_retryable = True
    default_message = "The model has too many requests waiting; try again shortly."


class StoreUnavailable(DragomanError):
    """The database takes no writes: nothing is begun that could not be accounted for."""

    status = 503
    code = "store_unavailable"
    is_retryable = False
    default_message = "The server cannot write its accounts at the moment; try again shortly."


class Draining(DragomanError):
    status = 503
    code = "draining"
    default_message = "The server is stopping; try again shortly."


class EngineFailed(DragomanError):
    """The embedded engine died or froze while it held this request."""

    status = 503
    code = "engine_failed"
    is_retryable = True
    blame = "provider"
    default_message = "The model stopped unexpectedly and is being restarted; try again shortly."


# --- A provider's ---


class ProviderError(DragomanError):
    status = 503
    code = "provider_failed"
    is_retryable = True
    blame = "provider"
    default_message = "The model's provider failed; try again shortly."


class ProviderUnreachable(ProviderError):
    code = "provider_unreachable"
    default_message = "The model's provider could not be reached; try again shortly."


class ProviderTimeout(ProviderError):
    code = "provider_timeout"
    default_message = "The model's provider did not answer in time; try again shortly."


class ProviderOverloaded(ProviderError):
    """Its 429 or 529: ours to wait for or to route around, never the client's own limit."""

    code = "provider_overloaded"
    default_message = "The model's provider is busy; try again shortly."


class ProviderGarbled(ProviderError):
    """It answered something that its wire format does not allow, or was cut off."""

    code = "provider_garbled"
    default_message = "The model's provider sent an answer that cannot be read; try again."


class ProviderRefusedUs(ProviderError):
    """It refused our key or account (401, 402, 403): the operator's to mend, not the client's.

    Another target may still answer, so it is retryable by us.
    """

    status = 500
    code = "provider_refused_us"
    default_message = "The model is not available: its provider refused this server."
