"""One movement of money: an amount leaves one book and enters another."""

from __future__ import annotations

from typing import Literal

import msgspec

from dragoman.chat import NanoUSD
from dragoman.records.account import AccountId

EntryKind = Literal[
    "top_up", "hold", "settlement", "release", "adjustment", "refund", "grant", "overrun"
]
"""`hold`: a process takes a slice of the free balance, for one request or many. `release`: what is left
of it comes back. `settlement`: a request's charge. `grant`: the house pays for an account that is not
prepaid. `overrun`: what a request cost beyond its hold and the free balance, which nobody pays."""

Book = Literal["outside", "house", "free", "held", "revenue", "overrun"]
"""`free` and `held` are the account's own, the others the server's: an account's balance is both."""


class LedgerEntry(msgspec.Struct, frozen=True, kw_only=True):
    sequence: int
    posted_s: float
    kind: EntryKind
    account_id: AccountId
    amount_nano_usd: NanoUSD
    """Above 0."""
    from_book: Book
    to_book: Book
    idempotency_key: str
    """Unique: posting the same again changes nothing."""
    request_id: str | None = None
    note: str | None = None


class Balance(msgspec.Struct, frozen=True, kw_only=True):
    """An account's money at one moment."""

    account_id: AccountId
    free_nano_usd: NanoUSD
    """Can be held by a next request."""
    held_nano_usd: NanoUSD
    """Set aside for requests under way, and slices that processes have leased."""
    month: int
    """The account's own: 202611."""
    month_spent_nano_usd: NanoUSD

    @property
    def total_nano_usd(self) -> NanoUSD:
        return NanoUSD(self.free_nano_usd + self.held_nano_usd)
