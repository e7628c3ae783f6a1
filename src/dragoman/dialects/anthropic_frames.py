"""What `anthropic` and `dreamsolve` share of an answer in motion: its stream frames.

A stream is the same message taken apart: `message_start`, then for each block a start, deltas and a
stop, then `message_delta` with the stop reason and the usage, then `message_stop`. How many tokens
the prompt had is known at the end only, so `message_start` says 0 and `message_delta` gives the
totals, which the vendor's clients take over.

Source: https://platform.claude.com/docs/en/build-with-claude/streaming
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, assert_never

import msgspec

from dragoman.chat import (
    Failed,
    Finished,
    Opaque,
    Part,
    PartDelta,
    PartEnded,
    PartStarted,
    Reasoning,
    Refusal,
    ResponseHead,
    Started,
    StreamEvent,
    Text,
    ToolCall,
    Usage,
)
from dragoman.dialects.anthropic_answers import (
    Content,
    ErrorBody,
    ErrorFrame,
    FullUsage,
    PlainMessage,
    PlainUsage,
    RedactedThinkingContent,
    StopDetails,
    StopReason,
    TextContent,
    ThinkingContent,
    ToolUseContent,
    WireMessage,
    error_type,
    full_usage,
    plain_usage,
    stop_reason,
)
from dragoman.dialects.anthropic_tools import invalid_tool_input, wire_tool_id

_encode = msgspec.json.Encoder().encode

# --- Frames -------------------------------------------------------------------------------------


class MessageStart(msgspec.Struct, frozen=True, tag="message_start", tag_field="type"):
    message: WireMessage | PlainMessage


class ContentBlockStart(msgspec.Struct, frozen=True, tag="content_block_start", tag_field="type"):
    index: int
    content_block: Content


class TextDelta(msgspec.Struct, frozen=True, tag="text_delta", tag_field="type"):
    text: str


class InputJsonDelta(msgspec.Struct, frozen=True, tag="input_json_delta", tag_field="type"):
    """More of the JSON text of a tool's input."""

    partial_json: str


class ThinkingDelta(msgspec.Struct, frozen=True, tag="thinking_delta", tag_field="type"):
    thinking: str


class SignatureDelta(msgspec.Struct, frozen=True, tag="signature_delta", tag_field="type"):
    signature: str


class ContentBlockDelta(msgspec.Struct, frozen=True, tag="content_block_delta", tag_field="type"):
    index: int
    delta: TextDelta | InputJsonDelta | ThinkingDelta | SignatureDelta


class ContentBlockStop(msgspec.Struct, frozen=True, tag="content_block_stop", tag_field="type"):
    index: int


class Ending(msgspec.Struct, frozen=True):
    stop_reason: StopReason | None
    stop_sequence: str | None
    stop_details: StopDetails | msgspec.UnsetType | None = msgspec.UNSET


class MessageDelta(msgspec.Struct, frozen=True, tag="message_delta", tag_field="type"):
    """`usage` holds totals, not differences."""

    delta: Ending
    usage: FullUsage | PlainUsage


class MessageStop(msgspec.Struct, frozen=True, tag="message_stop", tag_field="type"):
    pass


_MESSAGE_STOP = b'event: message_stop\ndata: {"type":"message_stop"}\n\n'

StreamFrame = (
    MessageStart
    | ContentBlockStart
    | ContentBlockDelta
    | ContentBlockStop
    | MessageDelta
    | MessageStop
)

Shape = Literal["full", "plain"]
"""`full`: Anthropic's message; `plain`: the four things that `dreamsolve` documents of it."""

_USAGE: dict[Shape, Callable[[Usage], Any]] = {"full": full_usage, "plain": plain_usage}


def _frame(name: bytes, value: msgspec.Struct) -> bytes:
    return b"event: " + name + b"\ndata: " + _encode(value) + b"\n\n"


class FrameEncoder:
    """Turns the events of one choice into frames; implements `ports.StreamEncoder`.

    Parts that the shape does not show take no block and no index. Tool arguments pass as the model
    writes them, once they are seen to begin an object; what begins as anything else is held to the
    part's end, and then wrapped like `tool_input` does it. An object that turns out broken later,
    or is cut at its length, is passed on: every client of this format parses the fragments itself.
    """

    __slots__ = (
        "_delta_head",
        "_has_calls",
        "_head",
        "_held",
        "_index",
        "_is_over",
        "_is_shown",
        "_refusal",
        "_shape",
        "_signature",
    )

    def __init__(self, head: ResponseHead, shape: Shape) -> None:
        self._head = head
        self._shape: Shape = shape
        self._index = 0
        self._delta_head: bytes | None = None
        """A delta's frame up to its text; `None` in a part that is not shown, or comes whole."""
        self._held: str | None = None
        """Tool arguments that have not begun an object yet; `None`: nothing is held."""
        self._signature: str | None = None
        self._has_calls = False
        self._refusal: str | None = None
        self._is_over = False
        self._is_shown = True
        """Whether the open part has a block."""

    def feed(self, events: Sequence[StreamEvent]) -> bytes:
        if len(events) == 1:
            return self._encode_event(events[0])
        return b"".join([self._encode_event(event) for event in events])

    def close(self) -> bytes:
        """Nothing: `message_stop` went out with the finish."""
        return b""

    def _encode_event(self, event: StreamEvent) -> bytes:
        if self._is_over:
            return b""
        match event:
            case PartDelta():
                return self._delta(event.text)
            case PartStarted():
                return self._start_part(event.part)
            case PartEnded():
                return self._end_part(event.signature)
            case Started():
                return self._start()
            case Finished():
                return self._finish(event)
            case Failed():
                self._is_over = True
                error = event.error
                return _frame(
                    b"error",
                    ErrorFrame(ErrorBody(error_type(error), error.message), self._head.request_id),
                )
            case _:
                assert_never(event)

    def _start(self) -> bytes:
        message: WireMessage | PlainMessage
        if self._shape == "full":
            message = WireMessage(
                id="msg_" + self._head.response_id,
                model=self._head.model,
                content=[],
                stop_reason=None,
                stop_sequence=None,
                usage=full_usage(Usage()),
            )
        else:
            message = PlainMessage(
                id="msg_" + self._head.response_id,
                model=self._head.model,
                content=[],
                stop_reason=None,
                stop_sequence=None,
                usage=plain_usage(Usage()),
            )
        return _frame(b"message_start", MessageStart(message))

    def _delta(self, text: str) -> bytes:
        if self._held is not None:
            text = self._held + text
            begun = text.lstrip()
            if not begun.startswith("{"):
                self._held = text
                return b""
            self._held = None
        if self._delta_head is None or not text:
            return b""
        return b"".join((self._delta_head, _encode(text), b"}}\n\n"))

    def _start_part(self, part: Part) -> bytes:
        self._is_shown = True
        match part:
            case Text(text=text):
                return self._start_block(TextContent(""), b"text_delta", b"text", text)
            case ToolCall():
                self._has_calls = True
                self._held = ""
                block = ToolUseContent(wire_tool_id(part.id), part.name, msgspec.Raw(b"{}"))
                return self._start_block(
                    block, b"input_json_delta", b"partial_json", part.arguments
                )
            case Refusal(text=text):
                self._refusal = text
                return self._start_block(TextContent(""), b"text_delta", b"text", text)
            case Reasoning() if self._shape == "full":
                self._signature = part.signature
                if part.redacted is not None:
                    return self._whole_block(RedactedThinkingContent(part.redacted))
                return self._start_block(
                    ThinkingContent(""), b"thinking_delta", b"thinking", part.text
                )
            case Opaque(wire="anthropic") if self._shape == "full":
                return self._whole_block(msgspec.Raw(part.json.encode()))
            case _:
                self._is_shown = False
                return b""

    def _whole_block(self, block: Any) -> bytes:
        return _frame(b"content_block_start", ContentBlockStart(self._index, block))

    def _start_block(self, block: Content, kind: bytes, field: bytes, text: str) -> bytes:
        self._delta_head = (
            b'event: content_block_delta\ndata: {"type":"content_block_delta","index":%d,'
            b'"delta":{"type":"%s","%s":' % (self._index, kind, field)
        )
        start = self._whole_block(block)
        return start + self._delta(text) if text else start

    def _end_part(self, signature: str | None) -> bytes:
        if not self._is_shown:
            return b""
        rest = b""
        held, self._held = self._held, None
        if held is not None and held.strip() not in ("", "null"):
            rest = self._delta(invalid_tool_input(held))
        index = self._index
        signature = signature or self._signature
        if signature is not None:
            delta = ContentBlockDelta(index, SignatureDelta(signature))
            rest += _frame(b"content_block_delta", delta)
        self._index, self._delta_head, self._signature = index + 1, None, None
        stop = b'event: content_block_stop\ndata: {"type":"content_block_stop","index":%d}\n\n'
        return rest + stop % index

    def _finish(self, event: Finished) -> bytes:
        reason = stop_reason(
            event.reason,
            event.stop_sequence,
            has_calls=self._has_calls,
            has_refusal=self._refusal is not None,
        )
        ending = Ending(
            reason,
            event.stop_sequence if reason == "stop_sequence" else None,
            (
                StopDetails(self._refusal)
                if reason == "refusal" and self._shape == "full"
                else msgspec.UNSET
            ),
        )
        usage = _USAGE[self._shape](event.usage or Usage())
        self._is_over = True
        return _frame(b"message_delta", MessageDelta(ending, usage)) + _MESSAGE_STOP
