"""Callers without a key: each address may ask so often, and all of them together take few windows."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.pipeline.house import FixedClock

from dragoman.errors import RateLimited
from dragoman.policy.guests import WINDOW_COUNT, GuestLimits
from dragoman.ports.limits import Full, Standing, Subject
from dragoman.stores.windows import WindowTable


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock()


@pytest.fixture
def limits(tmp_path: Path, clock: FixedClock) -> GuestLimits:
    return GuestLimits(WindowTable(tmp_path / "limits", clock), requests_per_minute=2)


def test_an_address_may_ask_so_often_in_a_minute(limits: GuestLimits, clock: FixedClock) -> None:
    limits.admit("192.0.2.1")
    clock.now_s += 20
    limits.admit("192.0.2.1")
    with pytest.raises(RateLimited) as caught:
        limits.admit("192.0.2.1")
    assert caught.value.retry_after_s == pytest.approx(40)
    assert "send a key" in caught.value.message
    limits.admit("192.0.2.2")
    clock.now_s += 40.1
    limits.admit("192.0.2.1")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9"),
        ("192.0.2.1", "::ffff:192.0.2.1"),
        (None, None),
        ("not an address", "not an address"),
    ],
)
def test_addresses_of_one_site_are_limited_together(
    limits: GuestLimits, one: str | None, other: str | None
) -> None:
    limits.admit(one)
    limits.admit(other)
    with pytest.raises(RateLimited):
        limits.admit(one)


def test_sites_are_limited_apart(limits: GuestLimits) -> None:
    for address in ("2001:db8:1:2::1", "2001:db8:1:3::1", "10.0.0.1"):
        limits.admit(address)
        limits.admit(address)


class _Named:
    """Windows that only note whom they are asked about."""

    def __init__(self) -> None:
        self.names: set[str] = set()

    def enter(self, subjects: tuple[Subject, ...]) -> tuple[Standing, ...] | Full:
        self.names |= {subject.name for subject in subjects}
        return tuple(Standing(1, 0, 1, 0, 0, 0.0) for _ in subjects)

    def leave(
        self,
        subjects: tuple[Subject, ...],
        standings: tuple[Standing, ...],
        before: int,
        tokens: int,
        *,
        is_withdrawn: bool = False,
    ) -> tuple[Standing, ...]:
        assert (before, tokens, is_withdrawn) == (0, 0, False)
        assert len(subjects) == 1
        return standings

    def reserve(
        self,
        subjects: tuple[Subject, ...],
        standings: tuple[Standing, ...],
        before: int,
        tokens: int,
    ) -> tuple[Standing, ...] | Full:
        raise AssertionError("nothing is reserved of guests")

    def look(self, subject: Subject) -> Standing:
        raise AssertionError(subject)


def test_however_many_addresses_ask_they_take_a_bounded_number_of_windows() -> None:
    windows = _Named()
    limits = GuestLimits(windows)
    for number in range(20_000):
        limits.admit(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}")
    assert len(windows.names) <= WINDOW_COUNT
    assert len(windows.names) > WINDOW_COUNT * 0.95
