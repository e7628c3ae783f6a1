"""What providers charge, from a public list of prices: the package genai-prices.

The list takes half a second and 80 MB to load, so a short-lived child process does it, and its answers are
kept in a file that holds until another list is installed: usually a start reads that file alone. The list says
to whom an address belongs and what its models cost; an address that it does not know has no prices, least
of all a relay's or a server of one's own.

A tier of the list holds for all tokens of a request, as ours do. What it has and we have not: the dearest hour
of a day stands for all hours; a cache is written for minutes, not for an hour; and what is not billed by
the token (searches, requests) is not billed.
"""

from __future__ import annotations

import ipaddress
import logging
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime, time, timedelta
from decimal import ROUND_HALF_UP, Decimal
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import msgspec

from dragoman.records.given_price import GivenPrice
from dragoman.records.price import PriceTier

if TYPE_CHECKING:
    from genai_prices.types import ModelInfo, ModelPrice

CHILD_TIMEOUT_S = 60.0
MAX_CACHE_BYTES = 16 * 1024 * 1024
PACKAGE = "genai_prices"
CACHE_FILE = "price-list.json"

_log = logging.getLogger("dragoman.prices")


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """Whose price is wanted."""

    model: str
    """Our id of it."""
    base_url: str
    """Its provider's."""
    upstream_name: str


class _Line(msgspec.Struct, frozen=True):
    """A price, and since when (0: always) it holds."""

    from_s: float
    tiers: tuple[PriceTier, ...]


class _Answers(msgspec.Struct, frozen=True):
    """The cache: what the list said of each address and name, nothing included."""

    list_version: str
    lines: dict[str, tuple[_Line, ...]]


def look_up(asked: Sequence[Asked], cache: Path) -> list[GivenPrice]:
    """The prices of those that the list knows, in a thread: it may take seconds. Never fails.

    `cache` is the file that remembers the answers.
    """
    listable = [one for one in asked if is_listable(one.base_url)]
    version = _installed_version() if listable else None
    if version is None:
        return []
    kept = _read(cache)
    lines = kept.lines if kept is not None else {}
    wanted = {_key(one) for one in listable}
    if kept is None or kept.list_version != version or not wanted <= lines.keys():
        try:
            lines = _ask_child(listable)
            _write(cache, _Answers(version, lines))
        except (OSError, subprocess.SubprocessError, msgspec.MsgspecError) as error:
            # What was listed before is nearer to the truth than nothing.
            _log.warning("the price list cannot be read (%s)", _cause(error))
    return [
        GivenPrice(model=one.model, source="genai-prices", tiers=line.tiers, from_s=line.from_s)
        for one in listable
        for line in lines.get(_key(one), ())
    ]


def is_listable(base_url: str) -> bool:
    """Whether the list can know the address at all: it has no numbers, and no hosts without TLS."""
    parts = urlsplit(base_url)
    host = parts.hostname or ""
    if parts.scheme != "https" or "." not in host:
        return False
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return not host.endswith((".localhost", ".internal", ".local", ".invalid"))
    return False


def _key(one: Asked) -> str:
    return f"{one.base_url} {one.upstream_name}"


def _installed_version() -> str | None:
    """What changes when another list is installed; reading the package's own number is slower."""
    spec = find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        return None
    try:
        data = Path(spec.origin).with_name("data.py").stat()
    except OSError:
        return None
    return f"{data.st_size}-{data.st_mtime_ns}"


def _read(cache: Path) -> _Answers | None:
    try:
        with cache.open("rb") as stream:
            return msgspec.json.decode(stream.read(MAX_CACHE_BYTES), type=_Answers)
    except (OSError, msgspec.MsgspecError):
        return None


def _write(cache: Path, answers: _Answers) -> None:
    """Whole or not at all, also where several processes start at once."""
    handle, name = tempfile.mkstemp(dir=cache.parent, prefix=f".{cache.name}-")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(msgspec.json.encode(answers))
        Path(name).replace(cache)
    except OSError:
        Path(name).unlink(missing_ok=True)
        raise


def _ask_child(asked: Sequence[Asked]) -> dict[str, tuple[_Line, ...]]:
    done = subprocess.run(
        # -P: the working directory is no place to import from.
        (sys.executable, "-P", "-m", "dragoman.providers.price_list"),
        input=msgspec.json.encode(asked),
        capture_output=True,
        timeout=CHILD_TIMEOUT_S,
        check=True,
        start_new_session=True,
    )
    return msgspec.json.decode(done.stdout, type=dict[str, tuple[_Line, ...]])


def _cause(error: Exception) -> str:
    if isinstance(error, subprocess.CalledProcessError):
        last = error.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        return f"its process ended with {error.returncode}: {last[:200]}"
    return str(error)[:200]


# --- In the child -------------------------------------------------------------------------------


def main() -> None:
    """Answer what standard input asks."""
    asked = msgspec.json.decode(sys.stdin.buffer.read(), type=list[Asked])
    answers = {_key(one): listed_lines(one) for one in asked}
    sys.stdout.buffer.write(msgspec.json.encode(answers))


def listed_lines(asked: Asked) -> tuple[_Line, ...]:
    """What the list says; nothing where it does not know provider or model. Loads the list."""
    from genai_prices.data_snapshot import get_snapshot  # noqa: PLC0415 - large

    try:
        _, model = get_snapshot().find_provider_model(
            asked.upstream_name, None, None, asked.base_url
        )
    except LookupError:
        return ()
    return model_lines(model, datetime.now(UTC))


def model_lines(model: ModelInfo, now: datetime) -> tuple[_Line, ...]:
    """What the list says of one model."""
    lines: list[_Line] = []
    for from_s, moment in _days(model, now):
        tiers = _dearest_of_day(model, moment)
        if tiers is not None and (not lines or lines[-1].tiers != tiers):
            lines.append(_Line(from_s, tiers))
    return tuple(lines)


def _days(model: ModelInfo, now: datetime) -> list[tuple[float, datetime]]:
    """A day of each of the model's prices, and since when (0: always) it holds."""
    from genai_prices.types import StartDateConstraint  # noqa: PLC0415 - large

    prices = model.prices if isinstance(model.prices, list) else []
    starts = sorted(
        {
            datetime.combine(price.constraint.start_date, time(), UTC)
            for price in prices
            if isinstance(price.constraint, StartDateConstraint)
        }
    )
    before = starts[0] - timedelta(days=1) if starts else now
    return [(0.0, before), *((start.timestamp(), start) for start in starts)]


def _dearest_of_day(model: ModelInfo, day: datetime) -> tuple[PriceTier, ...] | None:
    found = [
        tiers
        for hour in range(24)
        for minute in (0, 30)
        if (tiers := _tiers(model.get_prices(day.replace(hour=hour, minute=minute))))
    ]
    return max(found, key=lambda tiers: tiers[0].input + tiers[0].output, default=None)


def _tiers(prices: ModelPrice) -> tuple[PriceTier, ...] | None:
    """In our form; `None` where tokens are not what is paid for."""
    from genai_prices.types import TieredPrices  # noqa: PLC0415 - large

    given = (prices.input_mtok, prices.cache_read_mtok, prices.cache_write_mtok, prices.output_mtok)
    plain = given[0]
    if plain is None:
        return None
    starts = {0}
    for price in given:
        if isinstance(price, TieredPrices):
            starts |= {tier.start for tier in price.tiers}

    def at(price: Decimal | TieredPrices | None, start: int) -> int:
        if price is None:
            return 0
        if isinstance(price, TieredPrices):
            reached = [tier.price for tier in price.tiers if tier.start <= start]
            price = reached[-1] if reached else price.base
        return int((price * 10**9).to_integral_value(ROUND_HALF_UP))

    return tuple(
        PriceTier(
            above_input_tokens=start,
            input=at(plain, start),
            cached_input=at(plain if given[1] is None else given[1], start),
            cache_write=at(plain if given[2] is None else given[2], start),
            output=at(given[3], start),
        )
        for start in sorted(starts)
    )


if __name__ == "__main__":
    main()
