"""The log of what people changed. It is only added to."""

from __future__ import annotations

import msgspec

from dragoman.records.audit_event import AuditEvent
from dragoman.stores.compiled import audit as sql
from dragoman.stores.database import Area, Value
from dragoman.stores.paging import first_before, page_size


class AuditArea(Area):
    def add_event(self, event: AuditEvent) -> None:
        values: dict[str, Value] = {
            "at_s": event.at_s,
            "actor": event.actor,
            "action": event.action,
            "subject": event.subject,
            "detail": bytes(event.detail).decode(),
        }
        self._database.change(sql.SQLITE_ADD_EVENT, values)

    def list_events(
        self, *, subject: str | None = None, before: int | None = None, limit: int = 100
    ) -> list[tuple[int, AuditEvent]]:
        values: dict[str, Value] = {"before": first_before(before), "limit": page_size(limit)}
        statement = sql.SQLITE_LIST_EVENTS
        if subject is not None:
            statement = sql.SQLITE_LIST_EVENTS_OF
            values["subject"] = subject
        return [
            (
                sequence,
                AuditEvent(
                    at_s=at_s,
                    actor=actor,
                    action=action,
                    subject=subject_,
                    detail=msgspec.Raw(detail.encode()),
                ),
            )
            for sequence, at_s, actor, action, subject_, detail in self._database.rows(
                statement, values
            )
        ]
