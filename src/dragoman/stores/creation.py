"""The newest schema in an empty database, made at once."""

from __future__ import annotations

import sqlite3
import time

from dragoman.records.account import DEFAULT_ACCOUNT
from dragoman.stores.compiled import tables
from dragoman.stores.revisions import HEAD


def create_schema(connection: sqlite3.Connection) -> None:
    """Make the newest schema in an empty database, whole or not at all.

    Raises `sqlite3.Error`, also where another process made it first.
    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        for text in tables.SQLITE_TABLES:
            connection.execute(text)
        connection.execute("INSERT INTO alembic_version (version_num) VALUES (?)", (HEAD,))
        for text, values in _seed_rows(time.time()):
            connection.execute(text, values)
        connection.execute("COMMIT")
    except sqlite3.Error:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _seed_rows(now_s: float) -> list[tuple[str, tuple[str | float, ...]]]:
    """What a new database begins with: the owner's own account."""
    return [
        (
            "INSERT INTO accounts (id, name, is_prepaid, time_zone, alerts, created_s)"
            " VALUES (?, 'default', 0, 'UTC', '{}', ?)",
            (DEFAULT_ACCOUNT, now_s),
        ),
        (
            "INSERT INTO balances (account_id, free, is_exact, month, month_spent)"
            " VALUES (?, 0, 1, 0, 0)",
            (DEFAULT_ACCOUNT,),
        ),
    ]
