"""Streams of chat-completion chunks, as `openai` and `studio` send them.

`ChunkEncoder` turns events into deltas; a dialect says how a delta becomes a chunk. Each event is one
frame, with two exceptions: a choice's first part is preceded by a delta with the role (merged with it
where that is a tool call, as OpenAI does, so that `content` stays `null`), and signed thinking ends
with a delta that has it whole.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, UnsetType

from dragoman.chat import (
    ChatRequest,
    Failed,
    Finished,
    Opaque,
    PartDelta,
    PartEnded,
    PartStarted,
    Reasoning,
    Refusal,
    ResponseHead,
    Started,
    StreamEvent,
    StreamUsage,
    Text,
    ToolCall,
)
from dragoman.dialects.chat_completions_answer import (
    AnswerUsage,
    Logprobs,
    encode_logprobs,
    encode_usage,
    finish_reason,
    reasoning_detail,
)
from dragoman.dialects.chat_completions_wire import ReasoningDetail, about
from dragoman.errors import DragomanError

# No id, model name or other text of a chunk holds a control character.
_PLACE = "\x00text\x00"
_encode_text = msgspec.json.Encoder().encode


class FunctionDelta(msgspec.Struct, omit_defaults=True):
    name: Annotated[str | UnsetType, about("Whole, on the call's first delta.")] = UNSET
    arguments: Annotated[str | UnsetType, about("More JSON text.")] = UNSET


class ToolCallDelta(msgspec.Struct, omit_defaults=True):
    index: int
    id: Annotated[str | UnsetType, about("On the call's first delta.")] = UNSET
    type: Literal["function"] | UnsetType = UNSET
    function: FunctionDelta | UnsetType = UNSET


class Delta(msgspec.Struct, omit_defaults=True, kw_only=True):
    role: Annotated[Literal["assistant"] | UnsetType, about("On the choice's first chunk.")] = UNSET
    content: str | UnsetType | None = UNSET
    refusal: str | UnsetType = UNSET
    reasoning_content: Annotated[str | UnsetType, about("More of the model's thinking.")] = UNSET
    reasoning_details: list[ReasoningDetail] | UnsetType = UNSET
    tool_calls: list[ToolCallDelta] | UnsetType = UNSET


class _Choice:
    """What must be remembered of a choice between its events."""

    __slots__ = (
        "calls",
        "fragments",
        "has_arguments",
        "has_role",
        "is_finished",
        "part",
        "thoughts",
    )

    def __init__(self) -> None:
        self.part: Text | Reasoning | ToolCall | Refusal | Opaque | None = None
        self.has_role = False
        self.is_finished = False
        self.calls = 0
        self.has_arguments = False
        self.thoughts = 0
        self.fragments: list[str] = []


class ChunkEncoder(ABC):
    """Implements `ports.StreamEncoder`; a dialect supplies the three encodings."""

    def __init__(
        self,
        request: ChatRequest,
        head: ResponseHead,
        encode_error: Callable[[DragomanError, str], bytes],
    ) -> None:
        self.head = head
        self.id = "chatcmpl-" + head.response_id
        self.stream_usage = request.stream_usage
        self._encode_error = encode_error
        self._choices: dict[int, _Choice] = {}
        self._text_frames: dict[int, tuple[bytes, bytes]] = {}
        self._has_failed = False

    @abstractmethod
    def encode_chunk(
        self,
        choice: int,
        delta: Delta,
        finish: str | None = None,
        logprobs: Logprobs | UnsetType = UNSET,
        usage: AnswerUsage | UnsetType | None = UNSET,
    ) -> bytes:
        """One chunk as JSON."""

    @abstractmethod
    def encode_usage_chunk(self, usage: AnswerUsage) -> bytes:
        """The chunk without choices."""

    def feed(self, events: Sequence[StreamEvent]) -> bytes:
        frames: list[bytes] = []
        for event in events:
            if self._has_failed:
                break
            if isinstance(event, PartDelta):
                frames.append(self._continue(event))
            else:
                self._feed_rare(event, frames)
        return b"data: %s\n\n" % b"\n\ndata: ".join(frames) if frames else b""

    def close(self) -> bytes:
        if self._has_failed or not self._choices:
            return b""
        is_whole = all(choice.is_finished for choice in self._choices.values())
        return b"data: [DONE]\n\n" if is_whole else b""

    def _feed_rare(self, event: StreamEvent, frames: list[bytes]) -> None:
        match event:
            case Started():
                self._choices[event.choice] = _Choice()
            case PartStarted():
                self._begin(event.part, event.choice, frames)
            case PartDelta():
                frames.append(self._continue(event))
            case PartEnded():
                self._end(event, frames)
            case Finished():
                self._finish(event, frames)
            case Failed():
                self._has_failed = True
                frames.append(self._encode_error(event.error, self.head.request_id))

    def _begin(
        self,
        part: Text | Reasoning | ToolCall | Refusal | Opaque,
        index: int,
        frames: list[bytes],
    ) -> None:
        choice = self._choices[index]
        choice.part = part
        if isinstance(part, ToolCall):
            choice.has_arguments = bool(part.arguments)
            call = ToolCallDelta(
                choice.calls, part.id, "function", FunctionDelta(part.name, part.arguments)
            )
            delta = Delta(tool_calls=[call])
            if not choice.has_role:
                choice.has_role = True
                delta.role, delta.content = "assistant", None
            frames.append(self.encode_chunk(index, delta))
            return
        self._show_role(choice, index, frames)
        match part:
            case Text():
                if part.text:
                    frames.append(self.encode_chunk(index, Delta(content=part.text)))
            case Reasoning():
                choice.fragments = [part.text]
                if part.text:
                    frames.append(self.encode_chunk(index, Delta(reasoning_content=part.text)))
            case Refusal():
                frames.append(self.encode_chunk(index, Delta(refusal=part.text)))
            case Opaque():
                # Known to another wire format only, and nothing that this one could show.
                pass

    def _show_role(self, choice: _Choice, index: int, frames: list[bytes]) -> None:
        if not choice.has_role:
            choice.has_role = True
            frames.append(self.encode_chunk(index, Delta(role="assistant", content="")))

    def _continue(self, event: PartDelta) -> bytes:
        index, text = event.choice, event.text
        choice = self._choices[index]
        kind = type(choice.part)
        if kind is Text and not event.logprobs:
            # Nearly every chunk of every stream: only the text within it changes.
            before, after = self._text_frames.get(index) or self._split_text_frame(index)
            return before + _encode_text(text) + after
        logprobs = encode_logprobs(event.logprobs) if event.logprobs else UNSET
        if kind is Text:
            return self.encode_chunk(index, Delta(content=text), None, logprobs)
        if kind is ToolCall:
            choice.has_arguments = choice.has_arguments or bool(text)
            call = ToolCallDelta(choice.calls, function=FunctionDelta(arguments=text))
            return self.encode_chunk(index, Delta(tool_calls=[call]))
        if kind is Reasoning:
            choice.fragments.append(text)
            return self.encode_chunk(index, Delta(reasoning_content=text), None, logprobs)
        return self.encode_chunk(index, Delta(refusal=text), None, logprobs)

    def _split_text_frame(self, index: int) -> tuple[bytes, bytes]:
        """What a text chunk of choice `index` says before and after the text."""
        frame = self.encode_chunk(index, Delta(content=_PLACE))
        before, _, after = frame.partition(_encode_text(_PLACE))
        self._text_frames[index] = before, after
        return before, after

    def _end(self, event: PartEnded, frames: list[bytes]) -> None:
        index = event.choice
        choice = self._choices[index]
        part, choice.part = choice.part, None
        if isinstance(part, ToolCall):
            if not choice.has_arguments:
                # Clients parse the arguments without looking, and "" is no JSON.
                call = ToolCallDelta(choice.calls, function=FunctionDelta(arguments="{}"))
                frames.append(self.encode_chunk(index, Delta(tool_calls=[call])))
            choice.calls += 1
        elif isinstance(part, Reasoning):
            signature = event.signature or part.signature
            if signature is not None or part.redacted is not None:
                whole = Reasoning(
                    text="".join(choice.fragments), signature=signature, redacted=part.redacted
                )
                detail = reasoning_detail(whole, choice.thoughts)
                frames.append(self.encode_chunk(index, Delta(reasoning_details=[detail])))
            choice.thoughts += 1
            choice.fragments = []

    def _finish(self, event: Finished, frames: list[bytes]) -> None:
        index = event.choice
        choice = self._choices[index]
        choice.is_finished = True
        self._show_role(choice, index, frames)
        reason = finish_reason(event.reason)
        if event.usage is None or self.stream_usage == "none":
            frames.append(self.encode_chunk(index, Delta(), reason))
            return
        usage = encode_usage(event.usage)
        if self.stream_usage == "final_chunk":
            frames.append(self.encode_chunk(index, Delta(), reason, UNSET, usage))
        else:
            frames.append(self.encode_chunk(index, Delta(), reason))
            frames.append(self.encode_usage_chunk(usage))


def shown_usage(
    mode: StreamUsage, usage: AnswerUsage | UnsetType | None
) -> AnswerUsage | UnsetType | None:
    """OpenAI's own form says `usage: null` on every chunk but the last."""
    return None if mode == "separate_chunk" and usage is UNSET else usage
