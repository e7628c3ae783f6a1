"""Amounts of money as people write and read them: exact US dollars, kept as integer nano-USD."""

from __future__ import annotations

import re

from dragoman.chat import NanoUSD
from dragoman.errors import InvalidRequest

NANO = 1_000_000_000
MAX_AMOUNT = NanoUSD(100_000_000 * NANO)
"""The most that one posting moves: a hundred million dollars."""

_DECIMAL = re.compile(r"(-?)(\d{1,12})(?:\.(\d{1,9}))?", re.ASCII)


def parse_usd(text: str, *, param: str = "amount") -> NanoUSD:
    """`25.00` as nano-USD, exactly. Raises `InvalidRequest`."""
    match = _DECIMAL.fullmatch(text.strip().removeprefix("$"))
    if match is None:
        raise InvalidRequest(
            f"{param} {text[:40]!r} is not an amount; write US dollars with at most 9 decimals,"
            " like '25.00'",
            param=param,
        )
    sign, whole, part = match.groups()
    nano = int(whole) * NANO + int((part or "").ljust(9, "0"))
    return NanoUSD(-nano if sign else nano)


def format_usd(nano: int) -> str:
    """Exact: at least two decimals, and as many more as the amount has."""
    sign = "-" if nano < 0 else ""
    whole, part = divmod(abs(nano), NANO)
    decimals = f"{part:09d}".rstrip("0").ljust(2, "0")
    return f"{sign}{whole}.{decimals}"


def resolve_amount(
    nano_usd: int | None, usd: str | None, *, param: str = "amount"
) -> NanoUSD | None:
    """What was given as nano-USD or as dollars. Raises `InvalidRequest` where both differ."""
    if usd is None:
        return None if nano_usd is None else NanoUSD(nano_usd)
    parsed = parse_usd(usd, param=param)
    if nano_usd is not None and nano_usd != parsed:
        raise InvalidRequest(
            f"{param} and {param}_nano_usd are different amounts; give one of them", param=param
        )
    return parsed
