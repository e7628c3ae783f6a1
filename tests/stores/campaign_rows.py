"""Interactions of campaigns, put into the table as they are, and counted anew in another way."""

from __future__ import annotations

import sqlite3
import statistics
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from uuid import uuid4

import msgspec
from msgspec.structs import replace

from dragoman.records.account import DEFAULT_ACCOUNT
from dragoman.records.campaign import Arm, ArmTally, Campaign, CampaignId, Score, Sums
from dragoman.records.metric import MetricId
from dragoman.records.project import Project, ProjectId
from dragoman.stores import Store
from dragoman.stores.scores import count_score

PROJECT = Project(id=ProjectId("proj_1"), key="p1", name="P", account_id=DEFAULT_ACCOUNT)
CAMPAIGN = Campaign(
    id=CampaignId("c0"),
    project_id=PROJECT.id,
    key="k0",
    name="C",
    metric_id=MetricId("m1"),
    kind="direct",
    arms=(Arm(key="A", model="small"), Arm(key="B", model="large")),
)


def with_project(store: Store) -> Store:
    store.add_project(PROJECT)
    return store


def make_campaign(number: int, **changes: object) -> Campaign:
    own = {"id": CampaignId(f"c{number}"), "key": f"k{number}", "created_s": float(number)}
    return replace(CAMPAIGN, **{**own, **changes})


def score(store: Store, unit: str, arm: str, value: float) -> bool:
    return count_score(
        store._database, Score(campaign_id=CAMPAIGN.id, unit=unit, arm=arm, value=value)
    )


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What gathering reads of an interaction."""

    unit: str | None
    arm: str | None
    campaign_id: str | None = CAMPAIGN.id
    served_arm: str | None
    model: str | None = "m"
    entered_by: str = "split"
    status: str = "ok"
    source: str = "completion"
    choice: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost: int = 0
    first_token_ms: float | None = 10.0
    total_ms: float | None = 20.0


def asked(unit: str | None, arm: str | None, **fields: object) -> Asked:
    """Served as it was meant, unless `fields` say otherwise."""
    return Asked(**{"unit": unit, "arm": arm, "served_arm": arm, **fields})  # type: ignore[arg-type]


def add_interactions(path: Path, *interactions: Asked) -> None:
    with closing(sqlite3.connect(path, timeout=10)) as connection, connection:
        (last,) = connection.execute(
            "SELECT coalesce(max(position), 0) FROM interactions"
        ).fetchone()
        for position, interaction in enumerate(interactions, last + 1):
            values = {**_REST, **msgspec.structs.asdict(interaction), "position": position}
            names = ", ".join(values)
            connection.execute(
                f"INSERT INTO interactions (completion_id, {names})"
                f" VALUES ('{uuid4()}', {', '.join(':' + name for name in values)})",
                values,
            )


_REST = {
    "project_id": PROJECT.id,
    "account_id": PROJECT.account_id,
    "created_s": 1.0,
    "session_id": "s",
    "cached_input_tokens": 0,
    "cache_write_tokens": 0,
    "reasoning_tokens": 0,
    "is_estimated": False,
}


def database_of(store: Store) -> Path:
    return store._database._path


def recount(campaign: Campaign, interactions: Sequence[Asked]) -> list[ArmTally]:
    """From all rows, and sums from all values: no step of it is one of the store's."""
    rows = [
        row
        for row in interactions
        if row.campaign_id == campaign.id and row.source == "completion" and row.choice == 0
    ]
    entered: dict[str | None, Asked] = {}
    for row in rows:
        if row.entered_by == "split":
            entered.setdefault(row.unit, row)
    firsts, later = _values(rows, campaign.metric_id)
    guards = {name: _values(rows, name)[0] for name in ("errors", "cost", "first_token_ms")}
    return [
        ArmTally(
            arm=arm,
            units=sum(row.arm == arm for row in entered.values()),
            requests=sum(row.arm == arm for row in rows),
            fallbacks=sum(
                row.arm == arm
                and row.served_arm != arm
                and row.model is not None
                and row.status != "failed"
                for row in rows
            ),
            scores=_sums(firsts, arm),
            later_scores=_sums(later, arm),
            guards={name: _sums(all_, arm) for name, all_ in guards.items() if _of(all_, arm)},
        )
        for arm in sorted({row.arm for row in rows if row.arm is not None})
    ]


Values = list[tuple[str | None, float]]
"""Each with its arm."""


def _values(rows: Sequence[Asked], metric: str) -> tuple[Values, Values]:
    """Of each unit the first, and the others."""
    seen: set[str | None] = set()
    first: Values = []
    later: Values = []
    for row in rows:
        has_failed = row.status == "failed"
        value = {
            "errors": float(has_failed),
            "cost": None if has_failed else row.cost / 1e9,
            "first_token_ms": None if has_failed else row.first_token_ms,
            "total_ms": None if has_failed else row.total_ms,
        }.get(metric)
        if value is not None:
            (later if row.unit in seen else first).append((row.arm, value))
            seen.add(row.unit)
    return first, later


def _of(values: Values, arm: str) -> list[float]:
    return [value for of, value in values if of == arm]


def _sums(values: Values, arm: str) -> Sums:
    mine = _of(values, arm)
    if not mine:
        return Sums()
    mean = statistics.fmean(mine)
    return Sums(len(mine), mean, sum((value - mean) ** 2 for value in mine))
