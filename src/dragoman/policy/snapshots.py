"""What the request path knows of a repository: read whole, kept in memory, read anew when something changed.

The generation tells of every change at once. Should a process die between its commit and telling, or the change
be made on another machine, a load beside the requests finds it soon after.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Generic, TypeVar

from dragoman.errors import DragomanError
from dragoman.ports import Clock, Generations

MAX_AGE_S = 1.0
MAX_LOADING_SHARE = 0.02
"""Loads beside the requests take no more than this share of the time."""

T = TypeVar("T")

_log = logging.getLogger("dragoman.snapshots")


class Snapshot(Generic[T]):
    """Belongs to one event loop. Before `value` is used: `if snapshot.is_stale(): await snapshot.refresh()`."""

    __slots__ = (
        "_background",
        "_clock",
        "_due_s",
        "_generation",
        "_read",
        "_refreshing",
        "_repository",
        "_what",
        "value",
    )

    def __init__(
        self,
        what: str,
        repository: Generations,
        clock: Clock,
        read: Callable[[T], T],
        first: T,
    ) -> None:
        """`read` is called in a thread, with what is known: it returns that where nothing is different.

        `what` is its name in the log, in the plural; `first` is what is known before anything was read.
        """
        self._what = what
        self._repository = repository
        self._clock = clock
        self._read = read
        self.value = first
        self._generation: int | None = None
        self._due_s = 0.0
        self._refreshing = asyncio.Lock()
        self._background: asyncio.Task[None] | None = None

    def is_stale(self) -> bool:
        """Whether something has changed, in any process, since it was read. No I/O.

        Begins a load beside the requests when the last is long ago.
        """
        if self._generation != self._repository.generation():
            return True
        if self._clock.monotonic_s() >= self._due_s and self._background is None:
            self._background = asyncio.create_task(self._refresh_in_background())
        return False

    async def refresh(self) -> None:
        """Read what has changed; callers who come meanwhile share one load.

        Raises what the repository raises; the snapshot then stays stale, and as it was.
        """
        async with self._refreshing:
            if self._generation != self._repository.generation():
                await self._load()

    async def loaded(self) -> None:
        """Return when no load is under way beside the requests."""
        if self._background is not None:
            await self._background

    async def _refresh_in_background(self) -> None:
        try:
            async with self._refreshing:
                await self._load()
        except DragomanError as error:
            # What was read last still holds, as far as anyone knows.
            self._due_s = self._clock.monotonic_s() + MAX_AGE_S
            _log.warning("%s could not be loaded: %s", self._what, error.detail or error.message)
        finally:
            self._background = None

    async def _load(self) -> None:
        # Read before all else: a change during the load makes it stale again.
        generation = self._repository.generation()
        started_s = self._clock.monotonic_s()
        self.value = await asyncio.to_thread(self._read, self.value)
        self._generation = generation
        loading_s = self._clock.monotonic_s() - started_s
        self._due_s = started_s + max(MAX_AGE_S, loading_s / MAX_LOADING_SHARE)
