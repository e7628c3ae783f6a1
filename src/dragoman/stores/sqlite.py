"""The store on SQLite: a write-ahead log, one connection, compiled statements.

Changes are durable (`synchronous=FULL`) before the generation is raised: what a server was told of
survives a power cut.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Mapping
from pathlib import Path

from dragoman.errors import Conflict
from dragoman.records.key import Key, KeyId
from dragoman.stores import compiled
from dragoman.stores.generation import Generation
from dragoman.stores.revisions import HEAD
from dragoman.stores.store_failed import StoreFailed

BUSY_TIMEOUT_S = 10.0

Value = str | bytes | float | None


def connect(path: Path) -> sqlite3.Connection:
    """Open the database in autocommit mode; the file is made for its owner only.

    Raises `sqlite3.Error` or `OSError`.
    """
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    connection = sqlite3.connect(
        path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
    )
    try:
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA foreign_keys=ON")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def read_version(connection: sqlite3.Connection) -> str | None:
    """The schema's version; `None` in an empty database. Raises `sqlite3.Error`."""
    tables = "SELECT count(*) FROM sqlite_master WHERE name = 'alembic_version'"
    if connection.execute(tables).fetchone()[0] == 0:
        return None
    row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    return None if row is None else str(row[0])


def create_schema(connection: sqlite3.Connection) -> None:
    """Make the newest schema in an empty database, whole or not at all.

    Raises `sqlite3.Error`, also where another process made it first.
    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        for text in compiled.SQLITE_TABLES:
            connection.execute(text)
        connection.execute("INSERT INTO alembic_version (version_num) VALUES (?)", (HEAD,))
        connection.execute("COMMIT")
    except sqlite3.Error:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


class SqliteStore:
    """May be used from any thread. Raises `StoreFailed` where the database cannot be used."""

    def __init__(self, connection: sqlite3.Connection, generation: Generation) -> None:
        self._connection = connection
        self._generation = generation
        self._lock = threading.Lock()

    def list_keys(self) -> list[Key]:
        rows, _ = self._execute(compiled.SQLITE_LIST_KEYS, {})
        return [
            Key(
                id=KeyId(id_),
                name=name,
                hash=hash_,
                hint=hint,
                created_s=created_s,
                revoked_s=revoked_s,
            )
            for id_, name, hash_, hint, created_s, revoked_s in rows
        ]

    def add_key(self, key: Key) -> None:
        """Raises `Conflict` when there is such an id or hash already, revoked or not."""
        self._execute(
            compiled.SQLITE_ADD_KEY,
            {
                "id": key.id,
                "name": key.name,
                "hash": key.hash,
                "hint": key.hint,
                "created_s": key.created_s,
                "revoked_s": key.revoked_s,
            },
        )
        self._generation.bump()

    def revoke_key(self, key_id: KeyId, revoked_s: float) -> bool:
        _, changed = self._execute(
            compiled.SQLITE_REVOKE_KEY, {"key_id": key_id, "at_s": revoked_s}
        )
        # Also when nothing changed: an earlier revocation may have died before it told anyone.
        self._generation.bump()
        return changed == 1

    def generation(self) -> int:
        return self._generation.read()

    def close(self) -> None:
        with self._lock:
            self._connection.close()
            self._generation.close()

    def _execute(
        self, sql: str, values: Mapping[str, Value]
    ) -> tuple[list[tuple[str, str, bytes, str, float, float | None]], int]:
        try:
            with self._lock:
                cursor = self._connection.execute(sql, values)
                return cursor.fetchall(), cursor.rowcount
        except sqlite3.IntegrityError as error:
            raise Conflict("There is such a key already.") from error
        except sqlite3.Error as error:
            raise StoreFailed(f"the database failed: {error}") from error
