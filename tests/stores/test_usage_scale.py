"""Questions about usage over many records: each reads what an index or the sums give it, and no more."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from bench.usage_scale import DAY_S, DAYS, FIRST_DAY, fill

from dragoman.records.account import AccountId
from dragoman.records.key import KeyId
from dragoman.records.usage_query import EVERYTHING, UsageFilter, UsagePage
from dragoman.stores import Store, open_store
from dragoman.stores.connection import DATABASE_NAME
from dragoman.stores.usage import SCANNED_FOR_A_PAGE
from dragoman.stores.usage_sql import (
    choose,
    export_question,
    floor_question,
    group_question,
    page_question,
)

RECORDS = 200_000
MIDDAY_S = (FIRST_DAY + 45.5) * DAY_S
FILTERS = {
    "ix_usage_records_started": UsageFilter(model="model-1", from_s=MIDDAY_S),
    "ix_usage_records_account": UsageFilter(account_id=AccountId("acct_1"), to_s=MIDDAY_S),
    "ix_usage_records_key": UsageFilter(
        account_id=AccountId("acct_1"), key_id=KeyId("key_1_1"), label=("team", "t1")
    ),
}


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("scale")
    fill(path, RECORDS, charges=False)
    return path


@pytest.fixture(scope="module")
def connection(data_dir: Path) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(data_dir / DATABASE_NAME)
    yield connection
    connection.close()


@pytest.fixture(scope="module")
def store(data_dir: Path) -> Iterator[Store]:
    store = open_store(data_dir)
    yield store
    store.close()


def plan(connection: sqlite3.Connection, text: str) -> list[str]:
    values = dict.fromkeys(re.findall(r":(\w+)", text), 1)
    return [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {text}", values)]


@pytest.mark.parametrize("index", FILTERS)
def test_pages_and_exports_walk_an_index_in_its_order(
    connection: sqlite3.Connection, index: str
) -> None:
    choice = choose(FILTERS[index])
    for text in (
        page_question(choice, 100),
        floor_question(choice, 1000),
        export_question(choice, 100, is_first=True),
        export_question(choice, 100, is_first=False),
    ):
        steps = plan(connection, text)
        assert any(index in step for step in steps), steps
        assert not any("TEMP B-TREE" in step for step in steps), steps
    assert "COVERING" in plan(connection, floor_question(choice, 1000))[0]


@pytest.mark.parametrize("by", [("day",), ("day", "model"), ("model", "day")])
def test_sums_by_day_and_model_need_no_sorting(
    connection: sqlite3.Connection, by: tuple[str, ...]
) -> None:
    text = group_question(EVERYTHING, by, 1000).text
    inner = re.search(r"FROM \((.*?)\) GROUP", text)
    assert inner is not None
    assert plan(connection, inner[1]) == ["SCAN usage_days"]


@pytest.mark.parametrize("by", [("key",), ("project", "day"), ("label:team",), ("status",), ()])
def test_sums_of_whole_days_are_read_without_records(
    connection: sqlite3.Connection, by: tuple[str, ...]
) -> None:
    asked = UsageFilter(from_s=FIRST_DAY * DAY_S, to_s=(FIRST_DAY + 30) * DAY_S)
    steps = plan(connection, group_question(asked, by, 1000).text)
    assert not any("usage_records" in step for step in steps)


def test_only_the_edges_of_a_period_are_read_from_records(connection: sqlite3.Connection) -> None:
    asked = UsageFilter(from_s=MIDDAY_S, to_s=MIDDAY_S + 30 * DAY_S)
    question = group_question(asked, ("model",), 1000)
    assert [question.values[name] for name in ("from_s_1", "to_s_1", "from_s_2", "to_s_2")] == [
        MIDDAY_S,
        MIDDAY_S + DAY_S / 2,
        MIDDAY_S + 29.5 * DAY_S,
        MIDDAY_S + 30 * DAY_S,
    ]
    steps = plan(connection, question.text)
    assert not any(step.startswith("SCAN usage_records") for step in steps), steps


@pytest.mark.parametrize("by", [("day", "model"), ("label:team",), ("project", "status")])
def test_sums_are_the_same_from_records_and_from_days(store: Store, by: tuple[str, ...]) -> None:
    # Sums by day know nothing of dialects.
    of_records = store.usage_groups(UsageFilter(dialect="openai"), by)
    assert store.usage_groups(EVERYTHING, by) == of_records
    assert sum(group.sums.requests for group in of_records.groups) == RECORDS


def test_a_search_in_vain_walks_all_records_in_pages_of_a_bounded_size(store: Store) -> None:
    asked = UsageFilter(session_id="none")
    pages: list[UsagePage] = []
    before = None
    while not pages or before is not None:
        pages.append(store.list_usage(asked, before=before))
        before = pages[-1].before
    assert not any(page.records for page in pages)
    assert len(pages) == RECORDS // SCANNED_FOR_A_PAGE + 1


def test_the_oldest_page_is_reached_as_the_newest_is(store: Store) -> None:
    oldest = store.list_usage(UsageFilter(to_s=(FIRST_DAY + 0.01) * DAY_S))
    newest = store.list_usage(UsageFilter(from_s=(FIRST_DAY + DAYS - 0.01) * DAY_S))
    assert [kept.sequence for kept in oldest.records[-1:]] == [1]
    assert newest.records[0].sequence == RECORDS
