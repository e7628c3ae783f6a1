"""Files that are mapped into memory, and preallocated.

A page of a shared mapping survives the process that wrote it. Writing to a page for which the disk has
no block left would end the process with SIGBUS, so every block is allocated before it is mapped.
"""

from __future__ import annotations

import mmap
import os

PAGE = 4096


def map_allocated(file: int, length: int, offset: int = 0) -> mmap.mmap:
    """Map `length` bytes from `offset`, both multiples of a page. Raises `OSError` on a full disk."""
    os.posix_fallocate(file, offset, length)
    return mmap.mmap(file, length, offset=offset)
