"""Who used what: questions about usage, checked, and all of it as files."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from dragoman.chat import DialectName
from dragoman.errors import InvalidRequest, UnknownEntity
from dragoman.policy.administration.amounts import format_usd
from dragoman.policy.administration.desk import Desk, checked
from dragoman.policy.administration.wishes import Moment
from dragoman.records.account import AccountId
from dragoman.records.key import KeyId
from dragoman.records.usage_query import (
    KeptUsage,
    UsageFilter,
    UsageGroup,
    UsageGroups,
    UsagePage,
)
from dragoman.records.usage_record import Attempt, UsageRecord, UsageStatus

ExportFormat = Literal["csv", "jsonl"]
Asked = Annotated[str, Meta(max_length=500)]


class UsageQuestion(msgspec.Struct, frozen=True, kw_only=True):
    """Each field that is given has to hold."""

    account_id: Asked | None = None
    key_id: Asked | None = None
    project: Asked | None = None
    model: Asked | None = None
    """Id or alias of the model that answered."""
    dialect: DialectName | None = None
    status: UsageStatus | None = None
    label: Annotated[str, Meta(max_length=701)] | None = None
    """`NAME:VALUE`."""
    session_id: Asked | None = None
    user: Asked | None = None
    from_at: Moment | None = None
    """Requests that came at that moment or later."""
    to_at: Moment | None = None
    """Requests that came before that moment."""


class UsageRow(msgspec.Struct, frozen=True, kw_only=True):
    """A usage record as it is shown and exported."""

    request_id: str
    started_at: datetime
    account_id: str
    key_id: str
    project: str | None
    dialect: DialectName
    model_asked: str | None
    model: str | None
    provider: str | None
    is_stream: bool
    status: UsageStatus
    http_status: int
    error: str | None
    finish_reason: str | None
    input_tokens: int
    cached_input_tokens: int
    cache_write_tokens: int
    output_tokens: int
    reasoning_tokens: int
    is_estimated: bool
    """Counted by us, because the provider reported nothing."""
    cost_nano_usd: int
    cost: str
    hold_nano_usd: int
    price_id: str | None
    queued_ms: float | None
    first_token_ms: float | None
    total_ms: float
    session_id: str | None
    user: str | None
    labels: dict[str, str]
    tags: tuple[str, ...]
    attempts: tuple[Attempt, ...]


class UsageSum(msgspec.Struct, frozen=True, kw_only=True):
    """A sum of usage as it is shown: by every page, API and command in the same words."""

    by: dict[str, str | None]
    """Each grouping's value; null for requests that have none."""
    requests: int
    input_tokens: int
    cached_input_tokens: int
    cache_write_tokens: int
    output_tokens: int
    reasoning_tokens: int
    estimated_requests: int
    """Of the requests: those whose tokens were counted by this server."""
    cost: str
    cost_nano_usd: int


class UsageAdministration:
    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def page(
        self, question: UsageQuestion, *, before: int | None = None, limit: int = 100
    ) -> UsagePage:
        """Newest first; `before` is what the last page ended with. Raises `InvalidRequest`."""
        return self._desk.store.list_usage(self._filter(question), before=before, limit=limit)

    def groups(self, question: UsageQuestion, by: Sequence[str]) -> UsageGroups:
        """Sums by one or two of day, account, key, project, model, status and `label:NAME`."""
        return self._desk.store.usage_groups(self._filter(question), by)

    def find(self, request_id: str) -> UsageRecord:
        """Raises `UnknownEntity`."""
        record = self._desk.store.find_usage(request_id)
        if record is None:
            raise UnknownEntity(
                f"request {request_id[:64]!r} is not known", entity="request", param="request_id"
            )
        return record

    def export(self, question: UsageQuestion, layout: ExportFormat) -> Iterator[bytes]:
        """All of it, the oldest first, in pieces. What was charged adds up to the ledger's settlements.

        Raises `InvalidRequest` before the first piece is asked for.
        """
        chunks = self._desk.store.export_usage(self._filter(question))
        return csv_pieces(chunks) if layout == "csv" else json_line_pieces(chunks)

    def _filter(self, question: UsageQuestion) -> UsageFilter:
        question = checked(question)
        start, end = question.from_at, question.to_at
        if start is not None and end is not None and start >= end:
            raise InvalidRequest("from must be before to", param="from")
        model = question.model
        return UsageFilter(
            account_id=None if question.account_id is None else AccountId(question.account_id),
            key_id=None if question.key_id is None else KeyId(question.key_id),
            project=question.project,
            model=None if model is None else self._desk.answering_model(model),
            dialect=question.dialect,
            status=question.status,
            label=None if question.label is None else _label(question.label),
            session_id=question.session_id,
            user=question.user,
            from_s=None if start is None else start.timestamp(),
            to_s=None if end is None else end.timestamp(),
        )


def usage_row(record: UsageRecord) -> UsageRow:
    usage = record.usage
    return UsageRow(
        request_id=record.request_id,
        started_at=datetime.fromtimestamp(record.started_s, UTC),
        account_id=record.account_id,
        key_id=record.key_id,
        project=record.project,
        dialect=record.dialect,
        model_asked=record.model_asked,
        model=record.model,
        provider=record.provider,
        is_stream=record.is_stream,
        status=record.status,
        http_status=record.http_status,
        error=record.error,
        finish_reason=record.finish_reason,
        input_tokens=usage.input_tokens,
        cached_input_tokens=usage.cached_input_tokens,
        cache_write_tokens=usage.cache_write_tokens,
        output_tokens=usage.output_tokens,
        reasoning_tokens=usage.reasoning_tokens,
        is_estimated=usage.is_estimated,
        cost_nano_usd=record.cost_nano_usd,
        cost=format_usd(record.cost_nano_usd),
        hold_nano_usd=record.hold_nano_usd,
        price_id=record.price_id,
        queued_ms=record.queued_ms,
        first_token_ms=record.first_token_ms,
        total_ms=record.total_ms,
        session_id=record.session_id,
        user=record.user,
        labels=dict(record.labels),
        tags=record.tags,
        attempts=record.attempts,
    )


def usage_sum(group: UsageGroup, by: Sequence[str]) -> UsageSum:
    """`by`: what it was grouped by."""
    sums = group.sums
    return UsageSum(
        by=dict(zip(by, group.by, strict=True)),
        requests=sums.requests,
        input_tokens=sums.input_tokens,
        cached_input_tokens=sums.cached_input_tokens,
        cache_write_tokens=sums.cache_write_tokens,
        output_tokens=sums.output_tokens,
        reasoning_tokens=sums.reasoning_tokens,
        estimated_requests=sums.estimated,
        cost=format_usd(sums.cost_nano_usd),
        cost_nano_usd=sums.cost_nano_usd,
    )


def json_line_pieces(chunks: Iterable[Sequence[KeptUsage]]) -> Iterator[bytes]:
    """One JSON object a line."""
    encoder = msgspec.json.Encoder()
    for chunk in chunks:
        yield encoder.encode_lines([usage_row(kept.record) for kept in chunk])


def csv_pieces(chunks: Iterable[Sequence[KeptUsage]]) -> Iterator[bytes]:
    """A line of names, then one for each record (RFC 4180)."""
    names = _csv_lines([UsageRow.__struct_fields__])
    for chunk in chunks:
        # With the first records, so that nothing is begun before the store has answered.
        yield names + _csv_lines([_cells(usage_row(kept.record)) for kept in chunk])
        names = b""
    if names:
        yield names


def _csv_lines(rows: Iterable[Iterable[object]]) -> bytes:
    out = io.StringIO()
    csv.writer(out).writerows(rows)
    return out.getvalue().encode("utf-8", "replace")


def _cells(row: UsageRow) -> list[object]:
    return [_cell(value) for value in msgspec.structs.astuple(row)]


def _cell(value: object) -> object:
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case int() | float():
            return value
        case datetime():
            return value.isoformat()
        case str():
            return inert(value)
        case _:
            return inert(msgspec.json.encode(value).decode())


_LOADED = re.compile(r"[\s]*[=+\-@\t\r]")


def inert(text: str) -> str:
    """Text that no spreadsheet takes for a formula: what a client sent must not act on who opens it.

    https://owasp.org/www-community/attacks/CSV_Injection
    """
    return "'" + text if _LOADED.match(text) else text


def _label(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon or not name:
        raise InvalidRequest("label must be written as NAME:VALUE", param="label")
    return name, value
