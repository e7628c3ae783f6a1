"""What begins and ends at a moment does so at that moment, in every process: months, and rotated keys."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.exact.clocks import Clocks
from tests.exact.crowd import Client, Reply
from tests.exact.payer import Payer
from tests.scripted_provider import Script, ScriptedProvider, Tokens
from tests.server_process import ServerProcess

from dragoman.policy.keys import mint_key
from dragoman.stores import Store, open_store

CLIENTS = 32
HOLD = 100 * 1_000_000
COVERED = 5
TICK_S = 1 / 1024

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
price = {{ input = 0, output = 1000 }}
"""


class House:
    """A server whose calendar stands still until it is set."""

    def __init__(
        self, server: ServerProcess, store: Store, clocks: Clocks, provider: ScriptedProvider
    ) -> None:
        self.server = server
        self.store = store
        self.clocks = clocks
        self.provider = provider

    async def burst(self, payer: Payer) -> list[Reply]:
        """The answers to many that ask at once; all others are refused for want of money."""

        async def ask() -> Reply:
            async with Client(self.server.port, payer.key) as client:
                return await client.ask(max_tokens=100)

        replies = await asyncio.gather(*[ask() for _ in range(CLIENTS)])
        assert {reply.status for reply in replies} <= {200, 402}
        for reply in replies:
            assert reply.is_whole or b"monthly limit of $0.59" in reply.body
        return [reply for reply in replies if reply.is_whole]

    async def administer(self, method: str, path: str, **body: Any) -> Any:
        secret, key = mint_key("boss", time.time(), kind="admin")
        await asyncio.to_thread(self.store.add_key, key)
        async with Client(self.server.port, secret) as client:
            reply = await client.send(method, f"/admin/v1{path}", body or None)
        assert reply.status in (200, 201), reply
        return msgspec.json.decode(reply.body)


@pytest.fixture(scope="module", params=[1, 2])
def house(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[House]:
    folder: Path = tmp_path_factory.mktemp("calendar")
    clocks = Clocks(folder / "clocks", unix_s=1_800_000_000.0, stands_still=False)
    used_up = Script(usage=Tokens(input=10, output=100), first_byte_delay_s=0.003)
    with ScriptedProvider(used_up) as provider:
        config = CONFIG.format(url=provider.base_url, workers=request.param)
        with ServerProcess(folder / "data", config, environment=clocks.environment) as server:
            store = open_store(folder / "data")
            yield House(server, store, clocks, provider)
            assert store.verify() == []
            store.close()


@pytest.mark.parametrize(
    ("zone", "begins"),
    [
        ("Pacific/Auckland", datetime(2027, 1, 31, 11, tzinfo=UTC)),
        ("UTC", datetime(2027, 2, 1, tzinfo=UTC)),
        ("America/New_York", datetime(2027, 2, 1, 5, tzinfo=UTC)),
        ("Europe/Vienna", datetime(2027, 3, 31, 22, tzinfo=UTC)),
    ],
)
@pytest.mark.parametrize("is_prepaid", [False, True])
async def test_a_monthly_limit_begins_anew_at_midnight_of_the_accounts_own_zone(
    house: House, zone: str, begins: datetime, is_prepaid: bool
) -> None:
    begins_s = begins.timestamp()
    payer = Payer(
        house.store,
        house.server.data_dir,
        100 * HOLD if is_prepaid else 0,
        is_prepaid=is_prepaid,
        monthly_limit_nano_usd=COVERED * HOLD + 9 * HOLD // 10,
        time_zone=zone,
    )
    house.clocks.set(unix_s=begins_s - 86400)
    assert len(await house.burst(payer)) == COVERED
    house.clocks.set(unix_s=begins_s - TICK_S)
    assert await house.burst(payer) == []
    house.clocks.set(unix_s=begins_s)
    assert len(await house.burst(payer)) == COVERED
    assert await house.burst(payer) == []
    assert payer.look().charged == 2 * COVERED * HOLD


@asynccontextmanager
async def connected(house: House, key: str) -> AsyncIterator[list[Client]]:
    """Some connections, so that each process has one."""
    async with AsyncExitStack() as closing:
        clients = [Client(house.server.port, key) for _ in range(6)]
        for client in clients:
            await closing.enter_async_context(client)
        yield clients


async def statuses(clients: list[Client]) -> set[int]:
    return {(await client.send("GET", "/v1/models")).status for client in clients}


async def test_both_keys_work_exactly_as_long_as_the_grace_says(house: House) -> None:
    payer = Payer(house.store, house.server.data_dir, is_prepaid=False)
    async with connected(house, payer.key) as old:
        assert await statuses(old) == {200}
        made = await house.administer("POST", f"/keys/{payer.key_id}/rotate", grace_s=3600)
        rotated_s = house.clocks.unix_s
        async with connected(house, made["secret"]) as new:
            for passed_s in (0, 3600 - TICK_S):
                house.clocks.set(unix_s=rotated_s + passed_s)
                assert await statuses(old) == await statuses(new) == {200}
            house.clocks.set(unix_s=rotated_s + 3600)
            assert await statuses(old) == {401}
            assert await statuses(new) == {200}


async def test_a_key_ends_at_once_where_there_is_no_grace_and_where_it_is_revoked(
    house: House,
) -> None:
    payer = Payer(house.store, house.server.data_dir, is_prepaid=False)
    async with connected(house, payer.key) as old:
        assert await statuses(old) == {200}
        made = await house.administer("POST", f"/keys/{payer.key_id}/rotate", grace_s=0)
        assert await statuses(old) == {401}
        async with connected(house, made["secret"]) as new:
            assert await statuses(new) == {200}
            await house.administer("DELETE", f"/keys/{made['key']['id']}")
            assert await statuses(new) == {401}
