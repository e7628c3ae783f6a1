from __future__ import annotations

import time
from itertools import combinations
from math import inf, nan
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from tests.policy.campaigns.simulated import BOOL, SCALAR, campaign_of, sums_of, tally_of

from dragoman.policy.campaigns.confidence import difference
from dragoman.policy.campaigns.judging import guard_pair_alpha, judge, pair_alpha
from dragoman.policy.campaigns.reporting import report
from dragoman.records.campaign import (
    NO_SUMS,
    ArmTally,
    Campaign,
    GuardMeasure,
    Guardrail,
    PairTally,
    Sums,
    Tally,
)


def shares(*good: float, n: int = 100) -> list[Sums]:
    return [sums_of([1.0] * round(n * share) + [0.0] * (n - round(n * share))) for share in good]


def test_the_arm_that_is_better_than_every_other_one_wins() -> None:
    campaign = campaign_of(3)
    two_good = judge(campaign, tally_of(shares(0.1, 0.7, 0.75), campaign), BOOL)
    assert (two_good.status, two_good.winner) == ("IN_PROGRESS", None)
    assert [pair.better for pair in two_good.pairs] == ["B", "C", None]
    one_good = judge(campaign, tally_of(shares(0.1, 0.2, 0.75), campaign), BOOL)
    assert (one_good.status, one_good.winner) == ("DONE", "C")


def test_less_may_be_better() -> None:
    campaign = campaign_of()
    slow = replace(BOOL, better="lower_is_better")
    assert judge(campaign, tally_of(shares(0.2, 0.8), campaign), slow).winner == "A"
    assert judge(campaign, tally_of(shares(0.2, 0.8), campaign), BOOL).winner == "B"


def test_nothing_is_tested_before_each_arm_has_enough() -> None:
    campaign = campaign_of(min_scores=101)
    told = judge(campaign, tally_of(shares(0.0, 1.0), campaign), BOOL)
    assert (told.status, told.winner) == ("WARMUP", None)
    assert told.pairs[0].least_p == 1.0
    assert told.pairs[0].difference.low is None
    # Single arms' means are no test, and are shown at once.
    assert told.arms[0].mean is not None


def test_an_arm_without_scores_keeps_the_others_from_nothing_but_winning() -> None:
    campaign = campaign_of(3)
    told = judge(campaign, tally_of([*shares(0.1, 0.9), NO_SUMS], campaign), BOOL)
    assert (told.status, told.winner) == ("WARMUP", None)
    assert told.pairs[0].better == "B"
    assert told.arms[2].mean is None


@pytest.mark.parametrize("arms", [2, 3, 8])
def test_alpha_is_split_over_pairs_and_guardrails_have_their_own(arms: int) -> None:
    guardrails = (
        Guardrail(measure="errors", margin=0.1),
        Guardrail(measure="cost", margin=0.1),
    )
    campaign = campaign_of(arms, guardrails=guardrails)
    pairs = arms * (arms - 1) // 2
    assert pair_alpha(campaign) * pairs == pytest.approx(0.05)
    assert guard_pair_alpha(campaign) * pairs * 2 == pytest.approx(0.05)
    judged = judge(campaign, tally_of(shares(*[0.5] * arms), campaign), BOOL)
    assert len(judged.pairs) == pairs
    assert len(judged.guards) == pairs * 2


def test_a_pairs_interval_is_that_of_its_share_of_alpha() -> None:
    campaign = campaign_of(3)
    first, second, third = shares(0.4, 0.5, 0.6)
    told = judge(campaign, tally_of([first, second, third], campaign), BOOL)
    assert told.pairs[1].difference == difference(first, third, 0.05 / 3, 0.01, is_bool=True)


def test_equal_scores_end_nothing() -> None:
    campaign = campaign_of(min_scores=2)
    for value in (0.0, 1.0):
        sums = [sums_of([value] * 5000)] * 2
        assert judge(campaign, tally_of(sums, campaign), BOOL).winner is None
        assert judge(campaign, tally_of(sums, campaign), SCALAR).winner is None


def test_what_chance_does_easily_with_few_scores_ends_nothing() -> None:
    # Two scores of each arm that happen to be the same in it: one time in four.
    campaign = campaign_of(min_scores=2, mixture_variance=100.0)
    sums = [Sums(2, 1.0, 0.0), Sums(2, 0.0, 0.0)]
    assert judge(campaign, tally_of(sums, campaign), SCALAR).winner is None
    assert judge(campaign, tally_of(sums, campaign), BOOL).winner is None


# --- Guardrails ---


def guarded(measure: GuardMeasure, first: Sums, second: Sums, margin: float) -> str | None:
    campaign = campaign_of(guardrails=(Guardrail(measure=measure, margin=margin),))
    tally = Tally(
        arms=(
            ArmTally(arm="A", guards={measure: first}),
            ArmTally(arm="B", guards={measure: second}),
        )
    )
    judged = judge(campaign, tally, BOOL)
    worse = judged.breach.worse if judged.breach is not None else None
    assert (judged.status == "DONE") == (worse is not None)
    assert judged.winner is None
    return worse


def test_a_guardrail_ends_a_campaign_whose_arm_is_worse_by_more_than_the_margin() -> None:
    few, many = shares(0.02, 0.42)
    assert guarded("errors", few, many, 0.1) == "B"
    assert guarded("errors", many, few, 0.1) == "A"
    assert guarded("errors", few, many, 0.4) is None


def test_an_arm_that_fails_wholly_is_noticed_within_thirty_units_or_so() -> None:
    assert guarded("errors", sums_of([0.0] * 40), sums_of([1.0] * 40), 0.05) == "B"
    assert guarded("errors", sums_of([0.0] * 29), sums_of([1.0] * 29), 0.05) is None


def test_costs_settle_before_they_are_guarded() -> None:
    cheap = sums_of([0.001, 0.0012] * 49)
    dear = sums_of([0.01, 0.012] * 49)
    assert guarded("cost", cheap, dear, 0.001) is None
    assert guarded("cost", sums_of([0.001, 0.0012] * 50), sums_of([0.01, 0.012] * 50), 0.001) == "B"


# --- Comparisons ---


def compared(*counts: tuple[int, int, int], min_scores: int = 30) -> tuple[Campaign, Tally]:
    arms = 2 if len(counts) == 1 else 3
    campaign = campaign_of(arms, kind="comparison", min_scores=min_scores)
    pairs = tuple(
        PairTally(first=first, second=second, wins=wins, losses=losses, ties=ties)
        for (first, second), (wins, losses, ties) in zip(
            combinations("ABC"[:arms], 2), counts, strict=True
        )
    )
    return campaign, Tally(pairs=pairs)


@pytest.mark.parametrize("better", ["higher_is_better", "lower_is_better"])
def test_what_is_preferred_is_better_whatever_the_metrics_direction(
    better: Literal["higher_is_better", "lower_is_better"],
) -> None:
    campaign, tally = compared((20, 80, 10))
    told = judge(campaign, tally, replace(BOOL, better=better))
    assert told.winner == "B"
    assert told.pairs[0].n == 110


def test_each_pair_has_to_be_compared_often_enough() -> None:
    campaign, tally = compared((22, 18, 0), (22, 18, 0), (10, 10, 9))
    told = judge(campaign, tally, BOOL)
    assert [pair.has_enough for pair in told.pairs] == [True, True, False]
    assert [arm.has_enough for arm in told.arms] == [True, False, False]
    assert told.status == "WARMUP"
    campaign, tally = compared((70, 0, 0), (70, 0, 0), (10, 10, 9))
    assert judge(campaign, tally, BOOL).winner == "A"


def test_ties_alone_end_nothing() -> None:
    assert judge(*compared((0, 0, 10_000)), BOOL).winner is None


# --- Whatever was counted ---

floats = st.one_of(st.floats(), st.sampled_from([0.0, 1.0, inf, nan, 1e150, -1e150]))
sums = st.builds(Sums, st.integers(0, 10**9), floats, floats)


@given(
    st.lists(st.tuples(sums, sums, st.integers(0, 10**9)), min_size=2, max_size=4),
    st.booleans(),
    st.sampled_from(["higher_is_better", "lower_is_better"]),
)
def test_any_counts_are_judged_and_reported(
    counted: list[tuple[Sums, Sums, int]],
    is_bool: bool,
    better: Literal["higher_is_better", "lower_is_better"],
) -> None:
    campaign = campaign_of(
        len(counted), guardrails=(Guardrail(measure="cost", margin=0.5),), min_scores=2
    )
    tally = Tally(
        arms=tuple(
            ArmTally(
                arm=arm.key, units=units, scores=scores, later_scores=guard, guards={"cost": guard}
            )
            for arm, (scores, guard, units) in zip(campaign.arms, counted, strict=True)
        )
    )
    metric = replace(BOOL if is_bool else SCALAR, better=better)
    judged = judge(campaign, tally, metric)
    assert all(0 <= p <= 1 for _, p in judged.least_p)
    told = report(campaign, judged, metric)
    assert told.headline
    assert all(told.words)


def test_a_judgement_takes_well_under_a_millisecond() -> None:
    campaign = campaign_of(8, guardrails=(Guardrail(measure="errors", margin=0.1),))
    tally = tally_of(shares(*[0.5] * 8), campaign)
    times = []
    for _ in range(20):
        begun = time.process_time()
        judge(campaign, tally, BOOL)
        times.append(time.process_time() - begun)
    # A fifth of one, with eight arms.
    assert min(times) < 2e-3
