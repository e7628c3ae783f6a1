"""What can be asked about usage, and what is answered."""

from __future__ import annotations

import msgspec

from dragoman.chat import DialectName, NanoUSD
from dragoman.records.account import AccountId
from dragoman.records.key import KeyId
from dragoman.records.usage_record import UsageRecord, UsageStatus

GROUPINGS = ("day", "account", "key", "project", "model", "status")
"""And `label:NAME`."""
LABEL_GROUPING = "label:"
MAX_GROUPINGS = 2


class UsageFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Each field that is not `None` has to hold."""

    account_id: AccountId | None = None
    key_id: KeyId | None = None
    project: str | None = None
    model: str | None = None
    """The id of the model that answered."""
    dialect: DialectName | None = None
    status: UsageStatus | None = None
    label: tuple[str, str] | None = None
    """A name and its value."""
    session_id: str | None = None
    user: str | None = None
    from_s: float | None = None
    """Requests that came at that moment or later."""
    to_s: float | None = None
    """Requests that came before that moment."""


EVERYTHING = UsageFilter()


class KeptUsage(msgspec.Struct, frozen=True):
    sequence: int
    """Its number in the store: a page's cursor."""
    record: UsageRecord


class UsagePage(msgspec.Struct, frozen=True):
    records: tuple[KeptUsage, ...]
    """The newest first. Where few of many records match, a page may hold fewer than were asked for,
    or none, and still not be the last."""
    before: int | None
    """What to ask for the next page with; `None`: this was the last."""


class UsageSums(msgspec.Struct, frozen=True, kw_only=True):
    requests: int = 0
    input_tokens: int = 0
    cached_input_tokens: int = 0
    cache_write_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0
    cost_nano_usd: NanoUSD = NanoUSD(0)
    estimated: int = 0
    """Of the requests: those whose tokens were counted by us."""


class UsageGroup(msgspec.Struct, frozen=True):
    by: tuple[str | None, ...]
    """One value for each grouping, in the order in which they were asked for: days as `2026-11-22`
    (UTC), and `None` for records that have no project, model or label of that name."""
    sums: UsageSums


class UsageGroups(msgspec.Struct, frozen=True):
    groups: tuple[UsageGroup, ...]
    """Ascending by their values."""
    is_cut: bool
    """There are more groups than are answered: ask with more filters."""
