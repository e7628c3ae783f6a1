"""What a client may repeat, and what its owner is told of."""

from __future__ import annotations

from sqlalchemy import (
    Column,
    Double,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    Text,
    UniqueConstraint,
)

from dragoman.stores.schema.columns import Sequence, metadata

# `answer` is empty while the request runs, in `worker_id`.
idempotency = Table(
    "idempotency",
    metadata,
    Column("key_id", String(40), primary_key=True),
    Column("idempotency_key", String(255), primary_key=True),
    Column("body_hash", LargeBinary(32), nullable=False),
    Column("request_id", String(64), nullable=False),
    Column("worker_id", String(40)),
    Column("answer", LargeBinary),
    Column("expires_s", Double, nullable=False),
    Index("ix_idempotency_expires", "expires_s"),
)

alerts = Table(
    "alerts",
    metadata,
    Column("sequence", Sequence, primary_key=True, autoincrement=True),
    Column("account_id", String(40), nullable=False),
    # What it is about, so that it is told once: `balance_below:5000000000`, `month:202611:80`.
    Column("occasion", String(200), nullable=False),
    Column("payload", Text, nullable=False),
    Column("created_s", Double, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("next_attempt_s", Double),
    Column("delivered_s", Double),
    Column("last_error", String(500)),
    UniqueConstraint("account_id", "occasion"),
    sqlite_autoincrement=True,
)
