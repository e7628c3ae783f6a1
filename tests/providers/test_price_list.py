"""The public price list, as it is installed, in our form."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import genai_prices
import msgspec
import pytest
from genai_prices.data_snapshot import get_snapshot
from genai_prices.types import (
    ClauseEquals,
    ConditionalPrice,
    ModelInfo,
    ModelPrice,
    StartDateConstraint,
    Tier,
    TieredPrices,
    TimeOfDateConstraint,
)

from dragoman.chat import Usage
from dragoman.providers import price_list
from dragoman.providers.catalog import CATALOG
from dragoman.providers.price_list import Asked, is_listable, listed_lines, look_up, model_lines
from dragoman.records.price import Price, PriceId, PriceTier

OPENAI = "https://api.openai.com/v1"
NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


def asked(name: str, base_url: str = OPENAI) -> Asked:
    return Asked(model=f"our-{name}", base_url=base_url, upstream_name=name)


def described(prices: ModelPrice | list[ConditionalPrice]) -> ModelInfo:
    return ModelInfo(id="m", match=ClauseEquals("m"), prices=prices)


def dollars(text: str) -> int:
    return int(Decimal(text) * 10**9)


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("openai", "gpt-4o-mini"),
        ("anthropic", "claude-sonnet-4-5"),
        ("gemini", "gemini-2.5-pro"),
        ("mistral", "mistral-small-latest"),
        ("xai", "grok-4"),
        ("deepseek", "deepseek-chat"),
        ("groq", "llama-3.3-70b-versatile"),
        ("openrouter", "openai/gpt-4.1-nano"),
    ],
)
def test_a_catalog_rows_address_leads_to_its_prices(kind: str, name: str) -> None:
    lines = listed_lines(asked(name, CATALOG[kind].base_url))
    assert lines[0].from_s == 0
    assert all(line.tiers[0].input > 0 and line.tiers[0].output > 0 for line in lines)


@pytest.mark.parametrize("input_tokens", [1, 200_000, 200_001, 900_000])
@pytest.mark.parametrize("name", ["claude-sonnet-4-5", "gemini-2.5-pro"])
def test_a_request_costs_what_the_list_itself_says(name: str, input_tokens: int) -> None:
    kind = "anthropic" if name.startswith("claude") else "gemini"
    (*_, line) = listed_lines(asked(name, CATALOG[kind].base_url))
    price = Price(
        id=PriceId("price_x"),
        model="m",
        valid_from_s=0.0,
        source="genai-prices",
        tiers=line.tiers,
    )
    usage = Usage(
        input_tokens=input_tokens, cached_input_tokens=input_tokens // 2, output_tokens=1234
    )
    theirs = genai_prices.calc_price(
        genai_prices.Usage(
            input_tokens=input_tokens, cache_read_tokens=input_tokens // 2, output_tokens=1234
        ),
        name,
        provider_api_url=CATALOG[kind].base_url,
    )
    assert price.cost(usage) == int(theirs.total_price * 10**9)


def test_kinds_of_tokens_without_a_price_of_their_own_cost_what_the_prompt_does() -> None:
    (line,) = model_lines(
        described(ModelPrice(input_mtok=Decimal("0.1234567891"), output_mtok=Decimal(2))), NOW
    )
    least = 123_456_789
    assert line.tiers == (
        PriceTier(input=least, cached_input=least, cache_write=least, output=dollars("2")),
    )


def test_tiers_of_different_kinds_are_brought_together() -> None:
    (line,) = model_lines(
        described(
            ModelPrice(
                input_mtok=TieredPrices(base=Decimal(1), tiers=[Tier(100, Decimal(2))]),
                output_mtok=TieredPrices(base=Decimal(3), tiers=[Tier(200, Decimal(4))]),
            )
        ),
        NOW,
    )
    assert [(t.above_input_tokens, t.input // 10**9, t.output // 10**9) for t in line.tiers] == [
        (0, 1, 3),
        (100, 2, 3),
        (200, 2, 4),
    ]


def test_later_prices_begin_on_their_day_and_the_dearest_hour_is_taken() -> None:
    cheap, dear, later = (
        ModelPrice(input_mtok=Decimal(n), output_mtok=Decimal(n)) for n in (1, 2, 3)
    )
    day = datetime(2026, 12, 1, tzinfo=UTC)
    noon = TimeOfDateConstraint(
        datetime(2026, 1, 1, 12, 30, tzinfo=UTC).timetz(),
        datetime(2026, 1, 1, 13, tzinfo=UTC).timetz(),
    )
    first, second = model_lines(
        described(
            [
                ConditionalPrice(prices=cheap),
                ConditionalPrice(noon, prices=dear),
                ConditionalPrice(StartDateConstraint(day.date()), prices=later),
            ]
        ),
        NOW,
    )
    assert (first.from_s, first.tiers[0].input) == (0.0, dollars("2"))
    assert (second.from_s, second.tiers[0].input) == (day.timestamp(), dollars("3"))


def test_what_is_not_paid_for_by_the_token_has_no_price() -> None:
    assert model_lines(described(ModelPrice(requests_kcount=Decimal(5))), NOW) == ()


def test_every_price_of_the_list_can_be_kept() -> None:
    for provider in get_snapshot().providers:
        for model in provider.models:
            for line in model_lines(model, NOW):
                kept = msgspec.json.encode(line.tiers)
                assert msgspec.json.decode(kept, type=tuple[PriceTier, ...]) == line.tiers


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:8000/v1",
        "https://127.0.0.1/v1",
        "https://[2001:db8::1]/v1",
        "http://api.openai.com/v1",
        "https://localhost/v1",
        "https://gpu.internal/v1",
    ],
)
def test_addresses_that_no_list_knows_are_not_looked_up(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object, **__: object) -> None:
        pytest.fail("a process was started")

    monkeypatch.setattr(subprocess, "run", never)
    assert not is_listable(url)
    assert look_up([asked("gpt-4o-mini", url)], tmp_path / "cache") == []


def test_relays_and_unknown_models_have_no_price() -> None:
    assert listed_lines(asked("gpt-4o-mini", "https://relay.example.com/v1")) == ()
    assert listed_lines(asked("no-such-model-anywhere")) == ()


# --- The process and its cache ------------------------------------------------------------------


def test_answers_are_remembered_unknown_models_included(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "cache"
    wanted = [asked("gpt-4o-mini"), asked("no-such-model-anywhere")]
    found = look_up(wanted, cache)
    assert [price.model for price in found] == ["our-gpt-4o-mini"]
    assert found[0].source == "genai-prices"

    def never(*_: object, **__: object) -> None:
        pytest.fail("the list was asked again")

    monkeypatch.setattr(subprocess, "run", never)
    assert look_up(wanted, cache) == found


@pytest.mark.parametrize("content", [b"", b"{", b'{"list_version":"1","lines":{}}', b"\xff" * 999])
def test_a_cache_that_is_old_or_broken_is_made_anew(tmp_path: Path, content: bytes) -> None:
    cache = tmp_path / "cache"
    cache.write_bytes(content)
    assert len(look_up([asked("gpt-4o-mini")], cache)) == 1
    assert cache.read_bytes() != content
    assert list(tmp_path.iterdir()) == [cache]


def test_a_list_that_cannot_be_read_is_said_and_what_it_said_before_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    cache = tmp_path / "cache"
    before = look_up([asked("gpt-4o-mini")], cache)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "gone"))
    assert look_up([asked("gpt-4o-mini"), asked("gpt-4o")], cache) == before
    assert "the price list cannot be read" in caplog.text


def test_the_server_itself_never_loads_the_list(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path;"
        "from dragoman.providers.price_list import Asked, look_up;"
        f"found = look_up([Asked(model='m', base_url='{OPENAI}', upstream_name='gpt-4o')],"
        f" Path({str(tmp_path / 'cache')!r}));"
        "assert len(found) == 1;"
        "assert not {'genai_prices', 'pydantic'} & sys.modules.keys()"
    )
    subprocess.run((sys.executable, "-c", code), check=True, timeout=60)


def test_nothing_is_listed_without_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(price_list, "PACKAGE", "no_such_package")
    assert look_up([asked("gpt-4o-mini")], tmp_path / "cache") == []
