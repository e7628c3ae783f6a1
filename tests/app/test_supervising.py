"""How workers are started, replaced and ended, with small programs in their place."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import pytest_asyncio

from dragoman.app import supervising
from dragoman.app.supervising import LIVED_S, MAX_PAUSE_S, Crew, pause_before_next
from dragoman.config import Config, load_config
from dragoman.errors import Internal
from dragoman.web.handover import Dealer
from dragoman.web.server import Stop, listen

GOOD = "import os,signal; os.read(0, 9**6); os.write(1, b'ready\\n'); signal.pause()"
"""Ends with SIGTERM, as a worker does that had nothing to do."""
STUBBORN = GOOD.replace("os.read", "signal.signal(signal.SIGTERM, signal.SIG_IGN); os.read")
BROKEN = "import sys; sys.exit(3)"
SLOW = GOOD.replace("os.write(1, b'ready\\n'); ", "")


class Employer:
    """Starts the programs that it was given, the last of them again and again."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.programs = [GOOD]
        self.processes: list[Process] = []
        self.events: list[str] = []
        self.spawned = asyncio.Event()
        monkeypatch.setattr(supervising, "_spawn", self.spawn)

    async def spawn(self, ends: list[int]) -> Process:
        program = self.programs.pop(0) if len(self.programs) > 1 else self.programs[0]
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-S", "-c", program), stdin=PIPE, stdout=PIPE, pass_fds=ends
        )
        self.processes.append(process)
        self.events.append(f"spawned {len(self.processes)}")
        self.spawned.set()
        return process

    async def sweep(self, index: int) -> None:
        self.events.append(f"swept {index}")

    async def count(self, number: int) -> None:
        async with asyncio.timeout(10):
            while len(self.processes) < number:
                self.spawned.clear()
                await self.spawned.wait()


@pytest.fixture
def employer(monkeypatch: pytest.MonkeyPatch) -> Employer:
    return Employer(monkeypatch)


Hire = Callable[[int], Crew]


@pytest_asyncio.fixture
async def hire(employer: Employer, tmp_path: Path) -> AsyncIterator[Hire]:
    dealer = Dealer(listen("127.0.0.1", 0))

    def crew(workers: int) -> Crew:
        return Crew(config_of(tmp_path, workers), dealer, {}, employer.sweep)

    yield crew
    dealer.close()
    for process in employer.processes:
        assert process.returncode is not None


def config_of(data_dir: Path, workers: int) -> Config:
    settings = f"workers = {workers}\nshutdown_grace_s = 0.1\nembedded_model = false\n"
    settings += '[[providers]]\nname = "p"\nwire = "openai"\nbase_url = "http://127.0.0.1:9/v1"\n'
    settings += '[[providers.models]]\nid = "m"\n'
    path = data_dir / "dragoman.toml"
    path.write_text(settings)
    return load_config(path, environ={"DRAGOMAN_DATA_DIR": str(data_dir)})


async def test_all_are_ready_before_the_server_is(employer: Employer, hire: Hire) -> None:
    stop = Stop()
    crew = hire(3)
    assert await crew.start(stop)
    assert len(employer.processes) == 3
    await crew.stop(stop)
    assert {process.returncode for process in employer.processes} == {-15}
    assert sorted(employer.events[3:]) == ["swept 0", "swept 1", "swept 2"]


async def test_one_that_cannot_start_ends_the_server_and_says_which(
    employer: Employer, hire: Hire
) -> None:
    employer.programs = [GOOD, BROKEN]
    with pytest.raises(Internal) as failed:
        await hire(2).start(Stop())
    assert "worker 1 ended with code 3" in (failed.value.detail or "")
    assert len(employer.processes) == 2


async def test_one_that_cannot_be_had_at_all_is_no_mystery(
    hire: Hire, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def spawn(_ends: list[int]) -> Process:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(supervising, "_spawn", spawn)
    with pytest.raises(Internal) as failed:
        await hire(1).start(Stop())
    assert "worker 0 could not be started" in (failed.value.detail or "")


async def test_a_stop_does_not_wait_for_a_slow_start(employer: Employer, hire: Hire) -> None:
    employer.programs = [SLOW]
    stop = Stop()
    crew = hire(2)
    starting = asyncio.create_task(crew.start(stop))
    await employer.count(2)
    stop.ask()
    assert not await starting
    await crew.stop(stop)


async def test_the_dead_are_swept_before_anybody_takes_their_place(
    employer: Employer, hire: Hire
) -> None:
    stop = Stop()
    crew = hire(1)
    await crew.start(stop)
    employer.processes[0].kill()
    await employer.count(2)
    assert employer.events == ["spawned 1", "swept 0", "spawned 2"]
    await crew.stop(stop)


async def test_one_that_cannot_be_had_later_is_tried_for_again(
    employer: Employer, hire: Hire, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop = Stop()
    crew = hire(1)
    await crew.start(stop)
    pair, failures = socket.socketpair, [OSError(24, "Too many open files")]

    def failing_pair(*kind: int) -> tuple[socket.socket, socket.socket]:
        if failures:
            raise failures.pop()
        return pair(*kind)

    monkeypatch.setattr(socket, "socketpair", failing_pair)
    employer.processes[0].kill()
    await employer.count(2)
    assert not failures
    await crew.stop(stop)


async def test_one_that_does_not_stop_is_killed(
    employer: Employer, hire: Hire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervising, "STOP_MARGIN_S", 0.1)
    monkeypatch.setattr(supervising, "CUT_WAIT_S", 0.1)
    employer.programs = [STUBBORN]
    stop = Stop()
    crew = hire(1)
    await crew.start(stop)
    stop.ask()
    stop.ask()
    await crew.stop(stop)
    assert employer.processes[0].returncode == -9


def test_those_that_die_young_are_replaced_ever_more_slowly() -> None:
    pauses = []
    pause_s: float | None = None
    for _ in range(10):
        pause_s = pause_before_next(pause_s, 0.1)
        pauses.append(pause_s)
    assert pauses[:5] == [0.0, 0.25, 0.5, 1.0, 2.0]
    assert pauses[-1] == MAX_PAUSE_S
    assert pause_before_next(MAX_PAUSE_S, LIVED_S + 1) == 0.0


def test_the_parent_imports_no_more_than_it_needs() -> None:
    code = "import sys, dragoman.app.supervising; print([m for m in ('sqlalchemy','alembic','pydantic','litestar','xllamacpp','dragoman.pipeline','dragoman.app.serving','dragoman.stores.ledger') if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
