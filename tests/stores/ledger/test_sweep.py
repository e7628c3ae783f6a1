"""What a dead process leaves."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.stores.ledger.desk import KEY, Desk, crash, ended

from dragoman.chat import Usage
from dragoman.records.idempotency import Claim
from dragoman.stores.ledger import sweep_dead
from dragoman.stores.ledger.jobs import ClaimJob
from dragoman.stores.ledger.shared_words import word_of


def test_requests_under_way_are_recorded_and_cost_nothing(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    account, till = desk.account("a", top_up=1_000_000), desk.till()
    ask = desk.ask(account, 500, labels=(("team", "search"),))
    hold = desk.hold(till, ask)
    desk.clock.now_s += 3
    till.checkpoint(hold, Usage(input_tokens=11, output_tokens=22, reasoning_tokens=5))
    crash(till)
    with caplog.at_level(logging.WARNING, "dragoman.ledger"):
        (record,) = sweep_dead(desk.data_dir, desk.clock)
    assert (record.request_id, record.status, record.cost_nano_usd) == (
        ask.intent.request_id,
        "interrupted",
        0,
    )
    assert record.usage == Usage(
        input_tokens=11, output_tokens=22, reasoning_tokens=5, is_estimated=True
    )
    assert record.total_ms == 3_000
    assert ask.intent.request_id in caplog.text
    assert desk.free(account) == 1_000_000
    assert desk.row("SELECT status, output_tokens, is_estimated, hold FROM usage_records") == (
        "interrupted",
        22,
        1,
        500,
    )
    assert desk.value("SELECT requests FROM usage_labels") == 1
    assert list((desk.data_dir / "run").glob("*.journal")) == []


def test_nobody_waits_for_slices_of_the_dead(desk: Desk) -> None:
    account = desk.account("a", top_up=1_000_000)
    till, living = desk.till(), desk.till()
    hold_ask = desk.ask(account, 500)
    desk.hold(till, hold_ask)
    word = word_of(account.id)
    assert living.worker.is_leased_by_others(word)
    crash(till)
    sweep_dead(desk.data_dir, desk.clock)
    assert not living.worker.is_leased_by_others(word)
    living.close()


def test_sweep_again_finds_nothing(desk: Desk) -> None:
    account, till = desk.account("a", top_up=1_000), desk.till()
    desk.hold(till, desk.ask(account, 500))
    crash(till)
    assert len(sweep_dead(desk.data_dir, desk.clock)) == 1
    assert sweep_dead(desk.data_dir, desk.clock) == []


def test_the_living_are_left_alone(desk: Desk) -> None:
    account, till = desk.account("a", top_up=1_000), desk.till()
    ask = desk.ask(account, 500)
    hold = desk.hold(till, ask)
    desk.clock.now_s += 1e6
    assert desk.till().interrupted == []
    assert sweep_dead(desk.data_dir, desk.clock) == []
    desk.settle(till, ask, hold, 500)
    assert desk.free(account) == 500
    till.close()


def test_request_that_was_recorded_is_not_recorded_again(desk: Desk) -> None:
    account, till = desk.account("a", top_up=1_000), desk.till()
    ask = desk.ask(account, 500)
    job = till.close_hold(desk.hold(till, ask), ended(ask, 300))
    assert job is not None
    till.perform([job])
    # Dead between the commit and the clearing of the slot.
    crash(till)
    assert sweep_dead(desk.data_dir, desk.clock) == []
    assert desk.row("SELECT status, cost FROM usage_records") == ("ok", 300)
    assert desk.free(account) == 700


def test_idempotency_keys_of_the_dead_are_free_again(desk: Desk) -> None:
    till = desk.till()
    claim = Claim(
        key_id=KEY,
        idempotency_key="k",
        body_hash=bytes(32),
        request_id="r",
        expires_s=desk.clock.now_s + 60,
    )
    till.perform([ClaimJob(claim)])
    crash(till)
    again = desk.till()
    job = ClaimJob(claim)
    again.perform([job])
    assert (job.kept, job.error) == (None, None)
    again.close()


def test_damaged_journal_does_not_keep_the_money(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    account, till = desk.account("a", top_up=1_000), desk.till()
    desk.hold(till, desk.ask(account, 500))
    path = till.worker.journal.path
    crash(till)
    path.write_bytes(os.urandom(20_000))
    assert sweep_dead(desk.data_dir, desk.clock) == []
    assert desk.free(account) == 1_000


CHILD = """
import sys
from pathlib import Path
from dragoman.chat import Usage
from tests.stores.ledger.desk import Desk
desk = Desk(Path(sys.argv[1]))
account = {account.id: account for account in desk.store.list_accounts()}["acct_a"]
till = desk.till()
done = desk.ask(account, 100, request_id="done")
desk.settle(till, done, desk.hold(till, done), 60)
for number in range(5):
    hold = desk.hold(till, desk.ask(account, 100, request_id=f"open-{number}"))
    till.checkpoint(hold, Usage(input_tokens=1, output_tokens=number))
print("ready", flush=True)
sys.stdin.read()
"""


def test_kill_9_in_the_middle(desk: Desk) -> None:
    account = desk.account("a", top_up=100_000)
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(desk.data_dir)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[3],
    )
    assert child.stdout is not None
    assert child.stdout.readline() == b"ready\n"
    assert sweep_dead(desk.data_dir, desk.clock) == []
    child.send_signal(signal.SIGKILL)
    child.communicate()
    records = sweep_dead(desk.data_dir, desk.clock)
    assert {(record.request_id, record.usage.output_tokens) for record in records} == {
        (f"open-{number}", number) for number in range(5)
    }
    assert desk.free(account) == 99_940
    assert desk.rows("SELECT * FROM leases") == desk.rows("SELECT * FROM workers") == []
