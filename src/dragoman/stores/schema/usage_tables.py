"""Usage."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    Index,
    Integer,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
)

from dragoman.stores.schema.columns import Sequence, metadata, token_counts, usage_sums

usage_records = Table(
    "usage_records",
    metadata,
    Column("sequence", Sequence, primary_key=True, autoincrement=True),
    Column("request_id", String(64), nullable=False, unique=True),
    Column("account_id", String(40), nullable=False),
    Column("key_id", String(40), nullable=False),
    Column("project", String(200)),
    Column("dialect", String(16), nullable=False),
    Column("model_asked", String(200)),
    Column("model", String(200)),
    Column("provider", String(200)),
    Column("is_stream", Boolean, nullable=False),
    *token_counts(),
    Column("is_estimated", Boolean, nullable=False),
    Column("cost", BigInteger, nullable=False),
    Column("hold", BigInteger, nullable=False),
    Column("price_id", String(40)),
    Column("started_s", Double, nullable=False),
    Column("queued_ms", Double),
    Column("first_token_ms", Double),
    Column("total_ms", Double, nullable=False),
    Column("status", String(16), nullable=False),
    Column("finish_reason", String(32)),
    Column("http_status", Integer, nullable=False),
    Column("error", String(64)),
    Column("session_id", String(200)),
    Column("end_user", String(500)),
    Column("labels", Text),
    Column("tags", Text),
    Column("attempts", Text),
    # Pages and periods, of everybody, of an account, of a key: in the order in which requests came.
    Index("ix_usage_records_started", "started_s"),
    Index("ix_usage_records_account", "account_id", "started_s"),
    Index("ix_usage_records_key", "key_id", "started_s"),
    sqlite_autoincrement=True,
)

# Sums over usage_records, kept in the transaction that adds the record. `project` and `model` are ''
# where a record has none. Rows lie by day and model, so that sums by them need no sorting.
usage_days = Table(
    "usage_days",
    metadata,
    Column("day", Integer, nullable=False),
    Column("account_id", String(40), nullable=False),
    Column("key_id", String(40), nullable=False),
    Column("project", String(200), nullable=False),
    Column("model", String(200), nullable=False),
    Column("status", String(16), nullable=False),
    *usage_sums(),
    PrimaryKeyConstraint("day", "model", "account_id", "key_id", "project", "status"),
    sqlite_with_rowid=False,
)

usage_labels = Table(
    "usage_labels",
    metadata,
    Column("day", Integer, primary_key=True),
    Column("account_id", String(40), primary_key=True),
    Column("label", String(200), primary_key=True),
    Column("value", String(500), primary_key=True),
    *usage_sums(),
    sqlite_with_rowid=False,
)
