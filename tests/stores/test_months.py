"""Where months begin, and what they are called."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from dragoman.stores.months import Calendar, first_day, month_at, month_numbered

VIENNA = "Europe/Vienna"


def vienna(*when: int) -> float:
    return datetime(*when, tzinfo=ZoneInfo(VIENNA)).timestamp()  # type: ignore[misc,arg-type]  # all are ints


@pytest.mark.parametrize(
    ("when", "number"),
    [
        ((2026, 3, 31, 23, 59, 59), 202603),
        ((2026, 4, 1), 202604),
        # Winter time comes back within October, in the night to the 25th.
        ((2026, 10, 31, 23, 59, 59), 202610),
        ((2026, 11, 1), 202611),
        ((2026, 12, 31, 23, 59, 59), 202612),
        ((2027, 1, 1), 202701),
    ],
)
def test_months_begin_at_local_midnight(when: tuple[int, ...], number: int) -> None:
    month = month_at(VIENNA, vienna(*when))
    assert month.number == number
    assert month.from_s <= vienna(*when) < month.to_s
    assert month_at(VIENNA, month.to_s).from_s == month.to_s


def test_months_with_a_clock_change_are_an_hour_shorter_and_longer() -> None:
    march, october = (month_at(VIENNA, vienna(2026, number, 15)) for number in (3, 10))
    assert march.to_s - march.from_s == 31 * 86_400 - 3_600
    assert october.to_s - october.from_s == 31 * 86_400 + 3_600


def test_unknown_zone_is_utc(caplog: pytest.LogCaptureFixture) -> None:
    assert month_at("Mars/Olympus", 0.0).number == 197001
    assert "Mars/Olympus" in caplog.text


def test_first_day_is_told_in_words() -> None:
    assert first_day(VIENNA, vienna(2026, 12, 1)) == "1 December 2026"


@pytest.mark.parametrize("when", [(2026, 1, 31), (2026, 12, 31)])
def test_a_months_number_tells_its_bounds(when: tuple[int, ...]) -> None:
    month = month_at(VIENNA, vienna(*when))
    assert month_numbered(VIENNA, month.number) == month


def test_a_calendar_turns_its_leaf_at_midnight_and_back() -> None:
    calendar = Calendar()
    for number in (11, 12, 11):
        month = calendar.month(VIENNA, vienna(2026, number, 30))
        assert month.number == 202600 + number
        assert calendar.month(VIENNA, month.from_s) is month
