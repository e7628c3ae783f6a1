"""Months as accounts see them: numbers like 202611, in a time zone of their own."""

from __future__ import annotations

from datetime import UTC, datetime, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError


def month_of(at_s: float, time_zone: str) -> int:
    """The month that `at_s` falls in; a zone that this machine does not know is taken as UTC."""
    at = datetime.fromtimestamp(at_s, _zone(time_zone))
    return at.year * 100 + at.month


def month_bounds_s(month: int, time_zone: str) -> tuple[float, float]:
    """When it begins, and when the next one does."""
    year, number = divmod(month, 100)
    zone = _zone(time_zone)
    begin = datetime(year, number, 1, tzinfo=zone)
    end = datetime(year + number // 12, number % 12 + 1, 1, tzinfo=zone)
    return begin.timestamp(), end.timestamp()


def _zone(name: str) -> tzinfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return UTC
