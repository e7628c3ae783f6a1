"""An account with money in it, a server's settings for it, and what its books must say afterwards."""

from __future__ import annotations

import sqlite3
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import msgspec
from tests.crash.judge import Answer
from tests.scripted_provider import ScriptedProvider

from dragoman.chat import NanoUSD
from dragoman.policy.keys import mint_key
from dragoman.records.account import Account, AccountId
from dragoman.stores import open_store
from dragoman.stores.connection import DATABASE_NAME

PAYER = AccountId("acct_payer000000000000000")
PAYER_KEY = "drg_sk_" + "p" * 32
TOPPED_UP = NanoUSD(100_000_000_000)


def priced_config(provider: ScriptedProvider, **settings: object) -> str:
    """A server with one model, whose tokens cost 2 and 10 dollars a million."""
    lines = "".join(f"{name} = {value}\n" for name, value in settings.items())
    return f"""
embedded_model = false
default_model = "priced"
log_format = "json"
{lines}
[[providers]]
name = "scripted"
wire = "openai"
base_url = "{provider.base_url}"
api_key = "env:SCRIPTED_SECRET"
timeouts = {{ connect_s = 2.0, first_byte_s = 20.0, idle_s = 10.0, total_s = 60.0 }}

[[providers.models]]
id = "priced"
max_output_tokens = 200
price = {{ input = 2.0, cached_input = 0.5, output = 10.0 }}
"""


def open_account(
    data_dir: Path, amount: int = TOPPED_UP, *, is_prepaid: bool = True, **fields: object
) -> None:
    """Make the payer, its key, and what it has paid."""
    store = open_store(data_dir)
    try:
        account = Account(id=PAYER, name="payer", is_prepaid=is_prepaid, created_s=time.time())
        store.add_account(msgspec.structs.replace(account, **fields))
        _, key = mint_key("payer", time.time(), secret=PAYER_KEY)
        store.add_key(msgspec.structs.replace(key, account_id=PAYER))
        if amount:
            store.post_money(PAYER, NanoUSD(amount), "top_up", "first", at_s=time.time())
    finally:
        store.close()


class Books:
    """The books of a stopped server."""

    def __init__(self, data_dir: Path) -> None:
        store = open_store(data_dir)
        try:
            self.differences = store.verify()
            self.balance = store.balance(PAYER, time.time())
        finally:
            store.close()
        connection = sqlite3.connect(data_dir / DATABASE_NAME)
        columns = "request_id, status, input_tokens, output_tokens, cost"
        self.records = connection.execute(
            f"SELECT {columns} FROM usage_records WHERE account_id = ?", (PAYER,)
        ).fetchall()
        self.leased = connection.execute("SELECT coalesce(sum(amount), 0) FROM leases").fetchone()[
            0
        ]
        connection.close()

    @property
    def statuses(self) -> Counter[str]:
        return Counter(status for _, status, *_ in self.records)

    @property
    def charged(self) -> int:
        return sum(cost for *_, cost in self.records)

    def faults(self, answers: Sequence[Answer] = (), topped_up: int = TOPPED_UP) -> list[str]:
        """Everything that must not be: differences, money that is nowhere, answers without a record."""
        faults = list(self.differences)
        total = self.balance.free_nano_usd + self.leased + self.charged
        if total != topped_up:
            faults.append(f"free, leased and charged are {total}, and {topped_up} was topped up")
        for request_id, status, _, _, cost in self.records:
            if cost and status not in ("ok", "client_gone"):
                faults.append(f"{request_id} ended as {status} and was charged {cost}")
        found = Counter(request_id for request_id, *_ in self.records)
        faults += [f"{request_id} has {n} records" for request_id, n in found.items() if n > 1]
        records = {request_id: record for request_id, *record in self.records}
        for answer in answers:
            faults += _faults_of(answer, records.get(answer.request_id))
        return faults


def _faults_of(answer: Answer, record: list[object] | None) -> list[str]:
    if record is None:
        return [f"{answer.request_id} ({answer.form}) was answered and has no record"]
    status, input_tokens, output_tokens, cost = record
    told = {
        "status": ("ok", status),
        "input tokens": (answer.input_tokens, input_tokens),
        "output tokens": (answer.output_tokens, output_tokens),
        "cost": (None if answer.cost is None else round(answer.cost * 1e9), cost),
    }
    return [
        f"{answer.request_id}: the client was told {name} {said}, the record has {kept}"
        for name, (said, kept) in told.items()
        if said is not None and said != kept
    ]
