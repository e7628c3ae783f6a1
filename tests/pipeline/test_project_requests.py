"""Requests to a project: what is gathered of them, how rounds add up, and when a first token is too late."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.pipeline.house import House, Step, asking, said
from tests.policy.project_books import ProjectStoreInMemory, attached, project

from dragoman.chat import (
    ChatRequest,
    Failed,
    Message,
    NanoUSD,
    PartDelta,
    PartStarted,
    Reasoning,
    RequestContext,
    Started,
    StreamEvent,
    Text,
    Usage,
)
from dragoman.errors import (
    DragomanError,
    FirstTokenTimeout,
    InsufficientCredits,
    ProviderGarbled,
    ProviderOverloaded,
)
from dragoman.pipeline import Plan, Tab
from dragoman.policy.interactions import keeping
from dragoman.records.account import Account, AccountId
from dragoman.records.interaction import Interaction
from dragoman.records.key import KeyId
from dragoman.records.price import Price, PriceId, PriceTier
from dragoman.records.principal import Principal

PAYER = Account(id=AccountId("acct_payer"), name="payer")
PRINCIPAL = Principal(key_id=KeyId("key_p"), name="paid", account=PAYER)


def price(model: str, each: int) -> Price:
    """Of any token, in nano-USD for a million."""
    tier = PriceTier(input=each, cached_input=each, cache_write=each, output=each)
    return Price(
        id=PriceId(f"price_{model}"), model=model, valid_from_s=0.0, source="api", tiers=(tier,)
    )


def shop_house(
    first: Sequence[Step],
    second: Sequence[Step] = (),
    *,
    prices: Sequence[Price] = (),
    balance: int = 10**9,
    model: dict[str, Any] | None = None,
    **fields: Any,
) -> House:
    """A project `shop` whose one model is `first`, which may fall back to `second`."""
    shop = project("shop", attached("main", "first", **fields), account_id=PAYER.id)
    return House(
        {"first": {"fallbacks": ("second",), **(model or {})}, "second": {}},
        {"first": first, "second": second},
        prices=prices or (price("first", 1_000_000), price("second", 3_000_000)),
        principal=PRINCIPAL,
        balance=balance,
        projects=ProjectStoreInMemory([shop]),
    )


def to_shop(**fields: Any) -> ChatRequest:
    return asking("shop", **fields)


class Visit:
    """One request, led as the route leads it."""

    def __init__(self, made: House, request: ChatRequest) -> None:
        self.made = made
        self.request = request
        self.tab = made.tab()
        self.events: list[StreamEvent] = []
        self.error: DragomanError | None = None

    async def run(self) -> Visit:
        pipeline, tab = self.made.pipeline, self.tab
        try:
            plan = await pipeline.admit(self.request, tab)
            if self.request.stream:
                answer = await pipeline.open(plan, tab)
                async with aclosing(answer.batches) as batches:
                    async for batch in batches:
                        self.events += batch
                        if isinstance(batch[-1], Failed):
                            raise batch[-1].error
            else:
                await pipeline.complete(plan, tab)
        except DragomanError as error:
            self.error = tab.error = error
            tab.close("failed", error.status)
        return self


def kept(made: House) -> list[Interaction]:
    return made.accounting.interactions


def completion(row: Interaction) -> Any:
    assert row.content is not None
    raw = row.content.completion
    return None if raw is None else json.loads(bytes(raw))["content"]


either_form = pytest.mark.parametrize("stream", [False, True])


# --- What is gathered ---


@either_form
@pytest.mark.parametrize("is_whole", [False, True])
async def test_the_answer_that_was_given_is_kept(stream: bool, is_whole: bool) -> None:
    made = shop_house([said("hal")[:3], ProviderGarbled()], [said("second")])
    if stream:
        made = shop_house([[Started()], ProviderGarbled()], [said("second")])
    made.target.gives_wholes = is_whole
    visit = await Visit(made, to_shop(stream=stream)).run()
    assert visit.error is None
    (row,) = kept(made)
    assert (completion(row), row.model, row.status) == ("second", "second", "ok")
    assert row.cost_nano_usd == made.accounting.settled[0].cost_nano_usd == 15
    assert made.accounting.settled[0].project == "shop"


async def test_an_answer_that_broke_off_is_kept_as_far_as_it_came() -> None:
    made = shop_house([said("hal")[:3], ProviderGarbled()])
    tab = made.tab()
    plan = await made.pipeline.admit(to_shop(stream=True), tab)
    answer = await made.pipeline.open(plan, tab)
    async with aclosing(answer.batches) as batches:
        async for _ in batches:
            pass
    tab.error = ProviderGarbled()
    tab.close("failed", 200)
    (row,) = kept(made)
    assert (completion(row), row.status, row.error) == ("hal", "failed", "provider_garbled")
    assert row.finish_reason is None
    assert row.cost_nano_usd == 0


async def test_nothing_that_comes_after_the_settlement_is_kept() -> None:
    made = shop_house([said("one")[:3], said("two")[2:3]])
    tab = made.tab()
    plan = await made.pipeline.admit(to_shop(stream=True), tab)
    answer = await made.pipeline.open(plan, tab)
    await anext(answer.batches)
    tab.close("client_gone", 200)
    await anext(answer.batches)
    await answer.batches.aclose()
    assert [completion(row) for row in kept(made)] == ["one"]


async def test_an_answer_beyond_its_bound_is_kept_up_to_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(keeping, "MAX_ANSWER_BYTES", 6)
    events = said("abc")
    made = shop_house([events[:3], [PartDelta("def")], [PartDelta("ghi")], events[3:]])
    await Visit(made, to_shop(stream=True)).run()
    (row,) = kept(made)
    assert (completion(row), row.status, row.finish_reason) == ("abcdef", "ok", "stop")


async def test_a_choice_that_nobody_asked_for_is_not_kept() -> None:
    made = shop_house([[*said("one", None), *said("two", choice=1)]])
    visit = await Visit(made, to_shop(stream=True)).run()
    assert isinstance(visit.error, ProviderGarbled)
    assert [(row.choice, row.status) for row in kept(made)] == [(0, "failed")]


async def test_completion_ids_and_the_session_are_those_of_the_answer() -> None:
    made = shop_house([[*said("one", None), *said("two", choice=1)]])
    tab = made.tab()
    plan = await made.pipeline.admit(to_shop(choices=2), tab)
    _, head = await made.pipeline.complete(plan, tab)
    assert tuple(row.completion_id for row in kept(made)) == head.completion_ids
    assert {row.session_id for row in kept(made)} == {head.session_id}
    assert len(set(head.completion_ids)) == 2


async def test_a_request_that_a_target_refused_is_not_kept() -> None:
    made = shop_house([InsufficientCredits()])
    visit = await Visit(made, to_shop()).run()
    assert visit.error is not None
    assert kept(made) == []
    assert [record.status for record in made.accounting.settled] == ["failed"]


async def test_requests_to_models_are_gathered_nowhere() -> None:
    made = shop_house([said("hello")])
    visit = await Visit(made, asking("first")).run()
    assert visit.tab.conversation is None
    assert kept(made) == []
    assert made.projects is not None
    assert made.projects.loads == 0


# --- Rounds ---


async def rounds(made: House, tab: Tab, plan: Plan, texts: Sequence[str]) -> list[StreamEvent]:
    """As a loop of tools asks: each round's text is put before the next."""
    request = plan.request
    for text in texts:
        async with aclosing(made.pipeline.call_model(request, plan, tab)) as batches:
            assert [event async for batch in batches for event in batch]
        tab.end_round()
        turn = Message("assistant", (Text(text),))
        request = msgspec.structs.replace(request, messages=(*request.messages, turn))
    async with aclosing(made.pipeline.call_model(request, plan, tab)) as batches:
        return [event async for batch in batches for event in batch]


async def test_rounds_are_summed_each_at_its_own_price_and_rounded_once() -> None:
    made = shop_house(
        [],
        [said("x", Usage(input_tokens=3, output_tokens=2))],
        prices=(price("first", 500_000), price("second", 300_000)),
    )
    tab = made.tab()
    plan = await made.pipeline.admit(to_shop(), tab)
    plan = await made.pipeline._begin(plan, tab)
    made.target.scripts = {
        "first": [said("one", Usage(input_tokens=10, output_tokens=3, cached_input_tokens=4))],
        "second": [],
    }
    async with aclosing(made.pipeline.call_model(plan.request, plan, tab)) as batches:
        _ = [batch async for batch in batches]
    tab.end_round()
    made.target.scripts = {
        "first": [ProviderOverloaded()],
        "second": [said("two", Usage(input_tokens=20, output_tokens=5, reasoning_tokens=2))],
    }
    async with aclosing(made.pipeline.call_model(plan.request, plan, tab)) as batches:
        _ = [batch async for batch in batches]
    used = await tab.settle(Usage(input_tokens=20, output_tokens=5, reasoning_tokens=2), "stop")
    # 13 tokens at half a nano-USD and 25 at 0.3: 6.5 + 7.5, and not 6 + 7.
    assert used == Usage(
        input_tokens=30,
        output_tokens=8,
        cached_input_tokens=4,
        reasoning_tokens=2,
        cost_nano_usd=NanoUSD(14),
    )
    (record,) = made.accounting.settled
    assert record.cost_nano_usd == 14
    assert (record.usage.input_tokens, record.usage.output_tokens) == (30, 8)
    assert [(each.model, each.error) for each in record.attempts] == [
        ("first", None),
        ("first", "provider_overloaded"),
        ("second", None),
    ]
    (row,) = kept(made)
    assert completion(row) == "two"
    assert row.usage == record.usage


async def test_whoever_leaves_in_a_later_round_pays_for_the_earlier_ones_too() -> None:
    usage = Usage(input_tokens=10, output_tokens=3)
    made = shop_house([said("round", usage)], prices=(price("first", 1_000_000),))
    tab = made.tab()
    plan = await made.pipeline._begin(await made.pipeline.admit(to_shop(), tab), tab)
    async with aclosing(made.pipeline.call_model(plan.request, plan, tab)) as batches:
        _ = [batch async for batch in batches]
    tab.end_round()
    tab.close("client_gone", 0)
    (record,) = made.accounting.settled
    assert (record.usage, record.cost_nano_usd) == (usage, 13)
    assert made.accounting.open_holds == {}


async def test_each_round_is_told_what_went_before() -> None:
    made = shop_house([said("again")])
    tab = made.tab()
    plan = await made.pipeline._begin(await made.pipeline.admit(to_shop(), tab), tab)
    await rounds(made, tab, plan, ["one", "two"])
    assert [len(request.messages) for request in made.target.asked] == [1, 2, 3]
    assert made.target.closed == ["first"] * 3
    tab.close("client_gone", 0)
    assert made.accounting.settled[0].usage.output_tokens == 6


# --- The first token ---

LATE = RequestContext(max_ttft_ms=30)


async def assert_too_late(made: House, *, stream: bool, context: RequestContext = LATE) -> None:
    visit = await Visit(made, to_shop(stream=stream, context=context)).run()
    assert isinstance(visit.error, FirstTokenTimeout)
    assert visit.events == []
    assert made.accounting.open_holds == {}
    assert made.accounting.free[PAYER.id] == 10**9
    assert [record.cost_nano_usd for record in made.accounting.settled] in ([], [0])
    # Whoever was asked was let go.
    assert len(made.target.closed) == len(made.target.asked)


@either_form
async def test_a_wait_for_a_place_counts(stream: bool) -> None:
    made = shop_house([asyncio.Event()])
    await assert_too_late(made, stream=stream)
    (row,) = kept(made)
    assert (row.status, row.error) == ("failed", "first_token_timeout")


@either_form
async def test_a_token_that_does_not_come_counts(stream: bool) -> None:
    await assert_too_late(shop_house([[Started()], asyncio.Event()]), stream=stream)
    # A part that has begun is no token yet.
    begun: list[StreamEvent] = [PartStarted(Text("")), PartDelta("")]
    await assert_too_late(shop_house([[Started()], begun, asyncio.Event()]), stream=stream)
    thinking: list[StreamEvent] = [Started(), PartStarted(Reasoning())]
    await assert_too_late(shop_house([thinking, asyncio.Event()]), stream=stream)


@either_form
async def test_fallbacks_count(stream: bool) -> None:
    made = shop_house([ProviderOverloaded()], [[Started()], asyncio.Event()])
    await assert_too_late(made, stream=stream)
    assert made.target.closed == ["first", "second"]


@either_form
async def test_counting_the_prompt_counts(stream: bool) -> None:
    made = shop_house([said("never")], model={"ends_at_context": True})

    async def counting_for_ever(*_: object) -> int | None:
        await asyncio.Event().wait()
        return None

    made.target.count_input = counting_for_ever  # type: ignore[assignment]
    await assert_too_late(made, stream=stream)
    assert made.target.asked == []
    assert kept(made) == []


@either_form
async def test_waiting_for_the_hold_counts_and_it_is_given_back(stream: bool) -> None:
    made = shop_house([said("never")])
    accounting = made.accounting
    accounting.is_asked_first = True
    gate = accounting.hold_gate = asyncio.Event()
    visit = await Visit(made, to_shop(stream=stream, context=LATE)).run()
    assert isinstance(visit.error, FirstTokenTimeout)
    assert accounting.settled == []
    gate.set()
    await accounting.was_settled.wait()
    assert accounting.open_holds == {}
    assert accounting.free[PAYER.id] == 10**9
    assert (accounting.settled[0].status, accounting.settled[0].cost_nano_usd) == ("failed", 0)
    assert made.target.asked == []


@either_form
async def test_loading_prices_counts(stream: bool) -> None:
    made = shop_house([said("never")])
    gate = threading.Event()
    repository = made.pipeline._books.prices._repository
    listed = repository.list_prices()

    def slowly() -> list[Price]:
        gate.wait(10)
        return listed

    repository.list_prices = slowly  # type: ignore[method-assign]
    try:
        await assert_too_late(made, stream=stream)
    finally:
        gate.set()
    assert made.target.asked == []


@either_form
async def test_a_wait_of_0_is_over_before_anything_is_held(stream: bool) -> None:
    made = shop_house([said("quick")])
    await assert_too_late(made, stream=stream, context=RequestContext(max_ttft_ms=0))
    assert made.accounting.asks == []
    assert kept(made) == []
    assert [record.error for record in made.accounting.noted] == ["first_token_timeout"]


@pytest.mark.parametrize(
    ("own", "of_project", "asked", "holds"),
    [
        (50, None, None, 50),
        (50, 40, None, 40),
        (50, 40, 30, 30),
        (30, 40, 50, 30),
        (None, 40, 50, 40),
        (None, None, None, None),
        (None, None, 0, 0),
    ],
)
async def test_the_shortest_wait_holds(
    own: int | None, of_project: int | None, asked: int | None, holds: int | None
) -> None:
    made = shop_house([said("x")], model={"max_ttft_ms": own}, max_ttft_ms=of_project)
    plan = await made.admit(to_shop(context=RequestContext(max_ttft_ms=asked)))
    assert plan.max_ttft_ms == holds


async def test_a_target_that_lacks_something_is_passed_over_in_a_project_too(
    tmp_path: Path,
) -> None:
    made = shop_house([], [said("second")], model={"lacks": frozenset({"n"})})
    plan = await made.admit(to_shop(choices=2))
    assert [model.id for model in plan.targets] == ["second"]
