"""Migrations lead from every earlier version to the tables that the program uses, or change nothing."""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path

import msgspec
import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine

from dragoman.records.account import DEFAULT_ACCOUNT
from dragoman.records.key import Key, KeyId
from dragoman.records.project import MemberRight, Project, ProjectId
from dragoman.stores import inspect_schema, open_store
from dragoman.stores.connection import DATABASE_NAME, connect, read_version
from dragoman.stores.creation import create_schema
from dragoman.stores.migrate import SCRIPTS, upgrade_sqlite
from dragoman.stores.revisions import HEAD, REVISIONS
from dragoman.stores.schema import metadata
from dragoman.stores.statements.compilation import COMPILED, compiled_sources


def tables(path: Path) -> dict[str, list[tuple[object, ...]]]:
    """Each table's columns, and each index's, as SQLite itself describes them."""
    connection = sqlite3.connect(path)
    found: dict[str, list[tuple[object, ...]]] = {}
    names = [
        row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type='table'")
    ]
    texts = dict(connection.execute("SELECT name, sql FROM sqlite_master WHERE type='table'"))
    for name in names:
        found[name] = list(connection.execute(f"PRAGMA table_info({name})"))
        found[f"{name} references"] = list(connection.execute(f"PRAGMA foreign_key_list({name})"))
        found[f"{name} options"] = [
            tuple(word in texts[name] for word in ("AUTOINCREMENT", "WITHOUT ROWID")),
            tuple(sorted(re.findall(r"CONSTRAINT (\w+) CHECK", texts[name]))),
        ]
        found[f"{name} indexes"] = sorted(
            (row[2:], tuple(connection.execute(f"PRAGMA index_info({row[1]})")))
            for row in connection.execute(f"PRAGMA index_list({name})")
        )
    connection.close()
    return found


def is_word_index(name: str | None, kind: str) -> bool:
    """A table of SQLite's own making, which no metadata can describe."""
    return kind == "table" and (name or "").startswith("interaction_words")


def migrated(path: Path, revision: str = HEAD) -> Path:
    upgrade_sqlite(lambda: connect(path), revision)
    return path


def test_known_revisions_are_those_of_the_scripts_in_order() -> None:
    config = Config()
    config.set_main_option("script_location", str(SCRIPTS))
    config.set_main_option("path_separator", "os")
    scripts = ScriptDirectory.from_config(config)
    assert tuple(script.revision for script in scripts.walk_revisions())[::-1] == REVISIONS
    assert scripts.get_heads() == [HEAD]


def test_compiled_sql_is_that_of_the_statements() -> None:
    remedy = "run: python -m dragoman.stores.statements"
    for name, source in compiled_sources().items():
        assert (COMPILED / name).read_text() == source, remedy


def test_migrations_make_the_tables_of_the_schema(tmp_path: Path) -> None:
    path = migrated(tmp_path / "db")
    engine = create_engine(f"sqlite:///{path}")
    with engine.connect() as connection:
        context = MigrationContext.configure(
            connection, opts={"include_name": lambda name, kind, _: not is_word_index(name, kind)}
        )
        assert compare_metadata(context, metadata) == []
    engine.dispose()


def test_a_new_database_is_the_same_as_a_migrated_one(tmp_path: Path) -> None:
    connection = connect(tmp_path / "new")
    create_schema(connection)
    connection.close()
    assert tables(tmp_path / "new") == tables(migrated(tmp_path / "migrated"))


@pytest.mark.parametrize("revision", [None, *REVISIONS[:-1]])
def test_every_earlier_version_is_brought_to_the_newest_at_opening(
    tmp_path: Path, revision: str | None
) -> None:
    path = tmp_path / DATABASE_NAME
    if revision is None:
        sqlite3.connect(path).close()
    else:
        migrated(path, revision)
        assert inspect_schema(tmp_path) == "old"
    open_store(tmp_path).close()
    assert inspect_schema(tmp_path) == "current"
    assert tables(path) == tables(migrated(tmp_path / "other"))


def test_keys_of_the_first_version_belong_to_the_default_account(tmp_path: Path) -> None:
    path = migrated(tmp_path / DATABASE_NAME, "0001")
    connection = connect(path)
    for number, revoked_s in ((1, None), (2, 9.5)):
        connection.execute(
            "INSERT INTO keys (id, name, hash, hint, created_s, revoked_s) VALUES (?, 'n', ?, 'h', ?, ?)",
            (f"key_{number}", bytes([number] * 32), float(number), revoked_s),
        )
    connection.close()
    store = open_store(tmp_path)
    first = Key(id=KeyId("key_1"), name="n", hash=bytes([1] * 32), hint="h", created_s=1.0)
    assert first.account_id == DEFAULT_ACCOUNT
    second = msgspec.structs.replace(
        first, id=KeyId("key_2"), hash=bytes([2] * 32), created_s=2.0, revoked_s=9.5
    )
    assert store.list_keys() == [first, second]
    store.close()


def test_what_the_second_version_kept_is_kept_and_may_have_projects(tmp_path: Path) -> None:
    path = migrated(tmp_path / DATABASE_NAME, "0002")
    connection = connect(path)
    connection.execute(
        "INSERT INTO accounts (id, name, is_prepaid, time_zone, alerts, created_s)"
        " VALUES ('acct_a', 'A', 1, 'UTC', '{}', 9e9)"
    )
    connection.execute("INSERT INTO balances VALUES ('acct_a', 500, 1, 0, 0)")
    connection.execute(
        "INSERT INTO members VALUES ('mem_1', 'acct_a', 'a@example.com', 'owner', 1)"
    )
    connection.execute(
        "INSERT INTO keys (id, name, hash, hint, created_s, account_id, project)"
        " VALUES ('key_1', 'n', ?, 'h', 1, 'acct_a', 'p')",
        (bytes(32),),
    )
    connection.close()
    store = open_store(tmp_path)
    account = store.list_accounts()[-1]
    (key,) = store.list_keys()
    (member,) = store.list_members(account.id)
    assert (account.name, key.account_id, key.project) == ("A", account.id, "p")
    assert store.balance(account.id, 0.0).free_nano_usd == 500
    assert store.list_projects() == []
    project = Project(
        id=ProjectId("proj_1"),
        key="p",
        name="P",
        account_id=account.id,
        rights=(MemberRight(member.id, "edit"),),
    )
    store.add_project(project)
    assert store.list_projects() == [project]
    assert store.gather() == []
    store.close()


@pytest.mark.parametrize("revision", [None, "0001"])
def test_the_default_account_is_there_from_the_start(tmp_path: Path, revision: str | None) -> None:
    path = tmp_path / DATABASE_NAME
    if revision is not None:
        migrated(path, revision)
    open_store(tmp_path).close()
    connection = sqlite3.connect(path)
    columns = (
        "id, name, plan_id, is_prepaid, monthly_limit_nano_usd, time_zone, alerts, suspended_s"
    )
    assert connection.execute(f"SELECT {columns} FROM accounts").fetchall() == [
        ("acct_default", "default", None, 0, None, "UTC", "{}", None)
    ]
    assert connection.execute("SELECT * FROM balances").fetchall() == [("acct_default", 0, 1, 0, 0)]
    connection.close()


def test_migrating_what_is_the_newest_changes_nothing(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    key = Key(id=KeyId("key_a"), name="n", hash=bytes(32), hint="h", created_s=1.0)
    store.add_key(key)
    migrated(tmp_path / DATABASE_NAME)
    assert store.list_keys() == [key]
    store.close()


def test_a_migration_that_fails_half_way_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "db"
    connection = connect(path)
    # In the way of the first migration, which finds it after the version table was made.
    connection.execute("CREATE TABLE keys (other TEXT)")
    before = tables(path)
    with pytest.raises(sqlite3.OperationalError, match="already exists"):
        migrated(path)
    assert tables(path) == before
    assert read_version(connection) is None
    with pytest.raises(sqlite3.OperationalError, match="already exists"):
        create_schema(connection)
    assert tables(path) == before
    assert not connection.in_transaction
    connection.close()
