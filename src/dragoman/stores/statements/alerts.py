"""What is asked of the outbox of alerts."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import and_, bindparam, func, literal_column, null, or_, select, update
from sqlalchemy.dialects import sqlite
from sqlalchemy.sql import ClauseElement

from dragoman.stores.schema import alerts

_columns = [column.name for column in alerts.columns if column.name != "sequence"]
_is_new = and_(alerts.c.next_attempt_s.is_(None), alerts.c.attempts == literal_column("0"))
_attempted = {"attempts": alerts.c.attempts + literal_column("1")}
_one = alerts.c.sequence == bindparam("alert")

STATEMENTS: Mapping[str, ClauseElement] = {
    "ADD_ALERT": (
        sqlite.insert(alerts)
        .values({name: bindparam(name) for name in _columns})
        .on_conflict_do_nothing()
    ),
    "LIST_DUE": (
        select(alerts)
        .where(
            alerts.c.delivered_s.is_(None),
            or_(alerts.c.next_attempt_s <= bindparam("now_s"), _is_new),
        )
        .order_by(alerts.c.sequence)
        .limit(bindparam("limit"))
        .offset(literal_column("0"))
    ),
    "NEXT_DUE": select(func.min(func.coalesce(alerts.c.next_attempt_s, alerts.c.created_s))).where(
        alerts.c.delivered_s.is_(None), or_(alerts.c.next_attempt_s.is_not(None), _is_new)
    ),
    "DELIVERED": (
        update(alerts)
        .where(_one)
        .values(
            delivered_s=bindparam("at_s"), next_attempt_s=null(), last_error=null(), **_attempted
        )
    ),
    "FAILED": (
        update(alerts)
        .where(_one)
        .values(next_attempt_s=bindparam("retry_s"), last_error=bindparam("reason"), **_attempted)
    ),
}
