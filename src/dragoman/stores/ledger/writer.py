"""The thread that commits: it takes all that is queued, and does it in one transaction.

While one batch is synced to disk the next one gathers, so that many requests share one sync. When the
database takes no writes, what must not be lost is tried again until it succeeds; what somebody waits for
before anything has begun is refused instead.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from queue import SimpleQueue

import msgspec

from dragoman.chat import NanoUSD
from dragoman.errors import StoreUnavailable
from dragoman.ports import Clock
from dragoman.stores.ledger.conversations import make_storable
from dragoman.stores.ledger.jobs import (
    ClaimJob,
    HoldJob,
    Job,
    NoteJob,
    RecallJob,
    ReturnJob,
    SettleJob,
    TouchJob,
)
from dragoman.stores.ledger.till import Till

_log = logging.getLogger("dragoman.ledger")

MOST_JOBS = 1024
"""Of one transaction."""
REFUSE_AFTER_S = 1.0
"""What nothing depends on yet waits so long for a database that takes no writes."""
LINGER_FROM = 4
"""Where the last transaction had so many jobs, the next ones come fast enough to be waited for."""
LINGER_S = 0.001
_PAUSE_S = 0.05
_SAY_EVERY_S = 10.0

_UNWRITABLE = (
    sqlite3.IntegrityError,
    sqlite3.DataError,
    sqlite3.ProgrammingError,
    ArithmeticError,
    AttributeError,
    LookupError,
    TypeError,
    ValueError,
)
"""What one job's own values can cause, however often it is tried."""

Deliver = Callable[[list[Job]], None]
"""Called in the thread."""


class Writer:
    """`deliver` gets the jobs that are done, `refuse` those that somebody is no longer to wait for."""

    def __init__(
        self, till: Till, clock: Clock, deliver: Deliver, refuse: Deliver, settle_wait_s: float
    ) -> None:
        self._till = till
        self._clock = clock
        self._deliver = deliver
        self._refuse = refuse
        self._settle_wait_s = settle_wait_s
        self._queue: SimpleQueue[list[Job] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="dragoman-ledger", daemon=True)
        self._said_s = float("-inf")
        self._give_up_s = float("inf")

    def start(self) -> None:
        self._thread.start()

    def queue(self, jobs: list[Job]) -> None:
        self._queue.put(jobs)

    def finish(self, within_s: float) -> bool:
        """Do what is queued, and end the thread; whether it all was done. Blocks."""
        if not self._thread.is_alive():
            return True
        self._give_up_s = time.monotonic() + within_s
        self._queue.put(None)
        self._thread.join(within_s + 2 * REFUSE_AFTER_S)
        return not self._thread.is_alive() and self._is_drained

    _is_drained = False

    def _run(self) -> None:
        waiting: list[Job] = []
        is_ending = False
        last = 0
        while True:
            is_ending = self._gather(waiting, is_ending) or is_ending
            if last >= LINGER_FROM and len(waiting) < MOST_JOBS and not is_ending:
                # A transaction costs as much as several jobs: those that are about to come share it.
                time.sleep(LINGER_S)
                is_ending = self._gather(waiting, is_ending)
            if not waiting:
                if is_ending:
                    self._is_drained = True
                    return
                continue
            batch, waiting = waiting[:MOST_JOBS], waiting[MOST_JOBS:]
            last = len(batch)
            left = self._write(batch)
            if left:
                waiting = left + waiting
                if time.monotonic() > self._give_up_s:
                    return
                time.sleep(_PAUSE_S)

    def _gather(self, waiting: list[Job], is_ending: bool) -> bool:
        """Add all that is queued; wait for something only where nothing is there. Whether to end."""
        queue = self._queue
        if not waiting and not is_ending:
            jobs = queue.get()
            if jobs is None:
                return True
            waiting += jobs
        # Nobody else takes what is in it.
        while not queue.empty():
            jobs = queue.get()
            if jobs is None:
                return True
            waiting += jobs
        return False

    def _write(self, batch: list[Job]) -> list[Job]:
        """Do `batch`; returns the jobs that have to be tried again."""
        try:
            self._till.perform(batch)
        except _UNWRITABLE:
            return self._write_carefully(batch)
        except sqlite3.Error as error:
            return self._after_failure(batch, error)
        self._deliver(batch)
        return []

    def _write_carefully(self, batch: list[Job]) -> list[Job]:
        """Something of the batch cannot be written, or is there already: each job by itself."""
        left: list[Job] = []
        for job in batch:
            try:
                self._write_one(job)
            except _UNWRITABLE as error:
                self._drop(job, error)
                continue
            except sqlite3.Error as error:
                left += self._after_failure([job], error)
                continue
            self._deliver([job])
        return left

    def _write_one(self, job: Job) -> None:
        try:
            self._till.perform([job], may_repeat=True)
        except _UNWRITABLE as error:
            if not isinstance(job, SettleJob) or job.keep is None:
                raise
            self._write_without_words(job, error)

    def _write_without_words(self, job: SettleJob, error: Exception) -> None:
        """Rather the settlement without the conversation than neither."""
        request_id = "?" if job.record is None else job.record.request_id
        _log.error(
            "the conversation of request %s cannot be kept whole: %s",
            request_id,
            type(error).__name__,
        )
        try:
            make_storable(job)
            self._till.perform([job], may_repeat=True)
        except _UNWRITABLE:
            job.keep = None
            self._till.perform([job], may_repeat=True)

    def _drop(self, job: Job, error: Exception) -> None:
        """Its hold and its intent stay until this process ends, so that a sweep records it."""
        _log.error("the accounts cannot take a %s: %r", type(job).__name__, error)
        refusal = StoreUnavailable(detail=repr(error))
        if isinstance(job, (HoldJob, ClaimJob)):
            job.error = refusal
        self._refuse([job])

    def _after_failure(self, batch: Sequence[Job], error: sqlite3.Error) -> list[Job]:
        now_s = self._clock.monotonic_s()
        if now_s - self._said_s > _SAY_EVERY_S:
            self._said_s = now_s
            _log.error("the database takes no writes: %s", error)
        left, refused = [], list[Job]()
        for job in batch:
            waited_s = now_s - job.queued_s
            if isinstance(job, (HoldJob, ClaimJob)) and waited_s > REFUSE_AFTER_S:
                job.error = StoreUnavailable(retry_after_s=1, detail=str(error))
                refused.append(job)
            elif isinstance(job, (NoteJob, TouchJob)) and waited_s > self._settle_wait_s:
                continue
            elif isinstance(job, (RecallJob, ReturnJob)):
                refused.append(job)
            else:
                if isinstance(job, SettleJob) and waited_s > self._settle_wait_s and _amend(job):
                    refused.append(job)
                left.append(job)
        if refused:
            self._refuse(refused)
        return left


def _amend(job: SettleJob) -> bool:
    """Let the record say what the client is told: that it failed. Whether anybody was waiting still."""
    record = job.record
    if record is None or job.is_refused:
        return False
    job.is_refused = True
    job.answer = None
    job.record = msgspec.structs.replace(
        record, status="failed", cost_nano_usd=NanoUSD(0), error=StoreUnavailable.code
    )
    return True
