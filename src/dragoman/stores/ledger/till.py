"""The books of one process, without threads or an event loop: holds, and batches of jobs.

`hold_now`, `open_hold` and `close_hold` belong to the event loop; `perform` to the writer. They meet
in the purses, and in the journal's slots, which the loop alone opens and clears.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Sequence
from pathlib import Path

import msgspec

from dragoman.chat import NanoUSD, Usage
from dragoman.ports import Clock
from dragoman.records.hold import Hold, HoldAsk
from dragoman.records.usage_record import UsageRecord
from dragoman.stores.compiled import ledger as sql
from dragoman.stores.connection import DATABASE_NAME
from dragoman.stores.ledger.connection import BUSY_TIMEOUT_S, connect
from dragoman.stores.ledger.jobs import Job, OpenHold, ReturnJob, SettleJob
from dragoman.stores.ledger.purse import Purse
from dragoman.stores.ledger.purses import Purses
from dragoman.stores.ledger.sweep import sweep, sweep_alone
from dragoman.stores.ledger.transaction import Transaction
from dragoman.stores.ledger.worker import LOCK_NAME, RUN_DIR, Worker, enter
from dragoman.stores.private_files import alone
from dragoman.stores.store_failed import StoreFailed

_log = logging.getLogger("dragoman.ledger")

SLICE_NANO_USD = 250_000_000
FRESH_S = 0.020
"""A commit this recent, or the write lock had this recently, shows that the database takes writes,
unless a transaction has failed since."""
IDLE_S = 1.0
"""A slice that nobody held from for so long goes back."""
_SWEEP_WAIT_S = 10.0


class Till:
    def __init__(
        self, connection: sqlite3.Connection, worker: Worker, clock: Clock, run_dir: Path
    ) -> None:
        self.connection = connection
        self.worker = worker
        self.interrupted: list[UsageRecord] = []
        """What the sweep at the start found."""
        self._clock = clock
        self._run_dir = run_dir
        self._purses = Purses(worker.words, worker.journal.seat)
        self._open: dict[int, OpenHold] = {}
        self._returning: set[Purse] = set()
        self._batches = 0
        self._is_full_sync = True
        self._proven_s = float("-inf")

    # --- The event loop's ---

    def hold_now(self, ask: HoldAsk) -> Hold | None:
        now_s = self._clock.monotonic_s()
        if now_s - self._proven_s > FRESH_S:
            return None
        return self.hold_unasked(ask, now_s)

    def hold_unasked(self, ask: HoldAsk, now_s: float) -> Hold | None:
        """A hold that the database need not be asked for. Raises `StoreUnavailable`."""
        if ask.quote.is_free:
            return self.open_hold(ask, NanoUSD(0), ask.quote.asked_output_tokens)
        if ask.account.is_unbounded:
            return self.open_hold(ask, NanoUSD(0), ask.quote.longest_output_tokens)
        found = self._purses.hold_now(ask, now_s)
        if found is None:
            return None
        amount, limit = found
        try:
            return self.open_hold(ask, amount, limit)
        except BaseException:
            self._purses.put_in(ask.account, amount)
            raise

    def can_hold_unasked(self, ask: HoldAsk) -> bool:
        """Whether the database has to say only that it takes writes, not how much there is."""
        return (
            ask.quote.is_free or ask.account.is_unbounded or self._purses.has_unspent(ask.account)
        )

    def open_hold(self, ask: HoldAsk, amount: NanoUSD, limit: int | None) -> Hold:
        """What was taken becomes a hold, its intent kept. Raises `StoreUnavailable`."""
        intent = ask.intent
        if intent.hold_nano_usd != amount:
            intent = msgspec.structs.replace(intent, hold_nano_usd=amount)
        slot = self.worker.journal.write(intent)
        self._open[slot] = OpenHold(ask.account, amount, intent.request_id)
        return Hold(
            request_id=intent.request_id,
            account_id=ask.account.id,
            amount=amount,
            max_output_tokens=limit,
            slot=slot,
        )

    def checkpoint(self, hold: Hold, usage: Usage) -> None:
        if self._is_open(hold):
            self.worker.journal.checkpoint(hold.slot, usage, self._clock.unix_s())

    def close_hold(self, hold: Hold, record: UsageRecord | None) -> SettleJob | None:
        """The job that settles `hold`; `None` where it ended before."""
        if not self._is_open(hold):
            return None
        opened = self._open.pop(hold.slot)
        return SettleJob(opened.account, opened.held, record, hold.slot)

    def clear(self, job: SettleJob) -> None:
        """The job is durable: nothing has to be remembered for a sweep."""
        if job.slot is not None:
            self.worker.journal.clear(job.slot)
            job.slot = None

    def returns(self) -> list[Job]:
        """Jobs that give back the slices that others asked for, or that nobody uses."""
        purses = self._purses.to_return(self._clock.monotonic_s(), IDLE_S)
        due = [purse for purse in purses if purse not in self._returning]
        self._returning.update(due)
        return [ReturnJob(purse) for purse in due]

    def returned(self, job: ReturnJob) -> None:
        """The job is done, or came to nothing."""
        self._returning.discard(job.purse)

    @property
    def has_slices(self) -> bool:
        return bool(self._purses.filled)

    @property
    def open_holds(self) -> int:
        return len(self._open)

    def _is_open(self, hold: Hold) -> bool:
        opened = self._open.get(hold.slot)
        return opened is not None and opened.request_id == hold.request_id

    # --- The writer's ---

    def perform(self, jobs: Sequence[Job], *, may_repeat: bool = False) -> None:
        """Do `jobs` in one transaction, durable where one is a settlement. Raises `sqlite3.Error`,
        with nothing changed."""
        connection = self.connection
        self._synchronize(is_full=any(isinstance(job, SettleJob) and job.record for job in jobs))
        self._batches += 1
        transaction = Transaction(
            connection, self.worker, self._purses, self._batches, self._clock.unix_s()
        )
        try:
            connection.execute("BEGIN IMMEDIATE")
            # A large batch takes longer than what a commit proves, and nobody else can be in the way.
            self._proven_s = self._clock.monotonic_s()
            transaction.perform(jobs, may_repeat=may_repeat)
            connection.execute("COMMIT")
        except BaseException:
            self._proven_s = float("-inf")
            transaction.roll_back()
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        now_s = self._clock.monotonic_s()
        transaction.committed(now_s)
        self._proven_s = now_s

    def _synchronize(self, *, is_full: bool) -> None:
        if is_full != self._is_full_sync:
            self.connection.execute(f"PRAGMA synchronous={'FULL' if is_full else 'NORMAL'}")
            self._is_full_sync = is_full

    # --- Either's ---

    def sweep_dead(self) -> list[UsageRecord]:
        """Close what dead processes left, over a connection of its own. Raises `StoreFailed`."""
        return sweep_dead(self._run_dir.parent, self._clock)

    def close(self) -> None:
        """Return the slices, and leave; what is still open is left to the next sweep."""
        is_clean = False
        try:
            self.perform([ReturnJob(purse) for purse in list(self._purses.filled)])
            if not self._open and self.worker.journal.taken() == 0:
                with alone(self._run_dir / LOCK_NAME):
                    is_clean = self._leave()
        except sqlite3.Error as error:
            _log.warning(
                "the database took no farewell (%s): the next start puts it in order", error
            )
        finally:
            self.connection.close()
            self.worker.release(remove=is_clean)

    def _leave(self) -> bool:
        sweep_leases = {
            "worker_id": self.worker.lease_ids[0],
            "house_id": self.worker.lease_ids[1],
        }
        leases = self.connection.execute(sql.SQLITE_LEASES_OF_WORKER, sweep_leases).fetchall()
        if any(amount for _, _, amount in leases):
            return False
        self.connection.execute(sql.SQLITE_DROP_LEASES, sweep_leases)
        self.connection.execute(sql.SQLITE_DROP_CLAIMS_OF_WORKER, {"worker_id": self.worker.id})
        self.connection.execute(sql.SQLITE_DROP_WORKER, {"worker_id": self.worker.id})
        return True


def open_till(data_dir: Path, clock: Clock, *, workers: int, slice_nano_usd: int) -> Till:
    """Sweep what dead processes left, and begin. The database must be there, at the newest schema.

    Raises `StoreFailed`.
    """
    run_dir = data_dir / RUN_DIR
    try:
        run_dir.mkdir(mode=0o700, exist_ok=True)
        connection = connect(data_dir / DATABASE_NAME, _SWEEP_WAIT_S)
        try:
            with alone(run_dir / LOCK_NAME):
                interrupted = sweep_alone(connection, run_dir, clock.unix_s())
                worker = enter(connection, run_dir, clock.unix_s(), slice_nano_usd, workers)
            connection.execute(f"PRAGMA busy_timeout={int(BUSY_TIMEOUT_S * 1000)}")
        except BaseException:
            connection.close()
            raise
    except (sqlite3.Error, OSError) as error:
        raise StoreFailed(f"the accounts in {data_dir} cannot be opened: {error}") from error
    till = Till(connection, worker, clock, run_dir)
    till.interrupted = interrupted
    return till


def sweep_dead(data_dir: Path, clock: Clock) -> list[UsageRecord]:
    """Close what dead processes left; returns the records of what was interrupted.

    Raises `StoreFailed`.
    """
    run_dir = data_dir / RUN_DIR
    try:
        run_dir.mkdir(mode=0o700, exist_ok=True)
        connection = connect(data_dir / DATABASE_NAME, _SWEEP_WAIT_S)
        try:
            return sweep(connection, run_dir, clock.unix_s())
        finally:
            connection.close()
    except (sqlite3.Error, OSError) as error:
        raise StoreFailed(f"what dead processes left could not be closed: {error}") from error
