"""What people and programs say of completions."""

from __future__ import annotations

from typing import Literal

import msgspec

from dragoman.records.metric import MetricId
from dragoman.records.project import ProjectId

Tie = Literal["good", "bad"]


class Feedback(msgspec.Struct, frozen=True, kw_only=True):
    """A value of one completion."""

    id: str
    """A UUID."""
    project_id: ProjectId
    completion_id: str
    metric_id: MetricId
    value: float
    """0 or 1 of a `bool` metric."""
    reason: str | None = None
    details: str | None = None
    user: str | None = None
    created_s: float


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """One completion is preferred to another."""

    id: str
    """A UUID."""
    project_id: ProjectId
    metric_id: MetricId
    preferred_id: str
    """A completion."""
    other_id: str
    tied: Tie | None = None
    """Neither is: both are good, or both are bad."""
    user: str | None = None
    created_s: float


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """A value of a whole session."""

    id: str
    """A UUID."""
    project_id: ProjectId
    session_id: str
    metric_id: MetricId
    value: float
    user: str | None = None
    created_s: float
