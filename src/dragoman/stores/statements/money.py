"""What people do to balances, and what they ask of the ledger."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import bindparam, func, insert, literal_column, select, update
from sqlalchemy.sql import ClauseElement

from dragoman.stores.schema import accounts, balances, leases, ledger, usage_records

_columns = [column.name for column in ledger.columns if column.name != "sequence"]
_page = (
    select(ledger)
    .where(ledger.c.sequence < bindparam("before"))
    .order_by(ledger.c.sequence.desc())
    .limit(bindparam("limit"))
    .offset(literal_column("0"))
)
# What an account that is not prepaid has leased is the house's money, in rows of their own.
_held = (
    select(func.coalesce(func.sum(leases.c.amount), literal_column("0")))
    .where(
        leases.c.account_id == balances.c.account_id,
        leases.c.worker_id.not_like(literal_column("'%.house'")),
    )
    .scalar_subquery()
)
_spent = (
    select(func.coalesce(func.sum(usage_records.c.cost), literal_column("0")))
    .where(
        usage_records.c.account_id == bindparam("account"),
        usage_records.c.started_s >= bindparam("from_s"),
        usage_records.c.started_s < bindparam("to_s"),
    )
    .scalar_subquery()
)

STATEMENTS: Mapping[str, ClauseElement] = {
    "ADD_ENTRY": insert(ledger).values({name: bindparam(name) for name in _columns}),
    "FIND_ENTRY": select(ledger).where(ledger.c.idempotency_key == bindparam("idempotency_key")),
    "LIST_ENTRIES": _page,
    "LIST_ENTRIES_OF": _page.where(ledger.c.account_id == bindparam("account_id")),
    "READ_BALANCE": select(balances.c.free, _held, balances.c.month, balances.c.month_spent).where(
        balances.c.account_id == bindparam("account_id")
    ),
    "READ_TIME_ZONE": select(accounts.c.time_zone).where(accounts.c.id == bindparam("account_id")),
    "COUNT_MONTH": (
        update(balances)
        .where(balances.c.account_id == bindparam("account"))
        .values(month_spent=_spent)
    ),
    "MOVE_FREE": (
        update(balances)
        .where(balances.c.account_id == bindparam("account"))
        .values(free=balances.c.free + bindparam("change"))
    ),
}
