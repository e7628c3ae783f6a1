"""A price as people write it: US dollars for a million tokens."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated

import msgspec
from msgspec import Meta

from dragoman.records.price import PriceTier

DECIMALS = 9
"""A billionth of a dollar is the least there is."""
MAX_DOLLARS = 1_000_000


class DollarTier(msgspec.Struct, frozen=True, kw_only=True):
    """What a request costs, all of its tokens, that has more input tokens than so many."""

    above_input_tokens: Annotated[int, Meta(ge=1, le=1 << 40)]
    """Holds for requests with more input tokens than this, for all of their tokens."""
    input: Decimal
    """For a million tokens of the prompt."""
    cached_input: Decimal | None = None
    """For those read from the provider's cache. Default: as `input`."""
    cache_write: Decimal | None = None
    """For those written to it. Default: as `input`."""
    output: Decimal
    """For a million tokens of the answer, reasoning included."""


class DollarPrice(msgspec.Struct, frozen=True, kw_only=True):
    """What a model's tokens cost."""

    input: Decimal
    """For a million tokens of the prompt."""
    cached_input: Decimal | None = None
    """For those read from the provider's cache. Default: as `input`."""
    cache_write: Decimal | None = None
    """For those written to it. Default: as `input`."""
    output: Decimal
    """For a million tokens of the answer, reasoning included."""
    tiers: tuple[DollarTier, ...] = ()
    """Other prices for longer prompts."""


def exact_tiers(price: DollarPrice) -> tuple[PriceTier, ...]:
    """`price` in nano-USD, exactly, in ascending order.

    Raises `ValueError`, which begins with the field at fault (`tiers[0].output is -1; …`).
    """
    tiers = [_exact_tier(price, 0, "")]
    for index, tier in enumerate(price.tiers):
        where = f"tiers[{index}]."
        above = tier.above_input_tokens
        if above <= tiers[-1].above_input_tokens:
            raise ValueError(
                f"{where}above_input_tokens is {above}; use a whole number above"
                f" {tiers[-1].above_input_tokens}: tiers stand in ascending order"
            )
        tiers.append(_exact_tier(tier, above, where))
    return tuple(tiers)


def _exact_tier(given: DollarPrice | DollarTier, above: int, where: str) -> PriceTier:
    plain = nano_usd(given.input, f"{where}input")
    cached, written = given.cached_input, given.cache_write
    return PriceTier(
        above_input_tokens=above,
        input=plain,
        cached_input=plain if cached is None else nano_usd(cached, f"{where}cached_input"),
        cache_write=plain if written is None else nano_usd(written, f"{where}cache_write"),
        output=nano_usd(given.output, f"{where}output"),
    )


def nano_usd(dollars: Decimal, where: str) -> int:
    """`dollars` as a whole number of nano-USD; raises `ValueError` naming `where` if it is none."""
    if not dollars.is_finite():
        raise ValueError(f"{where} is {_shown(dollars)}; use a number of US dollars")
    if not 0 <= dollars <= MAX_DOLLARS:
        raise ValueError(f"{where} is {_shown(dollars)}; use 0 to {MAX_DOLLARS:,} US dollars")
    if not dollars:
        return 0
    # By its digits: arithmetic with decimals rounds to a precision, and nothing here may round.
    _, digits, exponent = dollars.as_tuple()
    assert isinstance(exponent, int)  # it is finite
    number = int("".join(map(str, digits)))
    shift = exponent + DECIMALS
    if shift >= 0:
        return number * int(10**shift)
    unit = int(10 ** min(-shift, len(digits)))
    if number % unit or -shift > len(digits):
        raise ValueError(
            f"{where} is {_shown(dollars)}; use up to {DECIMALS} decimals: a billionth of a dollar"
            " is the least there is"
        )
    return number // unit


def _shown(dollars: Decimal) -> str:
    text = str(dollars).lower()
    return text if len(text) <= 40 else f"{text[:39]}…"
