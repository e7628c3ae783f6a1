"""The routes about conversations in this process, over a real store: what tests of them need."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx

from dragoman.app.conversations import Parts, conversation_routes
from dragoman.dialects.studio import STUDIO
from dragoman.policy.administration import (
    Administration,
    AttachedModelWish,
    CampaignWish,
    KeyWish,
    MetricWish,
    ProjectWish,
    ScopesWish,
)
from dragoman.policy.administration.project_wishes import ArmWish
from dragoman.policy.keys import KeyRing
from dragoman.policy.projects import ProjectBook
from dragoman.policy.routing import ModelDirectory
from dragoman.records.account import Account, AccountId
from dragoman.records.campaign import CampaignId, CampaignKind
from dragoman.records.interaction import Interaction
from dragoman.records.model import Model
from dragoman.records.project import Project
from dragoman.stores import Store, open_store
from dragoman.web.application import Application, Routes
from dragoman.web.door import Door
from dragoman.web.in_flight import InFlight
from dragoman.web.request_log import RequestLog

NOW_S = 1_800_000_000.0
HOSTILE_UUID = "00000000-0000-4000-8000-00000000dead"


class SetClock:
    def __init__(self) -> None:
        self.now_s = NOW_S

    def unix_s(self) -> float:
        return self.now_s

    def monotonic_s(self) -> float:
        return self.now_s


class Place:
    """A server's routes, and what is behind them. `call` asks with a key of the account that owns `support`."""

    def __init__(
        self, store: Store, clock: SetClock, directory: ModelDirectory, client: httpx.AsyncClient
    ) -> None:
        self.store = store
        self.clock = clock
        self.client = client
        self.administration = Administration(store, clock, "cli:tester", directory=directory)
        self.secret = self.key()
        self.project("support")
        self.metric("helpful")
        self.metric("score", kind="scalar")

    def key(self, **wish: Any) -> str:
        return self.administration.keys.create(KeyWish(name="app", **wish)).secret

    def scoped_key(self, *projects: str) -> str:
        return self.key(scopes=ScopesWish(projects=projects))

    def account(self, name: str) -> AccountId:
        account = Account(id=AccountId(f"acct_{name}"), name=name, is_prepaid=False)
        self.store.add_account(account)
        return account.id

    def project(self, key: str, **wish: Any) -> Project:
        models = (AttachedModelWish(model="gpt", key="fast"), AttachedModelWish(model="claude"))
        return self.administration.projects.create(ProjectWish(key=key, models=models, **wish))[0]

    def metric(self, key: str, *, project: str = "support", kind: Any = "bool") -> str:
        wish = MetricWish(key=key, kind=kind)
        return self.administration.metrics.create(project, wish)[0].id

    def campaign(self, key: str, metric: str, kind: CampaignKind = "direct") -> CampaignId:
        wish = CampaignWish(
            key=key, metric=metric, kind=kind, arms=(ArmWish(model="fast"), ArmWish(model="claude"))
        )
        return self.administration.campaigns.create("support", wish)[0].id

    async def ask(
        self, method: str, path: str, body: Any = None, *, key: str | None = None, **more: Any
    ) -> httpx.Response:
        headers = {"authorization": f"Bearer {key or self.secret}", **more.pop("headers", {})}
        if body is not None:
            more["json"] = body
        return await self.client.request(method, f"/api/v1{path}", headers=headers, **more)

    async def call(self, method: str, path: str, body: Any = None, **more: Any) -> Any:
        """The body of an answer that has to be one."""
        answer = await self.ask(method, path, body, **more)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def refusal(
        self, status: int, method: str, path: str, body: Any = None, **more: Any
    ) -> tuple[str | None, str]:
        """The field at fault, and the message."""
        answer = await self.ask(method, path, body, **more)
        assert answer.status_code == status, answer.text
        error = answer.json()["error"]
        return error["param"], error["message"]

    async def told(self, **fields: Any) -> str:
        """The completion id of an interaction that is imported."""
        added = await self.call("POST", "/interactions", interaction(**fields))
        return str(added["completion_id"])

    def kept(self, completion_id: str) -> Interaction:
        found = self.store.find_interaction(completion_id)
        assert found is not None
        return found.interaction


def interaction(text: str = "Where is my parcel?", **fields: Any) -> dict[str, Any]:
    return {
        "project": "support",
        "messages": [{"role": "user", "content": text}],
        "completion": "On its way.",
        "model_service": "fast",
        **fields,
    }


def some_uuid() -> str:
    return str(uuid.uuid4())


@asynccontextmanager
async def open_place(data_dir: Path, max_body_bytes: int = 1 << 20) -> AsyncIterator[Place]:
    async with AsyncExitStack() as closing:
        store = open_store(data_dir)
        closing.callback(store.close)
        clock = SetClock()
        directory = ModelDirectory(
            [
                Model(id="gpt", provider="p", upstream_name="gpt", aliases=("gpt-alias",)),
                Model(id="claude", provider="p", upstream_name="claude"),
            ],
            "gpt",
        )
        parts = Parts(
            door=Door(KeyRing(store, clock), clock),
            book=ProjectBook(store, directory, clock),
            store=store,
            directory=directory,
            clock=clock,
            max_body_bytes=max_body_bytes,
            body_timeout_s=1,
            in_flight=InFlight(),
        )
        routes = conversation_routes(parts, closing)
        exact = {path: route for path, route in routes.items() if not path.endswith("/")}
        below = {path: route for path, route in routes.items() if path.endswith("/")}
        log = RequestLog(clock, level="error")
        closing.callback(log.close)
        application = Application(Routes(exact, below, [("/", STUDIO)]), log, clock, ())
        client = await closing.enter_async_context(
            httpx.AsyncClient(
                transport=httpx.ASGITransport(application), base_url="http://here", timeout=30
            )
        )
        yield Place(store, clock, directory, client)
