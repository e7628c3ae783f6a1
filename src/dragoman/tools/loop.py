"""The bounded loop in which a model uses tools: it asks for calls, is told the results, and asks again.

Only the final round is shown. A round that may call tools is held until it is known whether it does; the last one
that is allowed may call no tools of ours, and is shown as it comes. The client's own functions stand beside ours:
where the model calls one of them, the answer ends with exactly those calls, and ours of the same round are not made.

Whatever a tool does is told to the model. Results are bounded, each and together, because every later round repeats
them.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from typing import Protocol

import msgspec

from dragoman.chat import (
    AUTO_TOOL_CHOICE,
    ChatRequest,
    Choice,
    Finished,
    Message,
    Part,
    PartDelta,
    PartEnded,
    PartStarted,
    StreamEvent,
    Text,
    ToolCall,
    ToolChoice,
    ToolResult,
    collect,
)
from dragoman.errors import ContextOverflow
from dragoman.ports import Clock, ToolBox
from dragoman.records.project import ToolBounds
from dragoman.records.tool_server import ServerTool, ToolCallRecord, ToolOutcome
from dragoman.tools.outcomes import cut

RESULTS_TOGETHER = 4
"""All results of a request are together at most so many times as long as one may be."""
MIN_RESULT_BYTES = 256
MAX_KEPT_ARGUMENT_BYTES = 64 * 1024
LAST_WORDS = "No more tools can be called. Answer now, with what you have."
_NO_TOOLS = ToolChoice("none")


class ToolKit(msgspec.Struct, frozen=True, kw_only=True):
    """The tools of one request."""

    tools: tuple[ServerTool, ...]
    bounds: ToolBounds
    results_bytes: int
    """Of all results together."""


class Asker(Protocol):
    """Asks the model; each call is one round."""

    async def whole(self, request: ChatRequest) -> list[StreamEvent]:
        """A whole answer, which may not be shown."""
        ...

    def live(self, request: ChatRequest) -> AsyncGenerator[list[StreamEvent], None]:
        """An answer as it comes, which is shown."""
        ...

    def next_round(self) -> None:
        """The answer was none yet: the model is asked again."""
        ...


Record = Callable[[ToolCallRecord], None]


class ToolLoop:
    """One request's."""

    def __init__(self, request: ChatRequest, kit: ToolKit, box: ToolBox, clock: Clock) -> None:
        self._request = request
        self._kit = kit
        self._box = box
        self._clock = clock
        self._by_name = {tool.function.name: tool for tool in kit.tools}
        self._theirs = frozenset(tool.name for tool in request.tools)
        self._messages = request.messages
        self._left_bytes = kit.results_bytes
        self._ids = {
            part.id
            for message in request.messages
            for part in message.parts
            if isinstance(part, ToolCall)
        }
        self._is_shortened = False

    async def run(self, asker: Asker, record: Record) -> AsyncGenerator[list[StreamEvent], None]:
        """The final round's events. `record` is told of every call, in order."""
        bounds = self._kit.bounds
        ends_s = self._clock.monotonic_s() + bounds.total_s
        number = 1
        while number < bounds.rounds and self._clock.monotonic_s() < ends_s:
            events = await self._held(asker, number)
            answer = collect(events).choices[0]
            calls = [part for part in answer.parts if isinstance(part, ToolCall)]
            if not self._goes_on(answer, calls):
                yield CallFilter(self._theirs).feed(events)
                return
            asker.next_round()
            await self._use_tools(answer, number, ends_s, record)
            number += 1
            if self._left_bytes < MIN_RESULT_BYTES:
                break
        async with aclosing(self._last(asker)) as batches:
            async for batch in batches:
                yield batch

    def _goes_on(self, answer: Choice, calls: Sequence[ToolCall]) -> bool:
        if not calls or answer.finish_reason in {"length", "content_filter"}:
            # The arguments of a call may be cut off, too.
            return False
        return not any(call.name in self._theirs for call in calls)

    # --- Asking ---

    async def _held(self, asker: Asker, number: int) -> list[StreamEvent]:
        try:
            return await asker.whole(self._asked(number))
        except ContextOverflow:
            if not self._shorten():
                raise
        return await asker.whole(self._asked(number))

    async def _last(self, asker: Asker) -> AsyncGenerator[list[StreamEvent], None]:
        """As it comes, without calls of tools that are none of the client's: those it was not given."""
        is_shown = False
        while True:
            shown = CallFilter(self._theirs)
            try:
                async with aclosing(asker.live(self._asked_last())) as batches:
                    async for batch in batches:
                        events = shown.feed(batch)
                        if events:
                            is_shown = True
                            yield events
                return
            except ContextOverflow:
                if is_shown or not self._shorten():
                    raise

    def _asked(self, number: int) -> ChatRequest:
        request = self._request
        return msgspec.structs.replace(
            request,
            messages=self._messages,
            tools=(*request.tools, *[tool.function for tool in self._kit.tools]),
            # A call that was asked for has been made by then; asked for again, it would never end.
            tool_choice=request.tool_choice if number == 1 else AUTO_TOOL_CHOICE,
        )

    def _asked_last(self) -> ChatRequest:
        request = self._request
        if request.tools:
            choice = request.tool_choice
            return msgspec.structs.replace(
                request,
                messages=self._messages,
                tool_choice=choice if choice.mode == "none" else AUTO_TOOL_CHOICE,
            )
        # Still declared: some providers take no conversation with calls of functions that they were not told of.
        return msgspec.structs.replace(
            request,
            messages=self._messages,
            tools=tuple([tool.function for tool in self._kit.tools]),
            tool_choice=_NO_TOOLS,
        )

    def _shorten(self) -> bool:
        """Results may be more than the context holds: leave the beginning of each. Once."""
        count = len(self._request.messages)
        if self._is_shortened or len(self._messages) == count:
            return False
        self._is_shortened = True
        self._messages = (
            *self._messages[:count],
            *[_shortened(message) for message in self._messages[count:]],
        )
        return True

    # --- Calling ---

    async def _use_tools(self, answer: Choice, number: int, ends_s: float, record: Record) -> None:
        """Make the calls that `answer` asks for, all at once, and put the results after it, in its order."""
        parts = [self._own(part) for part in answer.parts if part != Text("")]
        calls = [part for part in parts if isinstance(part, ToolCall)]
        most = min(len(calls), self._kit.bounds.calls_per_round)
        room = min(self._kit.bounds.result_bytes, max(self._left_bytes // most, MIN_RESULT_BYTES))
        made = [_Made(call, self._by_name.get(call.name), number) for call in calls]
        try:
            async with asyncio.TaskGroup() as group:
                for i, each in enumerate(made):
                    if i < most:
                        group.create_task(self._call(each, ends_s, room))
                    else:
                        each.end(_refused("too_many_calls", f"Only {most} calls are made at once."))
        finally:
            for each in made:
                record(each.record())
        self._left_bytes -= sum(len(each.outcome.text.encode()) for each in made)
        is_over = (
            number + 1 >= self._kit.bounds.rounds
            or self._clock.monotonic_s() >= ends_s
            or self._left_bytes < MIN_RESULT_BYTES
        )
        results = [
            each.message(LAST_WORDS if is_over and each is made[-1] else None) for each in made
        ]
        self._messages = (*self._messages, Message("assistant", tuple(parts)), *results)

    async def _call(self, made: _Made, ends_s: float, room: int) -> None:
        bounds = self._kit.bounds
        began_s = self._clock.monotonic_s()
        left_s = min(bounds.call_s, ends_s - began_s)
        tool = made.tool
        if tool is None:
            known = ", ".join(list(self._by_name)[:20])
            outcome = _refused("unknown_tool", f"There is no such tool. There are: {known}.")
        elif left_s <= 0:
            outcome = _refused("timeout", "There is no time left for calls of tools.")
        else:
            outcome = await self._box.call(
                tool, made.call.arguments, timeout_s=left_s, max_bytes=room
            )
        made.end(outcome, self._clock.monotonic_s() - began_s)

    def _own(self, part: Part) -> Part:
        """Calls get an id where they have none, or one that was there before: local models repeat them."""
        if not isinstance(part, ToolCall):
            return part
        call_id = part.id
        count = len(self._ids)
        while not call_id or call_id in self._ids:
            count += 1
            call_id = f"call_{count}"
        self._ids.add(call_id)
        if call_id == part.id and part.arguments:
            return part
        return msgspec.structs.replace(part, id=call_id, arguments=part.arguments or "{}")


class _Made:
    """One call, and what came of it."""

    __slots__ = ("call", "number", "outcome", "tool", "total_s")

    def __init__(self, call: ToolCall, tool: ServerTool | None, number: int) -> None:
        self.call = call
        self.tool = tool
        self.number = number
        self.total_s = 0.0
        # Until it ends: the request may be left before.
        self.outcome = ToolOutcome(text="", is_error=True, error="cancelled")

    def end(self, outcome: ToolOutcome, total_s: float = 0.0) -> None:
        self.outcome = outcome
        self.total_s = total_s

    def message(self, last_words: str | None) -> Message:
        texts = (self.outcome.text,) if last_words is None else (self.outcome.text, last_words)
        result = ToolResult(
            call_id=self.call.id,
            parts=tuple([Text(text) for text in texts]),
            is_error=self.outcome.is_error,
            name=self.call.name,
        )
        return Message("tool", (result,))

    def record(self) -> ToolCallRecord:
        arguments, _ = cut(self.call.arguments, MAX_KEPT_ARGUMENT_BYTES)
        outcome = self.outcome
        return ToolCallRecord(
            round=self.number,
            tool=self.tool.id if self.tool is not None else cut(self.call.name, 200)[0],
            arguments=arguments,
            result=outcome.text,
            error=outcome.error,
            is_cut=outcome.is_cut,
            total_ms=round(self.total_s * 1000, 3),
        )


def _refused(word: str, text: str) -> ToolOutcome:
    return ToolOutcome(text=text, is_error=True, error=word)


def _shortened(message: Message) -> Message:
    parts: list[Part] = []
    for part in message.parts:
        if isinstance(part, ToolResult):
            texts = [
                Text(cut(each.text, MIN_RESULT_BYTES)[0])
                for each in part.parts
                if isinstance(each, Text)
            ]
            parts.append(msgspec.structs.replace(part, parts=tuple(texts)))
        else:
            parts.append(part)
    return Message(message.role, tuple(parts), message.name)


class CallFilter:
    """Takes calls out of an answer, but for those of the client's functions."""

    __slots__ = ("_has_calls", "_is_within", "_shown")

    def __init__(self, shown: frozenset[str]) -> None:
        self._shown = shown
        self._is_within = False
        self._has_calls = False

    def feed(self, events: Sequence[StreamEvent]) -> list[StreamEvent]:
        kept: list[StreamEvent] = []
        for event in events:
            if isinstance(event, PartStarted) and isinstance(event.part, ToolCall):
                self._is_within = event.part.name not in self._shown
                self._has_calls = self._has_calls or not self._is_within
            if self._is_within and isinstance(event, PartStarted | PartDelta | PartEnded):
                self._is_within = not isinstance(event, PartEnded)
                continue
            if isinstance(event, Finished) and event.reason == "tool_calls" and not self._has_calls:
                kept.append(msgspec.structs.replace(event, reason="stop"))
                continue
            kept.append(event)
        return kept
