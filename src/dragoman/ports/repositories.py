"""The Protocols of what is kept: synchronous, so called outside the request path, or in a thread.

Every change that a running server has to know of raises the generation after it is durable.
Methods raise `Conflict` where a name or id is taken, and `UnknownEntity` where what is to be changed
does not exist.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from dragoman.chat import NanoUSD
from dragoman.records.account import Account, AccountId, Member, MemberId, Plan, PlanId
from dragoman.records.alert import Alert
from dragoman.records.audit_event import AuditEvent
from dragoman.records.key import Key, KeyId
from dragoman.records.ledger_entry import Balance, LedgerEntry
from dragoman.records.price import Price
from dragoman.records.usage_query import KeptUsage, UsageFilter, UsageGroups, UsagePage
from dragoman.records.usage_record import UsageRecord


class Generations(Protocol):
    """Tells of changes by other processes."""

    def generation(self) -> int:
        """A number that changes whenever any process changes a key, account, plan or price: no I/O."""
        ...


class KeyRepository(Generations, Protocol):
    def list_keys(self) -> list[Key]:
        """Oldest first, of both kinds, revoked ones too."""
        ...

    def add_key(self, key: Key) -> None: ...

    def replace_key(self, key: Key) -> None:
        """Write everything of the key with `key.id` anew, but its hash."""
        ...

    def revoke_key(self, key_id: KeyId, revoked_s: float) -> bool:
        """Whether there was such a key that was not yet revoked."""
        ...

    def touch_keys(self, used: Sequence[tuple[KeyId, float]]) -> None:
        """Note when keys were last used. Raises no generation."""
        ...


class AccountRepository(Generations, Protocol):
    def list_accounts(self) -> list[Account]: ...

    def add_account(self, account: Account) -> None: ...

    def replace_account(self, account: Account) -> None: ...

    def list_plans(self) -> list[Plan]: ...

    def put_plan(self, plan: Plan) -> None:
        """Add it, or write the one with its id anew."""
        ...

    def delete_plan(self, plan_id: PlanId) -> None:
        """Raises `Conflict` while an account has it."""
        ...

    def list_members(self, account_id: AccountId) -> list[Member]: ...

    def put_member(self, member: Member) -> None: ...

    def delete_member(self, member_id: MemberId) -> None: ...


class PriceRepository(Generations, Protocol):
    def list_prices(self) -> list[Price]:
        """Every price there ever was, by model, the oldest first."""
        ...

    def add_price(self, price: Price) -> None:
        """Raises `Conflict` where the model has a price from that very moment on."""
        ...


class MoneyRepository(Protocol):
    """What people and payment processors do to balances; requests are `Accounting`'s business."""

    def post_money(
        self,
        account_id: AccountId,
        amount: NanoUSD,
        kind: str,
        idempotency_key: str,
        *,
        at_s: float,
        note: str | None = None,
        request_id: str | None = None,
    ) -> tuple[LedgerEntry, bool]:
        """Post a `top_up`, `refund` or `adjustment`, once; returns the entry, and whether it is new.

        Only an adjustment may be negative. Raises `Conflict` where the key was used for something
        else, or where an adjustment would take more than the free balance.
        """
        ...

    def balance(self, account_id: AccountId, at_s: float) -> Balance: ...

    def list_entries(
        self, account_id: AccountId | None, *, before: int | None = None, limit: int = 100
    ) -> list[LedgerEntry]:
        """Newest first; `before` is the sequence number that the last page ended with."""
        ...

    def find_charge(self, request_id: str) -> LedgerEntry | None:
        """What the request was charged: a `settlement` of its account's, or a `grant` of the house."""
        ...

    def verify(self) -> list[str]:
        """Recompute everything from the ledger; one sentence for each difference. Empty: all is right."""
        ...


class AuditRepository(Protocol):
    def add_event(self, event: AuditEvent) -> None: ...

    def list_events(
        self, *, subject: str | None = None, before: int | None = None, limit: int = 100
    ) -> list[tuple[int, AuditEvent]]:
        """Newest first, each with its sequence number."""
        ...


class UsageRepository(Protocol):
    """Answers come from one moment of the database, within a time, or `StoreUnavailable` is raised."""

    def list_usage(
        self, asked: UsageFilter, *, before: int | None = None, limit: int = 100
    ) -> UsagePage:
        """The newest first, by when requests came. `before`: what the last page ended with."""
        ...

    def usage_groups(self, asked: UsageFilter, by: Sequence[str]) -> UsageGroups:
        """Sums by one or two of `GROUPINGS` and `label:NAME`; with none, of everything.

        Days that are whole (UTC) are answered from sums, which outlive the records. Raises
        `InvalidRequest` for another grouping.
        """
        ...

    def export_usage(self, asked: UsageFilter) -> Iterator[list[KeptUsage]]:
        """All of it, the oldest first, as of the beginning; in chunks, between which it may be left.

        Raises `StoreUnavailable` where records are deleted meanwhile that were still to come.
        """
        ...

    def find_usage(self, request_id: str) -> UsageRecord | None: ...


class AlertRepository(Protocol):
    """The outbox: alerts are added where money moves, and sent by one process."""

    def due_alerts(self, now_s: float, limit: int = 100) -> list[Alert]:
        """Those to be sent by now, oldest first."""
        ...

    def next_alert_s(self) -> float | None:
        """When the next one is due; `None`: none waits."""
        ...

    def note_delivery(self, sequence: int, at_s: float) -> None: ...

    def note_failed_delivery(self, sequence: int, reason: str, retry_s: float | None) -> None:
        """`None`: it is given up."""
        ...
