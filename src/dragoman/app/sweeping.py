"""What has to be put right when a worker has died."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

from dragoman.app.process import LIMITS_FILE
from dragoman.errors import DragomanError
from dragoman.ports import Clock
from dragoman.stores.windows import WindowTable

_log = logging.getLogger("dragoman.workers")


class Sweeper:
    """For the one process that knows which of its workers are dead. Belongs to an event loop."""

    def __init__(self, data_dir: Path, clock: Clock, workers: int) -> None:
        self._data_dir = data_dir
        self._clock = clock
        self._windows = WindowTable(data_dir / LIMITS_FILE, clock, workers=workers)
        # Before the first of them begins: nothing of an earlier server's runs any more.
        self._windows.clear_all_workers()

    async def sweep(self, index: int) -> None:
        """Take back what a dead worker held, and record what it was at as interrupted."""
        self._windows.clear_worker(index)
        try:
            await asyncio.to_thread(self._sweep_ledger)
        except DragomanError as error:
            # Whoever takes its place tries again.
            _log.error("worker %d cannot be swept: %s", index, error.detail or error.message)

    def _sweep_ledger(self) -> None:
        # Only after a death: it brings the whole ledger with it.
        from dragoman.stores.ledger import sweep_dead  # noqa: PLC0415

        sweep_dead(self._data_dir, self._clock)

    def close(self) -> None:
        self._windows.close()
