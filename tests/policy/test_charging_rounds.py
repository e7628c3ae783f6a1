"""What several rounds may cost together is never less than what they do."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dragoman.chat import Usage
from dragoman.policy.charging import Rounds, measure_rounds, quote_rounds
from dragoman.policy.limits import TokenAsk
from dragoman.policy.prices import PriceBook
from dragoman.records.price import MILLION, Price, PriceId, PriceTier


class NoPrices:
    def generation(self) -> int:
        return 1

    def list_prices(self) -> list[Price]:
        return []

    def add_price(self, price: Price) -> None:
        raise AssertionError


class Clock:
    def monotonic_s(self) -> float:
        return 0.0

    def unix_s(self) -> float:
        return 0.0


BOOK = PriceBook(NoPrices(), Clock())


def tier(above: int, value: int, output: int) -> PriceTier:
    return PriceTier(
        above_input_tokens=above, input=value, cached_input=value, cache_write=value, output=output
    )


def price(*tiers: PriceTier) -> Price:
    return Price(id=PriceId("p"), model="m", valid_from_s=0.0, source="api", tiers=tiers)


FLAT = price(tier(0, 3_000_000, 15_000_000))
STEEP = price(tier(0, 1_000_000, 2_000_000), tier(5_000, 9_000_000, 30_000_000))
tokens = st.integers(0, 10_000)


@st.composite
def requests(draw: st.DrawFn) -> dict[str, Any]:
    """Rounds as they may come: each prompt holds all that was said before it."""
    count = draw(st.integers(1, 8))
    first, most, results = draw(tokens), draw(st.integers(1, 2_000)), draw(tokens)
    answers = draw(st.lists(st.integers(0, most), min_size=count, max_size=count))
    left = results
    prompts = [first]
    for answer in answers[:-1]:
        result = draw(st.integers(0, left))
        left -= result
        prompts.append(prompts[-1] + answer + result)
    return {
        "size": TokenAsk(input_tokens=first, asked_output_tokens=most, output_bound=most),
        "rounds": Rounds(count=count, result_tokens=results, context_tokens=None),
        "usages": [
            Usage(input_tokens=prompt, output_tokens=answer)
            for prompt, answer in zip(prompts, answers, strict=True)
        ],
        "most": most,
    }


@pytest.mark.parametrize("charged", [FLAT, STEEP], ids=["flat", "steep"])
@given(case=requests())
def test_a_hold_covers_all_rounds(charged: Price, case: dict[str, Any]) -> None:
    quoted = quote_rounds(BOOK, [charged], case["size"], case["rounds"])
    cost = sum(charged.cost_micro(usage) for usage in case["usages"]) // MILLION
    assert quoted.cost(case["most"]) >= cost


THRIFTY = price(tier(0, 1_000_000, 40_000_000))
WORDY = price(tier(0, 20_000_000, 2_000_000))


@given(
    first=tokens,
    answer=st.integers(1, 2_000),
    results=tokens,
    order=st.lists(st.booleans(), min_size=1, max_size=6),
)
@example(first=1, answer=1_000, results=2_000, order=[True, False])
def test_a_hold_covers_rounds_that_different_targets_answer(
    first: int, answer: int, results: int, order: list[bool]
) -> None:
    targets = [WORDY, THRIFTY]
    size = TokenAsk(input_tokens=first, asked_output_tokens=answer, output_bound=answer)
    rounds = Rounds(count=len(order), result_tokens=results, context_tokens=None)
    # The worst: all answers as long as they may be, and all results from the first round on.
    usages = [
        Usage(
            input_tokens=first + number * answer + (results if number else 0), output_tokens=answer
        )
        for number in range(len(order))
    ]
    cost = sum(targets[other].cost_micro(usage) for usage, other in zip(usages, order, strict=True))
    assert quote_rounds(BOOK, targets, size, rounds).cost(answer) >= cost // MILLION


@given(case=requests())
def test_a_reservation_covers_all_rounds(case: dict[str, Any]) -> None:
    asked = measure_rounds(case["size"], case["rounds"])
    assert asked.most_tokens >= sum(usage.total_tokens for usage in case["usages"])


@given(case=requests(), context=st.integers(1, 20_000))
def test_no_more_is_held_than_the_context_can_take(case: dict[str, Any], context: int) -> None:
    rounds = msgspec.structs.replace(case["rounds"], context_tokens=context)
    size: TokenAsk = case["size"]
    most = rounds.count * max(context, size.input_tokens)
    assert size.input_tokens <= rounds.input_tokens(size.input_tokens) <= most


def test_one_round_costs_what_a_request_without_tools_does() -> None:
    size = TokenAsk(input_tokens=1_000, asked_output_tokens=100, output_bound=100)
    once = Rounds(count=1, result_tokens=0, context_tokens=None)
    (rate,) = quote_rounds(BOOK, [FLAT], size, once).rates
    assert rate == BOOK.worst_rate(FLAT, 1_000, 1)
    assert measure_rounds(size, once) == size


def test_what_has_no_price_is_held_for_free() -> None:
    size = TokenAsk(input_tokens=0, output_bound=100)
    rounds = Rounds(count=5, result_tokens=0, context_tokens=None)
    assert quote_rounds(BOOK, [None], size, rounds).is_free
