"""Amounts, prices and postings: exact, and once."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.policy.administration.conftest import SetClock, actions, refused

from dragoman.chat import NanoUSD
from dragoman.errors import Conflict, InvalidRequest, UnknownEntity
from dragoman.policy.administration import (
    AccountWish,
    Adjustment,
    Administration,
    KeyWish,
    Payment,
    PriceWish,
    Refund,
    TierWish,
    format_usd,
    parse_usd,
)
from dragoman.policy.administration.amounts import MAX_AMOUNT
from dragoman.policy.administration.usage import inert
from dragoman.records.account import DEFAULT_ACCOUNT
from dragoman.stores import Store

DOLLAR = 1_000_000_000


# --- Amounts ------------------------------------------------------------------------------------


@given(st.integers(min_value=-(10**20), max_value=10**20))
def test_an_amount_is_read_as_it_was_written(nano: int) -> None:
    assert parse_usd(format_usd(nano)) == nano


@pytest.mark.parametrize(
    ("text", "nano"),
    [
        ("25.00", 25 * DOLLAR),
        ("0.000000001", 1),
        ("-3.5", -3_500_000_000),
        ("  $7 ", 7 * DOLLAR),
        ("0", 0),
    ],
)
def test_amounts_are_exact(text: str, nano: int) -> None:
    assert parse_usd(text) == nano


@pytest.mark.parametrize(
    "text",
    [
        "",
        "abc",
        "1e9",
        "1,000",
        "0.0000000001",
        "NaN",
        "Infinity",
        "٣",
        "1.",
        ".5",
        "--1",
        "9" * 13,
        "1\n2",
    ],
)
def test_what_is_no_amount_is_refused_by_name(text: str) -> None:
    with pytest.raises(InvalidRequest) as error:
        parse_usd(text)
    assert refused(error) == "amount"


# --- Prices -------------------------------------------------------------------------------------


def tier(price: int, above: int = 0) -> TierWish:
    return TierWish(above_input_tokens=above, input=price, output=2 * price)


def test_a_price_holds_from_its_moment_on(administration: Administration, clock: SetClock) -> None:
    price, is_new = administration.prices.set(PriceWish(model="s", tiers=(tier(5), tier(9, 1000))))
    assert is_new
    assert (price.model, price.valid_from_s, price.source) == ("small", clock.now_s, "api")
    assert price.tiers[0].cached_input == price.tiers[0].cache_write == 5
    assert administration.prices.set(PriceWish(model="small", tiers=(tier(5), tier(9, 1000)))) == (
        price,
        False,
    )
    with pytest.raises(Conflict) as error:
        administration.prices.set(PriceWish(model="small", tiers=(tier(6),)))
    assert refused(error) == "valid_from"
    later = datetime.fromtimestamp(clock.now_s + 100, UTC)
    second, _ = administration.prices.set(
        PriceWish(model="small", tiers=(tier(6),), valid_from=later)
    )
    assert administration.prices.list_all("small") == [price, second]
    assert administration.prices.list_all("large") == []


@pytest.mark.parametrize(
    ("wish", "param"),
    [
        (PriceWish(model="huge", tiers=(tier(1),)), "model"),
        (PriceWish(model="small", tiers=()), "tiers"),
        (PriceWish(model="small", tiers=(tier(1, 5),)), "tiers[0].above_input_tokens"),
        (PriceWish(model="small", tiers=(tier(1), tier(1))), "tiers[1].above_input_tokens"),
        (PriceWish(model="small", tiers=(tier(-1),)), "tiers[0].input"),
        (PriceWish(model="small", tiers=(tier(10**16),)), "tiers[0].input"),
        (
            PriceWish(model="small", tiers=(tier(1),), valid_from=datetime(2001, 1, 1, tzinfo=UTC)),
            "valid_from",
        ),
    ],
)
def test_an_unusable_price_is_refused_by_field(
    administration: Administration, wish: PriceWish, param: str
) -> None:
    with pytest.raises(InvalidRequest) as error:
        administration.prices.set(wish)
    assert refused(error) == param
    assert administration.prices.list_all() == []


# --- Money --------------------------------------------------------------------------------------


def test_money_is_posted_once_for_each_idempotency_key(administration: Administration) -> None:
    account, _ = administration.accounts.create(AccountWish(name="a"))
    entry, is_new = administration.money.top_up(account.id, Payment(amount="25.00"), "pay_1")
    assert is_new
    again, is_new = administration.money.top_up(
        account.id, Payment(amount_nano_usd=25 * DOLLAR), "pay_1"
    )
    assert (again, is_new) == (entry, False)
    with pytest.raises(Conflict):
        administration.money.top_up(account.id, Payment(amount="26.00"), "pay_1")
    with pytest.raises(Conflict):
        administration.money.top_up(DEFAULT_ACCOUNT, Payment(amount="25.00"), "pay_1")
    administration.money.adjust(account.id, Adjustment(amount="-5.00", note="chargeback"), "adj_1")
    with pytest.raises(Conflict):
        administration.money.adjust(
            account.id, Adjustment(amount="-20.000000001", note="x"), "adj_2"
        )
    assert administration.money.balance(account.id).free_nano_usd == 20 * DOLLAR
    assert [e.kind for e in administration.money.entries(account.id)] == ["adjustment", "top_up"]
    assert administration.money.verify() == []
    assert actions(administration) == ["account.create", "credits.top_up", "credits.adjustment"]


@pytest.mark.parametrize(
    "payment",
    [
        Payment(),
        Payment(amount="0"),
        Payment(amount="-1"),
        Payment(amount_nano_usd=0),
        Payment(amount="1", amount_nano_usd=1),
        Payment(amount=format_usd(MAX_AMOUNT + 1)),
        Payment(amount="1e3"),
    ],
)
def test_an_unusable_amount_moves_nothing(administration: Administration, payment: Payment) -> None:
    with pytest.raises(InvalidRequest) as error:
        administration.money.top_up(DEFAULT_ACCOUNT, payment, "k")
    assert refused(error) == "amount"
    assert administration.money.entries() == []


@pytest.mark.parametrize("key", ["", "x" * 256, "a\nb", "schlüssel"])
def test_an_unusable_idempotency_key_moves_nothing(
    administration: Administration, key: str
) -> None:
    with pytest.raises(InvalidRequest) as error:
        administration.money.top_up(DEFAULT_ACCOUNT, Payment(amount="1"), key)
    assert refused(error) == "Idempotency-Key"


def test_an_idempotency_key_cannot_stand_in_for_one_of_the_ledgers_own(
    administration: Administration,
) -> None:
    entry, _ = administration.money.top_up(DEFAULT_ACCOUNT, Payment(amount="1"), "settlement:req_1")
    assert not entry.idempotency_key.startswith("settlement:")


def test_a_refund_needs_a_request_or_an_idempotency_key(administration: Administration) -> None:
    with pytest.raises(InvalidRequest, match="Idempotency-Key"):
        administration.money.refund(DEFAULT_ACCOUNT, Refund(amount="1"))
    with pytest.raises(UnknownEntity) as error:
        administration.money.refund(DEFAULT_ACCOUNT, Refund(request_id="req_none"))
    assert refused(error) == "request_id"


def test_a_change_that_cannot_be_told_is_not_made(
    administration: Administration, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(event: object) -> None:
        raise Conflict("the audit log is full")

    monkeypatch.setattr(store, "add_event", fail)
    with pytest.raises(Conflict):
        administration.money.top_up(DEFAULT_ACCOUNT, Payment(amount="1"), "k")
    with pytest.raises(Conflict):
        administration.keys.create(KeyWish(name="k"))
    assert administration.money.balance(DEFAULT_ACCOUNT).free_nano_usd == NanoUSD(0)
    assert store.list_keys() == []


# --- Exports ------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "  =1", "\n-2"])
def test_no_text_is_a_formula_in_a_spreadsheet(text: str) -> None:
    assert inert(text) == "'" + text


@pytest.mark.parametrize("text", ["", "plain", "a=b", '{"a":"=1"}', "req_1"])
def test_harmless_text_stays_as_it_is(text: str) -> None:
    assert inert(text) == text
