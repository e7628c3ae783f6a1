"""A campaign on the wire: users meet arms, what is measured ends it, and the winner answers from then on."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
from msgspec.structs import replace
from tests.conftest import SCRIPTED_SECRET, gateway_config
from tests.policy.project_books import attached, project
from tests.scripted_provider import Script, ScriptedProvider, Tokens
from tests.server_process import ServerProcess

from dragoman.app.process import SystemClock
from dragoman.chat import Sampling
from dragoman.policy.campaigns.assignment import assign, unit_of
from dragoman.policy.campaigns.clerk import Clerk
from dragoman.records.account import DEFAULT_ACCOUNT
from dragoman.records.campaign import Arm, Campaign, CampaignId
from dragoman.records.interaction_query import InteractionFilter
from dragoman.records.metric import Metric, MetricId
from dragoman.stores import Store, open_store

USERS = [str(UUID(int=number, version=4)) for number in range(160)]
PROJECT = project(
    "support",
    attached("short", "gpt"),
    attached("long", "gpt-text-only"),
    account_id=DEFAULT_ACCOUNT,
    default_model="long",
)
CAMPAIGN = Campaign(
    id=CampaignId("0b9e7c0e-51a5-4b8b-a4d7-8f0c1d6f2a31"),
    project_id=PROJECT.id,
    key="length",
    name="Length",
    metric_id=MetricId("tokens"),
    kind="direct",
    arms=(
        Arm(key="A", model="long"),
        Arm(key="B", model="short", sampling=Sampling(temperature=0.125)),
    ),
    auto_deploy=True,
)


@pytest.fixture
def served(provider: ScriptedProvider, tmp_path: Path) -> Iterator[tuple[httpx.Client, Store]]:
    """Two processes, each of which may be asked."""
    data_dir = tmp_path / "data"
    process = ServerProcess(
        data_dir,
        "workers = 2\n" + gateway_config(provider),
        environment={"SCRIPTED_SECRET": SCRIPTED_SECRET},
    )
    with process as server:
        store = open_store(data_dir)
        headers = {"authorization": f"Bearer {server.key}"}
        with httpx.Client(base_url=server.url, headers=headers, timeout=20) as http:
            yield http, store
        store.close()


def ask(http: httpx.Client, user: str) -> str:
    """The model that answered."""
    return str(answer_to(http, user)["model"])


def answer_to(http: httpx.Client, user: str) -> Any:
    body = {
        "model": "support",
        "messages": [{"role": "user", "content": "hi"}],
        "user": user,
    }
    answer = http.post("/api/v1/chat/completions", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def ended(store: Store) -> Campaign:
    end_s = time.monotonic() + 20
    while time.monotonic() < end_s:
        (campaign,) = store.list_campaigns()
        if not campaign.is_active:
            return campaign
        time.sleep(0.05)  # another process counts, once a second
    raise AssertionError("the campaign did not end")


def test_users_meet_their_arms_until_the_better_one_answers_everybody(
    served: tuple[httpx.Client, Store], provider: ScriptedProvider
) -> None:
    http, store = served
    provider.when_model("gpt", Script(usage=Tokens(input=20, output=10)))
    provider.when_model("gpt-text-only", Script(usage=Tokens(input=20, output=40)))
    store.add_project(PROJECT)
    store.add_campaign(CAMPAIGN)
    with ThreadPoolExecutor(8) as pool:
        answered = dict(zip(USERS, pool.map(lambda user: ask(http, user), USERS), strict=True))
    campaign = ended(store)

    # The campaign may end before the last are asked: these meet the default, which is B's model.
    page = store.list_interactions(InteractionFilter(project_ids=(PROJECT.id,)), limit=1000)
    rows = [each.interaction for each in page.interactions]
    assert len(rows) == len(USERS)
    met = [row for row in rows if row.campaign_id is not None]
    assert len(met) >= 60
    for row in met:
        assert row.user is not None
        assert row.arm == assign(CAMPAIGN, unit_of(None, row.user, "")) == row.served_arm
        assert answered[row.user] == {"A": "gpt-text-only", "B": "gpt"}[row.arm or ""]

    assert (campaign.status, campaign.winner) == ("DONE", "B")
    assert campaign.deployed_s == campaign.ended_s
    (deployed,) = store.list_projects()
    assert deployed.default_model == "short"
    report = Clerk(store, SystemClock()).report(campaign.id)
    assert report.headline.startswith("B is better than A by ")
    assert " tokens (a lower tokens is better)" in report.headline
    assert not report.sample_ratio.is_off
    events = Counter(event.action for _, event in store.list_events())
    assert (events["campaign.end"], events["campaign.deploy"]) == (1, 1)

    provider.requests.clear()
    assert {ask(http, user) for user in USERS[:6]} == {"gpt"}
    assert {request.body["temperature"] for request in provider.requests} == {0.125}


def test_what_users_say_ends_a_campaign_at_once(
    served: tuple[httpx.Client, Store], provider: ScriptedProvider
) -> None:
    http, store = served
    store.add_project(PROJECT)
    store.add_metric(
        Metric(
            id=MetricId("5d0f6a86-1c0d-4f0a-9d5c-0f6c0ab7a0de"),
            project_id=PROJECT.id,
            key="liked",
            name="Liked",
            kind="bool",
        )
    )
    store.add_campaign(
        replace(CAMPAIGN, metric_id=MetricId("5d0f6a86-1c0d-4f0a-9d5c-0f6c0ab7a0de"))
    )
    told = 0
    for user in USERS:
        if not store.list_campaigns()[0].is_active:
            break
        answer = answer_to(http, user)
        remark = {
            "completion_id": answer["choices"][0]["completion_id"],
            "metric": "liked",
            "value": answer["model"] == "gpt",
        }
        # The second of a unit is shown, and not tested.
        for _ in range(2):
            said = http.post("/api/v1/feedback", json=remark)
            assert said.status_code in (200, 201), said.text
        told += 1
    (campaign,) = store.list_campaigns()
    assert (campaign.status, campaign.winner) == ("DONE", "B")
    tally = store.tally(campaign.id)
    # Nothing is counted after the end, which the last score, not a look a second later, brought.
    assert sum(arm.scores.n for arm in tally.arms) == told
    assert sum(arm.later_scores.n for arm in tally.arms) == told - 1
    assert told < 90
