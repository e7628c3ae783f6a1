"""What is older than it is to be kept goes into an archive, and out of the database."""

from __future__ import annotations

import asyncio
import gzip
import logging
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from tests.stores.kept_usage import DAY_S, keep, sample

from dragoman.app.retention import delete_old_usage, start_retention
from dragoman.records.usage_query import EVERYTHING
from dragoman.records.usage_record import UsageRecord
from dragoman.stores import Store, open_store
from dragoman.stores.connection import DATABASE_NAME
from dragoman.stores.usage_archives import ARCHIVE_DIR

NOW_S = 20_010 * DAY_S + 3600.0
RECORDS = [sample(number, started_s=(20_000 + number) * DAY_S + 60.0) for number in range(10)]
"""One on each of ten days, the last of them yesterday."""


class StillClock:
    def monotonic_s(self) -> float:
        return 0.0

    def unix_s(self) -> float:
        return NOW_S


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = open_store(tmp_path)
    connection = sqlite3.connect(tmp_path / DATABASE_NAME)
    keep(connection, RECORDS)
    connection.close()
    yield store
    store.close()


def kept(store: Store) -> list[UsageRecord]:
    return [found.record for chunk in store.export_usage(EVERYTHING) for found in chunk]


def archived(data_dir: Path) -> list[UsageRecord]:
    return [
        msgspec.json.decode(line, type=UsageRecord)
        for path in sorted((data_dir / ARCHIVE_DIR).iterdir())
        for line in gzip.decompress(path.read_bytes()).splitlines()
    ]


def test_old_records_are_moved_to_an_archive_and_the_books_add_up(
    store: Store, tmp_path: Path
) -> None:
    sums = store.usage_groups(EVERYTHING, ["day", "model"])
    assert delete_old_usage(store, NOW_S, tmp_path, 3) == 7
    assert kept(store) == RECORDS[7:]
    assert archived(tmp_path) == RECORDS[:7]
    assert store.usage_groups(EVERYTHING, ["day", "model"]) == sums
    assert store.verify() == []


def test_where_nothing_is_old_no_archive_is_made(store: Store, tmp_path: Path) -> None:
    assert delete_old_usage(store, NOW_S, tmp_path, 30) == 0
    assert list((tmp_path / ARCHIVE_DIR).iterdir()) == []


def test_an_archive_that_cannot_be_written_deletes_nothing(
    store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / ARCHIVE_DIR).write_text("in the way")
    with caplog.at_level(logging.WARNING, "dragoman.retention"):
        assert delete_old_usage(store, NOW_S, tmp_path, 3) == 0
    assert kept(store) == RECORDS
    assert "not deleted now" in caplog.text


async def test_a_server_looks_at_its_start_and_ends_cleanly(store: Store, tmp_path: Path) -> None:
    end = start_retention(store, StillClock(), tmp_path, 3)
    async with asyncio.timeout(10):
        while len(kept(store)) > 3:  # noqa: ASYNC110 - a thread does it, and tells nobody
            await asyncio.sleep(0.01)
    await end()
    assert kept(store) == RECORDS[7:]
