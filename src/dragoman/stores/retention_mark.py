"""Up to where usage records were deleted: what no sum can be compared with any more."""

from __future__ import annotations

import sqlite3

import msgspec

from dragoman.stores.compiled import server_values as sql

MARK_NAME = "usage_retention"


class RetentionMark(msgspec.Struct, frozen=True, kw_only=True):
    cutoff_s: float = 0.0
    """Records of requests that came before it are deleted, or are being deleted: midnight, UTC."""
    deleted_charged: int = 0
    """How many of those that were deleted had a cost."""


def read_mark(connection: sqlite3.Connection) -> RetentionMark:
    row = connection.execute(sql.SQLITE_READ_VALUE, {"name": MARK_NAME}).fetchone()
    return RetentionMark() if row is None else msgspec.json.decode(row[0], type=RetentionMark)
