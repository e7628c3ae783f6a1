"""Calendar months in an account's own time zone: numbers like 202611."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, tzinfo
from typing import NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

_log = logging.getLogger("dragoman.months")


class Month(NamedTuple):
    """From `from_s` until before `to_s`, since the epoch."""

    number: int
    """202611 is November 2026."""
    from_s: float
    to_s: float


class Calendar:
    """Remembers the month last asked for in each time zone, which is nearly always the next one's too."""

    def __init__(self) -> None:
        self._latest: dict[str, Month] = {}

    def month(self, time_zone: str, at_s: float) -> Month:
        latest = self._latest.get(time_zone)
        if latest is None or not latest.from_s <= at_s < latest.to_s:
            latest = month_at(time_zone, at_s)
            self._latest[time_zone] = latest
        return latest


def month_at(time_zone: str, at_s: float) -> Month:
    """The month of `time_zone` that `at_s` is in; a zone that this machine does not know is UTC."""
    zone = _zone(time_zone)
    at = datetime.fromtimestamp(at_s, zone)
    return _month(zone, at.year * 100 + at.month)


def month_numbered(time_zone: str, number: int) -> Month:
    return _month(_zone(time_zone), number)


def first_day(time_zone: str, at_s: float) -> str:
    """`1 December 2026`: the day in `time_zone` on which `at_s` is."""
    day = datetime.fromtimestamp(at_s, _zone(time_zone))
    return f"{day.day} {_NAMES[day.month - 1]} {day.year}"


def _month(zone: tzinfo, number: int) -> Month:
    year, month = divmod(number, 100)
    begin = datetime(year, month, 1, tzinfo=zone)
    end = datetime(year + month // 12, month % 12 + 1, 1, tzinfo=zone)
    return Month(number, begin.timestamp(), end.timestamp())


def _zone(name: str) -> tzinfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        _log.error("the time zone %.64r is not known here: its months are taken as UTC's", name)
        return UTC


# Not the locale's: what clients are told must not depend on where the server runs.
_NAMES = (
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
)
