"""What models cost, from when on."""

from __future__ import annotations

from dragoman.errors import Conflict, InvalidRequest
from dragoman.policy.administration.desk import Desk, checked, draw_id, text_checked
from dragoman.policy.administration.wishes import PriceWish, TierWish
from dragoman.records.price import Price, PriceId, PriceTier

MAX_BACKDATING_S = 60.0
"""How far before now a price may begin: what was charged already keeps its price."""


class PriceAdministration:
    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def list_all(self, model: str | None = None) -> list[Price]:
        """The history: by model, the oldest first."""
        return [p for p in self._desk.store.list_prices() if model is None or p.model == model]

    def set(self, wish: PriceWish) -> tuple[Price, bool]:
        """The price, and whether it is new: the same from the same moment on changes nothing.

        Raises `InvalidRequest`, or `Conflict` where another price begins at that moment.
        """
        wish = checked(wish)
        now_s = self._desk.now_s()
        valid_from_s = now_s if wish.valid_from is None else wish.valid_from.timestamp()
        model = self._desk.model(text_checked(wish.model, "model"), "model")
        tiers = _tiers(wish.tiers)
        with self._desk.store.atomically():
            for price in self.list_all(model):
                if price.valid_from_s == valid_from_s and price.source == "api":
                    if price.tiers == tiers:
                        return price, False
                    raise Conflict(
                        f"valid_from: price {price.id} of '{model}' begins at that moment; choose another",
                        param="valid_from",
                    )
            if valid_from_s < now_s - MAX_BACKDATING_S:
                raise InvalidRequest(
                    "valid_from is in the past; a price holds from now on, or from a later moment",
                    param="valid_from",
                )
            price = Price(
                id=PriceId(draw_id("price_")),
                model=model,
                valid_from_s=valid_from_s,
                source="api",
                tiers=tiers,
            )
            self._desk.store.add_price(price)
            self._desk.note("price.set", price.model, price)
        return price, True


def _tiers(wishes: tuple[TierWish, ...]) -> tuple[PriceTier, ...]:
    tiers = []
    for index, wish in enumerate(wishes):
        before = wishes[index - 1].above_input_tokens if index else -1
        if wish.above_input_tokens <= before or (index == 0 and wish.above_input_tokens != 0):
            raise InvalidRequest(
                "tiers must ascend by above_input_tokens, and the first must have 0",
                param=f"tiers[{index}].above_input_tokens",
            )
        tiers.append(
            PriceTier(
                above_input_tokens=wish.above_input_tokens,
                input=wish.input,
                cached_input=wish.input if wish.cached_input is None else wish.cached_input,
                cache_write=wish.input if wish.cache_write is None else wish.cache_write,
                output=wish.output,
            )
        )
    return tuple(tiers)
