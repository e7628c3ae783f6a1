"""Accounts, their money and their usage; every key so far belongs to the owner's own account."""

from __future__ import annotations

import time

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

# SQLite numbers rows by itself only where the key is an INTEGER.
Sequence = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    _create_accounts()
    _extend_keys()
    _create_prices_and_audit()
    _create_money()
    _create_usage()
    _create_outboxes()
    _seed(time.time())


def _create_accounts() -> None:
    op.create_table(
        "plans",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("name", sa.String(200), nullable=False),
        *_limits(),
        sa.Column("models", sa.Text),
        sa.Column("created_s", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_plans"),
    )
    op.create_table(
        "accounts",
        sa.Column("id", sa.String(40), nullable=False),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("plan_id", sa.String(64)),
        sa.Column("is_prepaid", sa.Boolean, nullable=False),
        sa.Column("monthly_limit_nano_usd", sa.BigInteger),
        sa.Column("time_zone", sa.String(64), nullable=False),
        sa.Column("alerts", sa.Text, nullable=False),
        sa.Column("created_s", sa.Double, nullable=False),
        sa.Column("suspended_s", sa.Double),
        sa.PrimaryKeyConstraint("id", name="pk_accounts"),
        sa.UniqueConstraint("name", name="uq_accounts_name"),
        sa.ForeignKeyConstraint(["plan_id"], ["plans.id"], name="fk_accounts_plan_id"),
    )
    op.create_table(
        "members",
        sa.Column("id", sa.String(40), nullable=False),
        sa.Column("account_id", sa.String(40), nullable=False),
        sa.Column("email", sa.String(320), nullable=False),
        sa.Column("role", sa.String(16), nullable=False),
        sa.Column("created_s", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_members"),
        sa.UniqueConstraint("account_id", "email", name="uq_members_account_id_email"),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name="fk_members_account_id"),
    )


def _extend_keys() -> None:
    with op.batch_alter_table("keys") as batch:
        batch.add_column(sa.Column("kind", sa.String(16), nullable=False, server_default="client"))
        batch.add_column(
            sa.Column("account_id", sa.String(40), nullable=False, server_default="acct_default")
        )
        batch.add_column(sa.Column("project", sa.String(200)))
        batch.add_column(sa.Column("expires_s", sa.Double))
        batch.add_column(sa.Column("last_used_s", sa.Double))
        batch.add_column(sa.Column("scopes", sa.Text, nullable=False, server_default="{}"))
        for column in _limits():
            batch.add_column(column)
        batch.add_column(sa.Column("replaces", sa.String(40)))
        batch.add_column(sa.Column("creation_token", sa.String(200)))
        batch.create_index("ix_keys_creation", ["account_id", "creation_token"], unique=True)


def _create_prices_and_audit() -> None:
    op.create_table(
        "prices",
        sa.Column("id", sa.String(40), nullable=False),
        sa.Column("model", sa.String(200), nullable=False),
        sa.Column("valid_from_s", sa.Double, nullable=False),
        sa.Column("source", sa.String(16), nullable=False),
        sa.Column("tiers", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_prices"),
        sa.UniqueConstraint("model", "valid_from_s", name="uq_prices_model_valid_from_s"),
    )
    op.create_table(
        "audit_events",
        _sequence(),
        sa.Column("at_s", sa.Double, nullable=False),
        sa.Column("actor", sa.String(200), nullable=False),
        sa.Column("action", sa.String(64), nullable=False),
        sa.Column("subject", sa.String(200), nullable=False),
        sa.Column("detail", sa.Text, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_audit_events_subject", "audit_events", ["subject", "sequence"])
    op.create_table(
        "server_values",
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("value", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_server_values"),
    )


def _create_money() -> None:
    op.create_table(
        "balances",
        sa.Column("account_id", sa.String(40), nullable=False),
        sa.Column("free", sa.BigInteger, nullable=False),
        sa.Column("is_exact", sa.Boolean, nullable=False),
        sa.Column("month", sa.Integer, nullable=False),
        sa.Column("month_spent", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("account_id", name="pk_balances"),
        sa.CheckConstraint("free >= 0", name="free_not_negative"),
    )
    op.create_table(
        "workers",
        sa.Column("id", sa.String(40), nullable=False),
        sa.Column("started_s", sa.Double, nullable=False),
        sa.Column("host", sa.String(255), nullable=False),
        sa.Column("pid", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_workers"),
    )
    op.create_table(
        "leases",
        sa.Column("worker_id", sa.String(40), nullable=False),
        sa.Column("account_id", sa.String(40), nullable=False),
        sa.Column("amount", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("worker_id", "account_id", name="pk_leases"),
        sa.CheckConstraint("amount >= 0", name="amount_not_negative"),
    )
    op.create_table(
        "ledger",
        _sequence(),
        sa.Column("posted_s", sa.Double, nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("account_id", sa.String(40), nullable=False),
        sa.Column("amount", sa.BigInteger, nullable=False),
        sa.Column("from_book", sa.String(16), nullable=False),
        sa.Column("to_book", sa.String(16), nullable=False),
        sa.Column("idempotency_key", sa.String(300), nullable=False),
        sa.Column("request_id", sa.String(64)),
        sa.Column("note", sa.String(1000)),
        sa.UniqueConstraint("idempotency_key", name="uq_ledger_idempotency_key"),
        sa.CheckConstraint("amount > 0", name="amount_positive"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_ledger_account", "ledger", ["account_id", "sequence"])


def _create_usage() -> None:
    op.create_table(
        "usage_records",
        _sequence(),
        sa.Column("request_id", sa.String(64), nullable=False),
        sa.Column("account_id", sa.String(40), nullable=False),
        sa.Column("key_id", sa.String(40), nullable=False),
        sa.Column("project", sa.String(200)),
        sa.Column("dialect", sa.String(16), nullable=False),
        sa.Column("model_asked", sa.String(200)),
        sa.Column("model", sa.String(200)),
        sa.Column("provider", sa.String(200)),
        sa.Column("is_stream", sa.Boolean, nullable=False),
        *_tokens(),
        sa.Column("is_estimated", sa.Boolean, nullable=False),
        sa.Column("cost", sa.BigInteger, nullable=False),
        sa.Column("hold", sa.BigInteger, nullable=False),
        sa.Column("price_id", sa.String(40)),
        sa.Column("started_s", sa.Double, nullable=False),
        sa.Column("queued_ms", sa.Double),
        sa.Column("first_token_ms", sa.Double),
        sa.Column("total_ms", sa.Double, nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("finish_reason", sa.String(32)),
        sa.Column("http_status", sa.Integer, nullable=False),
        sa.Column("error", sa.String(64)),
        sa.Column("session_id", sa.String(200)),
        sa.Column("end_user", sa.String(500)),
        sa.Column("labels", sa.Text),
        sa.Column("tags", sa.Text),
        sa.Column("attempts", sa.Text),
        sa.UniqueConstraint("request_id", name="uq_usage_records_request_id"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_usage_records_started", "usage_records", ["started_s"])
    op.create_index("ix_usage_records_account", "usage_records", ["account_id", "started_s"])
    op.create_index("ix_usage_records_key", "usage_records", ["key_id", "started_s"])
    op.create_table(
        "usage_days",
        sa.Column("day", sa.Integer, nullable=False),
        sa.Column("account_id", sa.String(40), nullable=False),
        sa.Column("key_id", sa.String(40), nullable=False),
        sa.Column("project", sa.String(200), nullable=False),
        sa.Column("model", sa.String(200), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        *_sums(),
        sa.PrimaryKeyConstraint(
            "day", "model", "account_id", "key_id", "project", "status", name="pk_usage_days"
        ),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "usage_labels",
        sa.Column("day", sa.Integer, nullable=False),
        sa.Column("account_id", sa.String(40), nullable=False),
        sa.Column("label", sa.String(200), nullable=False),
        sa.Column("value", sa.String(500), nullable=False),
        *_sums(),
        sa.PrimaryKeyConstraint("day", "account_id", "label", "value", name="pk_usage_labels"),
        sqlite_with_rowid=False,
    )


def _create_outboxes() -> None:
    op.create_table(
        "idempotency",
        sa.Column("key_id", sa.String(40), nullable=False),
        sa.Column("idempotency_key", sa.String(255), nullable=False),
        sa.Column("body_hash", sa.LargeBinary(32), nullable=False),
        sa.Column("request_id", sa.String(64), nullable=False),
        sa.Column("worker_id", sa.String(40)),
        sa.Column("answer", sa.LargeBinary),
        sa.Column("expires_s", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("key_id", "idempotency_key", name="pk_idempotency"),
    )
    op.create_index("ix_idempotency_expires", "idempotency", ["expires_s"])
    op.create_table(
        "alerts",
        _sequence(),
        sa.Column("account_id", sa.String(40), nullable=False),
        sa.Column("occasion", sa.String(200), nullable=False),
        sa.Column("payload", sa.Text, nullable=False),
        sa.Column("created_s", sa.Double, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("next_attempt_s", sa.Double),
        sa.Column("delivered_s", sa.Double),
        sa.Column("last_error", sa.String(500)),
        sa.UniqueConstraint("account_id", "occasion", name="uq_alerts_account_id_occasion"),
        sqlite_autoincrement=True,
    )


def _seed(now_s: float) -> None:
    account = sa.text(
        "INSERT INTO accounts (id, name, is_prepaid, time_zone, alerts, created_s)"
        " VALUES ('acct_default', 'default', :no, 'UTC', '{}', :now_s)"
    ).bindparams(sa.bindparam("no", False, sa.Boolean), now_s=now_s)
    balance = sa.text(
        "INSERT INTO balances (account_id, free, is_exact, month, month_spent)"
        " VALUES ('acct_default', 0, :yes, 0, 0)"
    ).bindparams(sa.bindparam("yes", True, sa.Boolean))
    op.execute(account)
    op.execute(balance)


def _sequence() -> sa.Column[int]:
    return sa.Column("sequence", Sequence, primary_key=True, autoincrement=True)


def _limits() -> tuple[sa.Column[int], ...]:
    names = ("requests_per_minute", "tokens_per_minute", "concurrent_requests")
    return tuple(sa.Column(name, sa.BigInteger) for name in names)


def _tokens() -> tuple[sa.Column[int], ...]:
    kinds = ("input", "cached_input", "cache_write", "output", "reasoning")
    return tuple(sa.Column(f"{kind}_tokens", sa.BigInteger, nullable=False) for kind in kinds)


def _sums() -> tuple[sa.Column[int], ...]:
    return (
        sa.Column("requests", sa.BigInteger, nullable=False),
        *_tokens(),
        sa.Column("cost", sa.BigInteger, nullable=False),
        sa.Column("estimated", sa.BigInteger, nullable=False),
    )
