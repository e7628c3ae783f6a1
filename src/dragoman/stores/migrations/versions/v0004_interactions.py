"""Interactions, their words, and what is said of them: feedback, comparisons, outcomes."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

# SQLite numbers rows by itself only where the key is an INTEGER.
Sequence = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    _create_interactions()
    _create_words()
    _create_feedback()


def _create_interactions() -> None:
    op.create_table(
        "interactions",
        _sequence(),
        sa.Column("position", sa.BigInteger, nullable=False),
        sa.Column("completion_id", sa.String(64), nullable=False),
        sa.Column("request_id", sa.String(64)),
        sa.Column("choice", sa.Integer, nullable=False),
        sa.Column("source", sa.String(16), nullable=False),
        sa.Column("project_id", sa.String(40), nullable=False),
        sa.Column("account_id", sa.String(40), nullable=False),
        sa.Column("key_id", sa.String(100)),
        sa.Column("created_s", sa.Double, nullable=False),
        sa.Column("session_id", sa.String(200), nullable=False),
        sa.Column("end_user", sa.String(500)),
        sa.Column("attached", sa.String(200)),
        sa.Column("model", sa.String(200)),
        sa.Column("template_id", sa.String(40)),
        sa.Column("template_version", sa.Integer),
        sa.Column("labels", sa.Text),
        sa.Column("tags", sa.Text),
        sa.Column("campaign_id", sa.String(64)),
        sa.Column("unit", sa.String(600)),
        sa.Column("arm", sa.String(32)),
        sa.Column("served_arm", sa.String(32)),
        sa.Column("entered_by", sa.String(16)),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("error", sa.String(64)),
        sa.Column("finish_reason", sa.String(32)),
        *_tokens(),
        sa.Column("is_estimated", sa.Boolean, nullable=False),
        sa.Column("cost", sa.BigInteger, nullable=False),
        sa.Column("first_token_ms", sa.Double),
        sa.Column("total_ms", sa.Double),
        sa.UniqueConstraint("position", name="uq_interactions_position"),
        sa.UniqueConstraint("completion_id", name="uq_interactions_completion_id"),
        sqlite_autoincrement=True,
    )
    is_of_campaign = sa.text("campaign_id IS NOT NULL")
    op.create_index(
        "ix_interactions_of_campaigns",
        "interactions",
        ["sequence"],
        sqlite_where=is_of_campaign,
        postgresql_where=is_of_campaign,
    )
    op.create_table(
        "interaction_terms",
        sa.Column("term", sa.BigInteger, nullable=False),
        sa.Column("position", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("term", "position", name="pk_interaction_terms"),
        sqlite_with_rowid=False,
    )


def _create_words() -> None:
    op.create_table(
        "interaction_contents",
        sa.Column("sequence", Sequence, primary_key=True, autoincrement=False),
        sa.Column("content", sa.Text, nullable=False),
    )
    if op.get_bind().dialect.name == "sqlite":
        op.execute(
            "CREATE VIRTUAL TABLE interaction_words USING fts5("
            "words, detail=none, columnsize=0, tokenize='ascii')"
        )


def _create_feedback() -> None:
    op.create_table(
        "feedback",
        _sequence(),
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("project_id", sa.String(40), nullable=False),
        sa.Column("completion_id", sa.String(64), nullable=False),
        sa.Column("metric_id", sa.String(64), nullable=False),
        sa.Column("value", sa.Double, nullable=False),
        sa.Column("reason", sa.Text),
        sa.Column("details", sa.Text),
        sa.Column("end_user", sa.String(500)),
        sa.Column("created_s", sa.Double, nullable=False),
        sa.UniqueConstraint("id", name="uq_feedback_id"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_feedback_completion", "feedback", ["completion_id", "metric_id"])
    op.create_index("ix_feedback_metric", "feedback", ["metric_id"])
    _index_users("feedback")
    op.create_table(
        "comparisons",
        _sequence(),
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("project_id", sa.String(40), nullable=False),
        sa.Column("metric_id", sa.String(64), nullable=False),
        sa.Column("preferred_id", sa.String(64), nullable=False),
        sa.Column("other_id", sa.String(64), nullable=False),
        sa.Column("tied", sa.String(8)),
        sa.Column("end_user", sa.String(500)),
        sa.Column("created_s", sa.Double, nullable=False),
        sa.UniqueConstraint("id", name="uq_comparisons_id"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_comparisons_project", "comparisons", ["project_id", "created_s"])
    op.create_index("ix_comparisons_preferred", "comparisons", ["preferred_id"])
    op.create_index("ix_comparisons_other", "comparisons", ["other_id"])
    op.create_index("ix_comparisons_metric", "comparisons", ["metric_id"])
    _index_users("comparisons")
    op.create_table(
        "outcomes",
        _sequence(),
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("project_id", sa.String(40), nullable=False),
        sa.Column("session_id", sa.String(200), nullable=False),
        sa.Column("metric_id", sa.String(64), nullable=False),
        sa.Column("value", sa.Double, nullable=False),
        sa.Column("end_user", sa.String(500)),
        sa.Column("created_s", sa.Double, nullable=False),
        sa.UniqueConstraint("id", name="uq_outcomes_id"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_outcomes_project", "outcomes", ["project_id", "created_s"])
    op.create_index("ix_outcomes_session", "outcomes", ["session_id", "created_s"])
    op.create_index("ix_outcomes_metric", "outcomes", ["metric_id"])
    _index_users("outcomes")


def _index_users(table: str) -> None:
    is_of_user = sa.text("end_user IS NOT NULL")
    op.create_index(
        f"ix_{table}_user",
        table,
        ["end_user"],
        sqlite_where=is_of_user,
        postgresql_where=is_of_user,
    )


def _sequence() -> sa.Column[int]:
    return sa.Column("sequence", Sequence, primary_key=True, autoincrement=True)


def _tokens() -> tuple[sa.Column[int], ...]:
    kinds = ("input", "cached_input", "cache_write", "output", "reasoning")
    return tuple(sa.Column(f"{kind}_tokens", sa.BigInteger, nullable=False) for kind in kinds)
