"""What requests do to balances, leases, the ledger and usage records: the writer's statements."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy.sql import ClauseElement

STATEMENTS: Mapping[str, ClauseElement] = {}
