"""Balances and the ledger, as people and payment processors see them."""

from __future__ import annotations

from typing import NamedTuple

from dragoman.chat import NanoUSD
from dragoman.errors import Conflict, InvalidRequest, UnknownEntity
from dragoman.records.account import AccountId
from dragoman.records.ledger_entry import Balance, Book, LedgerEntry
from dragoman.stores.compiled import money as sql
from dragoman.stores.database import Area, Row, Value
from dragoman.stores.months import month_at
from dragoman.stores.paging import first_before, page_size
from dragoman.stores.verification import differences

MAX_BALANCE = 1 << 60
"""Of one account, in nano-USD: sums of many accounts still fit 64 bits."""

VERIFY_LIMIT_S = 900.0


class _Route(NamedTuple):
    """Between which books an amount moves, upwards and downwards for the account."""

    giver: Book
    is_negative_allowed: bool = False


_ROUTES = {
    "top_up": _Route("outside"),
    "refund": _Route("revenue"),
    "adjustment": _Route("house", is_negative_allowed=True),
}


class MoneyArea(Area):
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
        """Post a `top_up`, `refund` or `adjustment`, once; returns the entry, and whether it is new."""
        route = _ROUTES.get(kind)
        if route is None:
            raise InvalidRequest(
                f"kind '{kind}' is unknown; use {', '.join(_ROUTES)}", param="kind"
            )
        if (
            amount == 0
            or (amount < 0 and not route.is_negative_allowed)
            or abs(amount) > MAX_BALANCE
        ):
            raise InvalidRequest(
                f"amount {amount} cannot be posted as a {kind}: it must be above 0"
                f"{', or below for an adjustment,' if route.is_negative_allowed else ''}"
                f" and at most {MAX_BALANCE} nano-USD",
                param="amount",
            )
        from_book, to_book = (route.giver, "free") if amount > 0 else ("free", route.giver)
        wish: dict[str, Value] = {
            "kind": kind,
            "account_id": account_id,
            "amount": abs(amount),
            "from_book": from_book,
            "to_book": to_book,
            "idempotency_key": idempotency_key,
            "request_id": request_id,
        }
        with self._database.transaction():
            earlier = self._database.rows(
                sql.SQLITE_FIND_ENTRY, {"idempotency_key": idempotency_key}
            )
            if earlier:
                return _same(_entry(earlier[0]), wish), False
            self._move(account_id, amount)
            self._database.change(sql.SQLITE_ADD_ENTRY, {"posted_s": at_s, "note": note, **wish})
            (row,) = self._database.rows(
                sql.SQLITE_FIND_ENTRY, {"idempotency_key": idempotency_key}
            )
            self._database.announce()
        return _entry(row), True

    def balance(self, account_id: AccountId, at_s: float) -> Balance:
        """As of `at_s`, a moment of the month under way or of a later one."""
        rows = self._database.rows(sql.SQLITE_READ_BALANCE, {"account_id": account_id})
        zones = self._database.rows(sql.SQLITE_READ_TIME_ZONE, {"account_id": account_id})
        if not rows or not zones:
            raise UnknownEntity(f"account '{account_id}' does not exist", entity="account")
        free, held, kept_month, spent = rows[0]
        month = month_at(zones[0][0], at_s).number
        return Balance(
            account_id=account_id,
            free_nano_usd=free,
            held_nano_usd=held,
            month=month,
            # The row is brought to a new month by that month's first charge.
            month_spent_nano_usd=spent if kept_month == month else NanoUSD(0),
        )

    def list_entries(
        self, account_id: AccountId | None, *, before: int | None = None, limit: int = 100
    ) -> list[LedgerEntry]:
        values: dict[str, Value] = {"before": first_before(before), "limit": page_size(limit)}
        statement = sql.SQLITE_LIST_ENTRIES
        if account_id is not None:
            statement = sql.SQLITE_LIST_ENTRIES_OF
            values["account_id"] = account_id
        return [_entry(row) for row in self._database.rows(statement, values)]

    def find_charge(self, request_id: str) -> LedgerEntry | None:
        rows = self._database.rows(
            sql.SQLITE_FIND_ENTRY, {"idempotency_key": f"settlement:{request_id}"}
        )
        return _entry(rows[0]) if rows else None

    def verify(self) -> list[str]:
        """Recompute everything from the ledger; one sentence for each difference, 1,000 at most."""
        with self._database.reading(VERIFY_LIMIT_S) as connection:
            return differences(connection)

    def _move(self, account_id: AccountId, amount: int) -> None:
        rows = self._database.rows(sql.SQLITE_READ_BALANCE, {"account_id": account_id})
        if not rows:
            raise UnknownEntity(f"account '{account_id}' does not exist", entity="account")
        free: int = rows[0][0]
        if free + amount < 0:
            raise Conflict(
                f"The adjustment takes {-amount} nano-USD, and only {free} are free; take less."
            )
        if free + amount > MAX_BALANCE:
            raise Conflict(f"A balance cannot be over {MAX_BALANCE} nano-USD; it is {free} now.")
        self._database.change(sql.SQLITE_MOVE_FREE, {"account": account_id, "change": amount})


def _same(entry: LedgerEntry, wish: dict[str, Value]) -> LedgerEntry:
    """The entry that was posted under this key, if it is what is wished for now."""
    posted: dict[str, Value] = {
        "kind": entry.kind,
        "account_id": entry.account_id,
        "amount": entry.amount_nano_usd,
        "from_book": entry.from_book,
        "to_book": entry.to_book,
        "idempotency_key": entry.idempotency_key,
        "request_id": entry.request_id,
    }
    if posted != wish:
        raise Conflict(
            f"Idempotency-Key: it posted a {entry.kind} of {entry.amount_nano_usd} nano-USD for account"
            f" {entry.account_id} already, entry {entry.sequence} of the ledger; what differs from that"
            " needs a key of its own",
            param="Idempotency-Key",
        )
    return entry


def _entry(row: Row) -> LedgerEntry:
    return LedgerEntry(**dict(zip(_ENTRY_FIELDS, row, strict=True)))


_ENTRY_FIELDS = (
    "sequence",
    "posted_s",
    "kind",
    "account_id",
    "amount_nano_usd",
    "from_book",
    "to_book",
    "idempotency_key",
    "request_id",
    "note",
)
