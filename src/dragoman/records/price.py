"""What a model's tokens cost: integer nano-USD for a million of them."""

from __future__ import annotations

from typing import Annotated, Literal, NewType

import msgspec
from msgspec import Meta

from dragoman.chat import NanoUSD, Usage

PriceId = NewType("PriceId", str)
"""`price_` and 20 lower-case letters and digits."""

PriceSource = Literal["config", "api", "genai-prices"]
PerMillion = Annotated[int, Meta(ge=0, le=10**15)]
"""Nano-USD for a million tokens: 150,000,000 is 15 US cents."""
MILLION = 1_000_000


class PriceTier(msgspec.Struct, frozen=True, kw_only=True):
    """Holds for requests with more input tokens than `above_input_tokens`, all of their tokens."""

    above_input_tokens: Annotated[int, Meta(ge=0)] = 0
    input: PerMillion
    cached_input: PerMillion
    """Tokens read from the provider's cache."""
    cache_write: PerMillion
    """Tokens written to it."""
    output: PerMillion
    """Reasoning included."""


class Price(msgspec.Struct, frozen=True, kw_only=True):
    """A model's price from `valid_from_s` until the next one's."""

    id: PriceId
    model: str
    """A model's id."""
    valid_from_s: float
    source: PriceSource
    tiers: tuple[PriceTier, ...]
    """Ascending by `above_input_tokens`; the first has 0."""

    def tier(self, input_tokens: int) -> PriceTier:
        """The one that a request with so many input tokens is charged at."""
        found = self.tiers[0]
        if len(self.tiers) == 1:
            return found
        for tier in self.tiers:
            if input_tokens > tier.above_input_tokens:
                found = tier
        return found

    def cost(self, usage: Usage) -> NanoUSD:
        """What `usage` costs: the sum is rounded down, once."""
        return NanoUSD(self.cost_micro(usage) // MILLION)

    def cost_micro(self, usage: Usage) -> int:
        """The same before it is rounded, in millionths of a nano-USD: of several, the sum is what is rounded."""
        tier = self.tier(usage.input_tokens)
        plain = usage.input_tokens
        total = usage.output_tokens * tier.output
        if usage.cached_input_tokens or usage.cache_write_tokens:
            # A provider may report that more was cached than there was: no token is charged twice.
            cached = min(usage.cached_input_tokens, plain)
            written = min(usage.cache_write_tokens, plain - cached)
            plain -= cached + written
            total += cached * tier.cached_input + written * tier.cache_write
        return total + plain * tier.input
