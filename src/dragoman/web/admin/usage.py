"""`/admin/v1/usage`: records, sums and exports."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import datetime
from typing import Annotated

import msgspec
from litestar import Controller, get
from litestar.di import NamedDependency
from litestar.params import QueryParameter, SkipValidation
from litestar.response import Stream

from dragoman.chat import DialectName
from dragoman.errors import InvalidRequest
from dragoman.policy.administration.usage import (
    ExportFormat,
    UsageQuestion,
    UsageRow,
    UsageSum,
    usage_row,
    usage_sum,
)
from dragoman.records.usage_record import UsageStatus
from dragoman.web.admin.parameters import Cursor, ForActor, Id, Limit, before
from dragoman.web.admin.views import Page

_MEDIA_TYPES = {"csv": "text/csv", "jsonl": "application/jsonl"}


class UsageSums(msgspec.Struct, frozen=True, kw_only=True):
    data: tuple[UsageSum, ...]
    has_more: bool
    """There are more groups than are answered: ask with more filters."""


def question_of(  # noqa: PLR0913, PLR0917 - one for each query parameter
    account_id: Annotated[str | None, QueryParameter(description="Of this account.")] = None,
    key_id: Annotated[str | None, QueryParameter(description="Of this key.")] = None,
    project: Annotated[str | None, QueryParameter(description="Of this project.")] = None,
    model: Annotated[str | None, QueryParameter(description="Answered by this model.")] = None,
    dialect: Annotated[DialectName | None, QueryParameter(description="Asked in it.")] = None,
    status: Annotated[UsageStatus | None, QueryParameter(description="Ended like this.")] = None,
    label: Annotated[
        str | None, QueryParameter(description="With this label, `NAME:VALUE`.")
    ] = None,
    session_id: Annotated[str | None, QueryParameter(description="Of this session.")] = None,
    user: Annotated[str | None, QueryParameter(description="Of this end user.")] = None,
    from_at: Annotated[
        datetime | None, QueryParameter(name="from", description="Came at that moment or later.")
    ] = None,
    to_at: Annotated[
        datetime | None, QueryParameter(name="to", description="Came before that moment.")
    ] = None,
) -> UsageQuestion:
    return UsageQuestion(
        account_id=account_id,
        key_id=key_id,
        project=project,
        model=model,
        dialect=dialect,
        status=status,
        label=label,
        session_id=session_id,
        user=user,
        from_at=zoned(from_at, "from"),
        to_at=zoned(to_at, "to"),
    )


Question = NamedDependency[SkipValidation[UsageQuestion]]


class Usage(Controller):
    path = "/usage"
    tags = ("usage",)

    @get(sync_to_thread=True, summary="Usage records, newest first")
    def list_usage(
        self,
        administration: ForActor,
        question: Question,
        cursor: Cursor = None,
        limit: Limit = 100,
    ) -> Page[UsageRow]:
        page = administration.usage.page(question, before=before(cursor), limit=limit)
        return Page(
            data=tuple(usage_row(kept.record) for kept in page.records),
            next_cursor=None if page.before is None else str(page.before),
        )

    @get("/groups", sync_to_thread=True, summary="Usage, summed up")
    def group_usage(
        self,
        administration: ForActor,
        question: Question,
        group_by: Annotated[
            str,
            QueryParameter(
                max_length=450,
                description="One or two, with a comma between, of `day` (UTC), `account`, `key`,"
                " `project`, `model`, `status` and `label:NAME`.",
            ),
        ] = "day",
    ) -> UsageSums:
        by = tuple(part.strip() for part in group_by.split(",") if part.strip())
        groups = administration.usage.groups(question, by)
        return UsageSums(
            data=tuple(usage_sum(group, by) for group in groups.groups), has_more=groups.is_cut
        )

    @get("/export", summary="All usage, the oldest first, as a file")
    async def export_usage(
        self,
        administration: ForActor,
        question: Question,
        layout: Annotated[
            ExportFormat,
            QueryParameter(name="format", description="CSV, or one JSON object a line."),
        ] = "jsonl",
    ) -> Stream:
        pieces = await asyncio.to_thread(administration.usage.export, question, layout)
        # The first piece is made before the answer begins: what fails at once has its own status.
        first = await asyncio.to_thread(next, pieces, b"")
        return Stream(
            rest_of(first, pieces),
            media_type=_MEDIA_TYPES[layout],
            headers={"content-disposition": f'attachment; filename="usage.{layout}"'},
        )

    @get("/{request_id:str}", sync_to_thread=True, summary="The record of one request")
    def show_usage(self, administration: ForActor, request_id: Id) -> UsageRow:
        return usage_row(administration.usage.find(request_id))


async def rest_of(first: bytes, pieces: Iterator[bytes]) -> AsyncIterator[bytes]:
    """The export at its reader's pace; each piece is read from the store in a thread."""
    piece: bytes | None = first
    while piece is not None:
        if piece:
            yield piece
        piece = await asyncio.to_thread(next, pieces, None)


def zoned(moment: datetime | None, param: str) -> datetime | None:
    if moment is not None and moment.tzinfo is None:
        raise InvalidRequest(
            f"{param} needs a time zone: 2026-11-22T00:00:00Z, with %2B for a plus sign",
            param=param,
        )
    return moment
