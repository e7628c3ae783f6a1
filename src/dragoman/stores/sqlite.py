"""The store on SQLite: a write-ahead log, one connection, compiled statements.

Changes are durable (`synchronous=FULL`) before the generation is raised: what a server was told of
survives a power cut.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from dragoman.errors import Conflict, UnknownEntity
from dragoman.records.account import DEFAULT_ACCOUNT
from dragoman.records.key import Key, KeyId, Scopes
from dragoman.records.limits import Limits
from dragoman.stores.compiled import keys as sql
from dragoman.stores.compiled import tables
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
        for text in tables.SQLITE_TABLES:
            connection.execute(text)
        connection.execute("INSERT INTO alembic_version (version_num) VALUES (?)", (HEAD,))
        for text, values in seed_rows(time.time()):
            connection.execute(text, values)
        connection.execute("COMMIT")
    except sqlite3.Error:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def seed_rows(now_s: float) -> list[tuple[str, tuple[str | float, ...]]]:
    """What a new database begins with: the owner's own account."""
    return [
        (
            "INSERT INTO accounts (id, name, is_prepaid, time_zone, alerts, created_s)"
            " VALUES (?, 'default', 0, 'UTC', '{}', ?)",
            (DEFAULT_ACCOUNT, now_s),
        ),
        (
            "INSERT INTO balances (account_id, free, is_exact, month, month_spent)"
            " VALUES (?, 0, 1, 0, 0)",
            (DEFAULT_ACCOUNT,),
        ),
    ]


class SqliteStore:
    """May be used from any thread. Raises `StoreFailed` where the database cannot be used."""

    def __init__(self, connection: sqlite3.Connection, generation: Generation) -> None:
        self._connection = connection
        self._generation = generation
        self._lock = threading.Lock()

    def list_keys(self) -> list[Key]:
        rows, _ = self._execute(sql.SQLITE_LIST_KEYS, {})
        return [_key(row) for row in rows]

    def add_key(self, key: Key) -> None:
        """Raises `Conflict` when there is such an id or hash already, revoked or not."""
        self._execute(sql.SQLITE_ADD_KEY, {"id": key.id, "hash": key.hash, **_values(key)})
        self._generation.bump()

    def replace_key(self, key: Key) -> None:
        """Raises `UnknownEntity`."""
        _, changed = self._execute(sql.SQLITE_REPLACE_KEY, {"key_id": key.id, **_values(key)})
        if not changed:
            raise UnknownEntity(f"key '{key.id}' does not exist", entity="key")
        self._generation.bump()

    def touch_keys(self, used: Sequence[tuple[KeyId, float]]) -> None:
        for key_id, at_s in used:
            self._execute(sql.SQLITE_TOUCH_KEY, {"key_id": key_id, "at_s": at_s})

    def revoke_key(self, key_id: KeyId, revoked_s: float) -> bool:
        _, changed = self._execute(sql.SQLITE_REVOKE_KEY, {"key_id": key_id, "at_s": revoked_s})
        # Also when nothing changed: an earlier revocation may have died before it told anyone.
        self._generation.bump()
        return changed == 1

    def generation(self) -> int:
        return self._generation.read()

    def close(self) -> None:
        with self._lock:
            self._connection.close()
            self._generation.close()

    def _execute(self, sql: str, values: Mapping[str, Value]) -> tuple[list[tuple[Any, ...]], int]:
        try:
            with self._lock:
                cursor = self._connection.execute(sql, values)
                return cursor.fetchall(), cursor.rowcount
        except sqlite3.IntegrityError as error:
            raise Conflict("There is such a key already.") from error
        except sqlite3.Error as error:
            raise StoreFailed(f"the database failed: {error}") from error


def _values(key: Key) -> dict[str, Value]:
    """Every column but the id and the hash."""
    return {
        "name": key.name,
        "hint": key.hint,
        "created_s": key.created_s,
        "revoked_s": key.revoked_s,
        "kind": key.kind,
        "account_id": key.account_id,
        "project": key.project,
        "expires_s": key.expires_s,
        "last_used_s": key.last_used_s,
        "scopes": msgspec.json.encode(key.scopes).decode(),
        "requests_per_minute": key.limits.requests_per_minute,
        "tokens_per_minute": key.limits.tokens_per_minute,
        "concurrent_requests": key.limits.concurrent_requests,
        "replaces": key.replaces,
        "creation_token": key.creation_token,
    }


def _key(row: tuple[Any, ...]) -> Key:
    (id_, name, hash_, hint, created_s, revoked_s, kind, account_id, project, expires_s) = row[:10]
    (last_used_s, scopes, requests, tokens, concurrent, replaces, creation_token) = row[10:]
    return Key(
        id=id_,
        name=name,
        hash=hash_,
        hint=hint,
        created_s=created_s,
        revoked_s=revoked_s,
        kind=kind,
        account_id=account_id,
        project=project,
        expires_s=expires_s,
        last_used_s=last_used_s,
        scopes=msgspec.json.decode(scopes, type=Scopes),
        limits=Limits(
            requests_per_minute=requests,
            tokens_per_minute=tokens,
            concurrent_requests=concurrent,
        ),
        replaces=replaces,
        creation_token=creation_token,
    )
