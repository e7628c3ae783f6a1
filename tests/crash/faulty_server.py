"""`dragoman` with a fault built in: `python -m tests.crash.faulty_server POINT COUNT serve …`

The process kills itself, with SIGKILL, at the COUNTth time that it comes to POINT; the code that runs up
to there is the server's own. `finish-before-commit` is a fault of another kind: it tells that an answer
is settled before it is, which a test has to notice.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from dragoman.__main__ import main
from dragoman.pipeline.tab import Tab
from dragoman.records.hold import Hold
from dragoman.records.usage_record import UsageRecord
from dragoman.stores.ledger.jobs import Job, SettleJob
from dragoman.stores.ledger.ledger import SqliteLedger
from dragoman.stores.ledger.till import Till
from dragoman.stores.ledger.transaction import Transaction
from dragoman.web.call import Call

LATE_S = 0.05
SENT_S = 0.005

_left = 0


def _come_by() -> None:
    global _left  # noqa: PLW0603 - the process has one fault
    _left -= 1
    if _left == 0:
        os.kill(os.getpid(), signal.SIGKILL)


def _before(owner: type, name: str) -> None:
    """Die instead of calling it."""
    real: Callable[..., Any] = getattr(owner, name)

    def call(*arguments: Any, **named: Any) -> Any:
        _come_by()
        return real(*arguments, **named)

    setattr(owner, name, call)


def _after(owner: type, name: str) -> None:
    """Die when it has returned."""
    real: Callable[..., Any] = getattr(owner, name)

    def call(*arguments: Any, **named: Any) -> Any:
        result = real(*arguments, **named)
        _come_by()
        return result

    setattr(owner, name, call)


def _settles(jobs: Sequence[Job]) -> bool:
    return any(isinstance(job, SettleJob) and job.record is not None for job in jobs)


def _before_commit() -> None:
    """Everything of the transaction is written, and nothing is committed."""
    real = Transaction.perform

    def perform(self: Transaction, jobs: Sequence[Job], *, may_repeat: bool) -> None:
        real(self, jobs, may_repeat=may_repeat)
        if _settles(jobs):
            _come_by()

    Transaction.perform = perform  # type: ignore[method-assign]


def _after_commit() -> None:
    """The settlement is durable, and the event loop does not know."""
    real = Till.perform

    def perform(self: Till, jobs: Sequence[Job], *, may_repeat: bool = False) -> None:
        real(self, jobs, may_repeat=may_repeat)
        if _settles(jobs):
            _come_by()

    Till.perform = perform  # type: ignore[method-assign]


def _before_finish() -> None:
    """The event loop knows that the settlement is durable, and has sent nothing yet."""
    real = SqliteLedger._deliver

    def deliver(self: SqliteLedger, jobs: list[Job]) -> None:
        real(self, jobs)
        if _settles(jobs):
            _come_by()

    SqliteLedger._deliver = deliver  # type: ignore[method-assign]


def _send(*, is_end: bool) -> None:
    real = Call.send_body

    async def send_body(self: Call, body: bytes, *, more: bool = False) -> None:
        await real(self, body, more=more)
        if more != is_end and self.status == 200:
            # What was written leaves the process at the end of the event loop's turn.
            asyncio.get_running_loop().call_later(SENT_S, _come_by)

    Call.send_body = send_body  # type: ignore[method-assign]


def _finish_before_commit() -> None:
    """Settle late, and say at once that it is done; die when an answer was sent."""
    real = SqliteLedger.settle

    def settle(
        self: SqliteLedger, hold: Hold, record: UsageRecord, **kept: Any
    ) -> Awaitable[UsageRecord]:
        loop = asyncio.get_running_loop()
        loop.call_later(LATE_S, lambda: real(self, hold, record, **kept))
        done: asyncio.Future[UsageRecord] = loop.create_future()
        done.set_result(record)
        return done

    SqliteLedger.settle = settle  # type: ignore[method-assign]
    _send(is_end=True)


POINTS: dict[str, Callable[[], None]] = {
    "before-intent": lambda: _before(Till, "open_hold"),
    "after-intent": lambda: _after(Till, "open_hold"),
    "mid-stream": lambda: _send(is_end=False),
    "before-commit": _before_commit,
    "after-commit": _after_commit,
    "before-finish": _before_finish,
    "after-finish": lambda: _send(is_end=True),
}
ROUND_POINTS: dict[str, Callable[[], None]] = {
    "between-rounds": lambda: _after(Tab, "end_round"),
}
"""Where only requests with server-side tools come by."""
FAULTS = {**POINTS, **ROUND_POINTS, "finish-before-commit": _finish_before_commit}


def run() -> None:
    global _left  # noqa: PLW0603
    point, count = sys.argv[1:3]
    _left = int(count)
    FAULTS[point]()
    sys.argv[1:3] = []
    main()


if __name__ == "__main__":
    run()
