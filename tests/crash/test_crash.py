"""Nothing that a client was answered is lost, charged twice or charged wrong, whenever the server dies.

Judges ask from processes of their own, and make durable each whole answer before they ask again. The
server is killed with SIGKILL, time after time, at chosen points of a request's way and at any other
moment; the books are compared with what the judges wrote down.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.crash.books import PAYER_KEY, Books, open_account, priced_config
from tests.crash.faulty_server import POINTS
from tests.crash.judge import Answer, read_answers
from tests.scripted_provider import Recorded, Script, ScriptedProvider, Tokens
from tests.server_process import ServerProcess

REPOSITORY = Path(__file__).parent.parent.parent
ENVIRONMENT = {"SCRIPTED_SECRET": "upstream-secret"}
JUDGES = 2
KILLS_AT_EACH_POINT = 3
KILLS_AT_RANDOM = 4
DEATH_TIMEOUT_S = 20.0


def changing_answer(request: Recorded) -> Script:
    """Every answer has a size of its own, so that one cannot be taken for another."""
    words = 3 + (request.connection_id * 7 + len(request.raw_body)) % 20
    return Script(
        deltas=tuple(f"word{i} " for i in range(words)),
        usage=Tokens(input=20 + words, output=words, cached=words % 5),
        frame_delay_s=0.001,
    )


@pytest.fixture
def own_provider() -> Iterator[ScriptedProvider]:
    with ScriptedProvider(changing_answer) as provider:
        yield provider


def free_port() -> int:
    """Below those that the kernel gives to clients: a judge that asks while the server is down must not
    be given the server's own port, and meet itself there."""
    for port in random.sample(range(20_000, 32_000), 100):
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise AssertionError("no port is free")


class Trial:
    """One data directory, judges that ask all the time, and servers that die one after another."""

    def __init__(self, folder: Path, provider: ScriptedProvider, **settings: object) -> None:
        self.data_dir = folder / "data"
        self.data_dir.mkdir(parents=True)
        self._folder = folder
        self._port = free_port()
        self._config = priced_config(provider, **settings)
        self.deaths = 0
        open_account(self.data_dir)

    @contextmanager
    def judged(self) -> Iterator[None]:
        judges = [
            subprocess.Popen(
                [
                    *(sys.executable, "-m", "tests.crash.judge"),
                    *(str(self._port), PAYER_KEY, str(self._folder / f"judge-{i}"), "600"),
                ],
                cwd=REPOSITORY,
            )
            for i in range(JUDGES)
        ]
        try:
            yield
        finally:
            for judge in judges:
                judge.kill()
                judge.wait()

    @property
    def answers(self) -> list[Answer]:
        return [
            answer
            for i in range(JUDGES)
            if (path := self._folder / f"judge-{i}").exists()
            for answer in read_answers(path)
        ]

    def server(self, *fault: str) -> ServerProcess:
        program = ("-m", "tests.crash.faulty_server", *fault) if fault else ("-m", "dragoman")
        return ServerProcess(
            self.data_dir,
            self._config,
            program=program,
            environment={
                **ENVIRONMENT,
                "DRAGOMAN_PORT": str(self._port),
                "PYTHONPATH": str(REPOSITORY),
            },
        )

    def die_of(self, point: str, count: int) -> None:
        server = self.server(point, str(count)).start()
        try:
            assert server.wait(DEATH_TIMEOUT_S) == -signal.SIGKILL, server.log
        finally:
            server.kill()
        self.deaths += 1

    def die_within(self, seconds: float) -> None:
        """Kill the server, and all that it started, at no chosen moment."""
        with self.server() as server:
            time.sleep(seconds)
            os.killpg(server.pid, signal.SIGKILL)
            server.wait(DEATH_TIMEOUT_S)
        self.deaths += 1

    def books(self) -> Books:
        """Start once more, which sweeps, stop as one should, and look."""
        with self.server():
            pass
        return Books(self.data_dir)


def test_no_answer_is_lost_wherever_the_server_is_killed(
    tmp_path: Path, own_provider: ScriptedProvider
) -> None:
    trial = Trial(tmp_path, own_provider)
    chance = random.Random(20)
    with trial.judged():
        for point in POINTS:
            for _ in range(KILLS_AT_EACH_POINT):
                trial.die_of(point, chance.randint(1, 60))
        for _ in range(KILLS_AT_RANDOM):
            trial.die_within(chance.uniform(0.05, 0.6))
    assert trial.deaths >= 20
    answers = trial.answers
    books = trial.books()
    assert books.faults(answers) == []
    assert books.leased == 0
    # The trial is worth something: answers came through, and deaths found requests under way.
    assert len(answers) > 4 * trial.deaths
    assert books.statuses["interrupted"] > trial.deaths / 2
    assert books.statuses["ok"] >= len(answers)


def test_the_judges_notice_when_an_answer_is_ended_before_its_record_is_durable(
    tmp_path: Path, own_provider: ScriptedProvider
) -> None:
    trial = Trial(tmp_path, own_provider)
    with trial.judged():
        trial.die_of("finish-before-commit", 40)
    faults = trial.books().faults(trial.answers)
    assert any("told status ok, the record has interrupted" in fault for fault in faults), faults


def test_several_workers_killed_at_once_or_one_by_one_lose_nothing(
    tmp_path: Path, own_provider: ScriptedProvider
) -> None:
    trial = Trial(tmp_path, own_provider, workers=2)
    chance = random.Random(7)
    with trial.judged():
        for _ in range(3):
            trial.die_within(chance.uniform(0.2, 0.8))
        with trial.server() as server:
            for _ in range(4):
                deadline = time.monotonic() + DEATH_TIMEOUT_S
                while len(server.workers) < 2:
                    assert time.monotonic() < deadline, server.log
                    time.sleep(0.02)
                time.sleep(chance.uniform(0.2, 0.5))
                os.kill(chance.choice(server.workers), signal.SIGKILL)
                trial.deaths += 1
    answers = trial.answers
    books = trial.books()
    assert books.faults(answers) == []
    assert books.leased == 0
    assert len(answers) > 4 * trial.deaths
    assert books.statuses["interrupted"] > 0


@pytest.mark.parametrize("workers", [1, 2])
def test_a_stop_under_load_loses_nothing(
    tmp_path: Path, own_provider: ScriptedProvider, workers: int
) -> None:
    trial = Trial(tmp_path, own_provider, shutdown_grace_s=5, workers=workers)
    with trial.judged():
        for _ in range(3):
            with trial.server() as server:
                time.sleep(0.4)
                assert server.stop() == 0
    answers = trial.answers
    books = Books(trial.data_dir)
    assert books.faults(answers) == []
    assert books.leased == 0
    assert books.statuses["interrupted"] == 0
    assert len(answers) > 30
