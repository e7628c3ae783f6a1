"""Deletes usage records by age. Their sums by day and their charges stay."""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import msgspec

from dragoman.stores.compiled import retention as sql
from dragoman.stores.compiled import server_values
from dragoman.stores.database import Area
from dragoman.stores.retention_mark import MARK_NAME, RetentionMark
from dragoman.stores.store_failed import StoreFailed
from dragoman.stores.usage_archives import write_lines
from dragoman.stores.usage_rows import kept_usage

DAY_S = 86_400
CHUNK = 500
PAUSE_S = 0.05
"""Between chunks, so that requests are settled meanwhile."""
_encoder = msgspec.json.Encoder()


class RetentionArea(Area):
    def delete_usage_before(
        self,
        cutoff_s: float,
        *,
        chunk: int = CHUNK,
        archive: Path | None = None,
        stop: threading.Event | None = None,
        pause_s: float = PAUSE_S,
    ) -> int:
        """Delete the records of requests that came on days (UTC) before `cutoff_s`; returns how many.

        In transactions of `chunk` records, until none is left or `stop` is set. With `archive`, a file
        that must not exist yet, records are written there first (gzip, one JSON object a line) and are
        deleted once they are durable: a record may be in two archives after a crash, and is never in
        none. Raises `StoreFailed` where that file cannot be written.
        """
        cutoff_s = float(cutoff_s // DAY_S * DAY_S)
        stop = stop or threading.Event()
        if not self._oldest(cutoff_s, 1):
            return 0
        deleted = 0
        with _appending(archive) as file:
            while not stop.is_set():
                sequences = self._oldest(cutoff_s, chunk)
                if not sequences:
                    break
                if file is not None:
                    self._write(sequences, file)
                self._delete(sequences, cutoff_s)
                deleted += len(sequences)
                stop.wait(pause_s)
        return deleted

    def _oldest(self, cutoff_s: float, chunk: int) -> list[int]:
        rows = self._database.rows(sql.SQLITE_OLDEST, {"cutoff_s": cutoff_s, "chunk": chunk})
        return [row[0] for row in rows]

    def _write(self, sequences: list[int], file: IO[bytes]) -> None:
        rows = self._database.rows(sql.SQLITE_READ_CHUNK, {"sequences": _listed(sequences)})
        write_lines(file, [_encoder.encode_lines([kept_usage(row).record for row in rows])])
        file.flush()
        os.fsync(file.fileno())

    def _delete(self, sequences: list[int], cutoff_s: float) -> None:
        listed = {"sequences": _listed(sequences)}
        with self._database.transaction():
            rows = self._database.rows(server_values.SQLITE_READ_VALUE, {"name": MARK_NAME})
            mark = msgspec.json.decode(rows[0][0], type=RetentionMark) if rows else RetentionMark()
            charged = self._database.rows(sql.SQLITE_COUNT_CHARGED, listed)[0][0]
            mark = RetentionMark(
                cutoff_s=max(mark.cutoff_s, cutoff_s),
                deleted_charged=mark.deleted_charged + charged,
            )
            self._database.change(sql.SQLITE_DELETE_CHUNK, listed)
            self._database.change(
                server_values.SQLITE_PUT_VALUE,
                {"name": MARK_NAME, "value": msgspec.json.encode(mark)},
            )


def _listed(sequences: list[int]) -> str:
    return msgspec.json.encode(sequences).decode()


@contextmanager
def _appending(path: Path | None) -> Iterator[IO[bytes] | None]:
    if path is None:
        yield None
        return
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            # Nobody else changes it until it is closed.
            fcntl.flock(file, fcntl.LOCK_EX)
            yield file
    except OSError as error:
        raise StoreFailed(
            f"{path} cannot be written: {error.strerror}; no record that is not in it was deleted"
        ) from error
