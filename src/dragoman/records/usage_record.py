"""What is kept of one request, whatever its end: counts, times and money, never the content."""

from __future__ import annotations

from typing import Literal

import msgspec

from dragoman.chat import DialectName, NanoUSD, Usage
from dragoman.records.account import AccountId
from dragoman.records.key import KeyId
from dragoman.records.price import PriceId

UsageStatus = Literal[
    "ok",
    "client_gone",
    "failed",
    "interrupted",
    "refused",
    "replayed",
]
"""`ok`: answered whole. `client_gone`: the client left before the end. `failed`: we or the provider
failed. `interrupted`: the process died. `refused`: told no before any model was asked. `replayed`:
an earlier answer was sent again."""

CHARGED: frozenset[UsageStatus] = frozenset({"ok", "client_gone"})
"""What was produced is metered always, and charged only where one of these is the end."""


class Attempt(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One call of one target."""

    model: str
    provider: str
    total_ms: float
    error: str | None = None
    """The code of the error that ended it."""


NO_USAGE = Usage()


class UsageRecord(msgspec.Struct, frozen=True, kw_only=True):
    request_id: str
    account_id: AccountId
    key_id: KeyId
    project: str | None = None
    dialect: DialectName
    model_asked: str | None = None
    """As the client named it; `None`: it named none, or was refused before that was read."""
    model: str | None = None
    """The id of the model that answered."""
    provider: str | None = None
    is_stream: bool = False
    usage: Usage = NO_USAGE
    cost_nano_usd: NanoUSD = NanoUSD(0)
    """What was charged."""
    hold_nano_usd: NanoUSD = NanoUSD(0)
    price_id: PriceId | None = None
    """The price that was charged at."""
    started_s: float
    """Since the epoch: when the request came."""
    queued_ms: float | None = None
    """From then until the target that answered was asked."""
    first_token_ms: float | None = None
    total_ms: float = 0.0
    status: UsageStatus
    finish_reason: str | None = None
    """The first choice's."""
    http_status: int = 0
    error: str | None = None
    """The code of the error that the client was told."""
    session_id: str | None = None
    user: str | None = None
    labels: tuple[tuple[str, str], ...] = ()
    tags: tuple[str, ...] = ()
    attempts: tuple[Attempt, ...] = ()
