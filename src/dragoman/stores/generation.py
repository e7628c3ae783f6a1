"""A number in shared memory that changes whenever any process changes what servers have to know of.

Servers read it at every request, with no system call; whoever commits such a change raises it
afterwards. Eight bytes in the machine's own order, in a file that every process maps.
"""

from __future__ import annotations

import fcntl
import mmap
import os
from pathlib import Path

from dragoman.stores.private_files import open_private

_BYTES = 8
_MASK = (1 << 64) - 1


class Generation:
    __slots__ = ("_file", "_map", "_view")

    def __init__(self, path: Path) -> None:
        self._file = open_private(path)
        try:
            # Growing is idempotent; shrinking would crash the readers, so it never happens.
            if os.fstat(self._file).st_size < _BYTES:
                os.ftruncate(self._file, _BYTES)
            self._map = mmap.mmap(self._file, _BYTES)
        except OSError:
            os.close(self._file)
            raise
        self._view = memoryview(self._map).cast("Q")

    def read(self) -> int:
        # An aligned 64-bit load: never half of a concurrent write.
        return self._view[0]

    def bump(self) -> None:
        """Tell every process that something changed. Call it after the commit."""
        fcntl.flock(self._file, fcntl.LOCK_EX)
        try:
            self._view[0] = (self._view[0] + 1) & _MASK
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)

    def close(self) -> None:
        self._view.release()
        self._map.close()
        os.close(self._file)
