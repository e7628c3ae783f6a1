"""The admin API of a real server, seen from both sides: administrators change, clients feel it at once."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.scripted_provider import ScriptedProvider
from tests.server_process import ServerProcess

NANO = 1_000_000_000


@pytest.fixture(scope="module")
def server(
    _scripted_provider: ScriptedProvider, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServerProcess]:
    config = f"""
embedded_model = false
default_model = "gpt"

[[providers]]
name = "scripted"
wire = "openai"
base_url = "{_scripted_provider.base_url}"

[[providers.models]]
id = "gpt"
aliases = ["g"]
context_tokens = 8192
max_output_tokens = 100
"""
    with ServerProcess(tmp_path_factory.mktemp("admin") / "data", config) as server:
        yield server


@pytest.fixture(scope="module")
def admin(server: ServerProcess) -> Iterator[httpx.Client]:
    made = subprocess.run(
        [
            *(sys.executable, "-m", "dragoman", "keys", "create", "boss", "--admin", "--json"),
            *("--data-dir", str(server.data_dir)),
            *("--config", str(server.data_dir / "dragoman.toml")),
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    secret = json.loads(made.stdout)["secret"]
    with httpx.Client(
        base_url=f"{server.url}/admin/v1",
        headers={"authorization": f"Bearer {secret}"},
        timeout=30,
    ) as client:
        yield client


def ask(server: ServerProcess, secret: str, model: str = "gpt") -> httpx.Response:
    return httpx.post(
        f"{server.url}/v1/chat/completions",
        json={"model": model, "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 50},
        headers={"authorization": f"Bearer {secret}"},
        timeout=30,
    )


def made(answer: httpx.Response) -> Any:
    assert answer.status_code == 201, answer.text
    return answer.json()


def test_an_account_is_set_up_pays_and_is_closed(
    server: ServerProcess, admin: httpx.Client, provider: ScriptedProvider
) -> None:
    account = made(admin.post("/accounts", json={"name": "acme"}))["id"]
    tiers = [{"input": 1_000_000 * NANO, "output": 1_000_000 * NANO}]
    made(admin.post("/prices", json={"model": "g", "tiers": tiers}))
    key = made(
        admin.post(
            "/keys", json={"name": "app", "account_id": account, "scopes": {"models": ["g"]}}
        )
    )
    secret, key_id = key["secret"], key["key"]["id"]

    assert ask(server, secret).status_code == 402
    made(
        admin.post(
            f"/accounts/{account}/top-ups",
            json={"amount": "1000.00"},
            headers={"idempotency-key": "pay-1"},
        )
    )
    answer = ask(server, secret)
    assert answer.status_code == 200, answer.text
    usage = answer.json()["usage"]
    cost = usage["prompt_tokens"] + usage["completion_tokens"]  # a dollar each
    request_id = answer.headers["x-request-id"]
    row = admin.get(f"/usage/{request_id}").json()
    assert (row["account_id"], row["key_id"], row["model"]) == (account, key_id, "gpt")
    assert row["cost_nano_usd"] == cost * NANO

    balance = admin.get(f"/accounts/{account}/balance").json()
    assert balance["total_nano_usd"] == (1000 - cost) * NANO
    back = made(admin.post(f"/accounts/{account}/refunds", json={"request_id": request_id}))
    assert back["amount_nano_usd"] == cost * NANO
    assert admin.get(f"/accounts/{account}/balance").json()["total"] == "1000.00"
    assert admin.get("/ledger/verify").json() == {"is_right": True, "differences": []}

    table = admin.get("/usage/export", params={"format": "csv", "account_id": account})
    charged = sum(int(r["cost_nano_usd"]) for r in csv.DictReader(io.StringIO(table.text)))
    ledger = admin.get(f"/accounts/{account}/ledger", params={"limit": 1000}).json()["data"]
    settled = sum(e["amount_nano_usd"] for e in ledger if e["kind"] == "settlement")
    assert charged == settled == cost * NANO

    admin.post(f"/accounts/{account}/suspend").raise_for_status()
    assert ask(server, secret).status_code == 403
    admin.post(f"/accounts/{account}/resume").raise_for_status()
    assert ask(server, secret).status_code == 200
    admin.delete(f"/keys/{key_id}").raise_for_status()
    assert ask(server, secret).status_code == 401


def test_a_plan_and_a_keys_limits_hold_from_the_next_request_on(
    server: ServerProcess, admin: httpx.Client, provider: ScriptedProvider
) -> None:
    account = made(admin.post("/accounts", json={"name": "free", "is_prepaid": False}))["id"]
    secret = made(admin.post("/keys", json={"name": "k", "account_id": account}))["secret"]
    assert ask(server, secret).status_code == 200
    admin.put("/plans/none", json={"limits": {"requests_per_minute": 1}}).raise_for_status()
    admin.patch(f"/accounts/{account}", json={"plan_id": "none"}).raise_for_status()
    assert ask(server, secret).status_code == 429


def test_a_rotated_key_and_its_successor_both_work_within_the_grace(
    server: ServerProcess, admin: httpx.Client, provider: ScriptedProvider
) -> None:
    old = made(admin.post("/keys", json={"name": "k"}))
    rotated = made(admin.post(f"/keys/{old['key']['id']}/rotate", json={"grace_s": 600}))
    assert ask(server, old["secret"]).status_code == 200
    assert ask(server, rotated["secret"]).status_code == 200
    at_once = made(admin.post(f"/keys/{rotated['key']['id']}/rotate", json={}))
    assert ask(server, rotated["secret"]).status_code == 401
    assert ask(server, at_once["secret"]).status_code == 200


def test_sixteen_equal_top_ups_over_sixteen_connections_are_one(
    server: ServerProcess, admin: httpx.Client
) -> None:
    account = made(admin.post("/accounts", json={"name": "payer"}))["id"]

    def pay(_: int) -> int:
        with httpx.Client(headers=admin.headers, timeout=30) as client:
            return client.post(
                f"{server.url}/admin/v1/accounts/{account}/top-ups",
                json={"amount": "1.5"},
                headers={"idempotency-key": "event-7"},
            ).status_code

    with ThreadPoolExecutor(16) as pool:
        statuses = list(pool.map(pay, range(16)))
    assert sorted(statuses) == [200] * 15 + [201]
    assert admin.get(f"/accounts/{account}/balance").json()["total"] == "1.50"
    assert len(admin.get(f"/accounts/{account}/ledger").json()["data"]) == 1


def test_keys_of_the_wrong_kind_are_told_so(server: ServerProcess, admin: httpx.Client) -> None:
    as_client = httpx.get(
        f"{server.url}/admin/v1/accounts", headers={"authorization": f"Bearer {server.key}"}
    )
    assert as_client.status_code == 403
    assert httpx.get(f"{server.url}/admin/v1/accounts").status_code == 401
    secret = admin.headers["authorization"].removeprefix("Bearer ")
    assert ask(server, secret).status_code == 403
    unknown = admin.get("/nothing")
    assert (unknown.status_code, unknown.json()["error"]["type"]) == (404, "not_found_error")


def test_models_and_the_page_are_served(server: ServerProcess, admin: httpx.Client) -> None:
    models = admin.get("/models").json()["data"]
    assert [(m["id"], m["provider"], m["aliases"]) for m in models] == [("gpt", "scripted", ["g"])]
    page = httpx.get(f"{server.url}/admin/v1/docs")
    assert page.status_code == 200
    assert "Replace a key" in page.text
    assert page.headers["x-request-id"].startswith("req_")
    assert httpx.get(f"{server.url}/admin/v1/openapi.json").json()["openapi"] == "3.1.0"


def test_no_secret_reaches_the_log_or_the_data_directory(
    server: ServerProcess, admin: httpx.Client
) -> None:
    secret = made(admin.post("/keys", json={"name": "hidden", "creation_token": "t-hidden"}))[
        "secret"
    ]
    assert secret not in server.log
    for path in Path(server.data_dir).rglob("*"):
        if path.is_file() and path.name != "dragoman.toml":
            assert secret.encode() not in path.read_bytes(), path


def test_a_project_is_made_answers_and_is_archived_while_the_server_runs(
    server: ServerProcess, admin: httpx.Client, provider: ScriptedProvider
) -> None:
    secret = made(admin.post("/keys", json={"name": "shop"}))["secret"]
    assert ask(server, secret, "shop").status_code == 400
    project = made(admin.post("/projects", json={"key": "shop", "models": [{"model": "gpt"}]}))
    prompt = {
        "key": "tone",
        "text": "Be {{tone}}.",
        "arguments": [{"name": "tone", "default": "brief"}],
    }
    made(admin.post("/projects/shop/templates", json=prompt))
    model = {"model": "g", "template": "tone", "sampling": {"temperature": 0.25}}
    admin.put("/projects/shop/models/gpt", json=model).raise_for_status()

    provider.reset()
    answer = ask(server, secret, "shop")
    assert answer.status_code == 200, answer.text
    sent = provider.requests[-1].body
    assert sent["messages"][0] == {"role": "system", "content": "Be brief."}
    assert sent["temperature"] == 0.25
    made(admin.post("/projects/shop/templates/tone/versions", json={"text": "Be long."}))
    assert ask(server, secret, "shop/gpt").status_code == 200
    assert provider.requests[-1].body["messages"][0]["content"] == "Be long."

    page = admin.get("/interactions", params={"project": "shop"}).json()["data"]
    assert [row["system_prompt"] for row in page] == ["Be long.", "Be brief."]
    assert [row["template_version"] for row in page] == [2, 1]
    admin.delete(f"/interactions/{page[0]['completion_id']}").raise_for_status()
    export = admin.get("/interactions/export", params={"project": project["id"]})
    (line,) = map(json.loads, export.text.splitlines())
    assert [m["role"] for m in line["messages"]] == ["system", "user", "assistant"]

    admin.post("/projects/shop/archive").raise_for_status()
    assert ask(server, secret, "shop").status_code == 400
    admin.post("/projects/shop/restore").raise_for_status()
    assert ask(server, secret, "shop").status_code == 200


def test_a_campaign_runs_and_is_reported_while_the_server_runs(
    server: ServerProcess, admin: httpx.Client, provider: ScriptedProvider
) -> None:
    secret = made(admin.post("/keys", json={"name": "lab"}))["secret"]
    models = [{"model": "gpt"}, {"model": "gpt", "key": "bold", "sampling": {"temperature": 1.5}}]
    made(admin.post("/projects", json={"key": "lab", "models": models}))
    arms = [{"model": "gpt"}, {"model": "bold"}]
    wish = {"key": "which", "metric": "total_ms", "arms": arms}
    campaign = made(admin.post("/projects/lab/campaigns", json=wish))
    for _ in range(6):
        assert ask(server, secret, "lab").status_code == 200
    report = admin.get("/projects/lab/campaigns/which/report").json()
    assert report["campaign_id"] == campaign["id"]
    assert sum(arm["units"] for arm in report["arms"]) == 6
    assert sum(arm["scores"] for arm in report["arms"]) == 6
    admin.post("/projects/lab/campaigns/which/cancel").raise_for_status()
    rows = admin.get("/interactions", params={"campaign": campaign["id"]}).json()["data"]
    assert {row["arm"] for row in rows} <= {"A", "B"}
    assert {row["entered_by"] for row in rows} == {"split"}


def test_a_tool_server_says_what_it_has_while_the_server_runs(
    server: ServerProcess, admin: httpx.Client
) -> None:
    schema = {"type": "object", "properties": {"number": {"type": "string"}}}
    wish = {
        "key": "orders",
        "kind": "http",
        "url": "http://127.0.0.1:9",
        "allow_private": True,
        "tools": [{"name": "find", "description": "Finds.", "parameters": schema, "path": "/find"}],
    }
    admin.put("/tool-servers/orders", json=wish).raise_for_status()
    (tool,) = admin.get("/tool-servers/orders/tools").json()["data"]
    assert (tool["id"], tool["description"], tool["parameters"]) == (
        "orders/find",
        "Finds.",
        schema,
    )
    admin.post("/tool-servers/orders/disable").raise_for_status()
    assert admin.get("/tool-servers/orders/tools").status_code == 409
    admin.delete("/tool-servers/orders").raise_for_status()
    assert admin.get("/tool-servers/orders/tools").status_code == 404
