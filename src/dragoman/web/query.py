"""A path's query parameters, read strictly: one that nobody knows could be a filter misspelt."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from datetime import UTC, datetime
from urllib.parse import parse_qsl

from dragoman.errors import InvalidRequest

MAX_QUERY_BYTES = 8192
MAX_VALUE_CHARS = 701
MAX_PARAMETERS = 50


def read_query(query: bytes, known: Iterable[str]) -> dict[str, str]:
    """Parameters by name, those without a value left out. Raises `InvalidRequest`."""
    return {name: values[0] for name, values in read_values(query, known).items()}


def read_values(
    query: bytes, known: Iterable[str], repeatable: Container[str] = ()
) -> dict[str, list[str]]:
    """The same with several values, of parameters that may have them."""
    names = tuple(known)
    if len(query) > MAX_QUERY_BYTES:
        raise InvalidRequest(f"the query is longer than {MAX_QUERY_BYTES} bytes")
    found: dict[str, list[str]] = {}
    for name, value in _pairs(query):
        if name not in names:
            known_ones = f"use {', '.join(names)}" if names else "there are none"
            raise InvalidRequest(
                f"{name[:60]!r} is not a parameter here; {known_ones}", param=name[:60]
            )
        if name in found and name not in repeatable:
            raise InvalidRequest(f"{name} is given twice", param=name)
        if len(value) > MAX_VALUE_CHARS:
            raise InvalidRequest(
                f"{name} must have at most {MAX_VALUE_CHARS} characters", param=name
            )
        found.setdefault(name, []).append(value)
    return found


def _pairs(query: bytes) -> list[tuple[str, str]]:
    try:
        return parse_qsl(query.decode("latin-1"), max_num_fields=MAX_PARAMETERS)
    except ValueError:
        raise InvalidRequest(f"the query has more than {MAX_PARAMETERS} parameters") from None


def moment_s(given: Mapping[str, str], name: str) -> float | None:
    """`2026-11-22`, `2026-11-22T18:00:00Z`, or seconds since the epoch. Raises `InvalidRequest`."""
    text = given.get(name)
    if text is None:
        return None
    if text.isascii() and text.isdecimal() and 9 <= len(text) <= 11:
        return float(text)
    try:
        # A `+` of the time zone that was not escaped arrives as a blank.
        moment = datetime.fromisoformat(text.replace(" ", "+") if "T" in text else text)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        # In the first and the last hours of the calendar, not every zone's moment is one of UTC's.
        return moment.astimezone(UTC).timestamp()
    except (ValueError, OverflowError):
        raise InvalidRequest(
            f"{name} is {text[:40]!r}; write a day or a moment: 2026-11-22, 2026-11-22T18:00:00Z,"
            " or seconds since the epoch",
            param=name,
        ) from None


def whole_number(
    given: Mapping[str, str], name: str, *, least: int, most: int, default: int
) -> int:
    """Raises `InvalidRequest`."""
    text = given.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdecimal() and len(text) < 20) or not (
        least <= int(text) <= most
    ):
        raise InvalidRequest(f"{name} must be a number from {least} to {most}", param=name)
    return int(text)


def one_of(given: Mapping[str, str], name: str, choices: Iterable[str]) -> str | None:
    """Raises `InvalidRequest`."""
    text = given.get(name)
    allowed = tuple(choices)
    if text is not None and text not in allowed:
        raise InvalidRequest(f"{name} is {text[:40]!r}; use {', '.join(allowed)}", param=name)
    return text


def cursor_of(given: Mapping[str, str]) -> int | None:
    """The number that the page before ended with. Raises `InvalidRequest`."""
    text = given.get("cursor")
    if text is None:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) < 19):
        raise InvalidRequest(
            "cursor is none of ours; send the next_cursor of the page before, or leave it out",
            param="cursor",
        )
    return int(text)
