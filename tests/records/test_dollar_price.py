"""Dollars as people write them, and nano-USD as they are counted."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dragoman.records.dollar_price import (
    MAX_DOLLARS,
    DollarPrice,
    DollarTier,
    exact_tiers,
    nano_usd,
)
from dragoman.records.price import PriceTier


@given(st.integers(0, 10**15))
def test_every_price_is_read_exactly(nano: int) -> None:
    text = f"{nano // 10**9}.{nano % 10**9:09d}"
    assert nano_usd(Decimal(text), "input") == nano
    assert nano_usd(Decimal(text + "000000000000000000000000"), "input") == nano


@given(st.decimals(allow_nan=True, allow_infinity=True))
def test_any_number_is_read_exactly_or_refused_by_name(dollars: Decimal) -> None:
    is_exact = (
        dollars.is_finite()
        and 0 <= dollars <= MAX_DOLLARS
        and (Fraction(dollars) * 10**9).denominator == 1
    )
    if is_exact:
        assert Fraction(nano_usd(dollars, "output"), 10**9) == Fraction(dollars)
        return
    with pytest.raises(ValueError, match=r"^output is ") as caught:
        nano_usd(dollars, "output")
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        ("nan", "use a number of US dollars"),
        ("-inf", "use a number of US dollars"),
        ("-0.01", "use 0 to 1,000,000 US dollars"),
        ("1e999999999", "use 0 to 1,000,000 US dollars"),
        ("0.0000000001", "use up to 9 decimals"),
        ("1e-999999999", "use up to 9 decimals"),
        ("0.15" + "0" * 60 + "1", "use up to 9 decimals"),
    ],
)
def test_what_cannot_be_a_price_is_refused(text: str, remedy: str) -> None:
    with pytest.raises(ValueError, match=rf"^tiers\[0\]\.input is .*; {remedy}"):
        nano_usd(Decimal(text), "tiers[0].input")


def test_cached_and_written_tokens_cost_what_plain_ones_do_unless_said() -> None:
    price = DollarPrice(input=Decimal("0.15"), output=Decimal("0.60"))
    assert exact_tiers(price) == (
        PriceTier(
            input=150_000_000,
            cached_input=150_000_000,
            cache_write=150_000_000,
            output=600_000_000,
        ),
    )


def test_tiers_stand_in_ascending_order() -> None:
    def tier(above: int) -> DollarTier:
        return DollarTier(above_input_tokens=above, input=Decimal(1), output=Decimal(2))

    rising = DollarPrice(input=Decimal(1), output=Decimal(2), tiers=(tier(1000), tier(2000)))
    assert [t.above_input_tokens for t in exact_tiers(rising)] == [0, 1000, 2000]
    falling = DollarPrice(input=Decimal(1), output=Decimal(2), tiers=(tier(1000), tier(1000)))
    with pytest.raises(ValueError, match=r"^tiers\[1\]\.above_input_tokens is 1000; use .* 1000"):
        exact_tiers(falling)
