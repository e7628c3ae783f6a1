"""What completions are judged by."""

from __future__ import annotations

from typing import Literal, NewType

import msgspec

from dragoman.records.project import ProjectId

MetricId = NewType("MetricId", str)
"""A UUID; a built-in metric's is its key."""
MetricKind = Literal["bool", "scalar"]
Better = Literal["higher_is_better", "lower_is_better"]


class Metric(msgspec.Struct, frozen=True, kw_only=True):
    id: MetricId
    project_id: ProjectId | None
    """`None`: a built-in one, which every project has."""
    key: str
    """Unique in the project."""
    name: str
    kind: MetricKind
    better: Better = "higher_is_better"
    description: str | None = None
    created_s: float = 0.0

    @property
    def is_built_in(self) -> bool:
        return self.project_id is None


def _built_in(key: str, name: str, kind: MetricKind, description: str) -> Metric:
    return Metric(
        id=MetricId(key),
        project_id=None,
        key=key,
        name=name,
        kind=kind,
        better="lower_is_better",
        description=description,
    )


BUILT_IN_METRICS: tuple[Metric, ...] = (
    _built_in(
        "first_token_ms", "First-token time", "scalar", "Milliseconds from the request's coming."
    ),
    _built_in(
        "total_ms", "Total time", "scalar", "Milliseconds from the request's coming to its end."
    ),
    _built_in("tokens", "Tokens", "scalar", "Input and output together."),
    _built_in("cost", "Cost", "scalar", "In US dollars, as charged."),
    _built_in("errors", "Errors", "bool", "1 where we or the provider failed."),
)
"""Measured with every completion: they take no feedback."""
