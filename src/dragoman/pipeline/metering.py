"""Counts what a target produces, while it produces it."""

from __future__ import annotations

from collections.abc import Sequence

from dragoman.chat import (
    Finished,
    FinishReason,
    Opaque,
    PartDelta,
    PartStarted,
    StreamEvent,
    ToolCall,
    Usage,
)


class Meter:
    """One target's answer to one request."""

    __slots__ = ("_choices", "_finished", "_pieces", "_size", "reason", "usage")

    def __init__(self, choices: int) -> None:
        self._choices = choices
        self._finished = 0
        self._pieces = 0
        self._size = 0
        self.reason: FinishReason | None = None
        """Why the first choice finished."""
        self.usage: Usage | None = None
        """The provider's own count, which comes with the last `Finished`."""

    @property
    def is_whole(self) -> bool:
        """Whether every choice has finished."""
        return self._finished == self._choices

    @property
    def produced_bytes(self) -> int:
        """Of text and arguments, in UTF-8."""
        return self._size

    @property
    def has_token(self) -> bool:
        """Whether anything was produced, or the answer ended without."""
        return self._pieces > 0 or self._finished > 0

    def feed(self, events: Sequence[StreamEvent]) -> bool:
        """Whether `events` end the answer and lack its usage."""
        for event in events:
            kind = type(event)
            if kind is PartDelta:
                self._count(event.text)  # type: ignore[union-attr]
            elif kind is PartStarted:
                self._count(_words_of(event))  # type: ignore[arg-type]
            elif kind is Finished:
                self._finished += 1
                self.usage = event.usage  # type: ignore[union-attr]
                if event.choice == 0:  # type: ignore[union-attr]
                    self.reason = event.reason  # type: ignore[union-attr]
        return self.usage is None and self._finished == self._choices

    def _count(self, text: str) -> None:
        if text:
            self._pieces += 1
            self._size += len(text) if text.isascii() else len(text.encode("utf-8", "replace"))

    def produced_tokens(self) -> int:
        """A guess, for what no provider has counted: four bytes each, but no fewer than came one by one."""
        return max(self._pieces, (self._size + 3) // 4)


def _words_of(event: PartStarted) -> str:
    part = event.part
    if type(part) is ToolCall:
        return part.name + part.arguments
    return part.json if type(part) is Opaque else part.text  # type: ignore[union-attr]


def has_token(events: Sequence[StreamEvent]) -> bool:
    """Whether something is produced in `events`, or a choice ends."""
    for event in events:
        kind = type(event)
        if kind is PartDelta:
            if event.text:  # type: ignore[union-attr]
                return True
        elif kind is PartStarted:
            if _words_of(event):  # type: ignore[arg-type]
                return True
        elif kind is Finished:
            return True
    return False


def sum_usage(first: Usage, second: Usage) -> Usage:
    """The tokens of both, without what they cost."""
    return Usage(
        input_tokens=first.input_tokens + second.input_tokens,
        output_tokens=first.output_tokens + second.output_tokens,
        cached_input_tokens=first.cached_input_tokens + second.cached_input_tokens,
        cache_write_tokens=first.cache_write_tokens + second.cache_write_tokens,
        reasoning_tokens=first.reasoning_tokens + second.reasoning_tokens,
        is_estimated=first.is_estimated or second.is_estimated,
    )
