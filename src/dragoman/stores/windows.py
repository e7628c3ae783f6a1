"""Sliding windows of 60 seconds that all processes of the machine share.

Each subject (an account or a key) has a ring of entries: when, how many requests, how many tokens. Sums are
kept beside the ring; entries that are 60 seconds old are taken off its tail before anything is asked of it,
so every answer is exact, and its cost does not depend on the traffic. An entry keeps its number, by which
its tokens are corrected when they are known.

A ring has an end, and rates do not. While it holds `EXACT_ENTRIES` or more, whatever comes within the same
`GRAIN_S` shares an entry, which leaves the window with its latest member. So above that many requests a
minute (25 each second) some count for up to an eighth of a second longer than they should: the limit is
never exceeded, and rates of any height fit.
"""

from __future__ import annotations

import math
import struct
from pathlib import Path

from dragoman.ports import Clock
from dragoman.ports.limits import WINDOW_S, Full, Standing, Subject, Windows
from dragoman.stores.window_slots import (
    DIRTY,
    ENTRY_WORDS,
    MAX_WORKERS,
    RING,
    RING_ENTRIES,
    WORD,
    WORKERS,
    WindowSlots,
)

EXACT_ENTRIES = 1500
GRAIN_S = WINDOW_S / (RING_ENTRIES - EXACT_ENTRIES - 4)
"""Entries of one grain apart fill what the exact ones leave of the ring, at most."""
PROMPT_S = 1.0
"""Tokens reserved within this time after their request came count from when it came."""

# `HEAD` to `DIRTY`: all counts of a slot at once cost what one of them does.
_COUNTS = struct.Struct("=6q")
_read_counts = _COUNTS.unpack_from
_write_counts = _COUNTS.pack_into
_write_entry = struct.Struct("=dqq").pack_into

_Counts = tuple[int, int, int, int, int]
"""Head, tail, requests, tokens, running."""


class WindowTable(Windows):
    """One process's view of the windows. Belongs to one thread.

    A request has one subject or two. The pairs are spelled out: loops over them would cost as much as
    what they do.
    """

    def __init__(
        self,
        path: Path,
        clock: Clock,
        *,
        worker: int = 0,
        workers: int = 1,
        boot: str | None = None,
    ) -> None:
        """`worker` is this process's index; with one worker no locks are taken."""
        if not 0 <= worker < MAX_WORKERS:
            raise ValueError(f"worker {worker} is not below {MAX_WORKERS}")
        self._now_s = clock.monotonic_s
        self._worker_word = WORKERS + worker
        self._slots = WindowSlots(path, clock, is_shared=workers > 1, boot=boot)
        self._is_shared = workers > 1
        self._map = self._slots.map
        self._words = self._slots.words
        self._times = self._slots.times
        self.clear_worker(worker)

    def clear_worker(self, *indices: int) -> None:
        """Processes with these indices died, or are about to begin: nothing of theirs runs any more."""
        self._slots.clear_worker(*indices)

    def clear_all_workers(self) -> None:
        """Nobody serves: for the first process of a start, before the others."""
        self._slots.clear_worker(*range(MAX_WORKERS))

    def close(self) -> None:
        self._slots.close()

    # --- Counting ---

    def enter(self, subjects: tuple[Subject, ...]) -> tuple[Standing, ...] | Full:
        slots = self._slots.take(subjects)
        try:
            now = self._now_s()
            found: list[_Counts] = []
            for subject in subjects:
                counts = self._counts(slots[len(found)], now)
                if (
                    counts[2] >= subject.requests
                    or counts[3] >= subject.tokens
                    or counts[4] >= subject.running
                ):
                    return self._entry_refusal(subjects, slots, now)
                found.append(counts)
            standing = self._enter_one(slots[0], found[0], now)
            if len(slots) == 1:
                return (standing,)
            return (standing, self._enter_one(slots[1], found[1], now))
        finally:
            if self._is_shared:
                self._slots.release(slots)

    def _enter_one(self, slot: int, counts: _Counts, now: float) -> Standing:
        head, tail, requests, tokens, running = counts
        words = self._words
        words[slot + DIRTY] = 1
        if head - tail < EXACT_ENTRIES:
            # `_append`, spelled out where every request passes.
            entry = head
            at = slot + RING + entry % RING_ENTRIES * ENTRY_WORDS
            _write_entry(self._map, at * WORD, now, 1, 0)
        else:
            entry = self._append(slot, head, tail, now, 1, 0)
        words[slot + self._worker_word] += 1
        _write_counts(self._map, slot * WORD, entry + 1, tail, requests + 1, tokens, running + 1, 0)
        return Standing(requests + 1, tokens, running + 1, entry, entry, now)

    def _entry_refusal(self, subjects: tuple[Subject, ...], slots: list[int], now: float) -> Full:
        found = []
        for index, (subject, slot) in enumerate(zip(subjects, slots, strict=True)):
            counts = self._counts(slot, now)
            _, _, requests, tokens, running = counts
            if requests >= subject.requests:
                wait_s = self._wait_s(slot, counts, 1, requests - subject.requests + 1, now)
                found.append(Full(index, "requests", requests, wait_s))
            if tokens >= subject.tokens:
                wait_s = self._wait_s(slot, counts, 2, tokens - subject.tokens + 1, now)
                found.append(Full(index, "tokens", tokens, wait_s))
            if running >= subject.running:
                found.append(Full(index, "running", running, None))
        return max(found, key=_lasting)

    def reserve(
        self,
        subjects: tuple[Subject, ...],
        standings: tuple[Standing, ...],
        before: int,
        tokens: int,
    ) -> tuple[Standing, ...] | Full:
        slots = self._slots.take(subjects)
        try:
            now = self._now_s()
            found: list[_Counts] = []
            for subject in subjects:
                standing = standings[len(found)]
                counts = self._counts(slots[len(found)], now)
                mine = before if standing.token_entry >= counts[1] else 0
                if counts[3] - mine + tokens > subject.tokens:
                    return self._reservation_refusal(subjects, slots, standings, before, tokens)
                found.append(counts)
            more = tokens - before
            standing = self._amend(slots[0], found[0], standings[0], more, tokens, now)
            if len(slots) == 1:
                return (standing,)
            return (standing, self._amend(slots[1], found[1], standings[1], more, tokens, now))
        finally:
            if self._is_shared:
                self._slots.release(slots)

    def _reservation_refusal(
        self,
        subjects: tuple[Subject, ...],
        slots: list[int],
        standings: tuple[Standing, ...],
        before: int,
        tokens: int,
    ) -> Full:
        now = self._now_s()
        found = []
        for index, (subject, standing) in enumerate(zip(subjects, standings, strict=True)):
            slot = slots[index]
            # What it had of its own is not in its way.
            used = self._amend(slot, self._counts(slot, now), standing, -before, 0, now).tokens
            over = used + tokens - subject.tokens
            if over > 0:
                wait_s = (
                    self._wait_s(slot, self._counts(slot, now), 2, over, now)
                    if tokens <= subject.tokens
                    else None
                )
                found.append(Full(index, "tokens", used, wait_s))
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
        slots = self._slots.take(subjects)
        try:
            now = self._now_s()
            more = tokens - before
            standing = self._leave_one(slots[0], standings[0], more, is_withdrawn, now)
            if len(slots) == 1:
                return (standing,)
            return (standing, self._leave_one(slots[1], standings[1], more, is_withdrawn, now))
        finally:
            if self._is_shared:
                self._slots.release(slots)

    def _leave_one(
        self, slot: int, standing: Standing, more: int, is_withdrawn: bool, now: float
    ) -> Standing:
        head, tail, requests, tokens, running = self._counts(slot, now)
        words = self._words
        words[slot + DIRTY] = 1
        # It may have been cleared by whoever thought this process dead.
        if words[slot + self._worker_word] > 0:
            words[slot + self._worker_word] -= 1
            running -= 1
        request_entry, token_entry = standing.request_entry, standing.token_entry
        if is_withdrawn and request_entry >= tail:
            words[_at(slot, request_entry) + 1] -= 1
            requests -= 1
        # Numbers below the tail have left the window, and all that they counted with them.
        if token_entry >= tail:
            # `_at`, spelled out.
            words[slot + RING + token_entry % RING_ENTRIES * ENTRY_WORDS + 2] += more
            tokens += more
        _write_counts(self._map, slot * WORD, head, tail, requests, tokens, running, 0)
        return Standing(requests, tokens, running, request_entry, token_entry, standing.entered_s)

    def _amend(
        self,
        slot: int,
        counts: _Counts,
        standing: Standing,
        more: int,
        reserved: int,
        now: float,
    ) -> Standing:
        """Add `more` tokens to a request's, which makes them `reserved`."""
        head, tail, requests, tokens, running = counts
        entry, entered_s = standing.token_entry, standing.entered_s
        words = self._words
        words[slot + DIRTY] = 1
        if more > 0 and now - entered_s > PROMPT_S:
            # A body that took its time: its tokens count from when they can be used.
            if entry >= tail:
                words[_at(slot, entry) + 2] -= reserved - more
                tokens -= reserved - more
            entry = self._append(slot, head, tail, now, 0, reserved)
            tokens += reserved
            head = entry + 1
        elif entry >= tail:
            # `_at`, spelled out.
            words[slot + RING + entry % RING_ENTRIES * ENTRY_WORDS + 2] += more
            tokens += more
        _write_counts(self._map, slot * WORD, head, tail, requests, tokens, running, 0)
        return Standing(requests, tokens, running, standing.request_entry, entry, entered_s)

    def look(self, subject: Subject) -> Standing:
        slots = self._slots.take((subject,))
        try:
            now = self._now_s()
            head, tail, requests, tokens, running = self._counts(slots[0], now)
            newest_s = now - WINDOW_S if head == tail else self._times[_at(slots[0], head - 1)]
            return Standing(requests, tokens, running, head - 1, head - 1, newest_s)
        finally:
            if self._is_shared:
                self._slots.release(slots)

    # --- The ring ---

    def _append(
        self, slot: int, head: int, tail: int, now: float, requests: int, tokens: int
    ) -> int:
        """Note it in an entry of its own, if there is space for one. The counts are the caller's."""
        if head - tail >= EXACT_ENTRIES:
            newest = _at(slot, head - 1)
            if now // GRAIN_S == self._times[newest] // GRAIN_S:
                self._times[newest] = now
                self._words[newest + 1] += requests
                self._words[newest + 2] += tokens
                return head - 1
        at = slot + RING + head % RING_ENTRIES * ENTRY_WORDS
        _write_entry(self._map, at * WORD, now, requests, tokens)
        return head

    def _counts(self, slot: int, now: float) -> _Counts:
        """What counts now: whatever is 60 seconds old is taken off first."""
        head, tail, requests, tokens, running, dirty = _read_counts(self._map, slot * WORD)
        if dirty:
            self._slots.repair(slot, now)
            return self._counts(slot, now)
        # `_at`, spelled out where every request passes.
        if (
            tail == head
            or self._times[slot + RING + tail % RING_ENTRIES * ENTRY_WORDS] + WINDOW_S > now
        ):
            return head, tail, requests, tokens, running
        words = self._words
        words[slot + DIRTY] = 1
        if self._times[_at(slot, head - 1)] + WINDOW_S <= now:
            # A subject that comes back after a while: nothing is left, so nothing need be summed.
            tail, requests, tokens = head, 0, 0
        while tail < head:
            at = _at(slot, tail)
            if self._times[at] + WINDOW_S > now:
                break
            requests -= words[at + 1]
            tokens -= words[at + 2]
            tail += 1
        _write_counts(self._map, slot * WORD, head, tail, requests, tokens, running, 0)
        return head, tail, requests, tokens, running

    def _wait_s(
        self, slot: int, counts: _Counts, field: int, surplus: int, now: float
    ) -> float | None:
        """How long until so many of a field of entries have left; `None`: there are not so many."""
        for entry in range(counts[1], counts[0]):
            at = _at(slot, entry)
            surplus -= self._words[at + field]
            if surplus <= 0:
                return self._times[at] + WINDOW_S - now
        return None


def _at(slot: int, entry: int) -> int:
    """Where an entry begins, in words."""
    return slot + RING + entry % RING_ENTRIES * ENTRY_WORDS


def _lasting(full: Full) -> float:
    """How long it is to wait, for comparisons: what never passes lasts longest, what may at once least."""
    if full.wait_s is None:
        return 0.0 if full.measure == "running" else math.inf
    return full.wait_s
