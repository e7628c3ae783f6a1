"""The clerk over a real store: what looks change, and that it happens once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace
from tests.stores import campaign_rows
from tests.stores.campaign_rows import Asked, add_interactions, database_of

from dragoman.chat import Sampling
from dragoman.errors import UnknownEntity
from dragoman.policy.campaigns.clerk import Clerk
from dragoman.records.account import DEFAULT_ACCOUNT
from dragoman.records.campaign import Arm, Campaign, CampaignId, Guardrail, PairScore, Score
from dragoman.records.metric import Metric, MetricId
from dragoman.records.project import AttachedModel, Project, ProjectId
from dragoman.records.template import Template, TemplateId, TemplateVersion
from dragoman.stores import Store, open_store
from dragoman.stores.scores import count_pair_score, count_score

NOW_S = 1_800_000_000.0
METRIC = Metric(
    id=MetricId("5d0f6a86-1c0d-4f0a-9d5c-0f6c0ab7a0de"),
    project_id=ProjectId("proj_1"),
    key="liked",
    name="Liked",
    kind="bool",
)
PROJECT = Project(
    id=ProjectId("proj_1"),
    key="support",
    name="Support",
    account_id=DEFAULT_ACCOUNT,
    models=(
        AttachedModel(key="small", model="m1", sampling=Sampling(temperature=0.2, top_p=0.9)),
        AttachedModel(key="large", model="m2", template="greeting"),
    ),
    default_model="small",
)
TEMPLATE = Template(
    id=TemplateId("tmpl_1"),
    project_id=PROJECT.id,
    key="greeting",
    active_version=1,
    versions=(TemplateVersion(version=1, text="Hi"), TemplateVersion(version=2, text="Hello")),
)
CAMPAIGN = Campaign(
    id=CampaignId("0b9e7c0e-51a5-4b8b-a4d7-8f0c1d6f2a31"),
    project_id=PROJECT.id,
    key="tone",
    name="Tone",
    metric_id=METRIC.id,
    kind="direct",
    arms=(
        Arm(key="A", model="small"),
        Arm(key="B", model="large", template_version=2, sampling=Sampling(temperature=0.7)),
    ),
    auto_deploy=True,
    created_s=NOW_S - 60,
)


class StillClock:
    def monotonic_s(self) -> float:
        return 0.0

    def unix_s(self) -> float:
        return NOW_S


OpenStore = Callable[[], Store]


@pytest.fixture
def open_again(tmp_path: Path) -> Iterator[OpenStore]:
    opened: list[Store] = []

    def open_one() -> Store:
        opened.append(open_store(tmp_path))
        return opened[-1]

    yield open_one
    for store in opened:
        store.close()


@pytest.fixture
def store(open_again: OpenStore) -> Store:
    store = open_again()
    store.add_project(PROJECT)
    store.add_template(replace(TEMPLATE, versions=TEMPLATE.versions[:1]))
    store.add_template_version(TEMPLATE.id, TEMPLATE.versions[1])
    store.add_metric(METRIC)
    return store


@pytest.fixture
def clerk(store: Store) -> Clerk:
    return Clerk(store, StillClock())


def score(store: Store, arm: str, good: int, bad: int, campaign: Campaign = CAMPAIGN) -> None:
    with store.atomically():
        for number in range(good + bad):
            value = 1.0 if number < good else 0.0
            unit = f"user:{arm}-{value}-{number}"
            count_score(
                store._database,
                Score(campaign_id=campaign.id, unit=unit, arm=arm, value=value),
            )


def asked(unit: str, arm: str, **fields: object) -> Asked:
    return campaign_rows.asked(unit, arm, campaign_id=CAMPAIGN.id, **fields)


def kept(store: Store) -> Campaign:
    return store.list_campaigns()[0]


def actions(store: Store) -> list[str]:
    return [event.action for _, event in store.list_events()]


# --- Looking ---


def test_a_campaign_warms_up_until_each_arm_has_enough_scores(store: Store, clerk: Clerk) -> None:
    store.add_campaign(CAMPAIGN)
    score(store, "A", 20, 20)
    assert clerk.look_at_all() == 1
    assert kept(store).status == "WARMUP"
    score(store, "B", 15, 14)
    clerk.look_at_all()
    assert kept(store).status == "WARMUP"
    assert clerk.report(CAMPAIGN.id).headline == "Too early: B has 29 of 30 scores."
    with store.atomically():
        count_score(
            store._database, Score(campaign_id=CAMPAIGN.id, unit="user:n", arm="B", value=1.0)
        )
    clerk.look_at_all()
    assert kept(store).status == "IN_PROGRESS"
    assert kept(store).ended_s is None
    assert actions(store) == []


def test_what_has_not_changed_is_not_judged_again(store: Store, clerk: Clerk) -> None:
    store.add_campaign(CAMPAIGN)
    score(store, "A", 30, 30)
    assert clerk.look_at_all() == 1
    assert clerk.look_at_all() == 0
    score(store, "B", 30, 30)
    assert clerk.look_at_all() == 1
    # The status is written, so the campaign is another one; then nothing moves any more.
    clerk.look_at_all()
    generation = store.generation()
    assert clerk.look_at_all() == 0
    assert store.generation() == generation


def test_p_values_only_ever_fall(store: Store, clerk: Clerk) -> None:
    store.add_campaign(replace(CAMPAIGN, status="IN_PROGRESS"))
    score(store, "A", 40, 60)
    score(store, "B", 58, 42)
    clerk.look(CAMPAIGN.id)
    ((pair, least),) = kept(store).least_p
    assert (pair, 0.05 < least < 1) == ("A:B", True)
    with store.atomically():
        for number in range(60):
            count_score(
                store._database,
                Score(campaign_id=CAMPAIGN.id, unit=f"user:x{number}", arm="A", value=1.0),
            )
    judged = clerk.look(CAMPAIGN.id)
    assert judged is not None
    assert judged.pairs[0].difference.p > least
    assert judged.pairs[0].least_p == least
    assert kept(store).least_p == (("A:B", least),)
    assert clerk.report(CAMPAIGN.id).pairs[0].p == least


def test_there_is_nothing_to_look_at_once_it_has_ended(store: Store, clerk: Clerk) -> None:
    store.add_campaign(replace(CAMPAIGN, status="CANCELLED", ended_s=NOW_S))
    assert clerk.look(CAMPAIGN.id) is None
    assert clerk.look_at_all() == 0
    assert clerk.report(CAMPAIGN.id).status == "CANCELLED"
    with pytest.raises(UnknownEntity):
        clerk.report(CampaignId("c"))


# --- Ending ---


def win(store: Store) -> None:
    score(store, "A", 30, 70)
    score(store, "B", 70, 30)


def test_a_winner_ends_the_campaign_and_becomes_the_default(store: Store, clerk: Clerk) -> None:
    store.add_campaign(CAMPAIGN)
    win(store)
    clerk.look_at_all()
    ended = kept(store)
    assert (ended.status, ended.winner, ended.ended_s, ended.deployed_s) == (
        "DONE",
        "B",
        NOW_S,
        NOW_S,
    )
    assert ended.end_reason is not None
    assert ended.end_reason.startswith("B is better than A by 0.1")
    assert ended.end_reason.endswith("B is the project's default now.")
    (project,) = store.list_projects()
    assert project.default_model == "large"
    assert project.models[0] == PROJECT.models[0]
    assert project.models[1].sampling == Sampling(temperature=0.7)
    assert store.list_templates()[0].active_version == 2
    assert actions(store) == ["campaign.deploy", "campaign.end"]
    told = [msgspec.json.decode(event.detail) for _, event in store.list_events()]
    assert told[0]["before"] == "small"
    assert told[1]["winner"] == "B"
    assert clerk.report(ended.id).winner == "B"
    assert clerk.report(ended.id).headline == ended.end_reason


def test_the_arms_sampling_goes_over_the_models(store: Store, clerk: Clerk) -> None:
    arms = (Arm(key="A", model="large"), Arm(key="B", model="small", sampling=Sampling(top_p=0.5)))
    store.add_campaign(replace(CAMPAIGN, arms=arms))
    win(store)
    clerk.look_at_all()
    (project,) = store.list_projects()
    assert project.models[0].sampling == Sampling(temperature=0.2, top_p=0.5)
    assert store.list_templates()[0].active_version == 1


def test_without_auto_deploy_the_project_stays_as_it_is(store: Store, clerk: Clerk) -> None:
    store.add_campaign(replace(CAMPAIGN, auto_deploy=False))
    win(store)
    clerk.look_at_all()
    assert (kept(store).winner, kept(store).deployed_s) == ("B", None)
    assert store.list_projects() == [PROJECT]
    assert actions(store) == ["campaign.end"]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"models": PROJECT.models[:1]}, "no model 'large' any more"),
        (
            {"models": (PROJECT.models[0], replace(PROJECT.models[1], template=None))},
            "no version 2 of a template any more",
        ),
        ({"archived_s": NOW_S}, "archived"),
    ],
)
def test_what_cannot_be_deployed_any_more_is_said(
    store: Store, clerk: Clerk, change: dict[str, object], why: str
) -> None:
    store.add_campaign(CAMPAIGN)
    store.replace_project(replace(PROJECT, **change))
    win(store)
    clerk.look_at_all()
    ended = kept(store)
    assert (ended.winner, ended.deployed_s) == ("B", None)
    assert why in (ended.end_reason or "")
    assert store.list_projects()[0].default_model == "small"


def test_arms_with_a_wrong_sample_ratio_are_not_deployed(store: Store, clerk: Clerk) -> None:
    store.add_campaign(CAMPAIGN)
    add_interactions(
        database_of(store),
        *(asked(f"user:{n}", "A" if n % 3 else "B") for n in range(600)),
    )
    win(store)
    clerk.look_at_all()
    ended = kept(store)
    assert (ended.status, ended.winner, ended.deployed_s) == ("DONE", "B", None)
    assert "different numbers of units" in (ended.end_reason or "")
    warning = clerk.report(ended.id).sample_ratio.warning or ""
    assert "A 400, B 200" in warning


def test_an_end_by_feedback_counts_everything_that_was_asked_before(
    store: Store, clerk: Clerk
) -> None:
    store.add_campaign(CAMPAIGN)
    add_interactions(
        database_of(store),
        *(asked(f"user:{n}", "A" if n % 3 else "B") for n in range(600)),
    )
    win(store)
    clerk.look(CAMPAIGN.id)
    assert [(arm.units, arm.requests) for arm in clerk.report(CAMPAIGN.id).arms] == [
        *((400, 400), (200, 200))
    ]
    # What was counted only now is judged, too.
    assert kept(store).deployed_s is None


def test_a_guardrail_ends_it_without_a_winner(store: Store, clerk: Clerk) -> None:
    guard = Guardrail(measure="errors", margin=0.05)
    store.add_campaign(replace(CAMPAIGN, guardrails=(guard,)))
    add_interactions(
        database_of(store),
        *(
            asked(f"user:{n}", "AB"[n % 2], status="failed" if n % 4 == 1 else "ok")
            for n in range(200)
        ),
    )
    # More are better at the same look: what is harmful comes first.
    win(store)
    clerk.look_at_all()
    ended = kept(store)
    assert (ended.status, ended.winner, ended.deployed_s) == ("DONE", None, None)
    assert "B has certainly more errors than A" in (ended.end_reason or "")
    assert store.list_projects() == [PROJECT]


def test_a_comparison_ends_when_one_is_preferred(store: Store, clerk: Clerk) -> None:
    store.add_campaign(replace(CAMPAIGN, kind="comparison", auto_deploy=False))
    with store.atomically():
        for number in range(80):
            count_pair_score(
                store._database,
                PairScore(
                    campaign_id=CAMPAIGN.id,
                    unit=f"user:{number}",
                    first="A",
                    second="B",
                    result=-1 if number % 4 == 0 else 1,
                ),
            )
    clerk.look_at_all()
    ended = kept(store)
    assert ended.winner == "A"
    assert "(60 for A, 20 for B, 0 for neither)" in (ended.end_reason or "")


def test_measured_metrics_need_no_feedback(store: Store, clerk: Clerk) -> None:
    store.add_campaign(replace(CAMPAIGN, metric_id=MetricId("total_ms"), auto_deploy=False))
    add_interactions(
        database_of(store),
        *(
            asked(f"user:{n}", "AB"[n % 2], total_ms=100.0 + n % 7 + 20 * (n % 2))
            for n in range(200)
        ),
    )
    clerk.look_at_all()
    ended = kept(store)
    assert ended.winner == "A"
    assert "ms (a lower total_ms is better)" in (ended.end_reason or "")


# --- Several at once ---


def test_a_campaign_ends_once_though_many_look(store: Store, open_again: OpenStore) -> None:
    store.add_campaign(CAMPAIGN)
    win(store)
    clerks = [Clerk(open_again(), StillClock()) for _ in range(4)]
    ready = threading.Barrier(len(clerks))

    def look(clerk: Clerk) -> None:
        ready.wait()
        clerk.look_at_all()

    threads = [threading.Thread(target=look, args=(clerk,)) for clerk in clerks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert kept(store).winner == "B"
    assert actions(store) == ["campaign.deploy", "campaign.end"]


class SlowStore:
    """A store in front of which somebody else is faster, once it has told what is active."""

    def __init__(self, store: Store, meanwhile: Callable[[], None]) -> None:
        self._store = store
        self._meanwhile: Callable[[], None] | None = meanwhile

    def __getattr__(self, name: str) -> object:
        return getattr(self._store, name)

    def active_campaigns(self) -> list[Campaign]:
        found = self._store.active_campaigns()
        meanwhile, self._meanwhile = self._meanwhile, None
        if meanwhile is not None:
            meanwhile()
        return found


def test_what_is_changed_while_one_looks_is_kept(store: Store, open_again: OpenStore) -> None:
    store.add_campaign(CAMPAIGN)
    win(store)
    other = open_again()

    def change() -> None:
        other.replace_campaign(replace(CAMPAIGN, name="Renamed", auto_deploy=False))

    clerk = Clerk(SlowStore(store, change), StillClock())  # type: ignore[arg-type]
    clerk.look_at_all()
    assert (kept(store).name, kept(store).winner) == ("Renamed", "B")
    assert store.list_projects() == [PROJECT]


def test_a_cancelled_campaign_gets_no_winner(store: Store, open_again: OpenStore) -> None:
    store.add_campaign(CAMPAIGN)
    win(store)
    other = open_again()

    def cancel() -> None:
        other.replace_campaign(replace(CAMPAIGN, status="CANCELLED", ended_s=NOW_S))

    clerk = Clerk(SlowStore(store, cancel), StillClock())  # type: ignore[arg-type]
    clerk.look_at_all()
    assert (kept(store).status, kept(store).winner) == ("CANCELLED", None)
    assert actions(store) == []


def test_a_deployment_that_fails_leaves_the_campaign_running(
    store: Store, clerk: Clerk, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.add_campaign(CAMPAIGN)
    win(store)

    def fail(project: Project) -> None:
        raise UnknownEntity(f"no {project.key}", entity="project")

    with monkeypatch.context() as patched:
        patched.setattr(store, "replace_project", fail)
        with pytest.raises(UnknownEntity):
            clerk.look_at_all()
    assert kept(store).status == "WARMUP"
    assert actions(store) == []
    clerk.look_at_all()
    assert kept(store).deployed_s == NOW_S


def test_a_campaign_that_cannot_be_judged_keeps_no_other_from_its_end(
    store: Store, clerk: Clerk
) -> None:
    store.add_campaign(CAMPAIGN)
    win(store)
    store.add_project(replace(PROJECT, id=ProjectId("proj_2"), key="other"))
    lost = replace(CAMPAIGN, id=CampaignId("c"), project_id="proj_2", created_s=NOW_S)
    store.add_campaign(replace(lost, metric_id=MetricId("gone")))
    with pytest.raises(UnknownEntity, match="gone"):
        clerk.look_at_all()
    assert store.list_campaigns(PROJECT.id)[0].winner == "B"
    assert [campaign.id for campaign in store.active_campaigns()] == ["c"]


def test_a_stop_ends_the_counting_of_a_long_backlog(store: Store, clerk: Clerk) -> None:
    store.add_campaign(CAMPAIGN)
    add_interactions(database_of(store), *(asked(f"user:{n}", "A") for n in range(1500)))
    stop = threading.Event()
    stop.set()
    clerk.look_at_all(stop)
    assert store.tally(CAMPAIGN.id).arms == ()
    clerk.look_at_all()
    assert store.tally(CAMPAIGN.id).arms[0].requests == 1500
