"""Projects on the wire: what the provider is sent, what the client gets, and what is kept of it."""

from __future__ import annotations

import itertools
import json
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from tests.conftest import SCRIPTED_SECRET, gateway_config
from tests.policy.project_books import attached, campaign, project, template
from tests.scripted_provider import Call, Gate, Script, ScriptedProvider
from tests.server_process import ServerProcess

from dragoman.chat import Sampling
from dragoman.policy.keys import mint_key
from dragoman.records.account import DEFAULT_ACCOUNT, Account, AccountId
from dragoman.records.campaign import Arm, CampaignId
from dragoman.records.interaction import Interaction, InteractionContent
from dragoman.records.interaction_query import InteractionFilter
from dragoman.records.key import Scopes
from dragoman.records.limits import Limits
from dragoman.records.metric import Metric, MetricId
from dragoman.records.project import ContentRules, Project, ProjectId, RedactionRule
from dragoman.records.template import Template
from dragoman.stores import Store, open_store

OPENAI, STUDIO = "/v1/chat/completions", "/api/v1/chat/completions"
ANTHROPIC, DREAMSOLVE = "/v1/messages", "/api/v1/completions"
SESSION = "7d2f1b1e-52a5-4d8c-9d38-6ce5a77f4c11"
USER = "0b0c8a0e-9a5e-4b8e-8a57-2f2f7d1b3c22"

_numbers = itertools.count(1)


@dataclass
class Shop:
    """A server, its store, and the provider behind it."""

    url: str
    store: Store
    http: httpx.Client

    def open(self, *models: Any, templates: tuple[Template, ...] = (), **fields: Any) -> Project:
        """A new project of the default account; what refers to it is made to."""
        key = f"shop{next(_numbers)}"
        made = project(key, *models, **{"account_id": DEFAULT_ACCOUNT, **fields})
        self.store.add_project(made)
        for each in templates:
            self.store.add_template(
                msgspec.structs.replace(
                    each, project_id=made.id, id=msgspec.convert(f"{each.id}-{key}", str)
                )
            )
        return made

    def ask(self, path: str, model: str | None, **body: Any) -> httpx.Response:
        given: dict[str, Any] = {"messages": [{"role": "user", "content": "hi"}], **body}
        if model is not None:
            given["model"] = model
        if path == ANTHROPIC:
            given.setdefault("max_tokens", 50)
        return self.http.post(path, json=given)

    def kept(self, made: Project, count: int = 1) -> list[Interaction]:
        """Oldest first; asserts how many there are."""
        asked = InteractionFilter(project_ids=(made.id,))
        page = self.store.list_interactions(asked, limit=50)
        rows = [each.interaction for each in page.interactions][::-1]
        assert len(rows) == count
        return rows

    def kept_soon(self, made: Project) -> Interaction:
        """Of a request whose client saw no end."""
        end_s = time.monotonic() + 10
        asked = InteractionFilter(project_ids=(made.id,))
        while time.monotonic() < end_s:
            page = self.store.list_interactions(asked)
            if page.interactions:
                return page.interactions[0].interaction
        raise AssertionError("nothing was kept")

    def key(self, **fields: Any) -> httpx.Client:
        secret, key = mint_key("mine", time.time())
        self.store.add_key(msgspec.structs.replace(key, **fields))
        return httpx.Client(
            base_url=self.url, headers={"authorization": f"Bearer {secret}"}, timeout=20
        )


@pytest.fixture(scope="module")
def _shop(
    _scripted_provider: ScriptedProvider, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Shop]:
    data_dir: Path = tmp_path_factory.mktemp("shop") / "data"
    process = ServerProcess(
        data_dir,
        gateway_config(_scripted_provider),
        environment={"SCRIPTED_SECRET": SCRIPTED_SECRET},
    )
    with process as server:
        store = open_store(data_dir)
        headers = {"authorization": f"Bearer {server.key}"}
        with httpx.Client(base_url=server.url, headers=headers, timeout=20) as http:
            yield Shop(server.url, store, http)
        store.close()


@pytest.fixture
def shop(_shop: Shop, provider: ScriptedProvider) -> Shop:
    assert provider.requests == []
    return _shop


def words(row: Interaction) -> InteractionContent:
    assert row.content is not None
    return row.content


def said(raw: msgspec.Raw | None) -> Any:
    return None if raw is None else json.loads(bytes(raw))


def error_of(answer: httpx.Response) -> Any:
    return answer.json()["error"]


BODIES: dict[str, dict[str, Any]] = {
    OPENAI: {
        "user": USER,
        "metadata": {"team": "blue"},
        "messages": [
            {"role": "system", "content": "Be short."},
            {"role": "user", "content": "hi"},
        ],
    },
    STUDIO: {
        "user": USER,
        "session_id": SESSION,
        "labels": {"team": "blue"},
        "tags": ["a"],
        "system_prompt_args": {"name": "Ada {{tone}}"},
        "messages": [
            {"role": "system", "content": "Be short."},
            {"role": "user", "content": "hi", "metadata": {"n": 1}},
        ],
    },
    ANTHROPIC: {"system": "Be short.", "metadata": {"user_id": USER}},
    DREAMSOLVE: {
        "messages": [
            {"role": "user", "content": "hi"},
            {"role": "system", "content": "Be short."},
        ]
    },
}
every_dialect = pytest.mark.parametrize("path", list(BODIES))
PROMPTED = template("tone", "You are {{name}}.", name=b'"Bob"')


@every_dialect
@pytest.mark.parametrize("stream", [False, True])
def test_a_project_answers_in_every_dialect(
    shop: Shop, provider: ScriptedProvider, path: str, stream: bool
) -> None:
    model = attached(
        "main",
        "gpt",
        template="tone",
        sampling=Sampling(temperature=0.25, top_p=0.5, seed=9),
        max_output_tokens=77,
    )
    made = shop.open(model, templates=(PROMPTED,))
    provider.enqueue(Script(deltas=("Hel", "lo")))
    http: httpx.Client = shop.http
    target: str | None = made.key
    if path == DREAMSOLVE:
        http, target = shop.key(project=made.key), None
    body = {"messages": [{"role": "user", "content": "hi"}], **BODIES[path], "stream": stream}
    if target is not None:
        body["model"] = target
    if path == ANTHROPIC:
        body["max_tokens"] = 50
    answer = http.post(path, json=body)
    assert answer.status_code == 200
    assert "lo" in answer.text

    sent = provider.requests[0].body
    prompt = "You are Ada {{tone}}." if path == STUDIO else "You are Bob."
    assert sent["messages"] == [
        {"role": "system", "content": prompt},
        {"role": "system", "content": "Be short."},
        {"role": "user", "content": "hi"},
    ]
    assert (sent["temperature"], sent["top_p"], sent["seed"]) == (0.25, 0.5, 9)
    most = sent.get("max_completion_tokens", sent.get("max_tokens"))
    assert most == (50 if path == ANTHROPIC else 77)

    (row,) = shop.kept(made)
    content = words(row)
    assert (row.project_id, row.account_id, row.source) == (made.id, DEFAULT_ACCOUNT, "completion")
    assert (row.attached, row.model, row.status) == ("main", "gpt", "ok")
    assert (row.template_version, row.finish_reason) == (1, "stop")
    assert row.usage.input_tokens == 19
    assert row.usage.output_tokens == 10
    assert row.total_ms is not None
    assert row.request_id == answer.headers["x-request-id"]
    assert row.user == (None if path == DREAMSOLVE else USER)
    assert row.labels == ((("team", "blue"),) if path in (OPENAI, STUDIO) else ())
    assert content.system_prompt == prompt
    assert said(content.completion) == {"role": "assistant", "content": "Hello"}
    turn: dict[str, Any] = {"role": "user", "content": "hi"}
    if path == STUDIO:
        turn["metadata"] = {"n": 1}
    assert said(content.messages) == [{"role": "system", "content": "Be short."}, turn]
    if path == STUDIO:
        assert (row.session_id, row.tags) == (SESSION, ("a",))
        assert said(content.arguments) == {"name": "Ada {{tone}}"}
    else:
        assert str(uuid.UUID(row.session_id)) == row.session_id
    if path == STUDIO and not stream:
        told = answer.json()
        assert told["choices"][0]["completion_id"] == row.completion_id
        assert (told["session_id"], told["model"]) == (SESSION, "gpt")


def test_the_client_goes_before_the_project_and_the_project_before_the_dialect(
    shop: Shop, provider: ScriptedProvider
) -> None:
    made = shop.open(
        attached("main", "gpt", sampling=Sampling(temperature=0.25), max_output_tokens=77),
        attached("plain", "gpt"),
    )
    asked: dict[str, Any] = {"temperature": 1.5, "max_tokens": 5}
    for path in (OPENAI, STUDIO):
        shop.ask(path, made.key, **asked)
        shop.ask(path, f"{made.key}/plain")
    dreamer = shop.key(project=made.key)
    dreamer.post(
        DREAMSOLVE, json={"max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}
    )
    for number in (0, 2):
        sent = provider.requests[number].body
        assert sent["temperature"] == 1.5
        assert sent.get("max_completion_tokens", sent.get("max_tokens")) == 5
        bare = provider.requests[number + 1].body
        assert "temperature" not in bare
        assert "top_p" not in bare
    sent = provider.requests[4].body
    assert sent.get("max_completion_tokens", sent.get("max_tokens")) == 9


@pytest.mark.parametrize("path", [OPENAI, ANTHROPIC, STUDIO])
def test_every_dialect_takes_arguments_of_the_prompt(
    shop: Shop, provider: ScriptedProvider, path: str
) -> None:
    made = shop.open(
        attached("main", "gpt", template="tone"),
        templates=(template("tone", "For {{customer.name}}"),),
    )
    answer = shop.ask(path, made.key, system_prompt_args={"customer": {"name": "Ada"}}, odd=1)
    assert answer.status_code == 200, answer.text
    assert answer.headers["x-dragoman-ignored"] == "odd"
    assert provider.requests[0].body["messages"][0]["content"] == "For Ada"
    (row,) = shop.kept(made, 1)
    assert row.content is not None
    assert row.content.arguments is not None
    assert msgspec.json.decode(row.content.arguments) == {"customer": {"name": "Ada"}}
    answer = shop.ask(path, made.key, system_prompt_args=["Ada"])
    assert answer.status_code == 400
    assert "system_prompt_args" in answer.text


def test_a_missing_argument_is_named_and_costs_nothing(
    shop: Shop, provider: ScriptedProvider
) -> None:
    made = shop.open(
        attached("main", "gpt", template="tone"),
        templates=(template("tone", "For {{customer.name}}"),),
    )
    for arguments in ({}, {"customer": {"name": None}}, {"customer": "Ada"}):
        answer = shop.ask(STUDIO, made.key, system_prompt_args=arguments)
        assert answer.status_code == 400
        assert error_of(answer)["param"] == "system_prompt_args.customer.name"
    answer = shop.ask(OPENAI, made.key)
    assert answer.status_code == 400
    assert error_of(answer)["param"] == "system_prompt_args.customer.name"
    assert provider.requests == []
    assert shop.kept(made, 0) == []


def test_a_megabyte_of_hostile_argument_comes_out_as_text(
    shop: Shop, provider: ScriptedProvider
) -> None:
    made = shop.open(
        attached("main", "gpt", template="tone"), templates=(template("tone", "<{{x}}>"),)
    )
    value = "{{x}}{% raw %}${7*7}\\" * 40_000
    answer = shop.ask(STUDIO, made.key, system_prompt_args={"x": value[:1_000_000]})
    assert answer.status_code == 200
    assert provider.requests[0].body["messages"][0]["content"] == f"<{value[:1_000_000]}>"
    assert words(shop.kept(made)[0]).system_prompt == f"<{value[:1_000_000]}>"


def test_who_may_use_a_project(shop: Shop, provider: ScriptedProvider) -> None:
    made, other = shop.open(attached("main", "gpt")), shop.open(attached("main", "gpt"))
    account = Account(id=AccountId(f"acct_{uuid.uuid4().hex[:20]}"), name="b", is_prepaid=False)
    shop.store.add_account(account)
    body = {"model": made.key, "messages": [{"role": "user", "content": "hi"}]}
    for fields in (
        {"account_id": account.id},
        {"scopes": Scopes(projects=(other.key,))},
        {"project": other.key},
    ):
        http = shop.key(**fields)
        for path in (OPENAI, STUDIO, ANTHROPIC):
            answer = http.post(path, json=body | {"max_tokens": 5})
            assert answer.status_code == 403
            assert f"'{made.key}'" in error_of(answer)["message"]
    scoped = shop.key(scopes=Scopes(projects=(made.key,), models=("gpt-text-only",)))
    answer = scoped.post(STUDIO, json=body)
    assert answer.status_code == 403
    assert "'gpt'" in error_of(answer)["message"]
    assert provider.requests == []
    assert shop.kept(made, 0) == []


def test_what_does_not_exist_is_named(shop: Shop) -> None:
    made = shop.open(attached("main", "gpt"))
    gone = shop.open(attached("main", "gpt"), archived_s=1.0)
    for name, entity in (
        ("no-such-project/main", "model"),
        (f"{made.key}/none", "model"),
        (gone.key, "project"),
    ):
        answer = shop.ask(STUDIO, name)
        assert answer.status_code == 404
        assert error_of(answer)["message"].startswith(f"EntityNotFound: {entity}:")
        assert shop.ask(OPENAI, name).status_code == 400
        assert shop.ask(ANTHROPIC, name).status_code == 404


def test_models_and_projects_are_listed_together(shop: Shop) -> None:
    made = shop.open(attached("main", "gpt"), attached("org/second", "claude"), name="My shop")
    hidden = shop.open(attached("main", "gpt"))
    http = shop.key(scopes=Scopes(projects=(made.key,)))
    for base in ("/v1/models", "/api/v1/models"):
        listed = http.get(base).json()["data"]
        names = [entry["id"] for entry in listed]
        assert names[-3:] == [made.key, f"{made.key}/main", f"{made.key}/org/second"]
        assert "gpt" in names
        assert hidden.key not in names
        for name in names[-3:]:
            entry = http.get(f"{base}/{name}").json()
            assert entry["id"] == name
            assert entry in listed
        assert http.get(f"{base}/{hidden.key}").status_code == 404
    assert http.get(f"/v1/models/{made.key}").json()["display_name"] == "My shop"


def test_tokens_of_a_project_are_counted_with_its_prompt(shop: Shop) -> None:
    made = shop.open(
        attached("main", "gpt", template="tone"),
        templates=(template("tone", "x" * 3000),),
    )
    body = {"messages": [{"role": "user", "content": "hi"}]}
    counted = [
        shop.http.post("/v1/messages/count_tokens", json={"model": name, **body}).json()
        for name in (made.key, "gpt")
    ]
    assert counted[0]["input_tokens"] - counted[1]["input_tokens"] == pytest.approx(1008, abs=2)
    assert shop.kept(made, 0) == []


# --- What is kept ---


def test_without_store_the_row_stays_and_the_words_do_not(
    shop: Shop, provider: ScriptedProvider
) -> None:
    made = shop.open(attached("main", "gpt"))
    off = shop.open(attached("main", "gpt"), content=ContentRules(is_stored=False))
    answers = [
        shop.ask(STUDIO, made.key, store=False, labels={"a": "b"}),
        shop.ask(STUDIO, off.key, store=True),
        shop.ask(OPENAI, made.key, store=False),
    ]
    rows = [*shop.kept(made, 2), *shop.kept(off)]
    assert [row.content for row in rows] == [None, None, None]
    assert rows[0].labels == (("a", "b"),)
    assert rows[0].completion_id == answers[0].json()["choices"][0]["completion_id"]
    assert {row.usage.output_tokens for row in rows} == {10}


def test_words_are_redacted_before_they_are_kept(shop: Shop, provider: ScriptedProvider) -> None:
    rules = ContentRules(redact=(RedactionRule(kind="email"),))
    made = shop.open(
        attached("main", "gpt", template="tone"),
        templates=(template("tone", "Write to {{who}}"),),
        content=rules,
    )
    provider.enqueue(Script(text="Mail ann@example.com now"))
    answer = shop.ask(
        STUDIO,
        made.key,
        messages=[{"role": "user", "content": "I am bob@example.com"}],
        system_prompt_args={"who": "eve@example.com"},
    )
    assert "ann@example.com" in answer.text
    content = words(shop.kept(made)[0])
    assert b"example.com" not in msgspec.json.encode(content)
    assert said(content.completion)["content"] == "Mail [email] now"
    assert content.system_prompt == "Write to [email]"


def test_each_choice_has_a_row_and_the_first_has_the_usage(
    shop: Shop, provider: ScriptedProvider
) -> None:
    made = shop.open(attached("main", "gpt"))
    body = {
        "id": "c",
        "object": "chat.completion",
        "created": 1,
        "model": "gpt",
        "choices": [
            {
                "index": index,
                "message": {"role": "assistant", "content": f"answer {index}"},
                "finish_reason": reason,
            }
            for index, reason in enumerate(("stop", "length"))
        ],
        "usage": {"prompt_tokens": 3, "completion_tokens": 8, "total_tokens": 11},
    }
    provider.enqueue(Script(body=json.dumps(body).encode(), content_type="application/json"))
    answer = shop.ask(STUDIO, made.key, n=2)
    ids = [choice["completion_id"] for choice in answer.json()["choices"]]
    rows = sorted(shop.kept(made, 2), key=lambda row: row.choice)
    assert [row.completion_id for row in rows] == ids
    assert [row.usage.output_tokens for row in rows] == [8, 0]
    assert [row.finish_reason for row in rows] == ["stop", "length"]
    assert [said(words(row).completion)["content"] for row in rows] == ["answer 0", "answer 1"]
    assert rows[1].total_ms is None


def test_tool_calls_and_results_are_kept_in_openais_form(
    shop: Shop, provider: ScriptedProvider
) -> None:
    made = shop.open(attached("main", "claude"))
    provider.enqueue(Script(text="Let me see.", calls=(Call("look", ('{"a":', "1}")),)))
    tool = {"name": "look", "description": "Looks.", "input_schema": {"type": "object"}}
    answer = shop.ask(
        ANTHROPIC,
        made.key,
        tools=[tool],
        messages=[
            {"role": "user", "content": "look"},
            {
                "role": "assistant",
                "content": [{"type": "tool_use", "id": "toolu_1", "name": "look", "input": {}}],
            },
            {
                "role": "user",
                "content": [
                    {"type": "tool_result", "tool_use_id": "toolu_1", "content": "nothing"},
                    {"type": "text", "text": "again"},
                ],
            },
        ],
    )
    assert answer.status_code == 200
    content = words(shop.kept(made)[0])
    messages = said(content.messages)
    assert [message["role"] for message in messages] == ["user", "assistant", "tool", "user"]
    assert messages[1]["content"] is None
    call_id = messages[1]["tool_calls"][0]["id"]
    assert messages[2] == {"role": "tool", "tool_call_id": call_id, "content": "nothing"}
    assert said(content.tools) == [
        {
            "type": "function",
            "function": {
                "name": "look",
                "description": "Looks.",
                "parameters": {"type": "object"},
            },
        }
    ]
    completion = said(content.completion)
    assert completion["content"] == "Let me see."
    function = completion["tool_calls"][0]["function"]
    assert (function["name"], json.loads(function["arguments"])) == ("look", {"a": 1})


def test_what_failed_is_kept_with_its_error(shop: Shop, provider: ScriptedProvider) -> None:
    made = shop.open(attached("main", "gpt"))
    provider.enqueue(Script(status=500, body=b"{}"))
    assert shop.ask(STUDIO, made.key).status_code == 503
    row = shop.kept_soon(made)
    assert (row.status, row.model, row.finish_reason) == ("failed", "gpt", None)
    assert row.error is not None
    assert said(words(row).messages) == [{"role": "user", "content": "hi"}]
    assert words(row).completion is None
    assert row.cost_nano_usd == 0


def test_what_a_client_left_is_kept_as_far_as_it_came(
    shop: Shop, provider: ScriptedProvider
) -> None:
    made = shop.open(attached("main", "gpt"))
    gate = Gate()
    provider.enqueue(
        Script(deltas=("one ", "two ", "three"), frame_gate=gate, frames_before_gate=3)
    )
    body = {"model": made.key, "stream": True, "messages": [{"role": "user", "content": "hi"}]}
    with shop.http.stream("POST", STUDIO, json=body) as answer:
        for line in answer.iter_lines():
            if "two" in line:
                break
    row = shop.kept_soon(made)
    gate.open()
    assert row.status == "client_gone"
    assert said(words(row).completion) == {"role": "assistant", "content": "one two "}
    assert row.usage.is_estimated


def test_refusals_leave_no_row(shop: Shop, provider: ScriptedProvider) -> None:
    made = shop.open(attached("main", "gpt"), attached("bare", "gpt-text-only"))
    refused = {"type": "error", "error": {"message": "bad", "type": "invalid_request_error"}}
    provider.enqueue(
        Script(status=400, body=json.dumps(refused).encode(), content_type="application/json")
    )
    assert shop.ask(STUDIO, made.key).status_code == 400
    assert shop.ask(STUDIO, f"{made.key}/bare", seed=1).status_code == 400
    assert shop.ask(STUDIO, made.key, user="not a uuid").status_code == 400
    assert shop.ask(STUDIO, made.key, max_ttft_ms=0).status_code == 408
    shop.ask(STUDIO, made.key)
    assert len(shop.kept(made)) == 1


def test_a_repeated_request_is_kept_once(shop: Shop, provider: ScriptedProvider) -> None:
    made = shop.open(attached("main", "gpt"))
    headers = {"idempotency-key": str(uuid.uuid4())}
    body = {"model": made.key, "messages": [{"role": "user", "content": "hi"}]}
    answers = [shop.http.post(STUDIO, json=body, headers=headers) for _ in range(2)]
    assert answers[1].headers["idempotent-replayed"] == "true"
    assert answers[0].json() == answers[1].json()
    (row,) = shop.kept(made)
    assert row.completion_id == answers[0].json()["choices"][0]["completion_id"]


def test_plain_models_are_kept_nowhere(shop: Shop) -> None:
    before = len(shop.store.list_interactions(InteractionFilter(), limit=1000).interactions)
    shop.ask(STUDIO, "gpt")
    assert len(shop.store.list_interactions(InteractionFilter(), limit=1000).interactions) == before


def test_a_fallback_is_kept_as_what_answered(shop: Shop, provider: ScriptedProvider) -> None:
    made = shop.open(attached("main", "gpt-backed"))
    provider.when_model("gpt-backed", Script(status=500, body=b"{}"))
    assert shop.ask(STUDIO, made.key).json()["model"] == "claude"
    (row,) = shop.kept(made)
    assert (row.attached, row.model, row.status) == ("main", "claude", "ok")


# --- Campaigns ---


def _campaign(shop: Shop, made: Project, *arms: Arm, **fields: Any) -> str:
    metric = MetricId(str(uuid.uuid4()))
    shop.store.add_metric(
        Metric(id=metric, project_id=made.id, key=f"m{next(_numbers)}", name="m", kind="bool")
    )
    begun = campaign(*arms, id=CampaignId(str(uuid.uuid4())), metric_id=metric, **fields)
    shop.store.add_campaign(msgspec.structs.replace(begun, project_id=made.id))
    return begun.id


def test_arms_are_sticky_and_both_arms_are_kept(shop: Shop, provider: ScriptedProvider) -> None:
    made = shop.open(attached("a", "gpt-backed"), attached("b", "claude"), attached("c", "gpt"))
    campaign_id = _campaign(shop, made, Arm(key="A", model="a"), Arm(key="B", model="b"))
    provider.when_model("gpt-backed", Script(status=500, body=b"{}"))
    for number in range(8):
        for _ in range(2):
            assert shop.ask(STUDIO, made.key, user=str(uuid.UUID(int=number))).status_code == 200
    met = set()
    rows = shop.kept(made, 16)
    for first, second in zip(rows[::2], rows[1::2], strict=True):
        assert first.arm == second.arm
        assert (first.unit, first.entered_by) == (second.unit, "split")
        assert first.campaign_id == campaign_id
        # A's model fails, and what answers is the model of B: the unit stays with A.
        assert first.served_arm == "B"
        met.add(first.arm)
    assert met == {"A", "B"}


def test_a_campaign_is_named_or_passed_by(shop: Shop, provider: ScriptedProvider) -> None:
    made = shop.open(attached("a", "gpt"), attached("b", "claude"), attached("c", "gpt"))
    arms = (Arm(key="A", model="a"), Arm(key="B", model="b"))
    campaign_id = _campaign(shop, made, *arms, traffic_split=0.0)
    ended = _campaign(shop, made, *arms, key="winter", status="DONE")
    assert shop.ask(STUDIO, made.key).status_code == 200
    assert shop.ask(STUDIO, f"{made.key}/b").status_code == 200
    assert shop.ask(STUDIO, f"{made.key}/b", ab_campaign=campaign_id).status_code == 200
    assert shop.ask(STUDIO, made.key, ab_campaign="spring", session_id=SESSION).status_code == 200
    rows = shop.kept(made, 4)
    assert [row.campaign_id for row in rows] == [None, None, campaign_id, campaign_id]
    assert (rows[2].arm, rows[2].served_arm, rows[2].entered_by) == ("B", "B", "request")
    assert rows[3].unit == f"session:{SESSION}"
    for name, status, param in (
        ("none", 404, "ab_campaign"),
        (ended, 400, "ab_campaign"),
        ("winter", 400, "ab_campaign"),
    ):
        answer = shop.ask(STUDIO, made.key, ab_campaign=name)
        assert (answer.status_code, error_of(answer)["param"]) == (status, param)
    answer = shop.ask(STUDIO, f"{made.key}/c", ab_campaign="spring")
    assert (answer.status_code, error_of(answer)["param"]) == (400, "model")
    assert shop.ask(STUDIO, "gpt", ab_campaign="spring").status_code == 404


# --- Without a key ---


def test_a_public_project_is_served_without_a_key_within_its_limits(
    shop: Shop, provider: ScriptedProvider
) -> None:
    public = shop.open(attached("main", "gpt"), public=Limits(requests_per_minute=2))
    closed = shop.open(attached("main", "gpt"))
    body = {"messages": [{"role": "user", "content": "hi"}]}
    with httpx.Client(base_url=shop.url, timeout=20) as stranger:
        for name in (public.key, f"{public.key}/main"):
            answer = stranger.post(STUDIO, json=body | {"model": name})
            assert answer.status_code == 200
        assert answer.headers["x-ratelimit-limit-requests"] == "2"
        assert stranger.post(STUDIO, json=body | {"model": public.key}).status_code == 429
        refusals: list[Any] = [body | {"model": name} for name in (closed.key, "gpt", "none")]
        for refused in (*refusals, body, []):
            assert stranger.post(STUDIO, json=refused).status_code == 401
        assert stranger.post(STUDIO, content=b"{").status_code == 401
        named = body | {"model": public.key, "max_tokens": 5}
        assert stranger.post(OPENAI, json=named).status_code == 401
        assert stranger.post(ANTHROPIC, json=named).status_code == 401
        assert stranger.get("/api/v1/models").status_code == 401
        big = stranger.post(STUDIO, json=named | {"x": "y" * 1_100_000})
        assert big.status_code == 413
        wrong = {"authorization": "Bearer drg_sk_wrong"}
        assert stranger.post(STUDIO, json=named, headers=wrong).status_code == 401
    rows = shop.kept(public, 2)
    assert {row.key_id for row in rows} == {f"public:{public.key}"}
    assert {row.account_id for row in rows} == {DEFAULT_ACCOUNT}
    shop.store.replace_project(msgspec.structs.replace(public, public=None))


def test_guests_have_no_idempotency_key_and_no_endless_tries(
    shop: Shop, provider: ScriptedProvider
) -> None:
    public = shop.open(attached("main", "gpt"), public=Limits())
    body = {"model": public.key, "messages": [{"role": "user", "content": "hi"}]}
    with httpx.Client(base_url=shop.url, timeout=20) as stranger:
        answer = stranger.post(STUDIO, json=body, headers={"idempotency-key": "x"})
        assert answer.status_code == 400
        assert stranger.post(STUDIO, json=body | {"messages": []}).status_code == 400
        statuses = [stranger.post(STUDIO, json={"model": "gpt"}).status_code for _ in range(60)]
        assert set(statuses) == {401, 429}
        late = stranger.post(STUDIO, json=body)
        assert late.status_code == 429
        assert int(late.headers["retry-after"]) >= 1
    # With a key one is nobody's guest.
    assert shop.ask(STUDIO, public.key).status_code == 200
    shop.store.replace_project(msgspec.structs.replace(public, public=None))


# --- The first token ---


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("of", ["project", "request"])
def test_a_first_token_that_is_late_is_a_408_before_any_byte_and_costs_nothing(
    shop: Shop, provider: ScriptedProvider, stream: bool, of: str
) -> None:
    own = 150 if of == "project" else 60_000
    made = shop.open(attached("main", "gpt", max_ttft_ms=own))
    gate = Gate()
    provider.enqueue(Script(text="late", first_byte_gate=gate))
    asked = {"max_ttft_ms": 150} if of == "request" else {"max_ttft_ms": 60_000}
    answer = shop.ask(STUDIO, made.key, stream=stream, **asked)
    gate.open()
    assert answer.status_code == 408
    assert answer.headers["x-should-retry"] == "false"
    row = shop.kept_soon(made)
    assert (row.status, row.error, row.cost_nano_usd) == ("failed", "first_token_timeout", 0)


def test_a_part_that_has_begun_is_no_first_token(shop: Shop, provider: ScriptedProvider) -> None:
    made = shop.open(attached("main", "claude", max_ttft_ms=200))
    gate = Gate()
    provider.enqueue(Script(text="late", frame_gate=gate, frames_before_gate=2))
    answer = shop.ask(STUDIO, made.key, stream=True)
    gate.open()
    assert answer.status_code == 408
    assert shop.kept_soon(made).error == "first_token_timeout"


def test_a_project_that_was_changed_answers_so_at_the_next_request(
    shop: Shop, provider: ScriptedProvider
) -> None:
    made = shop.open(attached("main", "gpt"), attached("other", "claude"))
    assert shop.ask(STUDIO, made.key).json()["model"] == "gpt"
    shop.store.replace_project(msgspec.structs.replace(made, default_model="other"))
    assert shop.ask(STUDIO, made.key).json()["model"] == "claude"
    shop.store.replace_project(msgspec.structs.replace(made, archived_s=1.0))
    assert shop.ask(STUDIO, made.key).status_code == 404


def test_models_go_before_projects(shop: Shop, provider: ScriptedProvider) -> None:
    shop.store.add_project(
        Project(
            id=ProjectId("proj_collides"),
            key="gpt",
            name="collides",
            account_id=DEFAULT_ACCOUNT,
            models=(attached("main", "claude"),),
            default_model="main",
        )
    )
    assert shop.ask(STUDIO, "gpt").json()["model"] == "gpt"
    assert shop.ask(STUDIO, "gpt/main").json()["model"] == "claude"
