"""The book of prices, with everything that gives one."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from dragoman.config import Config
from dragoman.policy.prices import PriceBook
from dragoman.ports import Clock, PriceRepository
from dragoman.providers.price_list import CACHE_FILE, Asked, look_up
from dragoman.records.model import Model

MAX_NAMED = 20

_log = logging.getLogger("dragoman.prices")


async def open_price_book(config: Config, repository: PriceRepository, clock: Clock) -> PriceBook:
    """Loaded, and ready to be asked. Says which models cost nothing because no price of theirs is known.

    Raises what the repository raises.
    """
    hosted = [model for provider in config.providers for model in provider.models]
    listed = await asyncio.to_thread(look_up, _asked(config), config.data_dir / CACHE_FILE)
    book = PriceBook(repository, clock, (*config.prices, *listed))
    await book.refresh()
    _warn(book, hosted, clock.unix_s())
    return book


def _asked(config: Config) -> list[Asked]:
    """The models whose price only a list can tell."""
    priced = {given.model for given in config.prices}
    return [
        Asked(
            model=model.id,
            base_url=provider.row.base_url,
            upstream_name=model.upstream_name,
        )
        for provider in config.providers
        for model in provider.models
        if model.id not in priced
    ]


def _warn(book: PriceBook, hosted: Sequence[Model], now_s: float) -> None:
    unpriced = book.unpriced(hosted, now_s)
    if unpriced:
        _log.warning(
            "no price is known of %s: what is used of it is metered and not charged; give it a price,"
            " { input = 0, output = 0 } where that is meant",
            _names(unpriced),
        )
    overridden = book.overridden(now_s)
    if overridden:
        _log.warning(
            "the configured price of %s is not in force, because another was set over the API",
            _names(overridden),
        )


def _names(models: Sequence[str]) -> str:
    named = ", ".join(models[:MAX_NAMED])
    more = len(models) - MAX_NAMED
    return f"{named} and {more} more" if more > 0 else named
