"""Builds questions about usage out of compiled pieces.

Each index is named: which one answers a question must not depend on what a planner guesses, because
a wrong guess reads millions of rows.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import msgspec

from dragoman.errors import InvalidRequest
from dragoman.records.usage_query import (
    GROUPINGS,
    LABEL_GROUPING,
    MAX_GROUPINGS,
    UsageFilter,
)
from dragoman.stores.compiled import usage as sql
from dragoman.stores.database import Value

DAY_S = 86_400
# What sums by label are cut to; longer ones can only be told apart in the records.
_MAX_LABEL_CHARS, _MAX_LABEL_VALUE_CHARS = 200, 500
# A moment further away than that is as good as none, and its day's number fits any integer.
_FAR_S = 1e12

_SUMS = (
    "requests",
    "input_tokens",
    "cached_input_tokens",
    "cache_write_tokens",
    "output_tokens",
    "reasoning_tokens",
    "cost",
    "estimated",
)
_RECORD_SUMS = ("count(*)", *(f"sum({name})" for name in _SUMS[1:-1]), "sum(is_estimated)")
_ROLLUP_SUMS = tuple(f"sum({name})" for name in _SUMS)


class Question(NamedTuple):
    text: str
    values: dict[str, Value]


class Choice(msgspec.Struct):
    """Which records are meant, in terms of SQL."""

    index: str
    indexed: list[str]
    """Conditions that the index answers."""
    rest: list[str]
    """Those that need a look at each record."""
    values: dict[str, Value]

    @property
    def source(self) -> str:
        return f"usage_records INDEXED BY {self.index}"

    def where(self, *more: str) -> str:
        conditions = [*self.indexed, *self.rest, *more]
        return f" WHERE {' AND '.join(conditions)}" if conditions else ""


def choose(asked: UsageFilter) -> Choice:
    """Raises `InvalidRequest` for times that are none."""
    values: dict[str, Value] = {}
    indexed: list[str] = []
    rest: list[str] = []
    index = "ix_usage_records_started"
    if asked.key_id is not None:
        index = "ix_usage_records_key"
        indexed.append(sql.SQLITE_IS_OF_KEY)
        values["key_id"] = asked.key_id
    if asked.account_id is not None:
        # A key has few accounts, so that the key's index serves both.
        if asked.key_id is None:
            index = "ix_usage_records_account"
            indexed.append(sql.SQLITE_IS_OF_ACCOUNT)
        else:
            rest.append(sql.SQLITE_IS_OF_ACCOUNT)
        values["account_id"] = asked.account_id
    for value, name, condition in (
        (asked.project, "project", sql.SQLITE_IS_OF_PROJECT),
        (asked.model, "model", sql.SQLITE_IS_OF_MODEL),
        (asked.dialect, "dialect", sql.SQLITE_IS_OF_DIALECT),
        (asked.status, "status", sql.SQLITE_HAS_STATUS),
        (asked.session_id, "session_id", sql.SQLITE_IS_OF_SESSION),
        (asked.user, "user", sql.SQLITE_IS_OF_USER),
    ):
        if value is not None:
            rest.append(condition)
            values[name] = value
    if asked.label is not None:
        rest.append(sql.SQLITE_HAS_LABEL)
        values["label_name"], values["label_value"] = asked.label
    for moment_s, name, condition in (
        (asked.from_s, "from_s", sql.SQLITE_SINCE),
        (asked.to_s, "to_s", sql.SQLITE_UNTIL),
    ):
        if moment_s is not None:
            indexed.append(condition)
            values[name] = _sound(moment_s, name)
    return Choice(index, indexed, rest, values)


def page_question(choice: Choice, most: int) -> str:
    """Whole records, the newest first."""
    return f"{_records(choice)}{choice.where()}{_NEWEST_FIRST} LIMIT {most}"


def floor_question(choice: Choice, scanned: int) -> str:
    """The position of the last of so many records, which the index alone tells."""
    indexed = Choice(choice.index, choice.indexed, [], {}).where()
    return (
        f"SELECT started_s, sequence FROM {choice.source}{indexed}"  # noqa: S608 - pieces of ours
        f"{_NEWEST_FIRST} LIMIT 1 OFFSET {scanned - 1}"
    )


def export_question(choice: Choice, most: int, *, is_first: bool) -> str:
    """Whole records, the oldest first."""
    where = choice.where() if is_first else choice.where(sql.SQLITE_AFTER)
    return f"{_records(choice)}{where}{_OLDEST_FIRST} LIMIT {most}"


_NEWEST_FIRST = " ORDER BY usage_records.started_s DESC, usage_records.sequence DESC"
_OLDEST_FIRST = " ORDER BY usage_records.started_s, usage_records.sequence"


def _records(choice: Choice) -> str:
    return sql.SQLITE_RECORDS.replace("FROM usage_records", f"FROM {choice.source}")


# --- Groups -------------------------------------------------------------------------------------


def group_question(asked: UsageFilter, by: tuple[str, ...], most: int) -> Question:
    """Sums by `by`; of whole days from the sums that are kept by day, of the rest from records."""
    _check_groupings(by)
    values: dict[str, Value] = {"most": most}
    parts = _parts(asked, by, values)
    keys = [f"k{number}" for number in range(len(by))]
    sums = ", ".join(f"coalesce(sum({name}), 0)" for name in _SUMS)
    text = f"SELECT {', '.join([*keys, sums])} FROM ({' UNION ALL '.join(parts)})"  # noqa: S608 - all pieces are ours
    if keys:
        listed = ", ".join(keys)
        text += f" GROUP BY {listed} HAVING sum(requests) > 0 ORDER BY {listed} LIMIT :most"
    return Question(text, values)


def _check_groupings(by: tuple[str, ...]) -> None:
    for grouping in by:
        is_label = grouping.startswith(LABEL_GROUPING) and len(grouping) > len(LABEL_GROUPING)
        if grouping not in GROUPINGS and not is_label:
            raise InvalidRequest(
                f"group_by '{grouping[:64]}' is unknown; use {', '.join(GROUPINGS)} or label:NAME",
                param="group_by",
            )
    if len(by) > MAX_GROUPINGS or len(set(by)) != len(by):
        raise InvalidRequest(
            f"group_by takes up to {MAX_GROUPINGS} different groupings", param="group_by"
        )


def _parts(asked: UsageFilter, by: tuple[str, ...], values: dict[str, Value]) -> list[str]:
    from_s = None if asked.from_s is None else _sound(asked.from_s, "from_s")
    to_s = None if asked.to_s is None else _sound(asked.to_s, "to_s")
    from_day = None if from_s is None else math.ceil(from_s / DAY_S)
    to_day = None if to_s is None else math.floor(to_s / DAY_S)
    is_within_a_day = from_day is not None and to_day is not None and from_day >= to_day
    from_sums = None if is_within_a_day else _sums_by_day(asked, by, values)
    if from_sums is None:
        return [_from_records(asked, by, values, from_s, to_s, 0)]
    if from_day is not None:
        values["from_day"] = from_day
    if to_day is not None:
        values["to_day"] = to_day
    parts = [
        select + _where([*conditions, *_days(table, from_day, to_day)]) + _grouped(by)
        for table, select, conditions in from_sums
    ]
    if from_s is not None and from_day is not None and from_day * DAY_S > from_s:
        parts.append(_from_records(asked, by, values, from_s, float(from_day * DAY_S), 1))
    if to_s is not None and to_day is not None and to_day * DAY_S < to_s:
        parts.append(_from_records(asked, by, values, float(to_day * DAY_S), to_s, 2))
    return parts


class _Sums(NamedTuple):
    table: str
    select: str
    conditions: list[str]


def _sums_by_day(
    asked: UsageFilter, by: tuple[str, ...], values: dict[str, Value]
) -> list[_Sums] | None:
    """`None`: only the records can tell."""
    if asked.dialect is not None or asked.session_id is not None or asked.user is not None:
        return None
    # There, an empty text stands for none.
    if asked.project == "" or asked.model == "":
        return None
    labels = [name.removeprefix(LABEL_GROUPING) for name in by if name.startswith(LABEL_GROUPING)]
    if not labels and asked.label is None:
        return [_day_sums(asked, by, values)]
    if any((asked.key_id, asked.project, asked.model, asked.status)) or len(labels) > 1:
        return None
    if not all(name in ("day", "account") or name.startswith(LABEL_GROUPING) for name in by):
        return None
    if asked.label is not None:
        return None if labels else _sums_of_label(asked, by, values)
    if len(labels[0]) > _MAX_LABEL_CHARS:
        return None
    return _sums_by_label(asked, by, labels[0], values)


def _day_sums(asked: UsageFilter, by: tuple[str, ...], values: dict[str, Value]) -> _Sums:
    conditions = []
    for value, name, condition in (
        (asked.account_id, "account_id", sql.SQLITE_DAY_IS_OF_ACCOUNT),
        (asked.key_id, "key_id", sql.SQLITE_DAY_IS_OF_KEY),
        (asked.project, "project", sql.SQLITE_DAY_IS_OF_PROJECT),
        (asked.model, "model", sql.SQLITE_DAY_IS_OF_MODEL),
        (asked.status, "status", sql.SQLITE_DAY_HAS_STATUS),
    ):
        if value is not None:
            conditions.append(condition)
            values[name] = value
    return _Sums("usage_days", _select("usage_days", by, _DAY_KEYS, _ROLLUP_SUMS), conditions)


def _sums_of_label(
    asked: UsageFilter, by: tuple[str, ...], values: dict[str, Value]
) -> list[_Sums] | None:
    assert asked.label is not None
    name, value = asked.label
    if len(name) > _MAX_LABEL_CHARS or len(value) > _MAX_LABEL_VALUE_CHARS:
        return None
    values["label_name"], values["label_value"] = name, value
    conditions = [sql.SQLITE_LABEL_HAS_NAME, sql.SQLITE_LABEL_HAS_VALUE]
    if asked.account_id is not None:
        conditions.append(sql.SQLITE_LABEL_IS_OF_ACCOUNT)
        values["account_id"] = asked.account_id
    select = _select("usage_labels", by, _DAY_KEYS, _ROLLUP_SUMS)
    return [_Sums("usage_labels", select, conditions)]


def _sums_by_label(
    asked: UsageFilter, by: tuple[str, ...], label: str, values: dict[str, Value]
) -> list[_Sums]:
    """By each of a label's values; what is left of everything has no label of that name."""
    values["label_name"] = label
    grouping = f"{LABEL_GROUPING}{label}"
    with_value, without = {**_DAY_KEYS, grouping: "value"}, {**_DAY_KEYS, grouping: "NULL"}
    less = tuple(f"-{name}" for name in _ROLLUP_SUMS)
    conditions = [sql.SQLITE_LABEL_HAS_NAME]
    everything: list[str] = []
    if asked.account_id is not None:
        conditions.append(sql.SQLITE_LABEL_IS_OF_ACCOUNT)
        everything.append(sql.SQLITE_DAY_IS_OF_ACCOUNT)
        values["account_id"] = asked.account_id
    return [
        _Sums("usage_labels", _select("usage_labels", by, with_value, _ROLLUP_SUMS), conditions),
        _Sums("usage_days", _select("usage_days", by, without, _ROLLUP_SUMS), everything),
        _Sums("usage_labels", _select("usage_labels", by, without, less), conditions),
    ]


def _from_records(
    asked: UsageFilter,
    by: tuple[str, ...],
    values: dict[str, Value],
    from_s: float | None,
    to_s: float | None,
    part: int,
) -> str:
    """What came between two moments. Its parameters are its own, by the number of the part."""
    choice = choose(_between(asked, from_s, to_s))
    keys = dict(_RECORD_KEYS)
    for number, grouping in enumerate(by):
        if grouping.startswith(LABEL_GROUPING):
            values[f"by_{number}"] = grouping.removeprefix(LABEL_GROUPING)
            keys[grouping] = (
                "(SELECT value FROM json_each(usage_records.labels)"  # noqa: S608 - a number
                f" WHERE json_each.key = :by_{number})"
            )
    where = choice.where()
    for name in ("from_s", "to_s"):
        where = where.replace(f":{name}", f":{name}_{part}")
    values.update(
        (f"{name}_{part}" if name in ("from_s", "to_s") else name, value)
        for name, value in choice.values.items()
    )
    is_everything = not choice.indexed
    source = "usage_records" if is_everything else choice.source
    return _select(source, by, keys, _RECORD_SUMS) + where + _grouped(by)


def _between(asked: UsageFilter, from_s: float | None, to_s: float | None) -> UsageFilter:
    return UsageFilter(
        account_id=asked.account_id,
        key_id=asked.key_id,
        project=asked.project,
        model=asked.model,
        dialect=asked.dialect,
        status=asked.status,
        label=asked.label,
        session_id=asked.session_id,
        user=asked.user,
        from_s=from_s,
        to_s=to_s,
    )


_DAY_KEYS = {
    "day": "day",
    "account": "account_id",
    "key": "key_id",
    "project": "project",
    "model": "model",
    "status": "status",
}
_RECORD_KEYS = {
    **_DAY_KEYS,
    # Whole seconds first: a quotient of floats may be rounded up to the next day.
    "day": f"CAST(started_s AS INTEGER) / {DAY_S}",
    "project": "coalesce(project, '')",
    "model": "coalesce(model, '')",
}


def _select(source: str, by: tuple[str, ...], keys: dict[str, str], sums: tuple[str, ...]) -> str:
    columns = [f"{keys[grouping]} AS k{number}" for number, grouping in enumerate(by)]
    columns += [f"{value} AS {name}" for value, name in zip(sums, _SUMS, strict=True)]
    return f"SELECT {', '.join(columns)} FROM {source}"  # noqa: S608 - names of ours


def _days(table: str, from_day: int | None, to_day: int | None) -> list[str]:
    is_label = table == "usage_labels"
    conditions = []
    if from_day is not None:
        conditions.append(sql.SQLITE_LABEL_SINCE if is_label else sql.SQLITE_DAY_SINCE)
    if to_day is not None:
        conditions.append(sql.SQLITE_LABEL_UNTIL if is_label else sql.SQLITE_DAY_UNTIL)
    return conditions


def _where(conditions: list[str]) -> str:
    return f" WHERE {' AND '.join(conditions)}" if conditions else ""


def _grouped(by: tuple[str, ...]) -> str:
    return f" GROUP BY {', '.join(f'k{number}' for number in range(len(by)))}" if by else ""


def _sound(moment_s: float, name: str) -> float:
    if math.isnan(moment_s):
        raise InvalidRequest(f"{name} must be a time", param=name)
    return max(-_FAR_S, min(moment_s, _FAR_S))
