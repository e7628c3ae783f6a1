"""Sliding windows of 60 seconds that all processes of the machine share: a memory-mapped file.

Each subject (an account or a key) has a slot, and in it a ring of entries: when, how many requests, how
many tokens. Sums are kept beside the ring; entries that are 60 seconds old are taken off its tail before
anything is asked of it, so every answer is exact, and its cost does not depend on the traffic. An entry
keeps its number, by which its tokens are corrected when they are known.

A ring has an end, and rates do not. While it holds `EXACT_ENTRIES` or more, whatever comes within the same
`GRAIN_S` shares an entry, which leaves the window with its latest member. So above that many requests a
minute (25 each second) some count for up to an eighth of a second longer than they should: the limit is
never exceeded, and rates of any height fit.

Invariants:
- Whoever reads or writes a slot holds the lock on its byte of the file, unless it is the only process.
  Slots are locked in ascending order, and a slot is never waited for while the file's own lock is.
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
from collections.abc import Iterable, Sequence
from pathlib import Path

from dragoman.errors import StoreUnavailable
from dragoman.ports import Clock
from dragoman.ports.limits import WINDOW_S, Full, Standing, Subject, Windows

MAX_WORKERS = 64
MAX_SUBJECTS = 8192
"""With requests in the last 60 seconds. Others make room."""

_WORD = 8
_FILE_HEADER_BYTES = 4096
_NAME_BYTES = 16
_SLOTS_AT = _FILE_HEADER_BYTES + MAX_SUBJECTS * _NAME_BYTES
_SLOT_BYTES = 12 * 4096
_SLOTS_A_CHUNK = 8
_SLOT_WORDS = _SLOT_BYTES // _WORD

# Words of a slot.
_DIRTY, _HEAD, _TAIL, _REQUESTS, _TOKENS, _RUNNING, _TAG = range(7)
_WORKERS = 8
_RING = _WORKERS + MAX_WORKERS
_ENTRY_WORDS = 3
_RING_ENTRIES = (_SLOT_WORDS - _RING) // _ENTRY_WORDS

EXACT_ENTRIES = 1500
GRAIN_S = WINDOW_S / (_RING_ENTRIES - EXACT_ENTRIES - 4)
"""Entries of one grain apart fill what the exact ones leave of the ring, at most."""

PROMPT_S = 1.0
"""Tokens reserved within this time after their request came count from when it came."""

_LAYOUT = b"dragoman windows 1"
_IDENTITY_BYTES = 128
_ALLOCATED_AT = _IDENTITY_BYTES // _WORD
"""The word that says how many slots have space of their own."""
_FILE_LOCK = 0


class WindowTable(Windows):
    """One process's view of the file. Belongs to one thread."""

    def __init__(
        self,
        path: Path,
        clock: Clock,
        *,
        worker: int = 0,
        workers: int = 1,
        boot: str | None = None,
    ) -> None:
        """`worker` is this process's index; with one worker no locks are taken.

        `boot` names this start of the machine; by default it is asked.
        """
        if not 0 <= worker < MAX_WORKERS:
            raise ValueError(f"worker {worker} is not below {MAX_WORKERS}")
        self._now_s = clock.monotonic_s
        self._worker_word = _WORKERS + worker
        self._is_shared = workers > 1
        self._slots: dict[str, int] = {}
        """Where each subject's slot begins, in words."""
        self._tags: dict[int, int] = {}
        """What is written on them, if they are still theirs."""
        identity = b"\n".join((_LAYOUT, (boot or _boot_id()).encode()))[:_IDENTITY_BYTES]
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            self._open(identity.ljust(_IDENTITY_BYTES, b"\0"))
        except OSError as error:
            os.close(self._file)
            raise StoreUnavailable(detail=f"{path}: {error}") from error
        self._check_slots()
        self.clear_worker(worker)

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
            self._map = mmap.mmap(self._file, whole)
        finally:
            fcntl.lockf(self._file, fcntl.LOCK_UN, 1, _FILE_LOCK)
        self._bytes = memoryview(self._map)
        self._words = self._bytes.cast("q")
        self._times = self._bytes.cast("d")

    def close(self) -> None:
        self._times.release()
        self._words.release()
        self._bytes.release()
        self._map.close()
        os.close(self._file)

    # --- Counting ---

    def enter(self, subjects: tuple[Subject, ...]) -> tuple[Standing, ...] | Full:
        slots = self._take(subjects)
        try:
            now = self._now_s()
            words = self._words
            for subject, slot in zip(subjects, slots, strict=True):
                self._expire(slot, now)
                if (
                    words[slot + _REQUESTS] >= subject.requests
                    or words[slot + _TOKENS] >= subject.tokens
                    or words[slot + _RUNNING] >= subject.running
                ):
                    return self._entry_refusal(subjects, slots, now)
            return tuple([self._enter_one(slot, now) for slot in slots])
        finally:
            if self._is_shared:
                self._release(slots)

    def _enter_one(self, slot: int, now: float) -> Standing:
        words = self._words
        words[slot] = 1
        entry = self._append(slot, now, 1, 0)
        requests = words[slot + _REQUESTS] + 1
        running = words[slot + _RUNNING] + 1
        words[slot + _REQUESTS] = requests
        words[slot + self._worker_word] += 1
        words[slot + _RUNNING] = running
        words[slot] = 0
        return Standing(requests, words[slot + _TOKENS], running, entry, entry, now)

    def _entry_refusal(self, subjects: tuple[Subject, ...], slots: list[int], now: float) -> Full:
        words = self._words
        found = []
        for index, (subject, slot) in enumerate(zip(subjects, slots, strict=True)):
            self._expire(slot, now)
            requests, tokens = words[slot + _REQUESTS], words[slot + _TOKENS]
            if requests >= subject.requests:
                wait_s = self._wait_s(slot, _REQUESTS, subject.requests - 1, now)
                found.append(Full(index, "requests", requests, wait_s))
            if tokens >= subject.tokens:
                wait_s = self._wait_s(slot, _TOKENS, subject.tokens - 1, now)
                found.append(Full(index, "tokens", tokens, wait_s))
            if words[slot + _RUNNING] >= subject.running:
                found.append(Full(index, "running", words[slot + _RUNNING], None))
        return max(found, key=_lasting)

    def reserve(
        self,
        subjects: tuple[Subject, ...],
        standings: tuple[Standing, ...],
        before: int,
        tokens: int,
    ) -> tuple[Standing, ...] | Full:
        slots = self._take(subjects)
        try:
            now = self._now_s()
            words = self._words
            for subject, standing, slot in zip(subjects, standings, slots, strict=True):
                self._expire(slot, now)
                mine = before if standing.token_entry >= words[slot + _TAIL] else 0
                if words[slot + _TOKENS] - mine + tokens > subject.tokens:
                    return self._reservation_refusal(
                        subjects, slots, self._amend(slots, standings, -before, now), tokens, now
                    )
            return self._amend(slots, standings, tokens - before, now, tokens)
        finally:
            if self._is_shared:
                self._release(slots)

    def _reservation_refusal(
        self,
        subjects: tuple[Subject, ...],
        slots: list[int],
        standings: tuple[Standing, ...],
        tokens: int,
        now: float,
    ) -> Full:
        """`standings` are those without any tokens of this request."""
        found = []
        for index, (subject, standing) in enumerate(zip(subjects, standings, strict=True)):
            if standing.tokens + tokens > subject.tokens:
                wait_s = self._wait_s(slots[index], _TOKENS, subject.tokens - tokens, now)
                found.append(Full(index, "tokens", standing.tokens, wait_s))
        return max(found, key=_lasting)

    def leave(
        self,
        subjects: tuple[Subject, ...],
        standings: tuple[Standing, ...],
        before: int,
        tokens: int,
        *,
        is_withdrawn: bool = False,
    ) -> tuple[Standing, ...]:
        slots = self._take(subjects)
        try:
            now = self._now_s()
            words = self._words
            for standing, slot in zip(standings, slots, strict=True):
                self._expire(slot, now)
                words[slot] = 1
                # It may have been cleared by whoever thought this process dead.
                if words[slot + self._worker_word] > 0:
                    words[slot + self._worker_word] -= 1
                    words[slot + _RUNNING] -= 1
                if is_withdrawn and standing.request_entry >= words[slot + _TAIL]:
                    words[self._at(slot, standing.request_entry) + 1] -= 1
                    words[slot + _REQUESTS] -= 1
                words[slot] = 0
            return self._amend(slots, standings, tokens - before, now)
        finally:
            if self._is_shared:
                self._release(slots)

    def _amend(
        self,
        slots: list[int],
        standings: tuple[Standing, ...],
        more: int,
        now: float,
        reserved: int = 0,
    ) -> tuple[Standing, ...]:
        """Add `more` tokens to a request's; `reserved` in all, where they are yet to be used."""
        words = self._words
        after = []
        for standing, slot in zip(standings, slots, strict=True):
            entry = standing.token_entry
            words[slot] = 1
            if reserved and more > 0 and now - standing.entered_s > PROMPT_S:
                # A body that took its time: its tokens count from when they can be used.
                if entry >= words[slot + _TAIL]:
                    self._add_tokens(slot, entry, more - reserved)
                entry = self._append(slot, now, 0, reserved)
                words[slot + _TOKENS] += reserved
            elif entry >= words[slot + _TAIL]:
                # Numbers below the tail have left the window, and all that they counted with them.
                self._add_tokens(slot, entry, more)
            words[slot] = 0
            after.append(
                Standing(
                    words[slot + _REQUESTS],
                    words[slot + _TOKENS],
                    words[slot + _RUNNING],
                    standing.request_entry,
                    entry,
                    standing.entered_s,
                )
            )
        return tuple(after)

    def _add_tokens(self, slot: int, entry: int, tokens: int) -> None:
        self._words[self._at(slot, entry) + 2] += tokens
        self._words[slot + _TOKENS] += tokens

    def look(self, subject: Subject) -> Standing:
        slots = self._take((subject,))
        try:
            slot = slots[0]
            now = self._now_s()
            self._expire(slot, now)
            words = self._words
            newest = words[slot + _HEAD] - 1
            is_empty = newest < words[slot + _TAIL]
            return Standing(
                words[slot + _REQUESTS],
                words[slot + _TOKENS],
                words[slot + _RUNNING],
                newest,
                newest,
                now - WINDOW_S if is_empty else self._times[self._at(slot, newest)],
            )
        finally:
            if self._is_shared:
                self._release(slots)

    # --- The ring ---

    def _at(self, slot: int, entry: int) -> int:
        return slot + _RING + entry % _RING_ENTRIES * _ENTRY_WORDS

    def _append(self, slot: int, now: float, requests: int, tokens: int) -> int:
        """Note it, in an entry of its own if there is space for one. Sums are the caller's."""
        words = self._words
        head = words[slot + _HEAD]
        if head - words[slot + _TAIL] >= EXACT_ENTRIES:
            newest = self._at(slot, head - 1)
            if now // GRAIN_S == self._times[newest] // GRAIN_S:
                self._times[newest] = now
                words[newest + 1] += requests
                words[newest + 2] += tokens
                return head - 1
        at = self._at(slot, head)
        self._times[at] = now
        words[at + 1] = requests
        words[at + 2] = tokens
        words[slot + _HEAD] = head + 1
        return head

    def _expire(self, slot: int, now: float) -> None:
        """Take off what is 60 seconds old."""
        words = self._words
        if words[slot]:
            self._repair(slot, now)
        tail, head = words[slot + _TAIL], words[slot + _HEAD]
        if tail == head or self._times[self._at(slot, tail)] + WINDOW_S > now:
            return
        words[slot] = 1
        if self._times[self._at(slot, head - 1)] + WINDOW_S <= now:
            # A subject that comes back after a while: nothing is left, and nothing need be counted.
            words[slot + _TAIL] = head
            words[slot + _REQUESTS] = words[slot + _TOKENS] = 0
            words[slot] = 0
            return
        requests = tokens = 0
        while True:
            at = self._at(slot, tail)
            if self._times[at] + WINDOW_S > now:
                break
            requests += words[at + 1]
            tokens += words[at + 2]
            tail += 1
        words[slot + _TAIL] = tail
        words[slot + _REQUESTS] -= requests
        words[slot + _TOKENS] -= tokens
        words[slot] = 0

    def _wait_s(self, slot: int, measure: int, at_most: int, now: float) -> float | None:
        """How long until no more than `at_most` of `measure` is left; `None`: never."""
        if at_most < 0:
            return None
        words = self._words
        left = words[slot + measure]
        field = 1 if measure == _REQUESTS else 2
        for entry in range(words[slot + _TAIL], words[slot + _HEAD]):
            at = self._at(slot, entry)
            left -= words[at + field]
            if left <= at_most:
                return self._times[at] + WINDOW_S - now
        return None

    def _repair(self, slot: int, now: float) -> None:
        """Recompute what follows from the ring and the workers' counts; drop a ring that cannot be."""
        words = self._words
        words[slot] = 1
        tail, head = words[slot + _TAIL], words[slot + _HEAD]
        is_sound = 0 <= head - tail <= _RING_ENTRIES and tail >= 0
        requests = tokens = 0
        latest = -math.inf
        for entry in range(tail, head) if is_sound else ():
            at = self._at(slot, entry)
            is_sound = is_sound and latest <= self._times[at] <= now and words[at + 1] >= 0
            latest = self._times[at]
            requests += words[at + 1]
            tokens += words[at + 2]
        if not is_sound:
            words[slot + _HEAD] = words[slot + _TAIL] = requests = tokens = 0
        words[slot + _REQUESTS] = requests
        words[slot + _TOKENS] = tokens
        words[slot + _RUNNING] = sum(
            words[slot + worker] for worker in range(_WORKERS, _WORKERS + MAX_WORKERS)
        )
        words[slot] = 0

    # --- Slots ---

    def _take(self, subjects: Sequence[Subject]) -> list[int]:
        """The subjects' slots, locked if there are other processes."""
        known = self._slots
        while True:
            slots = []
            for subject in subjects:
                slot = known.get(subject.name)
                slots.append(self._find(subject.name) if slot is None else slot)
            if not self._is_shared:
                return slots
            for slot in sorted(slots):
                fcntl.lockf(self._file, fcntl.LOCK_EX, 1, slot * _WORD)
            # A slot that lay idle for a minute may have been given to somebody else.
            if all(self._words[slot + _TAG] == self._tags[slot] for slot in slots):
                return slots
            self._release(slots)
            for subject in subjects:
                del known[subject.name]

    def _release(self, slots: Iterable[int]) -> None:
        for slot in slots:
            fcntl.lockf(self._file, fcntl.LOCK_UN, 1, slot * _WORD)

    def _find(self, name: str) -> int:
        """Look a subject up in the file; give it a slot if it has none."""
        digest = _digest(name)
        fcntl.lockf(self._file, fcntl.LOCK_EX, 1, _FILE_LOCK)
        try:
            allocated = self._words[_ALLOCATED_AT]
            index = self._index_of(digest, allocated)
            if index is None:
                index = self._index_of(bytes(_NAME_BYTES), allocated)
                if index is None:
                    index = self._allocate(allocated)
                self._give(index, digest)
            elif self._words[_slot_at(index) + _TAG] != _tag(digest):
                # Whoever was giving it to somebody died.
                self._give(index, digest)
        finally:
            fcntl.lockf(self._file, fcntl.LOCK_UN, 1, _FILE_LOCK)
        slot = _slot_at(index)
        self._slots[name] = slot
        self._tags[slot] = _tag(digest)
        return slot

    def _index_of(self, digest: bytes, allocated: int) -> int | None:
        at = _FILE_HEADER_BYTES
        end = at + allocated * _NAME_BYTES
        while (at := self._map.find(digest, at, end)) >= 0:
            if (at - _FILE_HEADER_BYTES) % _NAME_BYTES == 0:
                return (at - _FILE_HEADER_BYTES) // _NAME_BYTES
            at += 1
        return None

    def _give(self, index: int, digest: bytes) -> None:
        """Empty the slot, and write the subject's name on it."""
        at = _slot_at(index) * _WORD
        self._map[at : at + _RING * _WORD] = bytes(_RING * _WORD)
        self._words[_slot_at(index) + _TAG] = _tag(digest)
        name_at = _FILE_HEADER_BYTES + index * _NAME_BYTES
        self._map[name_at : name_at + _NAME_BYTES] = digest

    def _allocate(self, allocated: int) -> int:
        """A slot that nobody has: a new one, or that of a subject that has long been idle."""
        if allocated == MAX_SUBJECTS:
            return self._evict()
        begin = _slot_at(allocated) * _WORD
        try:
            os.posix_fallocate(self._file, begin, _SLOTS_A_CHUNK * _SLOT_BYTES)
        except OSError as error:
            raise StoreUnavailable(detail=f"the table of limits cannot grow: {error}") from error
        self._words[_ALLOCATED_AT] = allocated + _SLOTS_A_CHUNK
        return allocated

    def _evict(self) -> int:
        words = self._words
        now = self._now_s()
        for index in range(MAX_SUBJECTS):
            slot = _slot_at(index)
            try:
                fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, slot * _WORD)
            except OSError:
                # In use at this moment, so not idle.
                continue
            try:
                self._expire(slot, now)
                if words[slot + _RUNNING] or words[slot + _HEAD] != words[slot + _TAIL]:
                    continue
                words[slot + _TAG] = 0
                self._slots = {name: at for name, at in self._slots.items() if at != slot}
                return index
            finally:
                fcntl.lockf(self._file, fcntl.LOCK_UN, 1, slot * _WORD)
        raise StoreUnavailable(detail=f"{MAX_SUBJECTS} keys and accounts were active in a minute")

    # --- What processes leave behind ---

    def clear_worker(self, *indices: int) -> None:
        """Processes with these indices died, or are about to begin: nothing of theirs runs any more."""
        words = self._words
        for slot in self._locked_slots():
            if any(words[slot + _WORKERS + index] for index in indices):
                words[slot] = 1
                for index in indices:
                    words[slot + _WORKERS + index] = 0
                self._repair(slot, self._now_s())

    def clear_all_workers(self) -> None:
        """Nobody serves: for the first process of a start, before the others."""
        self.clear_worker(*range(MAX_WORKERS))

    def _check_slots(self) -> None:
        """Whatever wrote the file, its sums are right from here on."""
        for slot in self._locked_slots():
            self._repair(slot, self._now_s())

    def _locked_slots(self) -> Iterable[int]:
        for index in range(self._words[_ALLOCATED_AT]):
            slot = _slot_at(index)
            fcntl.lockf(self._file, fcntl.LOCK_EX, 1, slot * _WORD)
            try:
                yield slot
            finally:
                fcntl.lockf(self._file, fcntl.LOCK_UN, 1, slot * _WORD)


def _slot_at(index: int) -> int:
    """Where a slot begins, in words."""
    return (_SLOTS_AT + index * _SLOT_BYTES) // _WORD


def _digest(name: str) -> bytes:
    return hashlib.blake2b(name.encode(), digest_size=_NAME_BYTES).digest()


def _tag(digest: bytes) -> int:
    """Tells a slot's owner, where it cannot have been anyone else."""
    return int.from_bytes(digest[:7], "little") + 1


def _lasting(full: Full) -> float:
    """How long it is to wait, for comparisons: what never passes lasts longest, what may at once least."""
    if full.wait_s is None:
        return 0.0 if full.measure == "running" else math.inf
    return full.wait_s


def _boot_id() -> str:
    """Names this start of the machine, where it has a name."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        # Times that are yet to come still betray most files of an earlier start.
        return "unknown"
