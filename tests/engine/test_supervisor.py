"""What counts as progress, and what the supervisor says of an engine that cannot start."""

from __future__ import annotations

import asyncio
import errno
from asyncio.subprocess import Process
from pathlib import Path
from typing import cast

import pytest

from dragoman.engine.link import ChildReady, ChildSettings
from dragoman.engine.supervisor import Engine, EngineSupervisor
from dragoman.errors import Draining, EngineFailed
from dragoman.records.local_model import LocalModel


class FakeClock:
    def __init__(self) -> None:
        self.at_s = 100.0

    def now_s(self) -> float:
        return self.at_s


class FakeProcess:
    pid = 1


def an_engine(clock: FakeClock) -> Engine:
    settings = ChildSettings(
        parent_pid=1,
        model_path="m.gguf",
        socket_path="/s",
        key="secret-key",
        slots=1,
        context_tokens=1,
        threads=1,
        gpu_layers=0,
        prompt_cache_mib=0,
        memory_limit_mib=1,
        chat_template=None,
    )
    assert "secret-key" not in repr(settings)
    ready = ChildReady(build="x", vocabulary=1, context_tokens=1, knows_tools=False)
    return Engine(cast(Process, FakeProcess()), settings, ready, clock.now_s)


async def test_only_an_awaited_engine_can_be_silent() -> None:
    clock = FakeClock()
    engine = an_engine(clock)
    clock.at_s += 1000
    assert engine.silent_s == 0
    with engine.awaited():
        assert engine.is_awaited.is_set()
        clock.at_s += 5
        assert engine.silent_s == 5
        engine.progressed()
        assert engine.silent_s == 0
    # A reader that takes its time between two reads is no fault of the engine.
    clock.at_s += 1000
    assert engine.silent_s == 0
    assert not engine.is_awaited.is_set()
    with engine.awaited():
        assert engine.silent_s == 0


async def test_any_answers_progress_counts_for_all() -> None:
    clock = FakeClock()
    engine = an_engine(clock)
    with engine.awaited():
        clock.at_s += 5
        with engine.awaited():
            assert engine.silent_s == 5
            engine.progressed()
        assert engine.silent_s == 0


async def test_a_file_that_is_no_model_is_told_plainly(tmp_path: Path) -> None:
    path = tmp_path / "broken.gguf"
    path.write_bytes(b"this is no model")
    supervisor = EngineSupervisor(LocalModel(id="broken"), path, tmp_path / "run")
    await supervisor.start()
    try:
        with pytest.raises(EngineFailed) as refused:
            await supervisor.running()
        assert "broken.gguf" in (refused.value.detail or "")
        assert "broken.gguf" not in refused.value.message
    finally:
        await supervisor.aclose()
    assert list((tmp_path / "run").iterdir()) == []


async def test_a_process_that_cannot_be_had_is_tried_for_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(b"")
    tried_again = asyncio.Event()
    tries = 0

    async def spawn(*_command: str, **_options: object) -> Process:
        nonlocal tries
        tries += 1
        if tries == 2:
            tried_again.set()
        raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")

    monkeypatch.setattr(asyncio, "create_subprocess_exec", spawn)
    supervisor = EngineSupervisor(LocalModel(id="x"), path, tmp_path / "run")
    await supervisor.start()
    try:
        with pytest.raises(EngineFailed) as refused:
            await supervisor.running()
        assert "temporarily unavailable" in (refused.value.detail or "")
        await asyncio.wait_for(tried_again.wait(), 10)
    finally:
        await supervisor.aclose()


async def test_a_closed_supervisor_takes_no_more_requests(tmp_path: Path) -> None:
    supervisor = EngineSupervisor(LocalModel(id="x"), tmp_path / "none.gguf", tmp_path)
    await supervisor.aclose()
    with pytest.raises(Draining):
        await supervisor.admit(1)
