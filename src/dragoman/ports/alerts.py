"""The Protocol of the outbox of alerts."""

from __future__ import annotations

from typing import Protocol

from dragoman.records.alert import Alert


class AlertOutbox(Protocol):
    """Alerts are put in where money moves, in the same transaction."""

    def due_alerts(self, now_s: float, limit: int = 100) -> list[Alert]:
        """Those to be sent by now, oldest first."""
        ...

    def next_alert_s(self) -> float | None:
        """When the next one is due; `None`: none waits."""
        ...

    def note_delivery(self, sequence: int, at_s: float) -> None: ...

    def note_failed_delivery(self, sequence: int, reason: str, retry_s: float | None) -> None:
        """`None`: it is given up."""
        ...
