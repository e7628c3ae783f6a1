"""`anthropic`, upstream: a provider's answers, whole and streamed, read with forbearance.

Unknown fields, events and blocks are no errors: the API adds to them over time. What must be there
and is not, or has the wrong type, is `ProviderGarbled`.

Source: https://platform.claude.com/docs/en/build-with-claude/streaming
"""

from __future__ import annotations

from typing import Annotated, NoReturn

import msgspec
from msgspec import Meta

from dragoman.chat import (
    ChatResponse,
    Choice,
    Finished,
    FinishReason,
    Opaque,
    PartDelta,
    PartEnded,
    PartStarted,
    Reasoning,
    Refusal,
    Started,
    StreamEvent,
    Text,
    ToolCall,
    Usage,
)
from dragoman.dialects.anthropic.upstream_errors import (
    ErrorBody,
    clip,
    error_of,
    error_within,
)
from dragoman.dialects.token_counts import MAX_TOKENS, are_believable, count_of
from dragoman.errors import ProviderGarbled

_FINISH_REASONS: dict[str, FinishReason] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "pause_turn": "paused",
    "refusal": "content_filter",
}

# --- Usage --------------------------------------------------------------------------------------


class _OutputDetails(msgspec.Struct):
    thinking_tokens: int = 0


class _Usage(msgspec.Struct):
    input_tokens: int | None = None
    cache_creation_input_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    output_tokens: int | None = None
    output_tokens_details: _OutputDetails | None = None

    def updated_by(self, later: _Usage) -> _Usage:
        """Totals as `later` has them; those that it leaves out still stand."""
        return _Usage(
            *[
                old if new is None else new
                for old, new in zip(
                    msgspec.structs.astuple(self), msgspec.structs.astuple(later), strict=True
                )
            ]
        )

    def canonical(self) -> Usage | None:
        """`None` where it cannot be believed."""
        cached = count_of(self.cache_read_input_tokens)
        written = count_of(self.cache_creation_input_tokens)
        # The API's count leaves out both; ours holds the whole prompt.
        prompt = count_of(self.input_tokens) + cached + written
        output = count_of(self.output_tokens)
        if not are_believable(prompt, output):
            return None
        details = self.output_tokens_details
        return Usage(
            input_tokens=prompt,
            output_tokens=output,
            cached_input_tokens=cached,
            cache_write_tokens=written,
            reasoning_tokens=0
            if details is None
            else min(count_of(details.thinking_tokens), output),
        )


class _StopDetails(msgspec.Struct):
    explanation: str | None = None


# --- A whole answer -----------------------------------------------------------------------------


class _Block(msgspec.Struct):
    """Any block: the fields of those that we know."""

    type: str
    text: str | None = None
    thinking: str | None = None
    signature: str | None = None
    data: str | None = None
    id: str | None = None
    name: str | None = None
    input: msgspec.Raw = msgspec.field(default_factory=msgspec.Raw)


class _Message(msgspec.Struct):
    content: list[msgspec.Raw]
    stop_reason: str
    id: str | None = None
    model: str | None = None
    stop_sequence: str | None = None
    stop_details: _StopDetails | None = None
    usage: _Usage | None = None


_message = msgspec.json.Decoder(_Message)
_block = msgspec.json.Decoder(_Block)

_AnswerPart = Text | Reasoning | ToolCall | Refusal | Opaque


def decode_response(body: bytes) -> ChatResponse:
    """Raises `ProviderGarbled` where `body` is no whole message.

    Some gateways send an error with status 200: then that error is raised.
    """
    try:
        message = _message.decode(body)
        parts = [_decode_block(raw) for raw in message.content]
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise error_within(body) or ProviderGarbled(detail=clip(str(error))) from None
    refusal = _refusal(message.stop_details)
    if refusal is not None:
        parts.append(refusal)
    return ChatResponse(
        choices=(
            Choice(
                parts=tuple(parts),
                finish_reason=_FINISH_REASONS.get(message.stop_reason, "stop"),
                stop_sequence=message.stop_sequence,
            ),
        ),
        usage=(message.usage and message.usage.canonical()) or Usage(is_estimated=True),
        upstream_id=message.id,
        upstream_model=message.model,
    )


def _decode_block(raw: msgspec.Raw) -> _AnswerPart:
    block = _block.decode(raw)
    match block:
        case _Block(type="text", text=str(text)):
            return Text(text)
        case _Block(type="tool_use", id=str(call_id), name=str(name)):
            return ToolCall(id=call_id, name=name, arguments=bytes(block.input).decode() or "{}")
        case _Block(type="thinking", thinking=str(thinking)):
            return Reasoning(text=thinking, signature=block.signature or None)
        case _Block(type="redacted_thinking", data=str(data)):
            return Reasoning(redacted=data)
        case _Block(type="text" | "tool_use" | "thinking" | "redacted_thinking" as kind):
            raise ProviderGarbled(detail=f"a block of type {kind} lacks a field")
        case _:
            return Opaque(wire="anthropic", kind=block.type, json=bytes(raw).decode())


def _refusal(details: _StopDetails | None) -> Refusal | None:
    return Refusal(details.explanation) if details is not None and details.explanation else None


# --- A stream -----------------------------------------------------------------------------------


class _Delta(msgspec.Struct):
    type: str | None = None
    text: str | None = None
    partial_json: str | None = None
    thinking: str | None = None
    signature: str | None = None
    stop_reason: str | None = None
    stop_sequence: str | None = None
    stop_details: _StopDetails | None = None


class _StartedMessage(msgspec.Struct):
    id: str | None = None
    model: str | None = None
    usage: _Usage | None = None


class _Event(msgspec.Struct):
    """Any event: the fields of those that we know."""

    type: str
    index: int = 0
    delta: _Delta | None = None
    content_block: msgspec.Raw = msgspec.field(default_factory=msgspec.Raw)
    message: _StartedMessage | None = None
    usage: _Usage | None = None
    error: ErrorBody | None = None


_event = msgspec.json.Decoder(_Event)


class StreamDecoder:
    """Events of one answer, from the data of one server-sent event after another.

    `feed` raises `ProviderGarbled` for what the format does not allow, and the error of an `error`
    event; `close` raises unless the message came to its end.
    """

    __slots__ = (
        "_is_finished",
        "_is_started",
        "_kept",
        "_kept_input",
        "_open",
        "_refusal",
        "_signature",
        "_stop_reason",
        "_stop_sequence",
        "_usage",
    )

    def __init__(self) -> None:
        self._is_started = False
        self._is_finished = False
        self._open: int | None = None
        """Index of the open block."""
        self._kept: Opaque | None = None
        """The open block, where it is one that comes whole."""
        self._kept_input: list[str] = []
        self._signature = ""
        self._stop_reason: str | None = None
        self._stop_sequence: str | None = None
        self._refusal: Refusal | None = None
        self._usage: _Usage | None = None

    def feed(self, data: bytes) -> list[StreamEvent]:
        try:
            event = _event.decode(data)
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            raise ProviderGarbled(detail=clip(str(error))) from None
        if self._is_finished:
            return []
        match event.type:
            case "content_block_delta":
                return self._delta(event)
            case "content_block_start":
                return self._start_block(event)
            case "content_block_stop":
                return self._stop_block(event.index)
            case "message_start":
                return self._start(event.message)
            case "message_delta":
                return self._end(event)
            case "message_stop":
                return self._finish()
            case "error":
                error_body = event.error or ErrorBody()
                raise error_of(error_body.type, error_body.message or "", status=None)
            case _:
                return []

    def close(self) -> list[StreamEvent]:
        if not self._is_finished:
            _garbled("the stream ended before message_stop")
        return []

    def _start(self, message: _StartedMessage | None) -> list[StreamEvent]:
        if self._is_started or message is None:
            _garbled("message_start came twice, or without its message")
        self._is_started = True
        self._usage = message.usage
        return [Started(0, message.id, message.model)]

    def _start_block(self, event: _Event) -> list[StreamEvent]:
        if not self._is_started or self._open is not None:
            _garbled("a block started before the message, or within another block")
        self._open = event.index
        try:
            part = _decode_block(event.content_block)
        except (msgspec.DecodeError, UnicodeError) as error:
            raise ProviderGarbled(detail=clip(str(error))) from None
        if isinstance(part, Opaque):
            # An opaque part comes whole: its input may still be on the way.
            self._kept = part
            return []
        if isinstance(part, ToolCall) and part.arguments == "{}":
            # The real input comes in deltas, and none come where it is empty.
            part = ToolCall(id=part.id, name=part.name)
        return [PartStarted(part)]

    def _delta(self, event: _Event) -> list[StreamEvent]:
        delta = event.delta
        if self._open is None or event.index != self._open or delta is None:
            _garbled("a delta came outside its block")
        if delta.text is not None:
            return [PartDelta(delta.text)]
        if delta.partial_json is not None:
            if self._kept is not None:
                self._kept_input.append(delta.partial_json)
                return []
            return [PartDelta(delta.partial_json)] if delta.partial_json else []
        if delta.thinking is not None:
            return [PartDelta(delta.thinking)] if delta.thinking else []
        if delta.signature is not None:
            self._signature += delta.signature
        return []

    def _stop_block(self, index: int) -> list[StreamEvent]:
        if self._open is None or index != self._open:
            _garbled("a block stopped that was not open")
        self._open = None
        if self._kept is not None:
            part, self._kept = _with_input(self._kept, "".join(self._kept_input)), None
            self._kept_input.clear()
            return [PartStarted(part), PartEnded()]
        signature, self._signature = self._signature or None, ""
        return [PartEnded(0, signature)]

    def _end(self, event: _Event) -> list[StreamEvent]:
        if event.delta is not None:
            self._stop_reason = event.delta.stop_reason or self._stop_reason
            self._stop_sequence = event.delta.stop_sequence or self._stop_sequence
            self._refusal = _refusal(event.delta.stop_details) or self._refusal
        if event.usage is not None:
            before = self._usage
            self._usage = event.usage if before is None else before.updated_by(event.usage)
        return []

    def _finish(self) -> list[StreamEvent]:
        if not self._is_started or self._open is not None or self._stop_reason is None:
            _garbled("message_stop came before the message was complete")
        self._is_finished = True
        events: list[StreamEvent] = []
        if self._refusal is not None:
            events += (PartStarted(self._refusal), PartEnded())
        usage = None if self._usage is None else self._usage.canonical()
        reason = _FINISH_REASONS.get(self._stop_reason, "stop")
        events.append(Finished(reason, 0, self._stop_sequence, usage))
        return events


def _with_input(part: Opaque, streamed_input: str) -> Opaque:
    """`part` with the input that came in pieces, in place of the empty one that it began with."""
    if not streamed_input:
        return part
    try:
        fields = msgspec.json.decode(part.json, type=dict[str, msgspec.Raw])
        fields["input"] = msgspec.Raw(streamed_input.encode())
        # Decoding what was put together proves that the pieces made up one JSON value.
        text = msgspec.json.encode(fields)
        msgspec.json.decode(text, type=dict[str, msgspec.Raw])
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise ProviderGarbled(detail=clip(str(error))) from None
    return Opaque(wire="anthropic", kind=part.kind, json=text.decode())


def _garbled(detail: str) -> NoReturn:
    raise ProviderGarbled(detail=detail)


# --- Counts -------------------------------------------------------------------------------------


class _Count(msgspec.Struct):
    input_tokens: Annotated[int, Meta(ge=0, le=MAX_TOKENS)]


_count = msgspec.json.Decoder(_Count)


def decode_count_response(body: bytes) -> int:
    try:
        return _count.decode(body).input_tokens
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise ProviderGarbled(detail=clip(str(error))) from None
