"""Statements with their values in order, and rows that are added many at a time.

Values by position cost the driver a third less than values by name.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Sequence
from itertools import chain

Value = str | bytes | float | None

_NAME = re.compile(r"(?<=[=(\s]):(\w+)")


def positional(text: str) -> str:
    """The compiled `text` with `?` for each named value, in the order in which they stand."""
    return _NAME.sub("?", text)


MOST_ROWS = 32
"""Of one statement that adds rows."""


class Appending:
    """A compiled insert that adds several rows in one step.

    The driver lets go of the interpreter at each step, and a busy event loop is slow to give it back.
    So a step for each row would cost more in waiting and in switches of threads than in work.
    """

    def __init__(self, text: str) -> None:
        head, found, row = positional(text).strip().partition(" VALUES ")
        if not found or not row.startswith("(") or not row.endswith(")"):
            raise ValueError(f"not an insert of a row's values: {text}")
        self._texts: dict[int, str] = {}
        count = 1
        # Powers of two: few statements to keep, and few steps for any number.
        while count <= MOST_ROWS:
            self._texts[count] = f"{head} VALUES {', '.join([row] * count)}"
            count *= 2

    def add(self, connection: sqlite3.Connection, rows: Sequence[Sequence[Value]]) -> None:
        """Raises `sqlite3.Error`, with any number of rows added."""
        at, left = 0, len(rows)
        while left:
            count = min(MOST_ROWS, 1 << (left.bit_length() - 1))
            values: Sequence[Value]
            values = rows[at] if count == 1 else list(chain.from_iterable(rows[at : at + count]))
            connection.execute(self._texts[count], values)
            at, left = at + count, left - count
