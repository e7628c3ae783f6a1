"""Judgements in words, for people who never heard of a p-value."""

from __future__ import annotations

from itertools import combinations
from math import ceil, floor, isfinite, log10

import msgspec

from dragoman.policy.campaigns.judging import (
    GuardJudgement,
    Judgement,
    PairJudgement,
)
from dragoman.policy.campaigns.sample_ratio import SampleRatio
from dragoman.records.campaign import Campaign
from dragoman.records.metric import BUILT_IN_METRICS, Metric

_UNITS: dict[str, str] = {
    "first_token_ms": " ms",
    "total_ms": " ms",
    "tokens": " tokens",
    "cost": " US dollars",
    "errors": " of requests",
}
_BUILT_IN = frozenset(metric.id for metric in BUILT_IN_METRICS)
_MOST_DECIMALS = 9
_LARGEST_WRITTEN_OUT = 1e12
_MOST_ZEROS = 6
"""Of the campaigns of which less than one is like that: smaller p-values are exact in appearance alone."""


def headline(campaign: Campaign, judgement: Judgement, metric: Metric) -> str:
    """What comes of the campaign, in a sentence."""
    if not campaign.is_active:
        return campaign.end_reason or "It has ended."
    missing = too_early(campaign, judgement)
    if missing is not None:
        return missing
    if judgement.winner is not None:
        return winning(campaign, judgement, metric)
    return "No arm is certainly better than every other one yet."


def too_early(campaign: Campaign, judgement: Judgement) -> str | None:
    """`None`: everything has enough scores."""
    needed = campaign.min_scores
    if campaign.kind == "direct":
        lacking = [
            f"{arm.arm} has {arm.counted.scores.n:,} of {needed:,} scores"
            for arm in judgement.arms
            if not arm.has_enough
        ]
    else:
        lacking = [
            f"{pair.first} and {pair.second} were compared {pair.n:,} of {needed:,} times"
            for pair in judgement.pairs
            if not pair.has_enough
        ]
    return f"Too early: {'; '.join(lacking)}." if lacking else None


def winning(campaign: Campaign, judgement: Judgement, metric: Metric) -> str:
    """Why the winner is one."""
    told = [
        of_pair(campaign, pair, judgement, metric)
        for pair in judgement.pairs
        if pair.better == judgement.winner
    ]
    told += [
        of_alike(first, second)
        for first, second in alike(campaign)
        if judgement.winner in (first, second)
    ]
    return " ".join(told)


def alike(campaign: Campaign) -> list[tuple[str, str]]:
    """Pairs of arms that differ by nothing but their keys."""
    return [
        (first.key, second.key)
        for first, second in combinations(campaign.arms, 2)
        if msgspec.structs.replace(first, key=second.key) == second
    ]


def of_alike(first: str, second: str) -> str:
    return (
        f"{first} and {second} are the same, to check the set-up: if one of them is called better, it is"
        " chance, or something treats their units differently."
    )


def of_pair(campaign: Campaign, pair: PairJudgement, judgement: Judgement, metric: Metric) -> str:
    if not pair.has_enough:
        return f"Too early to compare {pair.first} and {pair.second}."
    low, high = pair.difference.low, pair.difference.high
    if low is None or high is None:
        return f"All scores of {pair.first} and {pair.second} are equal, or too large: nothing is known."
    unit = unit_of_metric(campaign, metric)
    if pair.better is None:
        return _undecided(campaign, pair, low, high, metric)
    worse = pair.second if pair.better == pair.first else pair.first
    span = between(low, high)
    seen = by_chance(pair.least_p * len(judgement.pairs))
    if campaign.kind == "comparison":
        return (
            f"{pair.better} is preferred to {worse} by {span} of comparisons ({preferences(pair)});"
            f" {seen}."
        )
    lower = "" if metric.better == "higher_is_better" else f" (a lower {metric.key} is better)"
    return f"{pair.better} is better than {worse} by {span}{unit}{lower}; {seen}."


def _undecided(
    campaign: Campaign, pair: PairJudgement, low: float, high: float, metric: Metric
) -> str:
    is_first_high = campaign.kind == "comparison" or metric.better == "higher_is_better"
    more, less = (high, -low) if is_first_high else (-low, high)
    unit = unit_of_metric(campaign, metric)
    told = f" ({preferences(pair)})" if pair.counted is not None else ""
    return (
        f"No certain difference between {pair.first} and {pair.second} yet{told}: {pair.first} may be"
        f" better by up to {amount(more)}{unit}, or worse by up to {amount(less)}{unit}."
    )


def preferences(pair: PairJudgement) -> str:
    counted = pair.counted
    if counted is None:
        return ""
    return (
        f"{counted.wins:,} for {pair.first}, {counted.losses:,} for {pair.second},"
        f" {counted.ties:,} for neither"
    )


def of_guard(guard: GuardJudgement) -> str | None:
    """`None`: no arm is beyond it."""
    low, high = guard.difference.low, guard.difference.high
    if guard.worse is None or low is None or high is None:
        return None
    other = guard.second if guard.worse == guard.first else guard.first
    unit = _UNITS[guard.measure]
    return (
        f"{guard.worse} has certainly more {_NAMES[guard.measure]} than {other}: by {between(low, high)}"
        f"{unit}, where {amount(guard.margin)} is borne."
    )


_NAMES = {"errors": "errors", "cost": "cost", "first_token_ms": "first-token time"}


def of_ratio(ratio: SampleRatio, judgement: Judgement) -> str | None:
    """`None`: nothing is wrong with it."""
    if not ratio.is_off:
        return None
    counts = ", ".join(f"{arm.arm} {arm.counted.units:,}" for arm in judgement.arms)
    return (
        f"The arms got different numbers of units ({counts}), where each should get as many;"
        f" {by_chance(ratio.p)}. Do not trust any comparison of them before the cause is known. Likely"
        " causes: clients that ask again as somebody else when an arm is slow or fails; an arm whose"
        " requests fail before anything is kept of them; requests of one arm that were deleted, or sent"
        " elsewhere."
    )


def of_counts(judgement: Judgement) -> list[str]:
    """What is counted and not tested."""
    told = []
    for arm in judgement.arms:
        counted = arm.counted
        if counted.fallbacks:
            told.append(
                f"{counted.fallbacks:,} of {counted.requests:,} requests of {arm.arm} were answered by"
                f" another model than its own; they count for {arm.arm} all the same."
            )
        if counted.later_scores.n:
            told.append(
                f"{counted.later_scores.n:,} later scores of {arm.arm}, with a mean of"
                f" {amount(counted.later_scores.mean)}, are shown and not tested: their units had scores."
            )
    told += [
        f"{pair.counted.later:,} later comparisons of {pair.first} and {pair.second} are not tested:"
        " whoever compared had compared them."
        for pair in judgement.pairs
        if pair.counted is not None and pair.counted.later
    ]
    return told


def unit_of_metric(campaign: Campaign, metric: Metric) -> str:
    if campaign.kind == "comparison":
        return " of comparisons"
    return _UNITS[metric.key] if metric.id in _BUILT_IN else ""


def by_chance(p: float) -> str:
    """Of an always-valid p-value, over all that is tested of a campaign."""
    campaigns = 1
    for step in range(_MOST_ZEROS):
        for digit in (2, 5, 10):
            if p * digit * 10**step <= 1:
                campaigns = digit * 10**step
    if campaigns == 1:
        return "that is what chance does, too"
    return f"would be seen by chance in under 1 of {campaigns:,} campaigns, however often one looks"


def between(low: float, high: float) -> str:
    """`0.04 to 0.11`: both ends away from nought, rounded outwards, the lesser first."""
    least, most = sorted((abs(low), abs(high)))
    if not (isfinite(most) and most < _LARGEST_WRITTEN_OUT):
        return f"{least:.3g} to {most:.3g}"
    decimals = _decimals((most - least) / 3)
    # The lesser end is not rounded to nought: that it is not is what is told.
    while decimals < _MOST_DECIMALS and floor(least * 10**decimals) == 0:
        decimals += 1
    scale = 10**decimals
    if floor(least * scale) == 0:
        return f"{least:.2g} to {most:.2g}"
    return f"{floor(least * scale) / scale:,.{decimals}f} to {ceil(most * scale) / scale:,.{decimals}f}"


def amount(value: float) -> str:
    """To two figures, or to the unit."""
    if not abs(value) < _LARGEST_WRITTEN_OUT:
        return f"{value:.3g}"
    decimals = _decimals(abs(value) / 10)
    text = f"{value:,.{decimals}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _decimals(width: float) -> int:
    if width <= 0:
        return 0
    return min(_MOST_DECIMALS, max(0, -floor(log10(width))))
