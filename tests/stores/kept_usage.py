"""Usage records and their money, kept as the ledger keeps them, for tests of what is asked about them."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from dragoman.chat import NanoUSD, Usage
from dragoman.records.account import DEFAULT_ACCOUNT, AccountId
from dragoman.records.key import KeyId
from dragoman.records.usage_record import UsageRecord, UsageStatus
from dragoman.stores.appending import positional
from dragoman.stores.compiled import ledger as sql
from dragoman.stores.ledger.rows import Rollups, record_row

DAY_S = 86_400.0


def sample(
    number: int,
    *,
    account: str = DEFAULT_ACCOUNT,
    key: str = "key_a",
    project: str | None = None,
    model: str | None = "m",
    status: UsageStatus = "ok",
    started_s: float | None = None,
    cost: int = 0,
    labels: tuple[tuple[str, str], ...] = (),
    session_id: str | None = None,
    user: str | None = None,
) -> UsageRecord:
    return UsageRecord(
        request_id=f"req_{number}",
        account_id=AccountId(account),
        key_id=KeyId(key),
        project=project,
        dialect="openai",
        model_asked=model,
        model=model,
        provider="p",
        is_stream=number % 2 == 0,
        usage=Usage(
            input_tokens=10 + number,
            output_tokens=number,
            cached_input_tokens=1,
            cache_write_tokens=2,
            reasoning_tokens=3,
            is_estimated=number % 3 == 0,
        ),
        cost_nano_usd=NanoUSD(cost),
        hold_nano_usd=NanoUSD(cost + 1),
        started_s=float(number) if started_s is None else started_s,
        total_ms=1.5,
        status=status,
        finish_reason="stop",
        http_status=200,
        session_id=session_id,
        user=user,
        labels=labels,
    )


def keep(
    connection: sqlite3.Connection, records: Sequence[UsageRecord], *, is_prepaid: bool = False
) -> None:
    """Records, sums, and charges: of the accounts' balances, or paid for by the house."""
    rollups = Rollups()
    for record in records:
        rollups.add(record, record.cost_nano_usd)
    moves = (
        (("hold", "free", "held", "hold"), ("settlement", "held", "revenue", "settlement"))
        if is_prepaid
        else (("grant", "house", "revenue", "settlement"),)
    )
    charged = [record for record in records if record.cost_nano_usd]
    entries = [
        (
            record.started_s,
            kind,
            record.account_id,
            record.cost_nano_usd,
            giver,
            taker,
            f"{key}:{record.request_id}",
            record.request_id,
            None,
        )
        for record in charged
        for kind, giver, taker, key in moves
    ]
    with connection:
        connection.executemany(
            positional(sql.SQLITE_ADD_RECORD),
            [record_row(record, record.cost_nano_usd, record.hold_nano_usd) for record in records],
        )
        connection.executemany(positional(sql.SQLITE_ADD_DAY), rollups.days())
        connection.executemany(positional(sql.SQLITE_ADD_LABEL), rollups.labels())
        connection.executemany(positional(sql.SQLITE_ADD_ENTRY), entries)
        if is_prepaid:
            connection.executemany(
                "UPDATE balances SET free = free - ? WHERE account_id = ?",
                [(record.cost_nano_usd, record.account_id) for record in charged],
            )
