"""Who generates now, who waits, and who is turned away: first come, first served, bounded."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from dragoman.errors import InvalidRequest, Overloaded

FIRST_GUESS_S = 5.0
"""How long an answer takes, until some have been seen."""


class Ticket:
    """A place in the queue, then a slot. Must be released, once or more often, by whoever holds it."""

    __slots__ = ("_slots", "_started_s", "_turn")

    def __init__(self, slots: Slots, turn: asyncio.Future[None]) -> None:
        self._slots = slots
        self._turn = turn
        self._started_s: float | None = None

    async def wait(self) -> None:
        """Return when the slot is this ticket's."""
        await asyncio.shield(self._turn)
        self._started_s = self._slots.now_s()

    def when_turn(self, then: Callable[[], object]) -> None:
        """Have `then` called when the slot is this ticket's, for someone who waits elsewhere."""

        def on_turn(turn: asyncio.Future[None]) -> None:
            if not turn.cancelled():
                self._started_s = self._slots.now_s()
                then()

        self._turn.add_done_callback(on_turn)

    def release(self) -> None:
        slots, self._slots = self._slots, _NO_SLOTS
        slots.give_back(self._turn, self._started_s)


class Slots:
    """`total` slots and a queue of at most `max_queue` before them."""

    def __init__(self, total: int, max_queue: int, now_s: Callable[[], float]) -> None:
        self.now_s = now_s
        self._total = total
        self._max_queue = max_queue
        self._free = total
        self._queue: deque[asyncio.Future[None]] = deque()
        self._mean_s = FIRST_GUESS_S

    @property
    def in_use(self) -> int:
        return self._total - self._free

    @property
    def waiting(self) -> int:
        return len(self._queue)

    def take(self, count: int) -> list[Ticket]:
        """All of `count` tickets, or none: `Overloaded` where they would pass the queue's bound.

        Each is waited for and released by itself, so that those of one request cannot deadlock with
        those of another.
        """
        if count > self._total + self._max_queue:
            raise InvalidRequest(
                f"n must be at most {self._total + self._max_queue} for this model", param="n"
            )
        if len(self._queue) + count - self._free > self._max_queue:
            raise Overloaded(retry_after_s=self._wait_s())
        loop = asyncio.get_running_loop()
        tickets = []
        for _ in range(count):
            turn: asyncio.Future[None] = loop.create_future()
            if self._free:
                self._free -= 1
                turn.set_result(None)
            else:
                self._queue.append(turn)
            tickets.append(Ticket(self, turn))
        return tickets

    def give_back(self, turn: asyncio.Future[None], started_s: float | None) -> None:
        if not turn.done():
            turn.cancel()
            self._queue.remove(turn)
            return
        if started_s is not None:
            self._mean_s += 0.2 * (self.now_s() - started_s - self._mean_s)
        while self._queue:
            following = self._queue.popleft()
            if not following.done():
                following.set_result(None)
                return
        self._free += 1

    def _wait_s(self) -> float:
        """How long until the queue has moved on by one place for each slot, in whole seconds."""
        return float(min(60, max(1, round(self._mean_s))))


class _Released(Slots):
    """What a released ticket belongs to."""

    def __init__(self) -> None:
        super().__init__(0, 0, lambda: 0.0)

    def give_back(self, turn: asyncio.Future[None], started_s: float | None) -> None:
        pass


_NO_SLOTS = _Released()
