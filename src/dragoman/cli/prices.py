"""`dragoman prices`: what models cost, from when on."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from dragoman.cli.administering import (
    opened_administration,
    parse_amount,
    parse_moment,
    print_table,
    show_time,
    show_usd,
    tell,
)
from dragoman.cli.terminal import ConfigOption, DataDirOption, Failure, JsonOption, print_json

if TYPE_CHECKING:
    from dragoman.policy.administration import TierWish
    from dragoman.records.price import Price, PriceTier

prices_app = typer.Typer(
    help="List and set what models cost, in US dollars for a million tokens.",
    no_args_is_help=True,
    epilog="Example: dragoman prices set gpt-4o-mini --input 0.15 --output 0.60",
)

_TIER_FIELDS = ("above", "input", "cached", "write", "output")


class TierRow(msgspec.Struct, frozen=True, kw_only=True):
    """In US dollars for a million tokens, exact."""

    above_input_tokens: int
    input: str
    cached_input: str
    cache_write: str
    output: str


class PriceRow(msgspec.Struct, frozen=True, kw_only=True):
    """A price as `--json` shows it."""

    id: str
    model: str
    valid_from: str
    source: str
    tiers: list[TierRow]


@prices_app.command("list", epilog="Example: dragoman prices list --model gpt-4o-mini --all")
def list_prices(
    model: Annotated[
        str | None, typer.Option("--model", "-m", help="Only this model's, by its id.")
    ] = None,
    every: Annotated[
        bool, typer.Option("--all", help="Also those that newer ones have replaced.")
    ] = False,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """List the newest price of each model and source, and those that are to come.

    What was set here or by the API comes before the configuration, and that before the public list.
    """
    with opened_administration(config, data_dir) as (office, _):
        prices = office.prices.list_all(model)
    if not every:
        prices = _without_replaced(prices, time.time())
    if as_json:
        print_json([_row(price) for price in prices])
        return
    if not prices:
        whose = "" if model is None else f" of {model}"
        tell(f"There are no prices{whose}: requests cost nothing. See: dragoman prices set --help")
        return
    print_table(
        (
            *("MODEL", "FROM", "SOURCE", ">ABOVE TOKENS"),
            *(">INPUT", ">CACHED", ">WRITE", ">OUTPUT"),
        ),
        (
            (
                *(price.model, show_time(price.valid_from_s), price.source),
                str(tier.above_input_tokens),
                *map(show_usd, (tier.input, tier.cached_input, tier.cache_write, tier.output)),
            )
            for price in prices
            for tier in price.tiers
        ),
    )


@prices_app.command(
    "set",
    epilog="Example: dragoman prices set big --input 2.50 --output 10"
    " --tier above=200000,input=5,output=15",
)
def set_price(
    model: Annotated[str, typer.Argument(help="A model's id or alias.")],
    input_price: Annotated[
        str, typer.Option("--input", metavar="USD", help="For a million tokens of the prompt.")
    ],
    output_price: Annotated[
        str, typer.Option("--output", metavar="USD", help="For a million tokens of the answer.")
    ],
    cached_price: Annotated[
        str | None,
        typer.Option(
            "--cached-input", metavar="USD", help="For those read from a cache. [as --input]"
        ),
    ] = None,
    write_price: Annotated[
        str | None,
        typer.Option(
            "--cache-write", metavar="USD", help="For those written to a cache. [as --input]"
        ),
    ] = None,
    tier: Annotated[
        list[str] | None,
        typer.Option(
            "--tier",
            metavar="TIER",
            help="For longer prompts, whole: above=200000,input=5,output=15"
            " (and cached=, write=); may be repeated.",
        ),
    ] = None,
    valid_from: Annotated[
        str | None,
        typer.Option("--from", metavar="WHEN", help="2027-01-01T00:00, or 7d from now. [now]"),
    ] = None,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """Set a model's price from now, or from a later moment on. What was charged stays as it is."""
    from dragoman.policy.administration import PriceWish, TierWish

    with opened_administration(config, data_dir) as (office, _):
        first = TierWish(
            input=parse_amount(input_price, "--input"),
            cached_input=_amount_or_none(cached_price, "--cached-input"),
            cache_write=_amount_or_none(write_price, "--cache-write"),
            output=parse_amount(output_price, "--output"),
        )
        wish = PriceWish(
            model=model,
            valid_from=None if valid_from is None else parse_moment(valid_from, "--from"),
            tiers=(first, *(_tier(text) for text in tier or ())),
        )
        price, is_new = office.prices.set(wish)
    if as_json:
        print_json(_row(price))
        return
    moment = show_time(price.valid_from_s)
    typer.echo(f"{price.model} {'costs' if is_new else 'cost already'} this from {moment} on.")


def _tier(text: str) -> TierWish:
    from dragoman.policy.administration import TierWish

    parts = [part.partition("=") for part in text.split(",")]
    fields = {name.strip(): value.strip() for name, _, value in parts}
    above = fields.get("above", "")
    if (
        len(fields) != len(parts)
        or not fields.keys() <= set(_TIER_FIELDS)
        or not {"above", "input", "output"} <= fields.keys()
        or not (above.isdecimal() and len(above) < 13)
    ):
        raise Failure(
            f"--tier is {text[:80]!r}; write it like above=200000,input=5,output=15"
            " (cached= and write= may follow)",
            exit_code=2,
        )
    return TierWish(
        above_input_tokens=int(above),
        input=parse_amount(fields["input"], "--tier input"),
        cached_input=_amount_or_none(fields.get("cached"), "--tier cached"),
        cache_write=_amount_or_none(fields.get("write"), "--tier write"),
        output=parse_amount(fields["output"], "--tier output"),
    )


def _amount_or_none(text: str | None, option: str) -> int | None:
    return None if text is None else parse_amount(text, option)


def _without_replaced(prices: list[Price], now_s: float) -> list[Price]:
    newest: dict[tuple[str, str], float] = {}
    for price in prices:
        if price.valid_from_s <= now_s:
            slot = (price.model, price.source)
            newest[slot] = max(newest.get(slot, 0.0), price.valid_from_s)
    return [
        price
        for price in prices
        if price.valid_from_s >= newest.get((price.model, price.source), 0.0)
    ]


def _row(price: Price) -> PriceRow:
    return PriceRow(
        id=price.id,
        model=price.model,
        valid_from=show_time(price.valid_from_s),
        source=price.source,
        tiers=[_tier_row(tier) for tier in price.tiers],
    )


def _tier_row(tier: PriceTier) -> TierRow:
    from dragoman.policy.administration import format_usd

    return TierRow(
        above_input_tokens=tier.above_input_tokens,
        input=format_usd(tier.input),
        cached_input=format_usd(tier.cached_input),
        cache_write=format_usd(tier.cache_write),
        output=format_usd(tier.output),
    )
