"""`ports.Accounting` on SQLite: an event loop's side of the books.

The loop holds from memory where it can, keeps intents in a mapped journal, and queues the rest for the
writer's thread. What one turn of the loop queues reaches the thread together.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path

from dragoman.chat import Usage
from dragoman.errors import StoreUnavailable
from dragoman.ports import Clock
from dragoman.ports.accounting import Keep
from dragoman.records.hold import Hold, HoldAsk
from dragoman.records.idempotency import Claim, KeptAnswer
from dragoman.records.key import KeyId
from dragoman.records.usage_record import UsageRecord
from dragoman.stores.ledger.jobs import (
    ClaimJob,
    GiveUpJob,
    HoldJob,
    Job,
    NoteJob,
    RecallJob,
    ReturnJob,
    SettleJob,
    TouchJob,
)
from dragoman.stores.ledger.notes import NoteBounds
from dragoman.stores.ledger.till import SLICE_NANO_USD, Till, open_till
from dragoman.stores.ledger.writer import REFUSE_AFTER_S, Writer

_log = logging.getLogger("dragoman.ledger")

SETTLE_WAIT_S = 10.0
RETRY_S = 0.005
CONTENTION_S = 0.1
"""How long a hold waits for other processes to give their slices back."""
NOTE_DELAY_S = 0.05
DRAIN_S = 10.0


class SqliteLedger:
    def __init__(self, till: Till, clock: Clock, *, settle_wait_s: float = SETTLE_WAIT_S) -> None:
        self._till = till
        self._clock = clock
        self._writer = Writer(
            till, clock, self._deliver_from_thread, self._refuse_from_thread, settle_wait_s
        )
        self._notes = NoteBounds()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._queued: list[Job] = []
        self._later: list[Job] = []
        self._settling: dict[str, asyncio.Future[UsageRecord]] = {}
        self._is_watching = False
        self._is_closed = False

    @property
    def interrupted(self) -> list[UsageRecord]:
        """What was under way in processes that had died before this one began."""
        return self._till.interrupted

    @property
    def notes_dropped(self) -> int:
        """How many records of refusals were not kept, because there were too many."""
        return self._notes.dropped

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Belong to `loop` from here on; the first call that needs it does so by itself."""
        if self._loop is None:
            self._loop = loop
            self._writer.start()

    def sweep_dead(self) -> list[UsageRecord]:
        """Close what dead processes left: synchronous. Raises `StoreFailed`."""
        return self._till.sweep_dead()

    async def aclose(self) -> None:
        """Make durable what is queued, give the slices back, and leave."""
        if self._is_closed:
            return
        self._is_closed = True
        if self._loop is None:
            self._till.close()
            return
        self._flush()
        self._flush_later()
        self._flush()
        is_drained = await self._loop.run_in_executor(None, self._writer.finish, DRAIN_S)
        # What the thread delivered last is cleared by callbacks that are queued before this.
        await asyncio.sleep(0)
        if not is_drained:
            # The thread still has the connection. The end of the process lets go of the journal.
            _log.error("the database took no writes: what is under way is left to the next start")
            return
        await self._loop.run_in_executor(None, self._till.close)

    # --- Accounting ---

    def hold_now(self, ask: HoldAsk) -> Hold | None:
        if self._is_closed:
            return None
        hold = self._till.hold_now(ask)
        if hold is not None and not self._is_watching and self._till.has_slices:
            self._watch()
        return hold

    async def hold(self, ask: HoldAsk) -> Hold:
        now_s = self._clock.monotonic_s()
        last_s = now_s + CONTENTION_S
        if self._till.can_hold_unasked(ask):
            await self._prove_writable()
            hold = self._till.hold_unasked(ask, now_s)
            if hold is not None:
                return hold
        while True:
            job = HoldJob(ask)
            await self._wait_for(job)
            if job.error is None:
                return self._begin(job, ask)
            if not job.is_contended or self._clock.monotonic_s() >= last_s:
                raise job.error
            await asyncio.sleep(RETRY_S)

    def checkpoint(self, hold: Hold, usage: Usage) -> None:
        if not self._is_closed:
            self._till.checkpoint(hold, usage)

    def settle(
        self,
        hold: Hold,
        record: UsageRecord,
        *,
        claim: Claim | None = None,
        answer: bytes | None = None,
        keep: Keep | None = None,
    ) -> Awaitable[UsageRecord]:
        loop = self._running()
        if self._is_closed:
            # Its intent is still in the journal: the next start records it as interrupted.
            unsettled: asyncio.Future[UsageRecord] = loop.create_future()
            _resolve(unsettled, None)
            return unsettled
        job = self._till.close_hold(hold, record)
        settled: asyncio.Future[UsageRecord]
        if job is None:
            # It ended before: what is under way, or was kept, is the answer.
            settling = self._settling.get(record.request_id)
            if settling is not None:
                return asyncio.shield(settling)
            settled = loop.create_future()
            self._put(RecallJob(record, settled))
            return settled
        job.claim, job.answer, job.keep = claim, answer, keep
        settled = loop.create_future()
        job.settled = settled
        self._settling[record.request_id] = settled
        self._put(job)
        return settled

    async def claim(self, claim: Claim) -> KeptAnswer | None:
        job = ClaimJob(claim)
        try:
            await self._wait_for(job)
        except BaseException:
            # It may have been taken all the same.
            self.give_up(claim)
            raise
        if job.error is not None:
            raise job.error
        return job.kept

    def give_up(self, claim: Claim) -> None:
        self._put(GiveUpJob(claim))

    def note(self, record: UsageRecord) -> None:
        if self._notes.admits(record.key_id, self._clock.monotonic_s(), len(self._later)):
            self._put_later(NoteJob(record))

    def touch(self, key_id: KeyId, at_s: float) -> None:
        """Note that a key was used; kept to within a minute."""
        if self._notes.is_touch_due(key_id, at_s):
            self._put_later(TouchJob(key_id, at_s))

    # --- Queueing ---

    def _running(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            self.start(asyncio.get_running_loop())
        assert self._loop is not None
        return self._loop

    def _put(self, job: Job) -> None:
        """Queue `job` with what else this turn of the loop queues."""
        if self._is_closed:
            return
        job.queued_s = self._clock.monotonic_s()
        if not self._queued:
            self._running().call_soon(self._flush)
        self._queued.append(job)

    def _put_later(self, job: Job) -> None:
        """Queue `job` with the next transaction that there is, or some time soon."""
        if self._is_closed:
            return
        job.queued_s = self._clock.monotonic_s()
        if not self._later:
            self._running().call_later(NOTE_DELAY_S, self._flush_later)
        self._later.append(job)

    def _flush_later(self) -> None:
        if self._later and not self._queued:
            self._running().call_soon(self._flush)
            self._queued, self._later = self._later, []

    def _flush(self) -> None:
        if not self._queued:
            return
        jobs, self._queued = self._queued + self._later, []
        self._later = []
        self._writer.queue(jobs)

    async def _wait_for(self, job: HoldJob | ClaimJob) -> None:
        """Queue `job` and wait until it is done. Raises `StoreUnavailable`."""
        if self._is_closed:
            raise StoreUnavailable(retry_after_s=1)
        waiter = self._running().create_future()
        job.future = waiter
        self._put(job)
        try:
            async with asyncio.timeout(2 * REFUSE_AFTER_S):
                await waiter
        except TimeoutError as error:
            raise StoreUnavailable(retry_after_s=1) from error
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled():
                # The answer came in the same turn of the loop as the cancellation.
                self._let_go(job)
            raise

    async def _prove_writable(self) -> None:
        """Wait for a commit. Raises `StoreUnavailable`."""
        job = HoldJob(None)
        await self._wait_for(job)
        if job.error is not None:
            raise job.error

    def _begin(self, job: HoldJob, ask: HoldAsk) -> Hold:
        try:
            hold = self._till.open_hold(ask, job.amount, job.max_output_tokens)
        except StoreUnavailable:
            self._put(SettleJob(ask.account, job.amount, None, None))
            raise
        if not self._is_watching and self._till.has_slices:
            self._watch()
        return hold

    # --- What comes back ---

    def _deliver_from_thread(self, jobs: list[Job]) -> None:
        self._call_from_thread(self._deliver, jobs)

    def _refuse_from_thread(self, jobs: list[Job]) -> None:
        self._call_from_thread(self._refuse, jobs)

    def _call_from_thread(self, what: Callable[[list[Job]], None], jobs: list[Job]) -> None:
        assert self._loop is not None
        try:
            self._loop.call_soon_threadsafe(what, jobs)
        except RuntimeError:
            # The loop is closed: nobody waits any more, and what is written stays written.
            _log.debug("the event loop was closed before %d jobs were delivered", len(jobs))

    def _deliver(self, jobs: list[Job]) -> None:
        for job in jobs:
            if isinstance(job, SettleJob):
                self._till.clear(job)
                self._end_settlement(job, job.kept)
            elif isinstance(job, HoldJob):
                self._deliver_hold(job)
            elif isinstance(job, RecallJob):
                _resolve(job.settled, job.kept)
            elif isinstance(job, ReturnJob):
                self._till.returned(job)
            elif isinstance(job, ClaimJob):
                _wake(job)
        if not self._is_watching and self._till.has_slices:
            self._watch()

    def _deliver_hold(self, job: HoldJob) -> None:
        if not _wake(job):
            self._let_go(job)

    def _let_go(self, job: Job) -> None:
        """Whoever asked has gone: nothing stays held."""
        if isinstance(job, HoldJob) and job.error is None and job.amount and job.ask is not None:
            self._put(SettleJob(job.ask.account, job.amount, None, None))

    def _refuse(self, jobs: list[Job]) -> None:
        for job in jobs:
            if isinstance(job, SettleJob):
                self._end_settlement(job, None)
            elif isinstance(job, RecallJob):
                _resolve(job.settled, None)
            elif isinstance(job, ReturnJob):
                self._till.returned(job)
            else:
                _wake(job)

    def _end_settlement(self, job: SettleJob, kept: UsageRecord | None) -> None:
        settled, job.settled = job.settled, None
        if settled is not None and job.record is not None:
            self._settling.pop(job.record.request_id, None)
            _resolve(settled, kept)

    # --- Slices ---

    def _watch(self) -> None:
        """See every few milliseconds whether other processes ask for our slices, while there are any."""
        self._is_watching = True
        self._running().call_later(RETRY_S, self._look)

    def _look(self) -> None:
        if self._is_closed or not self._till.has_slices:
            self._is_watching = False
            return
        for job in self._till.returns():
            self._put(job)
        self._running().call_later(RETRY_S, self._look)


def _wake(job: Job) -> bool:
    """Whether somebody still waited for `job`."""
    if job.future is None or job.future.done():
        return False
    job.future.set_result(job)
    return True


def _resolve(settled: asyncio.Future[UsageRecord], kept: UsageRecord | None) -> None:
    if settled.done():
        return
    if kept is not None:
        settled.set_result(kept)
        return
    settled.set_exception(StoreUnavailable(retry_after_s=1))
    # A settlement may be left alone: a failure that nobody looks at is no accident.
    settled.exception()


def open_ledger(
    data_dir: Path,
    clock: Clock,
    *,
    workers: int = 1,
    slice_nano_usd: int = SLICE_NANO_USD,
    settle_wait_s: float = SETTLE_WAIT_S,
) -> SqliteLedger:
    """Sweep what dead processes left, and begin to serve; `workers` is how many are configured.

    The database must be there, at the newest schema: open the store first. Synchronous. Raises
    `StoreFailed`.
    """
    till = open_till(data_dir, clock, workers=workers, slice_nano_usd=slice_nano_usd)
    return SqliteLedger(till, clock, settle_wait_s=settle_wait_s)
