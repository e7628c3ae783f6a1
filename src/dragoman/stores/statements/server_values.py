"""What is asked of the server's own values."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import bindparam, select
from sqlalchemy.dialects import sqlite
from sqlalchemy.sql import ClauseElement

from dragoman.stores.schema import server_values

_insert = sqlite.insert(server_values)

STATEMENTS: Mapping[str, ClauseElement] = {
    "READ_VALUE": select(server_values.c.value).where(server_values.c.name == bindparam("name")),
    "ADD_VALUE": _insert.on_conflict_do_nothing(),
    "PUT_VALUE": _insert.on_conflict_do_update(
        index_elements=["name"], set_={"value": _insert.excluded["value"]}
    ),
}
