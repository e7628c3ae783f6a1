"""What callers may know of themselves, and what the command line changes under a running server."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import httpx
import msgspec
import pytest
from tests.scripted_provider import Script, ScriptedProvider, Tokens
from tests.server_process import ServerProcess

from dragoman.web.accounts import Credits, KeyDetails, UsagePageBody, UsageSumsBody

CONFIG = """
embedded_model = false
requests_per_minute = 1000
trusted_proxies = ["127.0.0.1"]

[[providers]]
name = "scripted"
wire = "openai"
base_url = "{base_url}"

[[providers.models]]
id = "paid"
aliases = ["paid-alias"]
price = {{ input = 1.00, output = 2.00 }}

[[providers.models]]
id = "other"
price = {{ input = 0, output = 0 }}
"""


class Served:
    """A server, and the command line beside it."""

    def __init__(self, process: ServerProcess) -> None:
        self.process = process
        self.client = httpx.Client(base_url=process.url, timeout=30)

    def run(self, *arguments: str) -> Any:
        environment = {n: v for n, v in os.environ.items() if not n.startswith("DRAGOMAN_")} | {
            "DRAGOMAN_DATA_DIR": str(self.process.data_dir),
            "DRAGOMAN_CONFIG": str(self.process.data_dir / "dragoman.toml"),
        }
        done = subprocess.run(
            [sys.executable, "-m", "dragoman", *arguments, "--json"],
            env=environment,
            capture_output=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return msgspec.json.decode(done.stdout)

    def get(self, path: str, key: str, **headers: str) -> httpx.Response:
        return self.client.get(path, headers={"authorization": f"Bearer {key}", **headers})

    def ask(self, key: str, model: str = "paid", **fields: Any) -> httpx.Response:
        body = {"model": model, "messages": [{"role": "user", "content": "hi"}], **fields}
        headers = {"authorization": f"Bearer {key}"}
        return self.client.post("/v1/chat/completions", json=body, headers=headers)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    script = Script(text="Hello", usage=Tokens(input=1000, output=500))
    with ScriptedProvider(script) as provider:
        data_dir = tmp_path_factory.mktemp("self-service") / "data"
        with ServerProcess(data_dir, CONFIG.format(base_url=provider.base_url)) as process:
            served = Served(process)
            yield served
            served.client.close()


@pytest.fixture(scope="module")
def acme(served: Served) -> str:
    """The secret of a key of an account with 5 US dollars."""
    served.run("accounts", "create", "acme", "--monthly-limit", "3", "--time-zone", "Europe/Vienna")
    served.run("credits", "top-up", "acme", "5")
    return str(
        served.run("keys", "create", "app", "--account", "acme", "--project", "web")["secret"]
    )


def test_credits_go_down_by_what_was_charged_to_the_nano_dollar(served: Served, acme: str) -> None:
    before = msgspec.json.decode(served.get("/v1/credits", acme).content, type=Credits)
    assert (before.is_prepaid, before.balance, before.month.limit) == (True, "5.00", "3.00")
    assert before.month.resets_at.utcoffset() is not None
    assert served.ask(acme, max_tokens=500).status_code == 200
    after = msgspec.json.decode(served.get("/v1/credits", acme).content, type=Credits)
    # 1,000 tokens at 1 dollar a million, and 500 at 2.
    assert before.balance_nano_usd - after.balance_nano_usd == 2_000_000
    assert (after.month.spent, after.month.left) == ("0.002", "2.998")
    assert after.balance_nano_usd == after.available_nano_usd + after.held_nano_usd
    assert after.balance == "4.998"


def test_usage_is_the_accounts_own_and_adds_up(served: Served, acme: str) -> None:
    asked = served.ask(acme, max_tokens=500, metadata={"team": "blue"}, user="ann")
    assert asked.status_code == 200
    page = msgspec.json.decode(
        served.get("/api/v1/usage?limit=1", acme).content, type=UsagePageBody
    )
    (newest,) = page.data
    assert newest.request_id == asked.headers["x-request-id"]
    assert (newest.model, newest.project, newest.status) == ("paid", "web", "ok")
    assert (newest.input_tokens, newest.output_tokens, newest.cost) == (1000, 500, "0.002")
    assert page.has_more == (page.next_cursor is not None)
    everything = msgspec.json.decode(
        served.get("/api/v1/usage?limit=1000", acme).content, type=UsagePageBody
    )
    sums = msgspec.json.decode(
        served.get("/api/v1/usage?group_by=day,model&model=paid-alias", acme).content,
        type=UsageSumsBody,
    )
    assert sums.group_by == ("day", "model")
    assert {group.by["model"] for group in sums.data} == {"paid"}
    assert sum(group.cost_nano_usd for group in sums.data) == sum(
        entry.cost_nano_usd for entry in everything.data
    )
    # The server's own account has none of it.
    own = served.get("/api/v1/usage", served.process.key).json()
    assert own["data"] == []


def test_a_key_knows_itself(served: Served, acme: str) -> None:
    limited = served.run(
        *("keys", "create", "small", "--account", "acme", "--requests-per-minute", "2"),
        *("--model", "paid", "--expires", "30d"),
    )
    secret = limited["secret"]
    assert served.ask(secret, max_tokens=5).status_code == 200
    details = msgspec.json.decode(served.get("/v1/key", secret).content, type=KeyDetails)
    assert (details.id, details.name, details.account_name) == (limited["id"], "small", "acme")
    assert (details.models, details.scopes.models) == (("paid",), ("paid",))
    assert details.expires_at is not None
    bound = details.key_limits.requests
    assert (bound.limit, bound.used, bound.remaining) == (2, 1, 1)
    assert details.account_limits.requests.limit == 1000
    answer = served.get("/v1/models", secret)
    assert [model["id"] for model in answer.json()["data"]] == ["paid"]
    # Asking about oneself costs nothing of the limits, and says what is left of them.
    assert answer.headers["x-ratelimit-remaining-requests"] == "1"
    assert served.get("/v1/models/other", secret).status_code == 404
    assert served.ask(secret, "other").status_code == 403


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("nonsense=1", "nonsense"),
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("limit=9999999999999999999999", "limit"),
        ("limit=٣", "limit"),
        ("limit=5&limit=6", "limit"),
        ("from=soon", "from"),
        ("from=99999-01-01", "from"),
        ("from=2026-02-01&to=2026-01-01", "from"),
        ("status=fine", "status"),
        ("dialect=klingon", "dialect"),
        ("cursor=-1", "cursor"),
        ("cursor=abc", "cursor"),
        ("group_by=day&cursor=5", "cursor"),
        ("group_by=account", "group_by"),
        ("group_by=label:", "group_by"),
        ("group_by=day,model,key", None),
        ("label=x", "label"),
        ("user=" + "x" * 702, "user"),
        ("&".join(f"a{number}=1" for number in range(60)), None),
        ("user=" + "x" * 9000, None),
    ],
)
def test_what_cannot_be_asked_is_refused_by_name(
    served: Served, acme: str, query: str, param: str | None
) -> None:
    answer = served.get(f"/api/v1/usage?{query}", acme)
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert param is None or error["param"] == param
    assert "x-ratelimit-remaining" in answer.headers


@pytest.mark.parametrize(
    "query",
    [
        "from=2026-01-01T00:00:00%2B01:00",
        "from=2026-01-01T00:00:00+01:00",
        "from=1767225600&to=99999999999",
        "user=%27%20OR%201=1%20--",
        "label=a:b:c",
        "key=%00&project=%F0%9F%90%88",
        "group_by=label:a,day",
    ],
)
def test_odd_questions_have_plain_answers(served: Served, acme: str, query: str) -> None:
    answer = served.get(f"/api/v1/usage?{query}", acme)
    assert answer.status_code == 200, answer.text
    assert answer.json()["object"] == "list"


@pytest.mark.parametrize("path", ["/v1/credits", "/v1/key", "/api/v1/usage"])
def test_nobody_else_is_answered(served: Served, path: str) -> None:
    answer = served.get(path, "drg_sk_" + "x" * 32)
    assert answer.status_code == 401
    assert "x-ratelimit-limit" not in answer.headers
    assert served.client.post(path).status_code == 405


def test_changes_hold_at_the_next_request(served: Served) -> None:
    made = served.run("keys", "create", "changing")
    secret = made["secret"]
    assert served.get("/v1/key", secret).json()["name"] == "changing"
    served.run("keys", "change", made["id"], "--network", "203.0.113.0/24")
    refused = served.get("/v1/key", secret)
    assert refused.status_code == 403
    assert "may not be used from 127.0.0.1" in refused.json()["error"]["message"]
    forwarded = {"x-forwarded-for": "198.51.100.1, 203.0.113.9"}
    assert served.get("/v1/key", secret, **forwarded).status_code == 200
    served.run("keys", "change", made["id"], "--free", "networks", "--dialect", "studio")
    assert served.get("/v1/key", secret).status_code == 200
    refused = served.ask(secret)
    assert refused.status_code == 403
    assert "dialect 'openai'" in refused.json()["error"]["message"]
    rotated = served.run("keys", "rotate", made["id"], "--grace", "1h")
    for each in (secret, rotated["secret"]):
        assert served.get("/v1/key", each).status_code == 200
    served.run("keys", "revoke", made["id"])
    assert served.get("/v1/key", secret).status_code == 401
    assert served.get("/v1/key", rotated["secret"]).json()["id"] == rotated["id"]


def test_a_suspended_account_is_told_so(served: Served) -> None:
    served.run("accounts", "create", "late")
    secret = served.run("keys", "create", "late", "--account", "late")["secret"]
    assert served.get("/v1/credits", secret).status_code == 200
    account = served.run("accounts", "show", "late")["id"]
    changed = subprocess.run(
        [sys.executable, "-m", "dragoman", "accounts", "suspend", account],
        env=os.environ | {"DRAGOMAN_DATA_DIR": str(served.process.data_dir)},
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert changed.returncode == 0, changed.stderr
    refused = served.get("/v1/credits", secret)
    assert refused.status_code == 403
    assert "suspended" in refused.json()["error"]["message"]


def test_the_command_line_tells_the_same_as_the_server(served: Served, acme: str) -> None:
    assert served.ask(acme, max_tokens=5).status_code == 200
    listed = served.run("usage", "list", "--account", "acme", "--limit", "1000")
    told = served.get("/api/v1/usage?limit=1000", acme).json()
    assert [record["request_id"] for record in listed["records"]] == [
        entry["request_id"] for entry in told["data"]
    ]
    balance = served.get("/v1/credits", acme).json()
    assert served.run("credits", "show", "acme")["balance_nano_usd"] == balance["balance_nano_usd"]
    assert served.run("ledger", "verify") == {"is_right": True, "differences": []}
