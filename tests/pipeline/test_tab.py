"""Leaving by any door settles exactly once: what is charged, what is metered, and what is kept of it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import aclosing
from pathlib import Path

import msgspec
import pytest
from tests.pipeline.house import House, Step, asking, said

from dragoman.chat import (
    ChatRequest,
    Failed,
    Finished,
    NanoUSD,
    PartDelta,
    PartStarted,
    RequestContext,
    Started,
    StreamEvent,
    Text,
    Usage,
)
from dragoman.errors import (
    DragomanError,
    FirstTokenTimeout,
    Forbidden,
    InsufficientCredits,
    ProviderGarbled,
    ProviderOverloaded,
    RateLimited,
    StoreUnavailable,
    UnknownEntity,
)
from dragoman.pipeline import Tab, WhyLeft
from dragoman.policy.idempotency import Replay
from dragoman.records.account import Account, AccountId
from dragoman.records.key import KeyId
from dragoman.records.limits import Limits
from dragoman.records.price import Price, PriceId, PriceTier
from dragoman.records.principal import Principal
from dragoman.records.usage_record import UsageRecord

INPUT, CACHED, OUTPUT = 1_000_000, 100_000, 4_000_000
"""Nano-USD for a million tokens: a token of input costs 1, of output 4; ten cached ones cost 1."""
PLENTY = 10_000_000
PAYER = Account(id=AccountId("acct_payer"), name="payer")
USAGE = Usage(input_tokens=30, output_tokens=20, cached_input_tokens=10)
COST = 20 + 1 + 80
WHOLE: list[StreamEvent] = said("hello", USAGE)
PIECES: list[StreamEvent] = [Started(), PartStarted(Text(""))]


def price_of(model: str) -> Price:
    tier = PriceTier(input=INPUT, cached_input=CACHED, cache_write=INPUT, output=OUTPUT)
    return Price(
        id=PriceId(f"price_{model}"),
        model=model,
        valid_from_s=0.0,
        source="api",
        tiers=(tier,),
    )


def paid_house(
    tmp_path: Path,
    first: Sequence[Step],
    second: Sequence[Step] = (),
    *,
    balance: int = PLENTY,
    limits: Limits | None = None,
) -> House:
    """A house whose models cost something, with a client who pays and whose tokens are counted."""
    return House(
        {"first": {"fallbacks": ("second",)} if second else {}, "second": {}},
        {"first": first, "second": second},
        prices=[price_of("first"), price_of("second")],
        principal=Principal(
            key_id=KeyId("key_payer"),
            name="payer",
            account=PAYER,
            account_limits=limits or Limits(tokens_per_minute=PLENTY, concurrent_requests=10),
        ),
        balance=balance,
        windows=tmp_path / "limits",
    )


def limited_use(made: House) -> tuple[int, int]:
    """Tokens that count in the window, and requests that run."""
    status = made.limiter.peek(made.principal).account
    return status.tokens, status.running


def deltas(count: int) -> list[StreamEvent]:
    return [PartDelta("word ") for _ in range(count)]


class Visit:
    """One request, led as the route leads it."""

    def __init__(self, made: House, request: ChatRequest) -> None:
        self.made = made
        self.request = request
        self.tab: Tab | None = None
        self.events: list[StreamEvent] = []
        self.has_more = asyncio.Event()

    async def run(self) -> None:
        tab = self.tab = self.made.pipeline.receive(
            self.made.principal, f"req_{next(self.made.numbers)}", self.made.dialect
        )
        try:
            tab.enter()
            plan = await self.made.pipeline.admit(self.request, tab)
            if not self.request.stream:
                response, _ = await self.made.pipeline.complete(plan, tab)
                self.usage = response.usage
                return
            answer = await self.made.pipeline.open(plan, tab)
            async with aclosing(answer.batches) as batches:
                async for batch in batches:
                    self.events += batch
                    self.has_more.set()
                    if isinstance(batch[-1], Failed):
                        raise batch[-1].error
        except DragomanError as error:
            tab.error = error
            raise

    def leave(self, why: WhyLeft = "failed", http_status: int = 0) -> None:
        """By every door, twice: the second time must change nothing."""
        assert self.tab is not None
        self.tab.close(why, http_status)
        self.tab.close("client_gone", 0)


async def cut(visit: Visit, why: WhyLeft, *, after_first: bool = True) -> None:
    """Cancel the visit as a guard does, once its first token (or its model's being asked) is there."""
    task = asyncio.ensure_future(visit.run())
    await (visit.has_more if after_first else visit.made.target.was_asked).wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    visit.leave(why, 200 if after_first else 0)


def only(records: Sequence[UsageRecord]) -> UsageRecord:
    assert len(records) == 1
    return records[0]


def asked(stream: bool, **fields: object) -> ChatRequest:
    return msgspec.structs.replace(asking(), stream=stream, **fields)


either_form = pytest.mark.parametrize("stream", [False, True])


@either_form
async def test_a_whole_answer_is_charged_what_it_used(tmp_path: Path, stream: bool) -> None:
    made = paid_house(tmp_path, [WHOLE])
    visit = Visit(made, asked(stream))
    await visit.run()
    visit.leave()
    record = only(made.accounting.settled)
    assert (record.status, record.cost_nano_usd, record.usage) == ("ok", COST, USAGE)
    assert (record.model, record.provider, record.finish_reason) == ("first", "scripted", "stop")
    assert (record.price_id, record.http_status, record.attempts) == ("price_first", 200, ())
    assert record.is_stream is stream
    assert record.hold_nano_usd >= COST
    assert made.accounting.free[PAYER.id] == PLENTY - COST
    assert made.accounting.open_holds == {}
    assert limited_use(made) == (USAGE.total_tokens, 0)
    assert made.accounting.noted == []


@either_form
async def test_the_cost_is_told_with_the_usage(tmp_path: Path, stream: bool) -> None:
    visit = Visit(paid_house(tmp_path, [WHOLE]), asked(stream))
    await visit.run()
    if stream:
        last = visit.events[-1]
        assert isinstance(last, Finished)
        assert last.usage is not None
        assert last.usage.cost_nano_usd == COST
    else:
        assert visit.usage.cost_nano_usd == COST


async def test_an_answer_in_one_piece_is_charged_the_same(tmp_path: Path) -> None:
    made = paid_house(tmp_path, [WHOLE])
    made.target.gives_wholes = True
    await Visit(made, asked(stream=False)).run()
    assert only(made.accounting.settled).cost_nano_usd == COST


async def test_a_model_without_a_price_tells_no_cost() -> None:
    made = House({"first": {}}, {"first": [WHOLE]})
    visit = Visit(made, asked(stream=True))
    await visit.run()
    last = visit.events[-1]
    assert isinstance(last, Finished)
    assert last.usage == USAGE
    assert only(made.accounting.settled).cost_nano_usd == 0


@either_form
async def test_nothing_of_the_end_is_shown_before_the_settlement_is_durable(
    tmp_path: Path, stream: bool
) -> None:
    """Where the commit moved behind the finish frame, the last events would be there at once."""
    made = paid_house(tmp_path, [WHOLE[:3], WHOLE[3:]])
    gate = made.accounting.settle_gate = asyncio.Event()
    visit = Visit(made, asked(stream))
    task = asyncio.ensure_future(visit.run())
    await made.accounting.was_settled.wait()
    for _ in range(20):
        await asyncio.sleep(0)
    assert not task.done()
    assert not any(isinstance(event, Finished) for event in visit.events)
    gate.set()
    await task
    assert any(isinstance(event, Finished) for event in visit.events) is stream


@either_form
async def test_an_answer_that_cannot_be_recorded_is_not_given(tmp_path: Path, stream: bool) -> None:
    made = paid_house(tmp_path, [WHOLE[:3], WHOLE[3:]])
    made.accounting.takes_writes = False
    visit = Visit(made, asked(stream))
    with pytest.raises(StoreUnavailable):
        await visit.run()
    visit.leave()
    assert not any(isinstance(event, Finished) for event in visit.events)
    assert only(made.accounting.settled).cost_nano_usd == 0
    assert made.accounting.free[PAYER.id] == PLENTY


@pytest.mark.parametrize("count", [1, 3, 40])
async def test_a_client_that_leaves_pays_for_what_was_produced(tmp_path: Path, count: int) -> None:
    made = paid_house(tmp_path, [[*PIECES, *deltas(count)], asyncio.Event()])
    await cut(Visit(made, asked(stream=True)), "client_gone")
    record = only(made.accounting.settled)
    # "word " is five bytes: a token and a quarter each, but never fewer tokens than pieces.
    assert record.usage.output_tokens == max(count, -(-5 * count // 4))
    assert record.usage.is_estimated
    assert record.status == "client_gone"
    assert record.cost_nano_usd == record.usage.input_tokens + 4 * record.usage.output_tokens
    assert record.cost_nano_usd <= record.hold_nano_usd
    assert limited_use(made) == (record.usage.total_tokens, 0)


async def test_a_client_that_leaves_before_the_first_token_pays_for_its_prompt(
    tmp_path: Path,
) -> None:
    made = paid_house(tmp_path, [asyncio.Event()])
    await cut(Visit(made, asked(stream=False)), "client_gone", after_first=False)
    record = only(made.accounting.settled)
    assert record.usage.output_tokens == 0
    assert record.cost_nano_usd == record.usage.input_tokens > 0


async def test_what_a_stop_of_the_server_cuts_is_metered_and_not_charged(tmp_path: Path) -> None:
    made = paid_house(tmp_path, [[*PIECES, *deltas(8)], asyncio.Event()])
    await cut(Visit(made, asked(stream=True)), "server_stops")
    record = only(made.accounting.settled)
    assert (record.status, record.error, record.cost_nano_usd) == ("failed", "draining", 0)
    assert record.usage.output_tokens == 10
    assert made.accounting.free[PAYER.id] == PLENTY


async def test_a_client_that_leaves_while_its_answer_is_settled_is_charged_once(
    tmp_path: Path,
) -> None:
    made = paid_house(tmp_path, [WHOLE])
    made.accounting.settle_gate = asyncio.Event()
    visit = Visit(made, asked(stream=True))
    task = asyncio.ensure_future(visit.run())
    await made.accounting.was_settled.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    visit.leave("client_gone")
    assert only(made.accounting.settled).status == "ok"


FAILURES: list[tuple[list[Step], str, int]] = [
    ([ProviderGarbled()], "provider_garbled", 0),
    ([[*PIECES, *deltas(4)], ProviderGarbled()], "provider_garbled", 5),
    ([[*PIECES, *deltas(4)]], "provider_garbled", 5),
]


@either_form
@pytest.mark.parametrize(("script", "code", "produced"), FAILURES)
async def test_what_the_provider_fails_at_is_metered_and_not_charged(
    tmp_path: Path, stream: bool, script: list[Step], code: str, produced: int
) -> None:
    made = paid_house(tmp_path, script)
    visit = Visit(made, asked(stream))
    with pytest.raises(ProviderGarbled):
        await visit.run()
    visit.leave("failed", 503)
    record = only(made.accounting.settled)
    assert (record.status, record.error, record.cost_nano_usd) == ("failed", code, 0)
    assert record.usage.output_tokens == produced
    assert [attempt.error for attempt in record.attempts] == [code]
    assert limited_use(made) == (record.usage.total_tokens, 0)
    assert made.accounting.free[PAYER.id] == PLENTY


@either_form
async def test_a_fallback_is_one_request_with_two_attempts(tmp_path: Path, stream: bool) -> None:
    made = paid_house(tmp_path, [ProviderOverloaded()], [WHOLE])
    visit = Visit(made, asked(stream))
    await visit.run()
    visit.leave()
    record = only(made.accounting.settled)
    assert [(each.model, each.error) for each in record.attempts] == [
        ("first", "provider_overloaded"),
        ("second", None),
    ]
    assert (record.model, record.price_id, record.cost_nano_usd) == ("second", "price_second", COST)


@either_form
async def test_too_late_a_first_token_costs_nothing(tmp_path: Path, stream: bool) -> None:
    made = paid_house(tmp_path, [[Started()], asyncio.Event()])
    visit = Visit(made, asked(stream, context=RequestContext(max_ttft_ms=20)))
    with pytest.raises(FirstTokenTimeout):
        await visit.run()
    visit.leave("failed", 408)
    record = only(made.accounting.settled)
    assert (record.status, record.error, record.http_status) == (
        "failed",
        "first_token_timeout",
        408,
    )
    assert record.cost_nano_usd == 0
    assert limited_use(made)[1] == 0


async def test_a_maximum_of_0_asks_no_model_and_costs_nothing(tmp_path: Path) -> None:
    made = paid_house(tmp_path, [], balance=0)
    await Visit(made, asked(stream=False, max_output_tokens=0)).run()
    record = only(made.accounting.settled)
    assert (record.status, record.cost_nano_usd, record.finish_reason) == ("ok", 0, "length")


async def test_what_the_provider_counts_not_is_counted_by_us_and_charged(tmp_path: Path) -> None:
    made = paid_house(tmp_path, [said("12345678", usage=None)])
    await Visit(made, asked(stream=True)).run()
    record = only(made.accounting.settled)
    assert record.usage.is_estimated
    assert record.usage.output_tokens == 2
    assert record.cost_nano_usd == record.usage.input_tokens + 8


async def test_progress_is_kept_at_the_first_token_and_once_a_second(tmp_path: Path) -> None:
    gates = [asyncio.Event() for _ in range(3)]
    script: list[Step] = [[*PIECES, *deltas(1)]]
    for gate in gates:
        script += [gate, deltas(1)]
    script += [WHOLE[3:]]
    made = paid_house(tmp_path, script)
    visit = Visit(made, asked(stream=True))
    task = asyncio.ensure_future(visit.run())
    await visit.has_more.wait()
    for gate, later_s in zip(gates, (0.5, 0.6, 0.1), strict=True):
        made.clock.now_s += later_s
        visit.has_more.clear()
        gate.set()
        await visit.has_more.wait()
    await task
    kept = [usage.output_tokens for usage in made.accounting.checkpoints]
    assert kept == [2, 4]
    assert all(usage.is_estimated for usage in made.accounting.checkpoints)


# --- Refusals ---


REFUSALS: list[tuple[ChatRequest, type[DragomanError], int]] = [
    (asking("nobody"), UnknownEntity, 404),
    (asking(max_output_tokens=10_000_000), InsufficientCredits, 402),
]


@pytest.mark.parametrize(("request_", "error", "http_status"), REFUSALS)
async def test_a_refusal_is_noted_and_costs_nothing(
    tmp_path: Path, request_: ChatRequest, error: type[DragomanError], http_status: int
) -> None:
    made = paid_house(tmp_path, [WHOLE], limits=Limits(tokens_per_minute=1 << 40))
    visit = Visit(made, request_)
    with pytest.raises(error):
        await visit.run()
    visit.leave("failed", http_status)
    assert made.accounting.settled == []
    record = only(made.accounting.noted)
    assert (record.status, record.error, record.http_status) == (
        "refused",
        error.code,
        http_status,
    )
    assert record.cost_nano_usd == 0
    assert record.model_asked == request_.target
    assert limited_use(made) == (0, 0)
    assert made.target.asked == []


async def test_a_request_over_the_rate_is_noted(tmp_path: Path) -> None:
    made = paid_house(tmp_path, [WHOLE], limits=Limits(requests_per_minute=1))
    await Visit(made, asked(stream=False)).run()
    visit = Visit(made, asked(stream=False))
    with pytest.raises(RateLimited):
        await visit.run()
    visit.leave("failed", 429)
    assert only(made.accounting.noted).error == "rate_limited"
    assert visit.tab is not None
    assert (b"x-ratelimit-remaining", b"0") in visit.tab.rate_headers()


async def test_a_database_that_takes_no_writes_begins_nothing(tmp_path: Path) -> None:
    made = paid_house(tmp_path, [WHOLE])
    made.accounting.is_asked_first = True
    made.accounting.takes_writes = False
    visit = Visit(made, asked(stream=True))
    with pytest.raises(StoreUnavailable):
        await visit.run()
    visit.leave("failed", 503)
    assert made.target.asked == []
    assert made.accounting.settled == made.accounting.noted == []
    assert limited_use(made) == (0, 0)


@pytest.mark.parametrize("is_granted", [True, False])
async def test_a_hold_that_nobody_waits_for_any_more_is_given_back(
    tmp_path: Path, is_granted: bool
) -> None:
    made = paid_house(tmp_path, [WHOLE], balance=PLENTY if is_granted else 0)
    made.accounting.is_asked_first = True
    gate = made.accounting.hold_gate = asyncio.Event()
    visit = Visit(made, asked(stream=True))
    task = asyncio.ensure_future(visit.run())
    await made.accounting.was_asked.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    visit.leave("client_gone")
    gate.set()
    for _ in range(10):
        await asyncio.sleep(0)
    assert made.accounting.open_holds == {}
    assert [record.status for record in made.accounting.settled] == ["client_gone"] * is_granted
    assert made.accounting.free[PAYER.id] == (PLENTY if is_granted else 0)
    assert limited_use(made) == (0, 0)


async def test_a_key_asks_only_for_models_that_it_may(tmp_path: Path) -> None:
    made = paid_house(tmp_path, [ProviderOverloaded()], [WHOLE])
    made.principal = msgspec.structs.replace(made.principal, models=frozenset({"first"}))
    with pytest.raises(Forbidden, match="may not use the model 'second'"):
        await Visit(made, asking("second")).run()
    with pytest.raises(UnknownEntity) as unknown:
        await Visit(made, asking("zz")).run()
    assert "second" not in unknown.value.message
    # Nor does it fall back to another.
    with pytest.raises(ProviderOverloaded):
        await Visit(made, asking("first")).run()


# --- What binds ---


async def test_what_the_balance_carries_becomes_the_limit_and_is_sent(tmp_path: Path) -> None:
    made = paid_house(tmp_path, [WHOLE], balance=40_000)
    await Visit(made, asked(stream=False)).run()
    # A quarter of the balance pays for the prompt and so many tokens at 4 each.
    size = made.accounting.asks[0].quote
    limit = made.target.asked[0].max_output_tokens
    assert limit == size.affordable_tokens(10_000)
    assert limit is not None
    assert size.cost(limit) <= 10_000 < size.cost(limit + 1)


async def test_an_explicit_maximum_stays_and_the_402_names_the_largest_that_fits(
    tmp_path: Path,
) -> None:
    made = paid_house(tmp_path, [WHOLE], balance=40_000)
    with pytest.raises(InsufficientCredits, match="the largest maximum") as refused:
        await Visit(made, asked(stream=False, max_output_tokens=20_000)).run()
    largest = int(refused.value.message.split(" is ")[1].split(".")[0])
    await Visit(made, asked(stream=False, max_output_tokens=largest)).run()
    assert made.target.asked[0].max_output_tokens == largest


async def test_no_limit_is_made_where_nothing_is_paid_or_counted() -> None:
    made = House({"first": {}}, {"first": [WHOLE]})
    await Visit(made, asked(stream=False)).run()
    assert made.target.asked[0].max_output_tokens is None


async def test_no_limit_is_sent_where_there_is_room_for_any_answer(tmp_path: Path) -> None:
    made = paid_house(tmp_path, [WHOLE], balance=1 << 50, limits=Limits(tokens_per_minute=1 << 40))
    await Visit(made, asked(stream=False)).run()
    assert made.target.asked[0].max_output_tokens is None


async def test_a_token_window_bounds_the_answer(tmp_path: Path) -> None:
    made = paid_house(tmp_path, [WHOLE], limits=Limits(tokens_per_minute=8_000))
    await Visit(made, asked(stream=False)).run()
    sent = made.target.asked[0].max_output_tokens
    assert sent is not None
    assert 1_024 <= sent < 2_000
    with pytest.raises(RateLimited, match="largest maximum that fits is"):
        await Visit(made, asked(stream=False, max_output_tokens=9_000)).run()


async def test_choices_are_held_for_each_and_billed_once(tmp_path: Path) -> None:
    events: list[StreamEvent] = [*said("one", None), *said("two", USAGE, choice=1)]
    made = paid_house(tmp_path, [events])
    await Visit(made, asked(stream=False, choices=2, max_output_tokens=100)).run()
    record = only(made.accounting.settled)
    assert record.cost_nano_usd == COST
    assert record.hold_nano_usd >= NanoUSD(2 * 100 * 4)


# --- The same again ---


async def keyed(visit: Visit) -> Replay | None:
    """Lead `visit` as a request with an Idempotency-Key."""
    made, request = visit.made, visit.request
    tab = visit.tab = made.pipeline.receive(
        made.principal, f"req_{next(made.numbers)}", made.dialect
    )
    tab.enter()
    plan = await made.pipeline.admit(request, tab)
    replay = await tab.claim("wish-1", b"hash")
    if replay is not None:
        tab.replay(replay)
    elif request.stream:
        answer = await made.pipeline.open(plan, tab)
        async with aclosing(answer.batches) as batches:
            async for batch in batches:
                visit.events += batch
    else:
        await made.pipeline.complete(plan, tab)
    return replay


@either_form
async def test_the_same_again_is_answered_again_and_charged_once(
    tmp_path: Path, stream: bool
) -> None:
    made = paid_house(tmp_path, [WHOLE[:3], WHOLE[3:]])
    first = Visit(made, asked(stream))
    assert await keyed(first) is None
    replay = await keyed(again := Visit(made, asked(stream)))
    again.leave()
    assert replay is not None
    response = replay.response()
    assert (response.choices[0].text, response.usage.cost_nano_usd) == ("hello", COST)
    if stream:
        assert [event for batch in replay.batches for event in batch] == first.events
    assert only(made.accounting.settled).status == "ok"
    noted = only(made.accounting.noted)
    assert (noted.status, noted.cost_nano_usd, noted.model) == ("replayed", 0, "first")
    assert len(made.target.asked) == 1
    assert limited_use(made) == (USAGE.total_tokens, 0)


async def test_what_failed_may_be_tried_again(tmp_path: Path) -> None:
    made = paid_house(tmp_path, [ProviderGarbled()])
    visit = Visit(made, asked(stream=True))
    with pytest.raises(ProviderGarbled):
        await keyed(visit)
    visit.leave()
    made.target.scripts = {"first": [WHOLE]}
    assert await keyed(Visit(made, asked(stream=True))) is None
    assert [record.status for record in made.accounting.settled] == ["failed", "ok"]


async def test_what_was_refused_may_be_tried_again(tmp_path: Path) -> None:
    made = paid_house(tmp_path, [WHOLE], balance=0)
    visit = Visit(made, asked(stream=False))
    with pytest.raises(InsufficientCredits):
        await keyed(visit)
    visit.leave()
    made.accounting.free[PAYER.id] = PLENTY
    assert await keyed(Visit(made, asked(stream=False))) is None
