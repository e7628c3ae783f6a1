"""One data directory with accounts in it, tills on it, and a recount of all money by plain SQL."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import msgspec

from dragoman.chat import NanoUSD, Usage
from dragoman.records.account import Account, AccountId
from dragoman.records.hold import Hold, HoldAsk, Quote, WorstRate
from dragoman.records.key import KeyId
from dragoman.records.price import MILLION
from dragoman.records.usage_record import UsageRecord, UsageStatus
from dragoman.stores import open_store
from dragoman.stores.ledger.jobs import HoldJob, ReturnJob
from dragoman.stores.ledger.till import Till, open_till

KEY = KeyId("key_0123456789abcdefghij")
START_S = 1_790_000_000.0
"""A day in September 2026."""


class FakeClock:
    def __init__(self) -> None:
        self.now_s = START_S

    def monotonic_s(self) -> float:
        return self.now_s

    def unix_s(self) -> float:
        return self.now_s


class Desk:
    """`slice_nano_usd` is 1,000 unless said otherwise, so that sums stay readable."""

    def __init__(self, data_dir: Path, *, workers: int = 2, slice_nano_usd: int = 1000) -> None:
        self.data_dir = data_dir
        self.clock = FakeClock()
        self.store = open_store(data_dir)
        self.workers = workers
        self.slice_nano_usd = slice_nano_usd
        self._requests = 0
        self._top_ups = 0

    def account(
        self, name: str, *, top_up: int = 0, is_prepaid: bool = True, **fields: object
    ) -> Account:
        account = msgspec.structs.replace(
            Account(id=AccountId(f"acct_{name}"), name=name, is_prepaid=is_prepaid), **fields
        )
        self.store.add_account(account)
        if top_up:
            self.top_up(account, top_up)
        return account

    def top_up(self, account: Account, amount: int) -> None:
        self._top_ups += 1
        self.store.post_money(
            account.id,
            NanoUSD(amount),
            "top_up",
            f"top-up-{self._top_ups}",
            at_s=self.clock.now_s,
        )

    def till(self) -> Till:
        return open_till(
            self.data_dir, self.clock, workers=self.workers, slice_nano_usd=self.slice_nano_usd
        )

    def ask(
        self,
        account: Account,
        amount: int,
        *,
        quote: Quote | None = None,
        started_s: float | None = None,
        **fields: object,
    ) -> HoldAsk:
        """A wish for a hold of `amount`."""
        self._requests += 1
        intent = UsageRecord(
            request_id=f"req-{self._requests}",
            account_id=account.id,
            key_id=KEY,
            dialect="openai",
            model_asked="m",
            model="m",
            started_s=self.clock.now_s if started_s is None else started_s,
            status="interrupted",
        )
        return HoldAsk(
            account=account,
            quote=quote_of(amount) if quote is None else quote,
            intent=msgspec.structs.replace(intent, **fields),
        )

    def hold(self, till: Till, ask: HoldAsk) -> Hold:
        """As an event loop gets it. Raises `InsufficientCredits`."""
        now = till.hold_unasked(ask, self.clock.now_s)
        if now is not None:
            return now
        job = HoldJob(ask)
        till.perform([job])
        if job.error is not None:
            raise job.error
        return till.open_hold(ask, job.amount, job.max_output_tokens)

    def settle(
        self, till: Till, ask: HoldAsk, hold: Hold, cost: int, status: UsageStatus = "ok"
    ) -> UsageRecord:
        job = till.close_hold(hold, ended(ask, cost, status))
        assert job is not None
        till.perform([job])
        till.clear(job)
        assert job.kept is not None
        return job.kept

    def answer_epochs(self, till: Till) -> None:
        """What the loop of `till` does every few milliseconds."""
        jobs = till.returns()
        if jobs:
            till.perform(jobs)
            for job in jobs:
                assert isinstance(job, ReturnJob)
                till.returned(job)

    def free(self, account: Account) -> int:
        found = self.value("SELECT free FROM balances WHERE account_id = ?", account.id)
        assert isinstance(found, int)
        return found

    def value(self, sql: str, *values: object) -> object:
        row = self.row(sql, *values)
        return row[0] if row else None

    def row(self, sql: str, *values: object) -> tuple[object, ...] | None:
        rows = self.rows(sql, *values)
        return rows[0] if rows else None

    def rows(self, sql: str, *values: object) -> list[tuple[object, ...]]:
        connection = sqlite3.connect(self.data_dir / "dragoman.db")
        try:
            return connection.execute(sql, values).fetchall()
        finally:
            connection.close()


def quote_of(amount: int) -> Quote:
    """Holds `amount`, whatever the answer's length."""
    return Quote(rates=(WorstRate(amount * MILLION, 0),), asked_output_tokens=10)


def ended(ask: HoldAsk, cost: int, status: UsageStatus = "ok") -> UsageRecord:
    return msgspec.structs.replace(
        ask.intent,
        status=status,
        cost_nano_usd=NanoUSD(cost),
        usage=Usage(input_tokens=7, output_tokens=3),
        http_status=200,
    )


def crash(till: Till) -> None:
    """End `till` as `kill -9` ends its process: nothing is written, and the kernel lets go of its lock."""
    till.connection.close()
    till.worker.words.close()
    journal = till.worker.journal
    for segment in journal._segments:
        # A mapping keeps a descriptor of its own, and with it the lock.
        segment.close()
    os.close(journal._file)


def differences(data_dir: Path) -> list[str]:
    """Recount every account from the ledger alone; one line for whatever is not as it says."""
    connection = sqlite3.connect(data_dir / "dragoman.db")
    try:
        found: list[str] = []
        for (account_id,) in connection.execute("SELECT account_id FROM balances").fetchall():
            found += _differences_of(connection, account_id)
        charged = connection.execute(
            "SELECT request_id, cost FROM usage_records WHERE cost > 0 EXCEPT "
            "SELECT request_id, amount FROM ledger WHERE kind IN ('settlement', 'grant')"
        ).fetchall()
        posted = connection.execute(
            "SELECT request_id, amount FROM ledger WHERE kind IN ('settlement', 'grant') EXCEPT "
            "SELECT request_id, cost FROM usage_records"
        ).fetchall()
        found += [f"charged, not posted: {row}" for row in charged]
        found += [f"posted, not charged: {row}" for row in posted]
        for table in ("usage_days", "usage_records"):
            sums = connection.execute(f"SELECT coalesce(sum(cost), 0) FROM {table}").fetchone()
            posted_sum = connection.execute(
                "SELECT coalesce(sum(amount), 0) FROM ledger WHERE kind IN ('settlement', 'grant')"
            ).fetchone()
            if sums != posted_sum:
                found.append(f"{table} sums to {sums}, the ledger to {posted_sum}")
        return found
    finally:
        connection.close()


def _differences_of(connection: sqlite3.Connection, account_id: str) -> list[str]:
    free = connection.execute(
        "SELECT free FROM balances WHERE account_id = ?", (account_id,)
    ).fetchone()[0]
    leased = connection.execute(
        "SELECT coalesce(sum(amount), 0) FROM leases WHERE account_id = ?", (account_id,)
    ).fetchone()[0]
    found = []
    for book, held in (("free", free), ("held", leased)):
        expected = connection.execute(
            "SELECT coalesce(sum(CASE WHEN to_book = ? THEN amount ELSE 0 END), 0)"
            " - coalesce(sum(CASE WHEN from_book = ? THEN amount ELSE 0 END), 0)"
            " FROM ledger WHERE account_id = ?",
            (book, book, account_id),
        ).fetchone()[0]
        if expected != held or held < 0:
            found.append(f"{account_id} has {held} {book}, and the ledger says {expected}")
    return found
