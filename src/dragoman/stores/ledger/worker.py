"""This process, as the others know it: a row, a journal that it keeps locked, and a seat.

A process is dead when its journal is not locked, whatever the time: the kernel lets go of the lock when
the process ends, however it ends, and not before.
"""

from __future__ import annotations

import os
import secrets
import socket
import sqlite3
from pathlib import Path

from dragoman.stores.compiled import ledger as sql
from dragoman.stores.ledger.claims import Claims
from dragoman.stores.ledger.journal import Journal, JournalDamaged, read_seat
from dragoman.stores.ledger.shared_words import SEATS, SharedWords
from dragoman.stores.months import Calendar
from dragoman.stores.private_files import open_private
from dragoman.stores.store_failed import StoreFailed

RUN_DIR = "run"
WORDS_NAME = "slices"
LOCK_NAME = "workers.lock"
"""One process at a time enters, or sweeps."""
JOURNAL_SUFFIX = ".journal"
_HOUSE_SUFFIX = ".house"


def lease_ids(worker_id: str) -> tuple[str, str]:
    """What stands in `leases.worker_id`, by `Backing`.

    Two rows, so that what an account that is not prepaid holds never comes back as its own money.
    """
    return worker_id, worker_id + _HOUSE_SUFFIX


class Worker:
    def __init__(
        self,
        worker_id: str,
        journal: Journal,
        words: SharedWords,
        slice_nano_usd: int,
        workers: int,
    ) -> None:
        self.id = worker_id
        self.lease_ids = lease_ids(worker_id)
        self.journal = journal
        self.words = words
        self.slice_nano_usd = slice_nano_usd
        self.workers = workers
        self.claims = Claims(worker_id)
        self.calendar = Calendar()

    def epoch(self, word: int) -> int:
        return self.words.epochs[word]

    def raise_epoch(self, word: int) -> None:
        self.words.raise_epoch(word)

    def is_leased_by_others(self, word: int) -> bool:
        return self.words.is_leased_by_others(self.journal.seat, word)

    def release(self, *, remove: bool) -> None:
        """No longer live. Unless `remove`, what it leaves is for the next sweep."""
        self.words.clear_seat(self.journal.seat)
        self.words.close()
        self.journal.close(remove=remove)


def enter(
    connection: sqlite3.Connection,
    run_dir: Path,
    now_s: float,
    slice_nano_usd: int,
    workers: int,
) -> Worker:
    """Become one of the processes that serve; call it alone (`LOCK_NAME`). Raises `sqlite3.Error`, `OSError`."""
    worker_id = f"worker_{secrets.token_hex(10)}"
    words = SharedWords(run_dir / WORDS_NAME)
    try:
        seat = _free_seat(run_dir)
        words.clear_seat(seat)
        journal = Journal(run_dir / f"{worker_id}{JOURNAL_SUFFIX}", seat)
        try:
            row = {
                "id": worker_id,
                "started_s": now_s,
                "host": socket.gethostname()[:255],
                "pid": os.getpid(),
            }
            connection.execute(sql.SQLITE_ADD_WORKER, row)
        except sqlite3.Error:
            journal.close(remove=True)
            raise
    except BaseException:
        words.close()
        raise
    return Worker(worker_id, journal, words, slice_nano_usd, workers)


def _free_seat(run_dir: Path) -> int:
    taken = set()
    for path in run_dir.glob(f"*{JOURNAL_SUFFIX}"):
        file = open_private(path)
        try:
            taken.add(read_seat(file))
        except JournalDamaged:
            continue
        finally:
            os.close(file)
    for seat in range(SEATS):
        if seat not in taken:
            return seat
    raise StoreFailed(f"{run_dir} has {SEATS} processes already; end some, or use another data_dir")
