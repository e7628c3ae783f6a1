"""Several processes and one account."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from tests.stores.ledger.desk import Desk

ROOT = Path(__file__).parents[3]


def start(desk: Desk, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [
            sys.executable,
            "-m",
            "tests.stores.ledger.hammer",
            str(desk.data_dir),
            *map(str, arguments),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )


def granted_by(processes: list[subprocess.Popen[str]]) -> list[int]:
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    return [int(process.communicate(timeout=60)[0]) for process in processes]


@pytest.mark.parametrize("covered", [1, 60, 200])
def test_two_processes_let_in_exactly_as_many_as_are_paid_for(desk: Desk, covered: int) -> None:
    """With slices in play at 200: 100,000 is well above where the account becomes exact."""
    account = desk.account("a", top_up=covered * 500 + 499)
    processes = [start(desk, account.id, 5, 32, 500, 500) for _ in range(2)]
    assert sum(granted_by(processes)) == covered
    assert desk.free(account) == 499
    assert desk.value("SELECT count(*) FROM usage_records") == covered
    assert desk.rows("SELECT * FROM leases") == desk.rows("SELECT * FROM workers") == []


def test_three_processes_that_use_less_than_they_hold(desk: Desk) -> None:
    account = desk.account("a", top_up=1_000_000)
    processes = [start(desk, account.id, 20, 8, 900, 7) for _ in range(3)]
    assert granted_by(processes) == [160, 160, 160]
    assert desk.free(account) == 1_000_000 - 3 * 160 * 7
