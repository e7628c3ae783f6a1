"""Interactions are counted into their campaigns once, whoever counts."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from tests.stores.campaign_rows import (
    CAMPAIGN,
    PROJECT,
    Asked,
    add_interactions,
    asked,
    make_campaign,
    recount,
    score,
    with_project,
)

from dragoman.chat import NanoUSD, Usage
from dragoman.records.campaign import (
    ArmTally,
    CampaignId,
    Sums,
    Tally,
)
from dragoman.records.interaction import Interaction
from dragoman.records.metric import MetricId
from dragoman.stores import Store
from dragoman.stores.campaign_gathering import MARK_NAME
from dragoman.stores.compiled import campaigns

OpenAgain = Callable[[], Store]


@pytest.fixture
def store(open_again: OpenAgain) -> Store:
    return with_project(open_again())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "dragoman.db"


def test_interactions_are_counted_once(store: Store, path: Path, open_again: OpenAgain) -> None:
    store.add_campaign(CAMPAIGN)
    assert store.gather() == []
    add_interactions(
        path,
        asked("user:1", "A", cost=2 * 10**9, first_token_ms=50.0),
        asked("user:1", "A", cost=4 * 10**9, first_token_ms=150.0),
        asked("user:2", "B", status="failed", first_token_ms=None, model=None, served_arm=None),
        asked("user:2", "B", cost=10**9, first_token_ms=20.0, served_arm=None),
        asked("user:3", "B", status="client_gone", entered_by="request", served_arm="A"),
    )
    assert store.gather() == [CAMPAIGN.id]
    tally = Tally(
        arms=(
            ArmTally(
                arm="A",
                units=1,
                requests=2,
                guards={
                    "errors": Sums(1, 0.0, 0.0),
                    "cost": Sums(1, 2.0, 0.0),
                    "first_token_ms": Sums(1, 50.0, 0.0),
                },
            ),
            ArmTally(
                arm="B",
                units=1,
                requests=3,
                fallbacks=2,
                guards={
                    "errors": Sums(2, 0.5, 0.5),
                    "cost": Sums(2, 0.5, 0.5),
                    "first_token_ms": Sums(2, 15.0, 50.0),
                },
            ),
        )
    )
    assert store.tally(CAMPAIGN.id) == tally
    assert store.gather() == []
    assert open_again().gather() == []
    assert store.tally(CAMPAIGN.id) == tally


def test_an_interaction_as_the_store_keeps_it_is_counted(store: Store) -> None:
    store.add_campaign(replace(CAMPAIGN, metric_id=MetricId("tokens")))
    store.add_interaction(
        Interaction(
            completion_id="6a1e1a39-0000-4000-8000-000000000001",
            project_id=PROJECT.id,
            account_id=PROJECT.account_id,
            created_s=5.0,
            session_id="s",
            model="m",
            campaign_id=CAMPAIGN.id,
            unit="session:s",
            arm="A",
            served_arm="B",
            entered_by="split",
            usage=Usage(input_tokens=3, output_tokens=4),
            cost_nano_usd=NanoUSD(5 * 10**8),
            first_token_ms=6.0,
            total_ms=7.0,
        )
    )
    assert store.gather() == [CAMPAIGN.id]
    one = {"errors": Sums(1, 0.0), "cost": Sums(1, 0.5), "first_token_ms": Sums(1, 6.0)}
    assert store.tally(CAMPAIGN.id).arms == (
        ArmTally(arm="A", units=1, requests=1, fallbacks=1, scores=Sums(1, 7.0), guards=one),
    )


def test_gathering_tells_nobody_and_goes_on_where_it_stopped(store: Store, path: Path) -> None:
    store.add_campaign(CAMPAIGN)
    add_interactions(path, *(asked(f"user:{number}", "A") for number in range(5)))
    before = store.generation()
    seen = []
    while store.gather(limit=2):
        seen.append(store.tally(CAMPAIGN.id).arms[0].units)
    assert seen == [2, 4, 5]
    assert store.generation() == before


def test_what_does_not_count_is_passed_by(store: Store, path: Path) -> None:
    store.add_campaign(CAMPAIGN)
    store.add_campaign(make_campaign(1, status="DONE", ended_s=1.0))
    add_interactions(
        path,
        asked("user:1", "A", choice=1),
        asked("user:1", "A", source="import"),
        asked("user:1", "A", campaign_id="c1"),
        asked("user:1", "A", campaign_id="c_unknown"),
        asked("user:1", "A", campaign_id=None),
        asked(None, "A"),
        asked("user:1", None),
        asked("user:2", "A"),
    )
    # In chunks of one, most of which have nothing: the end is told by an empty answer only.
    assert store.gather(limit=1) == [CAMPAIGN.id]
    assert store.gather(limit=1) == []
    (arm,) = store.tally(CAMPAIGN.id).arms
    assert (arm.units, arm.requests) == (1, 1)
    assert store.tally(CampaignId("c1")) == Tally()


def test_an_interaction_that_is_deleted_hides_none_that_comes_later(
    store: Store, path: Path
) -> None:
    store.add_campaign(CAMPAIGN)
    add_interactions(path, asked("user:1", "A"))
    store.gather()
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("DELETE FROM interactions")
    add_interactions(path, asked("user:2", "A"))
    assert store.gather() == [CAMPAIGN.id]
    assert store.tally(CAMPAIGN.id).arms[0].units == 2


def test_interactions_of_no_campaign_are_not_even_looked_at(store: Store, path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        plan = connection.execute(
            f"EXPLAIN QUERY PLAN {campaigns.SQLITE_LIST_NEW}", {"mark": 0, "limit": 1}
        ).fetchall()
    assert [row[3] for row in plan] == [
        "SEARCH interactions USING INDEX ix_interactions_of_campaigns (sequence>?)"
    ]


@pytest.mark.parametrize(
    ("metric", "first", "later"),
    [
        ("first_token_ms", 50.0, 90.0),
        ("total_ms", 500.0, 900.0),
        ("tokens", 30.0, 70.0),
        ("cost", 2.0, 4.0),
        ("errors", 1.0, 0.0),
    ],
)
def test_built_in_metrics_are_scored_without_feedback(
    store: Store, path: Path, metric: str, first: float, later: float
) -> None:
    store.add_campaign(replace(CAMPAIGN, metric_id=MetricId(metric)))
    add_interactions(
        path,
        # Whoever fails at once is neither fast nor cheap.
        asked("user:1", "A", status="failed", total_ms=1.0, first_token_ms=None, model=None),
        asked(
            "user:1",
            "A",
            first_token_ms=50.0,
            total_ms=500.0,
            input_tokens=10,
            output_tokens=20,
            cost=2 * 10**9,
        ),
        asked(
            "user:1",
            "A",
            first_token_ms=90.0,
            total_ms=900.0,
            input_tokens=30,
            output_tokens=40,
            cost=4 * 10**9,
        ),
    )
    store.gather()
    (arm,) = store.tally(CAMPAIGN.id).arms
    assert (arm.scores.n, arm.scores.mean) == (1, first)
    assert arm.later_scores.mean == later


def test_feedback_and_gathering_share_their_units_and_arms(store: Store, path: Path) -> None:
    store.add_campaign(CAMPAIGN)
    score(store, "user:1", "A", 5.0)
    add_interactions(path, asked("user:1", "A"))
    store.gather()
    score(store, "user:1", "A", 7.0)
    (arm,) = store.tally(CAMPAIGN.id).arms
    assert (arm.units, arm.scores.mean, arm.later_scores.mean) == (1, 5.0, 7.0)


OUTCOMES = st.fixed_dictionaries(
    {
        "unit": st.sampled_from(["user:1", "user:2", "session:3", "request:4"]),
        "arm": st.sampled_from(["A", "B"]),
        "campaign_id": st.sampled_from([CAMPAIGN.id, "c_ended", None]),
        "served_arm": st.sampled_from(["A", "B", None]),
        "model": st.sampled_from(["m", None]),
        "entered_by": st.sampled_from(["split", "request"]),
        "status": st.sampled_from(["ok", "client_gone", "failed"]),
        "source": st.sampled_from(["completion", "completion", "import"]),
        "choice": st.sampled_from([0, 0, 1]),
        "input_tokens": st.integers(0, 1000),
        "output_tokens": st.integers(0, 1000),
        "cost": st.integers(0, 10**12),
        "first_token_ms": st.none() | st.floats(0, 1e6),
        "total_ms": st.none() | st.floats(0, 1e6),
    }
)


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    max_examples=40,
    deadline=None,
)
@given(
    st.lists(OUTCOMES, max_size=40),
    st.sampled_from(["m1", "total_ms", "cost", "errors"]),
    st.integers(1, 7),
)
def test_a_tally_is_what_a_recount_of_all_rows_comes_to(
    store: Store, path: Path, rows: list[dict[str, object]], metric: str, limit: int
) -> None:
    campaign = replace(CAMPAIGN, metric_id=MetricId(metric))
    forget_all(path)
    store.add_campaign(campaign)
    interactions = [Asked(**row) for row in rows]  # type: ignore[arg-type]  # drawn by name
    for at in range(0, len(interactions), 11):
        add_interactions(path, *interactions[at : at + 11])
        store.gather(limit)
    while store.gather(limit):
        pass
    tally = store.tally(CAMPAIGN.id)
    for found, expected in zip(tally.arms, recount(campaign, interactions), strict=True):
        assert described(found) == described(expected)


def described(tally: ArmTally) -> dict[str, object]:
    """Sums rounded, because adding up in another order rounds otherwise."""
    named = {"scores": tally.scores, "later": tally.later_scores, **tally.guards}
    return {
        "counts": (tally.arm, tally.units, tally.requests, tally.fallbacks),
        **{
            name: (sums.n, pytest.approx(sums.mean), pytest.approx(sums.m2, abs=1e-3))
            for name, sums in named.items()
        },
    }


def forget_all(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        for table in ("interactions", "campaigns", "campaign_arms", "campaign_guards"):
            connection.execute(f"DELETE FROM {table}")
        connection.execute("DELETE FROM campaign_units")


# --- Several processes, and ends of processes ---

GATHER = """
import sys
from pathlib import Path
from dragoman.stores import open_store
store = open_store(Path(sys.argv[1]))
sys.stdin.read(1)
while store.gather(limit=7):
    pass
"""
DIE_HALF_WAY = """
import os, sys
from pathlib import Path
from dragoman.stores import open_store
store = open_store(Path(sys.argv[1]))
with store.atomically():
    store.gather(limit=7)
    os.kill(os.getpid(), 9)
"""


def run(code: str, path: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", code, str(path.parent)], stdin=subprocess.PIPE)


def counts_of(store: Store) -> list[tuple[str, int, int, int]]:
    return [
        (arm.arm, arm.units, arm.requests, arm.guards["errors"].n)
        for arm in store.tally(CAMPAIGN.id).arms
    ]


def requests_of(count: int) -> Iterator[Asked]:
    for number in range(count):
        yield asked(f"user:{number // 2}", "AB"[number // 2 % 2])


def test_processes_that_gather_at_once_count_nothing_twice(store: Store, path: Path) -> None:
    store.add_campaign(CAMPAIGN)
    add_interactions(path, *requests_of(1000))
    processes = [run(GATHER, path) for _ in range(2)]
    for process in processes:  # both have started: now let them go
        assert process.stdin is not None
        process.stdin.write(b"!")
        process.stdin.close()
    add_interactions(path, *requests_of(1000))
    assert [process.wait(30) for process in processes] == [0, 0]
    while store.gather():
        pass
    assert counts_of(store) == [("A", 250, 1000, 250), ("B", 250, 1000, 250)]


def test_a_process_killed_while_it_counts_has_counted_nothing(store: Store, path: Path) -> None:
    store.add_campaign(CAMPAIGN)
    add_interactions(path, *requests_of(10))
    assert run(DIE_HALF_WAY, path).wait(30) == -9
    assert store.tally(CAMPAIGN.id) == Tally()
    assert store.server_value(MARK_NAME) is None
    assert store.gather() == [CAMPAIGN.id]
    assert counts_of(store) == [("A", 3, 6, 3), ("B", 2, 4, 2)]
