"""What the processes tell each other about slices, in one mapped file.

Each account has a word (accounts share words where their ids' checksums collide, which costs a needless
return of a slice, never money). An *epoch* per word is raised, within a write transaction of the
database, by whoever needs the slices of others; each process compares it with what it last saw, and
gives back. A *seat* per process counts, per word, its accounts with an unspent slice: so that
whoever is short knows whether waiting could help.
"""

from __future__ import annotations

import mmap
import os
import zlib
from pathlib import Path

from dragoman.stores.ledger.mapping import PAGE, map_allocated
from dragoman.stores.private_files import open_private

WORDS = 4096
SEATS = 128
_EPOCH_BYTES = PAGE + 8 * WORDS  # a page for the epoch of all, then one word each
_SEAT_BYTES = 2 * WORDS
_MASK = (1 << 64) - 1


class SharedWords:
    __slots__ = ("_all", "_file", "_map", "_seats", "epochs")

    def __init__(self, path: Path) -> None:
        """Raises `OSError`."""
        self._file = open_private(path)
        try:
            self._map: mmap.mmap = map_allocated(self._file, _EPOCH_BYTES + SEATS * _SEAT_BYTES)
        except OSError:
            os.close(self._file)
            raise
        view = memoryview(self._map)
        self._all = view[:8].cast("Q")
        self.epochs = view[PAGE:_EPOCH_BYTES].cast("Q")
        """By word. An aligned 64-bit load is never half of another process's write."""
        self._seats = view[_EPOCH_BYTES:].cast("H")
        view.release()

    def all_epochs(self) -> int:
        """Changes whenever any epoch does."""
        return self._all[0]

    def raise_epoch(self, word: int) -> None:
        """Ask for the slices of others. Call it within a write transaction, of which there is one at a time."""
        self.epochs[word] = (self.epochs[word] + 1) & _MASK
        self._all[0] = (self._all[0] + 1) & _MASK

    def count(self, seat: int, word: int, change: int) -> None:
        at = seat * WORDS + word
        self._seats[at] = self._seats[at] + change

    def is_leased_by_others(self, seat: int, word: int) -> bool:
        """Whether another process has an unspent slice of an account with this word."""
        seats = self._seats
        return any(seats[other * WORDS + word] for other in range(SEATS) if other != seat)

    def clear_seat(self, seat: int) -> None:
        self._seats[seat * WORDS : (seat + 1) * WORDS] = memoryview(bytes(_SEAT_BYTES)).cast("H")

    def close(self) -> None:
        for view in (self._all, self.epochs, self._seats):
            view.release()
        self._map.close()
        os.close(self._file)


def word_of(account_id: str) -> int:
    """The same in every process."""
    return zlib.crc32(account_id.encode()) % WORDS
