"""The event loop's side: what the request path calls."""

from __future__ import annotations

import asyncio
import resource
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import pytest
from tests.stores.ledger.desk import KEY, START_S, Desk, ended

from dragoman.chat import NanoUSD
from dragoman.errors import Conflict, InsufficientCredits, StoreUnavailable
from dragoman.records.account import Account
from dragoman.records.hold import Hold, HoldAsk
from dragoman.records.idempotency import Claim, KeptAnswer
from dragoman.records.key import Key
from dragoman.stores.ledger.claims import MOST_ANSWER_BYTES
from dragoman.stores.ledger.jobs import HoldJob
from dragoman.stores.ledger.ledger import SqliteLedger
from dragoman.stores.ledger.notes import BURST
from dragoman.stores.ledger.till import FRESH_S


@pytest.fixture
async def ledger(desk: Desk) -> AsyncIterator[SqliteLedger]:
    ledger = SqliteLedger(desk.till(), desk.clock)
    yield ledger
    await ledger.aclose()
    assert desk.rows("SELECT * FROM workers") == desk.rows("SELECT * FROM leases") == []
    assert list((desk.data_dir / "run").glob("*.journal")) == []


async def held(ledger: SqliteLedger, ask: HoldAsk) -> Hold:
    return ledger.hold_now(ask) or await ledger.hold(ask)


def claim_of(name: str, request_id: str = "r-1", body: bytes = bytes(32)) -> Claim:
    return Claim(
        key_id=KEY,
        idempotency_key=name,
        body_hash=body,
        request_id=request_id,
        expires_s=START_S + 3_600,
    )


@contextmanager
def locked(desk: Desk) -> Iterator[None]:
    """Another program keeps the write lock."""
    connection = sqlite3.connect(desk.data_dir / "dragoman.db", isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        connection.execute("ROLLBACK")
        connection.close()


async def test_settlement_is_durable_when_its_future_is_done(
    desk: Desk, ledger: SqliteLedger
) -> None:
    account = desk.account("a", top_up=1_000)
    ask = desk.ask(account, 500)
    hold = await held(ledger, ask)
    kept = await ledger.settle(hold, ended(ask, 300))
    assert kept.cost_nano_usd == 300
    assert desk.row("SELECT cost, status FROM usage_records") == (300, "ok")
    assert desk.free(account) == 700


@pytest.mark.parametrize("covered", [0, 1, 7, 63])
async def test_of_64_at_once_exactly_as_many_are_let_in_as_are_paid_for(
    desk: Desk, ledger: SqliteLedger, covered: int
) -> None:
    account = desk.account("a", top_up=covered * 100 + 99)

    async def ask_one() -> bool:
        try:
            await held(ledger, desk.ask(account, 100))
        except InsufficientCredits:
            return False
        return True

    granted = await asyncio.gather(*(ask_one() for _ in range(64)))
    assert sum(granted) == covered
    for slot in list(ledger._till._open):
        opened = ledger._till._open[slot]
        hold = Hold(
            request_id=opened.request_id,
            account_id=account.id,
            amount=NanoUSD(opened.held),
            max_output_tokens=None,
            slot=slot,
        )
        ask = desk.ask(account, 100, request_id=opened.request_id)
        await ledger.settle(hold, ended(ask, 100))
    assert desk.free(account) == 99


async def test_two_ledgers_let_in_exactly_as_many_as_are_paid_for(desk: Desk) -> None:
    account = desk.account("a", top_up=100_000)
    ledgers = [SqliteLedger(desk.till(), desk.clock) for _ in range(2)]
    spent = 0

    async def client(ledger: SqliteLedger) -> None:
        nonlocal spent
        for _ in range(15):
            ask = desk.ask(account, 500)
            try:
                hold = await held(ledger, ask)
            except InsufficientCredits:
                continue
            kept = await ledger.settle(hold, ended(ask, 500))
            spent += kept.cost_nano_usd

    await asyncio.gather(*(client(ledger) for ledger in ledgers for _ in range(10)))
    assert spent == 100_000
    for ledger in ledgers:
        await ledger.aclose()
    assert desk.free(account) == 0


async def test_hold_from_memory_needs_a_commit_that_succeeded_just_now(
    desk: Desk, ledger: SqliteLedger
) -> None:
    account = desk.account("a", is_prepaid=False)
    ask = desk.ask(account, 1)
    assert ledger.hold_now(ask) is None
    first = await ledger.hold(ask)
    second_ask = desk.ask(account, 1)
    second = ledger.hold_now(second_ask)
    assert second is not None
    desk.clock.now_s += FRESH_S + 0.001
    assert ledger.hold_now(desk.ask(account, 1)) is None
    await ledger.settle(first, ended(ask, 1))
    await ledger.settle(second, ended(second_ask, 1))


async def test_failed_commit_ends_what_an_earlier_one_showed(
    desk: Desk, ledger: SqliteLedger
) -> None:
    account = desk.account("a", is_prepaid=False)
    ask = desk.ask(account, 1)
    first = await ledger.hold(ask)
    ledger._till.connection.execute("PRAGMA busy_timeout=0")
    with locked(desk), pytest.raises(sqlite3.OperationalError):
        ledger._till.perform([])
    assert ledger.hold_now(desk.ask(account, 1)) is None
    await ledger.settle(first, ended(ask, 1))


@pytest.mark.parametrize("is_prepaid", [True, False])
async def test_locked_database_lets_nothing_begin(
    desk: Desk, ledger: SqliteLedger, is_prepaid: bool
) -> None:
    account = desk.account("a", top_up=1_000 if is_prepaid else 0, is_prepaid=is_prepaid)
    ledger.start(asyncio.get_running_loop())
    with locked(desk):
        task = asyncio.create_task(held(ledger, desk.ask(account, 100)))
        await asyncio.sleep(0)
        desk.clock.now_s += 2
        with pytest.raises(StoreUnavailable) as refusal:
            await task
    assert refusal.value.retry_after_s == 1
    assert ledger._till.open_holds == 0


async def test_full_database_lets_nothing_begin_and_loses_no_settlement(
    desk: Desk, ledger: SqliteLedger
) -> None:
    account = desk.account("a", top_up=1_000)
    ask = desk.ask(account, 500)
    hold = await held(ledger, ask)
    connection = ledger._till.connection
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    connection.execute(f"PRAGMA max_page_count={pages}")
    fillers = []
    refused = None
    for _ in range(2_000):
        filler = desk.ask(account, 0, labels=(("l", "x" * 400),))
        try:
            opened = await held(ledger, filler)
        except StoreUnavailable as error:
            refused = error
            break
        settled = asyncio.ensure_future(ledger.settle(opened, ended(filler, 0)))
        fillers.append(settled)
        done, _ = await asyncio.wait([settled], timeout=0.3)
        if not done:
            break
    settling = ledger.settle(hold, ended(ask, 300))
    connection.execute("PRAGMA max_page_count=1000000")
    assert (await settling).cost_nano_usd == 300
    await asyncio.gather(*fillers)
    assert refused is None or refused.retry_after_s == 1
    assert desk.value("SELECT count(*) FROM usage_records") == len(fillers) + 1
    assert desk.free(account) == 700


async def test_file_that_cannot_grow_lets_nothing_begin_and_loses_no_settlement(
    desk: Desk, ledger: SqliteLedger
) -> None:
    account = desk.account("a", top_up=1_000)
    ask = desk.ask(account, 500)
    hold = await held(ledger, ask)
    size = (desk.data_dir / "dragoman.db-wal").stat().st_size
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        settled = asyncio.ensure_future(ledger.settle(hold, ended(ask, 300)))
        refused = asyncio.create_task(ledger.hold(desk.ask(account, 100)))
        await asyncio.sleep(0)
        desk.clock.now_s += 2
        with pytest.raises(StoreUnavailable):
            await refused
        assert not settled.done()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert (await settled).cost_nano_usd == 300
    assert desk.free(account) == 700


async def test_settlement_that_nobody_can_wait_for_is_recorded_as_failed_and_costs_nothing(
    desk: Desk, ledger: SqliteLedger
) -> None:
    account = desk.account("a", top_up=1_000)
    ask = desk.ask(account, 500)
    hold = await held(ledger, ask)
    claim = claim_of("k", ask.intent.request_id)
    assert await ledger.claim(claim) is None
    with locked(desk):
        settled = ledger.settle(hold, ended(ask, 300), claim=claim, answer=b"text")
        await asyncio.sleep(0)
        desk.clock.now_s += 11
        with pytest.raises(StoreUnavailable):
            await settled
    # It is done all the same, before what comes after it.
    assert await ledger.claim(claim_of("k", "r-2")) is None
    assert desk.row("SELECT status, cost FROM usage_records") == ("failed", 0)
    assert desk.free(account) == 1_000


async def test_settlement_outlives_a_short_lock(desk: Desk, ledger: SqliteLedger) -> None:
    account = desk.account("a", top_up=1_000)
    ask = desk.ask(account, 500)
    hold = await held(ledger, ask)
    with locked(desk):
        settled = asyncio.ensure_future(ledger.settle(hold, ended(ask, 300)))
        done, _ = await asyncio.wait([settled], timeout=0.05)
        assert not done
    assert (await settled).cost_nano_usd == 300


async def test_hold_of_a_client_that_left_meanwhile_comes_back(
    desk: Desk, ledger: SqliteLedger
) -> None:
    account = desk.account("a", top_up=1_000)
    task = asyncio.create_task(ledger.hold(desk.ask(account, 500)))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    # The whole balance can be held once what was taken for the first one is given back.
    for _ in range(100):
        ask = desk.ask(account, 1_000)
        try:
            hold = await ledger.hold(ask)
            break
        except InsufficientCredits:
            continue
    await ledger.settle(hold, ended(ask, 1_000))


async def test_cancelled_in_the_turn_in_which_the_hold_came(
    desk: Desk, ledger: SqliteLedger
) -> None:
    account = desk.account("a", top_up=1_000)
    task = asyncio.create_task(ledger.hold(desk.ask(account, 1_000)))
    deliver = ledger._deliver

    def deliver_and_cancel(jobs: list[object]) -> None:
        deliver(jobs)  # type: ignore[arg-type]  # the same list
        if any(isinstance(job, HoldJob) and job.amount for job in jobs):
            task.cancel()

    ledger._deliver = deliver_and_cancel  # type: ignore[assignment,method-assign]  # a wrapper
    with pytest.raises(asyncio.CancelledError):
        await task
    ledger._deliver = deliver  # type: ignore[method-assign]  # the original
    ask = desk.ask(account, 1_000)
    await ledger.settle(await held(ledger, ask), ended(ask, 1_000))


async def test_settling_twice_is_settling_once(desk: Desk, ledger: SqliteLedger) -> None:
    account = desk.account("a", top_up=1_000)
    ask = desk.ask(account, 500)
    hold = await held(ledger, ask)
    first, second = (ledger.settle(hold, ended(ask, cost)) for cost in (100, 400))
    assert (await first).cost_nano_usd == (await second).cost_nano_usd == 100
    assert (await ledger.settle(hold, ended(ask, 400))).cost_nano_usd == 100
    assert desk.free(account) == 900


async def test_what_is_queued_is_written_before_the_ledger_closes(desk: Desk) -> None:
    account = desk.account("a", top_up=1_000)
    ledger = SqliteLedger(desk.till(), desk.clock)
    ask = desk.ask(account, 500)
    hold = await held(ledger, ask)
    settled = ledger.settle(hold, ended(ask, 300))
    ledger.note(ended(desk.ask(account, 0), 0, "refused"))
    await ledger.aclose()
    assert (await settled).cost_nano_usd == 300
    assert desk.value("SELECT count(*) FROM usage_records") == 2
    assert desk.rows("SELECT * FROM workers") == []


async def test_hold_that_is_never_settled_is_left_to_the_next_start(desk: Desk) -> None:
    account = desk.account("a", top_up=1_000)
    ledger = SqliteLedger(desk.till(), desk.clock)
    ask = desk.ask(account, 500)
    await held(ledger, ask)
    await ledger.aclose()
    again = desk.till()
    assert [record.request_id for record in again.interrupted] == [ask.intent.request_id]
    assert desk.free(account) == 1_000
    again.close()


async def test_nothing_begins_or_hangs_after_the_ledger_is_closed(desk: Desk) -> None:
    account = desk.account("a", top_up=1_000)
    ledger = SqliteLedger(desk.till(), desk.clock)
    ask = desk.ask(account, 500)
    hold = await held(ledger, ask)
    await ledger.aclose()
    with pytest.raises(StoreUnavailable):
        await held(ledger, desk.ask(account, 1))
    with pytest.raises(StoreUnavailable):
        await ledger.settle(hold, ended(ask, 300))
    ledger.note(ended(desk.ask(account, 0), 0, "refused"))
    (record,) = ledger.sweep_dead()
    assert record.request_id == ask.intent.request_id
    assert desk.free(account) == 1_000


# --- Idempotency keys ---


async def run(desk: Desk, ledger: SqliteLedger, claim: Claim, answer: bytes | None) -> None:
    account: Account = desk.account("runs", is_prepaid=False)
    ask = desk.ask(account, 0, request_id=claim.request_id)
    await ledger.settle(await held(ledger, ask), ended(ask, 0), claim=claim, answer=answer)


async def test_answer_is_kept_with_the_settlement(desk: Desk, ledger: SqliteLedger) -> None:
    assert await ledger.claim(claim_of("k")) is None
    with pytest.raises(Conflict) as running:
        await ledger.claim(claim_of("k", "r-2"))
    assert running.value.retry_after_s == 1
    await run(desk, ledger, claim_of("k"), b"text")
    assert await ledger.claim(claim_of("k", "r-2")) == KeptAnswer(request_id="r-1", answer=b"text")
    with pytest.raises(Conflict) as other:
        await ledger.claim(claim_of("k", "r-3", bytes([1] * 32)))
    assert other.value.retry_after_s is None


async def test_only_one_of_many_runs(desk: Desk, ledger: SqliteLedger) -> None:
    async def try_one(number: int) -> bool:
        try:
            return await ledger.claim(claim_of("k", f"r-{number}")) is None
        except Conflict:
            return False

    assert sum(await asyncio.gather(*(try_one(number) for number in range(20)))) == 1


async def test_answer_that_is_too_long_is_known_to_be_given(
    desk: Desk, ledger: SqliteLedger
) -> None:
    await ledger.claim(claim_of("k"))
    await run(desk, ledger, claim_of("k"), bytes(MOST_ANSWER_BYTES + 1))
    assert await ledger.claim(claim_of("k", "r-2")) == KeptAnswer(request_id="r-1", answer=None)


async def test_claim_that_is_given_up_or_expired_is_free(desk: Desk, ledger: SqliteLedger) -> None:
    assert await ledger.claim(claim_of("k")) is None
    ledger.give_up(claim_of("k", "somebody else"))
    with pytest.raises(Conflict):
        await ledger.claim(claim_of("k", "r-2"))
    ledger.give_up(claim_of("k"))
    assert await ledger.claim(claim_of("k", "r-2")) is None
    desk.clock.now_s += 3_600
    assert await ledger.claim(claim_of("k", "r-3")) is None


async def test_key_with_too_many_claims_is_told(
    desk: Desk, ledger: SqliteLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dragoman.stores.ledger.claims.MOST_CLAIMS", 100)
    refusals = []
    for number in range(200):
        try:
            await ledger.claim(claim_of(f"k-{number}", f"r-{number}"))
        except Conflict as conflict:
            refusals.append(conflict.message)
    assert 36 <= len(refusals) <= 100
    assert all(KEY in message for message in refusals)


# --- Notes and touches ---


async def test_refusals_are_kept_soon_and_bounded(desk: Desk, ledger: SqliteLedger) -> None:
    account = desk.account("a", top_up=1_000)
    for _ in range(int(BURST) + 50):
        ledger.note(ended(desk.ask(account, 0), 700, "refused"))
    assert ledger.notes_dropped == 50
    ask = desk.ask(account, 1)
    await ledger.settle(await held(ledger, ask), ended(ask, 1))
    assert desk.rows("SELECT status, count(*), sum(cost) FROM usage_records GROUP BY 1") == [
        ("ok", 1, 1),
        ("refused", 100, 0),
    ]
    desk.clock.now_s += 1
    ledger.note(ended(desk.ask(account, 0), 0, "refused"))
    assert ledger.notes_dropped == 50


async def test_record_that_cannot_be_written_does_not_stop_the_others(
    desk: Desk, ledger: SqliteLedger
) -> None:
    account = desk.account("a", top_up=1_000)
    ask = desk.ask(account, 500)
    hold = await held(ledger, ask)
    ledger.note(ended(desk.ask(account, 0, user="\ud800"), 0, "refused"))
    assert (await ledger.settle(hold, ended(ask, 300))).cost_nano_usd == 300


async def test_use_of_a_key_is_kept_once_a_minute(desk: Desk, ledger: SqliteLedger) -> None:
    desk.store.add_key(Key(id=KEY, name="n", hash=bytes(32), hint="h", created_s=START_S))
    account = desk.account("a", top_up=1_000)
    for later_s in (0.0, 1.0, 59.0, 61.0):
        ledger.touch(KEY, START_S + later_s)
    ask = desk.ask(account, 1)
    await ledger.settle(await held(ledger, ask), ended(ask, 1))
    assert desk.value("SELECT last_used_s FROM keys WHERE id = ?", KEY) == START_S + 61
