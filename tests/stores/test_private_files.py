"""Files for their owner only, and locks that end with their holder."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from dragoman.stores.private_files import alone, lock_now, open_private

HOLD = """
import sys
from pathlib import Path
from dragoman.stores.private_files import lock_now
assert lock_now(Path(sys.argv[1])) is not None
print("held", flush=True)
sys.stdin.read()
"""


def test_a_file_is_its_owners_and_keeps_what_is_in_it(tmp_path: Path) -> None:
    path = tmp_path / "file"
    os.close(open_private(path))
    assert path.stat().st_mode & 0o777 == 0o600
    path.write_bytes(b"kept")
    os.close(open_private(path))
    assert path.read_bytes() == b"kept"


def test_one_is_within_at_a_time(tmp_path: Path) -> None:
    path, order = tmp_path / "lock", ["first in"]

    def enter() -> None:
        with alone(path):
            order.append("second in")

    second = threading.Thread(target=enter)
    with alone(path):
        second.start()
        assert lock_now(path) is None
        order.append("first out")
    second.join(10)
    assert order == ["first in", "first out", "second in"]


def test_a_lock_ends_with_its_process(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"held\n"
    assert lock_now(path) is None
    holder.kill()
    holder.wait(10)
    held = lock_now(path)
    assert held is not None
    os.close(held)


def test_a_lock_that_cannot_be_had_leaves_no_open_file(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(OSError, match="missing"):
        lock_now(tmp_path / "missing" / "lock")
    path = tmp_path / "lock"
    with alone(path):
        assert lock_now(path) is None
    assert len(os.listdir("/proc/self/fd")) == before
