"""Projects and what belongs to them."""

from __future__ import annotations

from sqlalchemy import (
    Boolean,
    Column,
    Double,
    ForeignKey,
    Integer,
    String,
    Table,
    Text,
    UniqueConstraint,
)

from dragoman.stores.schema.columns import metadata

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
