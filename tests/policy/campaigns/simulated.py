"""Campaigns out of random numbers, judged after every single observation by what the server judges with."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import combinations

import numpy as np

from dragoman.policy.campaigns.confidence import Estimate
from dragoman.policy.campaigns.judging import is_apart, score_difference
from dragoman.records.campaign import (
    NO_SUMS,
    Arm,
    ArmTally,
    Campaign,
    CampaignId,
    CampaignKind,
    Guardrail,
    Sums,
    Tally,
)
from dragoman.records.metric import Metric, MetricId
from dragoman.records.project import ProjectId

Draw = Callable[[np.random.Generator, int], np.ndarray]

BOOL = Metric(
    id=MetricId("m"), project_id=ProjectId("proj_1"), key="liked", name="Liked", kind="bool"
)
SCALAR = Metric(
    id=MetricId("m"), project_id=ProjectId("proj_1"), key="stars", name="Stars", kind="scalar"
)


def campaign_of(
    arms: int = 2,
    *,
    kind: CampaignKind = "direct",
    min_scores: int = 30,
    guardrails: tuple[Guardrail, ...] = (),
    auto_deploy: bool = False,
    mixture_variance: float = 0.01,
) -> Campaign:
    return Campaign(
        id=CampaignId("0b9e7c0e-51a5-4b8b-a4d7-8f0c1d6f2a31"),
        project_id=ProjectId("proj_1"),
        key="tone",
        name="Tone",
        metric_id=BOOL.id,
        kind=kind,
        arms=tuple(Arm(key=key, model=f"model-{key}") for key in "ABCDEFGH"[:arms]),
        min_scores=min_scores,
        guardrails=guardrails,
        auto_deploy=auto_deploy,
        mixture_variance=mixture_variance,
        created_s=1.0,
    )


def tally_of(sums: Sequence[Sums], campaign: Campaign) -> Tally:
    return Tally(
        arms=tuple(
            ArmTally(arm=arm.key, units=each.n, requests=each.n, scores=each)
            for arm, each in zip(campaign.arms, sums, strict=True)
        )
    )


def sums_of(values: Iterable[float]) -> Sums:
    found = NO_SUMS
    for value in values:
        found = found.plus(value)
    return found


def coin(probability: float) -> Draw:
    return lambda random, count: (random.random(count) < probability).astype(float)


def normal(mean: float, deviation: float = 1.0) -> Draw:
    return lambda random, count: random.normal(mean, deviation, count)


def lognormal(mean: float, sigma: float) -> Draw:
    """Of that mean, whatever `sigma`."""
    return lambda random, count: random.lognormal(np.log(mean) - sigma * sigma / 2, sigma, count)


def observations(
    random: np.random.Generator, draws: Sequence[Draw], units: int
) -> Iterator[tuple[int, float]]:
    """For each unit, the place of its arm, and its score."""
    arms = random.integers(0, len(draws), units)
    values = np.empty(units)
    for place, draw in enumerate(draws):
        mine = arms == place
        values[mine] = draw(random, int(mine.sum()))
    return zip(arms.tolist(), values.tolist(), strict=True)


class Run:
    """One campaign of `units` units, with a look after each of them."""

    def __init__(self, campaign: Campaign, *, is_bool: bool) -> None:
        self.campaign = campaign
        self.is_bool = is_bool
        self.sums = [NO_SUMS] * len(campaign.arms)
        self.better: dict[tuple[int, int], int | None] = {}
        self._pairs = list(combinations(range(len(campaign.arms)), 2))

    def add(self, place: int, value: float) -> None:
        self.sums[place] = self.sums[place].plus(value)

    def look(self, place: int) -> int | None:
        """The winner's place; only pairs with the arm at `place` have changed."""
        least = self.campaign.min_scores
        changed = False
        for pair in self._pairs:
            if place in pair and min(self.sums[pair[0]].n, self.sums[pair[1]].n) >= least:
                found = self.estimate(*pair)
                now = None
                if is_apart(found):
                    now = pair[0] if found.value > 0 else pair[1]
                changed |= now is not None
                self.better[pair] = now
        if changed:
            for arm in range(len(self.sums)):
                if sum(better == arm for better in self.better.values()) == len(self.sums) - 1:
                    return arm
        return None

    def estimate(self, first: int, second: int) -> Estimate:
        return score_difference(self.campaign, self.sums[first], self.sums[second], self.is_bool)


def winner_of(
    campaign: Campaign, seen: Iterable[tuple[int, float]], *, is_bool: bool
) -> tuple[int | None, int]:
    """The place of the arm that a campaign ends with, and after how many units."""
    run = Run(campaign, is_bool=is_bool)
    units = 0
    for place, value in seen:
        units += 1
        run.add(place, value)
        winner = run.look(place)
        if winner is not None:
            return winner, units
    return None, units
