"""The number in shared memory that tells servers of changed keys."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from dragoman.stores.generation import Generation

BUMP_A_THOUSAND_TIMES = """
import sys
from pathlib import Path
from dragoman.stores.generation import Generation
generation = Generation(Path(sys.argv[1]))
for _ in range(1000):
    generation.bump()
"""


def test_it_begins_at_nought_and_survives_its_processes(tmp_path: Path) -> None:
    first = Generation(tmp_path / "g")
    assert first.read() == 0
    first.bump()
    first.close()
    again = Generation(tmp_path / "g")
    assert again.read() == 1
    again.close()


def test_no_process_overwrites_anothers_change(tmp_path: Path) -> None:
    path = tmp_path / "g"
    mine = Generation(path)
    command = [sys.executable, "-c", BUMP_A_THOUSAND_TIMES, str(path)]
    processes = [subprocess.Popen(command) for _ in range(2)]
    for _ in range(1000):
        mine.bump()
    assert [process.wait(30) for process in processes] == [0, 0]
    assert mine.read() == 3000
    mine.close()


def test_it_wraps_rather_than_fails(tmp_path: Path) -> None:
    (tmp_path / "g").write_bytes(b"\xff" * 8)
    generation = Generation(tmp_path / "g")
    generation.bump()
    assert generation.read() == 0
    generation.close()
