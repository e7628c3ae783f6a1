"""What is asked of the log of changes."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import bindparam, insert, literal_column, select
from sqlalchemy.sql import ClauseElement

from dragoman.stores.schema import audit_events

_columns = [column.name for column in audit_events.columns if column.name != "sequence"]
_page = (
    select(audit_events)
    .where(audit_events.c.sequence < bindparam("before"))
    .order_by(audit_events.c.sequence.desc())
    .limit(bindparam("limit"))
    .offset(literal_column("0"))
)

STATEMENTS: Mapping[str, ClauseElement] = {
    "ADD_EVENT": insert(audit_events).values({name: bindparam(name) for name in _columns}),
    "LIST_EVENTS": _page,
    "LIST_EVENTS_OF": _page.where(audit_events.c.subject == bindparam("subject")),
}
