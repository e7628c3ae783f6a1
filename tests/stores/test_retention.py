"""Old usage records are deleted, exported or not: their sums and charges stay, and the books verify."""

from __future__ import annotations

import gzip
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from tests.stores.kept_usage import DAY_S, keep, sample

from dragoman.errors import StoreUnavailable
from dragoman.records.usage_query import EVERYTHING, UsageFilter
from dragoman.records.usage_record import UsageRecord
from dragoman.stores import Store, StoreFailed, open_store
from dragoman.stores.connection import DATABASE_NAME

RECORDS = [
    sample(number, started_s=20_000 * DAY_S + number * 7200.0, cost=number % 3)
    for number in range(60)
]
"""Twelve on each of five days; two thirds of them cost something."""
CUT_S = 20_003 * DAY_S


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = open_store(tmp_path / "data")
    connection = sqlite3.connect(tmp_path / "data" / DATABASE_NAME)
    keep(connection, RECORDS)
    connection.close()
    yield store
    store.close()


def kept(store: Store) -> list[UsageRecord]:
    return [found.record for chunk in store.export_usage(EVERYTHING) for found in chunk]


@pytest.mark.parametrize("within_the_day_s", [0.0, 1.0, DAY_S - 1])
def test_whole_days_are_deleted_and_everything_still_adds_up(
    store: Store, within_the_day_s: float
) -> None:
    before = store.usage_groups(EVERYTHING, ["day", "model"])
    assert store.delete_usage_before(CUT_S + within_the_day_s, chunk=7, pause_s=0.0) == 36
    assert kept(store) == RECORDS[36:]
    assert store.usage_groups(EVERYTHING, ["day", "model"]) == before
    assert store.verify() == []


def test_deleting_again_deletes_what_has_grown_old_since(store: Store) -> None:
    store.delete_usage_before(CUT_S, pause_s=0.0)
    assert store.delete_usage_before(CUT_S, pause_s=0.0) == 0
    assert store.delete_usage_before(CUT_S + DAY_S, pause_s=0.0) == 12
    assert store.verify() == []


def test_a_loss_is_still_found_beside_what_was_deleted(store: Store, tmp_path: Path) -> None:
    store.delete_usage_before(CUT_S, pause_s=0.0)
    connection = sqlite3.connect(tmp_path / "data" / DATABASE_NAME)
    with connection:
        connection.execute("DELETE FROM usage_records WHERE request_id = 'req_40'")
    connection.close()
    found = store.verify()
    lost = "account 'acct_default': request 'req_40' was charged 1 nano-USD, and has no record with a cost"
    assert lost in found


def test_an_archive_holds_what_was_deleted(store: Store, tmp_path: Path) -> None:
    archive = tmp_path / "usage.jsonl.gz"
    store.delete_usage_before(CUT_S, chunk=7, archive=archive, pause_s=0.0)
    lines = gzip.decompress(archive.read_bytes()).splitlines()
    assert [msgspec.json.decode(line, type=UsageRecord) for line in lines] == RECORDS[:36]
    assert archive.stat().st_mode & 0o777 == 0o600


def test_nothing_is_deleted_that_could_not_be_archived(store: Store, tmp_path: Path) -> None:
    archive = tmp_path / "there"
    archive.write_bytes(b"something else")
    with pytest.raises(StoreFailed) as caught:
        store.delete_usage_before(CUT_S, archive=archive)
    assert str(archive) in str(caught.value.detail)
    assert archive.read_bytes() == b"something else"
    assert kept(store) == RECORDS


def test_it_can_be_stopped_between_chunks(store: Store) -> None:
    stop = threading.Event()
    stop.set()
    assert store.delete_usage_before(CUT_S, stop=stop) == 0
    assert kept(store) == RECORDS


def test_an_export_that_loses_records_to_age_says_so(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dragoman.stores.usage.EXPORT_CHUNK", 10)
    recent = store.export_usage(UsageFilter(from_s=CUT_S))
    everything = store.export_usage(EVERYTHING)
    next(recent)
    next(everything)
    store.delete_usage_before(CUT_S, pause_s=0.0)
    assert sum(len(chunk) for chunk in recent) == 14
    with pytest.raises(StoreUnavailable, match="export again"):
        next(everything)


def test_a_page_after_a_deleted_record_is_empty(store: Store) -> None:
    store.delete_usage_before(CUT_S, pause_s=0.0)
    assert store.list_usage(EVERYTHING, before=10).records == ()
    assert store.list_usage(EVERYTHING, before=10).before is None
