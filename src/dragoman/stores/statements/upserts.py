"""Statements that add a row, or change the one that is there already."""

from __future__ import annotations

from sqlalchemy import Table
from sqlalchemy.dialects import sqlite
from sqlalchemy.sql import ClauseElement


def put_row(table: Table) -> ClauseElement:
    """Add a row, or write the one with its primary key anew."""
    adding = sqlite.insert(table)
    return adding.on_conflict_do_update(
        index_elements=list(table.primary_key.columns),
        set_={name: adding.excluded[name] for name in names_beside_key(table)},
    )


def plus_row(table: Table) -> ClauseElement:
    """Add a row, or its numbers to those of the one with its primary key."""
    adding = sqlite.insert(table)
    return adding.on_conflict_do_update(
        index_elements=list(table.primary_key.columns),
        set_={name: table.c[name] + adding.excluded[name] for name in names_beside_key(table)},
    )


def names_beside_key(table: Table) -> list[str]:
    return [column.name for column in table.columns if not column.primary_key]
