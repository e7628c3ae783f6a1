"""What is asked of the table of prices."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import insert, select
from sqlalchemy.sql import ClauseElement

from dragoman.stores.schema import prices

STATEMENTS: Mapping[str, ClauseElement] = {
    "LIST_PRICES": select(prices).order_by(prices.c.model, prices.c.valid_from_s),
    "ADD_PRICE": insert(prices),
}
