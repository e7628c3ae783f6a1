"""A database that is locked, full or slow says so; questions of many run side by side."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from tests.stores.test_contract import make_key

from dragoman.errors import StoreUnavailable
from dragoman.records.usage_query import EVERYTHING
from dragoman.stores.connection import connect
from dragoman.stores.creation import create_schema
from dragoman.stores.database import MAX_READERS, Database
from dragoman.stores.generation import Generation
from dragoman.stores.sqlite import SqliteStore

FOR_EVER = """
WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers) SELECT max(n) FROM numbers
"""


@pytest.fixture
def connection(tmp_path: Path) -> sqlite3.Connection:
    connection = connect(tmp_path / "db")
    connection.execute("PRAGMA journal_mode=WAL")
    create_schema(connection)
    return connection


@pytest.fixture
def database(tmp_path: Path, connection: sqlite3.Connection) -> Iterator[Database]:
    database = Database(tmp_path / "db", connection, Generation(tmp_path / "generation"))
    yield database
    database.close()


def test_a_question_ends_when_its_time_is_over(database: Database) -> None:
    with (
        pytest.raises(StoreUnavailable, match="takes too long"),
        database.reading(limit_s=0.02) as reader,
    ):
        reader.execute(FOR_EVER).fetchall()
    # The connection is as good as new.
    with database.reading() as reader:
        assert reader.execute("SELECT count(*) FROM keys").fetchone() == (0,)


def test_readers_change_nothing_and_see_one_moment(database: Database) -> None:
    store = SqliteStore(database)
    with database.reading() as reader:
        assert reader.execute("SELECT count(*) FROM keys").fetchone() == (0,)
        store.add_key(make_key(1))
        assert reader.execute("SELECT count(*) FROM keys").fetchone() == (0,)
    with pytest.raises(StoreUnavailable), database.reading() as reader:
        reader.execute("DELETE FROM keys")
    assert len(store.list_keys()) == 1


def test_a_moment_stays_the_same_and_waits_for_nobodys_report(
    tmp_path: Path, database: Database
) -> None:
    other = connect(tmp_path / "db")
    count = "SELECT count(*) FROM plans"
    add = "INSERT INTO plans (id, name, created_s) VALUES (?, 'n', 1)"
    with ExitStack() as reports:
        for _ in range(MAX_READERS):
            reports.enter_context(database.reading())
        with database.moment() as connection:
            assert connection.execute(count).fetchone() == (0,)
            other.execute(add, ("a",))
            assert connection.execute(count).fetchone() == (0,)
    with database.transaction(), database.moment() as connection:
        connection.execute(add, ("b",))
        assert connection.execute(count).fetchone() == (2,)
    with database.moment() as connection:
        assert connection.execute(count).fetchone() == (2,)
    other.close()


def test_loading_keys_waits_for_nobodys_report(database: Database) -> None:
    with database.reading(), database.reading():
        assert SqliteStore(database).list_keys() == []
        assert SqliteStore(database).usage_groups(EVERYTHING, ["day"]).groups == ()


def test_more_reports_than_there_are_connections_wait_and_are_then_refused(
    database: Database,
) -> None:
    leave, entered = threading.Event(), threading.Barrier(MAX_READERS + 1)

    def report() -> None:
        with database.reading():
            entered.wait(10)
            leave.wait(10)

    threads = [threading.Thread(target=report) for _ in range(MAX_READERS)]
    for thread in threads:
        thread.start()
    entered.wait(10)
    with pytest.raises(StoreUnavailable, match="Too many"), database.reading(limit_s=0.01):
        pass
    leave.set()
    for thread in threads:
        thread.join()
    with database.reading() as reader:
        assert reader.execute("SELECT 1").fetchone() == (1,)


def test_a_locked_database_is_unavailable_and_not_broken(
    tmp_path: Path, connection: sqlite3.Connection, database: Database
) -> None:
    connection.execute("PRAGMA busy_timeout=1")
    other = connect(tmp_path / "db")
    other.execute("BEGIN IMMEDIATE")
    store = SqliteStore(database)
    before = store.generation()
    with pytest.raises(StoreUnavailable) as caught:
        store.add_key(make_key(1))
    assert caught.value.retry_after_s == 1.0
    with pytest.raises(StoreUnavailable), store.atomically():
        pass
    other.close()
    assert store.generation() == before
    store.add_key(make_key(1))
    assert len(store.list_keys()) == 1


def test_a_full_disk_keeps_nothing_of_a_change(
    connection: sqlite3.Connection, database: Database
) -> None:
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count={pages}")
    store = SqliteStore(database)

    def fill_up() -> None:
        with store.atomically():
            for number in range(1000):
                store.add_key(make_key(number, name="n" * 200))

    with pytest.raises(StoreUnavailable):
        fill_up()
    assert store.list_keys() == []
    connection.execute(f"PRAGMA max_page_count={pages * 10}")
    store.add_key(make_key(1))
    assert len(store.list_keys()) == 1
