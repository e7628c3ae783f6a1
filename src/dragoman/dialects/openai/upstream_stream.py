"""A chat-completions provider's stream as events.

The wire lets text, thinking and any number of tool calls grow side by side; events allow one open part
at a time. So each choice is a queue of parts in the order in which they first appeared: the first is
open and live, those behind it wait with what they have got so far. Text and thinking are over as soon
as anything else begins. A tool call is over when its arguments are a whole JSON object and something
else began; until then later calls wait, which only providers that truly interleave ever cause.

`Finished` is held back until usage can no longer come: OpenAI sends it after the finish reason, on a
chunk without choices; others on the finish chunk, on every chunk (the last one counts), or never.

Invariant: a stream that ends before every choice finished raises `ProviderGarbled`, whatever it was
that ended it, `[DONE]` included.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Literal

import msgspec

from dragoman.chat import (
    Finished,
    PartDelta,
    PartEnded,
    PartStarted,
    Reasoning,
    Refusal,
    Started,
    StreamEvent,
    Text,
    TokenLogprob,
    ToolCall,
    Usage,
)
from dragoman.dialects.openai.upstream_answer import (
    MAX_CHOICES,
    MAX_TOOL_CALLS,
    CallPiece,
    LogprobPieces,
    MessagePiece,
    UsagePiece,
    arguments_text,
    decode_logprobs,
    decode_reason,
    decode_usage,
    split_content,
    stop_string,
    unique_call_id,
)
from dragoman.dialects.openai.upstream_errors import answer_error
from dragoman.errors import ProviderGarbled

MAX_CHECKS = 32
"""How often arguments are looked at for being whole: each look reads all of them."""

MAX_TEXT_MISSES = 8
"""How often a chunk is tried as mere text in vain, before a provider is known for saying more."""

_PartKind = Literal["text", "reasoning", "refusal", "call"]


class _DeltaChoice(msgspec.Struct):
    delta: MessagePiece | None = None
    index: int | None = None
    finish_reason: str | None = None
    stop_reason: Any = None
    matched_stop: Any = None
    logprobs: LogprobPieces | None = None


class _Chunk(msgspec.Struct):
    choices: list[_DeltaChoice] | None = None
    id: str | int | None = None
    model: str | None = None
    system_fingerprint: str | None = None
    usage: UsagePiece | None = None
    error: msgspec.Raw = msgspec.Raw()


class _TextDelta(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    content: str
    role: str | None = None
    refusal: None = None
    reasoning: None = None
    reasoning_content: None = None
    tool_calls: None = None


class _TextChoice(msgspec.Struct, forbid_unknown_fields=True):
    delta: _TextDelta
    index: int
    finish_reason: None = None
    logprobs: None = None


class _TextChunk(msgspec.Struct):
    """A chunk that says nothing but more text, as nearly all do: decoded at half the cost."""

    choices: tuple[_TextChoice]
    usage: None = None
    error: None = None


class _Call:
    """One tool call, from its first delta on."""

    __slots__ = (
        "arguments",
        "checked",
        "checks_left",
        "id",
        "is_whole",
        "name",
        "place",
        "wire_id",
    )

    def __init__(self, place: int) -> None:
        self.place = place
        self.wire_id: str | None = None
        self.id = ""
        self.name = ""
        self.arguments: list[str] = []
        self.checked = 0
        self.checks_left = MAX_CHECKS
        self.is_whole = False

    def is_complete(self) -> bool:
        """Whether the arguments are a whole JSON object; looked at again only when there are more."""
        if not self.is_whole and len(self.arguments) != self.checked:
            self.checked = len(self.arguments)
            if self.arguments[-1].rstrip().endswith("}") and self.checks_left:
                self.checks_left -= 1
                try:
                    _object.decode("".join(self.arguments))
                except (msgspec.DecodeError, UnicodeError, RecursionError):
                    return False
                self.is_whole = True
        return self.is_whole


_object = msgspec.json.Decoder(dict[str, msgspec.Raw])
_chunk = msgspec.json.Decoder(_Chunk)
_text_chunk = msgspec.json.Decoder(_TextChunk)


class _Part:
    """A part of a choice: open if it is the first in the queue, else waiting."""

    __slots__ = (
        "call",
        "detail_chars",
        "fragments",
        "is_started",
        "kind",
        "logprobs",
        "plain_chars",
        "redacted",
        "signature",
        "thought_chars",
    )

    def __init__(self, kind: _PartKind, call: _Call | None = None) -> None:
        self.kind = kind
        self.call = call
        self.fragments: list[str] = []
        self.logprobs: list[TokenLogprob] = []
        self.is_started = False
        self.signature: str | None = None
        self.redacted: str | None = None
        # How much thinking two fields told, which say the same, and how much of it was taken.
        self.plain_chars = 0
        self.detail_chars = 0
        self.thought_chars = 0


class _Choice:
    """One choice's queue of parts."""

    __slots__ = (
        "by_place",
        "calls",
        "finished",
        "index",
        "is_released",
        "last_call",
        "queue",
        "used_ids",
    )

    def __init__(self, index: int) -> None:
        self.index = index
        self.queue: deque[_Part] = deque()
        self.calls: list[_Call] = []
        self.by_place: dict[int, _Call] = {}
        self.last_call: _Call | None = None
        self.used_ids: set[str] = set()
        self.finished: Finished | None = None
        self.is_released = False

    # --- Deltas ---

    def feed(
        self, delta: MessagePiece, logprobs: LogprobPieces | None, events: list[StreamEvent]
    ) -> None:
        content = delta.content
        thinks = delta.reasoning_content or delta.reasoning or delta.reasoning_details
        if type(content) is str and not thinks:
            if content:
                last = self.queue[-1] if self.queue else None
                if last is not None and last.kind == "text" and logprobs is None:
                    # Nearly every delta is this one. Text at the queue's end is open or waits.
                    if last.is_started:
                        events.append(PartDelta(content, self.index))
                    else:
                        last.fragments.append(content)
                else:
                    self._grow("text", content, events, logprobs)
        elif content is not None or thinks:
            text, thought = ("", "") if content is None else split_content(content)
            self._feed_thinking(delta, thought, events)
            if text:
                self._grow("text", text, events, logprobs)
        if delta.refusal:
            self._grow("refusal", delta.refusal, events)
        if delta.tool_calls:
            for piece in delta.tool_calls:
                self._feed_call(piece, events)
        elif delta.function_call is not None:
            self._feed_call(CallPiece(index=0, function=delta.function_call), events)

    def _feed_thinking(self, delta: MessagePiece, thought: str, events: list[StreamEvent]) -> None:
        """Grow the thinking; its details say the same text again, at once or when it is whole."""
        text = delta.reasoning_content or delta.reasoning or thought
        if text:
            part = self._thinking_part(events)
            part.plain_chars += len(text)
            self._grow_thinking(part, text, part.plain_chars, events)
        for detail in delta.reasoning_details or ():
            more = detail.text or detail.summary or ""
            if detail.type == "reasoning.encrypted" and detail.data:
                part = _Part("reasoning")
                part.redacted = detail.data
                self._append(part, events)
            elif more or detail.signature:
                part = self._thinking_part(events)
                part.detail_chars += len(more)
                self._grow_thinking(part, more, part.detail_chars, events)
                part.signature = detail.signature or part.signature

    def _thinking_part(self, events: list[StreamEvent]) -> _Part:
        """The part that grows: the last one, unless it was signed, which is done when it is whole."""
        part = self.queue[-1] if self.queue else None
        if (
            part is None
            or part.kind != "reasoning"
            or part.signature is not None
            or part.redacted is not None
        ):
            part = _Part("reasoning")
            self._append(part, events)
        return part

    def _grow_thinking(
        self, part: _Part, text: str, told_chars: int, events: list[StreamEvent]
    ) -> None:
        """Add as much of `text` as was not told before; `told_chars` is where it ends."""
        fresh = min(told_chars - part.thought_chars, len(text))
        if fresh <= 0:
            return
        part.thought_chars += fresh
        if part.is_started:
            self._emit(events, PartDelta(text[-fresh:], self.index))
        else:
            part.fragments.append(text[-fresh:])

    def _feed_call(self, piece: CallPiece, events: list[StreamEvent]) -> None:
        function = piece.function
        name = (function.name if function else None) or ""
        arguments = arguments_text(function.arguments if function else None)
        call = self._find_call(piece, name)
        if call is None:
            call = self._begin_call(piece)
            self._append(_Part("call", call), events)
        if piece.id and call.wire_id is None:
            call.wire_id = piece.id
        if name and not call.name:
            call.name = name
        self.last_call = call
        if arguments:
            part = next((part for part in self.queue if part.call is call), None)
            if part is None:
                if arguments.strip():
                    raise ProviderGarbled(detail="a tool call goes on after it was whole")
                return
            call.arguments.append(arguments)
            if part.is_started:
                self._emit(events, PartDelta(arguments, self.index))
            else:
                part.fragments.append(arguments)
        self._advance(events)

    def _find_call(self, piece: CallPiece, name: str) -> _Call | None:
        """The call that `piece` continues; `None`: it begins another."""
        if piece.index is not None:
            call = self.by_place.get(piece.index)
            # Gemini's calls all have index 0: another id with another name is another call.
            is_other = (
                call is not None
                and name
                and piece.id
                and call.wire_id not in (None, piece.id)
                and call.name
            )
            return None if is_other else call
        if piece.id:
            known = next((call for call in self.calls if call.wire_id == piece.id), None)
            if known is not None or name:
                return known
        return None if name and not piece.id else self.last_call

    def _begin_call(self, piece: CallPiece) -> _Call:
        if len(self.calls) >= MAX_TOOL_CALLS:
            raise ProviderGarbled(detail="too many tool calls")
        call = _Call(len(self.calls))
        self.calls.append(call)
        if piece.index is not None:
            self.by_place[piece.index] = call
        return call

    # --- The queue ---

    def _grow(
        self,
        kind: _PartKind,
        text: str,
        events: list[StreamEvent],
        logprobs: LogprobPieces | None = None,
    ) -> None:
        """Add `text` to the last part if it is of that kind, else to a new one."""
        part = self.queue[-1] if self.queue else None
        if part is None or part.kind != kind:
            part = _Part(kind)
            self._append(part, events)
        tokens = decode_logprobs(logprobs.content) if logprobs and logprobs.content else None
        if part.is_started and kind != "refusal":
            if text:
                self._emit(events, PartDelta(text, self.index, tokens))
        else:
            part.fragments.append(text)
            if tokens:
                part.logprobs += tokens

    def _append(self, part: _Part, events: list[StreamEvent]) -> None:
        self.queue.append(part)
        self._advance(events)

    def _advance(self, events: list[StreamEvent]) -> None:
        """Open the first part, and end it while something waits behind it and it can be over."""
        queue = self.queue
        while queue:
            self._start(queue[0], events)
            first = queue[0]
            if len(queue) == 1 or (first.call is not None and not first.call.is_complete()):
                return
            self._end(queue.popleft(), events)

    def _start(self, part: _Part, events: list[StreamEvent]) -> None:
        """Begin the part and hand out what it gathered while it waited, if all is known."""
        if part.is_started:
            return
        call = part.call
        if call is not None:
            if not call.name:
                return
            call.id = unique_call_id(call.wire_id, call.place, self.used_ids)
            self._emit(events, PartStarted(ToolCall(id=call.id, name=call.name), self.index))
        elif part.kind == "text":
            self._emit(events, PartStarted(Text(""), self.index))
        elif part.kind == "reasoning":
            self._emit(events, PartStarted(Reasoning(redacted=part.redacted), self.index))
        else:
            return  # A refusal comes whole: `_end` begins it.
        part.is_started = True
        text = "".join(part.fragments)
        if text:
            self._emit(events, PartDelta(text, self.index, tuple(part.logprobs) or None))
        part.fragments = []

    def _end(self, part: _Part, events: list[StreamEvent]) -> None:
        self._start(part, events)
        if part.kind == "refusal":
            self._emit(events, PartStarted(Refusal("".join(part.fragments)), self.index))
        elif not part.is_started:
            raise ProviderGarbled(detail="a tool call without a name")
        self._emit(events, PartEnded(self.index, part.signature))

    def _emit(self, events: list[StreamEvent], event: StreamEvent) -> None:
        if self.is_released:
            raise ProviderGarbled(detail="the answer goes on after its finish")
        events.append(event)

    def drain(self, events: list[StreamEvent]) -> None:
        """End every part, in order; calls that waited on one that is not whole get their turn."""
        while self.queue:
            self._end(self.queue.popleft(), events)

    def finish(self, reason: str, stop: str | None, events: list[StreamEvent]) -> None:
        """End every part, and keep the finish for `OpenAIStreamDecoder` to release."""
        if self.is_released:
            return
        self.drain(events)
        self.finished = Finished(
            decode_reason(reason, has_calls=bool(self.calls)),
            self.index,
            stop,
        )


class OpenAIStreamDecoder:
    """Takes the data of one server-sent event at a time; `close` when there are no more."""

    __slots__ = ("_choices", "_is_done", "_is_in_text", "_misses_left", "_usage")

    def __init__(self) -> None:
        self._choices: dict[int, _Choice] = {}
        self._usage: Usage | None = None
        self._is_done = False
        self._is_in_text = False
        """Whether there is one choice and it is telling text: what comes is probably more of it."""
        self._misses_left = MAX_TEXT_MISSES

    def feed(self, data: bytes) -> list[StreamEvent]:
        """Raises `ProviderGarbled`, or the error that the provider tells in its stream."""
        if self._is_done:
            return []
        if self._is_in_text:
            event = self._feed_text(data)
            if event is not None:
                return [event]
        if data.strip() == b"[DONE]":
            return self.close()
        try:
            chunk = _chunk.decode(data)
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            raise ProviderGarbled(detail=f"a chunk that cannot be read: {error!s:.200}") from error
        if chunk.error and bytes(chunk.error) != b"null":
            raise answer_error(data)
        events: list[StreamEvent] = []
        if chunk.usage is not None:
            self._usage = decode_usage(chunk.usage) or self._usage
        if chunk.choices:
            for position, piece in enumerate(chunk.choices):
                self._feed_choice(chunk, piece, position, events)
            self._is_in_text = self._misses_left > 0 and self._text_choice() is not None
        elif chunk.usage is not None:
            self._release_all(events)
        return events

    def close(self) -> list[StreamEvent]:
        """What was held back. Raises `ProviderGarbled` if the stream was cut."""
        events: list[StreamEvent] = []
        if self._is_done:
            return events
        if not self._choices or any(c.finished is None for c in self._choices.values()):
            raise ProviderGarbled(detail="the stream ended before the answer was whole")
        self._is_done = True
        self._release_all(events)
        return events

    def _text_choice(self) -> _Choice | None:
        """The only choice, if its open part is text and nothing waits behind it."""
        if len(self._choices) != 1:
            return None
        choice = next(iter(self._choices.values()))
        queue = choice.queue
        return (
            choice if len(queue) == 1 and queue[0].kind == "text" and queue[0].is_started else None
        )

    def _feed_text(self, data: bytes) -> PartDelta | None:
        """More text of the only choice, if that is all that `data` says."""
        try:
            chunk = _text_chunk.decode(data)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            self._misses_left -= 1
            return None
        choice = chunk.choices[0]
        if choice.index not in self._choices or not choice.delta.content:
            return None
        return PartDelta(choice.delta.content, choice.index)

    def _feed_choice(
        self, chunk: _Chunk, piece: _DeltaChoice, position: int, events: list[StreamEvent]
    ) -> None:
        index = position if piece.index is None else piece.index
        choice = self._choices.get(index)
        if choice is None:
            choice = self._begin_choice(index, chunk, events)
        if piece.delta is not None:
            choice.feed(piece.delta, piece.logprobs, events)
        # Some say "" until there is a reason.
        if piece.finish_reason:
            choice.finish(piece.finish_reason, stop_string(piece), events)
            self._release_earlier(choice, events)

    def _begin_choice(self, index: int, chunk: _Chunk, events: list[StreamEvent]) -> _Choice:
        if not 0 <= index < MAX_CHOICES:
            raise ProviderGarbled(detail="a choice whose index is out of bounds")
        # Whoever finished before was not the last one.
        for choice in self._choices.values():
            self._release(choice, None, events)
        choice = self._choices[index] = _Choice(index)
        upstream_id = None if chunk.id is None else str(chunk.id)
        events.append(Started(index, upstream_id, chunk.model, chunk.system_fingerprint))
        return choice

    def _release_earlier(self, latest: _Choice, events: list[StreamEvent]) -> None:
        """Let every finish out that cannot be the last: usage belongs to that one alone."""
        others = [choice for choice in self._choices.values() if choice is not latest]
        for choice in others:
            self._release(choice, None, events)
        if any(choice.finished is None for choice in others):
            self._release(latest, None, events)

    def _release_all(self, events: list[StreamEvent]) -> None:
        if any(choice.finished is None for choice in self._choices.values()):
            return
        for choice in self._choices.values():
            self._release(choice, self._usage, events)

    def _release(self, choice: _Choice, usage: Usage | None, events: list[StreamEvent]) -> None:
        if choice.finished is not None and not choice.is_released:
            # Some send the reason first and the rest of the text after it.
            choice.drain(events)
            choice.is_released = True
            finished = choice.finished
            events.append(
                finished if usage is None else msgspec.structs.replace(finished, usage=usage)
            )
