"""What a campaign's counts say so far: for each arm and each pair of arms, and whether that ends it.

`judge` is the one place that decides: the server asks it every second, reports ask it, and so do the simulations
that show how often it errs. α is split equally over the pairs of arms (Bonferroni). Guardrails have an α of their
own, split over their measures and the pairs; an interval tells of both directions of a pair, so each direction
has half of the pair's share.

A campaign ends with a winner as soon as one arm is better than every other one at the same look. One that a
guardrail ends has none, even where the same look finds one: what was certainly harmful comes first.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

import msgspec

from dragoman.policy.campaigns.confidence import Estimate, difference, mean_of, preference
from dragoman.policy.campaigns.sample_ratio import SampleRatio, sample_ratio
from dragoman.records.campaign import (
    NO_SUMS,
    ArmTally,
    Campaign,
    CampaignStatus,
    GuardMeasure,
    Guardrail,
    PairTally,
    Sums,
    Tally,
)
from dragoman.records.metric import Metric

LEAST_GUARDED: dict[GuardMeasure, int] = {"errors": 30, "cost": 100, "first_token_ms": 100}
"""Units of each arm before a guardrail may end a campaign. Costs and times are uneven: their means settle later."""

NOT_ENOUGH = Estimate(0.0, None, None, 1.0)


class ArmJudgement(msgspec.Struct, frozen=True, kw_only=True):
    arm: str
    counted: ArmTally
    mean: Estimate | None
    """At the campaign's α; `None`: no scores, or a comparison, which scores pairs."""
    has_enough: bool


class PairJudgement(msgspec.Struct, frozen=True, kw_only=True):
    first: str
    second: str
    n: int
    """Scores of both arms together, or of the pair."""
    counted: PairTally | None
    """Of a comparison."""
    has_enough: bool
    difference: Estimate
    """The mean of `first` less that of `second`, or the mean preference for `first`; at the pair's share of α.
    Its p-value is this look's. Before there are enough scores it is 0, and unknown."""
    least_p: float
    """Of all looks so far: always valid, too."""
    better: str | None
    """The arm that is certainly better, at this look."""


class GuardJudgement(msgspec.Struct, frozen=True, kw_only=True):
    """Of one measure and one pair. More is worse."""

    measure: GuardMeasure
    margin: float
    first: str
    second: str
    has_enough: bool
    difference: Estimate
    worse: str | None
    """The arm that is certainly worse, by more than the margin."""


class Judgement(msgspec.Struct, frozen=True, kw_only=True):
    status: CampaignStatus
    arms: tuple[ArmJudgement, ...]
    pairs: tuple[PairJudgement, ...]
    guards: tuple[GuardJudgement, ...]
    ratio: SampleRatio
    winner: str | None
    pair_alpha: float
    least_p: tuple[tuple[str, float], ...]

    @property
    def breach(self) -> GuardJudgement | None:
        """The first guardrail that an arm is beyond."""
        return next((guard for guard in self.guards if guard.worse is not None), None)


def judge(campaign: Campaign, tally: Tally, metric: Metric) -> Judgement:
    """`metric` is the campaign's. A campaign that has ended keeps its status and its winner."""
    counted = {arm.arm: arm for arm in tally.arms}
    tallies = [counted.get(arm.key) or ArmTally(arm=arm.key) for arm in campaign.arms]
    is_bool = metric.kind == "bool"
    pairs = tuple(_pairs(campaign, tallies, tally, is_bool, metric.better == "higher_is_better"))
    guards = tuple(_guards(campaign, tallies))
    arms = tuple(_arm(campaign, each, is_bool, pairs) for each in tallies)
    winner, status = campaign.winner, campaign.status
    if campaign.is_active:
        is_breached = any(guard.worse is not None for guard in guards)
        winner = None if is_breached else _winner(campaign, pairs)
        if is_breached or winner is not None:
            status = "DONE"
        elif all(arm.has_enough for arm in arms) and all(pair.has_enough for pair in pairs):
            status = "IN_PROGRESS"
    return Judgement(
        status=status,
        arms=arms,
        pairs=pairs,
        guards=guards,
        ratio=sample_ratio([each.units for each in tallies]),
        winner=winner,
        pair_alpha=pair_alpha(campaign),
        least_p=tuple((f"{pair.first}:{pair.second}", pair.least_p) for pair in pairs),
    )


def pair_alpha(campaign: Campaign) -> float:
    return campaign.alpha / _pair_count(campaign)


def guard_pair_alpha(campaign: Campaign) -> float:
    """Of one measure and one pair, both directions together."""
    return campaign.guard_alpha / (_pair_count(campaign) * max(1, len(campaign.guardrails)))


def _pair_count(campaign: Campaign) -> int:
    arms = len(campaign.arms)
    return arms * (arms - 1) // 2


def _arm(
    campaign: Campaign, tally: ArmTally, is_bool: bool, pairs: tuple[PairJudgement, ...]
) -> ArmJudgement:
    if campaign.kind == "comparison":
        mine = [pair.has_enough for pair in pairs if tally.arm in (pair.first, pair.second)]
        return ArmJudgement(arm=tally.arm, counted=tally, mean=None, has_enough=all(mine))
    mean = None
    if tally.scores.n:
        mean = mean_of(tally.scores, campaign.alpha, campaign.mixture_variance, is_bool=is_bool)
    return ArmJudgement(
        arm=tally.arm,
        counted=tally,
        mean=mean,
        has_enough=tally.scores.n >= campaign.min_scores,
    )


def _pairs(
    campaign: Campaign,
    tallies: list[ArmTally],
    tally: Tally,
    is_bool: bool,
    higher_is_better: bool,
) -> Iterator[PairJudgement]:
    least_p = dict(campaign.least_p)
    counted = {(pair.first, pair.second): pair for pair in tally.pairs}
    for first, second in combinations(tallies, 2):
        pair: PairTally | None = None
        if campaign.kind == "direct":
            n = first.scores.n + second.scores.n
            has_enough = min(first.scores.n, second.scores.n) >= campaign.min_scores
            found = (
                score_difference(campaign, first.scores, second.scores, is_bool)
                if has_enough
                else NOT_ENOUGH
            )
            is_first_better = (found.value > 0) == higher_is_better
        else:
            pair = counted.get((first.arm, second.arm))
            pair = pair or PairTally(first=first.arm, second=second.arm)
            n = pair.wins + pair.losses + pair.ties
            has_enough = n >= campaign.min_scores
            found = _preference(campaign, pair) if has_enough else NOT_ENOUGH
            # What is preferred is better, whichever values of the metric are.
            is_first_better = found.value > 0
        better = None
        if is_apart(found):
            better = first.arm if is_first_better else second.arm
        yield PairJudgement(
            first=first.arm,
            second=second.arm,
            n=n,
            counted=pair,
            has_enough=has_enough,
            difference=found,
            least_p=min(found.p, least_p.get(f"{first.arm}:{second.arm}", 1.0)),
            better=better,
        )


def score_difference(campaign: Campaign, first: Sums, second: Sums, is_bool: bool) -> Estimate:
    """Of one pair of a `direct` campaign, at its share of α."""
    return difference(
        first, second, pair_alpha(campaign), campaign.mixture_variance, is_bool=is_bool
    )


def _preference(campaign: Campaign, pair: PairTally) -> Estimate:
    return preference(
        pair.wins, pair.losses, pair.ties, pair_alpha(campaign), campaign.mixture_variance
    )


def is_apart(found: Estimate, margin: float = 0.0) -> bool:
    """Whether the truth is certainly more than `margin` away from nought."""
    if found.low is None or found.high is None:
        return False
    return found.low > margin or found.high < -margin


def _winner(campaign: Campaign, pairs: tuple[PairJudgement, ...]) -> str | None:
    beaten = len(campaign.arms) - 1
    for arm in campaign.arms:
        if sum(pair.better == arm.key for pair in pairs) == beaten:
            return arm.key
    return None


def _guards(campaign: Campaign, tallies: list[ArmTally]) -> Iterator[GuardJudgement]:
    for guard in campaign.guardrails:
        for first, second in combinations(tallies, 2):
            yield _guard(campaign, guard, first, second)


def _guard(
    campaign: Campaign, guard: Guardrail, first: ArmTally, second: ArmTally
) -> GuardJudgement:
    ones = first.guards.get(guard.measure, NO_SUMS)
    others = second.guards.get(guard.measure, NO_SUMS)
    has_enough = min(ones.n, others.n) >= LEAST_GUARDED[guard.measure]
    found, worse = NOT_ENOUGH, None
    if has_enough:
        found = difference(
            ones,
            others,
            guard_pair_alpha(campaign),
            campaign.mixture_variance,
            is_bool=guard.measure == "errors",
        )
        if is_apart(found, guard.margin):
            worse = first.arm if found.value > 0 else second.arm
    return GuardJudgement(
        measure=guard.measure,
        margin=guard.margin,
        first=first.arm,
        second=second.arm,
        has_enough=has_enough,
        difference=found,
        worse=worse,
    )
