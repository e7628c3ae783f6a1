"""Accounts of a running server, and its books as another process sees them at any moment."""

from __future__ import annotations

import itertools
import sqlite3
import time
from collections import Counter
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import msgspec

from dragoman.chat import NanoUSD
from dragoman.policy.keys import mint_key
from dragoman.records.account import Account, AccountId
from dragoman.records.limits import NO_LIMITS, Limits
from dragoman.stores import Store
from dragoman.stores.connection import DATABASE_NAME

_numbers = itertools.count(1)


@dataclass(frozen=True)
class Look:
    """An account's books at one moment: read in one statement, so that nothing moved meanwhile."""

    free: int
    leased: int
    charged: int
    is_exact: bool

    @property
    def total(self) -> int:
        return self.free + self.leased + self.charged


_LOOK = """
SELECT free, (SELECT coalesce(sum(amount), 0) FROM leases WHERE account_id = :account),
       (SELECT coalesce(sum(cost), 0) FROM usage_records WHERE account_id = :account), is_exact
FROM balances WHERE account_id = :account
"""


class Payer:
    """An account with a key, made beside the running server."""

    def __init__(
        self,
        store: Store,
        data_dir: Path,
        balance: int = 0,
        *,
        limits: Limits = NO_LIMITS,
        **fields: object,
    ) -> None:
        number = next(_numbers)
        self._store = store
        self._path = data_dir / DATABASE_NAME
        account = Account(id=AccountId(f"acct_{number:020}"), name=f"payer {number}")
        self.account = msgspec.structs.replace(account, **fields)
        self.topped_up = 0
        self.latest = 0
        """Of the top-ups."""
        store.add_account(self.account)
        self.key, key = mint_key(f"key {number}", time.time())
        self.key_id = key.id
        store.add_key(msgspec.structs.replace(key, account_id=account.id, limits=limits))
        if balance:
            self.top_up(balance)

    def top_up(self, amount: int) -> None:
        self.latest = amount
        self.topped_up += amount
        self._store.post_money(
            self.account.id,
            NanoUSD(amount),
            "top_up",
            f"{self.account.id} {self.topped_up}",
            at_s=time.time(),
        )

    def look(self) -> Look:
        with closing(sqlite3.connect(f"file:{self._path}?mode=ro", uri=True)) as connection:
            free, leased, charged, is_exact = connection.execute(
                _LOOK, {"account": self.account.id}
            ).fetchone()
        return Look(free, leased, charged, bool(is_exact))

    @property
    def statuses(self) -> Counter[str]:
        """How the requests ended of which there is a record by now."""
        question = "SELECT status FROM usage_records WHERE account_id = ?"
        with closing(sqlite3.connect(f"file:{self._path}?mode=ro", uri=True)) as connection:
            return Counter(status for (status,) in connection.execute(question, [self.account.id]))
