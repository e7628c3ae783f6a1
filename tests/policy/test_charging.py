"""How large a request may get, what it may cost at worst, and how a server with shut books answers."""

from __future__ import annotations

import pytest

from dragoman.chat import ChatRequest, Message, NanoUSD, Text, Usage
from dragoman.errors import Forbidden
from dragoman.policy.charging import (
    ASSUMED_MAX_OUTPUT,
    InputCount,
    Unaccounted,
    estimate_input,
    is_charged,
    measure_request,
)
from dragoman.records.account import Account, AccountId
from dragoman.records.hold import HoldAsk, Quote
from dragoman.records.key import KeyId
from dragoman.records.model import Model
from dragoman.records.price import Price, PriceId, PriceTier
from dragoman.records.usage_record import UsageRecord


def model(**fields: object) -> Model:
    return Model(id="m", provider="p", upstream_name="m", **fields)  # type: ignore[arg-type]


def asking(text: str = "hello", **fields: object) -> ChatRequest:
    return ChatRequest(
        dialect="openai",
        target="m",
        messages=(Message("user", (Text(text),)),),
        **fields,  # type: ignore[arg-type]
    )


def exactly(tokens: int) -> InputCount:
    return InputCount(tokens, is_estimated=False)


def price(**amounts: int) -> Price:
    tier = {"input": 0, "cached_input": 0, "cache_write": 0, "output": 0} | amounts
    return Price(
        id=PriceId("price_1"),
        model="m",
        valid_from_s=0.0,
        source="api",
        tiers=(PriceTier(**tier),),
    )


@pytest.mark.parametrize(
    ("target", "count", "longest"),
    [
        (model(), exactly(10), ASSUMED_MAX_OUTPUT),
        (model(max_output_tokens=4096), exactly(10), 4096),
        (model(max_output_tokens=4096, context_tokens=4100), exactly(10), 4090),
        (model(max_output_tokens=4096, context_tokens=100_000), exactly(10), 4096),
        (model(max_output_tokens=400_000), exactly(10), 400_000),
        (model(context_tokens=1_000_000), exactly(10), ASSUMED_MAX_OUTPUT),
        (model(context_tokens=8192), exactly(8000), 192),
        # Nothing is left: the target says so itself.
        (model(context_tokens=8192), exactly(9000), 1),
        # A guess that leaves little may be too high by all of it.
        (model(context_tokens=8192), InputCount(8000, is_estimated=True), 8192),
        (model(context_tokens=8192), InputCount(1000, is_estimated=True), 7192),
    ],
)
def test_the_longest_answer_is_what_model_and_context_allow(
    target: Model, count: InputCount, longest: int
) -> None:
    size = measure_request(asking(), [target], [count])
    assert size.longest_output_tokens == longest
    assert size.most_tokens == count.tokens + longest


def test_the_largest_of_all_targets_counts() -> None:
    targets = [model(max_output_tokens=100), model(max_output_tokens=300)]
    size = measure_request(asking(choices=2), targets, [exactly(50), exactly(70)])
    assert (size.input_tokens, size.longest_output_tokens) == (70, 300)
    assert size.most_tokens == 70 + 2 * 300


@pytest.mark.parametrize(
    ("targets", "asked"),
    [
        ([model(max_output_tokens=100)], 100),
        ([model(max_output_tokens=100), model(max_output_tokens=300)], 300),
        # One of them may give all that is asked for.
        ([model(max_output_tokens=100), model()], 5000),
    ],
)
def test_a_maximum_that_no_target_reaches_is_not_paid_for(targets: list[Model], asked: int) -> None:
    size = measure_request(asking(max_output_tokens=5000), targets, [exactly(1) for _ in targets])
    assert size.asked_output_tokens == asked
    assert size.least_tokens == 1 + asked


def test_a_guess_includes_the_prompt_that_the_model_is_given() -> None:
    plain = estimate_input(asking(), model()).tokens
    prompted = model(default_system_prompt="x" * 300)
    assert estimate_input(asking(), prompted).tokens >= plain + 100
    own = ChatRequest(
        dialect="openai",
        target="m",
        messages=(Message("system", (Text("mine"),)), Message("user", (Text("hello"),))),
    )
    assert estimate_input(own, prompted) == estimate_input(own, model())


def test_only_what_costs_something_is_counted_for() -> None:
    assert not is_charged(None)
    assert not is_charged(price())
    assert is_charged(price(input=1))
    assert is_charged(price(output=1))
    assert is_charged(price(cached_input=1))


# --- Shut books ---


def ask(**fields: object) -> HoldAsk:
    account = Account(id=AccountId("acct_1"), name="one", **fields)  # type: ignore[arg-type]
    record = UsageRecord(
        request_id="req_1",
        account_id=account.id,
        key_id=KeyId("key_1"),
        dialect="openai",
        started_s=0.0,
        status="interrupted",
    )
    return HoldAsk(account=account, quote=Quote(), intent=record)


async def test_shut_books_grant_all_and_keep_nothing() -> None:
    books = Unaccounted()
    wanted = ask(is_prepaid=False)
    hold = books.hold_now(wanted)
    assert hold == await books.hold(wanted)
    assert (hold.amount, hold.max_output_tokens) == (0, None)
    books.checkpoint(hold, Usage(output_tokens=1))
    books.note(wanted.intent)
    assert await books.settle(hold, wanted.intent) is wanted.intent


@pytest.mark.parametrize(
    "fields",
    [{"is_prepaid": True}, {"is_prepaid": False, "monthly_limit_nano_usd": NanoUSD(1)}],
)
def test_shut_books_serve_nobody_who_pays(fields: dict[str, object]) -> None:
    with pytest.raises(Forbidden, match="accounting off"):
        Unaccounted().hold_now(ask(**fields))
