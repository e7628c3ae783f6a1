"""`/admin/v1/interactions`, and the erasure of a user."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Annotated

import msgspec
from litestar import Controller, delete, get
from litestar.di import NamedDependency
from litestar.params import QueryParameter, SkipValidation
from litestar.response import Stream

from dragoman.errors import InvalidRequest
from dragoman.policy.interactions.exports import ExportLayout
from dragoman.policy.interactions.questions import InteractionQuestion
from dragoman.policy.interactions.rows import InteractionRow
from dragoman.records.interaction import InteractionSource
from dragoman.records.interaction_query import Erasure
from dragoman.records.usage_record import UsageStatus
from dragoman.web.admin.parameters import (
    AnyRequest,
    ForActor,
    Id,
    Limit,
    PathText,
    TextCursor,
    exact_rest,
    unknown_cursor,
)
from dragoman.web.admin.usage import rest_of, zoned
from dragoman.web.admin.views import Page


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """Which interactions are asked for."""

    account_id: str | None
    question: InteractionQuestion


def interactions_wanted(  # noqa: PLR0913, PLR0917 - one for each query parameter
    account_id: Annotated[str | None, QueryParameter(description="Of this account.")] = None,
    project: Annotated[
        str | None, QueryParameter(description="Of this project, by id or key.")
    ] = None,
    request_id: Annotated[str | None, QueryParameter(description="Of this request.")] = None,
    model: Annotated[
        str | None,
        QueryParameter(
            description="Answered by this model (id or alias), or asked of the project's model with"
            " this key."
        ),
    ] = None,
    session_id: Annotated[str | None, QueryParameter(description="Of this session.")] = None,
    user: Annotated[str | None, QueryParameter(description="Of this end user.")] = None,
    label: Annotated[
        list[str] | None,
        QueryParameter(description="With this label, `NAME:VALUE` or `NAME`. May be repeated."),
    ] = None,
    tag: Annotated[
        list[str] | None, QueryParameter(description="With this tag. May be repeated.")
    ] = None,
    campaign: Annotated[
        str | None, QueryParameter(description="Of this campaign, by id or key.")
    ] = None,
    arm: Annotated[str | None, QueryParameter(description="Meant for this arm of it.")] = None,
    status: Annotated[UsageStatus | None, QueryParameter(description="Ended like this.")] = None,
    source: Annotated[
        InteractionSource | None, QueryParameter(description="Answered here, or told of.")
    ] = None,
    metric: Annotated[
        str | None, QueryParameter(description="With feedback of this metric, by id or key.")
    ] = None,
    search: Annotated[
        str | None,
        QueryParameter(description='Words that all occur in it; `"in quotes"`: a phrase.'),
    ] = None,
    from_at: Annotated[
        datetime | None, QueryParameter(name="from", description="Made at that moment or later.")
    ] = None,
    to_at: Annotated[
        datetime | None, QueryParameter(name="to", description="Made before that moment.")
    ] = None,
) -> Wanted:
    question = InteractionQuestion(
        project=project,
        request_id=request_id,
        model=model,
        session_id=session_id,
        user=user,
        labels=tuple(label or ()),
        tags=tuple(tag or ()),
        campaign=campaign,
        arm=arm,
        status=status,
        source=source,
        metric=metric,
        search=search,
        from_at=zoned(from_at, "from"),
        to_at=zoned(to_at, "to"),
    )
    return Wanted(account_id=account_id, question=question)


ForWanted = NamedDependency[SkipValidation[Wanted]]


class Interactions(Controller):
    path = "/interactions"
    tags = ("interactions",)

    @get(sync_to_thread=True, summary="Interactions, newest first")
    def list_interactions(
        self,
        administration: ForActor,
        wanted: ForWanted,
        content: Annotated[bool, QueryParameter(description="With their words.")] = True,
        cursor: TextCursor = None,
        limit: Limit = 100,
    ) -> Page[InteractionRow]:
        try:
            page = administration.interactions.page(
                wanted.question,
                account_id=wanted.account_id,
                before=cursor or None,
                limit=limit,
                with_content=content,
            )
        except InvalidRequest as error:
            if error.param == "before":
                raise unknown_cursor() from None
            raise
        return Page(data=page.rows, next_cursor=page.before)

    @get("/export", summary="All that match, the oldest first, as JSON lines")
    async def export_interactions(
        self,
        administration: ForActor,
        wanted: ForWanted,
        layout: Annotated[
            ExportLayout,
            QueryParameter(
                name="format",
                description="`chat`: what was answered well, as fine-tuning tools read it. `full`:"
                " everything.",
            ),
        ] = "chat",
    ) -> Stream:
        interactions = await asyncio.to_thread(lambda: administration.interactions)
        pieces = await asyncio.to_thread(
            interactions.export, wanted.question, layout, account_id=wanted.account_id
        )
        # The first piece is made before the answer begins: what fails at once has its own status.
        first = await asyncio.to_thread(next, pieces, b"")
        return Stream(
            rest_of(first, pieces),
            media_type="application/jsonl",
            headers={"content-disposition": 'attachment; filename="interactions.jsonl"'},
        )

    @get("/{completion_id:str}", sync_to_thread=True, summary="One interaction")
    def show_interaction(self, administration: ForActor, completion_id: Id) -> InteractionRow:
        return administration.interactions.find(completion_id)

    @delete(
        "/{completion_id:str}",
        sync_to_thread=True,
        summary="Delete an interaction with what was said of it; what it was charged stays",
    )
    def delete_interaction(self, administration: ForActor, completion_id: Id) -> None:
        administration.interactions.delete(completion_id)


class Users(Controller):
    path = "/accounts/{account_id:str}/users"
    tags = ("interactions",)

    @delete(
        "/{user:path}",
        sync_to_thread=True,
        status_code=200,
        summary="Erase all that is kept of an end user, wherever it is",
    )
    def erase_user(
        self, administration: ForActor, account_id: Id, user: PathText, request: AnyRequest
    ) -> Erasure:
        return administration.interactions.erase_user(account_id, exact_rest(request, user))
