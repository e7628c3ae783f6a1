"""The admin API in this process, over a real store."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from tests.stores.kept_usage import keep

from dragoman.chat import Tool
from dragoman.dialects.openai import OPENAI
from dragoman.policy.administration import Administration, KeyWish
from dragoman.policy.keys import KeyRing
from dragoman.policy.prices import PriceBook
from dragoman.policy.routing import ModelDirectory
from dragoman.records.model import Model
from dragoman.records.tool_server import ServerTool, ToolOutcome
from dragoman.records.usage_record import UsageRecord
from dragoman.stores import Store, open_store
from dragoman.stores.connection import DATABASE_NAME
from dragoman.web.admin.gate import Gate
from dragoman.web.admin.mount import PREFIX, AdminParts, AdminRoute
from dragoman.web.application import Application, Routes
from dragoman.web.door import Door
from dragoman.web.request_log import RequestLog


class SetClock:
    def __init__(self) -> None:
        self.now_s = 1_700_000_000.0

    def unix_s(self) -> float:
        return self.now_s

    def monotonic_s(self) -> float:
        return self.now_s


class Office:
    """What a test needs of it; `call` asks with an admin key."""

    def __init__(
        self, data_dir: Path, store: Store, clock: SetClock, client: httpx.AsyncClient
    ) -> None:
        self.store = store
        self._data_dir = data_dir
        self.clock = clock
        self.client = client
        administration = Administration(store, clock, "cli:tester")
        made = administration.keys.create(KeyWish(name="boss", kind="admin"))
        self.administration = administration
        self.key_id = made.key.id
        self.secret = made.secret
        self.client_secret = administration.keys.create(KeyWish(name="app")).secret

    def keep(self, records: Sequence[UsageRecord], *, is_prepaid: bool = False) -> None:
        """As if these requests had been answered and settled."""
        with closing(sqlite3.connect(self._data_dir / DATABASE_NAME)) as connection:
            keep(connection, records, is_prepaid=is_prepaid)

    async def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        expect: int | None = None,
        key: str | None = None,
        **headers: str,
    ) -> httpx.Response:
        """`expect`: the status that the answer has to have."""
        sent = {
            "authorization": f"Bearer {self.secret if key is None else key}",
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        content = None
        if body is not None:
            content = body if isinstance(body, bytes) else msgspec.json.encode(body)
            sent.setdefault("content-type", "application/json")
        answer = await self.client.request(
            method, f"/admin/v1{path}", content=content, headers=sent
        )
        if expect is not None:
            assert answer.status_code == expect, answer.text
        return answer

    async def json(self, method: str, path: str, body: Any = None, **options: Any) -> Any:
        options.setdefault("expect", 200)
        return (await self.call(method, path, body, **options)).json()


class Tools:
    """Every server has one tool."""

    async def offered(self, servers: Sequence[str], *, timeout_s: float) -> list[ServerTool]:
        return [
            ServerTool(server=key, name="find", function=Tool(name=f"{key}__find"))
            for key in servers
        ]

    async def call(
        self, tool: ServerTool, arguments: str, *, timeout_s: float, max_bytes: int
    ) -> ToolOutcome:
        return ToolOutcome(text=arguments)


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = open_store(tmp_path)
    yield store
    store.close()


@pytest.fixture
async def office(tmp_path: Path, store: Store, clock: SetClock) -> AsyncIterator[Office]:
    keys = KeyRing(store, clock)
    directory = ModelDirectory(
        [
            Model(id="small", provider="p", upstream_name="s", aliases=("s",)),
            Model(id="vendor/large", provider="q", upstream_name="l", context_tokens=4096),
        ],
        "small",
    )
    route = AdminRoute(
        OPENAI,
        Gate(keys, clock, Door(keys, clock).origin_of),
        AdminParts(
            store=store,
            clock=clock,
            directory=directory,
            prices=PriceBook(store, clock),
            version="1.2.3",
            server_url="http://here",
            tool_box=Tools(),
        ),
    )
    log = RequestLog(clock, level="error")
    application = Application(Routes({}, {PREFIX: route}, [("/", OPENAI)]), log, clock, ())
    transport = httpx.ASGITransport(application, client=("192.0.2.7", 4000))
    async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
        yield Office(tmp_path, store, clock, client)
    log.close()
