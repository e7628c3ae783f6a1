"""One database: a connection for changes, a few for questions, and the number that tells of changes.

Changes are durable (`synchronous=FULL`) before the generation is raised: what a server was told of
survives a power cut. Questions that may take long have connections of their own, so that loading the
keys never waits for somebody's report; each is bounded in time.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dragoman.errors import StoreUnavailable
from dragoman.stores.connection import BUSY_TIMEOUT_S, connect_reader, translated
from dragoman.stores.generation import Generation
from dragoman.stores.store_failed import StoreFailed

Value = str | bytes | float | None
Values = Mapping[str, Value]
Row = tuple[Any, ...]

MAX_READERS = 4
READING_LIMIT_S = 30.0
IMPATIENT_FOR_S = 1.0
_SHORT_WAIT_MS = 20
_STEPS_BETWEEN_LOOKS = 20_000
"""Of SQLite's virtual machine: about a millisecond."""


class Database:
    """May be used from any thread. Raises `StoreFailed` or `StoreUnavailable`."""

    def __init__(self, path: Path, connection: sqlite3.Connection, generation: Generation) -> None:
        self._path = path
        self._connection = connection
        self._generation = generation
        # One thread at a time, which may nest transactions.
        self._lock = threading.RLock()
        self._depth = 0
        self._is_news = False
        self._readers: list[sqlite3.Connection] = []
        self._reading = threading.BoundedSemaphore(MAX_READERS)
        self._is_closed = False
        self._impatient_until_s = float("-inf")

    @property
    def directory(self) -> Path:
        """Where the database is, and what belongs to it."""
        return self._path.parent

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """What this thread changes within is kept as a whole, or not at all; it may be nested.

        Whoever asks for the write lock has it from the beginning, so that what is read within it
        still holds when it is written.
        """
        with self._lock:
            mark = f"nested_{self._depth}" if self._depth else None
            was_news = self._is_news
            with self._patience():
                self._run("BEGIN IMMEDIATE" if mark is None else f"SAVEPOINT {mark}")
            self._depth += 1
            try:
                yield
                self._run("COMMIT" if mark is None else f"RELEASE {mark}")
            except BaseException:
                self._undo(mark)
                self._is_news = was_news
                raise
            finally:
                self._depth -= 1
            if mark is None:
                self._tell()

    def announce(self) -> None:
        """Tell every process of a change: now, or once the transaction is durable."""
        with self._lock:
            self._is_news = True
            if self._depth == 0:
                self._tell()

    def rows(self, sql: str, values: Values) -> list[Row]:
        """The answer to a question that is short."""
        with self._lock, translated():
            return self._connection.execute(sql, values).fetchall()

    @contextmanager
    def moment(self) -> Iterator[sqlite3.Connection]:
        """For several short questions that belong together: with what this thread is changing, and without
        waiting for anybody's report. Nothing is to be changed within."""
        with self._lock, translated():
            if self._depth:
                yield self._connection
                return
            self._connection.execute("BEGIN")
            try:
                yield self._connection
            finally:
                self._undo(None)

    def change(
        self,
        sql: str,
        values: Values,
        *,
        taken: str = "There is such an entry already.",
        missing: str = "",
    ) -> int:
        """How many rows were changed. Raises `Conflict` saying `taken`, `UnknownEntity` saying
        `missing`."""
        with self._lock, self._patience(), translated(taken, missing):
            return self._connection.execute(sql, values).rowcount

    @contextmanager
    def writing(
        self, taken: str = "There is such an entry already.", missing: str = ""
    ) -> Iterator[sqlite3.Connection]:
        """A transaction for many statements, on the connection itself. Raises as `change` does."""
        with self.transaction(), translated(taken, missing):
            yield self._connection

    def change_many(self, sql: str, values: Sequence[Values]) -> None:
        with self.transaction(), translated():
            self._connection.executemany(sql, values)

    @contextmanager
    def reading(self, limit_s: float = READING_LIMIT_S) -> Iterator[sqlite3.Connection]:
        """A connection that sees one moment of the database, for at most `limit_s` seconds.

        Raises `StoreUnavailable` after that, and where every connection is busy for as long.
        """
        end_s = time.monotonic() + limit_s
        if not self._reading.acquire(timeout=limit_s):
            raise StoreUnavailable("Too many reports are being made; try again shortly.")
        try:
            with translated():
                connection = self._take_reader()
                try:
                    connection.set_progress_handler(
                        lambda: time.monotonic() > end_s, _STEPS_BETWEEN_LOOKS
                    )
                    connection.execute("BEGIN")
                    yield connection
                finally:
                    self._return_reader(connection)
        finally:
            self._reading.release()

    def generation(self) -> int:
        return self._generation.read()

    def close(self) -> None:
        with self._lock:
            self._is_closed = True
            for reader in self._readers:
                reader.close()
            self._readers.clear()
            self._connection.close()
            self._generation.close()

    def _take_reader(self) -> sqlite3.Connection:
        with self._lock:
            if self._is_closed:
                raise StoreFailed("the store is closed")
            if self._readers:
                return self._readers.pop()
        return connect_reader(self._path)

    def _return_reader(self, connection: sqlite3.Connection) -> None:
        connection.set_progress_handler(None, 0)
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        with self._lock:
            if self._is_closed:
                connection.close()
            else:
                self._readers.append(connection)

    @contextmanager
    def _patience(self) -> Iterator[None]:
        """How long to wait until another process has written: hardly, where that was in vain just now.

        Threads come here one after another, and would wait as long again each, hundreds of them for minutes.
        """
        is_short = time.monotonic() < self._impatient_until_s
        if is_short:
            self._run(f"PRAGMA busy_timeout={_SHORT_WAIT_MS}")
        try:
            yield
        except StoreUnavailable:
            self._impatient_until_s = time.monotonic() + IMPATIENT_FOR_S
            raise
        finally:
            if is_short:
                self._run(f"PRAGMA busy_timeout={int(BUSY_TIMEOUT_S * 1000)}")

    def _run(self, sql: str) -> None:
        with translated():
            self._connection.execute(sql)

    def _undo(self, mark: str | None) -> None:
        # A full disk makes SQLite end the transaction by itself.
        if not self._connection.in_transaction:
            return
        if mark is None:
            self._run("ROLLBACK")
        else:
            self._run(f"ROLLBACK TO {mark}")
            self._run(f"RELEASE {mark}")

    def _tell(self) -> None:
        if self._is_news:
            self._is_news = False
            self._generation.bump()


class Area:
    """A part of the store: the tables of one subject."""

    def __init__(self, database: Database) -> None:
        self._database = database
