"""Verification finds nothing in sound books, and names each kind of difference in others."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from tests.stores.kept_usage import keep, sample

from dragoman.chat import NanoUSD
from dragoman.records.account import DEFAULT_ACCOUNT, Account, AccountId
from dragoman.stores import Store, open_store
from dragoman.stores.connection import DATABASE_NAME

PAID = AccountId("acct_paid")
STARTED_S = datetime(2026, 11, 22, 12, tzinfo=UTC).timestamp()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """Requests that the house paid for, and a prepaid account of which a process has leased a part."""
    store = open_store(tmp_path)
    connection = sqlite3.connect(tmp_path / DATABASE_NAME)
    keep(
        connection,
        [
            sample(number, started_s=STARTED_S + number, cost=number * 10, labels=(("team", "x"),))
            for number in range(5)
        ],
    )
    store.add_account(Account(id=PAID, name="paid"))
    store.post_money(PAID, NanoUSD(1000), "top_up", "t1", at_s=1.0)
    with connection:
        connection.execute("UPDATE balances SET month = 202611, month_spent = 100 WHERE free = 0")
        connection.execute("UPDATE balances SET free = 700 WHERE account_id = ?", (PAID,))
        connection.execute("INSERT INTO leases VALUES ('w1', ?, 300)", (PAID,))
        connection.execute("INSERT INTO leases VALUES ('w1.house', ?, 50)", (DEFAULT_ACCOUNT,))
        connection.executemany(
            "INSERT INTO ledger (posted_s, kind, account_id, amount, from_book, to_book, idempotency_key)"
            " VALUES (1.0, 'hold', ?, ?, ?, 'held', ?)",
            [(PAID, 300, "free", "h1"), (DEFAULT_ACCOUNT, 50, "house", "h2")],
        )
    connection.close()
    yield store
    store.close()


def test_sound_books_verify(store: Store) -> None:
    assert store.verify() == []
    balance = store.balance(PAID, STARTED_S)
    assert (balance.free_nano_usd, balance.held_nano_usd) == (700, 300)
    assert store.balance(DEFAULT_ACCOUNT, STARTED_S).held_nano_usd == 0


CHANGES = {
    "UPDATE balances SET free = 701 WHERE account_id = 'acct_paid'": (
        "account 'acct_paid': the free balance is 701, and by the ledger it should be 700 nano-USD"
    ),
    "DELETE FROM balances WHERE account_id = 'acct_paid'": (
        "account 'acct_paid': the free balance is 0, and by the ledger it should be 700 nano-USD"
    ),
    "UPDATE leases SET amount = 299 WHERE worker_id = 'w1'": (
        "account 'acct_paid': processes have leased 299 of its balance,"
        " and by the ledger 300 nano-USD are held"
    ),
    "DELETE FROM leases WHERE worker_id = 'w1.house'": (
        "account 'acct_default': processes have leased 0 of the house,"
        " and by the ledger 50 nano-USD are held"
    ),
    "UPDATE usage_records SET cost = 31 WHERE request_id = 'req_3'": (
        "account 'acct_default': request 'req_3' has a record with a cost of 31,"
        " and in the ledger a charge of 30 nano-USD"
    ),
    "UPDATE ledger SET account_id = 'acct_paid' WHERE request_id = 'req_3'": (
        "account 'acct_default': request 'req_3' has a record with a cost of 30,"
        " and in the ledger a charge of 30 nano-USD"
    ),
    "DELETE FROM ledger WHERE request_id = 'req_3'": (
        "account 'acct_default': request 'req_3' has a record with a cost of 30,"
        " and in the ledger no charge"
    ),
    "DELETE FROM usage_records WHERE request_id = 'req_3'": (
        "account 'acct_default': request 'req_3' was charged 30 nano-USD,"
        " and has no record with a cost"
    ),
    "UPDATE usage_records SET cost = 0 WHERE request_id = 'req_3'": (
        "account 'acct_default': request 'req_3' was charged 30 nano-USD,"
        " and has no record with a cost"
    ),
    "UPDATE usage_days SET cost = cost + 1": (
        "account 'acct_default': the sums by day cost 101, and the ledger has charged 100 nano-USD"
    ),
    "UPDATE usage_days SET output_tokens = 9, requests = 4": (
        "account 'acct_default', key 'key_a', project '', model 'm', status 'ok': the sums of 2026-11-22"
        " differ from its records: requests 4 instead of 5, output tokens 9 instead of 10"
    ),
    "UPDATE usage_days SET day = day + 1": (
        "account 'acct_default', key 'key_a', project '', model 'm', status 'ok': the sums of 2026-11-23"
        " differ from its records: requests 5 instead of 0, input tokens 60 instead of 0,"
        " cached input tokens 5 instead of 0, cache write tokens 10 instead of 0,"
        " output tokens 10 instead of 0, reasoning tokens 15 instead of 0, cost 100 instead of 0,"
        " estimated requests 2 instead of 0"
    ),
    "UPDATE usage_labels SET estimated = 0": (
        "account 'acct_default', label 'team', value 'x': the sums of 2026-11-22 differ from its records:"
        " estimated requests 0 instead of 2"
    ),
    "UPDATE ledger SET kind = 'refund' WHERE idempotency_key = 't1'": (
        "account 'acct_paid': entry 5 of the ledger moves from 'outside' to 'free',"
        " which no 'refund' does"
    ),
    "DELETE FROM accounts WHERE id = 'acct_paid'": (
        "account 'acct_paid': it has a balance, and does not exist"
    ),
    "DELETE FROM balances WHERE account_id = 'acct_default'": (
        "account 'acct_default': it has no balance, not even of 0"
    ),
    "UPDATE balances SET month_spent = 99 WHERE month = 202611": (
        "account 'acct_default': 99 nano-USD count as spent in month 202611,"
        " and by its records it should be 100"
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_each_difference_is_named(store: Store, tmp_path: Path, change: str) -> None:
    connection = sqlite3.connect(tmp_path / DATABASE_NAME)
    with connection:
        assert connection.execute(change).rowcount == 1 or "usage_days" in change
    connection.close()
    assert CHANGES[change] in store.verify()


def test_what_no_constraint_would_let_in_is_named_too(store: Store, tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / DATABASE_NAME)
    connection.execute("PRAGMA ignore_check_constraints=ON")
    with connection:
        connection.execute("UPDATE balances SET free = -5 WHERE account_id = ?", (PAID,))
        connection.execute("UPDATE leases SET amount = -1 WHERE account_id = ?", (PAID,))
    connection.close()
    found = store.verify()
    assert f"account '{PAID}': the free balance is below 0: -5 nano-USD" in found
    assert f"account '{PAID}': a lease is below 0: -1 nano-USD" in found


def test_a_month_begins_where_the_account_is(store: Store, tmp_path: Path) -> None:
    # Vienna's December begins an hour before Greenwich's.
    (default,) = [account for account in store.list_accounts() if account.id == DEFAULT_ACCOUNT]
    connection = sqlite3.connect(tmp_path / DATABASE_NAME)
    late_s = datetime(2026, 11, 30, 23, 30, tzinfo=UTC).timestamp()
    keep(connection, [sample(9, started_s=late_s, cost=7)])
    assert len(store.verify()) == 1
    # In Kiritimati it has begun before noon; in Honolulu it has not.
    keep(connection, [sample(10, started_s=late_s - 12 * 3600, cost=3)])
    for time_zone, spent in (
        ("Pacific/Kiritimati", 100),
        ("Pacific/Honolulu", 110),
        ("Europe/Vienna", 103),
    ):
        store.replace_account(msgspec.structs.replace(default, time_zone=time_zone))
        assert store.verify() == []
        assert store.balance(DEFAULT_ACCOUNT, STARTED_S).month_spent_nano_usd == spent
    assert store.balance(DEFAULT_ACCOUNT, late_s).month == 202612
    assert store.balance(DEFAULT_ACCOUNT, late_s).month_spent_nano_usd == 0
    assert store.balance(DEFAULT_ACCOUNT, late_s - 3600).month_spent_nano_usd == 103
    connection.close()


def test_a_flood_of_differences_is_bounded(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dragoman.stores.verification.MAX_DIFFERENCES", 2)
    connection = sqlite3.connect(tmp_path / DATABASE_NAME)
    with connection:
        connection.execute("UPDATE usage_records SET cost = cost + 1")
    connection.close()
    assert len(store.verify()) == 2
