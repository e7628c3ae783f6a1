"""A pipeline over scripted targets and books in memory, for tests of a request's life."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any, Literal

import msgspec
from tests.accounting_fake import FakeAccounting
from tests.policy.project_books import ProjectStoreInMemory

from dragoman.chat import (
    ChatRequest,
    ChatResponse,
    Finished,
    Message,
    PartDelta,
    PartEnded,
    PartStarted,
    ResponseHead,
    Started,
    StreamEvent,
    Text,
    Usage,
    collect,
)
from dragoman.errors import DragomanError
from dragoman.pipeline import Books, Pipeline, Plan, Tab
from dragoman.policy.limits import Limiter
from dragoman.policy.prices import PriceBook
from dragoman.policy.projects import ProjectBook
from dragoman.policy.routing import ModelDirectory
from dragoman.ports import ProviderHealth, StreamEncoder, WireTypes
from dragoman.ports.limits import Full, Standing, Subject
from dragoman.records.account import Account, AccountId
from dragoman.records.key import KeyId
from dragoman.records.model import Model
from dragoman.records.price import Price
from dragoman.records.principal import Principal
from dragoman.stores.windows import WindowTable

USAGE = Usage(input_tokens=3, output_tokens=2)
Step = list[StreamEvent] | DragomanError | asyncio.Event


class ScriptedTarget:
    """A provider that follows a script per model: events, an error, or an event to wait for."""

    name = "scripted"

    def __init__(self, **scripts: Sequence[Step]) -> None:
        self.scripts = scripts
        self.gives_wholes = False
        self.asked: list[ChatRequest] = []
        self.was_asked = asyncio.Event()
        self.closed: list[str] = []

    async def stream(
        self, request: ChatRequest, model: Model
    ) -> AsyncGenerator[list[StreamEvent], None]:
        self.asked.append(request)
        self.was_asked.set()
        try:
            for step in self.scripts[model.id]:
                if isinstance(step, DragomanError):
                    raise step
                if isinstance(step, asyncio.Event):
                    await step.wait()
                else:
                    yield step
        finally:
            self.closed.append(model.id)

    async def complete(self, request: ChatRequest, model: Model) -> ChatResponse | None:
        if not self.gives_wholes:
            return None
        async with aclosing(self.stream(request, model)) as batches:
            return collect([event async for batch in batches for event in batch])

    async def count_input(self, request: ChatRequest, model: Model) -> int | None:
        return 11 if model.id == "counting" else None

    async def check(self) -> ProviderHealth:
        return ProviderHealth(ok=True, message="scripted")

    async def aclose(self) -> None:
        return None


class PlainDialect:
    """A dialect without rules of its own."""

    name: Literal["openai"] = "openai"
    wire = WireTypes(
        path="/",
        summary="",
        request=None,
        response=None,
        stream_frame=None,
        error=None,
        stream_media_type="",
        examples=(),
    )
    names_request_in_own_header = False

    def decode_request(self, body: bytes, headers: Mapping[str, str]) -> ChatRequest:
        raise AssertionError("the pipeline decodes nothing")

    def bind_target(self, request: ChatRequest, kind: Literal["model", "project"]) -> ChatRequest:
        assert kind in ("model", "project")
        return request

    def encode_response(
        self, request: ChatRequest, response: ChatResponse, head: ResponseHead
    ) -> bytes:
        raise AssertionError("the pipeline encodes nothing")

    def encode_error(self, error: DragomanError, request_id: str) -> bytes:
        raise AssertionError("the pipeline encodes nothing")

    def error_status(self, error: DragomanError) -> int:
        return error.status

    def stream_encoder(self, request: ChatRequest, head: ResponseHead) -> StreamEncoder:
        raise AssertionError("the pipeline encodes nothing")

    def stream_content_type(self, request: ChatRequest) -> str:
        return ""


class FixedClock:
    now_s = 100.0

    def monotonic_s(self) -> float:
        return self.now_s

    def unix_s(self) -> float:
        return 1_700_000_000.5


def said(text: str, usage: Usage | None = USAGE, choice: int = 0) -> list[StreamEvent]:
    return [
        Started(choice),
        PartStarted(Text(""), choice),
        PartDelta(text, choice),
        PartEnded(choice),
        Finished("stop", choice, None, usage),
    ]


def asking(target: str | None = "first", **fields: Any) -> ChatRequest:
    return ChatRequest(
        dialect="openai", target=target, messages=(Message("user", (Text("hi"),)),), **fields
    )


class Prices:
    """A repository of prices that never change."""

    def __init__(self, *prices: Price) -> None:
        self.prices = list(prices)

    def generation(self) -> int:
        return 1

    def list_prices(self) -> list[Price]:
        return self.prices

    def add_price(self, price: Price) -> None:
        raise AssertionError(f"nobody sets the price of {price.model}")


FREE_ACCOUNT = Account(id=AccountId("acct_free"), name="free", is_prepaid=False)
OWNER = Principal(key_id=KeyId("key_1"), name="first", account=FREE_ACCOUNT)


class NoWindows:
    """For principals without limits, of whom nothing is counted."""

    def enter(self, subjects: tuple[Subject, ...]) -> tuple[Standing, ...] | Full:
        raise AssertionError(subjects)

    def reserve(
        self,
        subjects: tuple[Subject, ...],
        standings: tuple[Standing, ...],
        before: int,
        tokens: int,
    ) -> tuple[Standing, ...] | Full:
        raise AssertionError(subjects)

    def leave(
        self,
        subjects: tuple[Subject, ...],
        standings: tuple[Standing, ...],
        before: int,
        tokens: int,
        *,
        is_withdrawn: bool = False,
    ) -> tuple[Standing, ...]:
        raise AssertionError(subjects)

    def look(self, subject: Subject) -> Standing:
        raise AssertionError(subject)


class House:
    def __init__(
        self,
        models: Mapping[str, dict[str, Any]],
        scripts: Mapping[str, Sequence[Step]],
        *,
        prices: Sequence[Price] = (),
        principal: Principal = OWNER,
        balance: int = 0,
        windows: Path | None = None,
        projects: ProjectStoreInMemory | None = None,
    ) -> None:
        self.target = ScriptedTarget(**scripts)
        rows = [
            Model(id=name, provider="scripted", upstream_name=name, **fields)
            for name, fields in models.items()
        ]
        directory = ModelDirectory(rows, default_model=rows[0].id)
        self.clock = FixedClock()
        self.numbers = itertools.count(1)
        self.principal = principal
        self.dialect = PlainDialect()
        self.accounting = FakeAccounting(**{principal.account.id: balance})
        table = NoWindows() if windows is None else WindowTable(windows, self.clock)
        self.limiter = Limiter(table, self.clock)
        books = Books(
            accounting=self.accounting,
            limiter=self.limiter,
            prices=PriceBook(Prices(*prices), self.clock),
        )
        self.projects = projects
        self.pipeline = Pipeline(
            directory,
            {"scripted": self.target},
            self.clock,
            books,
            max_choices=4,
            projects=None if projects is None else ProjectBook(projects, directory, self.clock),
        )

    def tab(self) -> Tab:
        tab = self.pipeline.receive(self.principal, f"req_{next(self.numbers)}", PlainDialect())
        tab.enter()
        return tab

    async def admit(self, request: ChatRequest) -> Plan:
        return await self.pipeline.admit(request, self.tab())

    async def complete(self, request: ChatRequest) -> tuple[ChatResponse, ResponseHead]:
        tab = self.tab()
        return await self.pipeline.complete(await self.pipeline.admit(request, tab), tab)

    async def stream(self, request: ChatRequest) -> tuple[list[StreamEvent], ResponseHead]:
        tab = self.tab()
        plan = await self.pipeline.admit(msgspec.structs.replace(request, stream=True), tab)
        answer = await self.pipeline.open(plan, tab)
        events: list[StreamEvent] = []
        async with aclosing(answer.batches) as batches:
            async for batch in batches:
                events += batch
        return events, answer.head


def house(first: Sequence[Step], second: Sequence[Step] = (), **fields: Any) -> House:
    fallbacks = {"fallbacks": ("second",)} if second else {}
    return House({"first": fallbacks | fields, "second": {}}, {"first": first, "second": second})
