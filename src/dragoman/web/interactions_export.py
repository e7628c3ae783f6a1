"""Files of interactions, sent piece by piece: what has not been sent is not read.

Each export has a thread's time piece by piece, waits for its client between them, and ends when that goes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

from dragoman.errors import Draining, Overloaded, RateLimited
from dragoman.records.account import AccountId
from dragoman.web.call import Call
from dragoman.web.in_flight import Guard, InFlight

THREADS = 2
MAX_RUNNING = 8
"""Exports, of everybody."""
MAX_OF_ONE = 2
"""Of one account."""

_HEADERS = (
    (b"content-type", b"application/jsonl; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"content-disposition", b'attachment; filename="interactions.jsonl"'),
    (b"x-content-type-options", b"nosniff"),
)

Pieces = Iterator[bytes]


class Exports:
    def __init__(self, in_flight: InFlight) -> None:
        self._in_flight = in_flight
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="export")
        self._running: dict[AccountId, int] = {}

    async def send(self, call: Call, account_id: AccountId, make: Callable[[], Pieces]) -> None:
        """Answer `call` with all pieces; `make` is called in a thread, as they are.

        Raises `RateLimited` or `Overloaded` where too many are under way, and whatever `make` and the first
        piece raise. After that a failure cuts the answer off, without its end.
        """
        running = self._running.get(account_id, 0)
        if running >= MAX_OF_ONE:
            raise RateLimited(
                f"{MAX_OF_ONE} files of this account are being sent; wait for one of them.",
                retry_after_s=5,
            )
        if sum(self._running.values()) >= MAX_RUNNING:
            raise Overloaded("Too many files are being sent; try again shortly.", retry_after_s=5)
        self._running[account_id] = running + 1
        try:
            with Guard(call, self._in_flight) as guard:
                await self._send(call, make)
            if guard.why == "server_stops" and not call.is_answered:
                raise Draining(retry_after_s=1)
        finally:
            self._running[account_id] -= 1
            if not self._running[account_id]:
                del self._running[account_id]

    async def _send(self, call: Call, make: Callable[[], Pieces]) -> None:
        reading = _Reading(self._threads, make)
        try:
            piece = await reading.next()
            await call.send_head(200, list(_HEADERS))
            while piece is not None and call.method != "HEAD":
                # Awaiting each send is what holds the reading to the client's pace.
                await call.send_body(piece, more=True)
                piece = await reading.next()
            await call.send_body(b"")
        finally:
            reading.leave()

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)


class _Reading:
    """One iterator, asked from whichever thread is free, by one at a time."""

    def __init__(self, threads: ThreadPoolExecutor, make: Callable[[], Pieces]) -> None:
        self._threads = threads
        self._make = make
        self._pieces: Pieces | None = None
        self._last: Future[bytes | None] | None = None

    async def next(self) -> bytes | None:
        """`None`: that was all."""
        self._last = self._threads.submit(self._take)
        return await asyncio.wrap_future(self._last)

    def _take(self) -> bytes | None:
        if self._pieces is None:
            self._pieces = self._make()
        return next(self._pieces, None)

    def leave(self) -> None:
        """Have the iterator closed, after what is being read of it."""
        if self._last is not None:
            self._last.add_done_callback(lambda _: self._close())

    def _close(self) -> None:
        if isinstance(self._pieces, Generator):
            self._pieces.close()
