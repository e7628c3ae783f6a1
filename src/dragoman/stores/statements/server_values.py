"""What is asked of the server's own values."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import bindparam, select
from sqlalchemy.dialects import sqlite
from sqlalchemy.sql import ClauseElement

from dragoman.stores.schema import server_values
from dragoman.stores.statements.upserts import put_row

STATEMENTS: Mapping[str, ClauseElement] = {
    "READ_VALUE": select(server_values.c.value).where(server_values.c.name == bindparam("name")),
    "ADD_VALUE": sqlite.insert(server_values).on_conflict_do_nothing(),
    "PUT_VALUE": put_row(server_values),
}
