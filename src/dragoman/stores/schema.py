"""The tables, for every database alike. A change here needs a migration in `migrations/versions`.

Money is integer nano-USD. Times are seconds since the epoch, days are days since the epoch (UTC),
months are numbers like 202611. JSON is text.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    TextClause,
    UniqueConstraint,
    text,
)

# Every constraint has a name, so that a later migration can refer to it on any database.
metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# SQLite numbers rows by itself only where the key is an INTEGER.
Sequence = BigInteger().with_variant(Integer, "sqlite")


def _index_of_some(where: TextClause, name: str, *columns: str, unique: bool = False) -> Index:
    """Of the rows `where` that holds."""
    return Index(name, *columns, unique=unique, sqlite_where=where, postgresql_where=where)


def _counts(*names: str) -> list[Column[int]]:
    return [Column(name, BigInteger, nullable=False) for name in names]


def _limits() -> list[Column[int]]:
    names = ("requests_per_minute", "tokens_per_minute", "concurrent_requests")
    return [Column(name, BigInteger) for name in names]


def _token_counts() -> list[Column[int]]:
    kinds = ("input", "cached_input", "cache_write", "output", "reasoning")
    return _counts(*(f"{kind}_tokens" for kind in kinds))


def _usage_sums() -> list[Column[int]]:
    return [*_counts("requests"), *_token_counts(), *_counts("cost", "estimated")]


def _welford_sums(prefix: str = "") -> list[Column[int] | Column[float]]:
    """Of `records.campaign.Sums`."""
    numbers = (Column(f"{prefix}{name}", Double, nullable=False) for name in ("mean", "m2"))
    return [*_counts(f"{prefix}n"), *numbers]


# --- Who may call, and who pays -----------------------------------------------------------------

plans = Table(
    "plans",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("name", String(200), nullable=False),
    *_limits(),
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
    *_limits(),
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


# --- Money --------------------------------------------------------------------------------------

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


# --- Usage --------------------------------------------------------------------------------------

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
    *_token_counts(),
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
    *_usage_sums(),
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
    *_usage_sums(),
    sqlite_with_rowid=False,
)


# --- What a client may repeat, and what its owner is told of ------------------------------------

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


# --- Projects and what belongs to them ----------------------------------------------------------

projects = Table(
    "projects",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("key", String(64), nullable=False, unique=True),
    Column("name", String(200), nullable=False),
    Column("account_id", String(40), ForeignKey("accounts.id"), nullable=False),
    Column("models", Text, nullable=False),
    Column("default_model", String(200)),
    Column("public", Text),
    Column("content", Text, nullable=False),
    Column("rights", Text, nullable=False),
    Column("applied", Text),
    Column("created_s", Double, nullable=False),
    Column("archived_s", Double),
)

templates = Table(
    "templates",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("project_id", String(40), ForeignKey("projects.id"), nullable=False),
    Column("key", String(64), nullable=False),
    Column("active_version", Integer, nullable=False),
    Column("created_s", Double, nullable=False),
    UniqueConstraint("project_id", "key"),
)

template_versions = Table(
    "template_versions",
    metadata,
    Column("template_id", String(40), ForeignKey("templates.id"), primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("text", Text, nullable=False),
    Column("arguments", Text, nullable=False),
    Column("note", Text),
    Column("created_s", Double, nullable=False),
)

tool_servers = Table(
    "tool_servers",
    metadata,
    Column("key", String(64), primary_key=True),
    Column("kind", String(16), nullable=False),
    Column("url", Text),
    Column("command", Text, nullable=False),
    Column("environment", Text, nullable=False),
    Column("headers", Text, nullable=False),
    Column("tools", Text, nullable=False),
    Column("allow_private", Boolean, nullable=False),
    Column("applied", Text),
    Column("created_s", Double, nullable=False),
    Column("disabled_s", Double),
)

metrics = Table(
    "metrics",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("project_id", String(40), ForeignKey("projects.id"), nullable=False),
    Column("key", String(64), nullable=False),
    Column("name", String(200), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("better", String(32), nullable=False),
    Column("description", Text),
    Column("created_s", Double, nullable=False),
    UniqueConstraint("project_id", "key"),
)


# --- Campaigns, and what was counted of them ----------------------------------------------------

IS_ACTIVE = text("status IN ('WARMUP', 'IN_PROGRESS')")

# `metric_id` refers to no table: it may be a built-in metric's.
campaigns = Table(
    "campaigns",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("project_id", String(40), ForeignKey("projects.id"), nullable=False),
    Column("key", String(64), nullable=False),
    Column("name", String(200), nullable=False),
    Column("metric_id", String(64), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("arms", Text, nullable=False),
    Column("traffic_split", Double, nullable=False),
    Column("auto_deploy", Boolean, nullable=False),
    Column("alpha", Double, nullable=False),
    Column("guard_alpha", Double, nullable=False),
    Column("min_scores", Integer, nullable=False),
    Column("mixture_variance", Double, nullable=False),
    Column("guardrails", Text, nullable=False),
    Column("status", String(16), nullable=False),
    Column("created_s", Double, nullable=False),
    Column("ended_s", Double),
    Column("end_reason", Text),
    Column("winner", String(32)),
    Column("deployed_s", Double),
    Column("least_p", Text, nullable=False),
    UniqueConstraint("project_id", "key"),
    Index("ix_campaigns_metric", "metric_id"),
    # One of a project at a time.
    _index_of_some(IS_ACTIVE, "ix_campaigns_active", "project_id", unique=True),
)

# The sums of `records.campaign.Tally`, each kept in the transaction that keeps what it counts, or the
# mark up to which interactions are counted. `scores` and `later` are Welford's three numbers.
campaign_arms = Table(
    "campaign_arms",
    metadata,
    Column("campaign_id", String(64), primary_key=True),
    Column("arm", String(32), primary_key=True),
    *_counts("units", "requests", "fallbacks"),
    *_welford_sums("scores_"),
    *_welford_sums("later_"),
    sqlite_with_rowid=False,
)

campaign_guards = Table(
    "campaign_guards",
    metadata,
    Column("campaign_id", String(64), primary_key=True),
    Column("arm", String(32), primary_key=True),
    Column("measure", String(32), primary_key=True),
    *_welford_sums(),
    sqlite_with_rowid=False,
)

# Of each unit, what has been counted: only its first counts.
campaign_units = Table(
    "campaign_units",
    metadata,
    Column("campaign_id", String(64), primary_key=True),
    Column("unit", String(600), primary_key=True),
    Column("is_entered", Boolean, nullable=False),
    Column("is_scored", Boolean, nullable=False),
    Column("has_errors", Boolean, nullable=False),
    Column("has_cost", Boolean, nullable=False),
    Column("has_first_token_ms", Boolean, nullable=False),
    sqlite_with_rowid=False,
)

campaign_pairs = Table(
    "campaign_pairs",
    metadata,
    Column("campaign_id", String(64), primary_key=True),
    Column("first_arm", String(32), primary_key=True),
    Column("second_arm", String(32), primary_key=True),
    *_counts("wins", "losses", "ties", "later"),
    sqlite_with_rowid=False,
)

# Who has compared two arms already.
campaign_pair_units = Table(
    "campaign_pair_units",
    metadata,
    Column("campaign_id", String(64), primary_key=True),
    Column("unit", String(1300), primary_key=True),
    Column("first_arm", String(32), primary_key=True),
    Column("second_arm", String(32), primary_key=True),
    sqlite_with_rowid=False,
)


# --- Interactions and what is said of them ------------------------------------------------------

_IS_OF_CAMPAIGN = text("campaign_id IS NOT NULL")
_IS_OF_USER = text("end_user IS NOT NULL")

# `position` is when it was made, as one number that no other row has: what pages are walked by.
# Nothing refers to a table here: what is kept of a request is never refused for what it names.
interactions = Table(
    "interactions",
    metadata,
    Column("sequence", Sequence, primary_key=True, autoincrement=True),
    Column("position", BigInteger, nullable=False, unique=True),
    Column("completion_id", String(64), nullable=False, unique=True),
    Column("request_id", String(64)),
    Column("choice", Integer, nullable=False),
    Column("source", String(16), nullable=False),
    Column("project_id", String(40), nullable=False),
    Column("account_id", String(40), nullable=False),
    Column("key_id", String(100)),
    Column("created_s", Double, nullable=False),
    Column("session_id", String(200), nullable=False),
    Column("end_user", String(500)),
    Column("attached", String(200)),
    Column("model", String(200)),
    Column("template_id", String(40)),
    Column("template_version", Integer),
    Column("labels", Text),
    Column("tags", Text),
    Column("campaign_id", String(64)),
    Column("unit", String(600)),
    Column("arm", String(32)),
    Column("served_arm", String(32)),
    Column("entered_by", String(16)),
    Column("status", String(16), nullable=False),
    Column("error", String(64)),
    Column("finish_reason", String(32)),
    *_token_counts(),
    Column("is_estimated", Boolean, nullable=False),
    Column("cost", BigInteger, nullable=False),
    Column("first_token_ms", Double),
    Column("total_ms", Double),
    _index_of_some(_IS_OF_CAMPAIGN, "ix_interactions_of_campaigns", "sequence"),
    sqlite_autoincrement=True,
)

# What an interaction can be found by, as numbers (`interaction_terms.py`): one index for all filters,
# each list of which is in the order of pages. It may have too many rows, never too few.
interaction_terms = Table(
    "interaction_terms",
    metadata,
    Column("term", BigInteger, primary_key=True, autoincrement=False),
    Column("position", BigInteger, primary_key=True, autoincrement=False),
    sqlite_with_rowid=False,
)

# The words, apart: pages of rows without them are narrow, and they may be deleted earlier.
interaction_contents = Table(
    "interaction_contents",
    metadata,
    Column("sequence", Sequence, primary_key=True, autoincrement=False),
    Column("content", Text, nullable=False),
)

# No standard has such tables. Rows are numbered by `interactions.position`, and hold words that are made
# alike already (`interaction_words.py`): phrases are looked for in the rows, not in the index. That they are
# a copy is wanted: what a row is deleted from the index by has to be exactly what it was added by.
WORD_INDEX_OF_SQLITE = (
    "CREATE VIRTUAL TABLE interaction_words USING fts5("
    "words, detail=none, columnsize=0, tokenize='ascii')"
)

feedback = Table(
    "feedback",
    metadata,
    Column("sequence", Sequence, primary_key=True, autoincrement=True),
    Column("id", String(64), nullable=False, unique=True),
    Column("project_id", String(40), nullable=False),
    Column("completion_id", String(64), nullable=False),
    Column("metric_id", String(64), nullable=False),
    Column("value", Double, nullable=False),
    Column("reason", Text),
    Column("details", Text),
    Column("end_user", String(500)),
    Column("created_s", Double, nullable=False),
    Index("ix_feedback_completion", "completion_id", "metric_id"),
    Index("ix_feedback_metric", "metric_id"),
    _index_of_some(_IS_OF_USER, "ix_feedback_user", "end_user"),
    sqlite_autoincrement=True,
)

comparisons = Table(
    "comparisons",
    metadata,
    Column("sequence", Sequence, primary_key=True, autoincrement=True),
    Column("id", String(64), nullable=False, unique=True),
    Column("project_id", String(40), nullable=False),
    Column("metric_id", String(64), nullable=False),
    Column("preferred_id", String(64), nullable=False),
    Column("other_id", String(64), nullable=False),
    Column("tied", String(8)),
    Column("end_user", String(500)),
    Column("created_s", Double, nullable=False),
    Index("ix_comparisons_project", "project_id", "created_s"),
    Index("ix_comparisons_preferred", "preferred_id"),
    Index("ix_comparisons_other", "other_id"),
    Index("ix_comparisons_metric", "metric_id"),
    _index_of_some(_IS_OF_USER, "ix_comparisons_user", "end_user"),
    sqlite_autoincrement=True,
)

outcomes = Table(
    "outcomes",
    metadata,
    Column("sequence", Sequence, primary_key=True, autoincrement=True),
    Column("id", String(64), nullable=False, unique=True),
    Column("project_id", String(40), nullable=False),
    Column("session_id", String(200), nullable=False),
    Column("metric_id", String(64), nullable=False),
    Column("value", Double, nullable=False),
    Column("end_user", String(500)),
    Column("created_s", Double, nullable=False),
    Index("ix_outcomes_project", "project_id", "created_s"),
    Index("ix_outcomes_session", "session_id", "created_s"),
    Index("ix_outcomes_metric", "metric_id"),
    _index_of_some(_IS_OF_USER, "ix_outcomes_user", "end_user"),
    sqlite_autoincrement=True,
)
