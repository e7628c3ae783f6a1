"""What a process has under way, in a mapped file that outlives it.

A slot holds one request: its record as it stands when it begins (its *intent*), and the tokens it has
produced so far (its *checkpoint*). Writing it costs microseconds and no system call; after `kill -9`
the pages are still the kernel's, and whoever sweeps the dead process reads them. The word that says that
a slot is taken is written last, and cleared only after the request's record is durable.

The file is also the process's sign of life: it is locked for as long as the process lives.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import struct
from collections.abc import Iterator
from pathlib import Path

import msgspec

from dragoman.chat import NanoUSD, Usage
from dragoman.errors import StoreUnavailable
from dragoman.records.usage_record import UsageRecord
from dragoman.stores.ledger.mapping import PAGE, map_allocated
from dragoman.stores.ledger.shared_words import SEATS
from dragoman.stores.private_files import open_private

SLOT_BYTES = 2048
SEGMENT_SLOTS = 1024
MOST_SEGMENTS = 64
_SEGMENT_BYTES = SLOT_BYTES * SEGMENT_SLOTS
_MAGIC = b"dragoman journal 1\n"
_FILE_HEAD = struct.Struct(f"<{len(_MAGIC)}sxI")  # magic, seat
_TAKEN = struct.Struct("<Q")
_CHECKPOINT = struct.Struct("<qqqqqd")  # tokens, in `Usage`'s order; when
_HEAD = struct.Struct("<QQqqqqqd")  # taken, length of the intent, checkpoint
_CONTENT_AT = _HEAD.size
_MOST_CONTENT = SLOT_BYTES - _CONTENT_AT
_NO_CONTENT = bytes(_MOST_CONTENT)

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(UsageRecord)


class JournalDamaged(Exception):
    """The file is not one of ours, or cut short."""


class Journal:
    """Belongs to the process that made it, and there to one thread."""

    def __init__(self, path: Path, seat: int) -> None:
        """Make and lock the file. Raises `OSError`."""
        self.path = path
        self.seat = seat
        self._file = open_private(path)
        self._segments: list[mmap.mmap] = []
        self._unused: list[int] = []
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.pwrite(self._file, _FILE_HEAD.pack(_MAGIC, seat).ljust(PAGE, b"\0"), 0)
            self._grow()
        except OSError:
            os.close(self._file)
            raise

    def write(self, intent: UsageRecord) -> int:
        """Keep `intent`; returns the slot. Raises `StoreUnavailable` where there is no room."""
        content = _encoder.encode(intent)
        if len(content) > _MOST_CONTENT:
            content = _encoder.encode(_shortened(intent))
        if not self._unused:
            self._grow_or_refuse()
        slot = self._unused.pop()
        segment = self._segments[slot // SEGMENT_SLOTS]
        at = slot % SEGMENT_SLOTS * SLOT_BYTES
        content_at = at + _CONTENT_AT
        segment[content_at : content_at + len(content)] = content
        _HEAD.pack_into(segment, at, 0, len(content), 0, 0, 0, 0, 0, 0.0)
        _TAKEN.pack_into(segment, at, 1)
        return slot

    def checkpoint(self, slot: int, usage: Usage, at_s: float) -> None:
        _CHECKPOINT.pack_into(
            self._segments[slot // SEGMENT_SLOTS],
            slot % SEGMENT_SLOTS * SLOT_BYTES + 16,
            usage.input_tokens,
            usage.output_tokens,
            usage.cached_input_tokens,
            usage.cache_write_tokens,
            usage.reasoning_tokens,
            at_s,
        )

    def clear(self, slot: int) -> None:
        """The request's record is durable, or nothing was begun. Nothing of it stays: it names its user."""
        at = slot % SEGMENT_SLOTS * SLOT_BYTES
        segment = self._segments[slot // SEGMENT_SLOTS]
        _TAKEN.pack_into(segment, at, 0)
        segment[at + _CONTENT_AT : at + SLOT_BYTES] = _NO_CONTENT
        self._unused.append(slot)

    def taken(self) -> int:
        """How many requests are under way."""
        return len(self._segments) * SEGMENT_SLOTS - len(self._unused)

    def close(self, *, remove: bool) -> None:
        """End the sign of life. A file that stays is found by the next sweep."""
        for segment in self._segments:
            segment.close()
        if remove:
            self.path.unlink(missing_ok=True)
        os.close(self._file)

    def _grow_or_refuse(self) -> None:
        if len(self._segments) == MOST_SEGMENTS:
            raise StoreUnavailable(
                "The server has too many requests under way; try again shortly.", retry_after_s=1
            )
        try:
            self._grow()
        except OSError as error:
            raise StoreUnavailable(retry_after_s=1, detail=f"{self.path}: {error}") from error

    def _grow(self) -> None:
        count = len(self._segments)
        self._segments.append(
            map_allocated(self._file, _SEGMENT_BYTES, PAGE + count * _SEGMENT_BYTES)
        )
        first = count * SEGMENT_SLOTS
        # The lowest is popped first, so that a calm server touches few pages.
        self._unused.extend(range(first + SEGMENT_SLOTS - 1, first - 1, -1))


def read_seat(file: int) -> int:
    """The seat of the process whose journal is open as `file`. Raises `JournalDamaged`."""
    head = os.pread(file, _FILE_HEAD.size, 0)
    if len(head) < _FILE_HEAD.size:
        raise JournalDamaged("the file is cut short")
    magic, seat = _FILE_HEAD.unpack(head)
    if magic != _MAGIC or seat >= SEATS:
        raise JournalDamaged("the file is not a journal of this version")
    return int(seat)


def read_intents(file: int) -> Iterator[UsageRecord]:
    """What was under way, with what had been produced at the last checkpoint, marked `is_estimated`."""
    at, size = PAGE, os.fstat(file).st_size
    while at + SLOT_BYTES <= size:
        # A segment at once: most of its slots are empty.
        segment = os.pread(file, min(_SEGMENT_BYTES, size - at), at)
        for start in range(0, len(segment) - SLOT_BYTES + 1, SLOT_BYTES):
            if segment[start] != 0:
                intent = _read_slot(segment, start)
                if intent is not None:
                    yield intent
        at += len(segment)


def _read_slot(segment: bytes, start: int) -> UsageRecord | None:
    taken, length, *tokens, at_s = _HEAD.unpack_from(segment, start)
    if taken != 1 or length > _MOST_CONTENT:
        return None
    content = segment[start + _CONTENT_AT : start + _CONTENT_AT + length]
    try:
        intent = _decoder.decode(content)
    except msgspec.DecodeError:
        return None
    usage, total_ms = intent.usage, intent.total_ms
    if at_s > 0:
        input_, output, cached, written, reasoning = tokens
        usage = Usage(
            input_tokens=input_,
            output_tokens=output,
            cached_input_tokens=cached,
            cache_write_tokens=written,
            reasoning_tokens=reasoning,
        )
        total_ms = max(0.0, (at_s - intent.started_s) * 1000)
    return msgspec.structs.replace(
        intent,
        usage=msgspec.structs.replace(usage, is_estimated=True, cost_nano_usd=None),
        total_ms=total_ms,
        cost_nano_usd=NanoUSD(0),
        status="interrupted",
    )


def _shortened(intent: UsageRecord) -> UsageRecord:
    """What identifies the request and its owner; what describes it, cut to what a slot has room for."""
    return msgspec.structs.replace(
        intent,
        labels=(),
        tags=(),
        attempts=(),
        project=_cut(intent.project),
        model_asked=_cut(intent.model_asked),
        model=_cut(intent.model),
        provider=_cut(intent.provider),
        session_id=_cut(intent.session_id),
        user=_cut(intent.user),
        error=_cut(intent.error),
    )


def _cut(text: str | None) -> str | None:
    # At most four bytes a character: seven such fields leave half of the slot to the others.
    return None if text is None else text[:32]
