"""Several serving processes on one port: the parent, which serves nothing itself.

It owns what there is one of: the listening socket, whose connections it hands out evenly; the engines,
which it lets the workers use; and the knowledge of which worker is dead. Workers are fresh interpreters
(`worker`), each with a seat number that whoever takes its place after its death keeps. A dead worker's
holds are given back and its requests marked as interrupted before anybody takes its place.

A worker that ends before the server was ready even once ends the server: something is wrong that a
person has to mend. Later it is replaced, after a pause that grows while its replacements die young.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import Awaitable, Callable
from contextlib import ExitStack, suppress

import uvloop

from dragoman.app.definitions import apply_at_start
from dragoman.app.embedding import supervise_engines
from dragoman.app.process import SystemClock, set_up_logging, tell_port
from dragoman.app.sweeping import Sweeper
from dragoman.app.worker import READY_LINE, Orders, encode_orders
from dragoman.config import Config
from dragoman.engine.share import EngineShare
from dragoman.engine.supervisor import EngineSupervisor
from dragoman.errors import Internal
from dragoman.web.handover import Dealer
from dragoman.web.server import CUT_WAIT_S, Stop, listen

LIVED_S = 30.0
"""A worker that lived for so long did not die of its start."""
MAX_PAUSE_S = 15.0
START_END_S = 5.0
"""What a worker may take to end that will never be ready."""
STOP_MARGIN_S = 15.0
"""What a worker may take to stop beyond the grace and the cut: its accounts are written first."""

_log = logging.getLogger("dragoman.workers")

Sweep = Callable[[int], Awaitable[None]]
"""Takes back what the dead worker of a seat held. Called once for each death."""


def supervise(config: Config) -> None:
    """Serve with `config.workers` processes until SIGTERM or SIGINT.

    Raises `OSError` where the address cannot be had, and `Internal` where the workers do not start.
    """
    sock = listen(config.host, config.port)
    set_up_logging(config)
    apply_at_start(config, SystemClock())
    uvloop.run(_supervise(config, sock))


async def _supervise(config: Config, sock: socket.socket) -> None:
    stop = Stop()
    dealer = Dealer(sock)
    engines: dict[str, EngineSupervisor] = {}
    with stop.on_signals(), ExitStack() as closing:
        closing.callback(dealer.close)
        sweeper = Sweeper(config.data_dir, SystemClock(), config.workers)
        closing.callback(sweeper.close)
        try:
            engines = supervise_engines(config)
            for engine in engines.values():
                await engine.start()
            crew = Crew(config, dealer, engines, sweeper.sweep)
            if await crew.start(stop):
                tell_port(config, sock, closing)
                await crew.until_asked(stop)
            await crew.stop(stop)
        finally:
            await asyncio.gather(*(engine.aclose() for engine in engines.values()))


class Crew:
    """All workers."""

    def __init__(
        self,
        config: Config,
        dealer: Dealer,
        engines: dict[str, EngineSupervisor],
        sweep: Sweep,
    ) -> None:
        self._seats = [
            _Seat(index, config, dealer, engines, sweep) for index in range(config.workers)
        ]
        self._config = config
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self, stop: Stop) -> bool:
        """Return when every worker takes connections: `True`; or when it was asked to stop before.

        Raises `Internal` where a worker ends before that.
        """
        self._tasks = [
            asyncio.create_task(seat.keep_filled(), name=f"worker {seat.index}")
            for seat in self._seats
        ]
        ready = asyncio.create_task(self._all_ready())
        asked = asyncio.create_task(stop.asked.wait())
        try:
            await asyncio.wait({ready, asked, *self._tasks}, return_when=asyncio.FIRST_COMPLETED)
            failed = [seat for seat in self._seats if seat.failure is not None]
            if failed and not stop.asked.is_set():
                await self.stop(stop)
                raise Internal(detail=failed[0].failure)
            return ready.done()
        finally:
            ready.cancel()
            asked.cancel()

    async def until_asked(self, stop: Stop) -> None:
        """Return when it is time to stop, or when a seat cannot be filled any more, a fault of ours."""
        asked = asyncio.create_task(stop.asked.wait())
        await asyncio.wait({asked, *self._tasks}, return_when=asyncio.FIRST_COMPLETED)
        asked.cancel()

    async def _all_ready(self) -> None:
        for seat in self._seats:
            await seat.was_ready.wait()

    async def _all_ended(self) -> None:
        await asyncio.gather(*self._tasks)

    async def stop(self, stop: Stop) -> None:
        """Let every worker finish what it is at, all at once; `stop` may hurry them."""
        for seat in self._seats:
            seat.dismiss()
        ended = asyncio.create_task(self._all_ended())
        hurried = asyncio.create_task(stop.hurried.wait())
        limit_s = self._config.shutdown_grace_s + CUT_WAIT_S + STOP_MARGIN_S
        await asyncio.wait({ended, hurried}, timeout=limit_s, return_when=asyncio.FIRST_COMPLETED)
        if hurried.done():
            for seat in self._seats:
                seat.dismiss()
            await asyncio.wait({ended}, timeout=CUT_WAIT_S + STOP_MARGIN_S)
        hurried.cancel()
        if not ended.done():
            for seat in self._seats:
                seat.kill()
        await ended


class _Seat:
    """One of the places for a worker, and who has it."""

    def __init__(
        self,
        index: int,
        config: Config,
        dealer: Dealer,
        engines: dict[str, EngineSupervisor],
        sweep: Sweep,
    ) -> None:
        self.index = index
        self.was_ready = asyncio.Event()
        self.failure: str | None = None
        """Why there will be no worker here."""
        self._config = config
        self._dealer = dealer
        self._engines = engines
        self._sweep = sweep
        self._process: Process | None = None
        self._dismissed = asyncio.Event()

    async def keep_filled(self) -> None:
        """Have a worker here until dismissed, or until the first one fails to start."""
        pause_s: float | None = None
        while not self._dismissed.is_set():
            born_s = time.monotonic()
            code = await self._employ()
            await self._sweep(self.index)
            if self._dismissed.is_set():
                break
            if not self.was_ready.is_set():
                how = "could not be started" if code is None else f"ended with code {code}"
                self.failure = f"worker {self.index} {how}; what was said of it is above"
                return
            pause_s = pause_before_next(pause_s, time.monotonic() - born_s)
            _log.error("worker %d ended with code %s and is replaced", self.index, code)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._dismissed.wait(), pause_s)

    async def _employ(self) -> int | None:
        """The whole life of one worker; returns its exit code, `None` where it could not be had."""
        try:
            return await self._employ_one()
        except OSError as error:
            # No memory, process or file handle to be had just now: to be tried again.
            _log.error("worker %d cannot be started: %s", self.index, error)
            return None

    async def _employ_one(self) -> int:
        with ExitStack() as closing:
            ours, theirs = _pair(closing)
            share, engine_end = None, None
            if self._engines:
                share_end, engine_end = _pair(closing)
                share = EngineShare(self._engines)
                await share.begin(share_end.dup())
                closing.callback(share.close)
            orders = Orders(
                index=self.index,
                connections_fd=theirs.fileno(),
                engine_fd=engine_end.fileno() if engine_end is not None else None,
                config=self._config,
            )
            ends = [theirs] if engine_end is None else [theirs, engine_end]
            process = await _spawn([end.fileno() for end in ends])
            for end in ends:
                end.close()
            self._process = process
            try:
                if self._dismissed.is_set():
                    self.dismiss()
                await self._oversee(process, orders, ours)
                with suppress(TimeoutError):
                    return await asyncio.wait_for(process.wait(), START_END_S)
                process.kill()
                return await process.wait()
            finally:
                self._process = None
                if process.returncode is None:
                    process.kill()

    async def _oversee(self, process: Process, orders: Orders, channel: socket.socket) -> None:
        """Return when `process` has ended, or is about to."""
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(encode_orders(orders))
        if await process.stdout.readline() != READY_LINE:
            return
        taker = self._dealer.add(channel.dup())
        self.was_ready.set()
        try:
            await process.wait()
        finally:
            self._dealer.remove(taker)

    def dismiss(self) -> None:
        """Ask the worker to stop, and let nobody follow. Asked again, it hurries."""
        self._dismissed.set()
        if self._process is not None:
            with suppress(ProcessLookupError):
                self._process.terminate()

    def kill(self) -> None:
        if self._process is not None:
            _log.error("worker %d does not stop and is killed", self.index)
            with suppress(ProcessLookupError):
                self._process.kill()


def pause_before_next(last_s: float | None, lived_s: float) -> float:
    """How long to wait before a dead worker is replaced; `last_s` is what was waited for that one."""
    if last_s is None or lived_s > LIVED_S:
        return 0.0
    return min(MAX_PAUSE_S, last_s * 2 or 0.25)


def _pair(closing: ExitStack) -> tuple[socket.socket, socket.socket]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    closing.callback(ours.close)
    closing.callback(theirs.close)
    return ours, theirs


async def _spawn(ends: list[int]) -> Process:
    return await asyncio.create_subprocess_exec(
        # -P: the working directory is no place to import from.
        *(sys.executable, "-P", "-m", "dragoman.app.worker"),
        stdin=PIPE,
        stdout=PIPE,
        pass_fds=ends,
        # Ctrl-C is for the parent, which stops its workers in its own time.
        start_new_session=True,
    )
