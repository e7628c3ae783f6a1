"""Counts scores into campaigns, within the transaction that keeps what the score comes from.

Of each unit, the first score is tested; later ones are counted apart. So are comparisons, where each unit
counts once for each pair of arms, as each pair is a test of its own.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from msgspec import structs

from dragoman.errors import InvalidRequest
from dragoman.records.campaign import ArmTally, CampaignId, PairScore, Score, Sums
from dragoman.stores.compiled import scores as sql
from dragoman.stores.database import Database, Row, Value

MAX_SCORE = 1e150
"""Either way: squares of what is larger have no place in a sum."""
UNIT_FLAGS = ("is_entered", "is_scored", "has_errors", "has_cost", "has_first_token_ms")
"""What may have been counted of a unit, in the order of the table's columns."""


def count_score(database: Database, score: Score) -> bool:
    """Whether it counted, as its unit's first score or as a later one: not where the campaign has ended."""
    if not abs(score.value) <= MAX_SCORE:
        raise InvalidRequest(
            f"value {score.value:g} cannot be counted; it must be from -1e150 to 1e150",
            param="value",
        )
    campaign: dict[str, Value] = {"campaign_id": score.campaign_id}
    with database.transaction():
        if not database.rows(sql.SQLITE_FIND_ACTIVE, campaign):
            return False
        unit = unit_values(score.campaign_id, score.unit, ("is_scored",))
        is_first = database.change(sql.SQLITE_SCORE_UNIT, unit) == 1
        rows = database.rows(sql.SQLITE_READ_ARM, {**campaign, "arm": score.arm})
        tally = _arm_tally(rows[0]) if rows else ArmTally(arm=score.arm)
        tally = plus_score(tally, score.value, is_first=is_first)
        database.change(sql.SQLITE_PUT_ARM, arm_values(score.campaign_id, tally))
    return True


def count_pair_score(database: Database, score: PairScore) -> bool:
    """The same, for a preference between two arms."""
    pair: dict[str, Value] = {
        "campaign_id": score.campaign_id,
        "first_arm": score.first,
        "second_arm": score.second,
    }
    with database.transaction():
        if not database.rows(sql.SQLITE_FIND_ACTIVE, {"campaign_id": score.campaign_id}):
            return False
        is_first = database.change(sql.SQLITE_SCORE_PAIR_UNIT, {**pair, "unit": score.unit}) == 1
        added: dict[str, Value] = {
            "wins": is_first and score.result == 1,
            "losses": is_first and score.result == -1,
            "ties": is_first and score.result == 0,
            "later": not is_first,
        }
        database.change(sql.SQLITE_COUNT_PAIR, {**pair, **added})
    return True


def plus_score(tally: ArmTally, value: float, *, is_first: bool) -> ArmTally:
    if is_first:
        return structs.replace(tally, scores=tally.scores.plus(value))
    return structs.replace(tally, later_scores=tally.later_scores.plus(value))


def unit_values(campaign_id: CampaignId, unit: str, flags: Collection[str]) -> dict[str, Value]:
    """A row of the table of units."""
    return {
        "campaign_id": campaign_id,
        "unit": unit,
        **{name: name in flags for name in UNIT_FLAGS},
    }


def arm_values(campaign_id: CampaignId, tally: ArmTally) -> dict[str, Value]:
    """A row of the table of arms."""
    scores, later = tally.scores, tally.later_scores
    return {
        "campaign_id": campaign_id,
        "arm": tally.arm,
        "units": tally.units,
        "requests": tally.requests,
        "fallbacks": tally.fallbacks,
        "scores_n": scores.n,
        "scores_mean": scores.mean,
        "scores_m2": scores.m2,
        "later_n": later.n,
        "later_mean": later.mean,
        "later_m2": later.m2,
    }


def arm_tallies(arms: Iterable[Row], guards: Iterable[Row]) -> list[ArmTally]:
    """From a campaign's rows of both tables, without the campaign."""
    by_arm: dict[str, dict[str, Sums]] = {}
    for arm, measure, *sums in guards:
        by_arm.setdefault(arm, {})[measure] = Sums(*sums)
    tallies = map(_arm_tally, arms)
    return [structs.replace(tally, guards=by_arm.get(tally.arm, {})) for tally in tallies]


def _arm_tally(row: Row) -> ArmTally:
    arm, units, requests, fallbacks, *sums = row
    return ArmTally(
        arm=arm,
        units=units,
        requests=requests,
        fallbacks=fallbacks,
        scores=Sums(*sums[:3]),
        later_scores=Sums(*sums[3:]),
    )
