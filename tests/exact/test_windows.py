"""Exactly what a limit allows is let in within any 60 seconds, of however many come at once, at the very
edges of the window: by the server's own clock, set by the test, and by the real one."""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest
from tests.exact.clocks import Clocks
from tests.exact.crowd import MESSAGES, Client, Reply, running
from tests.exact.payer import Payer
from tests.scripted_provider import Gate, Script, ScriptedProvider, Tokens
from tests.server_process import ServerProcess

from dragoman.dialects.openai import OPENAI
from dragoman.policy.routing import estimate_input_tokens
from dragoman.records.limits import Limits
from dragoman.stores import Store, open_store

CLIENTS = 64
LIMIT = 20
START_S = 1_800_000_000.0
MAXIMUM = 50

CONFIG = """
embedded_model = false
default_model = "priced"
log_format = "json"
workers = {workers}

[[providers]]
name = "scripted"
wire = "openai"
base_url = "{url}"

[[providers.models]]
id = "priced"
max_output_tokens = 1000
"""

Measure = Literal["requests", "tokens"]
both_measures = pytest.mark.parametrize("measure", ["requests", "tokens"])

BODY = {"model": "priced", "messages": MESSAGES, "max_tokens": MAXIMUM}
INPUT = estimate_input_tokens(OPENAI.decode_request(json.dumps(BODY).encode(), {}))
RESERVED = INPUT + MAXIMUM
"""What a request may use at most, and does use where nothing else is said."""
ALL_USED = Script(usage=Tokens(input=INPUT, output=MAXIMUM), first_byte_delay_s=0.003)


def limits_of(measure: Measure, count: int = LIMIT) -> Limits:
    """Room for so many requests, and not quite for one more."""
    if measure == "requests":
        return Limits(requests_per_minute=count)
    return Limits(tokens_per_minute=count * RESERVED + RESERVED - 1)


class House:
    """A server, and who asks it."""

    def __init__(self, server: ServerProcess, store: Store, provider: ScriptedProvider) -> None:
        self.server = server
        self.store = store
        self.provider = provider
        provider.default = ALL_USED

    def payer(self, limits: Limits) -> Payer:
        return Payer(self.store, self.server.data_dir, limits=limits, is_prepaid=False)

    async def ask(self, payer: Payer) -> Reply:
        """On a connection of its own."""
        async with Client(self.server.port, payer.key) as client:
            return await client.ask(max_tokens=MAXIMUM)

    async def burst(self, payer: Payer) -> tuple[list[Reply], list[Reply]]:
        """Those who were let in of many at once, and those who were refused."""
        replies = await asyncio.gather(*[self.ask(payer) for _ in range(CLIENTS)])
        let_in = [reply for reply in replies if reply.is_whole]
        refused = [reply for reply in replies if reply.status == 429]
        assert len(let_in) + len(refused) == CLIENTS
        return let_in, refused


# --- By a clock that the test sets --------------------------------------------------------------

TICK_S = 1 / 1024
STEPS = (
    0.0,
    12.5,
    17.5,
    30 - TICK_S,
    TICK_S,
    30 - TICK_S,
    TICK_S,
    59 + TICK_S,
    2.0,
    60 - TICK_S,
    TICK_S,
)
"""Pauses between bursts. What came in each leaves the window at a moment that is just missed, and then met."""


@pytest.fixture(scope="module", params=[1, 2])
def set_house(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[House, Clocks]]:
    folder: Path = tmp_path_factory.mktemp("windows")
    clocks = Clocks(folder / "clocks", unix_s=START_S, stands_still=True)
    with ScriptedProvider() as provider:
        config = CONFIG.format(url=provider.base_url, workers=request.param)
        with ServerProcess(folder / "data", config, environment=clocks.environment) as server:
            store = open_store(folder / "data")
            yield House(server, store, provider), clocks
            store.close()


@both_measures
async def test_exactly_the_limit_is_let_in_at_each_edge_of_the_window(
    set_house: tuple[House, Clocks], measure: Measure
) -> None:
    house, clocks = set_house
    payer = house.payer(limits_of(measure))
    now_s, entries = 0.0, list[float]()
    for step, pause_s in enumerate(STEPS):
        clocks.advance(pause_s)
        now_s += pause_s
        entries = [at_s for at_s in entries if at_s + 60 > now_s]
        room = LIMIT - len(entries)
        if step == 0:
            # Not all of it, so that more can come later within the same window.
            room = 7
            assert [(await house.ask(payer)).status for _ in range(room)] == [200] * room
        else:
            let_in, refused = await house.burst(payer)
            assert len(let_in) == room, (step, now_s, entries)
            # By then, the earliest one has left: told up to the second.
            wait_s = (entries or [now_s])[0] + 60 - now_s
            assert {reply.headers["retry-after"] for reply in refused} == {str(math.ceil(wait_s))}
        entries += [now_s] * room
    assert len(house.provider.requests) > 3 * LIMIT


async def test_tokens_that_were_set_aside_and_not_used_make_room_for_more(
    set_house: tuple[House, Clocks],
) -> None:
    house, clocks = set_house
    used = INPUT + 10
    house.provider.default = Script(usage=Tokens(input=INPUT, output=10), first_byte_delay_s=0.003)
    limit = LIMIT * RESERVED
    payer = house.payer(Limits(tokens_per_minute=limit))
    for pause_s in (0.0, 60.0, 60.0):
        clocks.advance(pause_s)
        let_in, _ = await house.burst(payer)
        count = len(let_in)
        assert count >= LIMIT
        while (await house.ask(payer)).is_whole:
            count += 1
        assert count == (limit - RESERVED) // used + 1
    house.provider.default = ALL_USED


async def test_no_more_than_may_run_at_once_do(set_house: tuple[House, Clocks]) -> None:
    house, _ = set_house
    payer = house.payer(Limits(concurrent_requests=LIMIT))
    for _ in range(3):
        gate = Gate()
        house.provider.requests.clear()
        house.provider.default = Script(usage=ALL_USED.usage, first_byte_gate=gate)
        burst = asyncio.create_task(house.burst(payer))
        await house.provider.until(lambda: len(house.provider.requests) == LIMIT)
        assert (await house.ask(payer)).status == 429
        gate.open()
        let_in, _ = await burst
        # Some may have come so late that others had left.
        assert len(let_in) >= LIMIT
        assert len(house.provider.requests) == len(let_in)
    house.provider.default = ALL_USED


# --- By the real clock --------------------------------------------------------------------------


async def test_retry_after_is_true_to_the_second_in_real_time(tmp_path: Path) -> None:
    # All side by side: what takes time is the window.
    with ScriptedProvider() as provider:
        trials = [_one_and_two_windows(tmp_path / str(n), n, provider) for n in (1, 2)]
        await asyncio.gather(*trials)


async def _one_and_two_windows(data_dir: Path, workers: int, provider: ScriptedProvider) -> None:
    config = CONFIG.format(url=provider.base_url, workers=workers)
    async with running(ServerProcess(data_dir, config)) as server:
        store = open_store(data_dir)
        house = House(server, store, provider)
        await asyncio.gather(_wait_as_told(house, "requests"), _wait_as_told(house, "tokens"))
        store.close()


async def _wait_as_told(house: House, measure: Measure) -> None:
    payer = house.payer(limits_of(measure))
    let_in, _ = await house.burst(payer)
    assert len(let_in) == LIMIT
    full_s = time.monotonic()
    refused = await house.ask(payer)
    told_s = time.monotonic()
    wait_s = int(refused.headers["retry-after"])
    # The first of them leaves within the last second of what was told, and not before it.
    await asyncio.sleep(full_s + wait_s - 1.5 - time.monotonic())
    assert (await house.ask(payer)).status == 429
    await asyncio.sleep(told_s + wait_s - time.monotonic())
    assert (await house.ask(payer)).is_whole
    await asyncio.sleep(max(0.0, full_s + 60 - time.monotonic()))
    let_in, _ = await house.burst(payer)
    assert len(let_in) == LIMIT - 1
