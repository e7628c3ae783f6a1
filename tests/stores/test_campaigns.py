"""What every store promises of campaigns."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing

import pytest
from msgspec.structs import replace
from tests.stores.campaign_rows import (
    CAMPAIGN,
    PROJECT,
    database_of,
    make_campaign,
    with_project,
)

from dragoman.chat import Sampling
from dragoman.errors import Conflict, UnknownEntity
from dragoman.records.campaign import (
    Arm,
    Campaign,
    CampaignId,
    Guardrail,
)
from dragoman.records.metric import Metric, MetricId
from dragoman.records.project import ProjectId
from dragoman.stores import Store

OpenAgain = Callable[[], Store]


@pytest.fixture
def store(open_again: OpenAgain) -> Store:
    return with_project(open_again())


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
