"""A balance pays for exactly as many requests as it covers, however many ask for it at once.

The provider's answers use all that was held for them, so that what is counted is counted at the hold; or
they use less, and what comes back pays for more. Money is looked at all the time.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path

import pytest
from tests.exact.crowd import Client, Reply
from tests.exact.payer import Look, Payer
from tests.scripted_provider import Script, ScriptedProvider, Tokens
from tests.server_process import ServerProcess

from dragoman.stores import Store, open_store
from dragoman.stores.ledger.account_book import EXACT_UNTIL_SLICES
from dragoman.stores.ledger.till import SLICE_NANO_USD

CLIENTS = 64
MAXIMUM = 100
TOKEN = 1_000_000
"""Nano-USD. Only output is paid for, so that a request holds exactly what its maximum costs."""
HOLD = MAXIMUM * TOKEN
LOOK_EVERY_S = 0.005

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
max_output_tokens = 1000000
price = {{ input = 0, output = 1000 }}
"""


def answer(output_tokens: int) -> Script:
    # A few milliseconds each, so that many are under way at once.
    usage = Tokens(input=10, output=output_tokens)
    return Script(deltas=("one ", "two"), usage=usage, first_byte_delay_s=0.003)


class Watch:
    """What was seen of an account's books, look by look."""

    def __init__(self) -> None:
        self.looks: list[Look] = []
        self._changed = asyncio.Condition()

    async def add(self, look: Look) -> None:
        self.looks.append(look)
        async with self._changed:
            self._changed.notify_all()

    async def until(self, *, exact: bool) -> None:
        async with asyncio.timeout(30), self._changed:
            await self._changed.wait_for(lambda: self.looks[-1].is_exact == exact)


class House:
    """A server of so many workers, and all that ask it."""

    def __init__(
        self, server: ServerProcess, store: Store, workers: int, provider: ScriptedProvider
    ) -> None:
        self.server = server
        self.store = store
        self.workers = workers
        self.provider = provider

    def payer(self, balance: int) -> Payer:
        self.provider.requests.clear()
        return Payer(self.store, self.server.data_dir, balance)

    async def crowd(
        self, payer: Payer, *, clients: int = CLIENTS, rounds: int = 1000
    ) -> list[Reply]:
        """Each asks until it is refused; all replies, refusals included."""

        async def insist(number: int) -> list[Reply]:
            replies = []
            async with Client(self.server.port, payer.key) as client:
                for _ in range(rounds):
                    reply = await client.ask(max_tokens=MAXIMUM, stream=number % 2 == 0)
                    replies.append(reply)
                    if reply.status != 200:
                        break
            return replies

        insisted = await asyncio.gather(*map(insist, range(clients)))
        return [reply for replies in insisted for reply in replies]

    async def one_by_one(self, payer: Payer) -> int:
        """How many are answered, one after another, before one is refused by each of some connections."""
        answered = 0
        for _ in range(2 * self.workers):
            async with Client(self.server.port, payer.key) as client:
                while (await client.ask(max_tokens=MAXIMUM)).status == 200:
                    answered += 1
        return answered

    @asynccontextmanager
    async def watched(self, payer: Payer) -> AsyncIterator[Watch]:
        """Look at the books, and ask for the credits as a client does, all the time."""
        watch = Watch()

        async def look() -> None:
            while True:
                await watch.add(await asyncio.to_thread(payer.look))
                await asyncio.sleep(LOOK_EVERY_S)

        async def ask() -> None:
            async with Client(self.server.port, payer.key) as client:
                while True:
                    reply = await client.send("GET", "/v1/credits")
                    told = json.loads(reply.body)
                    assert told["available_nano_usd"] >= 0
                    assert told["held_nano_usd"] >= 0
                    assert told["balance_nano_usd"] <= payer.topped_up
                    await asyncio.sleep(4 * LOOK_EVERY_S)

        tasks = [asyncio.create_task(look()), asyncio.create_task(ask())]
        try:
            yield watch
        finally:
            for task in tasks:
                task.cancel()
            for task in tasks:
                with suppress(asyncio.CancelledError):
                    await task
        assert watch.looks
        for seen in watch.looks:
            assert seen.free >= 0
            assert seen.leased >= 0
            assert seen.total in totals_of(payer)


def totals_of(payer: Payer) -> set[int]:
    """What there was before its latest top-up, and after it."""
    return {payer.topped_up, payer.topped_up - payer.latest}


def answered(replies: list[Reply]) -> int:
    """How many were answered; every other one was refused for want of money."""
    whole = [reply for reply in replies if reply.is_whole]
    refused = [reply for reply in replies if reply.status == 402]
    assert len(whole) + len(refused) == len(replies)
    return len(whole)


@pytest.fixture(scope="module", params=[1, 2])
def house(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[House]:
    workers: int = request.param
    data_dir: Path = tmp_path_factory.mktemp("house") / "data"
    with ScriptedProvider() as provider:
        config = CONFIG.format(url=provider.base_url, workers=workers)
        with ServerProcess(data_dir, config) as server:
            store = open_store(data_dir)
            yield House(server, store, workers, provider)
            store.close()
        store = open_store(data_dir)
        assert store.verify() == []
        store.close()


# The last two are above where processes lease slices: they run out of them, and share what is left.
@pytest.mark.parametrize("covered", [1, 13, 39, 63, 64, 70, 110])
async def test_exactly_what_is_covered_is_answered_of_many_at_once(
    house: House, covered: int
) -> None:
    house.provider.default = answer(MAXIMUM)
    payer = house.payer(covered * HOLD + HOLD - 1)
    async with house.watched(payer) as watch:
        # One before all others, so that a process has a slice when they come.
        replies = await house.crowd(payer, clients=1, rounds=1)
        replies += await house.crowd(payer)
    assert answered(replies) == covered
    assert len(house.provider.requests) == covered
    assert await house.one_by_one(payer) == 0
    last = payer.look()
    assert (last.free, last.leased, last.charged) == (HOLD - 1, 0, covered * HOLD)
    assert payer.statuses["ok"] == covered
    was_leased = covered * HOLD - 1 > EXACT_UNTIL_SLICES * house.workers * SLICE_NANO_USD
    assert any(not seen.is_exact for seen in watch.looks) == was_leased


@pytest.mark.parametrize("covered", [5, 100])
async def test_exactly_what_is_covered_is_answered_one_by_one(house: House, covered: int) -> None:
    house.provider.default = Script(usage=Tokens(input=10, output=MAXIMUM))
    payer = house.payer(covered * HOLD)
    assert await house.one_by_one(payer) == covered
    assert payer.look() == Look(free=0, leased=0, charged=covered * HOLD, is_exact=True)


@pytest.mark.parametrize("balance", [20 * HOLD, 110 * HOLD])
async def test_what_was_held_and_not_used_pays_for_more(house: House, balance: int) -> None:
    used = 37
    house.provider.default = answer(used)
    payer = house.payer(balance)
    async with house.watched(payer):
        count = answered(await house.crowd(payer))
    # Whoever was refused came while others held; once they have settled there is room again.
    assert count >= balance // HOLD
    count += await house.one_by_one(payer)
    assert count == (balance - HOLD) // (used * TOKEN) + 1
    assert len(house.provider.requests) == count
    assert payer.look().free == balance - count * used * TOKEN


async def test_one_request_may_hold_all_there_is_whoever_has_slices_of_it(house: House) -> None:
    house.provider.default = answer(10)
    payer = house.payer(120 * HOLD)
    leased = set[int]()
    async with AsyncExitStack() as closing:
        clients = [
            await closing.enter_async_context(Client(house.server.port, payer.key))
            for _ in range(6)
        ]
        for asker in clients:
            few = await asyncio.gather(*[client.ask(max_tokens=10) for client in clients])
            assert answered(few) == len(clients)
            look = payer.look()
            leased.add(look.leased)
            everything = (look.total - look.charged) // TOKEN
            assert (await asker.ask(max_tokens=everything + 1)).status == 402
            assert (await asker.ask(max_tokens=everything)).is_whole
    # How many slices are out at a look is chance: on a slow machine they have gone back unused.
    assert max(leased) > 0
    assert payer.look().charged == 6 * 7 * 10 * TOKEN


async def test_a_top_up_brings_slices_back_while_many_ask(house: House) -> None:
    house.provider.default = answer(MAXIMUM)
    paid = (EXACT_UNTIL_SLICES * house.workers * SLICE_NANO_USD) // HOLD + 10
    more = paid + 150
    payer = house.payer(paid * HOLD)

    async with house.watched(payer) as watch:
        count = answered(await house.crowd(payer, clients=1, rounds=1))
        await watch.until(exact=False)
        crowd = asyncio.create_task(house.crowd(payer))
        await watch.until(exact=True)
        await asyncio.to_thread(payer.top_up, more * HOLD)
        count += answered(await crowd)
        # Whoever was refused before the money came asks again, like everybody else.
        count += answered(await house.crowd(payer))
    assert count == paid + more
    assert len(house.provider.requests) == paid + more
    assert payer.look() == Look(free=0, leased=0, charged=(paid + more) * HOLD, is_exact=True)
    modes = [seen.is_exact for seen in watch.looks]
    changes = [mode for mode, before in zip(modes[1:], modes, strict=False) if mode != before]
    # A first look may find the account before anybody asked.
    assert changes[-4:] in ([True, False, True], [False, True, False, True])
