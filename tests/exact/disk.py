"""A disk that can be filled, and a database that takes no writes."""

from __future__ import annotations

import os
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from dragoman.stores.connection import DATABASE_NAME

DISK_BYTES = 24 << 20


@contextmanager
def mounted(folder: Path) -> Iterator[Path]:
    """A small file system of its own; where none can be mounted, the test is skipped."""
    folder.mkdir()
    root = () if os.geteuid() == 0 else ("sudo", "-n")
    mount = (*root, "mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(folder))
    try:
        subprocess.run(mount, check=True, capture_output=True, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no file system can be mounted here: {error}")
    try:
        yield folder
    finally:
        subprocess.run((*root, "umount", "--lazy", str(folder)), check=True)


def fill(folder: Path) -> Path:
    """Take every byte that is left."""
    path = folder / "filler"
    with path.open("ab", buffering=0) as file:
        for size in (1 << 20, 4096, 1):
            with suppress(OSError):
                while file.write(b"x" * size):
                    pass
    return path


@contextmanager
def locked(data_dir: Path) -> Iterator[None]:
    """Another process writes, and does not come to an end."""
    connection = sqlite3.connect(data_dir / DATABASE_NAME, isolation_level=None, timeout=30)
    try:
        connection.execute("BEGIN EXCLUSIVE")
        yield
        connection.execute("ROLLBACK")
    finally:
        connection.close()
