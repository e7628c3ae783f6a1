"""What a caller may know of itself: its credits, its key and limits, and its account's usage.

None of these costs anything. What they ask the database is asked in threads of their own, few at a
time, so that nobody's questions hold up anybody's completions.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Literal, Protocol, TypeVar, get_args
from zoneinfo import ZoneInfo

import msgspec

from dragoman.chat import DialectName
from dragoman.errors import InvalidRequest, Overloaded, RateLimited
from dragoman.policy.administration import format_usd
from dragoman.policy.administration.usage import UsageSum, usage_row, usage_sum
from dragoman.policy.limits import Limiter, SubjectStatus
from dragoman.policy.routing import ModelDirectory
from dragoman.ports import Clock, Dialect, MoneyRepository
from dragoman.ports.repositories import UsageRepository
from dragoman.records.account import Account, AccountId
from dragoman.records.key import KeyId, Scopes
from dragoman.records.ledger_entry import Balance
from dragoman.records.usage_query import LABEL_GROUPING, KeptUsage, UsageFilter
from dragoman.records.usage_record import UsageStatus
from dragoman.web.call import Call
from dragoman.web.completions import Route
from dragoman.web.door import Door
from dragoman.web.neighbours import READ_METHODS
from dragoman.web.query import cursor_of, moment_s, one_of, read_query, whole_number

DEFAULT_PAGE = 100
MAX_PAGE = 1000
THREADS = 2
MAX_ASKED = 32
"""Questions that wait or are answered, of everybody."""
MAX_ASKED_OF_ONE = 4
"""Of one account."""

GROUPINGS = ("day", "model", "key", "project", "status")
PARAMETERS = {
    "from": "Requests that came then or later: a day, a moment (UTC where it says no zone), or"
    " seconds since the epoch.",
    "to": "Requests that came before.",
    "model": "The model that answered, by id or alias.",
    "key": "The id of a key of the account.",
    "project": "The project of the key.",
    "session": "The session's id.",
    "user": "The user that the request named.",
    "label": "A label of the request: `NAME:VALUE`.",
    "status": f"One of {', '.join(get_args(UsageStatus))}.",
    "dialect": f"One of {', '.join(get_args(DialectName))}.",
    "group_by": f"Sums in place of records: by one or two of {', '.join(GROUPINGS)} and"
    f" `{LABEL_GROUPING}NAME`, with a comma between. Days are UTC's.",
    "limit": f"How many records a page has at most: 1 to {MAX_PAGE}, {DEFAULT_PAGE} by default.",
    "cursor": "The `next_cursor` of the page before.",
}

_HEADERS = ((b"content-type", b"application/json"), (b"cache-control", b"no-store"))

Answer = TypeVar("Answer")


# --- What is answered ---------------------------------------------------------------------------


class MonthSpending(msgspec.Struct, frozen=True, kw_only=True):
    """The calendar month, in the account's time zone. Null: there is no limit."""

    month: str
    time_zone: str
    resets_at: datetime
    """When the next month begins, and its spending with 0."""
    spent: str
    spent_nano_usd: int
    limit: str | None
    limit_nano_usd: int | None
    left: str | None
    left_nano_usd: int | None


class Credits(msgspec.Struct, frozen=True, kw_only=True):
    """Amounts are exact: decimal US dollars, and integer nano-USD."""

    object: Literal["credits"] = "credits"
    account_id: str
    currency: Literal["USD"] = "USD"
    is_prepaid: bool
    """Requests are paid for from the balance; else they are metered, and only a monthly limit bounds them."""
    balance: str
    balance_nano_usd: int
    """What is available and what is held."""
    available: str
    available_nano_usd: int
    held: str
    held_nano_usd: int
    """Set aside for requests under way and to come; what they do not cost comes back."""
    month: MonthSpending


class Bound(msgspec.Struct, frozen=True, kw_only=True):
    """Null: not limited."""

    limit: int | None
    used: int
    remaining: int | None


class LimitsNow(msgspec.Struct, frozen=True, kw_only=True):
    """Limits of any 60 seconds, and how much of them is used at this moment."""

    requests: Bound
    tokens: Bound
    concurrent_requests: Bound
    resets_in_s: float
    """How long until nothing of it counts any more, if nothing is asked."""


class KeyDetails(msgspec.Struct, frozen=True, kw_only=True):
    """The key that asks."""

    object: Literal["key"] = "key"
    id: str
    name: str
    account_id: str
    account_name: str
    project: str | None
    expires_at: datetime | None
    models: tuple[str, ...] | None
    """Ids of the models that it may ask for. Null: all."""
    scopes: Scopes
    """What it is bound to; what is left out is not bound."""
    key_limits: LimitsNow
    account_limits: LimitsNow
    """Shared by all keys of the account."""


class UsageEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One request."""

    request_id: str
    started_at: datetime
    key_id: str
    project: str | None
    dialect: DialectName
    model_asked: str | None
    model: str | None
    is_stream: bool
    status: UsageStatus
    http_status: int
    error: str | None
    finish_reason: str | None
    input_tokens: int
    cached_input_tokens: int
    cache_write_tokens: int
    output_tokens: int
    reasoning_tokens: int
    is_estimated: bool
    """Counted by this server, because the model's provider reported nothing."""
    cost: str
    cost_nano_usd: int
    queued_ms: float | None
    first_token_ms: float | None
    total_ms: float
    session_id: str | None
    user: str | None
    labels: dict[str, str]
    tags: tuple[str, ...]


class UsagePageBody(msgspec.Struct, frozen=True, kw_only=True):
    """Records, the newest first."""

    object: Literal["list"] = "list"
    data: tuple[UsageEntry, ...]
    has_more: bool
    next_cursor: str | None


class UsageSumsBody(msgspec.Struct, frozen=True, kw_only=True):
    """Sums, in place of records, where `group_by` is given."""

    object: Literal["list"] = "list"
    group_by: tuple[str, ...]
    data: tuple[UsageSum, ...]
    has_more: bool
    """There are more groups than are answered: narrow the question."""


# --- Who asks the database ----------------------------------------------------------------------


class Readers:
    """A few threads, for questions that may take a while."""

    def __init__(
        self, threads: int = THREADS, *, in_all: int = MAX_ASKED, of_one: int = MAX_ASKED_OF_ONE
    ) -> None:
        """`in_all` and `of_one` account: how many questions wait or are answered at most."""
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="reader")
        self._most_in_all = in_all
        self._most_of_one = of_one
        self._asked: dict[AccountId, int] = {}
        self._asked_in_all = 0

    async def ask(self, account_id: AccountId, question: Callable[[], Answer]) -> Answer:
        """Raises `RateLimited` or `Overloaded` where too many wait already."""
        asked = self._asked.get(account_id, 0)
        if asked >= self._most_of_one:
            raise RateLimited(
                f"{self._most_of_one} such questions of this account are being answered;"
                " wait for one of them.",
                retry_after_s=1,
            )
        if self._asked_in_all >= self._most_in_all:
            raise Overloaded(
                "Too many such questions are being answered; try again shortly.", retry_after_s=1
            )
        self._asked[account_id] = asked + 1
        self._asked_in_all += 1
        future = self._threads.submit(question)
        # However the asking ends, the thread is taken until the question does.
        future.add_done_callback(self._done_in(asyncio.get_running_loop(), account_id))
        return await asyncio.wrap_future(future)

    def _done_in(
        self, loop: asyncio.AbstractEventLoop, account_id: AccountId
    ) -> Callable[[object], None]:
        def done(_: object) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(self._leave, account_id)

        return done

    def _leave(self, account_id: AccountId) -> None:
        self._asked_in_all -= 1
        left = self._asked[account_id] - 1
        if left:
            self._asked[account_id] = left
        else:
            del self._asked[account_id]

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)


# --- Routes -------------------------------------------------------------------------------------


class Books(MoneyRepository, UsageRepository, Protocol):
    """Balances and usage."""


class CreditsRoute(Route):
    """`GET` the balance of the calling key's account."""

    methods = READ_METHODS

    def __init__(
        self, dialect: Dialect, door: Door, books: Books, readers: Readers, clock: Clock
    ) -> None:
        super().__init__(dialect)
        self._door = door
        self._books = books
        self._readers = readers
        self._clock = clock

    async def answer(self, call: Call) -> None:
        principal = await self._door.authenticate(call)
        read_query(call.scope.get("query_string", b""), ())
        account, now_s = principal.account, self._clock.unix_s()
        balance = await self._readers.ask(
            account.id, lambda: self._books.balance(account.id, now_s)
        )
        await _send(call, credits_of(account, balance))


class KeyRoute(Route):
    """`GET` the calling key: what it may do, and what it has used of its limits."""

    methods = READ_METHODS

    def __init__(self, dialect: Dialect, door: Door, limiter: Limiter) -> None:
        super().__init__(dialect)
        self._door = door
        self._limiter = limiter

    async def answer(self, call: Call) -> None:
        principal = await self._door.authenticate(call)
        read_query(call.scope.get("query_string", b""), ())
        status = self._limiter.peek(principal)
        expires_s = principal.expires_s
        models = principal.models
        body = KeyDetails(
            id=principal.key_id,
            name=principal.name,
            account_id=principal.account.id,
            account_name=principal.account.name,
            project=principal.project,
            expires_at=None if expires_s is None else datetime.fromtimestamp(expires_s, UTC),
            models=None if models is None else tuple(sorted(models)),
            scopes=principal.scopes,
            key_limits=_limits_now(status.key),
            account_limits=_limits_now(status.account),
        )
        await _send(call, body)


class UsageRoute(Route):
    """`GET` the usage of the calling key's account: records, or sums."""

    methods = READ_METHODS

    def __init__(
        self,
        dialect: Dialect,
        door: Door,
        books: Books,
        readers: Readers,
        directory: ModelDirectory,
    ) -> None:
        super().__init__(dialect)
        self._door = door
        self._books = books
        self._readers = readers
        self._directory = directory

    async def answer(self, call: Call) -> None:
        principal = await self._door.authenticate(call)
        given = read_query(call.scope.get("query_string", b""), PARAMETERS)
        account_id = principal.account.id
        asked = self._filter(account_id, given)
        limit = whole_number(given, "limit", least=1, most=MAX_PAGE, default=DEFAULT_PAGE)
        before = cursor_of(given)
        by = _groupings(given.get("group_by"))
        if by is None:
            body = await self._readers.ask(
                account_id, lambda: self._page(asked, before=before, limit=limit)
            )
        elif before is not None:
            raise InvalidRequest("cursor goes with records; sums have no pages", param="cursor")
        else:
            body = await self._readers.ask(account_id, lambda: self._sums(asked, by))
        await call.send_whole(200, list(_HEADERS), body)

    def _filter(self, account_id: AccountId, given: dict[str, str]) -> UsageFilter:
        start, end = moment_s(given, "from"), moment_s(given, "to")
        if start is not None and end is not None and start >= end:
            raise InvalidRequest("from must be before to", param="from")
        model = given.get("model")
        known = None if model is None else self._directory.resolve(model)
        status = one_of(given, "status", get_args(UsageStatus))
        dialect = one_of(given, "dialect", get_args(DialectName))
        return UsageFilter(
            account_id=account_id,
            key_id=KeyId(given["key"]) if "key" in given else None,
            project=given.get("project"),
            # A model that is gone still has records.
            model=model if known is None else known.id,
            dialect=None if dialect is None else msgspec.convert(dialect, DialectName),
            status=None if status is None else msgspec.convert(status, UsageStatus),
            label=_label(given.get("label")),
            session_id=given.get("session"),
            user=given.get("user"),
            from_s=start,
            to_s=end,
        )

    def _page(self, asked: UsageFilter, *, before: int | None, limit: int) -> bytes:
        page = self._books.list_usage(asked, before=before, limit=limit)
        return msgspec.json.encode(
            UsagePageBody(
                data=tuple(map(usage_entry, page.records)),
                has_more=page.before is not None,
                next_cursor=None if page.before is None else str(page.before),
            )
        )

    def _sums(self, asked: UsageFilter, by: tuple[str, ...]) -> bytes:
        found = self._books.usage_groups(asked, by)
        return msgspec.json.encode(
            UsageSumsBody(
                group_by=by,
                data=tuple(usage_sum(group, by) for group in found.groups),
                has_more=found.is_cut,
            )
        )


async def _send(call: Call, body: msgspec.Struct) -> None:
    await call.send_whole(200, list(_HEADERS), msgspec.json.encode(body))


# --- Steps --------------------------------------------------------------------------------------


def credits_of(account: Account, balance: Balance) -> Credits:
    limit, spent = account.monthly_limit_nano_usd, balance.month_spent_nano_usd
    left = None if limit is None else max(0, limit - spent)
    year, month = divmod(balance.month, 100)
    zone = UTC if account.time_zone == "UTC" else ZoneInfo(account.time_zone)
    resets_at = datetime(year + month // 12, month % 12 + 1, 1, tzinfo=zone)
    return Credits(
        account_id=account.id,
        is_prepaid=account.is_prepaid,
        balance=format_usd(balance.total_nano_usd),
        balance_nano_usd=balance.total_nano_usd,
        available=format_usd(balance.free_nano_usd),
        available_nano_usd=balance.free_nano_usd,
        held=format_usd(balance.held_nano_usd),
        held_nano_usd=balance.held_nano_usd,
        month=MonthSpending(
            month=f"{year:04}-{month:02}",
            time_zone=account.time_zone,
            resets_at=resets_at,
            spent=format_usd(spent),
            spent_nano_usd=spent,
            limit=None if limit is None else format_usd(limit),
            limit_nano_usd=limit,
            left=None if left is None else format_usd(left),
            left_nano_usd=left,
        ),
    )


def _limits_now(status: SubjectStatus) -> LimitsNow:
    limits = status.limits
    return LimitsNow(
        requests=_bound(limits.requests_per_minute, status.requests),
        tokens=_bound(limits.tokens_per_minute, status.tokens),
        concurrent_requests=_bound(limits.concurrent_requests, status.running),
        resets_in_s=round(status.resets_s, 3),
    )


def _bound(limit: int | None, used: int) -> Bound:
    return Bound(limit=limit, used=used, remaining=None if limit is None else max(0, limit - used))


def _groupings(text: str | None) -> tuple[str, ...] | None:
    if text is None:
        return None
    by = tuple(part.strip() for part in text.split(","))
    for grouping in by:
        if grouping not in GROUPINGS and not (
            grouping.startswith(LABEL_GROUPING) and len(grouping) > len(LABEL_GROUPING)
        ):
            raise InvalidRequest(
                f"group_by is {text[:60]!r}; use one or two of {', '.join(GROUPINGS)} and"
                f" {LABEL_GROUPING}NAME",
                param="group_by",
            )
    return by


def _label(text: str | None) -> tuple[str, str] | None:
    if text is None:
        return None
    name, colon, value = text.partition(":")
    if not name or not colon:
        raise InvalidRequest("label must be written as NAME:VALUE", param="label")
    return name, value


def usage_entry(kept: KeptUsage) -> UsageEntry:
    """What of the row that everybody is shown is the account's own business."""
    return msgspec.convert(usage_row(kept.record), UsageEntry, from_attributes=True)
