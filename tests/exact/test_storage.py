"""What the server does when its database takes no writes: it refuses before it asks a model, gives no
answer that is not on record, and goes on by itself when writes are taken again."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.exact.crowd import Client, Reply, running
from tests.exact.disk import fill, locked, mounted
from tests.exact.payer import Payer
from tests.scripted_provider import Gate, Script, ScriptedProvider, Tokens
from tests.server_process import ServerProcess

from dragoman.stores import open_store
from dragoman.stores.ledger.ledger import SETTLE_WAIT_S
from dragoman.stores.ledger.till import FRESH_S

CLIENTS = 16
REFUSED_WITHIN_S = 3.0
"""A second until it is given up, and what a loaded machine takes."""
USED = Tokens(input=10, output=20)
COST = 20 * 1_000_000

CONFIG = """
embedded_model = false
default_model = "priced"
log_format = "json"
workers = {workers}
shutdown_grace_s = 2

[[providers]]
name = "scripted"
wire = "openai"
base_url = "{url}"

[[providers.models]]
id = "priced"
max_output_tokens = 1000
price = {{ input = 0, output = 1000 }}
"""


@pytest.fixture
def own_provider() -> Iterator[ScriptedProvider]:
    with ScriptedProvider(Script(deltas=("one ", "two"), usage=USED)) as provider:
        yield provider


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    with mounted(tmp_path / "disk") as folder:
        yield folder


class Shop:
    """A server, its only customer, and all that the customer was told."""

    def __init__(self, server: ServerProcess, provider: ScriptedProvider) -> None:
        store = open_store(server.data_dir)
        self.payer = Payer(store, server.data_dir, 100_000_000_000)
        store.close()
        self.server = server
        self.provider = provider
        self.replies: list[Reply] = []

    async def ask(self, *, stream: bool = False) -> Reply:
        async with Client(self.server.port, self.payer.key) as client:
            reply = await client.ask(max_tokens=100, stream=stream)
        self.replies.append(reply)
        return reply

    async def ask_at_once(self) -> list[Reply]:
        return await asyncio.gather(*[self.ask(stream=n % 2 == 0) for n in range(CLIENTS)])

    async def ask_until_refused(self) -> set[asyncio.Task[Reply]]:
        """The log that is written ahead has room of its own left, and takes some. Returns what waits."""
        waiting = set[asyncio.Task[Reply]]()
        async with asyncio.timeout(30):
            while True:
                waiting.add(asyncio.create_task(self.ask(stream=len(waiting) % 2 == 0)))
                ended, waiting = await asyncio.wait(waiting, timeout=0.01)
                if any(reply.result().status == 503 for reply in ended):
                    return waiting

    async def begin_stream(self) -> tuple[Gate, asyncio.Task[Reply]]:
        """One that has begun, and goes on when the gate opens."""
        gate = Gate()
        count = len(self.provider.requests)
        self.provider.enqueue(
            Script(deltas=("one ", "two"), usage=USED, frame_gate=gate, frames_before_gate=2)
        )
        stream = asyncio.create_task(self.ask(stream=True))
        await self.provider.until(
            lambda: (
                len(self.provider.requests) > count and self.provider.requests[-1].sent_frames >= 2
            )
        )
        return gate, stream

    async def refuses(self) -> None:
        """All are refused, soon, with words, and nobody is asked for them."""
        count = len(self.provider.requests)
        begun_s = time.monotonic()
        for reply in await self.ask_at_once():
            assert reply.status == 503, reply
            assert int(reply.headers["retry-after"]) >= 1
        assert time.monotonic() - begun_s < REFUSED_WITHIN_S
        assert len(self.provider.requests) == count

    async def recovers(self) -> None:
        async with asyncio.timeout(5):
            while (await self.ask()).status != 200:
                pass
        assert all(reply.is_whole for reply in await self.ask_at_once())

    def is_right(self) -> None:
        """After the server's end: each whole answer has its record and its charge, and nothing else has."""
        store = open_store(self.server.data_dir)
        try:
            assert store.verify() == []
            whole = [reply for reply in self.replies if reply.is_whole]
            for reply in whole:
                record = store.find_usage(reply.request_id)
                assert record is not None
                assert (record.status, record.cost_nano_usd) == ("ok", COST)
        finally:
            store.close()
        look = self.payer.look()
        assert (look.leased, look.charged) == (0, len(whole) * COST)
        assert look.total == self.payer.topped_up
        statuses = self.payer.statuses
        assert statuses["ok"] == len(whole)
        assert statuses["ok"] + statuses["failed"] == len(self.provider.requests)
        assert statuses["interrupted"] == 0
        for reply in self.replies:
            if not reply.is_whole:
                assert b'"finish_reason":"stop"' not in reply.body


@pytest.mark.parametrize("workers", [1, 2])
async def test_a_full_disk_is_a_503_before_anybody_is_asked_and_nothing_is_lost(
    tiny_disk: Path, tmp_path: Path, own_provider: ScriptedProvider, workers: int
) -> None:
    config = CONFIG.format(url=own_provider.base_url, workers=workers)
    data_dir = tiny_disk / "data"
    # The log is on that disk, too, and must be in nobody's way.
    with ServerProcess(data_dir, config) as server:
        shop = Shop(server, own_provider)
        await shop.recovers()
        for _ in range(2):
            gate, stream = await shop.begin_stream()
            filler = await asyncio.to_thread(fill, tiny_disk)
            waiting = await shop.ask_until_refused()
            await shop.refuses()
            gate.open()
            filler.unlink()
            await shop.recovers()
            # What had been let in was only kept waiting; who still waited to be let in was refused.
            assert (await stream).is_whole
            kept = await asyncio.gather(*waiting)
            assert any(reply.is_whole for reply in kept)
            assert all(reply.is_whole or reply.status == 503 for reply in kept)
    shop.is_right()


async def test_a_locked_database_is_a_503_and_streams_end_well_or_say_that_they_failed(
    tmp_path: Path,
) -> None:
    # Side by side, because most of it is waiting.
    await asyncio.gather(*[_lock_out(tmp_path / str(workers), workers) for workers in (1, 2)])


async def _lock_out(folder: Path, workers: int) -> None:
    with ScriptedProvider(Script(deltas=("one ", "two"), usage=USED)) as provider:
        config = CONFIG.format(url=provider.base_url, workers=workers)
        async with running(ServerProcess(folder, config)) as server:
            shop = Shop(server, provider)
            await _lock_and_unlock(shop)
        shop.is_right()
        assert shop.payer.statuses["failed"] == 1


async def _lock_and_unlock(shop: Shop) -> None:
    await shop.recovers()
    early_gate, early = await shop.begin_stream()
    late_gate, late = await shop.begin_stream()
    with locked(shop.server.data_dir):
        # A commit that is this fresh shows that writes are taken, to whoever comes right after it.
        await asyncio.sleep(2 * FRESH_S)
        begun_s = time.monotonic()
        early_gate.open()
        await shop.refuses()
        assert not early.done()
        # Its end is held back until the record is durable, and for so long at most.
        failed = await early
        assert SETTLE_WAIT_S - 1 < time.monotonic() - begun_s < SETTLE_WAIT_S + 3
        assert b'"error"' in failed.body
        assert not failed.is_whole
        late_gate.open()
        await shop.refuses()
        assert not late.done()
    assert (await late).is_whole
    await shop.recovers()
