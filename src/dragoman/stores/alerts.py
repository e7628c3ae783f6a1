"""The outbox of alerts: rows are written where money moves, and sent by one process."""

from __future__ import annotations

import msgspec

from dragoman.records.account import AccountId
from dragoman.records.alert import Alert
from dragoman.stores.compiled import alerts as sql
from dragoman.stores.database import Area, Values
from dragoman.stores.paging import page_size

_MAX_ERROR_CHARS = 500


class AlertArea(Area):
    def add_alert(
        self, account_id: AccountId, occasion: str, payload: msgspec.Raw, at_s: float
    ) -> bool:
        """Whether it is new: an account is told of each occasion once."""
        changed = self._database.change(
            sql.SQLITE_ADD_ALERT,
            {
                "account_id": account_id,
                "occasion": occasion,
                "payload": bytes(payload).decode(),
                "created_s": at_s,
                "attempts": 0,
                "next_attempt_s": at_s,
                "delivered_s": None,
                "last_error": None,
            },
        )
        return changed == 1

    def due_alerts(self, now_s: float, limit: int = 100) -> list[Alert]:
        """Those to be sent by now, oldest first."""
        rows = self._database.rows(sql.SQLITE_LIST_DUE, {"now_s": now_s, "limit": page_size(limit)})
        return [
            Alert(
                sequence=sequence,
                account_id=account_id,
                occasion=occasion,
                payload=msgspec.Raw(payload.encode()),
                created_s=created_s,
                attempts=attempts,
                next_attempt_s=next_attempt_s,
                delivered_s=delivered_s,
                last_error=last_error,
            )
            for (
                sequence,
                account_id,
                occasion,
                payload,
                created_s,
                attempts,
                next_attempt_s,
                delivered_s,
                last_error,
            ) in rows
        ]

    def next_alert_s(self) -> float | None:
        """When the next one is due; `None`: none waits."""
        due_s: float | None = self._database.rows(sql.SQLITE_NEXT_DUE, {})[0][0]
        return due_s

    def note_delivery(self, sequence: int, at_s: float) -> None:
        self._database.change(sql.SQLITE_DELIVERED, {"alert": sequence, "at_s": at_s})

    def note_failed_delivery(self, sequence: int, reason: str, retry_s: float | None) -> None:
        """`None`: it is given up."""
        values: Values = {
            "alert": sequence,
            "reason": reason[:_MAX_ERROR_CHARS],
            "retry_s": retry_s,
        }
        self._database.change(sql.SQLITE_FAILED, values)
