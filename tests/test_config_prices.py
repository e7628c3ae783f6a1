"""Prices in `dragoman.toml`."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import jsonschema_rs
import pytest

from dragoman.config import Config, ConfigError, load_config
from dragoman.config.reference import schema_text
from dragoman.records.given_price import GivenPrice
from dragoman.records.price import PriceTier

WHOLE = """
[[local_models]]
id = "own"
path = "own.gguf"
price = { input = 0, output = 1 }

[[providers]]
kind = "openai"
timeouts = { idle_s = 1.5 }
[[providers.models]]
id = "dear"
[providers.models.price]
input = 0.1
cached_input = 0.000000001
cache_write = 0.2
output = 123456.123456789
[[providers.models.price.tiers]]
above_input_tokens = 200_000
input = 3
output = 22.5
[[providers.models]]
id = "listed"
"""


def load(folder: Path, text: str) -> Config:
    file = folder / "dragoman.toml"
    file.write_text(text)
    return load_config(file, {}, {})


def test_prices_are_taken_to_the_nano_dollar(tmp_path: Path) -> None:
    config = load(tmp_path, WHOLE)
    free = PriceTier(input=0, cached_input=0, cache_write=0, output=10**9)
    first = PriceTier(
        input=100_000_000, cached_input=1, cache_write=200_000_000, output=123_456_123_456_789
    )
    second = PriceTier(
        above_input_tokens=200_000,
        input=3 * 10**9,
        cached_input=3 * 10**9,
        cache_write=3 * 10**9,
        output=22_500_000_000,
    )
    assert config.prices == (
        GivenPrice(model="own", source="config", tiers=(free,)),
        GivenPrice(model="dear", source="config", tiers=(first, second)),
    )
    assert dict(config.origins)["prices"] == str(config.path)
    # Other numbers are read as they were.
    assert config.providers[0].row.timeouts.idle_s == 1.5
    assert type(config.providers[0].row.timeouts.idle_s) is float
    jsonschema_rs.Draft202012Validator(json.loads(schema_text())).validate(tomllib.loads(WHOLE))


@pytest.mark.parametrize(
    ("price", "message"),
    [
        ("{ input = 1 }", "price.output is missing; add it"),
        ("{ input = -1, output = 1 }", "price.input is -1; use 0 to 1,000,000 US dollars"),
        ("{ input = 1, output = nan }", "price.output is nan; use a number of US dollars"),
        ("{ input = 1, output = inf }", "price.output is infinity; use a number of US dollars"),
        ("{ input = 0.1234567891, output = 1 }", "price.input is 0.1234567891; use up to 9 decima"),
        ('{ input = "cheap", output = 1 }', "price.input is 'cheap'; use a number"),
        ("{ input = true, output = 1 }", "price.input is True; use a number"),
        ("{ input = 1, outptu = 1 }", "price.outptu is not a setting; did you mean output?"),
        ("3", "price is 3; use a table"),
        (
            "{ input = 1, output = 1, tiers = [{ above_input_tokens = 0, input = 1, output = 1 }] }",
            "price.tiers[0].above_input_tokens is 0; use a whole number from 1",
        ),
        (
            "{ input = 1, output = 1, tiers = [{ above_input_tokens = 5, input = 1e7, output = 1 }] }",
            "price.tiers[0].input is 1e+7; use 0 to 1,000,000 US dollars",
        ),
    ],
)
def test_a_wrong_price_is_named_with_its_remedy(tmp_path: Path, price: str, message: str) -> None:
    text = f'[[providers]]\nkind = "openai"\n[[providers.models]]\nid = "m"\nprice = {price}\n'
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text)
    assert f"providers[0].models[0].{message}" in str(caught.value)
