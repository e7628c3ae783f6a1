"""What people are shown of a campaign: every number that was judged by, and what it means in words."""

from __future__ import annotations

import msgspec

from dragoman.policy.campaigns import wording
from dragoman.policy.campaigns.confidence import Estimate
from dragoman.policy.campaigns.judging import (
    ArmJudgement,
    GuardJudgement,
    Judgement,
    PairJudgement,
)
from dragoman.records.campaign import (
    Campaign,
    CampaignId,
    CampaignKind,
    CampaignStatus,
    GuardMeasure,
)
from dragoman.records.metric import Better, Metric


class ArmReport(msgspec.Struct, frozen=True, kw_only=True):
    key: str
    model: str
    """Key of the project's model."""
    template_version: int | None
    units: int
    """That entered by the traffic split."""
    requests: int
    fallbacks: int
    """Requests that another model answered."""
    scores: int
    """One for each unit: what is tested."""
    scores_needed: int
    mean: float | None
    low: float | None
    """With `high`: where the mean certainly is. Null: too few scores to say."""
    high: float | None
    later_scores: int
    """Of units that had one: shown, not tested."""
    later_mean: float | None


class PairReport(msgspec.Struct, frozen=True, kw_only=True):
    first: str
    second: str
    scores: int
    wins: int | None
    """Of a comparison: how often `first` was preferred."""
    losses: int | None
    ties: int | None
    later: int | None
    """Comparisons by somebody who had compared the two: shown, not tested."""
    difference: float | None
    """Mean of `first` less mean of `second`; of a comparison the share of wins less that of losses. Null: too
    early."""
    low: float | None
    """With `high`: where the true difference is, however often one looks. Null: not known."""
    high: float | None
    p: float | None
    """Always valid: the least so far. Null: too early."""
    alpha: float
    """What `p` has to be below: this pair's share of the campaign's."""
    better: str | None
    """The arm that is certainly better."""
    words: str


class GuardReport(msgspec.Struct, frozen=True, kw_only=True):
    measure: GuardMeasure
    margin: float
    first: str
    second: str
    difference: float | None
    """Mean of `first` less mean of `second`: more is worse. Null: too early."""
    low: float | None
    high: float | None
    worse: str | None
    """The arm that is certainly worse by more than the margin."""


class RatioReport(msgspec.Struct, frozen=True, kw_only=True):
    """Whether the arms got as many units as each other."""

    p: float
    """Always valid. Below 0.001 there is a warning."""
    p_fixed: float
    """Of Pearson's chi-squared test, as if this were the only look."""
    is_off: bool
    warning: str | None


class CampaignReport(msgspec.Struct, frozen=True, kw_only=True):
    campaign_id: CampaignId
    key: str
    name: str
    status: CampaignStatus
    kind: CampaignKind
    metric: str
    """Its key."""
    better: Better
    winner: str | None
    deployed_s: float | None
    headline: str
    """What comes of it, in a sentence or two."""
    words: tuple[str, ...]
    """What else there is to say: warnings first."""
    arms: tuple[ArmReport, ...]
    pairs: tuple[PairReport, ...]
    guardrails: tuple[GuardReport, ...]
    sample_ratio: RatioReport
    alpha: float


def report(campaign: Campaign, judgement: Judgement, metric: Metric) -> CampaignReport:
    """Of a `judgement` of this campaign by this metric."""
    warning = wording.of_ratio(judgement.ratio, judgement)
    pairs = tuple(_pair(campaign, pair, judgement, metric) for pair in judgement.pairs)
    guards = [wording.of_guard(guard) for guard in judgement.guards]
    words = [
        *([warning] if warning is not None else []),
        *(told for told in guards if told is not None),
        *(wording.of_alike(first, second) for first, second in wording.alike(campaign)),
        *(pair.words for pair in pairs),
        *wording.of_counts(judgement),
    ]
    return CampaignReport(
        campaign_id=campaign.id,
        key=campaign.key,
        name=campaign.name,
        status=campaign.status,
        kind=campaign.kind,
        metric=metric.key,
        better=metric.better,
        winner=campaign.winner,
        deployed_s=campaign.deployed_s,
        headline=wording.headline(campaign, judgement, metric),
        words=tuple(words),
        arms=tuple(_arm(campaign, arm) for arm in judgement.arms),
        pairs=pairs,
        guardrails=tuple(_guard(guard) for guard in judgement.guards),
        sample_ratio=RatioReport(
            p=judgement.ratio.p,
            p_fixed=judgement.ratio.p_fixed,
            is_off=judgement.ratio.is_off,
            warning=warning,
        ),
        alpha=campaign.alpha,
    )


def _arm(campaign: Campaign, judged: ArmJudgement) -> ArmReport:
    arm = campaign.arm(judged.arm)
    assert arm is not None  # it was judged as one of the campaign's
    counted, mean = judged.counted, judged.mean
    later = counted.later_scores
    return ArmReport(
        key=arm.key,
        model=arm.model,
        template_version=arm.template_version,
        units=counted.units,
        requests=counted.requests,
        fallbacks=counted.fallbacks,
        scores=counted.scores.n,
        scores_needed=campaign.min_scores if campaign.kind == "direct" else 0,
        mean=None if mean is None else mean.value,
        low=None if mean is None else mean.low,
        high=None if mean is None else mean.high,
        later_scores=later.n,
        later_mean=later.mean if later.n else None,
    )


def _pair(
    campaign: Campaign, pair: PairJudgement, judgement: Judgement, metric: Metric
) -> PairReport:
    counted = pair.counted
    difference = _known(pair.difference, has_enough=pair.has_enough)
    return PairReport(
        first=pair.first,
        second=pair.second,
        scores=pair.n,
        wins=None if counted is None else counted.wins,
        losses=None if counted is None else counted.losses,
        ties=None if counted is None else counted.ties,
        later=None if counted is None else counted.later,
        difference=None if difference is None else difference.value,
        low=pair.difference.low,
        high=pair.difference.high,
        p=None if difference is None else pair.least_p,
        alpha=judgement.pair_alpha,
        better=pair.better,
        words=wording.of_pair(campaign, pair, judgement, metric),
    )


def _guard(guard: GuardJudgement) -> GuardReport:
    difference = _known(guard.difference, has_enough=guard.has_enough)
    return GuardReport(
        measure=guard.measure,
        margin=guard.margin,
        first=guard.first,
        second=guard.second,
        difference=None if difference is None else difference.value,
        low=guard.difference.low,
        high=guard.difference.high,
        worse=guard.worse,
    )


def _known(estimate: Estimate, *, has_enough: bool) -> Estimate | None:
    return estimate if has_enough else None
