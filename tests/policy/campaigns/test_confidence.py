from __future__ import annotations

from math import inf, isfinite, log, nan, sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, stats
from tests.policy.campaigns.simulated import sums_of

from dragoman.policy.campaigns.confidence import Estimate, difference, mean_of, preference
from dragoman.records.campaign import NO_SUMS, Sums

ALPHA = 0.05
RHO2 = 0.01
RANDOM = np.random.default_rng(20)
SOME = sums_of(RANDOM.normal(1.0, 2.0, 400).tolist())
OTHERS = sums_of(RANDOM.normal(0.5, 1.0, 150).tolist())


def bounds(found: Estimate) -> tuple[float, float]:
    assert found.low is not None
    assert found.high is not None
    return found.low, found.high


# --- Against the theorem, and against scipy ---


def test_the_interval_of_a_mean_is_that_of_the_theorem() -> None:
    t, s = SOME.n, sqrt(SOME.variance)
    half = s * sqrt((t * RHO2 + 1) / (t**2 * RHO2) * log((t * RHO2 + 1) / ALPHA**2))
    low, high = bounds(mean_of(SOME, ALPHA, RHO2, is_bool=False))
    assert low == pytest.approx(SOME.mean - half)
    assert high == pytest.approx(SOME.mean + half)


def test_the_p_value_is_one_over_the_mixture_of_likelihood_ratios() -> None:
    """Robbins' mixture: over drifts that are normal about nought with the variance ρ²."""
    found = mean_of(SOME, ALPHA, RHO2, is_bool=False)
    t = SOME.n
    total = t * SOME.mean / sqrt(SOME.variance)
    mixed, _ = integrate.quad(
        lambda drift: (
            np.exp(drift * total - drift**2 * t / 2) * stats.norm.pdf(drift, scale=sqrt(RHO2))
        ),
        -2,
        2,
        points=[0, total / t],
    )
    assert found.p == pytest.approx(1 / mixed, rel=1e-6)


@pytest.mark.parametrize("is_bool", [False, True])
def test_p_is_the_alpha_whose_interval_ends_at_nought(is_bool: bool) -> None:
    first = sums_of([1.0] * 70 + [0.0] * 30)
    second = sums_of([1.0] * 90 + [0.0] * 110)
    p = difference(first, second, ALPHA, RHO2, is_bool=is_bool).p
    assert 0 < p < ALPHA
    low, _ = bounds(difference(first, second, p, RHO2, is_bool=is_bool))
    assert low == pytest.approx(0.0, abs=1e-9)


def standard_error(found: Estimate, time: float) -> float:
    """What must have gone into the interval's half width."""
    low, high = bounds(found)
    return (high - low) / 2 / sqrt((time + 1) / time * log((time + 1) / ALPHA**2))


def test_the_error_of_a_difference_is_welchs_where_arms_differ_in_size_and_spread() -> None:
    # The smaller arm varies most: so all scores together vary too little.
    few, many = RANDOM.normal(0.0, 5.0, 60), RANDOM.normal(0.0, 1.0, 600)
    found = difference(sums_of(few.tolist()), sums_of(many.tolist()), ALPHA, RHO2, is_bool=False)
    welch = stats.ttest_ind(few, many, equal_var=False)
    error = standard_error(found, 4 * 60 * 600 / 660 * RHO2)
    assert found.value / error == pytest.approx(float(welch.statistic))


def test_the_error_of_a_difference_is_pearsons_where_arms_are_of_one_size() -> None:
    # The score test: what proportions vary by if they do not differ.
    first, second = sums_of([1.0] * 70 + [0.0] * 130), sums_of([1.0] * 95 + [0.0] * 105)
    found = difference(first, second, ALPHA, RHO2, is_bool=False)
    error = standard_error(found, 400 * RHO2)
    pearson = stats.chi2_contingency([[70, 130], [95, 105]], correction=False)
    assert (found.value / error) ** 2 == pytest.approx(float(pearson.statistic) * 399 / 400)


def test_the_error_of_proportions_is_that_of_one_more_of_each_outcome() -> None:
    first, second = sums_of([1.0] * 70 + [0.0] * 130), sums_of([1.0] * 95 + [0.0] * 105)
    found = difference(first, second, ALPHA, RHO2, is_bool=True)
    share = (70 + 95 + 2) / (400 + 4)
    assert standard_error(found, 400 * RHO2) == pytest.approx(
        sqrt(share * (1 - share) * (1 / 200 + 1 / 200))
    )


def test_it_is_wider_than_an_interval_for_one_planned_look_but_not_by_much() -> None:
    for n in (30, 100, 439, 1000, 10_000):
        scores = Sums(n, 0.0, float(n - 1))
        low, high = bounds(mean_of(scores, ALPHA, RHO2, is_bool=False))
        planned = stats.norm.interval(1 - ALPHA, 0.0, 1 / sqrt(n))
        ratio = (high - low) / (planned[1] - planned[0])
        assert 1.4 < ratio < 3


def test_it_is_tightest_near_nine_over_the_mixtures_variance() -> None:
    widths = {
        n: sqrt(n) * bounds(mean_of(Sums(n, 0.0, float(n - 1)), ALPHA, RHO2, is_bool=False))[1]
        for n in range(50, 5000, 10)
    }
    assert 800 < min(widths, key=lambda n: widths[n]) < 1000


# --- Symmetries ---


def test_arms_may_be_named_in_either_order() -> None:
    one = difference(SOME, OTHERS, ALPHA, RHO2, is_bool=False)
    other = difference(OTHERS, SOME, ALPHA, RHO2, is_bool=False)
    assert bounds(one) == pytest.approx([-bound for bound in reversed(bounds(other))])
    assert one.p == other.p


def test_the_unit_of_scores_does_not_matter() -> None:
    values = RANDOM.normal(1.0, 2.0, 200)
    plain = difference(sums_of(values.tolist()), OTHERS, ALPHA, RHO2, is_bool=False)
    thousands = difference(
        sums_of((values * 1000).tolist()),
        Sums(OTHERS.n, OTHERS.mean * 1000, OTHERS.m2 * 1e6),
        ALPHA,
        RHO2,
        is_bool=False,
    )
    assert thousands.p == pytest.approx(plain.p)
    assert bounds(thousands) == pytest.approx([bound * 1000 for bound in bounds(plain)])


def test_proportions_of_failures_tell_the_same_as_those_of_successes() -> None:
    successes = difference(Sums(50, 0.1, 4.5), Sums(70, 0.5, 17.5), ALPHA, RHO2, is_bool=True)
    failures = difference(Sums(50, 0.9, 4.5), Sums(70, 0.5, 17.5), ALPHA, RHO2, is_bool=True)
    assert bounds(failures) == pytest.approx([-bound for bound in reversed(bounds(successes))])


# --- What scores do not tell ---


@pytest.mark.parametrize("count", [0, 1])
def test_fewer_than_two_scores_tell_nothing(count: int) -> None:
    few = sums_of([3.0] * count)
    for found in (
        mean_of(few, ALPHA, RHO2, is_bool=False),
        difference(few, SOME, ALPHA, RHO2, is_bool=False),
        difference(SOME, few, ALPHA, RHO2, is_bool=True),
        preference(count, 0, 0, ALPHA, RHO2),
    ):
        assert (found.low, found.high, found.p) == (None, None, 1.0)


def test_equal_scores_of_both_arms_tell_nothing() -> None:
    same = sums_of([4.0] * 1000)
    found = difference(same, same, ALPHA, RHO2, is_bool=False)
    assert found == Estimate(0.0, None, None, 1.0)


def test_arms_that_are_each_of_one_score_differ_only_when_there_are_enough() -> None:
    # Each arm's own variance is nought, which would make any difference certain at once.
    found = difference(Sums(2, 5.0, 0.0), Sums(2, 4.0, 0.0), ALPHA, RHO2, is_bool=False)
    assert found.p > 0.5
    found = difference(Sums(60, 5.0, 0.0), Sums(60, 4.0, 0.0), ALPHA, RHO2, is_bool=False)
    assert found.p < 0.001


def test_no_error_in_thirty_requests_is_not_taken_for_no_error_ever() -> None:
    none = Sums(30, 0.0, 0.0)
    low, high = bounds(difference(none, none, ALPHA, RHO2, is_bool=True))
    assert low < -0.1
    assert high > 0.1
    assert bounds(mean_of(none, ALPHA, RHO2, is_bool=True))[0] == 0.0


def test_a_few_preferences_of_one_kind_prove_nothing_and_many_do() -> None:
    assert preference(5, 0, 0, ALPHA, RHO2).p > 0.5
    found = preference(60, 0, 0, ALPHA, RHO2)
    assert found.p < 0.001
    assert bounds(found)[1] == 1.0
    low, high = bounds(preference(0, 0, 500, ALPHA, RHO2))
    assert low < 0 < high
    assert high < 0.05


floats = st.floats(allow_nan=True, allow_infinity=True)
sums = st.builds(Sums, st.integers(0, 10**12), floats, floats)


@given(
    sums,
    sums,
    st.floats(5e-324, 0.5),
    st.floats(5e-324, 100.0),
    st.booleans(),
)
def test_whatever_is_counted_makes_an_interval_or_none(
    first: Sums, second: Sums, alpha: float, mixture_variance: float, is_bool: bool
) -> None:
    for found in (
        difference(first, second, alpha, mixture_variance, is_bool=is_bool),
        mean_of(first, alpha, mixture_variance, is_bool=is_bool),
    ):
        assert 0 <= found.p <= 1
        assert (found.low is None) == (found.high is None)
        if found.low is None or found.high is None:
            assert found.p == 1.0
        else:
            assert found.low <= found.high
            assert isfinite(found.low)
            assert isfinite(found.high)


def test_huge_scores_are_reckoned_with_or_given_up() -> None:
    huge = sums_of([1e308, -1e308, 1e308])
    assert difference(huge, SOME, ALPHA, RHO2, is_bool=False).low is None
    assert difference(Sums(9, nan, nan), SOME, ALPHA, RHO2, is_bool=False).value == 0.0
    assert difference(Sums(9, inf, 1.0), NO_SUMS, ALPHA, RHO2, is_bool=False).low is None
    large = difference(Sums(200, 1e100, 2e200), Sums(200, 3e100, 2e200), ALPHA, RHO2, is_bool=False)
    assert large.p < 1e-6
