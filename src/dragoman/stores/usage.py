"""Usage records and their sums, as people ask for them."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from datetime import date
from math import inf

from dragoman.errors import StoreUnavailable
from dragoman.records.usage_query import (
    KeptUsage,
    UsageFilter,
    UsageGroup,
    UsageGroups,
    UsagePage,
    UsageSums,
)
from dragoman.records.usage_record import UsageRecord
from dragoman.stores.compiled import usage as sql
from dragoman.stores.database import Area, Row
from dragoman.stores.paging import first_before, page_size
from dragoman.stores.retention_mark import read_mark
from dragoman.stores.usage_rows import kept_usage
from dragoman.stores.usage_sql import (
    Choice,
    choose,
    export_question,
    floor_question,
    group_question,
    page_question,
)

MAX_GROUPS = 10_000
EXPORT_CHUNK = 1000
SCANNED_FOR_A_PAGE = 50_000
"""Records that are looked at for one page where no index finds those that match."""
_EPOCH_ORDINAL = date(1970, 1, 1).toordinal()


class UsageArea(Area):
    def list_usage(
        self, asked: UsageFilter, *, before: int | None = None, limit: int = 100
    ) -> UsagePage:
        limit = page_size(limit)
        choice = choose(asked)
        before = None if before is None else first_before(before)
        with self._database.reading() as connection:
            if before is not None:
                started_s = _started_s(connection, before)
                if started_s is None:
                    # Deleted by age, and all that is older with it.
                    return UsagePage((), None)
                choice.indexed.append(sql.SQLITE_BEFORE)
                choice.values.update(before_s=started_s, before=before)
            floor = _floor(connection, choice) if choice.rest else None
            if floor is not None:
                choice.indexed.append(sql.SQLITE_NOT_BEFORE)
                choice.values.update(floor_s=floor[0], floor=floor[1])
            rows = connection.execute(page_question(choice, limit + 1), choice.values).fetchall()
        records = tuple(kept_usage(row) for row in rows[:limit])
        if len(rows) > limit:
            return UsagePage(records, records[-1].sequence)
        return UsagePage(records, None if floor is None else floor[1])

    def usage_groups(self, asked: UsageFilter, by: Sequence[str]) -> UsageGroups:
        groupings = tuple(by)
        question = group_question(asked, groupings, MAX_GROUPS + 1)
        with self._database.reading() as connection:
            rows = connection.execute(question.text, question.values).fetchall()
        groups = tuple(_group(row, groupings) for row in rows[:MAX_GROUPS])
        return UsageGroups(groups, is_cut=len(rows) > MAX_GROUPS)

    def export_usage(self, asked: UsageFilter) -> Iterator[list[KeptUsage]]:
        """All of it, the oldest first, as of the beginning.

        Records are only added, and only deleted by age: so chunks that stop at the number that was
        the last at the beginning are one moment's, and no transaction has to stay open for as long
        as somebody takes to read them.
        """
        choice = choose(asked)
        with self._database.reading() as connection:
            choice.values["last"] = connection.execute(sql.SQLITE_LAST_SEQUENCE).fetchone()[0]
        choice.rest.append(sql.SQLITE_UP_TO)
        mark, reached_s = None, -inf
        while True:
            with self._database.reading() as connection:
                now = read_mark(connection)
                if mark is not None and now != mark and reached_s < now.cutoff_s:
                    raise StoreUnavailable(
                        "Old records were deleted while they were exported; export again."
                    )
                question = export_question(choice, EXPORT_CHUNK, is_first=mark is None)
                rows = connection.execute(question, choice.values).fetchall()
            mark = now
            if rows:
                chunk = [kept_usage(row) for row in rows]
                reached_s = chunk[-1].record.started_s
                choice.values.update(after_s=reached_s, after=chunk[-1].sequence)
                yield chunk
            if len(rows) < EXPORT_CHUNK:
                return

    def find_usage(self, request_id: str) -> UsageRecord | None:
        rows = self._database.rows(sql.SQLITE_FIND_RECORD, {"request_id": request_id})
        return kept_usage(rows[0]).record if rows else None


def _started_s(connection: sqlite3.Connection, sequence: int) -> float | None:
    row = connection.execute(sql.SQLITE_STARTED, {"sequence": sequence}).fetchone()
    return None if row is None else float(row[0])


def _floor(connection: sqlite3.Connection, choice: Choice) -> tuple[float, int] | None:
    """How far back a page may look; `None`: to the beginning. The index alone tells it."""
    question = floor_question(choice, SCANNED_FOR_A_PAGE)
    row = connection.execute(question, choice.values).fetchone()
    return None if row is None else (row[0], row[1])


def _group(row: Row, by: tuple[str, ...]) -> UsageGroup:
    requests, input_, cached, written, output, reasoning, cost, estimated = row[len(by) :]
    return UsageGroup(
        tuple(_shown(value, grouping) for value, grouping in zip(row, by, strict=False)),
        UsageSums(
            requests=requests,
            input_tokens=input_,
            cached_input_tokens=cached,
            cache_write_tokens=written,
            output_tokens=output,
            reasoning_tokens=reasoning,
            cost_nano_usd=cost,
            estimated=estimated,
        ),
    )


def _shown(value: int | str | None, grouping: str) -> str | None:
    if grouping == "day":
        return date.fromordinal(_EPOCH_ORDINAL + int(value or 0)).isoformat()
    # There, an empty text stands for none.
    is_none = value is None or (value == "" and grouping in ("project", "model"))
    return None if is_none else str(value)
