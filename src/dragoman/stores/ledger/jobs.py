"""What the writer is asked to do, each with room for how it ended.

A job belongs to the event loop until it is queued, to the writer until it is delivered.
"""

from __future__ import annotations

import asyncio

from dragoman.chat import NanoUSD
from dragoman.errors import DragomanError
from dragoman.ports.accounting import Keep
from dragoman.records.account import Account, AccountId
from dragoman.records.hold import HoldAsk
from dragoman.records.idempotency import Claim, KeptAnswer
from dragoman.records.interaction import Interaction
from dragoman.records.usage_record import UsageRecord
from dragoman.stores.ledger.purse import Purse


class Job:
    """Something that somebody waits for, or nobody."""

    __slots__ = ("future", "queued_s")

    def __init__(self) -> None:
        self.future: asyncio.Future[Job] | None = None
        self.queued_s = 0.0
        """Monotonic."""


class HoldJob(Job):
    """Take the hold that `ask` wishes for; with no ask, only try whether the database takes writes."""

    __slots__ = ("amount", "ask", "error", "is_contended", "max_output_tokens")

    def __init__(self, ask: HoldAsk | None) -> None:
        super().__init__()
        self.ask = ask
        self.amount = NanoUSD(0)
        self.max_output_tokens: int | None = None
        self.error: DragomanError | None = None
        """Why nothing was held."""
        self.is_contended = False
        """Other processes have slices, and were asked for them: worth another try."""

    def reset(self) -> None:
        self.error, self.is_contended = None, False


class SettleJob(Job):
    """End a hold: charge `record`, and keep it. With no record nothing was begun."""

    __slots__ = (
        "account",
        "answer",
        "claim",
        "held",
        "interactions",
        "is_refused",
        "keep",
        "kept",
        "record",
        "settled",
        "slot",
    )

    def __init__(
        self, account: Account, held: int, record: UsageRecord | None, slot: int | None
    ) -> None:
        super().__init__()
        self.account = account
        self.held = held
        self.record = record
        self.slot = slot
        """Of the journal, to be cleared once this is durable."""
        self.claim: Claim | None = None
        self.answer: bytes | None = None
        self.keep: Keep | None = None
        self.interactions: tuple[Interaction, ...] | None = None
        """What `keep` made, once it was asked."""
        self.kept: UsageRecord | None = None
        """The record as it is kept."""
        self.is_refused = False
        """Whoever waited was told that it failed, and so is the record to say; the writer's to set."""
        self.settled: asyncio.Future[UsageRecord] | None = None


class RecallJob(Job):
    """Find what was kept of a request that was settled before."""

    __slots__ = ("kept", "record", "settled")

    def __init__(self, record: UsageRecord, settled: asyncio.Future[UsageRecord]) -> None:
        super().__init__()
        self.record = record
        self.settled = settled
        self.kept: UsageRecord | None = None


class ClaimJob(Job):
    __slots__ = ("claim", "error", "kept")

    def __init__(self, claim: Claim) -> None:
        super().__init__()
        self.claim = claim
        self.kept: KeptAnswer | None = None
        self.error: DragomanError | None = None


class GiveUpJob(Job):
    __slots__ = ("claim",)

    def __init__(self, claim: Claim) -> None:
        super().__init__()
        self.claim = claim


class ReturnJob(Job):
    """Give the unspent slice of a purse back."""

    __slots__ = ("purse",)

    def __init__(self, purse: Purse) -> None:
        super().__init__()
        self.purse = purse


class NoteJob(Job):
    """Keep a record that nothing was held for."""

    __slots__ = ("record",)

    def __init__(self, record: UsageRecord) -> None:
        super().__init__()
        self.record = record


class TouchJob(Job):
    """Note when a key was used."""

    __slots__ = ("at_s", "key_id")

    def __init__(self, key_id: str, at_s: float) -> None:
        super().__init__()
        self.key_id = key_id
        self.at_s = at_s


class OpenHold:
    """What this process remembers of a hold, so that it ends once."""

    __slots__ = ("account", "held", "request_id")

    def __init__(self, account: Account, held: int, request_id: str) -> None:
        self.account = account
        self.held = held
        self.request_id = request_id

    @property
    def account_id(self) -> AccountId:
        return self.account.id
