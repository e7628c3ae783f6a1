"""From the engine's chunks to canonical events, for one choice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import assert_never

from dragoman.chat import (
    Finished,
    FinishReason,
    PartDelta,
    PartEnded,
    PartStarted,
    Reasoning,
    StreamEvent,
    Text,
    TokenLogprob,
    ToolCall,
    Usage,
)
from dragoman.errors import EngineFailed
from dragoman.providers.local_calls import (
    CallArguments,
    CallBegun,
    CallEnded,
    ForcedCallReader,
    PlainText,
    PossibleCallReader,
    Read,
    new_call_id,
)
from dragoman.providers.local_prompt import Question
from dragoman.providers.local_wire import (
    CallDelta,
    Chunk,
    WireUsage,
    read_logprobs,
    translate_error,
)


class AnswerReader:
    """Fed with chunks; `finish` ends the answer, or raises where the engine left it unfinished."""

    def __init__(self, question: Question, choice: int) -> None:
        self._choice = choice
        self._top_logprobs = question.top_logprobs
        self._calls: ForcedCallReader | PossibleCallReader | None = None
        if question.calls == "forced":
            self._calls = ForcedCallReader()
        elif question.calls == "possible":
            self._calls = PossibleCallReader(question.tool_names)
        self._events: list[StreamEvent] = []
        self._open: type[Text] | type[Reasoning] | type[ToolCall] | None = None
        self._native_index: int | None = None
        self._logprobs: list[TokenLogprob] = []
        self._has_called = False
        self._reason: str | None = None
        self._stop_sequence: str | None = None
        self._usage: WireUsage | None = None

    def feed(self, chunks: Sequence[Chunk]) -> list[StreamEvent]:
        for chunk in chunks:
            self._take(chunk)
        events, self._events = self._events, []
        return events

    def finish(self) -> list[StreamEvent]:
        if self._reason is None or self._usage is None:
            raise EngineFailed(detail="the engine cut its answer off")
        if self._calls is not None:
            self._read(self._calls.finish())
        self._end_part()
        usage = self._usage
        self._events.append(
            Finished(
                self._finish_reason(),
                self._choice,
                self._stop_sequence,
                Usage(
                    input_tokens=usage.prompt_tokens,
                    output_tokens=usage.completion_tokens,
                    cached_input_tokens=usage.prompt_tokens_details.cached_tokens,
                ),
            )
        )
        events, self._events = self._events, []
        return events

    def _finish_reason(self) -> FinishReason:
        if self._reason == "length":
            return "length"
        return "tool_calls" if self._has_called else "stop"

    def _take(self, chunk: Chunk) -> None:
        if chunk.error is not None:
            raise translate_error(chunk.error)
        if chunk.usage is not None:
            self._usage = chunk.usage
        if chunk.verbose is not None and chunk.verbose.stop_type == "word":
            self._stop_sequence = chunk.verbose.stopping_word or None
        for part in chunk.choices:
            logprobs = read_logprobs(part.logprobs, self._top_logprobs)
            if logprobs:
                self._logprobs += logprobs
            delta = part.delta
            if delta.reasoning_content:
                self._say(Reasoning, delta.reasoning_content)
            if delta.content:
                if self._calls is None:
                    self._say(Text, delta.content)
                else:
                    self._read(self._calls.feed(delta.content))
            for call in delta.tool_calls or ():
                self._native_call(call)
            if part.finish_reason is not None:
                self._reason = part.finish_reason

    def _say(self, kind: type[Text] | type[Reasoning], text: str) -> None:
        if self._open is not kind:
            self._end_part()
            part = Text("") if kind is Text else Reasoning()
            self._events.append(PartStarted(part, self._choice))
            self._open = kind
        logprobs = None
        if kind is Text and self._logprobs:
            logprobs, self._logprobs = tuple(self._logprobs), []
        self._events.append(PartDelta(text, self._choice, logprobs))

    def _begin_call(self, name: str, call_id: str | None = None) -> None:
        self._end_part()
        call = ToolCall(id=call_id or new_call_id(), name=name)
        self._events.append(PartStarted(call, self._choice))
        self._open = ToolCall
        self._has_called = True

    def _end_part(self) -> None:
        if self._open is not None:
            self._events.append(PartEnded(self._choice))
            self._open = None

    def _read(self, found: list[Read]) -> None:
        for item in found:
            match item:
                case PlainText(text):
                    self._say(Text, text)
                case CallBegun(name):
                    # These tokens are a call's and no text's.
                    self._logprobs.clear()
                    self._begin_call(name)
                case CallArguments(text):
                    self._events.append(PartDelta(text, self._choice))
                case CallEnded():
                    self._end_part()
                    self._logprobs.clear()
                case _:
                    assert_never(item)

    def _native_call(self, call: CallDelta) -> None:
        if call.function.name and (call.index != self._native_index or self._open is not ToolCall):
            self._native_index = call.index
            self._begin_call(call.function.name, call.id)
        if call.function.arguments and self._open is ToolCall:
            self._events.append(PartDelta(call.function.arguments, self._choice))
