"""Keeps one engine child alive: starts it, watches its progress, and starts it again.

Approach: a single task owns the child. It spawns it, waits until the model is loaded, publishes it as
an `Engine`, and waits for its end; then it withdraws the `Engine` and begins anew, after a pause that
grows while the child keeps dying young. Requests reach the child over its socket, which the kernel
closes when the child dies, so that whoever reads from it learns of that at once.

Health says little: a runaway grammar blocks every slot while the health page still answers. So the
watch is on progress: somebody waits for the engine, and nobody has had anything from it for `stall_s`.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import secrets
import shutil
import sys
import tempfile
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

import msgspec

from dragoman.engine.access import LoadedEngine
from dragoman.engine.availability import LOAD_TIMEOUT_S, Availability
from dragoman.engine.link import ChildReady, ChildSettings
from dragoman.engine.model_files import file_sha256
from dragoman.engine.slots import Slots, Ticket
from dragoman.errors import Draining
from dragoman.records.local_model import LocalModel

LIVED_S = 30.0
"""An engine that lived for so long did not die of its start."""
MAX_PAUSE_S = 15.0
STOP_S = 2.0
STDERR_TAIL_BYTES = 4096
MAX_SOCKET_PATH_BYTES = 100
"""The kernel's bound is 108: https://man7.org/linux/man-pages/man7/unix.7.html"""

_log = logging.getLogger(__name__)


class Engine:
    """A child that has its model loaded: where it is reached, and when it last did anything."""

    def __init__(
        self,
        process: Process,
        settings: ChildSettings,
        ready: ChildReady,
        now_s: Callable[[], float],
    ) -> None:
        self.socket_path = settings.socket_path
        self.key = settings.key
        self.pid = process.pid
        self.vocabulary = ready.vocabulary
        self.context_tokens = ready.context_tokens
        self.knows_tools = ready.knows_tools
        self.build = ready.build
        self._now_s = now_s
        self._waiting = 0
        self._progress_s = 0.0
        self.is_awaited = asyncio.Event()
        """Set while anybody waits for the engine."""

    def progressed(self) -> None:
        self._progress_s = self._now_s()

    @contextmanager
    def awaited(self) -> Iterator[None]:
        """Around each wait for the engine. A wait for a slow client is none, and must be outside."""
        self.begin_wait()
        try:
            yield
        finally:
            self.end_wait()

    def begin_wait(self) -> None:
        if not self._waiting:
            self._progress_s = self._now_s()
            self.is_awaited.set()
        self._waiting += 1

    def end_wait(self) -> None:
        self._waiting -= 1
        if not self._waiting:
            self.is_awaited.clear()

    @property
    def silent_s(self) -> float:
        """For how long it has been awaited in vain."""
        return self._now_s() - self._progress_s if self._waiting else 0.0


class EngineSupervisor:
    """Built by `app`; `start()` returns at once and the model loads beside everything else.

    `runtime_dir` receives a private folder for the socket.
    """

    def __init__(
        self,
        model: LocalModel,
        model_path: Path,
        runtime_dir: Path,
        *,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self.model = model
        self.model_path = model_path
        self.slots = Slots(model.slots, model.max_queue, now_s)
        self.restarts = 0
        self.system_fingerprint: str | None = None
        """Known from the first load on."""
        self.availability = Availability[Engine]()
        self.last_load_s: float | None = None
        self._runtime_dir = runtime_dir
        self._now_s = now_s
        self._folder: Path | None = None
        self._task: asyncio.Task[None] | None = None
        self._digest: asyncio.Future[str] | None = None

    async def start(self) -> None:
        """Begin to load, in the background."""
        assert self._task is None, "an engine is started once"
        self._folder = _private_folder(self._runtime_dir)
        self._digest = asyncio.ensure_future(asyncio.to_thread(file_sha256, self.model_path))
        self._task = asyncio.create_task(self._keep_running(), name=f"engine {self.model.id}")

    @property
    def engine(self) -> Engine | None:
        """The running engine, if there is one at this moment."""
        return self.availability.engine

    @property
    def failure(self) -> str | None:
        """Why there is no engine, in words for the operator, while it fails to start."""
        return self.availability.failure

    async def running(self, *, after: LoadedEngine | None = None) -> Engine:
        """The engine, waited for while it loads; `EngineFailed` when that takes too long or fails.

        `after` is known to be gone, perhaps before the supervisor has noticed.
        """
        return await self.availability.running(after)

    async def admit(self, count: int) -> list[Ticket]:
        """Tickets for `count` answers; `Overloaded` when the queue is full."""
        return self.take(count)

    def take(self, count: int) -> list[Ticket]:
        """The same, at once."""
        if self.availability.is_closing:
            raise Draining
        return self.slots.take(count)

    async def aclose(self) -> None:
        """End the child and remove its folder. Running answers fail; drain them first."""
        self.availability.close()
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
        if self._digest is not None:
            self._digest.cancel()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    # --- The child's life ---

    async def _keep_running(self) -> None:
        pause_s = 0.0
        while True:
            born_s = self._now_s()
            try:
                async with self._child() as child:
                    self.availability.failure = None
                    await self._until_gone(*child)
            except _LoadFailed as error:
                self.availability.failure = str(error)
                _log.error("engine %s cannot be started: %s", self.model.id, error)
            self.availability.publish(None)
            if self._now_s() - born_s > LIVED_S:
                pause_s = 0.0
            self.restarts += 1
            await asyncio.sleep(pause_s)
            pause_s = min(MAX_PAUSE_S, pause_s * 2 or 0.25)

    @asynccontextmanager
    async def _child(self) -> AsyncIterator[tuple[Process, Engine]]:
        """A child with its model loaded, published; killed at the end."""
        settings = self._settings()
        started_s = self._now_s()
        process = await _spawn()
        said = _Said()
        drain = asyncio.create_task(said.read(process))
        try:
            ready = await self._load(process, settings, said)
            engine = Engine(process, settings, ready, self._now_s)
            await self._identify(ready)
            said.is_kept = False
            self.last_load_s = self._now_s() - started_s
            _log.info("engine %s is ready after %.1f s", self.model.id, self.last_load_s)
            self.availability.publish(engine)
            yield process, engine
        finally:
            self.availability.publish(None)
            await _end(process)
            drain.cancel()
            _remove(settings.socket_path)

    def _settings(self) -> ChildSettings:
        assert self._folder is not None
        return ChildSettings(
            parent_pid=os.getpid(),
            model_path=str(self.model_path),
            socket_path=str(self._folder / f"{secrets.token_hex(4)}.sock"),
            key=secrets.token_urlsafe(32),
            slots=self.model.slots,
            context_tokens=self.model.context_tokens,
            threads=self._threads(),
            gpu_layers=self.model.gpu_layers,
            prompt_cache_mib=self.model.prompt_cache_mib,
            memory_limit_mib=self.model.memory_limit_mib,
            chat_template=self.model.chat_template,
        )

    def _threads(self) -> int:
        return self.model.threads or len(os.sched_getaffinity(0))

    async def _load(self, process: Process, settings: ChildSettings, said: _Said) -> ChildReady:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(msgspec.json.encode(settings) + b"\n")
        try:
            async with asyncio.timeout(LOAD_TIMEOUT_S):
                line = await process.stdout.readline()
                if not line:
                    await process.wait()
        except TimeoutError:
            raise _LoadFailed(f"the model did not load within {LOAD_TIMEOUT_S:.0f} s") from None
        if not line:
            raise _LoadFailed(
                f"the engine ended with code {process.returncode} while it loaded "
                f"{self.model_path}: {said.last_line}"
            )
        try:
            return msgspec.json.decode(line, type=ChildReady)
        except msgspec.DecodeError:
            raise _LoadFailed("the engine said something else than that it is ready") from None

    async def _identify(self, ready: ChildReady) -> None:
        if self.system_fingerprint is not None:
            return
        assert self._digest is not None
        try:
            digest = await self._digest
        except OSError as error:
            raise _LoadFailed(f"{self.model_path} cannot be read: {error.strerror}") from error
        facts = (
            ready.build,
            digest,
            self._threads(),
            self.model.slots,
            self.model.context_tokens,
            self.model.gpu_layers,
            self.model.chat_template,
        )
        self.system_fingerprint = "fp_" + hashlib.sha256(repr(facts).encode()).hexdigest()[:12]

    async def _until_gone(self, process: Process, engine: Engine) -> None:
        """Return when the child has died, by itself or because it stopped making progress."""
        watch = asyncio.create_task(self._kill_when_stalled(process, engine))
        try:
            await process.wait()
        finally:
            watch.cancel()
        _log.error(
            "engine %s ended with code %s and is restarted", self.model.id, process.returncode
        )

    async def _kill_when_stalled(self, process: Process, engine: Engine) -> None:
        while True:
            await engine.is_awaited.wait()
            left_s = self.model.stall_s - engine.silent_s
            if left_s <= 0:
                _log.error("engine %s made no progress for %.1f s", self.model.id, engine.silent_s)
                # Withdrawn first: whoever asks from here on waits for the next one.
                self.availability.publish(None)
                process.kill()
                return
            await asyncio.sleep(left_s + 0.01)


class _LoadFailed(Exception):
    pass


def _private_folder(runtime_dir: Path) -> Path:
    """A new folder that only we may enter, with a path short enough for a socket's name."""
    with suppress(OSError):
        runtime_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        if len(os.fsencode(runtime_dir)) + 40 < MAX_SOCKET_PATH_BYTES:
            return Path(tempfile.mkdtemp(prefix="engine-", dir=runtime_dir))
    return Path(tempfile.mkdtemp(prefix="dragoman-"))


class _Said:
    """What the child prints, always read so that it never blocks, and kept only while it loads.

    Later it may repeat what a client sent, a grammar say, and that is nothing for a log.
    """

    def __init__(self) -> None:
        self.is_kept = True
        self._tail = b""

    async def read(self, process: Process) -> None:
        assert process.stderr is not None
        while data := await process.stderr.read(STDERR_TAIL_BYTES):
            if self.is_kept:
                self._tail = (self._tail + data)[-STDERR_TAIL_BYTES:]

    @property
    def last_line(self) -> str:
        lines = self._tail.decode(errors="replace").strip().splitlines()
        return lines[-1][:300] if lines else "it printed nothing"


async def _spawn() -> Process:
    try:
        return await asyncio.create_subprocess_exec(
            # -P: the working directory is no place to import from.
            *(sys.executable, "-P", "-m", "dragoman.engine.child"),
            stdin=PIPE,
            stdout=PIPE,
            stderr=PIPE,
            # Ctrl-C is for the server, which ends the child in its own time.
            start_new_session=True,
        )
    except OSError as error:
        # No memory or no process to be had just now, say: to be tried again like any failed start.
        raise _LoadFailed(f"its process cannot be started: {error.strerror}") from error


async def _end(process: Process) -> None:
    if process.returncode is None:
        with suppress(ProcessLookupError):
            process.terminate()
        try:
            async with asyncio.timeout(STOP_S):
                await process.wait()
        except TimeoutError:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()


def _remove(path: str) -> None:
    with suppress(OSError):
        os.unlink(path)
