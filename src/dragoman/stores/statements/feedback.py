"""What is said of completions and sessions, as it is kept and listed."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Insert, Table, bindparam, insert, or_, select
from sqlalchemy.sql import ClauseElement

from dragoman.stores.schema import comparisons, feedback, outcomes


def _add(table: Table) -> Insert:
    names = [column.name for column in table.columns if column.name != "sequence"]
    return insert(table).values({name: bindparam(name) for name in names})


# Lists end where their reader stops: a LIMIT that is a parameter would come with an OFFSET.
_comparisons = (
    select(comparisons)
    .where(comparisons.c.project_id == bindparam("project_id"))
    .order_by(comparisons.c.created_s.desc(), comparisons.c.sequence.desc())
)
_outcomes = (
    select(outcomes)
    .where(outcomes.c.project_id == bindparam("project_id"))
    .order_by(outcomes.c.created_s.desc(), outcomes.c.sequence.desc())
)

STATEMENTS: Mapping[str, ClauseElement] = {
    "ADD_FEEDBACK": _add(feedback),
    "ADD_COMPARISON": _add(comparisons),
    "ADD_OUTCOME": _add(outcomes),
    "LIST_COMPARISONS": _comparisons,
    "LIST_COMPARISONS_OF": _comparisons.where(
        or_(
            comparisons.c.preferred_id == bindparam("completion_id"),
            comparisons.c.other_id == bindparam("completion_id"),
        )
    ),
    "LIST_OUTCOMES": _outcomes,
    "LIST_OUTCOMES_OF": _outcomes.where(outcomes.c.session_id == bindparam("session_id")),
}
