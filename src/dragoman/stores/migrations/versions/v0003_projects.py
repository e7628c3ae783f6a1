"""Projects with their templates, metrics and campaigns, and the servers that run tools."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    _create_projects()
    _create_templates()
    _create_tool_servers()
    _create_metrics()
    _create_campaigns()
    _create_counts()
    _create_units()


def _create_projects() -> None:
    op.create_table(
        "projects",
        sa.Column("id", sa.String(40), nullable=False),
        sa.Column("key", sa.String(64), nullable=False),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("account_id", sa.String(40), nullable=False),
        sa.Column("models", sa.Text, nullable=False),
        sa.Column("default_model", sa.String(200)),
        sa.Column("public", sa.Text),
        sa.Column("content", sa.Text, nullable=False),
        sa.Column("rights", sa.Text, nullable=False),
        sa.Column("applied", sa.Text),
        sa.Column("created_s", sa.Double, nullable=False),
        sa.Column("archived_s", sa.Double),
        sa.PrimaryKeyConstraint("id", name="pk_projects"),
        sa.UniqueConstraint("key", name="uq_projects_key"),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name="fk_projects_account_id"),
    )


def _create_templates() -> None:
    op.create_table(
        "templates",
        sa.Column("id", sa.String(40), nullable=False),
        sa.Column("project_id", sa.String(40), nullable=False),
        sa.Column("key", sa.String(64), nullable=False),
        sa.Column("active_version", sa.Integer, nullable=False),
        sa.Column("created_s", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_templates"),
        sa.UniqueConstraint("project_id", "key", name="uq_templates_project_id_key"),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name="fk_templates_project_id"),
    )
    op.create_table(
        "template_versions",
        sa.Column("template_id", sa.String(40), nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("arguments", sa.Text, nullable=False),
        sa.Column("note", sa.Text),
        sa.Column("created_s", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("template_id", "version", name="pk_template_versions"),
        sa.ForeignKeyConstraint(
            ["template_id"], ["templates.id"], name="fk_template_versions_template_id"
        ),
    )


def _create_tool_servers() -> None:
    op.create_table(
        "tool_servers",
        sa.Column("key", sa.String(64), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("url", sa.Text),
        sa.Column("command", sa.Text, nullable=False),
        sa.Column("environment", sa.Text, nullable=False),
        sa.Column("headers", sa.Text, nullable=False),
        sa.Column("tools", sa.Text, nullable=False),
        sa.Column("allow_private", sa.Boolean, nullable=False),
        sa.Column("applied", sa.Text),
        sa.Column("created_s", sa.Double, nullable=False),
        sa.Column("disabled_s", sa.Double),
        sa.PrimaryKeyConstraint("key", name="pk_tool_servers"),
    )


def _create_metrics() -> None:
    op.create_table(
        "metrics",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("project_id", sa.String(40), nullable=False),
        sa.Column("key", sa.String(64), nullable=False),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("better", sa.String(32), nullable=False),
        sa.Column("description", sa.Text),
        sa.Column("created_s", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_metrics"),
        sa.UniqueConstraint("project_id", "key", name="uq_metrics_project_id_key"),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name="fk_metrics_project_id"),
    )


def _create_campaigns() -> None:
    op.create_table(
        "campaigns",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("project_id", sa.String(40), nullable=False),
        sa.Column("key", sa.String(64), nullable=False),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("metric_id", sa.String(64), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("arms", sa.Text, nullable=False),
        sa.Column("traffic_split", sa.Double, nullable=False),
        sa.Column("auto_deploy", sa.Boolean, nullable=False),
        sa.Column("alpha", sa.Double, nullable=False),
        sa.Column("guard_alpha", sa.Double, nullable=False),
        sa.Column("min_scores", sa.Integer, nullable=False),
        sa.Column("mixture_variance", sa.Double, nullable=False),
        sa.Column("guardrails", sa.Text, nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("created_s", sa.Double, nullable=False),
        sa.Column("ended_s", sa.Double),
        sa.Column("end_reason", sa.Text),
        sa.Column("winner", sa.String(32)),
        sa.Column("deployed_s", sa.Double),
        sa.Column("least_p", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_campaigns"),
        sa.UniqueConstraint("project_id", "key", name="uq_campaigns_project_id_key"),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name="fk_campaigns_project_id"),
    )
    op.create_index("ix_campaigns_metric", "campaigns", ["metric_id"])
    is_active = sa.text("status IN ('WARMUP', 'IN_PROGRESS')")
    op.create_index(
        "ix_campaigns_active",
        "campaigns",
        ["project_id"],
        unique=True,
        sqlite_where=is_active,
        postgresql_where=is_active,
    )


def _create_counts() -> None:
    op.create_table(
        "campaign_arms",
        sa.Column("campaign_id", sa.String(64), nullable=False),
        sa.Column("arm", sa.String(32), nullable=False),
        *_counts("units", "requests", "fallbacks"),
        *_sums("scores_"),
        *_sums("later_"),
        sa.PrimaryKeyConstraint("campaign_id", "arm", name="pk_campaign_arms"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "campaign_guards",
        sa.Column("campaign_id", sa.String(64), nullable=False),
        sa.Column("arm", sa.String(32), nullable=False),
        sa.Column("measure", sa.String(32), nullable=False),
        *_sums(),
        sa.PrimaryKeyConstraint("campaign_id", "arm", "measure", name="pk_campaign_guards"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "campaign_pairs",
        sa.Column("campaign_id", sa.String(64), nullable=False),
        sa.Column("first_arm", sa.String(32), nullable=False),
        sa.Column("second_arm", sa.String(32), nullable=False),
        *_counts("wins", "losses", "ties", "later"),
        sa.PrimaryKeyConstraint("campaign_id", "first_arm", "second_arm", name="pk_campaign_pairs"),
        sqlite_with_rowid=False,
    )


def _create_units() -> None:
    op.create_table(
        "campaign_units",
        sa.Column("campaign_id", sa.String(64), nullable=False),
        sa.Column("unit", sa.String(600), nullable=False),
        sa.Column("is_entered", sa.Boolean, nullable=False),
        sa.Column("is_scored", sa.Boolean, nullable=False),
        sa.Column("has_errors", sa.Boolean, nullable=False),
        sa.Column("has_cost", sa.Boolean, nullable=False),
        sa.Column("has_first_token_ms", sa.Boolean, nullable=False),
        sa.PrimaryKeyConstraint("campaign_id", "unit", name="pk_campaign_units"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "campaign_pair_units",
        sa.Column("campaign_id", sa.String(64), nullable=False),
        sa.Column("unit", sa.String(1300), nullable=False),
        sa.Column("first_arm", sa.String(32), nullable=False),
        sa.Column("second_arm", sa.String(32), nullable=False),
        sa.PrimaryKeyConstraint(
            "campaign_id", "unit", "first_arm", "second_arm", name="pk_campaign_pair_units"
        ),
        sqlite_with_rowid=False,
    )


def _counts(*names: str) -> tuple[sa.Column[int], ...]:
    return tuple(sa.Column(name, sa.BigInteger, nullable=False) for name in names)


def _sums(prefix: str = "") -> tuple[sa.Column[int] | sa.Column[float], ...]:
    return (
        sa.Column(f"{prefix}n", sa.BigInteger, nullable=False),
        sa.Column(f"{prefix}mean", sa.Double, nullable=False),
        sa.Column(f"{prefix}m2", sa.Double, nullable=False),
    )
