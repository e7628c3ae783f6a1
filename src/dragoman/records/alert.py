"""Something that an account's owner asked to be told of, until it is delivered or given up."""

from __future__ import annotations

import msgspec

from dragoman.records.account import AccountId


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    sequence: int
    account_id: AccountId
    occasion: str
    """What it is about; an account is told of each once: `balance_below:5000000000`, `month:202611:80`."""
    payload: msgspec.Raw
    """A JSON object."""
    created_s: float
    attempts: int = 0
    next_attempt_s: float | None = None
    """`None` after an attempt: delivered or given up."""
    delivered_s: float | None = None
    last_error: str | None = None
