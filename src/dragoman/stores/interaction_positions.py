"""Where an interaction stands among all: one number that is when it was made, and no other row's.

Microseconds since the epoch, and room for 1,024 rows within each. More of one moment (an import that
knows no better) go behind the last one of the same second, or further: their order is that of their coming.
Pages are walked by it, every filter's list is sorted by it, and a row never changes it: so a cursor stays
good whatever is added.
"""

from __future__ import annotations

import math
import sqlite3

from dragoman.stores.appending import positional
from dragoman.stores.compiled import interactions as sql

AFTER_ALL = (1 << 63) - 1
BEFORE_ALL = -1
_MOMENT_BITS = 10
_LATEST_US = 1 << 52
"""A century from now; what is said to be later is kept as of then."""
_SECOND_BITS = 30
_WINDOWS = (_MOMENT_BITS, _SECOND_BITS, 50, 62)
_LAST = positional(sql.SQLITE_LAST_POSITION)


def first_position(created_s: float) -> int:
    """The least that an interaction made then can have."""
    if math.isnan(created_s):
        raise ValueError("no time")
    return int(max(0.0, min(created_s * 1e6, float(_LATEST_US)))) << _MOMENT_BITS


def last_position(created_s: float) -> int:
    """A bound beyond those of interactions made earlier, those that had to give way included."""
    return first_position(created_s) + (1 << _SECOND_BITS)


class Positions:
    """Finds free ones, within one write transaction."""

    __slots__ = ("_connection", "_given")

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._given: set[int] = set()

    def take(self, created_s: float) -> int:
        """Raises `sqlite3.Error`, and `ValueError` where there is none."""
        base = first_position(created_s)
        for bits in _WINDOWS:
            end = min(base + (1 << bits), AFTER_ALL)
            last = self._connection.execute(_LAST, (base, end)).fetchone()[0]
            position = base if last is None else int(last) + 1
            while position in self._given:
                position += 1
            if position < end:
                self._given.add(position)
                return position
        raise ValueError("no room for another interaction")
