"""What is asked of the table of campaigns; of their counts: `scores`."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import bindparam, insert, select, update
from sqlalchemy.sql import ClauseElement

from dragoman.stores.schema import IS_ACTIVE, campaigns

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
    "NOTE_LEAST_P": update(campaigns).where(_one).values(least_p=bindparam("least_p")),
}
