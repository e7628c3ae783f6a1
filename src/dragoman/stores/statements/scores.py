"""What is asked of the counts of campaigns: of arms, pairs, and the units that have counted."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Column, Table, bindparam, not_, select, true
from sqlalchemy.dialects import sqlite
from sqlalchemy.sql import ClauseElement
from sqlalchemy.sql.elements import BindParameter

from dragoman.stores.schema import (
    IS_ACTIVE,
    campaign_arms,
    campaign_guards,
    campaign_pair_units,
    campaign_pairs,
    campaign_units,
    campaigns,
)
from dragoman.stores.statements.upserts import plus_row, put_row

_campaign: BindParameter[str] = bindparam("campaign_id")


def _counts(table: Table) -> list[Column[float]]:
    """Everything but the campaign."""
    return [column for column in table.columns if column.name != "campaign_id"]


_scored = sqlite.insert(campaign_units)

STATEMENTS: Mapping[str, ClauseElement] = {
    "FIND_ACTIVE": select(campaigns.c.metric_id, campaigns.c.kind).where(
        campaigns.c.id == _campaign, IS_ACTIVE
    ),
    "READ_ARM": select(*_counts(campaign_arms)).where(
        campaign_arms.c.campaign_id == _campaign, campaign_arms.c.arm == bindparam("arm")
    ),
    "LIST_ARMS": (
        select(*_counts(campaign_arms))
        .where(campaign_arms.c.campaign_id == _campaign)
        .order_by(campaign_arms.c.arm)
    ),
    "PUT_ARM": put_row(campaign_arms),
    "LIST_GUARDS": (
        select(*_counts(campaign_guards))
        .where(campaign_guards.c.campaign_id == _campaign)
        .order_by(campaign_guards.c.arm, campaign_guards.c.measure)
    ),
    "PUT_GUARD": put_row(campaign_guards),
    "LIST_PAIRS": (
        select(*_counts(campaign_pairs))
        .where(campaign_pairs.c.campaign_id == _campaign)
        .order_by(campaign_pairs.c.first_arm, campaign_pairs.c.second_arm)
    ),
    "COUNT_PAIR": plus_row(campaign_pairs),
    # Changes a row only if it is the unit's first.
    "SCORE_UNIT": _scored.on_conflict_do_update(
        index_elements=list(campaign_units.primary_key.columns),
        set_={"is_scored": true()},
        where=not_(campaign_units.c.is_scored),
    ),
    "SCORE_PAIR_UNIT": sqlite.insert(campaign_pair_units).on_conflict_do_nothing(),
    "READ_UNIT": select(*_counts(campaign_units)[1:]).where(
        campaign_units.c.campaign_id == _campaign, campaign_units.c.unit == bindparam("unit")
    ),
    "PUT_UNIT": put_row(campaign_units),
}
