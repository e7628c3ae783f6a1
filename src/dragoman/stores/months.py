"""Months as accounts see them: numbers like 202611, in a time zone of their own."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from zoneinfo import ZoneInfo


def month_of(at_s: float, time_zone: str) -> int:
    """The month that `at_s` falls in. Raises `ZoneInfoNotFoundError` for a zone that is none."""
    at = datetime.fromtimestamp(at_s, UTC if time_zone == "UTC" else ZoneInfo(time_zone))
    return at.year * 100 + at.month


@lru_cache(maxsize=256)
def month_bounds_s(month: int, time_zone: str) -> tuple[float, float]:
    """When it begins, and when the next one does."""
    year, number = divmod(month, 100)
    zone = ZoneInfo(time_zone)
    begin = datetime(year, number, 1, tzinfo=zone)
    end = datetime(year + number // 12, number % 12 + 1, 1, tzinfo=zone)
    return begin.timestamp(), end.timestamp()
