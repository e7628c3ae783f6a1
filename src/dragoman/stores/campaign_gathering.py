"""Counts interactions into their campaigns: units, requests, guards, and scores of built-in metrics.

All interactions up to a mark are counted, and the mark moves in the transaction that counts: so each is
counted once, whoever counts and whoever dies meanwhile. Rows become visible in the order of their numbers,
because SQLite has one writer at a time: none that comes later has a number below the mark.

Counted is what was answered here, for campaigns that have not ended.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, get_args

from msgspec import structs

from dragoman.records.campaign import NO_SUMS, ArmTally, CampaignId, GuardMeasure
from dragoman.records.interaction import EnteredBy, InteractionSource
from dragoman.records.metric import BUILT_IN_METRICS
from dragoman.records.usage_record import CHARGED, UsageStatus
from dragoman.stores.compiled import campaigns as sql
from dragoman.stores.compiled import scores, server_values
from dragoman.stores.database import Database, Row, Value, Values
from dragoman.stores.scores import UNIT_FLAGS, arm_tallies, arm_values, plus_score, unit_values

MARK_NAME = "campaigns_gathered"
"""Of the server value that holds the number of the last interaction that was counted."""
MOST_ROWS = 10_000
"""In one transaction: nothing else is written meanwhile."""
_GUARDS: tuple[GuardMeasure, ...] = get_args(GuardMeasure)
_BUILT_IN = frozenset(metric.id for metric in BUILT_IN_METRICS)
_NANO = 1e9


def gather(database: Database, limit: int) -> list[CampaignId]:
    """The campaigns that have more now; empty: nothing was left that could count."""
    limit = max(1, min(limit, MOST_ROWS))
    # Looking takes no lock, and mostly there is nothing.
    while _new_rows(database, 1):
        with database.transaction():
            rows = _new_rows(database, limit)
            count = _Count(database)
            for row in rows:
                count.add(row)
            count.keep()
            if rows:
                _move_mark(database, rows[-1].sequence)
        if count.campaigns:
            return count.campaigns
    return []


class _NewRow(NamedTuple):
    sequence: int
    choice: int
    source: InteractionSource
    campaign_id: CampaignId
    unit: str | None
    arm: str | None
    served_arm: str | None
    entered_by: EnteredBy | None
    status: UsageStatus
    model: str | None
    input_tokens: int
    output_tokens: int
    cost: int
    first_token_ms: float | None
    total_ms: float | None


class _Count:
    """What some interactions add, before it is written."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._scored: dict[CampaignId, str | None] = {}
        """Of active campaigns, the built-in metric that their scores are of, if they are."""
        self._ended: set[CampaignId] = set()
        self._arms: dict[tuple[CampaignId, str], ArmTally] = {}
        self._units: dict[tuple[CampaignId, str], set[str]] = {}
        """What has been counted of them, as the names of columns."""

    @property
    def campaigns(self) -> list[CampaignId]:
        return list(self._scored)

    def add(self, row: _NewRow) -> None:
        # Of several choices, the first has what the request used.
        if row.choice != 0 or row.source != "completion":
            return
        if row.unit is None or row.arm is None or not self._is_active(row.campaign_id):
            return
        flags = self._flags(row.campaign_id, row.unit)
        arm = (row.campaign_id, row.arm)
        tally = _with_request(self._arms.get(arm) or ArmTally(arm=row.arm), row)
        if row.entered_by == "split" and "is_entered" not in flags:
            flags.add("is_entered")
            tally = structs.replace(tally, units=tally.units + 1)
        tally = _with_guards(tally, row, flags)
        metric = self._scored[row.campaign_id]
        value = None if metric is None else _measured(row, metric)
        if value is not None:
            tally = plus_score(tally, value, is_first="is_scored" not in flags)
            flags.add("is_scored")
        self._arms[arm] = tally

    def keep(self) -> None:
        self._database.change_many(
            scores.SQLITE_PUT_ARM,
            [arm_values(campaign_id, tally) for (campaign_id, _), tally in self._arms.items()],
        )
        self._database.change_many(
            scores.SQLITE_PUT_GUARD,
            [
                values
                for (campaign_id, _), tally in self._arms.items()
                for values in _guard_values(campaign_id, tally)
            ],
        )
        self._database.change_many(
            scores.SQLITE_PUT_UNIT,
            [unit_values(*unit, flags) for unit, flags in self._units.items()],
        )

    def _is_active(self, campaign_id: CampaignId) -> bool:
        if campaign_id in self._scored or campaign_id in self._ended:
            return campaign_id in self._scored
        asked: Values = {"campaign_id": campaign_id}
        rows = self._database.rows(scores.SQLITE_FIND_ACTIVE, asked)
        if not rows:
            self._ended.add(campaign_id)
            return False
        metric_id, kind = rows[0]
        is_scored = kind == "direct" and metric_id in _BUILT_IN
        self._scored[campaign_id] = metric_id if is_scored else None
        for tally in arm_tallies(
            self._database.rows(scores.SQLITE_LIST_ARMS, asked),
            self._database.rows(scores.SQLITE_LIST_GUARDS, asked),
        ):
            self._arms[campaign_id, tally.arm] = tally
        return True

    def _flags(self, campaign_id: CampaignId, unit: str) -> set[str]:
        flags = self._units.get((campaign_id, unit))
        if flags is None:
            rows = self._database.rows(
                scores.SQLITE_READ_UNIT, {"campaign_id": campaign_id, "unit": unit}
            )
            kept: Row = rows[0] if rows else ()
            flags = {name for name, is_set in zip(UNIT_FLAGS, kept, strict=False) if is_set}
            self._units[campaign_id, unit] = flags
        return flags


def _with_request(tally: ArmTally, row: _NewRow) -> ArmTally:
    # Where nobody answered, nobody answered in the arm's place.
    is_fallback = row.status in CHARGED and row.model is not None and row.served_arm != row.arm
    return structs.replace(
        tally, requests=tally.requests + 1, fallbacks=tally.fallbacks + is_fallback
    )


def _with_guards(tally: ArmTally, row: _NewRow, flags: set[str]) -> ArmTally:
    guards = dict(tally.guards)
    for measure in _GUARDS:
        flag = f"has_{measure}"
        value = None if flag in flags else _measured(row, measure)
        if value is not None:
            flags.add(flag)
            guards[measure] = guards.get(measure, NO_SUMS).plus(value)
    return structs.replace(tally, guards=guards)


def _measured(row: _NewRow, measure: str) -> float | None:
    """`None`: it has no such value."""
    if measure == "errors":
        return 0.0 if row.status in CHARGED else 1.0
    if row.status not in CHARGED:
        # Else the arm that fails at once would be the fastest and the cheapest.
        return None
    match measure:
        case "first_token_ms":
            return row.first_token_ms
        case "total_ms":
            return row.total_ms
        case "tokens":
            return float(row.input_tokens + row.output_tokens)
        case "cost":
            return row.cost / _NANO
    raise ValueError(f"no completion is measured by {measure}")


def _guard_values(campaign_id: CampaignId, tally: ArmTally) -> list[dict[str, Value]]:
    return [
        {
            "campaign_id": campaign_id,
            "arm": tally.arm,
            "measure": measure,
            "n": sums.n,
            "mean": sums.mean,
            "m2": sums.m2,
        }
        for measure, sums in tally.guards.items()
    ]


def _new_rows(database: Database, limit: int) -> Sequence[_NewRow]:
    marks = database.rows(server_values.SQLITE_READ_VALUE, {"name": MARK_NAME})
    values: Values = {"mark": int(marks[0][0]) if marks else 0, "limit": limit}
    return [_NewRow(*row) for row in database.rows(sql.SQLITE_LIST_NEW, values)]


def _move_mark(database: Database, sequence: int) -> None:
    database.change(
        server_values.SQLITE_PUT_VALUE, {"name": MARK_NAME, "value": str(sequence).encode()}
    )
