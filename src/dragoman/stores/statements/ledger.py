"""What requests do to balances, leases, the ledger and usage records: the writer's statements."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import (
    ColumnElement,
    Insert,
    Table,
    bindparam,
    delete,
    func,
    insert,
    literal_column,
    null,
    or_,
    select,
    update,
)
from sqlalchemy.sql import ClauseElement

from dragoman.stores.schema import (
    alerts,
    balances,
    idempotency,
    keys,
    leases,
    ledger,
    usage_days,
    usage_labels,
    usage_records,
    workers,
)
from dragoman.stores.statements.upserts import plus_row, put_row

# A literal of the text, not a parameter that SQLAlchemy would have to fill in.
_ZERO: ColumnElement[int] = literal_column("0")


def _add(table: Table) -> Insert:
    """An insert of every column but the sequence number, in the table's order."""
    names = [column.name for column in table.columns if column.name != "sequence"]
    return insert(table).values({name: bindparam(name) for name in names})


_claim = (
    idempotency.c.key_id == bindparam("key_id"),
    idempotency.c.idempotency_key == bindparam("idempotency_key"),
)
_own_claim = (*_claim, idempotency.c.request_id == bindparam("request_id"))
_of_worker = or_(
    leases.c.worker_id == bindparam("worker_id"), leases.c.worker_id == bindparam("house_id")
)

STATEMENTS: Mapping[str, ClauseElement] = {
    # Balances and leases.
    "BALANCE": select(
        balances.c.free, balances.c.is_exact, balances.c.month, balances.c.month_spent
    ).where(balances.c.account_id == bindparam("account_id")),
    "ADD_BALANCE": insert(balances).values(
        account_id=bindparam("account_id"),
        free=_ZERO,
        is_exact=literal_column("1"),
        month=_ZERO,
        month_spent=_ZERO,
    ),
    "PUT_BALANCE": (
        update(balances)
        .where(balances.c.account_id == bindparam("of_account"))
        .values(
            free=bindparam("free"),
            is_exact=bindparam("is_exact"),
            month=bindparam("month"),
            month_spent=bindparam("month_spent"),
        )
    ),
    "LEASES": select(leases.c.worker_id, leases.c.amount).where(
        leases.c.account_id == bindparam("account_id")
    ),
    "PUT_LEASE": put_row(leases),
    "LEASES_OF_WORKER": select(leases.c.worker_id, leases.c.account_id, leases.c.amount).where(
        _of_worker
    ),
    "DROP_LEASES": delete(leases).where(_of_worker),
    "RETURN_TO_FREE": (
        update(balances)
        .where(balances.c.account_id == bindparam("of_account"))
        .values(free=balances.c.free + bindparam("amount"))
    ),
    "CHARGED_BETWEEN": select(func.coalesce(func.sum(usage_records.c.cost), _ZERO)).where(
        usage_records.c.account_id == bindparam("account_id"),
        usage_records.c.started_s >= bindparam("from_s"),
        usage_records.c.started_s < bindparam("to_s"),
    ),
    # What is appended.
    "ADD_ENTRY": _add(ledger),
    "ADD_RECORD": _add(usage_records),
    "FIND_RECORD": select(usage_records.c.status, usage_records.c.cost, usage_records.c.hold).where(
        usage_records.c.request_id == bindparam("request_id")
    ),
    "ADD_DAY": plus_row(usage_days),
    "ADD_LABEL": plus_row(usage_labels),
    # Workers.
    "ADD_WORKER": insert(workers),
    "TOUCH_WORKER": (
        update(workers).where(workers.c.id == bindparam("worker_id")).values(pid=workers.c.pid)
    ),
    "DROP_WORKER": delete(workers).where(workers.c.id == bindparam("worker_id")),
    "LIST_WORKERS": select(workers.c.id, workers.c.pid),
    "TOUCH_KEY": (
        update(keys)
        .where(
            keys.c.id == bindparam("key_id"),
            func.coalesce(keys.c.last_used_s, _ZERO) < bindparam("at_s"),
        )
        .values(last_used_s=bindparam("at_s"))
    ),
    # Idempotency keys. An expired row may be taken over.
    "FIND_CLAIM": select(
        idempotency.c.body_hash,
        idempotency.c.request_id,
        idempotency.c.worker_id,
        idempotency.c.answer,
    ).where(*_claim, idempotency.c.expires_s > bindparam("now_s")),
    "ADD_CLAIM": _add(idempotency).prefix_with("OR REPLACE", dialect="sqlite"),
    "KEEP_ANSWER": (
        update(idempotency)
        .where(*_own_claim)
        .values(answer=bindparam("kept_answer"), worker_id=null())
    ),
    "DROP_CLAIM": delete(idempotency).where(*_own_claim),
    "DROP_CLAIMS_OF_WORKER": delete(idempotency).where(
        idempotency.c.worker_id == bindparam("worker_id")
    ),
    "COUNT_CLAIMS": select(
        func.count(), func.coalesce(func.sum(func.length(idempotency.c.answer)), _ZERO)
    ).where(idempotency.c.key_id == bindparam("key_id")),
    "DROP_EXPIRED_CLAIMS": delete(idempotency).where(idempotency.c.expires_s <= bindparam("now_s")),
    # Alerts. One that was told before is told anew; one for a month only once.
    "DROP_ALERT": delete(alerts).where(
        alerts.c.account_id == bindparam("account_id"),
        alerts.c.occasion == bindparam("occasion"),
    ),
    "ADD_ALERT": _add(alerts).prefix_with("OR IGNORE", dialect="sqlite"),
}
