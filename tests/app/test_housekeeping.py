"""Housekeeping of a real store, and who does it."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace
from tests.stores.kept_interactions import PROJECT, content, sample

from dragoman.app import housekeeping
from dragoman.app.housekeeping import (
    DAY_S,
    LOCK_FILE,
    Chore,
    chores_of,
    delete_old_words,
    start_chores,
    start_housekeeping,
)
from dragoman.errors import StoreUnavailable
from dragoman.records.account import DEFAULT_ACCOUNT
from dragoman.records.campaign import Arm, Campaign, CampaignId, Score
from dragoman.records.interaction_query import InteractionFilter
from dragoman.records.metric import Metric, MetricId
from dragoman.records.project import ContentRules, Project
from dragoman.stores import Store, open_store
from dragoman.stores.scores import count_score

NOW_S = 1000 * DAY_S
KEPT = Project(id=PROJECT, key="kept", name="Kept", account_id=DEFAULT_ACCOUNT)
BRIEF = replace(KEPT, content=ContentRules(keep_days=30))
CAMPAIGN = Campaign(
    id=CampaignId("0b9e7c0e-51a5-4b8b-a4d7-8f0c1d6f2a31"),
    project_id=PROJECT,
    key="tone",
    name="Tone",
    metric_id=MetricId("m"),
    kind="direct",
    arms=(Arm(key="A", model="small"), Arm(key="B", model="large")),
)


class StillClock:
    def monotonic_s(self) -> float:
        return 0.0

    def unix_s(self) -> float:
        return NOW_S


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = open_store(tmp_path)
    yield store
    store.close()


async def until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not is_so():  # noqa: ASYNC110 - a thread does it, and tells nobody
            await asyncio.sleep(0.01)


def found(store: Store, text: str) -> list[float]:
    page = store.list_interactions(InteractionFilter(text=text))
    return [each.interaction.created_s for each in page.interactions]


def with_words(store: Store) -> list[float]:
    page = store.list_interactions(InteractionFilter())
    return [
        each.interaction.created_s
        for each in page.interactions
        if each.interaction.content is not None
    ]


# --- What is done ---


async def test_campaigns_end_and_conversations_are_found_while_the_server_runs(
    store: Store, tmp_path: Path
) -> None:
    store.add_project(KEPT)
    store.add_metric(
        Metric(id=MetricId("m"), project_id=PROJECT, key="liked", name="Liked", kind="bool")
    )
    store.add_campaign(CAMPAIGN)
    for number in range(150):
        store.add_interaction(sample(number, content=content(f"the rain of day {number}")))
    end = start_housekeeping(store, StillClock(), tmp_path)
    with store.atomically():
        for number in range(200):
            score = Score(
                campaign_id=CAMPAIGN.id,
                unit=f"user:{number}",
                arm="AB"[number % 2],
                value=float(number % 2),
            )
            count_score(store._database, score)
    await until(lambda: store.list_campaigns()[0].winner == "B")
    await until(lambda: len(found(store, "rain")) == 100)
    await until(lambda: found(store, '"day 149"') == [149.0])
    await end()


def test_words_are_deleted_when_they_are_older_than_their_project_keeps_them(store: Store) -> None:
    store.add_project(BRIEF)
    store.add_project(replace(KEPT, id="proj_b", key="b"))
    for number, age_days in enumerate((40, 31, 29, 0)):
        made_s = NOW_S - age_days * DAY_S
        store.add_interaction(sample(number, created_s=made_s, content=content("words")))
        store.add_interaction(
            sample(10 + number, project_id="proj_b", created_s=made_s, content=content("words"))
        )
    assert delete_old_words(store, NOW_S) == 2
    assert delete_old_words(store, NOW_S) == 0
    ages = [round((NOW_S - made_s) / DAY_S) for made_s in with_words(store)]
    assert sorted(ages) == [0, 0, 29, 29, 31, 40]
    assert len(store.list_interactions(InteractionFilter()).interactions) == 8


async def test_a_long_backlog_is_worked_off_at_once(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(housekeeping, "DELETE_AT_ONCE", 2)
    store.add_project(BRIEF)
    for number in range(7):
        store.add_interaction(sample(number, content=content("words")))
    end = start_housekeeping(store, StillClock(), tmp_path)
    await until(lambda: with_words(store) == [])
    await end()


def test_a_stop_leaves_the_rest_for_later(store: Store) -> None:
    store.add_project(BRIEF)
    store.add_interaction(sample(1, content=content("words")))
    stop = threading.Event()
    stop.set()
    assert delete_old_words(store, NOW_S, stop) == 0
    assert with_words(store) == [1.0]


def test_each_chore_says_in_the_log_what_is_not_done(store: Store) -> None:
    assert len({chore.name for chore in chores_of(store, StillClock())}) == 3


# --- Who does it ---


class Counted:
    """A chore that counts its steps."""

    def __init__(self, *, more: int = 0, failures: int = 0) -> None:
        self.count = 0
        self.more = more
        self.failures = failures
        self.done = threading.Event()

    def __call__(self, stop: threading.Event) -> bool:
        self.count += 1
        if self.failures:
            self.failures -= 1
            raise StoreUnavailable("the disk is full")
        if self.more:
            self.more -= 1
            return True
        self.done.set()
        return False


async def done(counted: Counted) -> bool:
    return await asyncio.to_thread(counted.done.wait, 10)


async def test_one_process_does_it_and_another_takes_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(housekeeping, "TRY_AGAIN_S", 0.01)
    first, second = Counted(), Counted()
    end_first = start_chores([Chore("a", 0.01, first)], tmp_path / LOCK_FILE)
    assert await done(first)
    end_second = start_chores([Chore("b", 0.01, second)], tmp_path / LOCK_FILE)
    await until(lambda: first.count > 5)
    assert second.count == 0
    await end_first()
    assert await done(second)
    await end_second()


async def test_what_has_more_to_do_does_not_wait(tmp_path: Path) -> None:
    much = Counted(more=20)
    end = start_chores([Chore("a", 3600.0, much)], tmp_path / LOCK_FILE)
    assert await done(much)
    assert much.count == 21
    await end()


async def test_a_failure_is_told_once_and_tried_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    failing, other = Counted(failures=3), Counted()
    chores = [Chore("this is not done", 0.01, failing), Chore("that is not done", 0.01, other)]
    with caplog.at_level(logging.WARNING, "dragoman.housekeeping"):
        end = start_chores(chores, tmp_path / LOCK_FILE)
        assert await done(failing)
        assert await done(other)
        await end()
    assert [record.getMessage() for record in caplog.records] == [
        "this is not done now: the disk is full"
    ]


async def test_without_a_place_for_the_lock_nothing_is_done_and_it_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    never = Counted()
    with caplog.at_level(logging.WARNING, "dragoman.housekeeping"):
        end = start_chores([Chore("a", 0.01, never)], tmp_path / "none" / LOCK_FILE)
        await until(lambda: bool(caplog.records))
        await end()
    assert never.count == 0


async def test_a_step_that_has_begun_is_ended_before_the_store_closes(tmp_path: Path) -> None:
    begun, go_on = threading.Event(), threading.Event()
    ended = False

    def slow(stop: threading.Event) -> bool:
        nonlocal ended
        begun.set()
        go_on.wait(10)
        ended = stop.is_set()
        return False

    end = start_chores([Chore("a", 0.01, slow)], tmp_path / LOCK_FILE)
    assert await asyncio.to_thread(begun.wait, 10)
    ending = asyncio.ensure_future(end())
    await asyncio.sleep(0)
    assert not ending.done()
    go_on.set()
    await ending
    assert ended
