"""On which days records lost their labels because their user was erased: the sums by label keep them, and so
may be above their records there."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

import msgspec

from dragoman.stores.compiled import server_values as sql

MARK_NAME = "erased_labels"

ErasedLabels = dict[str, list[int]]
"""Days since the epoch, by account."""


def read_erased_labels(connection: sqlite3.Connection) -> ErasedLabels:
    row = connection.execute(sql.SQLITE_READ_VALUE, {"name": MARK_NAME}).fetchone()
    return {} if row is None else msgspec.json.decode(row[0], type=ErasedLabels)


def mark_erased_labels(
    connection: sqlite3.Connection, account_id: str, days: Iterable[int]
) -> None:
    """Within a write transaction."""
    marked = read_erased_labels(connection)
    known = marked.get(account_id, [])
    marked[account_id] = sorted({*known, *days})
    if marked[account_id] != known:
        value = msgspec.json.encode(marked)
        connection.execute(sql.SQLITE_PUT_VALUE, {"name": MARK_NAME, "value": value})
