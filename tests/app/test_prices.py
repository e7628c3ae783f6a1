"""Prices of a configuration, over a real store."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from dragoman.app.prices import open_price_book
from dragoman.config import Config, load_config
from dragoman.policy.prices import PriceBook, mint_price_id
from dragoman.records.model import Model
from dragoman.records.price import Price, PriceTier
from dragoman.stores import Store, open_store

CONFIG = """
embedded_model = false
[[providers]]
kind = "openai"
[[providers.models]]
id = "mini"
upstream_name = "gpt-4o-mini"
[[providers.models]]
id = "own"
price = { input = 1, output = 2 }
[[providers]]
name = "office"
wire = "openai"
base_url = "http://127.0.0.1:9/v1"
[[providers.models]]
id = "house"
"""


class SystemClock:
    def monotonic_s(self) -> float:
        return time.monotonic()

    def unix_s(self) -> float:
        return time.time()


@pytest.fixture
def config(tmp_path: Path) -> Config:
    file = tmp_path / "dragoman.toml"
    file.write_text(CONFIG)
    return load_config(file, {"data_dir": str(tmp_path / "data")}, {})


@pytest.fixture
def store(config: Config) -> Iterator[Store]:
    store = open_store(config.data_dir)
    yield store
    store.close()


def price(book: PriceBook, model: str) -> Price | None:
    return book.price(Model(id=model, provider="p", upstream_name=model), time.time())


async def test_each_model_has_the_price_that_somebody_gives(
    config: Config, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    book = await open_price_book(config, store, SystemClock())
    listed, own = price(book, "mini"), price(book, "own")
    assert listed is not None
    assert own is not None
    assert listed.source == "genai-prices"
    assert own.tiers == (
        PriceTier(input=10**9, cached_input=10**9, cache_write=10**9, output=2 * 10**9),
    )
    assert price(book, "house") is None
    assert "no price is known of house:" in caplog.text
    assert {kept.id for kept in store.list_prices()} == {listed.id, own.id}
    # The next start, and another process, find the very same.
    again = await open_price_book(config, store, SystemClock())
    assert [price(again, name) for name in ("mini", "own")] == [listed, own]


async def test_a_price_set_by_another_process_is_in_force_at_the_next_look(
    config: Config, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    book = await open_price_book(config, store, SystemClock())
    other = open_store(config.data_dir)
    free = PriceTier(input=0, cached_input=0, cache_write=0, output=0)
    other.add_price(
        Price(
            id=mint_price_id(),
            model="own",
            valid_from_s=time.time() - 1,
            source="api",
            tiers=(free,),
        )
    )
    other.close()
    assert book.is_stale()
    await book.refresh()
    found = price(book, "own")
    assert found is not None
    assert found.tiers == (free,)
    await open_price_book(config, store, SystemClock())
    assert "the configured price of own is not in force" in caplog.text
