"""The answers of the admin API: what is kept, as administrators read it.

Amounts come as integer nano-USD and as exact US dollars, moments as RFC 3339.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Generic, Literal, TypeVar

import msgspec

from dragoman.policy.administration.accounts import AccountStanding
from dragoman.policy.administration.amounts import format_usd
from dragoman.policy.administration.keys import KeyMade
from dragoman.records.account import Account, Alerts, Member, Plan, Role
from dragoman.records.audit_event import AuditEvent
from dragoman.records.key import Key, Scopes
from dragoman.records.ledger_entry import Balance, Book, EntryKind, LedgerEntry
from dragoman.records.limits import Limits
from dragoman.records.model import Model
from dragoman.records.price import Price, PriceSource, PriceTier

Item = TypeVar("Item")
Kept = TypeVar("Kept")


class Page(msgspec.Struct, Generic[Item], frozen=True, kw_only=True):
    data: tuple[Item, ...]
    next_cursor: str | None = None
    """Ask again with this `cursor` for what comes next; null: there is no more."""


class AlertsView(msgspec.Struct, frozen=True, kw_only=True):
    webhook_url: str | None
    balance_below_nano_usd: tuple[int, ...]
    month_percent: tuple[int, ...]


class BalanceView(msgspec.Struct, frozen=True, kw_only=True):
    account_id: str
    free_nano_usd: int
    """Can be held by a next request."""
    free: str
    held_nano_usd: int
    """Set aside for requests under way, and leased by processes that serve."""
    held: str
    total_nano_usd: int
    total: str
    month: str
    """`2026-11`, in the account's time zone."""
    month_spent_nano_usd: int
    month_spent: str


class WebhookSecretView(msgspec.Struct, frozen=True, kw_only=True):
    secret: str
    """Each alert carries `Dragoman-Signature`, made with it."""


class MemberView(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    account_id: str
    email: str
    role: Role
    created_at: datetime


class LimitsView(msgspec.Struct, frozen=True, kw_only=True):
    """Null: not limited here."""

    requests_per_minute: int | None
    tokens_per_minute: int | None
    concurrent_requests: int | None


class PlanView(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    name: str
    limits: LimitsView
    models: tuple[str, ...] | None
    """Null: all."""
    created_at: datetime


class AccountView(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    name: str
    plan_id: str | None
    is_prepaid: bool
    monthly_limit_nano_usd: int | None
    monthly_limit: str | None
    time_zone: str
    alerts: AlertsView
    created_at: datetime
    suspended_at: datetime | None
    """Since then its keys are refused."""


class AccountStandingView(msgspec.Struct, frozen=True, kw_only=True):
    """An account, and how it stands at this moment."""

    account: AccountView
    balance: BalanceView
    plan: PlanView | None
    members: tuple[MemberView, ...]


class ScopesView(msgspec.Struct, frozen=True, kw_only=True):
    """Null: everything that its account may."""

    models: tuple[str, ...] | None
    projects: tuple[str, ...] | None
    dialects: tuple[str, ...] | None
    networks: tuple[str, ...] | None


class KeyView(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    name: str
    hint: str
    """The secret's beginning and end, to tell keys apart."""
    kind: Literal["client", "admin"]
    account_id: str
    project: str | None
    scopes: ScopesView
    limits: LimitsView
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None
    """To within a minute."""
    replaces: str | None
    """The key that this one was made from by rotation."""


class KeyMadeView(msgspec.Struct, frozen=True, kw_only=True):
    key: KeyView
    secret: str
    """Shown now, and not again: only its hash is kept."""
    replaced: KeyView | None = None
    """Of a rotation: the old key, which works until its `expires_at`."""


class PriceView(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    model: str
    valid_from: datetime
    source: PriceSource
    tiers: tuple[PriceTier, ...]
    """In nano-USD for a million tokens."""


class ModelView(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    aliases: tuple[str, ...]
    fallbacks: tuple[str, ...]
    provider: str
    upstream_name: str
    context_tokens: int | None
    max_output_tokens: int | None
    price: PriceView | None
    """The one in force; null: it costs nothing."""


class EntryView(msgspec.Struct, frozen=True, kw_only=True):
    """An amount left one book and entered another."""

    sequence: int
    posted_at: datetime
    kind: EntryKind
    account_id: str
    amount_nano_usd: int
    amount: str
    from_book: Book
    to_book: Book
    request_id: str | None
    note: str | None


class VerificationView(msgspec.Struct, frozen=True, kw_only=True):
    is_right: bool
    differences: tuple[str, ...]
    """One sentence each."""


class EventView(msgspec.Struct, frozen=True, kw_only=True):
    sequence: int
    at: datetime
    actor: str
    """The id of a key, `cli:USER`, `file:PATH` for what a settings file defines, or `server`."""
    action: str
    subject: str
    detail: msgspec.Raw
    """What was asked for."""


def moment(unix_s: float) -> datetime:
    return datetime.fromtimestamp(unix_s, UTC)


def maybe_moment(unix_s: float | None) -> datetime | None:
    return None if unix_s is None else moment(unix_s)


def page_of(items: Sequence[Item], limit: int, last_sequence: int | None) -> Page[Item]:
    """A page that is full may have a next one."""
    more = last_sequence is not None and len(items) == limit
    return Page(data=tuple(items), next_cursor=str(last_sequence) if more else None)


def slice_of(
    items: Sequence[Kept],
    view: Callable[[Kept], Item],
    *,
    start: int | None,
    limit: int,
    is_wanted: Callable[[Kept], bool] = lambda _: True,
) -> Page[Item]:
    """A page of what is only ever added to: its cursor counts what was passed."""
    found: list[Item] = []
    for index in range(start or 0, len(items)):
        if not is_wanted(items[index]):
            continue
        if len(found) == limit:
            return Page(data=tuple(found), next_cursor=str(index))
        found.append(view(items[index]))
    return Page(data=tuple(found))


def slice_after(
    items: Iterable[Kept],
    view: Callable[[Kept], Item],
    *,
    order: Callable[[Kept], str],
    after: str | None,
    limit: int,
) -> Page[Item]:
    """A page of what may go at any time, in `order`, in which no two are alike: its cursor is where it ended."""
    rest = sorted((item for item in items if after is None or order(item) > after), key=order)
    page = rest[:limit]
    return Page(
        data=tuple(map(view, page)),
        next_cursor=order(page[-1]) if len(rest) > limit else None,
    )


def balance_view(balance: Balance) -> BalanceView:
    year, month = divmod(balance.month, 100)
    return BalanceView(
        account_id=balance.account_id,
        free_nano_usd=balance.free_nano_usd,
        free=format_usd(balance.free_nano_usd),
        held_nano_usd=balance.held_nano_usd,
        held=format_usd(balance.held_nano_usd),
        total_nano_usd=balance.total_nano_usd,
        total=format_usd(balance.total_nano_usd),
        month=f"{year:04d}-{month:02d}",
        month_spent_nano_usd=balance.month_spent_nano_usd,
        month_spent=format_usd(balance.month_spent_nano_usd),
    )


def member_view(member: Member) -> MemberView:
    return MemberView(
        id=member.id,
        account_id=member.account_id,
        email=member.email,
        role=member.role,
        created_at=moment(member.created_s),
    )


def limits_view(limits: Limits) -> LimitsView:
    return LimitsView(
        requests_per_minute=limits.requests_per_minute,
        tokens_per_minute=limits.tokens_per_minute,
        concurrent_requests=limits.concurrent_requests,
    )


def plan_view(plan: Plan) -> PlanView:
    return PlanView(
        id=plan.id,
        name=plan.name,
        limits=limits_view(plan.limits),
        models=plan.models,
        created_at=moment(plan.created_s),
    )


def account_view(account: Account) -> AccountView:
    limit = account.monthly_limit_nano_usd
    return AccountView(
        id=account.id,
        name=account.name,
        plan_id=account.plan_id,
        is_prepaid=account.is_prepaid,
        monthly_limit_nano_usd=limit,
        monthly_limit=None if limit is None else format_usd(limit),
        time_zone=account.time_zone,
        alerts=_alerts_view(account.alerts),
        created_at=moment(account.created_s),
        suspended_at=maybe_moment(account.suspended_s),
    )


def _alerts_view(alerts: Alerts) -> AlertsView:
    return AlertsView(
        webhook_url=alerts.webhook_url,
        balance_below_nano_usd=alerts.balance_below_nano_usd,
        month_percent=alerts.month_percent,
    )


def standing_view(standing: AccountStanding) -> AccountStandingView:
    return AccountStandingView(
        account=account_view(standing.account),
        balance=balance_view(standing.balance),
        plan=None if standing.plan is None else plan_view(standing.plan),
        members=tuple(member_view(member) for member in standing.members),
    )


def scopes_view(scopes: Scopes) -> ScopesView:
    return ScopesView(
        models=scopes.models,
        projects=scopes.projects,
        dialects=scopes.dialects,
        networks=scopes.networks,
    )


def key_view(key: Key) -> KeyView:
    return KeyView(
        id=key.id,
        name=key.name,
        hint=key.hint,
        kind=key.kind,
        account_id=key.account_id,
        project=key.project,
        scopes=scopes_view(key.scopes),
        limits=limits_view(key.limits),
        created_at=moment(key.created_s),
        expires_at=maybe_moment(key.expires_s),
        revoked_at=maybe_moment(key.revoked_s),
        last_used_at=maybe_moment(key.last_used_s),
        replaces=key.replaces,
    )


def key_made_view(made: KeyMade) -> KeyMadeView:
    return KeyMadeView(
        key=key_view(made.key),
        secret=made.secret,
        replaced=None if made.replaced is None else key_view(made.replaced),
    )


def price_view(price: Price) -> PriceView:
    return PriceView(
        id=price.id,
        model=price.model,
        valid_from=moment(price.valid_from_s),
        source=price.source,
        tiers=price.tiers,
    )


def model_view(model: Model, price: Price | None) -> ModelView:
    return ModelView(
        id=model.id,
        aliases=model.aliases,
        fallbacks=model.fallbacks,
        provider=model.provider,
        upstream_name=model.upstream_name,
        context_tokens=model.context_tokens,
        max_output_tokens=model.max_output_tokens,
        price=None if price is None else price_view(price),
    )


def entry_view(entry: LedgerEntry) -> EntryView:
    return EntryView(
        sequence=entry.sequence,
        posted_at=moment(entry.posted_s),
        kind=entry.kind,
        account_id=entry.account_id,
        amount_nano_usd=entry.amount_nano_usd,
        amount=format_usd(entry.amount_nano_usd),
        from_book=entry.from_book,
        to_book=entry.to_book,
        request_id=entry.request_id,
        note=entry.note,
    )


def event_view(sequence: int, event: AuditEvent) -> EventView:
    return EventView(
        sequence=sequence,
        at=moment(event.at_s),
        actor=event.actor,
        action=event.action,
        subject=event.subject,
        detail=event.detail,
    )
