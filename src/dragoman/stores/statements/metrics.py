"""What is asked of the table of metrics."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import bindparam, delete, insert, literal_column, or_, select, update
from sqlalchemy.sql import ClauseElement

from dragoman.stores.schema import campaigns, comparisons, feedback, metrics, outcomes
from dragoman.stores.statements.upserts import names_beside_key

_in_order = select(metrics).order_by(metrics.c.created_s, metrics.c.id)

STATEMENTS: Mapping[str, ClauseElement] = {
    "LIST_METRICS": _in_order,
    "LIST_METRICS_OF": _in_order.where(metrics.c.project_id == bindparam("project_id")),
    "ADD_METRIC": insert(metrics),
    "REPLACE_METRIC": (
        update(metrics)
        .where(metrics.c.id == bindparam("metric_id"))
        .values({name: bindparam(name) for name in names_beside_key(metrics)})
    ),
    "CAMPAIGNS_OF_METRIC": (
        select(campaigns.c.key)
        .where(campaigns.c.metric_id == bindparam("metric_id"))
        .order_by(campaigns.c.created_s)
    ),
    "FEEDBACK_OF_METRIC": select(literal_column("1")).where(
        or_(
            *(
                select(table.c.sequence).where(table.c.metric_id == bindparam("metric_id")).exists()
                for table in (feedback, comparisons, outcomes)
            )
        )
    ),
    "DELETE_METRIC": delete(metrics).where(metrics.c.id == bindparam("metric_id")),
}
