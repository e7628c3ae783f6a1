"""A campaign: arms of one project that are compared on real users, and what was counted of it.

Units (a session, a user, or a single request) are the things that are assigned to arms. Each has one score,
its first; later ones are counted apart, shown, and never tested.
"""

from __future__ import annotations

from typing import Literal, NewType

import msgspec

from dragoman.chat import NO_SAMPLING, Sampling
from dragoman.records.metric import MetricId
from dragoman.records.project import ProjectId

CampaignId = NewType("CampaignId", str)
"""A UUID."""
CampaignKind = Literal["direct", "comparison"]
"""`direct`: arms are compared by their completions' values of the metric. `comparison`: by which of two
completions, of two arms, is preferred."""
CampaignStatus = Literal["WARMUP", "IN_PROGRESS", "DONE", "CANCELLED"]
ACTIVE: frozenset[CampaignStatus] = frozenset({"WARMUP", "IN_PROGRESS"})
GuardMeasure = Literal["errors", "cost", "first_token_ms"]


class Arm(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One of the things compared."""

    key: str
    """Unique in the campaign; `A`, `B`, … by default."""
    model: str
    """Key of an attached model of the project."""
    template_version: int | None = None
    """Of the attached model's template. `None`: whichever is active."""
    sampling: Sampling = NO_SAMPLING
    """Goes before the attached model's own."""


class Guardrail(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Ends the campaign when an arm is certainly worse than another by more than `margin`."""

    measure: GuardMeasure
    margin: float
    """Absolute: a share of requests, US dollars, milliseconds."""


class Campaign(msgspec.Struct, frozen=True, kw_only=True):
    id: CampaignId
    project_id: ProjectId
    key: str
    """Unique in the project."""
    name: str
    metric_id: MetricId
    kind: CampaignKind
    arms: tuple[Arm, ...]
    """At least two; never changed."""
    traffic_split: float = 1.0
    """The share of units that enter, of those that name no model. May be changed while it runs."""
    auto_deploy: bool = False
    """Whether the winner becomes the project's default."""
    alpha: float = 0.05
    """The chance that a difference is found where there is none, over all pairs, however often one looks."""
    guard_alpha: float = 0.05
    """The same for all guardrails together."""
    min_scores: int = 30
    """Of each arm (`direct`) or each pair (`comparison`), before anything is tested."""
    mixture_variance: float = 0.01
    """ρ² of the normal mixture, in units of the score's variance: where the test is sharpest. Fixed, because
    choosing it by the data would make the test invalid."""
    guardrails: tuple[Guardrail, ...] = ()
    status: CampaignStatus = "WARMUP"
    created_s: float = 0.0
    ended_s: float | None = None
    end_reason: str | None = None
    """In words."""
    winner: str | None = None
    """An arm's key."""
    deployed_s: float | None = None
    least_p: tuple[tuple[str, float], ...] = ()
    """For each pair (`A:B`), the least p-value so far: an always-valid one never rises."""

    @property
    def is_active(self) -> bool:
        return self.status in ACTIVE

    def arm(self, key: str) -> Arm | None:
        for each in self.arms:
            if each.key == key:
                return each
        return None


class Sums(msgspec.Struct, frozen=True):
    """Count, mean, and sum of squared deviations from the mean (Welford, 1962)."""

    n: int = 0
    mean: float = 0.0
    m2: float = 0.0

    def plus(self, value: float) -> Sums:
        n = self.n + 1
        delta = value - self.mean
        mean = self.mean + delta / n
        return Sums(n, mean, self.m2 + delta * (value - mean))

    @property
    def variance(self) -> float:
        """The unbiased estimate; 0 of fewer than two values."""
        return self.m2 / (self.n - 1) if self.n > 1 else 0.0


NO_SUMS = Sums()


class ArmTally(msgspec.Struct, frozen=True, kw_only=True):
    arm: str
    units: int = 0
    """That entered by the split: what the sample ratio is checked by."""
    requests: int = 0
    fallbacks: int = 0
    """Requests that another model than the arm's answered."""
    scores: Sums = NO_SUMS
    """One for each unit."""
    later_scores: Sums = NO_SUMS
    """Shown, not tested."""
    guards: dict[str, Sums] = {}
    """By measure: one value for each unit, its first."""


class PairTally(msgspec.Struct, frozen=True, kw_only=True):
    """Of a `comparison`: how often `first` was preferred to `second`, one score for each unit."""

    first: str
    second: str
    """Arms, in the campaign's order."""
    wins: int = 0
    losses: int = 0
    ties: int = 0
    later: int = 0
    """Shown, not tested."""


class Tally(msgspec.Struct, frozen=True, kw_only=True):
    """All that was counted of a campaign; of arms and pairs that lack, nothing was."""

    arms: tuple[ArmTally, ...] = ()
    pairs: tuple[PairTally, ...] = ()


class Score(msgspec.Struct, frozen=True, kw_only=True):
    """A value that counts in a `direct` campaign."""

    campaign_id: CampaignId
    unit: str
    arm: str
    value: float


class PairScore(msgspec.Struct, frozen=True, kw_only=True):
    """A preference that counts in a `comparison` campaign."""

    campaign_id: CampaignId
    unit: str
    """Who compared: a user, a session, or the two units that were compared."""
    first: str
    second: str
    """Arms, in the campaign's order."""
    result: Literal[1, 0, -1]
    """Whether `first` is preferred, neither, or `second`."""
