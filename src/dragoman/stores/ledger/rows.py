"""Usage records as rows, and the sums that are kept of them."""

from __future__ import annotations

from collections.abc import Iterable
from operator import add

import msgspec

from dragoman.records.usage_record import UsageRecord
from dragoman.stores.appending import Value
from dragoman.stores.token_counts import token_counts

DAY_S = 86_400
_LABEL_CHARS, _LABEL_VALUE_CHARS = 200, 500

Row = tuple[Value, ...]

_encode = msgspec.json.Encoder().encode


def record_row(record: UsageRecord, cost: int, hold: int) -> Row:
    """In the order of the table's columns. Labels are a JSON object, tags and attempts JSON arrays."""
    usage = record.usage
    input_, cached, written, output, reasoning = token_counts(usage)
    return (
        record.request_id,
        record.account_id,
        record.key_id,
        record.project,
        record.dialect,
        record.model_asked,
        record.model,
        record.provider,
        record.is_stream,
        input_,
        cached,
        written,
        output,
        reasoning,
        usage.is_estimated,
        cost,
        hold,
        record.price_id,
        record.started_s,
        record.queued_ms,
        record.first_token_ms,
        record.total_ms,
        record.status,
        record.finish_reason,
        record.http_status,
        record.error,
        record.session_id,
        record.user,
        _encode(dict(record.labels)).decode() if record.labels else None,
        _encode(record.tags).decode() if record.tags else None,
        _encode(record.attempts).decode() if record.attempts else None,
    )


class Rollups:
    """Sums over the records of one transaction, so that each row of them is touched once."""

    __slots__ = ("_days", "_labels")

    def __init__(self) -> None:
        self._days: dict[Row, list[int]] = {}
        self._labels: dict[Row, list[int]] = {}

    def add(self, record: UsageRecord, cost: int) -> None:
        usage = record.usage
        day = int(record.started_s // DAY_S)
        counts = (1, *token_counts(usage), cost, int(usage.is_estimated))
        account = record.account_id
        key = (
            day,
            account,
            record.key_id,
            record.project or "",
            record.model or "",
            record.status,
        )
        _add_up(self._days, key, counts)
        for label, value in record.labels:
            cut = (day, account, label[:_LABEL_CHARS], value[:_LABEL_VALUE_CHARS])
            _add_up(self._labels, cut, counts)

    def days(self) -> Iterable[Row]:
        return [(*key, *sums) for key, sums in self._days.items()]

    def labels(self) -> Iterable[Row]:
        return [(*key, *sums) for key, sums in self._labels.items()]


def _add_up(sums: dict[Row, list[int]], key: Row, counts: tuple[int, ...]) -> None:
    known = sums.get(key)
    sums[key] = list(counts) if known is None else list(map(add, known, counts))
