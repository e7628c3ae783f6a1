"""A process that asks for holds as fast as it can: `hammer.py DATA_DIR ACCOUNT ATTEMPTS CLIENTS AMOUNT COST`.

Waits for a line on standard input, so that several begin together; prints how many were granted.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from pathlib import Path

import msgspec
from tests.stores.ledger.desk import KEY, quote_of

from dragoman.chat import NanoUSD
from dragoman.errors import InsufficientCredits
from dragoman.records.account import Account, AccountId
from dragoman.records.hold import HoldAsk
from dragoman.records.usage_record import UsageRecord
from dragoman.stores.ledger import open_ledger


class RealClock:
    def monotonic_s(self) -> float:
        return time.monotonic()

    def unix_s(self) -> float:
        return time.time()


async def hammer(
    data_dir: Path, account_id: str, attempts: int, clients: int, amount: int, cost: int
) -> int:
    account = Account(id=AccountId(account_id), name=account_id)
    ledger = open_ledger(data_dir, RealClock(), workers=2, slice_nano_usd=1000)
    granted = 0
    print("ready", flush=True)
    sys.stdin.readline()

    async def client(number: int) -> None:
        nonlocal granted
        for attempt in range(attempts):
            intent = UsageRecord(
                request_id=f"{os.getpid()}-{number}-{attempt}",
                account_id=account.id,
                key_id=KEY,
                dialect="openai",
                started_s=time.time(),
                status="interrupted",
            )
            ask = HoldAsk(account=account, quote=quote_of(amount), intent=intent)
            try:
                hold = ledger.hold_now(ask) or await ledger.hold(ask)
            except InsufficientCredits:
                continue
            granted += 1
            ended = msgspec.structs.replace(intent, status="ok", cost_nano_usd=NanoUSD(cost))
            await ledger.settle(hold, ended)

    await asyncio.gather(*(client(number) for number in range(clients)))
    await ledger.aclose()
    return granted


if __name__ == "__main__":
    path, account_name, *numbers = sys.argv[1:]
    print(asyncio.run(hammer(Path(path), account_name, *map(int, numbers))))
