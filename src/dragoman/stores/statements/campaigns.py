"""What is asked of the table of campaigns; of their counts: `scores`."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import bindparam, insert, literal_column, select, update
from sqlalchemy.sql import ClauseElement

from dragoman.stores.schema import IS_ACTIVE, campaigns, interactions

# What a campaign measures, and how, stays as it was when it began.
CHANGEABLE = (
    "name",
    "traffic_split",
    "auto_deploy",
    "status",
    "ended_s",
    "end_reason",
    "winner",
    "deployed_s",
    "least_p",
)

_newest_first = select(campaigns).order_by(campaigns.c.created_s.desc(), campaigns.c.id.desc())
_one = campaigns.c.id == bindparam("campaign_id")

STATEMENTS: Mapping[str, ClauseElement] = {
    "LIST_CAMPAIGNS": _newest_first,
    "LIST_CAMPAIGNS_OF": _newest_first.where(campaigns.c.project_id == bindparam("project_id")),
    "LIST_ACTIVE": _newest_first.where(IS_ACTIVE),
    "ACTIVE_OF": select(campaigns.c.key).where(
        campaigns.c.project_id == bindparam("project_id"), IS_ACTIVE
    ),
    "ADD_CAMPAIGN": insert(campaigns),
    "READ_PROGRESS": select(campaigns.c.status, campaigns.c.least_p).where(_one),
    "REPLACE_CAMPAIGN": (
        update(campaigns)
        .where(_one, IS_ACTIVE)
        .values({name: bindparam(name) for name in CHANGEABLE})
    ),
    # Also those that do not count: else they would be looked at again each time.
    "LIST_NEW": (
        select(
            interactions.c.sequence,
            interactions.c.choice,
            interactions.c.source,
            interactions.c.campaign_id,
            interactions.c.unit,
            interactions.c.arm,
            interactions.c.served_arm,
            interactions.c.entered_by,
            interactions.c.status,
            interactions.c.model,
            interactions.c.input_tokens,
            interactions.c.output_tokens,
            interactions.c.cost,
            interactions.c.first_token_ms,
            interactions.c.total_ms,
        )
        .where(
            interactions.c.campaign_id.is_not(None),
            interactions.c.sequence > bindparam("mark"),
        )
        .order_by(interactions.c.sequence)
        .limit(bindparam("limit"))
        .offset(literal_column("0"))
    ),
    "NOTE_LEAST_P": update(campaigns).where(_one).values(least_p=bindparam("least_p")),
}
