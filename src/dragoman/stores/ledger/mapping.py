"""Files that are mapped into memory, and preallocated.

A page of a shared mapping survives the process that wrote it. Writing to a page for which the disk has
no block left would end the process with SIGBUS, so every block is allocated before it is mapped.
"""

from __future__ import annotations

import mmap
import os
from pathlib import Path

PAGE = 4096


def open_private(path: Path) -> int:
    """Open or make a file for its owner only."""
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def map_allocated(file: int, length: int, offset: int = 0) -> mmap.mmap:
    """Map `length` bytes from `offset`, both multiples of a page. Raises `OSError` on a full disk."""
    os.posix_fallocate(file, offset, length)
    return mmap.mmap(file, length, offset=offset)
