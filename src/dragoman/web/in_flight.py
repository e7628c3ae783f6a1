"""The answers under way, so that a stop can wait for them, refuse new ones and cut what is left.

Each is guarded while it runs: the task that answers is cancelled when its client goes, or when the
server's grace has run out, and finds out here which of the two it was.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Literal, Protocol

from dragoman.errors import Draining
from dragoman.web.call import Call

WhyCancelled = Literal["client_gone", "server_stops"]

WATCH_AFTER_S = 0.25
"""Most answers are over sooner, and are spared the cost of a watcher. What happens to the client
meanwhile is seen when the watch begins, well within the second in which it has to be."""


class Settles(Protocol):
    """Something that knows when an answer may not be taken back any more."""

    @property
    def is_closed(self) -> bool: ...


class Guard:
    """Cancels the current task when the client goes. Enter it after the body was read.

    On leaving, a cancellation that came from here is turned into `on_cancelled`'s business: it is
    swallowed, and `why` tells its reason. Once `settles` is closed the answer is paid for: a stop of the
    server then lets it end.
    """

    __slots__ = ("_call", "_in_flight", "_settles", "_task", "_timer", "_watch", "why")

    def __init__(self, call: Call, in_flight: InFlight, settles: Settles | None = None) -> None:
        self._call = call
        self._in_flight = in_flight
        self._settles = settles
        self._watch: asyncio.Task[None] | None = None
        self.why: WhyCancelled | None = None

    def __enter__(self) -> Guard:
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        self._in_flight.add(self)
        self._timer = task.get_loop().call_later(WATCH_AFTER_S, self._begin_watch)
        return self

    def _begin_watch(self) -> None:
        self._watch = self._task.get_loop().create_task(self._watch_client())

    async def _watch_client(self) -> None:
        await self._call.wait_for_disconnect()
        self.cancel("client_gone")

    def cancel(self, why: WhyCancelled) -> None:
        if why == "server_stops" and self._settles is not None and self._settles.is_closed:
            return
        if self.why is None:
            self.why = why
            self._task.cancel()

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        self._timer.cancel()
        if self._watch is not None:
            self._watch.cancel()
        self._in_flight.discard(self)
        if self.why is not None and exc_type is asyncio.CancelledError:
            self._task.uncancel()
            return True
        return False


class InFlight:
    """All guards of the process."""

    def __init__(self) -> None:
        self._guards: set[Guard] = set()
        self.is_draining = False
        self._when_empty: Callable[[], None] | None = None

    def __len__(self) -> int:
        return len(self._guards)

    def add(self, guard: Guard) -> None:
        if self.is_draining:
            raise Draining(retry_after_s=1)
        self._guards.add(guard)

    def discard(self, guard: Guard) -> None:
        self._guards.discard(guard)
        if not self._guards and self._when_empty is not None:
            self._when_empty()

    async def drain(self, grace_s: float) -> int:
        """Refuse new answers, wait for those under way, then cut the rest and say how many."""
        self.is_draining = True
        if not self._guards:
            return 0
        empty = asyncio.Event()
        self._when_empty = empty.set
        try:
            async with asyncio.timeout(grace_s):
                await empty.wait()
        except TimeoutError:
            left = list(self._guards)
            for guard in left:
                guard.cancel("server_stops")
            return len(left)
        return 0
