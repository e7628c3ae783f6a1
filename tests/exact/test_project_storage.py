"""Conversations and what is said of them when the database takes no writes: nobody is told that something is kept which
is not, everybody is told soon, and whoever says the same again is taken at their word once."""

from __future__ import annotations

import asyncio
import itertools
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
from tests.exact.disk import fill, locked, mounted
from tests.exact.payer import Payer
from tests.policy.project_books import attached, project
from tests.scripted_provider import Script, ScriptedProvider, Tokens
from tests.server_process import ServerProcess

from dragoman.records.campaign import Arm, Campaign, CampaignId
from dragoman.records.metric import Metric, MetricId
from dragoman.stores import open_store
from dragoman.stores.connection import BUSY_TIMEOUT_S, DATABASE_NAME

STUDIO, FEEDBACK = "/api/v1/chat/completions", "/api/v1/feedback"
COST = 20 * 1_000_000
TELLERS = 24
CONFIG = """
embedded_model = false
default_model = "priced"
log_format = "json"

[[providers]]
name = "scripted"
wire = "openai"
base_url = "{url}"

[[providers.models]]
id = "priced"
max_output_tokens = 1000
price = {{ input = 0, output = 1000 }}
"""


class Shop:
    """A project with a campaign, and all that its only customer was told."""

    def __init__(self, server: ServerProcess) -> None:
        self.server = server
        store = open_store(server.data_dir)
        self.payer = Payer(store, server.data_dir, 2_000_000_000)
        models = (attached("a", "priced"), attached("b", "priced"))
        self.project = project("shop", *models, account_id=self.payer.account.id)
        store.add_project(self.project)
        liked = MetricId("liked-id")
        store.add_metric(
            Metric(id=liked, project_id=self.project.id, key="liked", name="Liked", kind="bool")
        )
        self.campaign = Campaign(
            id=CampaignId(str(UUID(int=1, version=4))),
            project_id=self.project.id,
            key="c",
            name="c",
            metric_id=liked,
            kind="direct",
            arms=(Arm(key="A", model="a"), Arm(key="B", model="b")),
            min_scores=100_000,
        )
        store.add_campaign(self.campaign)
        store.close()
        self.http = httpx.AsyncClient(
            base_url=server.url,
            headers={"authorization": f"Bearer {self.payer.key}"},
            timeout=60,
            verify=False,
        )
        self.answered: list[str] = []
        """Completions whose end was seen."""
        self.told: dict[str, str] = {}
        """Ids of feedback that was taken, by the key that it was sent with."""
        self._meant: dict[str, str] = {}
        self._numbers = itertools.count(1)

    async def ask(self) -> int:
        messages = [{"role": "user", "content": "wherever it may be " * 40}]
        body = {"model": "shop", "messages": messages, "max_tokens": 100}
        answer = await self.http.post(STUDIO, json=body)
        if answer.status_code == 200:
            self.answered.append(answer.json()["choices"][0]["completion_id"])
        return answer.status_code

    async def tell(self, completion_id: str, key: str) -> int:
        body = {
            "completion_id": completion_id,
            "metric": "liked",
            "value": 1,
            "reason": "why " * 99,
        }
        answer = await self.http.post(FEEDBACK, json=body, headers={"idempotency-key": key})
        if answer.status_code == 200:
            known = self.told.setdefault(key, answer.json()["feedback_id"])
            assert known == answer.json()["feedback_id"]
        else:
            assert answer.status_code == 503, answer.text
            assert int(answer.headers["retry-after"]) >= 1
            assert "database" not in answer.text
        return answer.status_code

    def keys(self, count: int) -> list[str]:
        return [f"remark-{next(self._numbers)}" for _ in range(count)]

    async def tell_all(self, keys: list[str]) -> list[int]:
        """Each is said of the same completion whenever it is said."""
        return await asyncio.gather(
            *[self.tell(self._meant.setdefault(key, self.answered[-1]), key) for key in keys]
        )

    async def tell_until_refused(self) -> list[str]:
        """What room the log that is written ahead has left is used up. Returns what was refused."""
        async with asyncio.timeout(30):
            while True:
                keys = self.keys(8)
                statuses = await self.tell_all(keys)
                if 503 in statuses:
                    return [
                        key for key, status in zip(keys, statuses, strict=True) if status != 200
                    ]

    async def recovers(self) -> None:
        async with asyncio.timeout(10):
            while await self.ask() != 200:
                pass

    async def is_kept_up(self) -> None:
        """Housekeeping has gone on: all is counted, and found by its words."""
        count = len(self.answered)
        async with asyncio.timeout(20):
            while True:
                query: dict[str, str | int] = {
                    "project": "shop",
                    "search": "wherever",
                    "limit": 1000,
                }
                found = (await self.http.get("/api/v1/interactions", params=query)).json()
                ids = {row["completion_id"] for row in found["data"]}
                counted = self.rows("SELECT coalesce(sum(requests), 0) FROM campaign_arms")
                if set(self.answered) <= ids and counted[0][0] >= count:
                    return
                await asyncio.sleep(0.1)

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        path = self.server.data_dir / DATABASE_NAME
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
            return database.execute(query).fetchall()

    def is_right(self) -> None:
        """After the server's end: what was acknowledged is there, once, and no more was charged."""
        store = open_store(self.server.data_dir)
        assert store.verify() == []
        (scored,) = [sum(a.scores.n + a.later_scores.n for a in store.tally(self.campaign.id).arms)]
        store.close()
        # A failed request leaves a row as well, for nothing.
        rows = self.rows(
            "SELECT i.completion_id, i.status, i.cost, u.status, u.cost FROM interactions i"
            " JOIN usage_records u USING (request_id)"
        )
        assert all(row[1:3] == row[3:5] for row in rows)
        good = [row[0] for row in rows if row[1] == "ok"]
        assert sorted(good) == sorted(self.answered)
        look = self.payer.look()
        assert (look.leased, look.charged) == (0, len(good) * COST)
        assert look.total == self.payer.topped_up
        kept = [row[0] for row in self.rows("SELECT id FROM feedback")]
        assert sorted(kept) == sorted(self.told.values())
        assert scored == len(kept)


@pytest.fixture
def own_provider() -> Iterator[ScriptedProvider]:
    with ScriptedProvider(Script(text="There.", usage=Tokens(input=10, output=20))) as provider:
        yield provider


async def test_a_locked_database_loses_nothing_that_was_said(
    tmp_path: Path, own_provider: ScriptedProvider
) -> None:
    with ServerProcess(tmp_path / "data", CONFIG.format(url=own_provider.base_url)) as server:
        shop = Shop(server)
        await shop.recovers()
        early, keys = shop.keys(4), shop.keys(TELLERS)
        assert await shop.tell_all(early) == [200] * 4
        with locked(server.data_dir):
            begun_s = time.monotonic()
            remarks = asyncio.create_task(shop.tell_all(keys))
            # Who asks is refused within a second or two, whatever others wait for.
            assert await shop.ask() == 503
            assert time.monotonic() - begun_s < 4
            assert (await shop.http.get("/api/v1/interactions?project=shop")).status_code == 200
            assert await remarks == [503] * TELLERS
            # However many there are, they wait together.
            assert time.monotonic() - begun_s < BUSY_TIMEOUT_S + 4
        await shop.recovers()
        assert await shop.tell_all(early + keys) == [200] * (4 + TELLERS)
        await shop.is_kept_up()
        await shop.http.aclose()
    shop.is_right()


async def test_a_full_disk_loses_nothing_that_was_said(
    tmp_path: Path, own_provider: ScriptedProvider
) -> None:
    with mounted(tmp_path / "disk") as disk:
        with ServerProcess(disk / "data", CONFIG.format(url=own_provider.base_url)) as server:
            shop = Shop(server)
            await shop.recovers()
            for _ in range(2):
                filler = await asyncio.to_thread(fill, disk)
                refused = await shop.tell_until_refused()
                begun_s = time.monotonic()
                keys = shop.keys(TELLERS)
                statuses = await shop.tell_all(keys)
                assert time.monotonic() - begun_s < 4
                assert 503 in statuses
                assert 503 in await asyncio.gather(*[shop.ask() for _ in range(8)])
                filler.unlink()
                await shop.recovers()
                again = refused + keys
                assert await shop.tell_all(again) == [200] * len(again)
                await shop.is_kept_up()
            await shop.http.aclose()
        shop.is_right()
