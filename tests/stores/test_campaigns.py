"""What every store promises of campaigns, and of what is counted of them."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
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
    database_of,
    recount,
)

from dragoman.chat import NanoUSD, Sampling, Usage
from dragoman.errors import Conflict, InvalidRequest, UnknownEntity
from dragoman.records.campaign import (
    Arm,
    ArmTally,
    Campaign,
    CampaignId,
    Guardrail,
    PairScore,
    PairTally,
    Score,
    Sums,
    Tally,
)
from dragoman.records.interaction import Interaction
from dragoman.records.metric import Metric, MetricId
from dragoman.records.project import ProjectId
from dragoman.stores import Store
from dragoman.stores.campaign_gathering import MARK_NAME
from dragoman.stores.scores import count_pair_score, count_score

OpenAgain = Callable[[], Store]


@pytest.fixture
def store(open_again: OpenAgain) -> Store:
    store = open_again()
    store.add_project(PROJECT)
    return store


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "dragoman.db"


def make_campaign(number: int, **changes: object) -> Campaign:
    own = {"id": CampaignId(f"c{number}"), "key": f"k{number}", "created_s": float(number)}
    return replace(CAMPAIGN, **{**own, **changes})


WHOLE = Campaign(
    id=CampaignId("76d1fab3-214c-47ef-bb04-16270639bf89"),
    project_id=PROJECT.id,
    key="tone",
    name="a 'quoted' näme ☃",
    metric_id=MetricId("m1"),
    kind="comparison",
    arms=(
        Arm(key="A", model="small", template_version=2, sampling=Sampling(temperature=0.5)),
        Arm(key="B", model="small", sampling=Sampling(logit_bias=((1, 2.0),))),
    ),
    traffic_split=0.25,
    auto_deploy=True,
    alpha=0.01,
    guard_alpha=0.02,
    min_scores=7,
    mixture_variance=0.5,
    guardrails=(Guardrail(measure="cost", margin=0.001),),
    status="DONE",
    created_s=1763760000.125,
    ended_s=1763760001.5,
    end_reason="B is better",
    winner="B",
    deployed_s=1763760001.5,
    least_p=(("A:B", 1.5e-9),),
)


# --- Campaigns ---


def test_everything_of_a_campaign_is_kept(store: Store, open_again: OpenAgain) -> None:
    store.add_campaign(WHOLE)
    store.add_campaign(CAMPAIGN)
    other = open_again()
    assert other.list_campaigns() == [WHOLE, CAMPAIGN]
    assert other.list_campaigns(PROJECT.id) == [WHOLE, CAMPAIGN]
    assert other.list_campaigns(ProjectId("proj_none")) == []
    assert other.active_campaigns() == [CAMPAIGN]


def test_a_project_has_one_active_campaign(store: Store) -> None:
    store.add_project(replace(PROJECT, id=ProjectId("proj_2"), key="p2"))
    store.add_campaign(make_campaign(1))
    with pytest.raises(Conflict, match="active campaign, 'k1'"):
        store.add_campaign(make_campaign(2))
    elsewhere = make_campaign(3, project_id=ProjectId("proj_2"))
    store.add_campaign(elsewhere)
    assert store.replace_campaign(make_campaign(1, status="CANCELLED", ended_s=5.0))
    store.add_campaign(make_campaign(2))
    assert [campaign.key for campaign in store.active_campaigns()] == ["k3", "k2"]


def test_one_of_two_that_begin_a_campaign_at_once_is_told_no(
    store: Store, open_again: OpenAgain
) -> None:
    # The database itself allows one: whoever looked before the other wrote is refused as well.
    store.add_campaign(make_campaign(1))
    connection = sqlite3.connect(database_of(store))
    row = connection.execute("SELECT * FROM campaigns").fetchone()
    marks = ",".join("?" * len(row))
    with closing(connection), pytest.raises(sqlite3.IntegrityError, match="project_id"):
        connection.execute(
            f"INSERT INTO campaigns VALUES ({marks})", ("c2", row[1], "k2", *row[3:])
        )


def test_a_campaigns_key_is_its_projects_for_ever(store: Store) -> None:
    store.add_campaign(make_campaign(1, status="DONE", ended_s=2.0))
    with pytest.raises(Conflict, match="'k1'"):
        store.add_campaign(make_campaign(2, key="k1"))
    with pytest.raises(UnknownEntity, match="proj_none"):
        store.add_campaign(make_campaign(2, project_id=ProjectId("proj_none")))
    assert len(store.list_campaigns()) == 1


def test_what_a_campaign_compares_stays_as_it_began(store: Store, open_again: OpenAgain) -> None:
    store.add_campaign(CAMPAIGN)
    before = store.generation()
    changed = replace(
        CAMPAIGN,
        name="x",
        traffic_split=0.5,
        auto_deploy=True,
        status="IN_PROGRESS",
        least_p=(("A:B", 0.5),),
    )
    assert store.replace_campaign(replace(changed, alpha=0.5, arms=(), min_scores=1))
    assert open_again().list_campaigns() == [changed]
    assert store.generation() != before


def test_a_campaign_ends_once(store: Store, open_again: OpenAgain) -> None:
    store.add_campaign(CAMPAIGN)
    ended = replace(CAMPAIGN, status="DONE", ended_s=5.0, winner="B", end_reason="r")
    assert open_again().replace_campaign(ended)
    before = store.generation()
    assert not store.replace_campaign(replace(CAMPAIGN, status="CANCELLED", ended_s=6.0))
    assert not store.replace_campaign(CAMPAIGN)
    assert store.list_campaigns() == [ended]
    assert store.generation() == before
    with pytest.raises(UnknownEntity, match="c9"):
        store.replace_campaign(make_campaign(9))


def test_progress_is_not_lost_to_a_change_that_did_not_know_of_it(store: Store) -> None:
    store.add_campaign(CAMPAIGN)
    store.replace_campaign(replace(CAMPAIGN, status="IN_PROGRESS"))
    store.note_least_p(CAMPAIGN.id, [("A:B", 0.25)])
    assert store.replace_campaign(replace(CAMPAIGN, traffic_split=0.75, least_p=(("A:B", 0.5),)))
    (kept,) = store.list_campaigns()
    assert (kept.status, kept.traffic_split) == ("IN_PROGRESS", 0.75)
    assert kept.least_p == (("A:B", 0.25),)


def test_p_values_only_fall_and_are_noted_without_telling_anyone(store: Store) -> None:
    store.add_campaign(CAMPAIGN)
    before = store.generation()
    store.note_least_p(CAMPAIGN.id, [("A:B", 0.5), ("A:C", 0.1)])
    store.note_least_p(CAMPAIGN.id, [("A:C", 0.2), ("A:B", 0.25), ("B:C", 1.0)])
    (kept,) = store.list_campaigns()
    assert kept.least_p == (("A:B", 0.25), ("A:C", 0.1), ("B:C", 1.0))
    assert store.generation() == before
    with pytest.raises(UnknownEntity, match="c9"):
        store.note_least_p(CampaignId("c9"), [])


def test_a_metric_that_a_campaign_is_about_stays(store: Store) -> None:
    metric = Metric(
        id=MetricId("m1"), project_id=PROJECT.id, key="liked", name="Liked", kind="bool"
    )
    store.add_metric(metric)
    store.add_campaign(WHOLE)
    with pytest.raises(Conflict, match="'tone'"):
        store.delete_metric(metric.id)
    assert store.list_metrics() == [metric]


# --- Scores ---


def score(store: Store, unit: str, arm: str, value: float) -> bool:
    return count_score(
        store._database, Score(campaign_id=CAMPAIGN.id, unit=unit, arm=arm, value=value)
    )


def test_the_first_score_of_a_unit_is_apart_from_its_later_ones(store: Store) -> None:
    store.add_campaign(CAMPAIGN)
    for unit, arm, value in (
        ("user:1", "A", 1.0),
        ("user:2", "A", 3.0),
        ("user:1", "A", 100.0),
        ("user:3", "B", -2.0),
        ("user:1", "A", 200.0),
    ):
        assert score(store, unit, arm, value)
    assert store.tally(CAMPAIGN.id) == Tally(
        arms=(
            ArmTally(arm="A", scores=Sums(2, 2.0, 2.0), later_scores=Sums(2, 150.0, 5000.0)),
            ArmTally(arm="B", scores=Sums(1, -2.0, 0.0)),
        )
    )


def test_nothing_is_counted_once_a_campaign_has_ended(store: Store) -> None:
    pair = PairScore(campaign_id=CAMPAIGN.id, unit="u", first="A", second="B", result=1)
    assert not score(store, "user:1", "A", 1.0)
    store.add_campaign(CAMPAIGN)
    assert score(store, "user:1", "A", 1.0)
    assert count_pair_score(store._database, pair)
    before = store.tally(CAMPAIGN.id)
    store.replace_campaign(replace(CAMPAIGN, status="CANCELLED", ended_s=2.0))
    assert not score(store, "user:1", "A", 1.0)
    assert not score(store, "user:2", "A", 1.0)
    assert not count_pair_score(store._database, replace(pair, unit="v"))
    assert store.tally(CAMPAIGN.id) == before


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1e151])
def test_a_value_that_no_sum_can_hold_is_refused(store: Store, value: float) -> None:
    store.add_campaign(CAMPAIGN)
    with pytest.raises(InvalidRequest, match="value"):
        score(store, "user:1", "A", value)
    for unit, largest in (("user:1", 1e150), ("user:2", -1e150)):
        assert score(store, unit, "A", largest)
    assert store.tally(CAMPAIGN.id).arms[0].scores.n == 2


def test_a_score_stands_or_falls_with_what_it_comes_from(store: Store) -> None:
    store.add_campaign(CAMPAIGN)

    def fail() -> None:
        with store.atomically():
            score(store, "user:1", "A", 1.0)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert store.tally(CAMPAIGN.id) == Tally()
    score(store, "user:1", "A", 2.0)
    assert store.tally(CAMPAIGN.id).arms[0].scores == Sums(1, 2.0, 0.0)


def test_a_tally_has_what_its_own_transaction_counted(store: Store) -> None:
    store.add_campaign(CAMPAIGN)
    with store.atomically():
        score(store, "user:1", "A", 2.0)
        assert store.tally(CAMPAIGN.id).arms[0].scores == Sums(1, 2.0, 0.0)
        score(store, "user:2", "A", 4.0)
    assert store.tally(CAMPAIGN.id).arms[0].scores == Sums(2, 3.0, 2.0)


def test_each_unit_compares_a_pair_of_arms_once(store: Store) -> None:
    store.add_campaign(make_campaign(1, kind="comparison"))
    for unit, first, second, result in (
        ("user:1", "A", "B", 1),
        ("user:2", "A", "B", -1),
        ("user:3", "A", "B", 0),
        ("user:4", "A", "B", 1),
        ("user:1", "A", "B", -1),
        ("user:1", "A", "C", -1),
        ("user:1", "A", "C", 0),
    ):
        pair = PairScore(
            campaign_id=CampaignId("c1"),
            unit=unit,
            first=first,
            second=second,
            result=result,  # type: ignore[arg-type]  # of a loop over tuples
        )
        assert count_pair_score(store._database, pair)
    assert store.tally(CampaignId("c1")) == Tally(
        pairs=(
            PairTally(first="A", second="B", wins=2, losses=1, ties=1, later=1),
            PairTally(first="A", second="C", losses=1, later=1),
        )
    )


# --- Gathering ---


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


def test_a_tally_is_of_one_moment(store: Store, open_again: OpenAgain) -> None:
    store.add_campaign(CAMPAIGN)
    reader = open_again()
    has_ended = threading.Event()
    found: list[Tally] = []

    def read() -> None:
        while not has_ended.is_set():
            found.append(reader.tally(CAMPAIGN.id))

    thread = threading.Thread(target=read)
    thread.start()
    for number in range(50):
        pair = PairScore(
            campaign_id=CAMPAIGN.id, unit=f"user:{number}", first="A", second="B", result=1
        )
        with store.atomically():
            score(store, pair.unit, "A", 1.0)
            count_pair_score(store._database, pair)
    has_ended.set()
    thread.join()
    both = [(tally.arms, tally.pairs) for tally in found]
    assert all(
        sum(arm.scores.n for arm in arms) == sum(pair.wins for pair in pairs)
        for arms, pairs in both
    )
