"""Deletes usage records that are older than they are to be kept, once they are in an archive."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path

from dragoman.errors import DragomanError
from dragoman.ports import Clock
from dragoman.stores import Store
from dragoman.stores.usage_archives import ARCHIVE_DIR

DAY_S = 86_400.0
LOOK_EVERY_S = 3600.0

_log = logging.getLogger("dragoman.retention")


def start_retention(
    store: Store, clock: Clock, data_dir: Path, keep_days: int
) -> Callable[[], Awaitable[None]]:
    """Look now, and every hour from now on; what it returns ends that, before the store is closed."""
    stop = threading.Event()
    task = asyncio.create_task(_keep_looking(store, clock, data_dir, keep_days, stop))

    async def end() -> None:
        # Work that has begun goes on to the end of its transaction, and the store with it.
        stop.set()
        task.cancel()
        await asyncio.wait([task])

    return end


async def _keep_looking(
    store: Store, clock: Clock, data_dir: Path, keep_days: int, stop: threading.Event
) -> None:
    while True:
        working = asyncio.ensure_future(
            asyncio.to_thread(delete_old_usage, store, clock.unix_s(), data_dir, keep_days, stop)
        )
        try:
            await asyncio.shield(working)
        except asyncio.CancelledError:
            await asyncio.wait([working])
            raise
        await asyncio.sleep(LOOK_EVERY_S)


def delete_old_usage(
    store: Store, now_s: float, data_dir: Path, keep_days: int, stop: threading.Event | None = None
) -> int:
    """Move what came more than `keep_days` whole days (UTC) ago into a new archive; how many records.

    Sums by day stay, and so do charges in the ledger. A failure is logged, and tried again later.
    """
    cutoff_s = now_s - keep_days * DAY_S
    name = datetime.fromtimestamp(now_s, UTC).strftime("usage-until-%Y%m%dT%H%M%S.jsonl.gz")
    archive = data_dir / ARCHIVE_DIR / name
    try:
        archive.parent.mkdir(mode=0o700, exist_ok=True)
        count = store.delete_usage_before(cutoff_s, archive=archive, stop=stop)
    except (DragomanError, OSError) as error:
        _log.warning("old usage records are not deleted now: %s", error)
        return 0
    if count:
        _log.info("%d usage records are in %s now, and deleted", count, archive)
    return count
