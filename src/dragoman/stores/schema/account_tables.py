"""Who may call, and who pays."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKey,
    Index,
    LargeBinary,
    String,
    Table,
    Text,
    UniqueConstraint,
)

from dragoman.stores.schema.columns import Sequence, limits, metadata

plans = Table(
    "plans",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("name", String(200), nullable=False),
    *limits(),
    Column("models", Text),
    Column("created_s", Double, nullable=False),
)

accounts = Table(
    "accounts",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("name", String(200), nullable=False, unique=True),
    Column("plan_id", String(64), ForeignKey("plans.id")),
    Column("is_prepaid", Boolean, nullable=False),
    Column("monthly_limit_nano_usd", BigInteger),
    Column("time_zone", String(64), nullable=False),
    Column("alerts", Text, nullable=False),
    Column("created_s", Double, nullable=False),
    Column("suspended_s", Double),
)

members = Table(
    "members",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("account_id", String(40), ForeignKey("accounts.id"), nullable=False),
    Column("email", String(320), nullable=False),
    Column("role", String(16), nullable=False),
    Column("created_s", Double, nullable=False),
    UniqueConstraint("account_id", "email"),
)

keys = Table(
    "keys",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("name", String(200), nullable=False),
    Column("hash", LargeBinary(32), nullable=False, unique=True),
    Column("hint", String(64), nullable=False),
    Column("created_s", Double, nullable=False),
    Column("revoked_s", Double),
    Column("kind", String(16), nullable=False, server_default="client"),
    Column("account_id", String(40), nullable=False, server_default="acct_default"),
    Column("project", String(200)),
    Column("expires_s", Double),
    Column("last_used_s", Double),
    Column("scopes", Text, nullable=False, server_default="{}"),
    *limits(),
    Column("replaces", String(40)),
    Column("creation_token", String(200)),
    Index("ix_keys_creation", "account_id", "creation_token", unique=True),
)

prices = Table(
    "prices",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("model", String(200), nullable=False),
    Column("valid_from_s", Double, nullable=False),
    Column("source", String(16), nullable=False),
    Column("tiers", Text, nullable=False),
    UniqueConstraint("model", "valid_from_s"),
)

audit_events = Table(
    "audit_events",
    metadata,
    Column("sequence", Sequence, primary_key=True, autoincrement=True),
    Column("at_s", Double, nullable=False),
    Column("actor", String(200), nullable=False),
    Column("action", String(64), nullable=False),
    Column("subject", String(200), nullable=False),
    Column("detail", Text, nullable=False),
    Index("ix_audit_events_subject", "subject", "sequence"),
    sqlite_autoincrement=True,
)

# What the server keeps for itself: secrets that sign, and the like.
server_values = Table(
    "server_values",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("value", LargeBinary, nullable=False),
)
