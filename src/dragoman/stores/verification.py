"""Recomputes every balance and sum from the ledger and the records."""

from __future__ import annotations

import sqlite3


def differences(connection: sqlite3.Connection) -> list[str]:
    """One sentence for each difference."""
    rows = connection.execute(
        "SELECT account_id, free, coalesce((SELECT sum(CASE WHEN to_book = 'free' THEN amount ELSE 0 END)"
        " - sum(CASE WHEN from_book = 'free' THEN amount ELSE 0 END) FROM ledger"
        " WHERE ledger.account_id = balances.account_id), 0) FROM balances"
    )
    return [
        f"account '{account}' has {free} free, and its ledger says {expected}"
        for account, free, expected in rows
        if free != expected
    ]
