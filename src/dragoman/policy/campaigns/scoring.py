"""Which scores feedback gives a campaign.

Feedback counts in the campaign that its completion was made in, while that is active, and only of the campaign's
own metric and kind. It counts for the arm that was meant, whichever model answered: moving a unit to the arm that
served it would make the arms unlike, because what falls back is not what does not.
"""

from __future__ import annotations

from typing import Literal

from dragoman.policy.campaigns.assignment import unit_of
from dragoman.records.campaign import Campaign, PairScore, Score
from dragoman.records.feedback import Comparison
from dragoman.records.interaction import Interaction
from dragoman.records.metric import Metric


def score_for(
    campaign: Campaign, interaction: Interaction, metric: Metric, value: float
) -> Score | None:
    """What a value of `metric`, given to `interaction`, counts as; `None`: it does not."""
    if campaign.kind != "direct" or metric.id != campaign.metric_id or not campaign.is_active:
        return None
    arm, unit = _place(campaign, interaction)
    if arm is None or unit is None:
        return None
    return Score(campaign_id=campaign.id, unit=unit, arm=arm, value=value)


def pair_score_for(
    campaign: Campaign, preferred: Interaction, other: Interaction, comparison: Comparison
) -> PairScore | None:
    """What a comparison of two completions counts as; `None`: it does not, as where both are of one arm."""
    if (
        campaign.kind != "comparison"
        or comparison.metric_id != campaign.metric_id
        or not campaign.is_active
    ):
        return None
    better, better_unit = _place(campaign, preferred)
    worse, worse_unit = _place(campaign, other)
    if better is None or worse is None or better_unit is None or worse_unit is None:
        return None
    if better == worse:
        return None
    order = [arm.key for arm in campaign.arms]
    is_first_preferred = order.index(better) < order.index(worse)
    first, second = (better, worse) if is_first_preferred else (worse, better)
    result: Literal[1, 0, -1] = 1 if is_first_preferred else -1
    if comparison.tied is not None:
        result = 0
    return PairScore(
        campaign_id=campaign.id,
        unit=_judge_of(comparison, better_unit, worse_unit),
        first=first,
        second=second,
        result=result,
    )


def _place(campaign: Campaign, interaction: Interaction) -> tuple[str | None, str | None]:
    """The arm that was meant for it, if it is one of this campaign's, and the unit."""
    if interaction.campaign_id != campaign.id or interaction.arm is None:
        return None, None
    arm = campaign.arm(interaction.arm)
    return (None, None) if arm is None else (arm.key, interaction.unit)


def _judge_of(comparison: Comparison, one: str, other: str) -> str:
    """Who compared: opinions of one person, or within one session, are no independent scores."""
    if comparison.user is not None:
        return unit_of(None, comparison.user, comparison.id)
    if one == other:
        return one
    return "|".join(sorted((one, other)))
