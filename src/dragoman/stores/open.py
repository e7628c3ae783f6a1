"""Opens the store of a data directory, making or migrating it where that is due."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Literal

from dragoman.stores.connection import DATABASE_NAME, connect, read_version
from dragoman.stores.creation import create_schema
from dragoman.stores.database import Database
from dragoman.stores.generation import Generation
from dragoman.stores.private_files import alone
from dragoman.stores.revisions import HEAD, REVISIONS
from dragoman.stores.sqlite import SqliteStore
from dragoman.stores.store_failed import StoreFailed

GENERATION_NAME = "generation"
LOCK_NAME = "migration.lock"

SchemaState = Literal["absent", "old", "current", "newer", "unreadable"]


Store = SqliteStore
"""Every repository, over one database."""


def open_store(data_dir: Path) -> Store:
    """Open the store in `data_dir`, which is made for its owner only if it is missing.

    A schema that is behind is migrated, by one process at a time. Raises `StoreFailed`, also for a
    schema that is ahead of this version of the program.
    """
    path = data_dir / DATABASE_NAME
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        connection = connect(path)
        try:
            if read_version(connection) != HEAD:
                _bring_to_head(connection, path)
            generation = Generation(data_dir / GENERATION_NAME)
        except BaseException:
            connection.close()
            raise
    except sqlite3.Error as error:
        raise StoreFailed(_explain(path, error)) from error
    except OSError as error:
        raise StoreFailed(
            f"{error.filename or data_dir} cannot be used: {error.strerror}; "
            "make it writable for this user, or set data_dir to another directory"
        ) from error
    return SqliteStore(Database(path, connection, generation))


def inspect_schema(data_dir: Path) -> SchemaState:
    """How the database in `data_dir` stands to this version, without changing anything."""
    path = data_dir / DATABASE_NAME
    if not path.exists():
        return "absent"
    try:
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
        try:
            version = read_version(connection)
        finally:
            connection.close()
    except sqlite3.Error:
        return "unreadable"
    if version is None:
        return "absent"
    if version == HEAD:
        return "current"
    return "old" if version in REVISIONS else "newer"


def _bring_to_head(connection: sqlite3.Connection, path: Path) -> None:
    with alone(path.with_name(LOCK_NAME)):
        version = read_version(connection)
        if version == HEAD:
            return
        if version is not None and version not in REVISIONS:
            raise StoreFailed(
                f"{path} has schema {version}, and this version of dragoman knows {HEAD} at most; "
                "upgrade dragoman, or set data_dir to another directory"
            )
        # Under the lock: two processes that switch at once would fail each other.
        connection.execute("PRAGMA journal_mode=WAL")
        if version is None:
            create_schema(connection)
            return
        from dragoman.stores.migrate import upgrade_sqlite  # noqa: PLC0415 - 0.6 s, seldom needed

        upgrade_sqlite(lambda: connect(path))


def _explain(path: Path, error: sqlite3.Error) -> str:
    if isinstance(error, sqlite3.OperationalError):
        return f"{path} cannot be used: {error}; make it writable for this user"
    return f"{path} is not a sound database: {error}; move it away, or put a copy in its place"
