"""A model's price as the configuration or a price list gives it, before it is kept."""

from __future__ import annotations

import msgspec

from dragoman.records.price import PriceSource, PriceTier


class GivenPrice(msgspec.Struct, frozen=True, kw_only=True):
    model: str
    """A model's id."""
    source: PriceSource
    tiers: tuple[PriceTier, ...]
    """As a `Price` has them."""
    from_s: float = 0.0
    """Holds from then on; 0: as far back as anybody asks."""
