"""Adaptive Engine's own client against a project: chats, interactions and preferences, and feedback by HTTP.

`adaptive-sdk` 0.13.0, of which base URL and key are replaced.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import adaptive_sdk
import httpx
import pytest
from tests.conftest import SCRIPTED_SECRET, gateway_config
from tests.scripted_provider import Script, ScriptedProvider
from tests.server_process import ServerProcess

from dragoman.app.process import SystemClock
from dragoman.policy.administration import (
    Administration,
    AttachedModelWish,
    CampaignWish,
    MetricWish,
    ProjectWish,
    TemplateWish,
    ToolServerWish,
)
from dragoman.policy.administration.project_wishes import (
    ArmWish,
    AttachedToolWish,
    HttpToolWish,
)
from dragoman.records.campaign import ArmTally
from dragoman.records.interaction import Interaction
from dragoman.stores import Store, open_store

USER = "0b0c8a0e-9a5e-4b8e-8a57-2f2f7d1b3c22"
SESSION = "3c90c3cc-0d44-4b50-8888-8dd25736052a"
HELLO: list[Any] = [{"role": "user", "content": "Hello from SDK"}]


class Shop:
    """A server with the project `shop`, the vendor's clients of it, and its store."""

    def __init__(self, server: ServerProcess, store: Store) -> None:
        self.store = store
        self.administration = Administration(store, SystemClock(), "cli:tester")
        self.http = httpx.Client(
            base_url=f"{server.url}/api/v1",
            headers={"authorization": f"Bearer {server.key}"},
            timeout=20,
        )
        self.sync = adaptive_sdk.Adaptive(base_url=server.url, api_key=server.key)
        self.sync.set_default_project("shop")
        self.server = server
        self._furnish()

    def _furnish(self) -> None:
        tool = HttpToolWish(name="look")
        office = self.administration
        office.tool_servers.put(
            ToolServerWish(
                key="desk",
                kind="http",
                url="http://127.0.0.1:9/",
                tools=(tool,),
                allow_private=True,
            )
        )
        office.projects.create(
            ProjectWish(
                key="shop",
                models=(
                    AttachedModelWish(
                        model="gpt", key="fast", tools=(AttachedToolWish(id="desk"),)
                    ),
                    AttachedModelWish(model="claude", key="wise"),
                ),
            )
        )
        office.templates.create("shop", TemplateWish(key="tone", text="Be {{tone}}."))
        office.projects.put_model(
            "shop",
            "prompted",
            AttachedModelWish(
                model="gpt", key="prompted", template="tone", tools=(AttachedToolWish(id="desk"),)
            ),
        )
        office.metrics.create("shop", MetricWish(key="liked", kind="bool"))
        office.metrics.create("shop", MetricWish(key="stars", kind="scalar"))

    def kept(self, completion_id: object) -> Interaction:
        found = self.store.find_interaction(str(completion_id))
        assert found is not None
        return found.interaction

    def post(self, path: str, body: dict[str, Any]) -> Any:
        answer = self.http.post(path, json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def begin(self, key: str, kind: Any = "direct") -> str:
        wish = CampaignWish(
            key=key, metric="liked", kind=kind, arms=(ArmWish(model="fast"), ArmWish(model="wise"))
        )
        return str(self.administration.campaigns.create("shop", wish)[0].id)

    def tally(self, campaign: str) -> dict[str, ArmTally]:
        found = self.administration.campaigns.find("shop", campaign)
        return {arm.arm: arm for arm in self.store.tally(found.id).arms}

    def close(self) -> None:
        self.http.close()
        self.sync.close()


@pytest.fixture(scope="module")
def _shop(
    _scripted_provider: ScriptedProvider, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Shop]:
    data_dir: Path = tmp_path_factory.mktemp("adaptive") / "data"
    process = ServerProcess(
        data_dir,
        gateway_config(_scripted_provider),
        environment={"SCRIPTED_SECRET": SCRIPTED_SECRET},
    )
    with process as server:
        store = open_store(data_dir)
        shop = Shop(server, store)
        yield shop
        shop.close()
        store.close()


@pytest.fixture
def shop(_shop: Shop, provider: ScriptedProvider) -> Iterator[Shop]:
    assert provider.requests == []
    yield _shop
    for campaign in _shop.administration.campaigns.list_all("shop"):
        if campaign.is_active:
            _shop.administration.campaigns.cancel("shop", campaign.key)


@pytest.fixture
async def later(shop: Shop) -> AsyncIterator[Any]:
    """The asynchronous client, which belongs to one event loop."""
    client = adaptive_sdk.AsyncAdaptive(base_url=shop.server.url, api_key=shop.server.key)
    client.set_default_project("shop")
    yield client
    await client.close()


def model_asked(provider: ScriptedProvider) -> str:
    return str(provider.requests[-1].body["model"])


# --- Chats ---


@pytest.mark.parametrize(("model", "answered_by"), [(None, "gpt"), ("wise", "claude")])
def test_a_chat_is_answered_and_kept(
    shop: Shop, provider: ScriptedProvider, model: str | None, answered_by: str
) -> None:
    provider.enqueue(Script(deltas=("Hel", "lo")))
    answer = shop.sync.chat.create(
        HELLO,
        model=model,
        stop=["END"],
        max_tokens=20,
        temperature=0.5,
        top_p=0.9,
        session_id=SESSION,
        user=USER,
        labels={"team": "blue"},
    )
    choice = answer.choices[0]
    assert (choice.message.content, choice.model) == ("Hello", answered_by)
    assert str(answer.session_id) == SESSION
    assert model_asked(provider) == answered_by
    kept = shop.kept(choice.completion_id)
    assert (kept.attached, kept.model, kept.status) == (model or "fast", answered_by, "ok")
    assert (kept.session_id, kept.user, kept.labels) == (SESSION, USER, (("team", "blue"),))
    assert kept.content is not None
    assert json.loads(bytes(kept.content.messages)) == HELLO


def test_a_chat_is_streamed_and_kept(shop: Shop, provider: ScriptedProvider) -> None:
    provider.enqueue(Script(deltas=("Hel", "lo")))
    chunks = list(shop.sync.chat.create(HELLO, stream=True, stream_include_usage=True, user=USER))
    text = "".join(chunk.choices[0].delta.content for chunk in chunks if chunk.choices)
    assert text == "Hello"
    assert chunks[-1].usage is not None
    (completion_id,) = {chunk.choices[0].completion_id for chunk in chunks if chunk.choices}
    kept = shop.kept(completion_id)
    assert (kept.session_id, kept.user) == (str(chunks[0].session_id), USER)
    assert kept.content is not None
    assert json.loads(bytes(kept.content.completion or b"null"))["content"] == "Hello"


def test_a_chat_that_is_not_to_be_stored_keeps_no_words(
    shop: Shop, provider: ScriptedProvider
) -> None:
    answer = shop.sync.chat.create(HELLO, store=False)
    kept = shop.kept(answer.choices[0].completion_id)
    assert (kept.content, kept.status) == (None, "ok")


def test_several_answers_are_kept_one_by_one(shop: Shop, provider: ScriptedProvider) -> None:
    answer = shop.sync.chat.create(HELLO, model="fast", n=2)
    ids = [choice.completion_id for choice in answer.choices]
    assert [shop.kept(each).choice for each in ids] == [0, 1]


async def test_the_asynchronous_client_chats_and_streams(
    shop: Shop, later: Any, provider: ScriptedProvider
) -> None:
    provider.enqueue(Script(deltas=("Hel", "lo")), Script(deltas=("Hel", "lo")))
    answer = await later.chat.create(HELLO, labels={"a": "b"}, session_id=SESSION)
    assert answer.choices[0].message.content == "Hello"
    text = ""
    async for chunk in await later.chat.create(HELLO, stream=True, model="wise"):
        text += chunk.choices[0].delta.content if chunk.choices else ""
    assert text == "Hello"
    assert shop.kept(answer.choices[0].completion_id).labels == (("a", "b"),)


def test_the_documents_own_body_with_every_field_set(
    shop: Shop, provider: ScriptedProvider
) -> None:
    campaign = shop.begin("everything")
    provider.enqueue(Script(deltas=("Hel", "lo")))
    body = {
        "messages": [
            {
                "content": "Hello",
                "role": "user",
                "name": "ada",
                "completion_id": "3c90c3cc-0d44-4b50-8888-8dd25736052a",
                "metadata": {"any": ["thing"]},
            }
        ],
        "model": "shop/fast",
        "stop": ["END"],
        "max_tokens": 20,
        "temperature": 0.5,
        "top_p": 0.9,
        "max_ttft_ms": 20_000,
        "stream": True,
        "stream_options": {"include_usage": True},
        "session_id": SESSION,
        "user": USER,
        "ab_campaign": campaign,
        "n": 1,
        "labels": {"key": "value"},
        "metadata": {"key": "other", "more": "1"},
        "system_prompt_args": {"tone": "kind"},
        "tags": ["tag"],
        "use_tools": True,
        "tools": [{"id": "desk", "enabled": False}],
        "store": True,
    }
    answer = shop.http.post("/chat/completions", json=body)
    assert answer.status_code == 200, answer.text
    frames = [line[6:] for line in answer.text.splitlines() if line.startswith("data: ")]
    assert frames[-1] == "[DONE]"
    chunks = [json.loads(frame) for frame in frames[:-1]]
    assert "".join(c["choices"][0]["delta"]["content"] for c in chunks if c["choices"]) == "Hello"
    assert chunks[-1]["usage"]["total_tokens"] > 0
    kept = shop.kept(chunks[0]["choices"][0]["completion_id"])
    assert (kept.campaign_id, kept.arm, kept.entered_by) == (campaign, "A", "request")
    assert (kept.unit, kept.tags) == (f"session:{SESSION}", ("tag",))
    assert dict(kept.labels) == {"key": "value", "more": "1"}


def test_a_template_is_rendered_from_the_requests_arguments(
    shop: Shop, provider: ScriptedProvider
) -> None:
    body = {
        "model": "shop/prompted",
        "messages": HELLO,
        "system_prompt_args": {"tone": "{{tone}}"},
        "use_tools": False,
        "tools": [{"id": "desk", "enabled": True}],
    }
    completion_id = shop.post("/chat/completions", body)["choices"][0]["completion_id"]
    assert provider.requests[0].body["messages"][0] == {
        "role": "system",
        "content": "Be {{tone}}.",
    }
    row = shop.http.get(f"/interactions/{completion_id}").json()
    assert (row["system_prompt"], row["template_version"]) == ("Be {{tone}}.", 1)
    refused = shop.http.post("/chat/completions", json={**body, "system_prompt_args": {}})
    assert (refused.status_code, refused.json()["error"]["param"]) == (
        400,
        "system_prompt_args.tone",
    )


# --- Interactions ---


def told() -> dict[str, Any]:
    return {
        "messages": HELLO,
        "completion": "Hello to you",
        "model": "wise",
        "feedbacks": [
            {"feedback_key": "liked", "value": True, "details": "very"},
            {"feedback_key": "stars", "value": 4.5},
        ],
        "user": USER,
        "session_id": SESSION,
        "labels": {"from": "sdk"},
        "created_at": "2026-11-22T18:00:00Z",
    }


def is_kept_as_told(shop: Shop, added: Any, *, is_dated: bool = True) -> None:
    kept = shop.store.find_interaction(str(added.completion_id))
    assert kept is not None
    interaction = kept.interaction
    assert (interaction.attached, interaction.model, interaction.source) == (
        "wise",
        "claude",
        "import",
    )
    assert (interaction.user, interaction.session_id) == (USER, SESSION)
    assert (interaction.created_s == 1795370400) is is_dated
    assert [str(each) for each in added.feedback_ids] == [each.id for each in kept.feedback]
    assert [(each.value, each.details) for each in kept.feedback] == [(1.0, "very"), (4.5, None)]


def test_the_client_tells_of_an_interaction(shop: Shop) -> None:
    is_kept_as_told(shop, shop.sync.interactions.create(**told()))


async def test_the_asynchronous_client_tells_of_an_interaction(shop: Shop, later: Any) -> None:
    # It has no word for when.
    fields = {name: value for name, value in told().items() if name != "created_at"}
    added = await later.interactions.create(**fields)
    is_kept_as_told(shop, added, is_dated=False)


def test_what_is_told_into_a_campaign_counts(shop: Shop) -> None:
    campaign = shop.begin("told")
    shop.sync.interactions.create(**{**told(), "ab_campaign": "told"})
    assert shop.tally(campaign)["B"].scores.n == 1


def test_the_clients_errors_say_what_is_unknown(shop: Shop) -> None:
    for fields, said in (
        ({"project": "none"}, "EntityNotFound: project"),
        ({"feedbacks": [{"feedback_key": "none", "value": 1}]}, "EntityNotFound: metric"),
        ({"ab_campaign": "none"}, "EntityNotFound: ab_campaign"),
    ):
        with pytest.raises(Exception, match=said):
            shop.sync.interactions.create(**{**told(), **fields})


# --- Feedback ---


def test_the_client_logs_a_preference_between_completions(shop: Shop) -> None:
    one = shop.sync.chat.create(HELLO).choices[0].completion_id
    other = shop.sync.chat.create(HELLO, model="wise").choices[0].completion_id
    logged = shop.sync.feedback.log_preference("liked", uuid.UUID(one), other, user=USER)
    (kept,) = shop.store.list_comparisons(shop.kept(one).project_id, completion_id=one)
    assert (kept.id, kept.user) == (str(logged.comparison_id), USER)
    assert (kept.preferred_id, kept.other_id, kept.tied) == (one, other, None)


def test_the_client_logs_a_preference_between_texts(shop: Shop) -> None:
    logged = shop.sync.feedback.log_preference(
        "liked",
        {"text": "This.", "model": "fast"},
        {"text": "That.", "model": "wise"},
        messages=HELLO,
    )
    project_id = shop.administration.projects.find("shop").id
    kept = shop.store.list_comparisons(project_id)[0]
    assert kept.id == str(logged.comparison_id)
    assert shop.kept(kept.preferred_id).attached == "fast"
    assert shop.kept(kept.other_id).attached == "wise"


async def test_the_asynchronous_client_logs_a_preference(shop: Shop, later: Any) -> None:
    one = (await later.chat.create(HELLO)).choices[0].completion_id
    other = (await later.chat.create(HELLO)).choices[0].completion_id
    logged = await later.feedback.log_preference("liked", one, other, user_id=USER)
    (kept,) = shop.store.list_comparisons(shop.kept(one).project_id, completion_id=one)
    assert kept.id == str(logged.comparison_id)


@pytest.mark.parametrize("tied", ["good", "bad"])
def test_ties_are_kept(shop: Shop, tied: str) -> None:
    """By plain HTTP: the client of this version fails to write its own word for a tie as JSON."""
    one = shop.sync.chat.create(HELLO).choices[0].completion_id
    other = shop.sync.chat.create(HELLO).choices[0].completion_id
    body = {
        "metric": "liked",
        "preferred_completion": one,
        "other_completion": other,
        "tied": tied,
        "project": "shop",
    }
    shop.post("/comparison", body)
    (kept,) = shop.store.list_comparisons(shop.kept(one).project_id, completion_id=one)
    assert kept.tied == tied


def test_feedback_and_outcomes_come_by_plain_http(shop: Shop) -> None:
    campaign = shop.begin("http")
    answer = shop.sync.chat.create(HELLO, ab_campaign="http", model="wise", session_id=SESSION)
    completion_id = answer.choices[0].completion_id
    said = {"completion_id": completion_id, "metric": "liked", "value": True, "user_id": USER}
    feedback_id = shop.post("/feedback", said)["feedback_id"]
    row = shop.http.get(f"/interactions/{completion_id}").json()
    assert [each["feedback_id"] for each in row["feedback"]] == [feedback_id]
    assert (row["arm"], row["served_arm"]) == ("B", "B")
    assert shop.tally(campaign)["B"].scores.mean == 1.0
    outcome = {"project_id": "shop", "metric": "stars", "value": 5, "session_id": SESSION}
    outcome_id = shop.post("/outcome", {**outcome, "user_id": USER})["outcome_id"]
    project_id = shop.kept(completion_id).project_id
    assert shop.store.list_outcomes(project_id, session_id=SESSION)[0].id == outcome_id
    lines = shop.http.get("/interactions", params={"format": "jsonl", "campaign": "http"})
    assert len(lines.text.splitlines()) == 1


def test_a_client_that_leaves_a_file_half_read_is_no_burden(shop: Shop) -> None:
    words = "x" * 20_000
    body = "\n".join(
        json.dumps({"messages": [{"role": "user", "content": f"{n} {words}"}], "completion": "y"})
        for n in range(60)
    )
    headers = {"content-type": "application/jsonl"}
    for _ in range(5):
        added = shop.http.post("/interactions?project=shop", content=body, headers=headers)
        assert added.status_code == 200, added.text
    # One that has left is noticed in its own time: until then it is one of the two at once.
    deadline_s = time.monotonic() + 30
    left = 0
    while left < 5:
        with shop.http.stream("GET", "/interactions?format=jsonl") as answer:
            if answer.status_code == 200:
                assert next(answer.iter_bytes())
                left += 1
            else:
                assert answer.status_code == 429
                assert time.monotonic() < deadline_s
    whole = shop.http.get("/interactions?format=jsonl")
    while whole.status_code == 429 and time.monotonic() < deadline_s:
        whole = shop.http.get("/interactions?format=jsonl")
    assert len(whole.content.splitlines()) >= 300
