"""Recomputes every balance and sum from the ledger and the records.

What has to be equal, for every account: its free balance and what the ledger moved into it; what
processes have leased and what the ledger holds; its charges in the ledger and in the sums by day. For
every record: its cost and its charge. For every day: the sums and its records, as far as retention
has left them. For every month under way: what counts against the limit and the records' costs.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from datetime import date
from itertools import islice
from typing import NamedTuple

from dragoman.stores.compiled import verification as sql
from dragoman.stores.erased_labels import read_erased_labels
from dragoman.stores.months import Month, month_numbered
from dragoman.stores.retention_mark import RetentionMark, read_mark

MAX_DIFFERENCES = 1000
_DAY_S = 86_400
_EPOCH_ORDINAL = date(1970, 1, 1).toordinal()
_SUM_NAMES = (
    "requests",
    "input tokens",
    "cached input tokens",
    "cache write tokens",
    "output tokens",
    "reasoning tokens",
    "cost",
    "estimated requests",
)
_DAY_KEYS = ("account", "key", "project", "model", "status")
_LABEL_KEYS = ("account", "label", "value")


class _Books(NamedTuple):
    """An account by the ledger."""

    free: int = 0
    held: int = 0
    held_by_house: int = 0
    charged: int = 0
    charges: int = 0


_NO_BOOKS = _Books()


def differences(connection: sqlite3.Connection) -> list[str]:
    """One sentence for each difference, `MAX_DIFFERENCES` at most, as of the transaction's moment."""
    mark = read_mark(connection)
    return list(islice(_differences(connection, mark), MAX_DIFFERENCES))


def _differences(connection: sqlite3.Connection, mark: RetentionMark) -> Iterator[str]:
    books = {row[0]: _Books(*row[1:]) for row in connection.execute(sql.SQLITE_LEDGER)}
    yield from _misplaced(connection)
    yield from _balances(connection, books)
    yield from _leases(connection, books)
    yield from _charges_by_days(connection, books)
    yield from _charges(connection, books, mark)
    yield from _days(connection, mark)
    yield from _months(connection, mark)


def _misplaced(connection: sqlite3.Connection) -> Iterator[str]:
    for account, sequence, kind, giver, taker in connection.execute(
        sql.SQLITE_MISPLACED, {"most": MAX_DIFFERENCES}
    ):
        yield (
            f"account '{account}': entry {sequence} of the ledger moves from '{giver}' to '{taker}',"
            f" which no '{kind}' does"
        )
    for (account,) in connection.execute(sql.SQLITE_UNKNOWN_ACCOUNTS):
        yield f"account '{account}': it has a balance, and does not exist"
    for (account,) in connection.execute(sql.SQLITE_WITHOUT_BALANCE):
        yield f"account '{account}': it has no balance, not even of 0"


def _balances(connection: sqlite3.Connection, books: dict[str, _Books]) -> Iterator[str]:
    kept = {row[0]: row[1] for row in connection.execute(sql.SQLITE_BALANCES)}
    for account in sorted(kept.keys() | books.keys()):
        expected = books.get(account, _NO_BOOKS).free
        found = kept.get(account, 0)
        if found != expected:
            yield (
                f"account '{account}': the free balance is {found},"
                f" and by the ledger it should be {expected} nano-USD"
            )
        if found < 0:
            yield f"account '{account}': the free balance is below 0: {found} nano-USD"


def _leases(connection: sqlite3.Connection, books: dict[str, _Books]) -> Iterator[str]:
    kept = {row[0]: row[1:] for row in connection.execute(sql.SQLITE_LEASES)}
    for account in sorted(kept.keys() | books.keys()):
        book = books.get(account, _NO_BOOKS)
        free, house, least = kept.get(account, (0, 0, 0))
        for found, expected, whose in (
            (free, book.held, "its balance"),
            (house, book.held_by_house, "the house"),
        ):
            if found != expected:
                yield (
                    f"account '{account}': processes have leased {found} of {whose},"
                    f" and by the ledger {expected} nano-USD are held"
                )
        if least < 0:
            yield f"account '{account}': a lease is below 0: {least} nano-USD"


def _charges_by_days(connection: sqlite3.Connection, books: dict[str, _Books]) -> Iterator[str]:
    kept = dict(connection.execute(sql.SQLITE_CHARGED_BY_DAYS).fetchall())
    for account in sorted(kept.keys() | books.keys()):
        expected = books.get(account, _NO_BOOKS).charged
        found = kept.get(account, 0)
        if found != expected:
            yield (
                f"account '{account}': the sums by day cost {found},"
                f" and the ledger has charged {expected} nano-USD"
            )


def _charges(
    connection: sqlite3.Connection, books: dict[str, _Books], mark: RetentionMark
) -> Iterator[str]:
    """Each record has its own charge; so where there are as many charges as records, none is left."""
    for account, request_id, cost, amount in connection.execute(
        sql.SQLITE_CHARGED_OTHERWISE, {"most": MAX_DIFFERENCES}
    ):
        charged = "no charge" if amount is None else f"a charge of {amount} nano-USD"
        yield (
            f"account '{account}': request '{request_id}' has a record with a cost of {cost},"
            f" and in the ledger {charged}"
        )
    records = connection.execute(sql.SQLITE_COUNT_CHARGED).fetchone()[0]
    charges = sum(book.charges for book in books.values())
    if charges == records + mark.deleted_charged:
        return
    yield (
        f"the ledger has {charges} charges, and there are {records} records with a cost"
        f" and {mark.deleted_charged} that were deleted by age"
    )
    for account, request_id, amount in connection.execute(
        sql.SQLITE_CHARGED_WITHOUT_RECORD, {"cutoff_s": mark.cutoff_s, "most": MAX_DIFFERENCES}
    ):
        yield (
            f"account '{account}': request '{request_id}' was charged {amount} nano-USD,"
            " and has no record with a cost"
        )


def _days(connection: sqlite3.Connection, mark: RetentionMark) -> Iterator[str]:
    """Day by day, so that each comparison fits into memory."""
    from_day = int(mark.cutoff_s // _DAY_S)
    erased = {
        (account, day) for account, days in read_erased_labels(connection).items() for day in days
    }
    days = {row[0] for row in connection.execute(sql.SQLITE_KEPT_DAYS, {"from_day": from_day})}
    for day in sorted(days | set(_days_of_records(connection, from_day))):
        named = date.fromordinal(_EPOCH_ORDINAL + day).isoformat()
        bounds: dict[str, float] = {"from_s": day * _DAY_S, "to_s": (day + 1) * _DAY_S}
        of_day = {"day": day}
        for keys, from_records, from_sums in (
            (_DAY_KEYS, sql.SQLITE_DAY_OF_RECORDS, sql.SQLITE_DAY_OF_SUMS),
            (_LABEL_KEYS, sql.SQLITE_LABELS_OF_RECORDS, sql.SQLITE_LABELS_OF_SUMS),
        ):
            width = len(keys)
            expected = {
                row[:width]: row[width:] for row in connection.execute(from_records, bounds)
            }
            found = {row[:width]: row[width:] for row in connection.execute(from_sums, of_day)}
            if keys is _LABEL_KEYS:
                for key, sums in found.items():
                    if (key[0], day) in erased and _is_within(expected.get(key), sums):
                        expected[key] = sums
            if expected != found:
                yield from _compared(named, keys, expected, found)


def _is_within(records: tuple[int, ...] | None, sums: tuple[int, ...]) -> bool:
    """Whether the sums may be those of the records, and of others whose labels were erased."""
    return records is None or all(a <= b for a, b in zip(records, sums, strict=True))


def _days_of_records(connection: sqlite3.Connection, from_day: int) -> Iterator[int]:
    from_s = from_day * _DAY_S
    while True:
        row = connection.execute(sql.SQLITE_NEXT_STARTED, {"from_s": from_s}).fetchone()
        if row[0] is None:
            return
        day = int(row[0] // _DAY_S)
        yield day
        from_s = (day + 1) * _DAY_S


def _compared(
    day: str,
    keys: tuple[str, ...],
    expected: dict[tuple[str, ...], tuple[int, ...]],
    found: dict[tuple[str, ...], tuple[int, ...]],
) -> Iterator[str]:
    nothing = (0,) * len(_SUM_NAMES)
    for key in sorted(expected.keys() | found.keys()):
        named = ", ".join(f"{name} '{value}'" for name, value in zip(keys, key, strict=True))
        pairs = zip(_SUM_NAMES, found.get(key, nothing), expected.get(key, nothing), strict=True)
        wrong = [f"{name} {a} instead of {b}" for name, a, b in pairs if a != b]
        if wrong:
            yield f"{named}: the sums of {day} differ from its records: {', '.join(wrong)}"


def _months(connection: sqlite3.Connection, mark: RetentionMark) -> Iterator[str]:
    zones = dict(connection.execute(sql.SQLITE_ZONES).fetchall())
    for account, _, month, found in connection.execute(sql.SQLITE_BALANCES).fetchall():
        zone = zones.get(account, "UTC")
        _, from_s, to_s = month_numbered(zone, month) if month else Month(0, 0.0, 0.0)
        if 0.0 < from_s < mark.cutoff_s:
            # Some of its records are gone.
            continue
        expected = connection.execute(
            sql.SQLITE_CHARGED_BETWEEN, {"account_id": account, "from_s": from_s, "to_s": to_s}
        ).fetchone()[0]
        if found != expected:
            yield (
                f"account '{account}': {found} nano-USD count as spent in month {month},"
                f" and by its records it should be {expected}"
            )
