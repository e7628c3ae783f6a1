"""The file that sliding windows are kept in: slots, who has them, and whose turn it is.

A subject's name is hashed into a list of 16 bytes each, which is searched once in a process; its place in
the list is its slot. Slots of subjects that nobody heard of for a window's length are given to others.

Invariants:
- Whoever reads or writes a slot holds the lock on its byte of the file, unless it is the only process.
  Slots are locked in ascending order, and none is waited for while the file's own lock is held.
- A slot's `DIRTY` word is set while it is being changed. Whoever finds it set works for a process that died
  there, and recomputes the sums; what is not yet linked into the ring was never counted.
- Nothing is written to a hole of the file: on a full disk that kills the process. Space is allocated first.
- Times are of CLOCK_MONOTONIC, one for all processes, which begins anew when the machine does: a file of
  an earlier boot is emptied.
"""

from __future__ import annotations

import fcntl
import hashlib
import math
import mmap
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from dragoman.errors import StoreUnavailable
from dragoman.ports import Clock
from dragoman.ports.limits import WINDOW_S, Subject
from dragoman.stores.private_files import open_private

MAX_WORKERS = 64
MAX_SUBJECTS = 8192
"""With requests in the last 60 seconds. Others make room."""

WORD = 8
_FILE_HEADER_BYTES = 4096
_NAME_BYTES = 16
_SLOTS_AT = _FILE_HEADER_BYTES + MAX_SUBJECTS * _NAME_BYTES
_SLOT_BYTES = 12 * 4096
_SLOTS_A_CHUNK = 8

# Words of a slot. The first six are written together, in this order, so `DIRTY` is cleared last.
HEAD, TAIL, REQUESTS, TOKENS, RUNNING, DIRTY, _TAG = range(7)
WORKERS = 8
"""How many requests each worker runs, beside `RUNNING`, their sum."""
RING = WORKERS + MAX_WORKERS
ENTRY_WORDS = 3
"""When, how many requests, how many tokens."""
RING_ENTRIES = (_SLOT_BYTES // WORD - RING) // ENTRY_WORDS

_LAYOUT = b"dragoman windows 2"
_IDENTITY_BYTES = 128
_ALLOCATED_AT = _IDENTITY_BYTES // WORD
"""The word that says how many slots have space of their own."""
_FILE_LOCK = 0


class WindowSlots:
    """One process's view of the file. Slots are named by the word that they begin at."""

    def __init__(self, path: Path, clock: Clock, *, is_shared: bool, boot: str | None) -> None:
        """`boot` names this start of the machine; by default it is asked."""
        self.is_shared = is_shared
        self._now_s = clock.monotonic_s
        self._slots: dict[str, int] = {}
        self._tags: dict[int, int] = {}
        """What is written on the slots that this process knows, if they are still whose they were."""
        identity = b"\n".join((_LAYOUT, (boot or _boot_id()).encode()))[:_IDENTITY_BYTES]
        self._file = open_private(path)
        try:
            self._open(identity.ljust(_IDENTITY_BYTES, b"\0"))
        except OSError as error:
            os.close(self._file)
            raise StoreUnavailable(detail=f"{path}: {error}") from error
        for slot in self._locked_slots():
            # Whatever wrote the file, its sums are right from here on.
            self.repair(slot, self._now_s())

    def _open(self, identity: bytes) -> None:
        fcntl.lockf(self._file, fcntl.LOCK_EX, 1, _FILE_LOCK)
        try:
            whole = _SLOTS_AT + MAX_SUBJECTS * _SLOT_BYTES
            if os.fstat(self._file).st_size < whole:
                # Mostly a hole: it costs no space, and saves mapping anew while it fills.
                os.ftruncate(self._file, whole)
            os.posix_fallocate(self._file, 0, _SLOTS_AT)
            if os.pread(self._file, _IDENTITY_BYTES, 0) != identity:
                os.pwrite(self._file, bytes(_SLOTS_AT), 0)
                os.pwrite(self._file, identity, 0)
            self.map = mmap.mmap(self._file, whole)
        finally:
            fcntl.lockf(self._file, fcntl.LOCK_UN, 1, _FILE_LOCK)
        self._bytes = memoryview(self.map)
        self.words = self._bytes.cast("q")
        self.times = self._bytes.cast("d")

    def close(self) -> None:
        self.times.release()
        self.words.release()
        self._bytes.release()
        self.map.close()
        os.close(self._file)

    # --- Turns ---

    def take(self, subjects: Sequence[Subject]) -> list[int]:
        """The subjects' slots, locked if there are other processes: `release` them."""
        known = self._slots
        while True:
            slots = []
            for subject in subjects:
                slot = known.get(subject.name)
                slots.append(self._find(subject.name) if slot is None else slot)
            if not self.is_shared:
                return slots
            for slot in slots if len(slots) == 1 else sorted(slots):
                fcntl.lockf(self._file, fcntl.LOCK_EX, 1, slot * WORD)
            for slot in slots:
                if self.words[slot + _TAG] != self._tags[slot]:
                    # It lay idle for a minute, and was given to somebody else.
                    break
            else:
                return slots
            self.release(slots)
            for subject in subjects:
                del known[subject.name]

    def release(self, slots: Sequence[int]) -> None:
        for slot in slots:
            fcntl.lockf(self._file, fcntl.LOCK_UN, 1, slot * WORD)

    # --- Whose slot is whose ---

    def _find(self, name: str) -> int:
        """Look a subject up in the file; give it a slot if it has none."""
        digest = hashlib.blake2b(name.encode(), digest_size=_NAME_BYTES).digest()
        tag = int.from_bytes(digest[:7], "little") + 1
        fcntl.lockf(self._file, fcntl.LOCK_EX, 1, _FILE_LOCK)
        try:
            allocated = self.words[_ALLOCATED_AT]
            index = self._index_of(digest, allocated)
            if index is None:
                index = self._index_of(bytes(_NAME_BYTES), allocated)
                if index is None:
                    index = self._allocate(allocated)
                self._give(index, digest, tag)
            elif self.words[_slot_at(index) + _TAG] != tag:
                # Whoever was giving it away died.
                self._give(index, digest, tag)
        finally:
            fcntl.lockf(self._file, fcntl.LOCK_UN, 1, _FILE_LOCK)
        slot = _slot_at(index)
        self._slots[name] = slot
        self._tags[slot] = tag
        return slot

    def _index_of(self, digest: bytes, allocated: int) -> int | None:
        at = _FILE_HEADER_BYTES
        end = at + allocated * _NAME_BYTES
        while (at := self.map.find(digest, at, end)) >= 0:
            if (at - _FILE_HEADER_BYTES) % _NAME_BYTES == 0:
                return (at - _FILE_HEADER_BYTES) // _NAME_BYTES
            at += 1
        return None

    def _give(self, index: int, digest: bytes, tag: int) -> None:
        """Empty the slot, and write the subject's name on it."""
        slot = _slot_at(index)
        self.map[slot * WORD : (slot + RING) * WORD] = bytes(RING * WORD)
        self.words[slot + _TAG] = tag
        name_at = _FILE_HEADER_BYTES + index * _NAME_BYTES
        self.map[name_at : name_at + _NAME_BYTES] = digest

    def _allocate(self, allocated: int) -> int:
        """A slot that nobody has: a new one, or that of a subject that has long been idle."""
        if allocated >= MAX_SUBJECTS:
            return self._evict()
        begin = _slot_at(allocated) * WORD
        try:
            os.posix_fallocate(self._file, begin, _SLOTS_A_CHUNK * _SLOT_BYTES)
        except OSError as error:
            raise StoreUnavailable(detail=f"the table of limits cannot grow: {error}") from error
        self.words[_ALLOCATED_AT] = allocated + _SLOTS_A_CHUNK
        return allocated

    def _evict(self) -> int:
        now = self._now_s()
        for index in range(MAX_SUBJECTS):
            slot = _slot_at(index)
            try:
                fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, slot * WORD)
            except OSError:
                # In use at this moment, so not idle.
                continue
            try:
                if self.words[slot + RUNNING] or now < self._idle_from_s(slot):
                    continue
                self.words[slot + _TAG] = 0
                self._slots = {name: at for name, at in self._slots.items() if at != slot}
                return index
            finally:
                fcntl.lockf(self._file, fcntl.LOCK_UN, 1, slot * WORD)
        raise StoreUnavailable(detail=f"{MAX_SUBJECTS} keys and accounts were active in a minute")

    def _idle_from_s(self, slot: int) -> float:
        """When the newest entry leaves the window."""
        head = self.words[slot + HEAD]
        if head == self.words[slot + TAIL]:
            return -math.inf
        return self.times[slot + RING + (head - 1) % RING_ENTRIES * ENTRY_WORDS] + WINDOW_S

    # --- What processes leave behind ---

    def repair(self, slot: int, now: float) -> None:
        """Recompute what follows from the ring and the workers' counts; drop a ring that cannot be."""
        words = self.words
        words[slot + DIRTY] = 1
        tail, head = words[slot + TAIL], words[slot + HEAD]
        is_sound = tail >= 0 and 0 <= head - tail <= RING_ENTRIES
        requests = tokens = 0
        latest = -math.inf
        for entry in range(tail, head) if is_sound else ():
            at = slot + RING + entry % RING_ENTRIES * ENTRY_WORDS
            is_sound = is_sound and latest <= self.times[at] <= now and words[at + 1] >= 0
            latest = self.times[at]
            requests += words[at + 1]
            tokens += words[at + 2]
        if not is_sound:
            words[slot + HEAD] = words[slot + TAIL] = requests = tokens = 0
        words[slot + REQUESTS] = requests
        words[slot + TOKENS] = tokens
        words[slot + RUNNING] = sum(words[slot + WORKERS : slot + RING])
        words[slot + DIRTY] = 0

    def clear_worker(self, *indices: int) -> None:
        """Processes with these indices died, or are about to begin: nothing of theirs runs any more."""
        words = self.words
        for slot in self._locked_slots():
            if any(words[slot + WORKERS + index] for index in indices):
                words[slot + DIRTY] = 1
                for index in indices:
                    words[slot + WORKERS + index] = 0
                self.repair(slot, self._now_s())

    def _locked_slots(self) -> Iterator[int]:
        for index in range(self.words[_ALLOCATED_AT]):
            slot = _slot_at(index)
            fcntl.lockf(self._file, fcntl.LOCK_EX, 1, slot * WORD)
            try:
                yield slot
            finally:
                fcntl.lockf(self._file, fcntl.LOCK_UN, 1, slot * WORD)


def _slot_at(index: int) -> int:
    """Where a slot begins, in words."""
    return (_SLOTS_AT + index * _SLOT_BYTES) // WORD


def _boot_id() -> str:
    """Names this start of the machine, where it has a name."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        # Times that are yet to come still betray most files of an earlier start.
        return "unknown"
