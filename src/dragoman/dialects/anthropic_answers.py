"""What `anthropic` and `dreamsolve` share of an answer at rest: messages, stop reasons, usage, errors.

Sources: https://platform.claude.com/docs/en/api/messages,
https://platform.claude.com/docs/en/api/errors
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal, assert_never

import msgspec

from dragoman import errors
from dragoman.chat import (
    ChatResponse,
    Choice,
    FinishReason,
    Image,
    Opaque,
    Part,
    Reasoning,
    Refusal,
    ResponseHead,
    Text,
    ToolCall,
    ToolResult,
    Usage,
)
from dragoman.dialects.anthropic_tools import tool_input, wire_tool_id
from dragoman.errors import DragomanError

# --- Messages -----------------------------------------------------------------------------------


class TextContent(msgspec.Struct, frozen=True, tag="text", tag_field="type"):
    text: str


class ThinkingContent(msgspec.Struct, frozen=True, tag="thinking", tag_field="type"):
    """`signature` is empty where the provider does not sign its model's thinking."""

    thinking: str
    signature: str = ""


class RedactedThinkingContent(
    msgspec.Struct, frozen=True, tag="redacted_thinking", tag_field="type"
):
    data: str


class ToolUseContent(msgspec.Struct, frozen=True, tag="tool_use", tag_field="type"):
    """`input` is a JSON object."""

    id: str
    name: str
    input: msgspec.Raw


Content = TextContent | ThinkingContent | RedactedThinkingContent | ToolUseContent

StopReason = Literal["end_turn", "max_tokens", "stop_sequence", "tool_use", "pause_turn", "refusal"]


class OutputTokensDetails(msgspec.Struct, frozen=True):
    thinking_tokens: int


class FullUsage(msgspec.Struct, frozen=True, kw_only=True):
    """`input_tokens` leaves out what was read from a cache or written to it."""

    input_tokens: int
    cache_creation_input_tokens: int
    cache_read_input_tokens: int
    output_tokens: int
    output_tokens_details: OutputTokensDetails | None = None


class PlainUsage(msgspec.Struct, frozen=True):
    """`input_tokens` is the whole prompt."""

    input_tokens: int
    output_tokens: int


def full_usage(usage: Usage) -> FullUsage:
    return FullUsage(
        input_tokens=usage.input_tokens - usage.cached_input_tokens - usage.cache_write_tokens,
        cache_creation_input_tokens=usage.cache_write_tokens,
        cache_read_input_tokens=usage.cached_input_tokens,
        output_tokens=usage.output_tokens,
        output_tokens_details=(
            OutputTokensDetails(usage.reasoning_tokens) if usage.reasoning_tokens else None
        ),
    )


def plain_usage(usage: Usage) -> PlainUsage:
    return PlainUsage(usage.input_tokens, usage.output_tokens)


class StopDetails(msgspec.Struct, frozen=True):
    """Why the model declined, in its own words where it gave any."""

    explanation: str | None = None
    category: str | None = None
    type: Literal["refusal"] = "refusal"


class WireMessage(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    type: Literal["message"] = "message"
    role: Literal["assistant"] = "assistant"
    model: str
    content: list[Content]
    stop_reason: StopReason | None
    stop_sequence: str | None
    stop_details: StopDetails | None = None
    usage: FullUsage


class PlainMessage(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    type: Literal["message"] = "message"
    role: Literal["assistant"] = "assistant"
    content: list[TextContent | ToolUseContent]
    model: str
    stop_reason: StopReason | None
    stop_sequence: str | None
    usage: PlainUsage


_STOP_REASONS: dict[FinishReason, StopReason] = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "content_filter": "refusal",
    "paused": "pause_turn",
}


def stop_reason(
    reason: FinishReason, stop_sequence: str | None, *, has_calls: bool, has_refusal: bool
) -> StopReason:
    if reason == "stop":
        if has_refusal:
            return "refusal"
        # OpenAI's way is to finish a forced call with `stop`; here a call always says `tool_use`.
        if has_calls:
            return "tool_use"
        if stop_sequence is not None:
            return "stop_sequence"
    return _STOP_REASONS[reason]


def encode_content(parts: Iterable[Part], *, shows_reasoning: bool) -> list[Any]:
    """Blocks for `parts`; a kept block comes as `Raw`, which the type of a content cannot say."""
    content: list[Any] = []
    for part in parts:
        match part:
            case Text(text=text) | Refusal(text=text):
                content.append(TextContent(text))
            case ToolCall():
                content.append(
                    ToolUseContent(wire_tool_id(part.id), part.name, tool_input(part.arguments))
                )
            case Reasoning():
                if shows_reasoning:
                    content.append(_thinking(part))
            case Opaque():
                if shows_reasoning and part.wire == "anthropic":
                    content.append(msgspec.Raw(part.json.encode()))
            case Image() | ToolResult():
                raise errors.ProviderGarbled(detail=f"an answer held {type(part).__name__}")
            case _:
                assert_never(part)
    return content


def _thinking(part: Reasoning) -> ThinkingContent | RedactedThinkingContent:
    if part.redacted is not None:
        return RedactedThinkingContent(part.redacted)
    return ThinkingContent(part.text, part.signature or "")


def encode_message(response: ChatResponse, head: ResponseHead) -> bytes:
    """A whole answer of `anthropic`."""
    choice = response.choices[0]
    reason, refusal = _ending(choice)
    return _encode(
        WireMessage(
            id="msg_" + head.response_id,
            model=head.model,
            content=encode_content(choice.parts, shows_reasoning=True),
            stop_reason=reason,
            stop_sequence=choice.stop_sequence if reason == "stop_sequence" else None,
            stop_details=StopDetails(refusal) if reason == "refusal" else None,
            usage=full_usage(response.usage),
        )
    )


def encode_plain_message(response: ChatResponse, head: ResponseHead) -> bytes:
    """A whole answer of `dreamsolve`: text and tool calls, never without a block."""
    choice = response.choices[0]
    reason, _ = _ending(choice)
    return _encode(
        PlainMessage(
            id="msg_" + head.response_id,
            content=encode_content(choice.parts, shows_reasoning=False) or [TextContent("")],
            model=head.model,
            stop_reason=reason,
            stop_sequence=choice.stop_sequence if reason == "stop_sequence" else None,
            usage=plain_usage(response.usage),
        )
    )


def _ending(choice: Choice) -> tuple[StopReason, str | None]:
    has_calls, refusal = False, None
    for part in choice.parts:
        if type(part) is ToolCall:
            has_calls = True
        elif type(part) is Refusal:
            refusal = part.text
    reason = stop_reason(
        choice.finish_reason,
        choice.stop_sequence,
        has_calls=has_calls,
        has_refusal=refusal is not None,
    )
    return reason, refusal


_encode = msgspec.json.Encoder().encode


# --- Errors -------------------------------------------------------------------------------------

ErrorType = Literal[
    "invalid_request_error",
    "authentication_error",
    "billing_error",
    "permission_error",
    "not_found_error",
    "conflict_error",
    "request_too_large",
    "rate_limit_error",
    "timeout_error",
    "api_error",
    "overloaded_error",
]


class ErrorBody(msgspec.Struct, frozen=True):
    type: ErrorType
    message: str


class ErrorFrame(msgspec.Struct, frozen=True, tag="error", tag_field="type"):
    error: ErrorBody
    request_id: str | None = None


_TYPES_BY_STATUS: dict[int, ErrorType] = {
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    408: "timeout_error",
    409: "conflict_error",
    413: "request_too_large",
    429: "rate_limit_error",
}


def error_status(error: DragomanError) -> int:
    """Anthropic's status: 529 where a model is busy, 504 where it took too long, else our own.

    Its clients retry 408, 409, 429 and everything from 500 on, so both are retried as 503 would be.
    https://platform.claude.com/docs/en/api/errors
    """
    if isinstance(error, errors.Overloaded | errors.ProviderOverloaded):
        return 529
    if isinstance(error, errors.ProviderTimeout):
        return 504
    return error.status


def error_type(error: DragomanError) -> ErrorType:
    status = error_status(error)
    if status == 529:
        return "overloaded_error"
    if status == 504:
        return "timeout_error"
    if status >= 500:
        return "api_error"
    return _TYPES_BY_STATUS.get(status, "invalid_request_error")


def encode_error(error: DragomanError, request_id: str) -> bytes:
    return _encode(ErrorFrame(ErrorBody(error_type(error), error.message), request_id))
