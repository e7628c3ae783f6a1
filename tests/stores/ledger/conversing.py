"""A process that settles requests with their conversations until it is killed: `conversing.py DATA_DIR ACCOUNT`.

Prints the id of each request that was settled.
"""

from __future__ import annotations

import asyncio
import itertools
import sys
import uuid
from pathlib import Path

import msgspec
from tests.stores.kept_interactions import content, sample
from tests.stores.ledger.desk import KEY, quote_of
from tests.stores.ledger.hammer import RealClock

from dragoman.chat import NanoUSD
from dragoman.records.account import Account, AccountId
from dragoman.records.hold import HoldAsk
from dragoman.records.interaction import Interaction
from dragoman.records.usage_record import UsageRecord
from dragoman.stores.ledger import open_ledger

CLIENTS = 16


def conversation(record: UsageRecord) -> tuple[Interaction, ...]:
    return (
        sample(
            0,
            completion_id=str(uuid.uuid4()),
            request_id=record.request_id,
            account_id=record.account_id,
            created_s=record.started_s,
            cost_nano_usd=record.cost_nano_usd,
            content=content("what is it?"),
        ),
    )


async def converse(data_dir: Path, account_id: str) -> None:
    account = Account(id=AccountId(account_id), name=account_id)
    clock = RealClock()
    ledger = open_ledger(data_dir, clock)
    numbers = itertools.count()

    async def client() -> None:
        while True:
            intent = UsageRecord(
                request_id=f"req_{next(numbers)}",
                account_id=account.id,
                key_id=KEY,
                dialect="openai",
                started_s=clock.unix_s(),
                status="interrupted",
            )
            ask = HoldAsk(account=account, quote=quote_of(100), intent=intent)
            hold = ledger.hold_now(ask) or await ledger.hold(ask)
            ended = msgspec.structs.replace(intent, status="ok", cost_nano_usd=NanoUSD(7))
            await ledger.settle(hold, ended, keep=conversation)
            print(intent.request_id, flush=True)

    await asyncio.gather(*(client() for _ in range(CLIENTS)))


if __name__ == "__main__":
    asyncio.run(converse(Path(sys.argv[1]), sys.argv[2]))
