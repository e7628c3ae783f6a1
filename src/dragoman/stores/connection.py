"""Connections to SQLite: how they are opened, and what its errors mean to whoever asked."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dragoman.errors import Conflict, InvalidRequest, StoreUnavailable, UnknownEntity
from dragoman.stores.private_files import open_private
from dragoman.stores.store_failed import StoreFailed

DATABASE_NAME = "dragoman.db"
"""In the data directory."""
BUSY_TIMEOUT_S = 10.0

_LATER = frozenset(
    {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_FULL, sqlite3.SQLITE_READONLY}
)


def connect(path: Path) -> sqlite3.Connection:
    """Open the database in autocommit mode; the file is made for its owner only.

    Raises `sqlite3.Error` or `OSError`.
    """
    os.close(open_private(path))
    connection = sqlite3.connect(
        path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
    )
    try:
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA foreign_keys=ON")
        # What is deleted is overwritten, whatever the library was built to do.
        connection.execute("PRAGMA secure_delete=ON")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def connect_reader(path: Path) -> sqlite3.Connection:
    """Open an existing database for questions only. Raises `sqlite3.Error`."""
    # Not `mode=ro`: the first reader of a write-ahead log may have to make its shared memory.
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=rw",
        uri=True,
        timeout=BUSY_TIMEOUT_S,
        isolation_level=None,
        check_same_thread=False,
    )
    try:
        connection.execute("PRAGMA query_only=ON")
        connection.execute(f"PRAGMA cache_size={-_READER_CACHE_KIB}")
        connection.execute("PRAGMA temp_store=MEMORY")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


_READER_CACHE_KIB = 16 * 1024


def read_version(connection: sqlite3.Connection) -> str | None:
    """The schema's version; `None` in an empty database. Raises `sqlite3.Error`."""
    tables = "SELECT count(*) FROM sqlite_master WHERE name = 'alembic_version'"
    if connection.execute(tables).fetchone()[0] == 0:
        return None
    row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    return None if row is None else str(row[0])


@contextmanager
def translated(taken: str = "There is such an entry already.", missing: str = "") -> Iterator[None]:
    """Raise the driver's errors as ours: `taken` where something is there already, `missing` names
    what a reference points to in vain."""
    try:
        yield
    except sqlite3.IntegrityError as error:
        if error.sqlite_errorcode == sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY and missing:
            raise UnknownEntity(missing, entity=missing.split(" ", 1)[0]) from error
        raise Conflict(taken) from error
    except sqlite3.Error as error:
        raise explained(error) from error
    except (UnicodeEncodeError, OverflowError) as error:
        # Lone surrogates, and numbers of more than 64 bits: nothing that a database can hold.
        raise InvalidRequest(
            "A text or number in the request cannot be stored: texts must be valid Unicode, "
            "numbers must fit 64 bits."
        ) from error


def explained(error: sqlite3.Error) -> StoreFailed | StoreUnavailable:
    """Whether it is worth trying again: a lock and a full disk pass, damage does not."""
    code = getattr(error, "sqlite_errorcode", None)
    detail = f"the database failed: {error}"
    if code == sqlite3.SQLITE_INTERRUPT:
        return StoreUnavailable(
            "The question takes too long to answer; ask for a shorter time or with more filters.",
            detail=detail,
        )
    if isinstance(code, int) and code & 0xFF in _LATER:
        return StoreUnavailable(retry_after_s=1.0, detail=detail)
    return StoreFailed(detail)
