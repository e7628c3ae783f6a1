"""Opening: rights, versions, damage, and several processes at once."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from dragoman.stores import StoreFailed, inspect_schema, open_store
from dragoman.stores.connection import DATABASE_NAME
from dragoman.stores.revisions import HEAD

OPEN_AND_ADD = """
import sys
from pathlib import Path
from dragoman.policy.keys import mint_key
from dragoman.stores import open_store
sys.stdin.read(1)
store = open_store(Path(sys.argv[1]))
store.add_key(mint_key("n", 1.0)[1])
store.close()
"""


def set_version(data_dir: Path, version: str) -> None:
    connection = sqlite3.connect(data_dir / DATABASE_NAME)
    with connection:
        connection.execute("UPDATE alembic_version SET version_num = ?", (version,))
    connection.close()


def test_everything_is_for_its_owner_only(tmp_path: Path) -> None:
    data_dir = tmp_path / "a" / "data"
    open_store(data_dir).close()
    assert data_dir.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in data_dir.iterdir()} == {0o600}


def test_files_of_an_open_write_ahead_log_are_private_too(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    names = {path.name for path in tmp_path.iterdir()}
    assert {"dragoman.db-wal", "dragoman.db-shm"} <= names
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}
    store.close()


def test_the_rights_of_an_existing_directory_are_left_alone(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    open_store(tmp_path).close()
    assert tmp_path.stat().st_mode & 0o777 == 0o755


def test_the_log_is_written_ahead_and_synced(tmp_path: Path) -> None:
    open_store(tmp_path).close()
    connection = sqlite3.connect(tmp_path / DATABASE_NAME)
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    connection.close()


def test_inspecting_changes_nothing(tmp_path: Path) -> None:
    assert inspect_schema(tmp_path) == "absent"
    assert list(tmp_path.iterdir()) == []
    open_store(tmp_path).close()
    assert inspect_schema(tmp_path) == "current"


def test_a_newer_schema_is_refused_and_left_alone(tmp_path: Path) -> None:
    open_store(tmp_path).close()
    set_version(tmp_path, "9999")
    before = (tmp_path / DATABASE_NAME).read_bytes()
    assert inspect_schema(tmp_path) == "newer"
    with pytest.raises(StoreFailed) as caught:
        open_store(tmp_path)
    assert caught.value.detail is not None
    assert f"has schema 9999, and this version of dragoman knows {HEAD}" in caught.value.detail
    assert "upgrade dragoman" in caught.value.detail
    assert (tmp_path / DATABASE_NAME).read_bytes() == before


def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / DATABASE_NAME
    path.write_bytes(b"not a database, but something that matters to somebody" * 100)
    assert inspect_schema(tmp_path) == "unreadable"
    with pytest.raises(StoreFailed) as caught:
        open_store(tmp_path)
    assert "is not a sound database" in str(caught.value.detail)
    assert path.read_bytes().startswith(b"not a database")


def test_a_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreFailed) as caught:
        open_store(tmp_path / "file" / "data")
    assert str(tmp_path / "file") in str(caught.value.detail)
    assert "set data_dir to another directory" in str(caught.value.detail)


def test_what_a_client_is_told_of_a_failed_store_holds_no_path(tmp_path: Path) -> None:
    (tmp_path / DATABASE_NAME).write_bytes(b"x" * 4096)
    with pytest.raises(StoreFailed) as caught:
        open_store(tmp_path)
    assert str(tmp_path) not in caught.value.message


def test_a_store_that_breaks_while_open_says_so(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    connection = sqlite3.connect(tmp_path / DATABASE_NAME)
    connection.execute("DROP TABLE keys")
    connection.close()
    with pytest.raises(StoreFailed, match="server failed") as caught:
        store.list_keys()
    assert "no such table" in str(caught.value.detail)
    store.close()


def test_processes_that_start_at_once_share_one_database(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    processes = [
        subprocess.Popen([sys.executable, "-c", OPEN_AND_ADD, str(data_dir)], stdin=subprocess.PIPE)
        for _ in range(4)
    ]
    for process in processes:  # all have started: now let them go
        assert process.stdin is not None
        process.stdin.write(b"!")
        process.stdin.close()
    assert [process.wait(30) for process in processes] == [0] * 4
    store = open_store(data_dir)
    assert len(store.list_keys()) == 4
    assert store.generation() == 4
    store.close()


def test_opening_imports_neither_sqlalchemy_nor_alembic(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from dragoman.stores import open_store;"
        f"open_store(Path({str(tmp_path)!r})).close();"
        "sys.exit(any(name in sys.modules for name in ('sqlalchemy', 'alembic')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
