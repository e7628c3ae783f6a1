from __future__ import annotations

from math import exp

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special, stats

from dragoman.policy.campaigns.sample_ratio import (
    LEVEL,
    PRIOR_UNITS,
    always_valid_p,
    chi_square_survival,
    fixed_p,
    sample_ratio,
)


@pytest.mark.parametrize("degrees", range(1, 10))
@pytest.mark.parametrize("statistic", [0.0, 1e-9, 0.3, 1.0, 4.0, 9.5, 40.0, 400.0, 1e6])
def test_the_tail_of_chi_square_is_scipys(degrees: int, statistic: float) -> None:
    assert chi_square_survival(statistic, degrees) == pytest.approx(
        float(stats.chi2.sf(statistic, degrees)), rel=1e-9, abs=1e-300
    )


@pytest.mark.parametrize("counts", [(50, 50), (40, 60), (30, 31, 60), (5, 4, 3, 2, 1, 0, 7, 9)])
def test_the_fixed_p_value_is_scipys(counts: tuple[int, ...]) -> None:
    assert fixed_p(counts) == pytest.approx(float(stats.chisquare(counts).pvalue))


def test_the_always_valid_p_value_is_one_over_a_bayes_factor() -> None:
    first, second = 540, 460
    half = PRIOR_UNITS / 2
    factor = special.betaln(half + first, half + second) - special.betaln(half, half)
    assert always_valid_p((first, second)) == pytest.approx(
        exp(1000 * -0.6931471805599453 - factor)
    )


def test_expected_evidence_against_a_fair_split_never_grows() -> None:
    # Of a martingale the mean of the next is the last: the reason why one may look at any time.
    for counts in ((30, 80), (600, 480), (40, 60, 110)):
        arms = len(counts)
        following = [
            1 / always_valid_p([n + (place == arm) for place, n in enumerate(counts)])
            for arm in range(arms)
        ]
        now = 1 / always_valid_p(counts)
        assert now > 2
        assert sum(following) / arms == pytest.approx(now)


def test_an_arm_that_gets_nothing_is_noticed_within_fifty_units() -> None:
    assert sample_ratio((50, 0)).is_off
    assert not sample_ratio((15, 5)).is_off


def test_nothing_is_off_before_there_is_anything() -> None:
    assert not sample_ratio((0, 0)).is_off
    assert sample_ratio((0, 0, 0)).p_fixed == 1.0
    assert always_valid_p(()) == fixed_p((3,)) == 1.0


@given(st.lists(st.integers(0, 10**15), min_size=2, max_size=8))
def test_any_counts_make_p_values(counts: list[int]) -> None:
    found = sample_ratio(counts)
    assert 0 <= found.p <= 1
    assert 0 <= found.p_fixed <= 1
    assert found.is_off == (found.p < LEVEL)
