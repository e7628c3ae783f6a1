"""`/admin/v1/audit`: who changed what, and when."""

from __future__ import annotations

from typing import Annotated

from litestar import Controller, get
from litestar.params import QueryParameter

from dragoman.web.admin.parameters import Cursor, ForActor, Limit, before
from dragoman.web.admin.views import EventView, Page, event_view, page_of


class Audit(Controller):
    path = "/audit"
    tags = ("audit",)

    @get(sync_to_thread=True, summary="Changes, newest first")
    def list_events(
        self,
        administration: ForActor,
        subject: Annotated[
            str | None, QueryParameter(max_length=200, description="The id of what was changed.")
        ] = None,
        cursor: Cursor = None,
        limit: Limit = 100,
    ) -> Page[EventView]:
        events = administration.audit(subject=subject, before=before(cursor), limit=limit)
        last = events[-1][0] if events else None
        return page_of([event_view(*event) for event in events], limit, last)
