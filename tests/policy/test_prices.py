"""Which price is in force, and how those that are only given come to be kept."""

from __future__ import annotations

import asyncio

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dragoman.chat import Usage
from dragoman.errors import Conflict
from dragoman.policy.prices import LISTED_OFFSET_S, MAX_AGE_S, PriceBook, mint_price_id
from dragoman.records.given_price import GivenPrice
from dragoman.records.hold import Quote
from dragoman.records.model import Model
from dragoman.records.price import Price, PriceSource, PriceTier

NOW_S = 1_800_000_000.0
MODEL = Model(id="m", provider="p", upstream_name="m")
OTHER = Model(id="other", provider="p", upstream_name="other")


class Prices:
    """The repository, in memory."""

    def __init__(self) -> None:
        self.kept: list[Price] = []
        self.changes = 0

    def generation(self) -> int:
        return self.changes

    def list_prices(self) -> list[Price]:
        return sorted(self.kept, key=lambda price: (price.model, price.valid_from_s))

    def add_price(self, price: Price) -> None:
        if any((p.model, p.valid_from_s) == (price.model, price.valid_from_s) for p in self.kept):
            raise Conflict
        self.kept.append(price)
        self.changes += 1


class Clock:
    def __init__(self) -> None:
        self.now_s = NOW_S

    def monotonic_s(self) -> float:
        return self.now_s

    def unix_s(self) -> float:
        return self.now_s


def tier(output: int, above: int = 0) -> PriceTier:
    return PriceTier(
        above_input_tokens=above,
        input=output,
        cached_input=output,
        cache_write=output,
        output=output,
    )


def given_price(
    output: int, source: PriceSource = "config", from_s: float = 0.0, model: str = "m"
) -> GivenPrice:
    return GivenPrice(model=model, source=source, tiers=(tier(output),), from_s=from_s)


def api_price(output: int, from_s: float, model: str = "m") -> Price:
    return Price(
        id=mint_price_id(),
        model=model,
        valid_from_s=from_s,
        source="api",
        tiers=(tier(output),),
    )


def loaded(prices: Prices, clock: Clock, *given_prices: GivenPrice) -> PriceBook:
    book = PriceBook(prices, clock, given_prices)
    asyncio.run(book.refresh())
    return book


def outputs(book: PriceBook, *at_s: float) -> list[int | None]:
    found = [book.price(MODEL, at) for at in at_s]
    return [price.tiers[0].output if price is not None else None for price in found]


# --- Which one is in force ----------------------------------------------------------------------


def test_a_model_without_a_price_has_none_and_costs_nothing() -> None:
    book = loaded(Prices(), Clock())
    assert book.price(MODEL, NOW_S) is None
    rate = book.worst_rate(None, 1000, 2)
    assert Quote(rates=(rate,)).is_free


def test_the_api_beats_the_configuration_which_beats_the_list() -> None:
    prices, clock = Prices(), Clock()
    listed, configured = given_price(1, "genai-prices"), given_price(2)
    assert outputs(loaded(prices, clock, listed), NOW_S) == [1]
    assert outputs(loaded(prices, clock, listed, configured), NOW_S) == [2]
    prices.add_price(api_price(3, NOW_S + 10))
    book = loaded(prices, clock, listed, configured)
    assert outputs(book, NOW_S, NOW_S + 9.999, NOW_S + 10, NOW_S + 99) == [2, 2, 3, 3]
    assert book.overridden(NOW_S) == []
    assert book.overridden(NOW_S + 10) == ["m"]


def test_a_price_holds_from_its_own_moment_until_the_next_ones() -> None:
    prices = Prices()
    for output, from_s in ((7, NOW_S - 10), (8, NOW_S), (9, NOW_S + 10)):
        prices.add_price(api_price(output, from_s))
    book = loaded(prices, Clock())
    moments = (NOW_S - 11, NOW_S - 10, NOW_S - 0.001, NOW_S, NOW_S + 9.999, NOW_S + 10)
    assert outputs(book, *moments) == [None, 7, 7, 8, 8, 9]
    assert [price.tiers[0].output for price in book.in_force(NOW_S)] == [8]


def test_a_lists_later_price_begins_on_its_day_and_never_beats_the_apis() -> None:
    prices, clock = Prices(), Clock()
    day_s = NOW_S + 100
    line = (
        given_price(1, "genai-prices", NOW_S - 500),
        given_price(2, "genai-prices", NOW_S - 100),
        given_price(3, "genai-prices", day_s),
    )
    book = loaded(prices, clock, *line)
    assert outputs(book, NOW_S, day_s, day_s + 1) == [2, 2, 3]
    assert [price.tiers[0].output for price in prices.kept] == [2, 3]
    later = book.price(MODEL, day_s + 1)
    clock.now_s = day_s + 5
    # The same server, and one that starts only now, find the same price.
    asyncio.run(book.refresh())
    assert book.price(MODEL, clock.now_s) == later
    assert loaded(prices, clock, *line).price(MODEL, clock.now_s) == later
    assert len(prices.kept) == 2
    assert later is not None
    assert later.valid_from_s == day_s + LISTED_OFFSET_S
    prices.add_price(api_price(9, NOW_S + 50))
    assert outputs(loaded(prices, clock, *line), clock.now_s) == [9]


def test_unpriced_models_are_named() -> None:
    book = loaded(Prices(), Clock(), given_price(0))
    assert book.unpriced([MODEL, OTHER], NOW_S) == ["other"]


# --- What is given is kept ----------------------------------------------------------------------


def test_a_given_price_keeps_its_id_over_starts_until_it_changes() -> None:
    prices, clock = Prices(), Clock()
    ids = []
    for output in (1, 1, 2, 2, 1, 1):
        clock.now_s += 1
        price = loaded(prices, clock, given_price(output)).price(MODEL, clock.now_s)
        assert price is not None
        assert price in prices.kept
        ids.append(price.id)
    assert ids[0] == ids[1] != ids[2] == ids[3] != ids[4] == ids[5]
    assert ids[0] != ids[4]
    assert [price.valid_from_s - NOW_S for price in prices.kept] == [1, 3, 5]


def test_processes_that_start_at_once_agree_on_one_price() -> None:
    class Racing(Prices):
        """Another process adds the same just before."""

        def add_price(self, price: Price) -> None:
            if not self.kept:
                super().add_price(msgspec.structs.replace(price, id=mint_price_id()))
            super().add_price(price)

    prices, clock = Racing(), Clock()
    first = loaded(prices, clock, given_price(1)).price(MODEL, NOW_S)
    assert len(prices.kept) == 1
    assert first == prices.kept[0]


def test_a_price_of_the_very_same_moment_is_stepped_over() -> None:
    prices, clock = Prices(), Clock()
    prices.add_price(api_price(5, NOW_S))
    loaded(prices, clock, given_price(1))
    assert [price.source for price in prices.list_prices()] == ["api", "config"]
    assert prices.list_prices()[1].valid_from_s > NOW_S


def test_servers_that_differ_do_not_take_turns() -> None:
    prices, clock = Prices(), Clock()
    old = loaded(prices, clock, given_price(1))
    clock.now_s += 1
    new = loaded(prices, clock, given_price(2))
    for _ in range(5):
        clock.now_s += MAX_AGE_S + 1
        asyncio.run(old.refresh())
        asyncio.run(new.refresh())
    assert outputs(old, clock.now_s) == [1]
    assert outputs(new, clock.now_s) == [2]
    assert len(prices.kept) == 2


def test_a_change_by_any_process_is_seen_at_the_next_look() -> None:
    prices, clock = Prices(), Clock()
    book = PriceBook(prices, clock, (given_price(1),))
    assert book.is_stale()
    asyncio.run(book.refresh())
    assert not book.is_stale()
    prices.add_price(api_price(2, NOW_S - 1))
    assert book.is_stale()
    asyncio.run(book.refresh())
    assert not book.is_stale()
    assert outputs(book, NOW_S) == [2]
    clock.now_s += MAX_AGE_S + 1
    assert book.is_stale()


def test_a_failed_load_leaves_the_book_as_it_was() -> None:
    class Broken(Prices):
        is_broken = False

        def list_prices(self) -> list[Price]:
            if self.is_broken:
                raise Conflict
            return super().list_prices()

    prices, clock = Broken(), Clock()
    book = loaded(prices, clock, given_price(1))
    prices.changes += 1
    prices.is_broken = True
    with pytest.raises(Conflict):
        asyncio.run(book.refresh())
    assert book.is_stale()
    assert outputs(book, NOW_S) == [1]


# --- What a request costs, and what it may cost -------------------------------------------------

per_million = st.integers(0, 10**15)
tokens = st.integers(0, 10**9)


@st.composite
def tier_lists(draw: st.DrawFn) -> tuple[PriceTier, ...]:
    above = sorted(draw(st.sets(st.integers(1, 10**7), max_size=3)))
    return tuple(
        PriceTier(
            above_input_tokens=least,
            input=draw(per_million),
            cached_input=draw(per_million),
            cache_write=draw(per_million),
            output=draw(per_million),
        )
        for least in (0, *above)
    )


def with_tiers(tiers: tuple[PriceTier, ...]) -> Price:
    return Price(id=mint_price_id(), model="m", valid_from_s=0.0, source="api", tiers=tiers)


@st.composite
def usages(draw: st.DrawFn) -> Usage:
    """What a provider may report, nonsense included: more cached than there was input."""
    return Usage(
        input_tokens=draw(tokens),
        output_tokens=draw(tokens),
        cached_input_tokens=draw(tokens),
        cache_write_tokens=draw(tokens),
        reasoning_tokens=draw(tokens),
    )


@given(tier_lists(), usages())
def test_no_cost_is_negative_whatever_a_provider_reports(
    tiers: tuple[PriceTier, ...], usage: Usage
) -> None:
    assert with_tiers(tiers).cost(usage) >= 0


@given(tier_lists(), usages(), tokens)
def test_more_output_never_costs_less(
    tiers: tuple[PriceTier, ...], usage: Usage, more: int
) -> None:
    price = with_tiers(tiers)
    longer = msgspec.structs.replace(usage, output_tokens=usage.output_tokens + more)
    assert price.cost(longer) >= price.cost(usage)


@given(st.lists(per_million, min_size=4, max_size=4), usages(), tokens)
def test_more_input_of_one_tier_never_costs_less(rates: list[int], usage: Usage, more: int) -> None:
    price = with_tiers(
        (PriceTier(input=rates[0], cached_input=rates[1], cache_write=rates[2], output=rates[3]),)
    )
    longer = msgspec.structs.replace(usage, input_tokens=usage.input_tokens + more)
    assert price.cost(longer) >= price.cost(usage)


@given(tier_lists(), usages())
def test_no_token_of_the_prompt_is_charged_twice(
    tiers: tuple[PriceTier, ...], usage: Usage
) -> None:
    price = with_tiers(tiers)
    at = price.tier(usage.input_tokens)
    dearest = max(at.input, at.cached_input, at.cache_write)
    most = usage.input_tokens * dearest + usage.output_tokens * at.output
    assert price.cost(usage) <= most // 1_000_000


def test_a_cost_is_rounded_down_once() -> None:
    # Each part alone is 0.4 nano-USD: together they are 1.6.
    price = with_tiers(
        (PriceTier(input=400_000, cached_input=400_000, cache_write=400_000, output=400_000),)
    )
    usage = Usage(input_tokens=3, cached_input_tokens=1, cache_write_tokens=1, output_tokens=1)
    assert price.cost(usage) == 1
    assert price.cost(Usage(input_tokens=2)) == 0


def test_a_tier_is_for_all_of_a_requests_tokens() -> None:
    price = with_tiers((tier(1_000_000), tier(2_000_000, above=100)))
    assert price.cost(Usage(input_tokens=100, output_tokens=10)) == 110
    assert price.cost(Usage(input_tokens=101, output_tokens=10)) == 222


@given(tier_lists(), st.data())
def test_no_honest_usage_costs_more_than_the_worst_rate(
    tiers: tuple[PriceTier, ...], data: st.DataObject
) -> None:
    price = with_tiers(tiers)
    guessed = data.draw(st.integers(1, 10**7))
    used = data.draw(st.integers(0, guessed))
    cached = data.draw(st.integers(0, used))
    written = data.draw(st.integers(0, used - cached))
    choices, limit = data.draw(st.integers(1, 8)), data.draw(st.integers(0, 10**6))
    usage = Usage(
        input_tokens=used,
        cached_input_tokens=cached,
        cache_write_tokens=written,
        output_tokens=data.draw(st.integers(0, choices * limit)),
    )
    rate = PriceBook(Prices(), Clock()).worst_rate(price, guessed, choices)
    assert price.cost(usage) <= rate.cost(limit)


def test_a_prompt_guessed_short_of_a_tier_is_held_for_at_that_tier() -> None:
    price = with_tiers((tier(1), tier(5, above=1000)))
    book = PriceBook(Prices(), Clock())
    assert book.worst_rate(price, 666, 1).input_micro == 666 * 1
    assert book.worst_rate(price, 667, 1).input_micro == 667 * 5
    assert book.worst_rate(price, 667, 3).output_micro == 15
