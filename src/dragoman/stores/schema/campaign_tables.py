"""Campaigns, and what was counted of them."""

from __future__ import annotations

from sqlalchemy import (
    Boolean,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from dragoman.stores.schema.columns import counts, index_of_some, metadata, welford_sums

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
    index_of_some(IS_ACTIVE, "ix_campaigns_active", "project_id", unique=True),
)

# The sums of `records.campaign.Tally`, each kept in the transaction that keeps what it counts, or the
# mark up to which interactions are counted. `scores` and `later` are Welford's three numbers.
campaign_arms = Table(
    "campaign_arms",
    metadata,
    Column("campaign_id", String(64), primary_key=True),
    Column("arm", String(32), primary_key=True),
    *counts("units", "requests", "fallbacks"),
    *welford_sums("scores_"),
    *welford_sums("later_"),
    sqlite_with_rowid=False,
)

campaign_guards = Table(
    "campaign_guards",
    metadata,
    Column("campaign_id", String(64), primary_key=True),
    Column("arm", String(32), primary_key=True),
    Column("measure", String(32), primary_key=True),
    *welford_sums(),
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
    *counts("wins", "losses", "ties", "later"),
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
