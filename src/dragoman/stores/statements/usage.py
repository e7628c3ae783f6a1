"""What is asked of the usage records and their sums.

Filters may come in any combination, so these are pieces, from which `stores/usage_sql.py` builds
questions. A condition that is not asked for is left out: one that a parameter could switch off
would keep the database from using an index.
"""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import bindparam, func, literal_column, select, text, tuple_
from sqlalchemy.sql import ClauseElement

from dragoman.stores.schema import usage_days, usage_labels, usage_records

_position = tuple_(usage_records.c.started_s, usage_records.c.sequence)

STATEMENTS: Mapping[str, ClauseElement] = {
    "RECORDS": select(usage_records),
    "FIND_RECORD": select(usage_records).where(
        usage_records.c.request_id == bindparam("request_id")
    ),
    "STARTED": select(usage_records.c.started_s).where(
        usage_records.c.sequence == bindparam("sequence")
    ),
    "LAST_SEQUENCE": select(func.coalesce(func.max(usage_records.c.sequence), literal_column("0"))),
    # Conditions on records.
    "IS_OF_ACCOUNT": usage_records.c.account_id == bindparam("account_id"),
    "IS_OF_KEY": usage_records.c.key_id == bindparam("key_id"),
    "IS_OF_PROJECT": usage_records.c.project == bindparam("project"),
    "IS_OF_MODEL": usage_records.c.model == bindparam("model"),
    "IS_OF_DIALECT": usage_records.c.dialect == bindparam("dialect"),
    "HAS_STATUS": usage_records.c.status == bindparam("status"),
    "IS_OF_SESSION": usage_records.c.session_id == bindparam("session_id"),
    "IS_OF_USER": usage_records.c.end_user == bindparam("user"),
    "HAS_LABEL": text(
        "EXISTS (SELECT 1 FROM json_each(usage_records.labels) AS label"
        " WHERE label.key = :label_name AND label.value = :label_value)"
    ),
    "SINCE": usage_records.c.started_s >= bindparam("from_s"),
    "UNTIL": usage_records.c.started_s < bindparam("to_s"),
    "BEFORE": _position < tuple_(bindparam("before_s"), bindparam("before")),
    "NOT_BEFORE": _position >= tuple_(bindparam("floor_s"), bindparam("floor")),
    "AFTER": _position > tuple_(bindparam("after_s"), bindparam("after")),
    "UP_TO": usage_records.c.sequence <= bindparam("last"),
    # Conditions on sums by day.
    "DAY_IS_OF_ACCOUNT": usage_days.c.account_id == bindparam("account_id"),
    "DAY_IS_OF_KEY": usage_days.c.key_id == bindparam("key_id"),
    "DAY_IS_OF_PROJECT": usage_days.c.project == bindparam("project"),
    "DAY_IS_OF_MODEL": usage_days.c.model == bindparam("model"),
    "DAY_HAS_STATUS": usage_days.c.status == bindparam("status"),
    "DAY_SINCE": usage_days.c.day >= bindparam("from_day"),
    "DAY_UNTIL": usage_days.c.day < bindparam("to_day"),
    # Conditions on sums by label.
    "LABEL_IS_OF_ACCOUNT": usage_labels.c.account_id == bindparam("account_id"),
    "LABEL_HAS_NAME": usage_labels.c.label == bindparam("label_name"),
    "LABEL_HAS_VALUE": usage_labels.c.value == bindparam("label_value"),
    "LABEL_SINCE": usage_labels.c.day >= bindparam("from_day"),
    "LABEL_UNTIL": usage_labels.c.day < bindparam("to_day"),
}
