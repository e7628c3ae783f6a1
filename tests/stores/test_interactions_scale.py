"""Questions about many interactions: each walks one list in its order, and looks up what it names."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from bench.interactions_scale import fill, questions

from dragoman.records.interaction_query import InteractionFilter, InteractionPage
from dragoman.stores import Store, open_store
from dragoman.stores.connection import DATABASE_NAME
from dragoman.stores.interaction_sql import Order, Source, choose, match_question, walk_question

INTERACTIONS = 2_000
FILTERS = questions(INTERACTIONS)


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("scale")
    fill(path, INTERACTIONS)
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


@pytest.mark.parametrize("order", ["ASC", "DESC"])
@pytest.mark.parametrize("name", FILTERS)
def test_candidates_come_from_one_index_in_its_order(
    connection: sqlite3.Connection, name: str, order: Order
) -> None:
    choice = choose(FILTERS[name])
    choices: list[tuple[Source, int | None]] = [("all", None)]
    choices += [("term", term) for term in choice.terms]
    if choice.words is not None:
        choices.append(("words", None))
    for choice.source, choice.term in choices:
        steps = plan(connection, walk_question(choice, order)[0])
        assert len(steps) == 1, steps
        assert re.search("COVERING INDEX|PRIMARY KEY|VIRTUAL TABLE INDEX", steps[0]), steps


@pytest.mark.parametrize("name", FILTERS)
def test_candidates_are_looked_up_one_by_one(connection: sqlite3.Connection, name: str) -> None:
    choice = choose(FILTERS[name])
    choice.source, choice.term = ("term", choice.terms[0]) if choice.terms else ("all", None)
    steps = plan(connection, match_question(choice)[0])
    assert not any("TEMP B-TREE" in step for step in steps), steps
    # Lists of a row's own, and of the question's.
    scanned = [step for step in steps if step.startswith("SCAN")]
    words = ("candidate", "json_each", "label", "tag", "indexed")
    assert all(any(word in step for word in words) for step in scanned), steps


def test_a_search_in_vain_walks_all_in_pages_of_a_bounded_size(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dragoman.stores.interactions.SCANNED_FOR_A_PAGE", 100)
    pages: list[InteractionPage] = []
    before = None
    while not pages or before is not None:
        pages.append(
            store.list_interactions(InteractionFilter(tags=("even", "odd")), before=before)
        )
        before = pages[-1].before
    assert len(pages) == INTERACTIONS // 2 // 100 + 1
    assert all(page.interactions == () for page in pages)


def test_the_shortest_list_answers_at_once(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dragoman.stores.interactions.SCANNED_FOR_A_PAGE", 100)
    page = store.list_interactions(InteractionFilter(tags=("odd", "rare")))
    assert page.before is None
    assert [each.interaction.request_id for each in page.interactions] == []
    page = store.list_interactions(InteractionFilter(tags=("even", "rare")))
    assert [each.interaction.request_id for each in page.interactions] == ["req_7"]
