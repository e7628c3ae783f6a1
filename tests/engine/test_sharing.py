"""Two processes' worth of users on one engine: one queue, one bound, one watch."""

from __future__ import annotations

import asyncio
import socket
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import pytest
import pytest_asyncio

from dragoman.engine.link import ChildReady, ChildSettings
from dragoman.engine.share import EngineShare
from dragoman.engine.shared import SharedEngine, SharedEngines
from dragoman.engine.supervisor import Engine, EngineSupervisor
from dragoman.errors import Draining, EngineFailed, InvalidRequest, Overloaded
from dragoman.records.local_model import LocalModel

PATH = Path("/models/small.gguf")


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - the other end of a link has no event
            await asyncio.sleep(0.002)


class FakeProcess:
    def __init__(self, pid: int) -> None:
        self.pid = pid


class FakeClock:
    def __init__(self) -> None:
        self.at_s = 100.0

    def now_s(self) -> float:
        return self.at_s


@dataclass
class Shared:
    supervisor: EngineSupervisor
    clock: FakeClock
    shares: list[EngineShare] = field(default_factory=list)
    users: list[SharedEngines] = field(default_factory=list)

    async def join(self) -> SharedEngine:
        ours, theirs = socket.socketpair()
        share = EngineShare({"small": self.supervisor})
        await share.begin(ours)
        user = SharedEngines({"small": PATH})
        await user.begin(theirs)
        self.shares.append(share)
        self.users.append(user)
        return user.engines["small"]

    def load(self, pid: int = 1) -> Engine:
        settings = ChildSettings(
            parent_pid=1,
            model_path=str(PATH),
            socket_path=f"/run/{pid}.sock",
            key="secret-key",
            slots=1,
            context_tokens=128,
            threads=1,
            gpu_layers=0,
            prompt_cache_mib=0,
            memory_limit_mib=1,
            chat_template=None,
        )
        ready = ChildReady(build="x", vocabulary=7, context_tokens=128, knows_tools=True)
        engine = Engine(cast(Process, FakeProcess(pid)), settings, ready, self.clock.now_s)
        self.supervisor.system_fingerprint = "fp_1"
        self.supervisor.availability.publish(engine)
        return engine


@pytest_asyncio.fixture
async def shared(tmp_path: Path) -> AsyncIterator[Shared]:
    clock = FakeClock()
    model = LocalModel(id="small", slots=1, max_queue=1)
    made = Shared(EngineSupervisor(model, PATH, tmp_path, now_s=clock.now_s), clock)
    yield made
    for user in made.users:
        await user.aclose()
    for share in made.shares:
        share.close()


async def test_the_bound_of_the_queue_holds_over_all_and_turns_come_in_order(
    shared: Shared,
) -> None:
    one, other = await shared.join(), await shared.join()
    (running,) = await one.admit(1)
    await running.wait()
    (waiting,) = await other.admit(1)
    for engine in (one, other):
        with pytest.raises(Overloaded) as refused:
            await engine.admit(1)
        assert refused.value.retry_after_s == 5
    turn = asyncio.create_task(waiting.wait())
    running.release()
    running.release()
    await turn
    assert (shared.supervisor.slots.in_use, shared.supervisor.slots.waiting) == (1, 0)
    waiting.release()
    (again,) = await one.admit(1)
    await again.wait()


async def test_more_than_could_ever_run_is_the_clients_fault_in_the_same_words(
    shared: Shared,
) -> None:
    engine = await shared.join()
    with pytest.raises(InvalidRequest, match="n must be at most 2") as refused:
        await engine.admit(3)
    assert refused.value.param == "n"


async def test_what_a_dead_process_held_is_free_for_the_others(shared: Shared) -> None:
    dying, other = await shared.join(), await shared.join()
    (running,) = await dying.admit(1)
    await running.wait()
    await dying.admit(1)
    with pytest.raises(Overloaded):
        await other.admit(1)
    await shared.users[0].aclose()
    await until(lambda: not shared.supervisor.slots.in_use)
    assert shared.supervisor.slots.waiting == 0
    (place,) = await other.admit(1)
    await place.wait()


async def test_whoever_leaves_while_asking_has_taken_nothing(shared: Shared) -> None:
    engine = await shared.join()
    asking = asyncio.create_task(engine.admit(2))
    await asyncio.sleep(0)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    for place in await engine.admit(2):
        place.release()


async def test_where_the_engine_is_and_that_it_is_gone_is_told_at_once(shared: Shared) -> None:
    engine = await shared.join()
    asking = asyncio.create_task(engine.running())
    shared.load(pid=1)
    first = await asking
    assert (first.pid, first.key, first.socket_path) == (1, "secret-key", "/run/1.sock")
    assert (first.vocabulary, first.context_tokens, first.knows_tools) == (7, 128, True)
    assert engine.system_fingerprint == "fp_1"
    assert "secret-key" not in repr(first.facts)
    asking = asyncio.create_task(engine.running(after=first))
    shared.supervisor.availability.publish(None)
    shared.load(pid=2)
    assert (await asking).pid == 2
    # A process that comes later learns the same.
    late = await (await shared.join()).running()
    assert late.pid == 2


async def test_why_there_is_no_engine_is_told(shared: Shared) -> None:
    engine = await shared.join()
    shared.supervisor.availability.failure = "it is no GGUF file"
    shared.supervisor.availability.publish(None)
    with pytest.raises(EngineFailed) as failed:
        await engine.running()
    assert failed.value.detail == "it is no GGUF file"
    assert engine.failure == "it is no GGUF file"


async def test_progress_in_any_process_counts_for_all(shared: Shared) -> None:
    one, other = await shared.join(), await shared.join()
    engine = shared.load()
    mine, theirs = await one.running(), await other.running()
    with mine.awaited(), theirs.awaited():
        await asyncio.wait_for(engine.is_awaited.wait(), 5)
        shared.clock.at_s += 20
        assert engine.silent_s == 20
        theirs.progressed()
        await until(lambda: not engine.silent_s)
    # Nobody waits any more: its silence is no fault.
    await until(lambda: not engine.is_awaited.is_set())
    shared.clock.at_s += 1000
    assert engine.silent_s == 0


async def test_a_pause_between_two_waits_is_no_silence(shared: Shared) -> None:
    user = await shared.join()
    engine = shared.load()
    mine = await user.running()
    with mine.awaited():
        await asyncio.wait_for(engine.is_awaited.wait(), 5)
        shared.clock.at_s += 20
    with mine.awaited():
        await until(lambda: not engine.silent_s)
        assert engine.is_awaited.is_set()


async def test_a_dead_process_waits_for_nothing(shared: Shared) -> None:
    user = await shared.join()
    engine = shared.load()
    mine = await user.running()
    with mine.awaited():
        await asyncio.wait_for(engine.is_awaited.wait(), 5)
        await shared.users[0].aclose()
        await until(lambda: not engine.is_awaited.is_set())


async def test_without_the_process_that_runs_the_engine_everybody_is_told(shared: Shared) -> None:
    engine = await shared.join()
    (running,) = await engine.admit(1)
    await running.wait()
    (waiting,) = await engine.admit(1)
    turn = asyncio.create_task(waiting.wait())
    loading = asyncio.create_task(engine.running())
    await asyncio.sleep(0)
    shared.shares[0].close()
    with pytest.raises(EngineFailed):
        await turn
    with pytest.raises(Draining):
        await loading
    with pytest.raises(Draining):
        await engine.admit(1)


@pytest.mark.parametrize("noise", [b"\xff\xff\xff\xff", b"\0\0\0\3abc", b"\0\0\0\1\xc0"])
async def test_noise_ends_the_link_and_nothing_else(shared: Shared, noise: bytes) -> None:
    ours, theirs = socket.socketpair()
    share = EngineShare({"small": shared.supervisor})
    await share.begin(ours)
    reader, writer = await asyncio.open_unix_connection(sock=theirs)
    writer.write(noise)
    async with asyncio.timeout(5):
        await reader.read()
    writer.close()
    (place,) = await (await shared.join()).admit(1)
    await place.wait()
