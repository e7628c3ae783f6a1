"""Money."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Double,
    Index,
    Integer,
    String,
    Table,
)

from dragoman.stores.schema.columns import Sequence, metadata

# `free` can be held; `is_exact` says that no process keeps a slice; `month_spent` is what was charged
# for requests that came within `month` of the account's time zone.
balances = Table(
    "balances",
    metadata,
    Column("account_id", String(40), primary_key=True),
    Column("free", BigInteger, nullable=False),
    Column("is_exact", Boolean, nullable=False),
    Column("month", Integer, nullable=False),
    Column("month_spent", BigInteger, nullable=False),
    CheckConstraint("free >= 0", name="free_not_negative"),
)

# One row for each process that serves, from its start until it is found dead and swept.
workers = Table(
    "workers",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("started_s", Double, nullable=False),
    Column("host", String(255), nullable=False),
    Column("pid", Integer, nullable=False),
)

# What a process has taken of an account's free balance and neither charged nor given back: its slice,
# and the holds of its requests under way.
leases = Table(
    "leases",
    metadata,
    Column("worker_id", String(40), primary_key=True),
    Column("account_id", String(40), primary_key=True),
    Column("amount", BigInteger, nullable=False),
    CheckConstraint("amount >= 0", name="amount_not_negative"),
)

ledger = Table(
    "ledger",
    metadata,
    Column("sequence", Sequence, primary_key=True, autoincrement=True),
    Column("posted_s", Double, nullable=False),
    Column("kind", String(16), nullable=False),
    Column("account_id", String(40), nullable=False),
    Column("amount", BigInteger, nullable=False),
    Column("from_book", String(16), nullable=False),
    Column("to_book", String(16), nullable=False),
    Column("idempotency_key", String(300), nullable=False, unique=True),
    Column("request_id", String(64)),
    Column("note", String(1000)),
    CheckConstraint("amount > 0", name="amount_positive"),
    Index("ix_ledger_account", "account_id", "sequence"),
    sqlite_autoincrement=True,
)
