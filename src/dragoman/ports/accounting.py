"""The Protocol of what a request's path needs of the books."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

from dragoman.chat import Usage
from dragoman.records.hold import Hold, HoldAsk
from dragoman.records.idempotency import Claim, KeptAnswer
from dragoman.records.interaction import Interaction
from dragoman.records.usage_record import UsageRecord

Keep = Callable[[UsageRecord], tuple[Interaction, ...]]
"""Makes what is kept of a request's conversation, out of its record as it was kept. Called once, in the thread
that writes, so that the words cost the event loop nothing; it never raises."""


class Accounting(Protocol):
    """Belongs to one event loop, which never waits for the disk."""

    def hold_now(self, ask: HoldAsk) -> Hold | None:
        """A hold out of what this process has leased, its intent kept so that it survives the process.

        `None`: only the database can tell; ask `hold`. No I/O wait. Raises `InsufficientCredits` where
        nothing needs to be asked.
        """
        ...

    async def hold(self, ask: HoldAsk) -> Hold:
        """The same, from the database. Raises `InsufficientCredits`, with nothing taken, or
        `StoreUnavailable`."""
        ...

    def checkpoint(self, hold: Hold, usage: Usage) -> None:
        """Keep what has been produced so far, should the process die. No I/O wait."""
        ...

    def settle(
        self,
        hold: Hold,
        record: UsageRecord,
        *,
        claim: Claim | None = None,
        answer: bytes | None = None,
        keep: Keep | None = None,
    ) -> Awaitable[UsageRecord]:
        """End `hold`: charge `record.cost_nano_usd`, keep the record, give the rest back.

        Enqueues, and returns at once. What it returns is done when all of it is durable, and has the record as
        it was kept: its cost is at most the hold and the free balance. It may be left alone: the
        settlement happens all the same. It fails with `StoreUnavailable` when the database took no writes
        for too long; then the answer must not be given, and nothing is charged.

        In the same transaction `answer` is kept under `claim`; a claim without one is given up, unless
        the record's status is `ok`. So are the interactions that `keep` makes.
        """
        ...

    async def claim(self, claim: Claim) -> KeptAnswer | None:
        """Take the right to run, or return what was answered already.

        Raises `Conflict`: with `retry_after_s` where that request still runs, in this or another process;
        without, where the same key came with another body.
        """
        ...

    def give_up(self, claim: Claim) -> None:
        """The request was refused before anything was held: the same may be tried again."""
        ...

    def note(self, record: UsageRecord) -> None:
        """Keep the record of a refusal or a replay, some time soon; dropped where there are too many."""
        ...
