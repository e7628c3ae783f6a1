"""What a dead process leaves is put in order: its money comes back, its requests are recorded.

In one transaction for each: what it had leased is free again, each request that was under way and has no
record gets one, `interrupted` and charged nothing, and its idempotency keys may be used again. The
journal goes last: a sweep that dies itself is done again by the next one, and records nothing twice.
"""

from __future__ import annotations

import fcntl
import logging
import os
import sqlite3
from pathlib import Path

from dragoman.records.usage_record import UsageRecord
from dragoman.stores.appending import positional
from dragoman.stores.compiled import ledger as sql
from dragoman.stores.ledger.journal import JournalDamaged, read_intents, read_seat
from dragoman.stores.ledger.rows import Rollups, Row, record_row
from dragoman.stores.ledger.shared_words import SharedWords
from dragoman.stores.ledger.worker import JOURNAL_SUFFIX, LOCK_NAME, WORDS_NAME, lease_ids
from dragoman.stores.private_files import alone

_log = logging.getLogger("dragoman.ledger")

_SHOWN_IDS = 20


def sweep(connection: sqlite3.Connection, run_dir: Path, now_s: float) -> list[UsageRecord]:
    """Close what every dead process left; returns the records of what was interrupted.

    Raises `sqlite3.Error`, `OSError`.
    """
    with alone(run_dir / LOCK_NAME):
        return sweep_alone(connection, run_dir, now_s)


def sweep_alone(connection: sqlite3.Connection, run_dir: Path, now_s: float) -> list[UsageRecord]:
    """The same, for who is alone already."""
    ids = {str(row[0]) for row in connection.execute(sql.SQLITE_LIST_WORKERS)}
    ids |= {path.name[: -len(JOURNAL_SUFFIX)] for path in run_dir.glob(f"*{JOURNAL_SUFFIX}")}
    records: list[UsageRecord] = []
    for worker_id in sorted(ids):
        records += _sweep_one(
            connection, run_dir / f"{worker_id}{JOURNAL_SUFFIX}", worker_id, now_s
        )
    return records


def _sweep_one(
    connection: sqlite3.Connection, path: Path, worker_id: str, now_s: float
) -> list[UsageRecord]:
    try:
        file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return _close(connection, worker_id, [], now_s)
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return []
        try:
            intents = list(read_intents(file))
        except JournalDamaged as error:
            _log.error("%s cannot be read (%s): its requests are not recorded", path, error)
            intents = []
        records = _close(connection, worker_id, intents, now_s)
        _leave_seat(path.parent, file)
        path.unlink(missing_ok=True)
        return records
    finally:
        os.close(file)


def _leave_seat(run_dir: Path, file: int) -> None:
    """Nobody has to wait any more for slices that came back already."""
    try:
        seat = read_seat(file)
    except JournalDamaged:
        return
    words = SharedWords(run_dir / WORDS_NAME)
    words.clear_seat(seat)
    words.close()


def _close(
    connection: sqlite3.Connection, worker_id: str, intents: list[UsageRecord], now_s: float
) -> list[UsageRecord]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        unsettled = [
            intent
            for intent in intents
            if connection.execute(
                sql.SQLITE_FIND_RECORD, {"request_id": intent.request_id}
            ).fetchone()
            is None
        ]
        _record(connection, unsettled)
        reclaimed = _reclaim(connection, worker_id, now_s)
        connection.execute(sql.SQLITE_DROP_CLAIMS_OF_WORKER, {"worker_id": worker_id})
        connection.execute(sql.SQLITE_DROP_WORKER, {"worker_id": worker_id})
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    if unsettled or reclaimed:
        shown = ", ".join(record.request_id for record in unsettled[:_SHOWN_IDS])
        _log.warning(
            "%s ended without a word: %d requests were interrupted and cost nothing%s; "
            "%d nano-USD that it held are free again",
            worker_id,
            len(unsettled),
            f" ({shown}{', …' if len(unsettled) > _SHOWN_IDS else ''})" if unsettled else "",
            reclaimed,
        )
    return unsettled


def _record(connection: sqlite3.Connection, records: list[UsageRecord]) -> None:
    rollups = Rollups()
    for record in records:
        rollups.add(record, 0)
    connection.executemany(
        positional(sql.SQLITE_ADD_RECORD),
        [record_row(record, 0, record.hold_nano_usd) for record in records],
    )
    connection.executemany(positional(sql.SQLITE_ADD_DAY), rollups.days())
    connection.executemany(positional(sql.SQLITE_ADD_LABEL), rollups.labels())


def _reclaim(connection: sqlite3.Connection, worker_id: str, now_s: float) -> int:
    """Give all that the process had leased back to where it came from; returns how much that was."""
    free_id, house_id = lease_ids(worker_id)
    names = {"worker_id": free_id, "house_id": house_id}
    total, entries = 0, list[Row]()
    for lease_id, account_id, amount in connection.execute(
        sql.SQLITE_LEASES_OF_WORKER, names
    ).fetchall():
        if amount == 0:
            continue
        total += amount
        book = "free" if lease_id == free_id else "house"
        if book == "free":
            values = {"amount": amount, "of_account": account_id}
            connection.execute(sql.SQLITE_RETURN_TO_FREE, values)
        key = f"release:{lease_id}:sweep:{account_id}"
        entries.append((now_s, "release", account_id, amount, "held", book, key, None, None))
    connection.executemany(positional(sql.SQLITE_ADD_ENTRY), entries)
    connection.execute(sql.SQLITE_DROP_LEASES, names)
    return total
