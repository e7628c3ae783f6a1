"""Rows that are added many at a time."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

import pytest

from dragoman.stores.appending import MOST_ROWS, Appending

ADD = "INSERT INTO things (name, size) VALUES (:name, :size)\n"


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    opened = sqlite3.connect(":memory:", isolation_level=None)
    opened.execute("CREATE TABLE things (id INTEGER PRIMARY KEY, name TEXT UNIQUE, size INTEGER)")
    yield opened
    opened.close()


@pytest.mark.parametrize("count", [0, 1, 2, 3, MOST_ROWS - 1, MOST_ROWS, 2 * MOST_ROWS + 7])
def test_any_number_of_rows_is_added_in_order(connection: sqlite3.Connection, count: int) -> None:
    rows = [(f"thing {number}", number) for number in range(count)]
    Appending(ADD).add(connection, rows)
    assert connection.execute("SELECT name, size FROM things ORDER BY id").fetchall() == rows


def test_few_steps_add_many_rows(connection: sqlite3.Connection) -> None:
    steps: list[str] = []
    connection.set_trace_callback(steps.append)
    Appending(ADD).add(connection, [(str(number), number) for number in range(MOST_ROWS + 5)])
    assert len(steps) == 3


def test_row_that_is_there_already_is_an_error(connection: sqlite3.Connection) -> None:
    with pytest.raises(sqlite3.IntegrityError):
        Appending(ADD).add(connection, [("a", 1), ("b", 2), ("a", 3)])


def test_only_inserts_of_a_row_can_be_repeated() -> None:
    with pytest.raises(ValueError, match="not an insert"):
        Appending("UPDATE things SET size = :size")
