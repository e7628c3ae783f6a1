"""Interactions and what is said of them."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    Index,
    Integer,
    String,
    Table,
    Text,
    text,
)

from dragoman.stores.schema.columns import Sequence, index_of_some, metadata, token_counts

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
    *token_counts(),
    Column("is_estimated", Boolean, nullable=False),
    Column("cost", BigInteger, nullable=False),
    Column("first_token_ms", Double),
    Column("total_ms", Double),
    index_of_some(_IS_OF_CAMPAIGN, "ix_interactions_of_campaigns", "sequence"),
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
    index_of_some(_IS_OF_USER, "ix_feedback_user", "end_user"),
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
    index_of_some(_IS_OF_USER, "ix_comparisons_user", "end_user"),
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
    index_of_some(_IS_OF_USER, "ix_outcomes_user", "end_user"),
    sqlite_autoincrement=True,
)
