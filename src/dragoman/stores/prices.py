"""Prices, every version of them."""

from __future__ import annotations

import msgspec

from dragoman.records.price import Price, PriceTier
from dragoman.stores.compiled import prices as sql
from dragoman.stores.database import Area


class PriceArea(Area):
    def list_prices(self) -> list[Price]:
        return [
            Price(
                id=id_,
                model=model,
                valid_from_s=valid_from_s,
                source=source,
                tiers=msgspec.json.decode(tiers, type=tuple[PriceTier, ...]),
            )
            for id_, model, valid_from_s, source, tiers in self._database.rows(
                sql.SQLITE_LIST_PRICES, {}
            )
        ]

    def add_price(self, price: Price) -> None:
        self._database.change(
            sql.SQLITE_ADD_PRICE,
            {
                "id": price.id,
                "model": price.model,
                "valid_from_s": price.valid_from_s,
                "source": price.source,
                "tiers": msgspec.json.encode(price.tiers).decode(),
            },
            taken=f"The model '{price.model}' has a price from that very moment on, or of that id.",
        )
        self._database.announce()
