"""What is kept of a conversation is kept with the charge, or neither is; and no copy costs a settlement."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest
from tests.stores.kept_interactions import completion_id, content, sample
from tests.stores.ledger.desk import Desk, ended

from dragoman.errors import StoreUnavailable
from dragoman.ports.accounting import Keep
from dragoman.records.hold import Hold, HoldAsk
from dragoman.records.interaction import Interaction, InteractionContent
from dragoman.records.interaction_query import InteractionFilter, KeptInteraction
from dragoman.records.usage_record import UsageRecord
from dragoman.stores.ledger import open_ledger
from dragoman.stores.ledger.ledger import SqliteLedger

ROOT = Path(__file__).parents[3]
SECRET = "nobody is to read this in a log"


@pytest.fixture
async def ledger(desk: Desk) -> AsyncIterator[SqliteLedger]:
    ledger = SqliteLedger(desk.till(), desk.clock)
    yield ledger
    await ledger.aclose()


class Talk:
    """Makes copies of a conversation, and remembers how it was asked."""

    def __init__(self, *interactions: Interaction) -> None:
        self.interactions = interactions
        self.asked: list[tuple[UsageRecord, str]] = []
        self.was_asked = threading.Event()

    def __call__(self, record: UsageRecord) -> tuple[Interaction, ...]:
        self.asked.append((record, threading.current_thread().name))
        self.was_asked.set()
        return tuple(
            msgspec.structs.replace(
                each,
                status=record.status,
                cost_nano_usd=record.cost_nano_usd if each.choice == 0 else 0,
            )
            for each in self.interactions
        )


@contextmanager
def unwritable_sums(desk: Desk) -> Iterator[None]:
    """Every transaction that settles fails, after its conversations were made."""
    connection = sqlite3.connect(desk.data_dir / "dragoman.db", isolation_level=None)
    connection.execute(
        "CREATE TRIGGER no BEFORE INSERT ON usage_days BEGIN SELECT no_such_function(); END"
    )
    try:
        yield
    finally:
        connection.execute("DROP TRIGGER no")
        connection.close()


async def held(ledger: SqliteLedger, ask: HoldAsk) -> Hold:
    return ledger.hold_now(ask) or await ledger.hold(ask)


async def settle(desk: Desk, ledger: SqliteLedger, keep: Keep, cost: int = 300) -> UsageRecord:
    account = desk.account(f"a{desk._requests}", top_up=1_000)
    ask = desk.ask(account, 500)
    hold = await held(ledger, ask)
    return await ledger.settle(hold, ended(ask, cost), keep=keep)


def kept(desk: Desk) -> list[KeptInteraction]:
    return list(desk.store.list_interactions(InteractionFilter()).interactions)


async def test_a_conversation_is_kept_with_what_was_charged(
    desk: Desk, ledger: SqliteLedger
) -> None:
    talk = Talk(
        sample(1, content=content("hello")),
        sample(1, completion_id=completion_id(2), choice=1, content=content("hello")),
    )
    # More than the hold and the balance can pay.
    record = await settle(desk, ledger, talk, cost=1_200)
    assert record.cost_nano_usd == 1_000
    assert talk.asked == [(record, "dragoman-ledger")]
    second, first = [each.interaction for each in kept(desk)]
    assert first == msgspec.structs.replace(talk.interactions[0], cost_nano_usd=1_000)
    assert second == msgspec.structs.replace(talk.interactions[1], cost_nano_usd=0)
    assert desk.value("SELECT sum(cost) FROM interactions") == 1_000


async def test_settling_twice_keeps_one_conversation(desk: Desk, ledger: SqliteLedger) -> None:
    ask = desk.ask(desk.account("a", top_up=1_000), 500)
    hold = await held(ledger, ask)
    talk = Talk(sample(1))
    await ledger.settle(hold, ended(ask, 300), keep=talk)
    await ledger.settle(hold, ended(ask, 300), keep=talk)
    assert (len(talk.asked), len(kept(desk))) == (1, 1)


@pytest.mark.parametrize(
    "error",
    [
        ValueError(SECRET),
        KeyError(SECRET),
        TypeError(SECRET),
        ZeroDivisionError(SECRET),
        RecursionError(SECRET),
        AssertionError(SECRET),
        msgspec.ValidationError(SECRET),
        UnicodeEncodeError("utf-8", SECRET, 0, 1, SECRET),
    ],
)
async def test_a_copy_that_fails_costs_no_settlement_and_tells_nothing(
    desk: Desk, ledger: SqliteLedger, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    def fail(_: UsageRecord) -> tuple[Interaction, ...]:
        raise error

    assert (await settle(desk, ledger, fail)).cost_nano_usd == 300
    assert kept(desk) == []
    assert "req-1" in caplog.text
    assert type(error).__name__ in caplog.text
    assert SECRET not in caplog.text


async def test_lone_surrogates_are_replaced_and_hold_nobody_up(
    desk: Desk, ledger: SqliteLedger, caplog: pytest.LogCaptureFixture
) -> None:
    broken = InteractionContent(messages=msgspec.Raw(b"[]"), system_prompt=SECRET + "\ud800")
    strange = sample(
        1,
        user="u\ud800",
        labels=(("team\udfff", "t"),),
        tags=("x\ud800",),
        unit="user:u\ud800",
        campaign_id="c",
        content=broken,
    )
    records = await asyncio.gather(
        settle(desk, ledger, Talk(strange)),
        settle(desk, ledger, Talk(sample(2, content=content("fine")))),
    )
    assert [record.cost_nano_usd for record in records] == [300, 300]
    fine, mended = [each.interaction for each in kept(desk)]
    assert (fine.content is None, mended.content) == (False, None)
    assert (mended.user, mended.labels, mended.tags, mended.unit) == (
        "u?",
        (("team?", "t"),),
        ("x?",),
        "user:u?",
    )
    assert SECRET not in caplog.text


@pytest.mark.parametrize(
    "unwritable",
    [
        {"completion_id": completion_id(1)},
        {"created_s": float("nan")},
        {"project_id": None},
        {"choice": 1 << 70},
        {"labels": ((["no text"], "t"),)},
    ],
)
async def test_rather_the_settlement_alone_than_neither(
    desk: Desk, ledger: SqliteLedger, unwritable: dict[str, object]
) -> None:
    desk.store.add_interaction(sample(1))
    strange = msgspec.structs.replace(sample(2), **unwritable)
    others = [settle(desk, ledger, Talk(sample(number))) for number in (3, 4)]

    def keep(_: UsageRecord) -> tuple[Interaction, ...]:
        return (strange,)

    records = await asyncio.gather(settle(desk, ledger, keep), *others)
    assert [record.cost_nano_usd for record in records] == [300, 300, 300]
    assert len(kept(desk)) == 3


async def test_a_settlement_that_is_tried_again_asks_once(desk: Desk, ledger: SqliteLedger) -> None:
    ask = desk.ask(desk.account("a", top_up=1_000), 500)
    hold = await held(ledger, ask)
    talk = Talk(sample(1))
    with unwritable_sums(desk):
        settled = asyncio.ensure_future(ledger.settle(hold, ended(ask, 300), keep=talk))
        await asyncio.to_thread(talk.was_asked.wait)
    assert (await settled).cost_nano_usd == 300
    assert len(talk.asked) == 1
    assert [each.interaction.status for each in kept(desk)] == ["ok"]


async def test_a_conversation_says_what_its_client_was_told(
    desk: Desk, ledger: SqliteLedger
) -> None:
    ask = desk.ask(desk.account("a", top_up=1_000), 500)
    hold = await held(ledger, ask)
    talk = Talk(sample(1), sample(2, choice=1))
    with unwritable_sums(desk):
        settled = ledger.settle(hold, ended(ask, 300), keep=talk)
        await asyncio.to_thread(talk.was_asked.wait)
        desk.clock.now_s += 11
        with pytest.raises(StoreUnavailable):
            await settled
    await ledger.aclose()
    assert desk.row("SELECT status, cost FROM usage_records") == ("failed", 0)
    assert [
        (each.interaction.status, each.interaction.error, each.interaction.cost_nano_usd)
        for each in kept(desk)
    ] == [("failed", StoreUnavailable.code, 0)] * 2


def test_after_kill_9_each_charge_has_its_conversation_and_none_is_alone(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    account = desk.account("a", top_up=100_000_000)
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.stores.ledger.conversing", str(desk.data_dir), account.id],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    assert process.stdout is not None
    told = {process.stdout.readline().strip() for _ in range(100)}
    process.kill()
    told |= set(process.stdout.read().split("\n")[:-1])
    process.wait()
    process.stdout.close()
    with caplog.at_level(logging.CRITICAL):
        asyncio.run(open_ledger(desk.data_dir, desk.clock).aclose())
    charged = set(desk.rows("SELECT request_id FROM usage_records WHERE cost > 0"))
    conversations = desk.rows("SELECT request_id FROM interactions")
    assert len(conversations) == len(set(conversations))
    assert set(conversations) == charged
    assert {(request_id,) for request_id in told} <= charged
    contents = desk.value("SELECT count(*) FROM interaction_contents")
    assert contents == len(conversations)
