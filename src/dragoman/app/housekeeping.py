"""What is done beside the requests, by one of the processes of a data directory: campaigns are looked at, what was
said is made findable, and words that are older than their project keeps them are deleted.

Who holds the lock does it all; the kernel frees it when that process dies, and another takes over. Each chore is
done in small steps, because nothing else is written meanwhile, and a failure is tried again.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Protocol

import msgspec

from dragoman.errors import DragomanError
from dragoman.policy.campaigns.clerk import Clerk, ClerkStore
from dragoman.ports import Clock
from dragoman.records.project import ProjectId
from dragoman.stores.private_files import lock_now

LOCK_FILE = "housekeeping.lock"
TRY_AGAIN_S = 2.0
"""How long after the death of the process that does it another one begins."""
LOOK_EVERY_S = 1.0
INDEX_EVERY_S = 1.0
INDEX_AT_ONCE = 100
"""Conversations in one transaction, which takes some milliseconds of them."""
PAUSE_S = 0.01
"""Between one step and the next, so that others come in."""
DELETE_EVERY_S = 3600.0
DELETE_AT_ONCE = 200
DAY_S = 86_400.0

_log = logging.getLogger("dragoman.housekeeping")


class HousekeepingStore(ClerkStore, Protocol):
    """What is asked of the store."""

    def index_texts(self, limit: int = 500) -> int: ...

    def delete_old_content(
        self, project_id: ProjectId, before_s: float, limit: int = 1000
    ) -> int: ...


class Chore(msgspec.Struct, frozen=True):
    name: str
    """What is not done, for the log: `campaigns are looked at`."""
    every_s: float
    do: Callable[[threading.Event], bool]
    """Take one step, in a thread; whether there is more to do at once. It may end early when the event is set."""


def start_housekeeping(
    store: HousekeepingStore, clock: Clock, data_dir: Path
) -> Callable[[], Awaitable[None]]:
    """Do it in the background; what it returns ends that, before the store is closed."""
    return start_chores(chores_of(store, clock), data_dir / LOCK_FILE)


def chores_of(store: HousekeepingStore, clock: Clock) -> tuple[Chore, ...]:
    clerk = Clerk(store, clock)

    def look(stop: threading.Event) -> bool:
        clerk.look_at_all(stop)
        return False

    return (
        Chore("campaigns are not looked at", LOOK_EVERY_S, look),
        Chore(
            "conversations are not made findable",
            INDEX_EVERY_S,
            lambda _: store.index_texts(INDEX_AT_ONCE) > 0,
        ),
        Chore(
            "old words are not deleted",
            DELETE_EVERY_S,
            lambda stop: delete_old_words(store, clock.unix_s(), stop) > 0,
        ),
    )


def delete_old_words(
    store: HousekeepingStore, now_s: float, stop: threading.Event | None = None
) -> int:
    """One step for each project that keeps words for some days; of how many conversations they were."""
    count = 0
    for project in store.list_projects():
        if project.content.keep_days is None:
            continue
        if stop is not None and stop.is_set():
            break
        before_s = now_s - project.content.keep_days * DAY_S
        deleted = store.delete_old_content(project.id, before_s, DELETE_AT_ONCE)
        if deleted:
            _log.info("the words of %d conversations of %s are deleted", deleted, project.key)
        count += deleted
    return count


def start_chores(chores: Sequence[Chore], lock: Path) -> Callable[[], Awaitable[None]]:
    """Do each again and again while this process holds `lock`; what it returns ends that."""
    stop = threading.Event()
    task = asyncio.create_task(_do_all(chores, lock, stop))
    task.add_done_callback(_tell_of_fault)

    async def end() -> None:
        # A step that has begun goes on to the end of its transaction.
        stop.set()
        task.cancel()
        await asyncio.wait([task])

    return end


async def _do_all(chores: Sequence[Chore], lock: Path, stop: threading.Event) -> None:
    held = await _wait_for(lock)
    try:
        async with asyncio.TaskGroup() as group:
            for chore in chores:
                group.create_task(_keep_doing(chore, stop))
    finally:
        os.close(held)


async def _wait_for(lock: Path) -> int:
    has_told = False
    while True:
        try:
            held = lock_now(lock)
        except OSError as error:
            held = None
            if not has_told:
                _log.warning(
                    "housekeeping is not done by this process: %s: %s", lock, error.strerror
                )
            has_told = True
        if held is not None:
            return held
        await asyncio.sleep(TRY_AGAIN_S)


async def _keep_doing(chore: Chore, stop: threading.Event) -> None:
    has_failed = False
    while True:
        try:
            has_more = await _step(chore, stop)
            has_failed = False
        except DragomanError as error:
            # Told once: the next try comes soon.
            if not has_failed:
                _log.warning("%s now: %s", chore.name, error.detail or error.message)
            has_more, has_failed = False, True
        await asyncio.sleep(PAUSE_S if has_more else chore.every_s)


async def _step(chore: Chore, stop: threading.Event) -> bool:
    working = asyncio.ensure_future(asyncio.to_thread(chore.do, stop))
    try:
        return await asyncio.shield(working)
    except asyncio.CancelledError:
        await asyncio.wait([working])
        raise


def _tell_of_fault(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (fault := task.exception()) is not None:
        _log.error("no more housekeeping is done by this process", exc_info=fault)
