"""The Protocol of what counts requests and tokens of the last 60 seconds, over all processes."""

from __future__ import annotations

from typing import Literal, Protocol

import msgspec

WINDOW_S = 60.0
UNLIMITED = 1 << 60

Measure = Literal["requests", "tokens", "running"]


class Subject(msgspec.Struct, frozen=True, kw_only=True):
    """Whoever is limited, and how much it may: `UNLIMITED` where nothing is said."""

    name: str
    """Unlike any other's: of an account or a key."""
    requests: int = UNLIMITED
    tokens: int = UNLIMITED
    running: int = UNLIMITED


class Standing(msgspec.Struct, frozen=True):
    """One subject's counts, just after a request of its own was counted or corrected."""

    requests: int
    """Begun in the last 60 seconds."""
    tokens: int
    """Used in the last 60 seconds, or reserved while their request runs."""
    running: int
    request_entry: int
    """Where the request is noted."""
    token_entry: int
    """Where its tokens are: with the request, unless they were asked for a good while after it."""
    entered_s: float
    """When the request came, by the monotonic clock."""


class Full(msgspec.Struct, frozen=True):
    """There is no room, and nothing was counted. Of several reasons, the one that lasts longest."""

    subject: int
    """Which of those that were given."""
    measure: Measure
    used: int
    """What is taken."""
    wait_s: float | None
    """How long until there is room, if nobody else comes; `None`: that does not depend on time."""


class Windows(Protocol):
    """Exact: what counts at a moment is what was entered less than 60 seconds before.

    A request is counted with all of its subjects, one or two, or with none. No method waits for anything but other
    processes' turns of some microseconds each. Where no more subjects can be kept, `StoreUnavailable`
    is raised.
    """

    def enter(self, subjects: tuple[Subject, ...]) -> tuple[Standing, ...] | Full:
        """Count a request as begun and running, unless a limit is reached."""
        ...

    def reserve(
        self,
        subjects: tuple[Subject, ...],
        standings: tuple[Standing, ...],
        before: int,
        tokens: int,
    ) -> tuple[Standing, ...] | Full:
        """Make a request's `before` tokens `tokens`, within the limits. Where there is no room it has none."""
        ...

    def leave(
        self,
        subjects: tuple[Subject, ...],
        standings: tuple[Standing, ...],
        before: int,
        tokens: int,
        *,
        is_withdrawn: bool = False,
    ) -> tuple[Standing, ...]:
        """A request runs no longer: make its `before` tokens `tokens`, whatever the limits.

        A withdrawn one counts as if it had never come.
        """
        ...

    def look(self, subject: Subject) -> Standing:
        """The counts as they are now; `entered_s` is when the newest request came."""
        ...
