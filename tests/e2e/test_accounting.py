"""What clients pay, what they are told of it, and what is kept: a real server, a real ledger, real sockets."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from tests.scripted_provider import Call, Gate, Script, ScriptedProvider, Tokens
from tests.server_process import ServerProcess

from dragoman.chat import NanoUSD
from dragoman.policy.keys import mint_key
from dragoman.records.account import Account, AccountId
from dragoman.records.limits import NO_LIMITS, Limits
from dragoman.records.usage_record import UsageRecord
from dragoman.stores import Store, open_store

MESSAGES = [{"role": "user", "content": "hi"}]
PATHS = (
    "/v1/chat/completions",
    "/api/v1/chat/completions",
    "/api/v1/completions",
    "/v1/messages",
)
every_path = pytest.mark.parametrize("path", PATHS)
either_form = pytest.mark.parametrize("stream", [False, True])

NANO = 10**9
CONFIG = """
embedded_model = false
default_model = "paid"
log_format = "json"
shutdown_grace_s = 0

[[providers]]
name = "openai-like"
wire = "openai"
base_url = "{url}"

[[providers.models]]
id = "paid"
max_output_tokens = 4096
price = {{ input = 1, cached_input = 0.1, output = 4 }}

[[providers.models]]
id = "free"
price = {{ input = 0, output = 0 }}

[[providers]]
name = "anthropic-like"
wire = "anthropic"
base_url = "{url}"

[[providers.models]]
id = "paid-claude"
max_output_tokens = 4096
price = {{ input = 1, cached_input = 0.1, output = 4 }}
"""
INPUT, CACHED, OUTPUT = 1_000, 100, 4_000
"""Nano-USD for a token."""
_numbers = itertools.count(1)


class Client:
    """A key of an account of its own."""

    def __init__(
        self, bank: Bank, balance: int, limits: Limits = NO_LIMITS, *, is_prepaid: bool = True
    ) -> None:
        number = next(_numbers)
        self.bank = bank
        self.account = Account(
            id=AccountId(f"acct_{number:020}"), name=f"client {number}", is_prepaid=is_prepaid
        )
        bank.store.add_account(self.account)
        secret, key = mint_key(f"key {number}", time.time())
        bank.store.add_key(msgspec.structs.replace(key, account_id=self.account.id, limits=limits))
        if balance:
            bank.store.post_money(
                self.account.id,
                NanoUSD(balance),
                "top_up",
                f"top-up {number}",
                at_s=time.time(),
            )
        self.http = httpx.Client(
            base_url=bank.url, headers={"authorization": f"Bearer {secret}"}, timeout=20
        )

    def ask(self, path: str, *, stream: bool = False, **fields: Any) -> httpx.Response:
        return self.http.post(path, json=body_for(path, stream=stream, **fields))

    @property
    def balance(self) -> int:
        balance = self.bank.store.balance(self.account.id, time.time())
        return balance.total_nano_usd

    def record(self, response: httpx.Response) -> UsageRecord:
        """What is kept of an answered request: durable before its end was sent."""
        record = self.bank.store.find_usage(response.headers["x-request-id"])
        assert record is not None
        return record

    def record_later(self, request_id: str) -> UsageRecord:
        """What is kept some time soon."""
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline:
            record = self.bank.store.find_usage(request_id)
            if record is not None:
                return record
            time.sleep(0.005)
        raise AssertionError(f"no record of {request_id}")


class Bank:
    """The server, and its books as another process sees them."""

    def __init__(self, server: ServerProcess, store: Store) -> None:
        self.url = server.url
        self.server = server
        self.store = store

    def client(self, balance: int = NANO, limits: Limits = NO_LIMITS) -> Client:
        return Client(self, balance, limits)


def body_for(path: str, *, stream: bool, **fields: Any) -> dict[str, Any]:
    body: dict[str, Any] = {"messages": MESSAGES, "stream": stream}
    if path != "/api/v1/completions":
        body["model"] = "paid"
    if path in ("/v1/messages", "/api/v1/completions"):
        body["max_tokens"] = 500
    return body | fields


@pytest.fixture(scope="module")
def bank(
    _scripted_provider: ScriptedProvider, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Bank]:
    data_dir: Path = tmp_path_factory.mktemp("bank") / "data"
    with ServerProcess(data_dir, CONFIG.format(url=_scripted_provider.base_url)) as server:
        store = open_store(data_dir)
        yield Bank(server, store)
        assert store.verify() == []
        store.close()


def usage_in(text: str) -> dict[str, Any]:
    """The usage of a stream of chat-completion chunks, of which there must be one."""
    frames = [line[6:] for line in text.splitlines() if line.startswith("data: {")]
    found = [usage for frame in frames if (usage := json.loads(frame).get("usage"))]
    assert len(found) == 1
    return dict(found[0])


# --- Charges ---


@pytest.mark.parametrize(
    ("path", "model"),
    [
        (path, model)
        for path in PATHS
        for model in ("paid", "paid-claude")
        if path != "/api/v1/completions" or model == "paid"
    ],
)
def test_streamed_and_whole_answers_are_billed_the_same(
    bank: Bank, provider: ScriptedProvider, path: str, model: str
) -> None:
    provider.default = Script(deltas=("one ", "two"), usage=Tokens(input=40, output=7, cached=10))
    client = bank.client()
    fields = {} if path == "/api/v1/completions" else {"model": model}
    records = []
    for stream in (False, True):
        answer = client.ask(path, stream=stream, **fields)
        assert answer.status_code == 200, answer.text
        records.append(client.record(answer))
    cost = 30 * INPUT + 10 * CACHED + 7 * OUTPUT
    assert [record.cost_nano_usd for record in records] == [cost, cost]
    assert records[0].usage == records[1].usage
    assert [record.is_stream for record in records] == [False, True]
    assert [record.status for record in records] == ["ok", "ok"]
    assert client.balance == NANO - 2 * cost


@either_form
def test_choices_tools_and_cached_tokens_are_billed_once(
    bank: Bank, provider: ScriptedProvider, stream: bool
) -> None:
    provider.default = Script(
        calls=(Call("weather", ('{"city":', '"Wien"}')),),
        usage=Tokens(input=100, output=30, cached=60, reasoning=10),
    )
    client = bank.client()
    tool = {"type": "function", "function": {"name": "weather", "parameters": {}}}
    answer = client.ask(PATHS[0], stream=stream, n=3, tools=[tool])
    record = client.record(answer)
    cost = 40 * INPUT + 60 * CACHED + 30 * OUTPUT
    assert record.cost_nano_usd == cost
    assert record.usage.reasoning_tokens == 10
    assert record.finish_reason == "tool_calls"
    assert client.balance == NANO - cost


@pytest.mark.parametrize("path", PATHS[:2])
def test_the_cost_is_told_in_both_forms(bank: Bank, provider: ScriptedProvider, path: str) -> None:
    provider.default = Script(text="hello", usage=Tokens(input=40, output=7))
    client = bank.client()
    cost = (40 * INPUT + 7 * OUTPUT) / NANO
    assert client.ask(path).json()["usage"]["cost"] == cost
    streamed = client.ask(path, stream=True, stream_options={"include_usage": True})
    assert usage_in(streamed.text)["cost"] == cost
    free = client.ask(path, model="free")
    assert free.json()["usage"]["cost"] == 0


@pytest.mark.parametrize("count", [3, 40])
def test_a_client_that_leaves_is_billed_for_about_what_it_got(
    bank: Bank, provider: ScriptedProvider, count: int
) -> None:
    provider.default = Script(
        deltas=("word ",) * 400, frame_gate=Gate(), frames_before_gate=count + 1
    )
    client = bank.client()
    body = body_for(PATHS[0], stream=True)
    with client.http.stream("POST", PATHS[0], json=body) as answer:
        seen = ""
        for chunk in answer.iter_text():
            seen += chunk
            if seen.count("word ") == count:
                break
    record = client.record_later(answer.headers["x-request-id"])
    assert record.status == "client_gone"
    assert count <= record.usage.output_tokens <= 2 * count
    assert record.usage.is_estimated
    cost = record.usage.input_tokens * INPUT + record.usage.output_tokens * OUTPUT
    assert record.cost_nano_usd == cost
    assert client.balance == NANO - cost


@pytest.mark.parametrize(
    ("script", "status"),
    [
        (Script(status=500), 503),
        (Script(deltas=("one", "two", "three"), cut_after_frames=3), 200),
    ],
)
def test_a_providers_failure_is_kept_and_not_charged(
    bank: Bank, provider: ScriptedProvider, script: Script, status: int
) -> None:
    provider.default = script
    client = bank.client()
    try:
        answer = client.ask(PATHS[0], stream=True)
        request_id = answer.headers["x-request-id"]
    except httpx.RemoteProtocolError:
        pytest.fail("a stream of frames says that it failed")
    record = client.record_later(request_id)
    assert (record.status, record.http_status, record.cost_nano_usd) == ("failed", status, 0)
    assert (record.usage.output_tokens > 0) is (status == 200)
    assert client.balance == NANO


def test_what_is_kept_says_who_asked_whom_and_when(bank: Bank, provider: ScriptedProvider) -> None:
    provider.default = Script(text="hello", usage=Tokens(input=40, output=7))
    client = bank.client()
    before_s = time.time()
    answer = client.ask(
        PATHS[1],
        stream=True,
        user="sandra",
        labels={"team": "search"},
        tags=["one", "two"],
        temperature=0.5,
    )
    record = client.record(answer)
    assert (record.account_id, record.dialect) == (client.account.id, "studio")
    assert (record.model_asked, record.model, record.provider) == ("paid", "paid", "openai-like")
    assert (record.user, record.labels, record.tags) == (
        "sandra",
        (("team", "search"),),
        ("one", "two"),
    )
    frame = json.loads(answer.text.split("data: ")[1])
    assert record.session_id == frame["session_id"]
    assert before_s <= record.started_s <= time.time()
    assert record.queued_ms is not None
    assert record.first_token_ms is not None
    assert 0 <= record.queued_ms <= record.first_token_ms <= record.total_ms
    assert (record.finish_reason, record.http_status, record.error) == ("stop", 200, None)
    assert record.hold_nano_usd >= record.cost_nano_usd > 0
    assert record.price_id is not None
    assert "hello" not in msgspec.json.encode(record).decode()


# --- Refusals ---


def too_dear(client: Client, path: str) -> httpx.Response:
    """Asks for more than the balance carries."""
    return client.ask(path, max_tokens=4000)


@every_path
def test_a_402_is_told_in_the_dialects_shape_and_costs_nothing(
    bank: Bank, provider: ScriptedProvider, path: str
) -> None:
    client = bank.client(balance=1_000_000)
    answer = too_dear(client, path)
    assert answer.status_code == 402
    told = answer.json()
    if path == PATHS[0]:
        assert told["error"]["type"] == "payment_required"
        assert told["error"]["code"] == 402
    elif path == PATHS[2]:
        assert told == {"error": "Insufficient credits"}
    elif path == PATHS[3]:
        assert told["type"] == "error"
    assert provider.requests == []
    assert client.balance == 1_000_000
    record = client.record_later(answer.headers["x-request-id"])
    assert (record.status, record.http_status) == ("refused", 402)


@pytest.mark.parametrize("path", [PATHS[0], PATHS[1], PATHS[3]])
def test_a_402_names_the_largest_maximum_and_that_one_is_taken(
    bank: Bank, provider: ScriptedProvider, path: str
) -> None:
    client = bank.client(balance=1_000_000)
    message = too_dear(client, path).json()["error"]["message"]
    largest = int(message.split("allows is ")[1].split(".")[0])
    assert client.ask(path, max_tokens=largest + 1).status_code == 402
    assert client.ask(path, max_tokens=largest).status_code == 200
    assert provider.requests[-1].body["max_tokens"] == largest


def test_an_empty_balance_is_a_402_with_the_dialects_words(
    bank: Bank, provider: ScriptedProvider
) -> None:
    client = bank.client(balance=0)
    told = client.ask(PATHS[0]).json()
    assert told["error"]["message"] == "Insufficient credits. Please top up your account."
    assert client.ask(PATHS[0], model="free").status_code == 200
    assert len(provider.requests) == 1


def test_without_a_maximum_a_small_balance_bounds_the_answer(
    bank: Bank, provider: ScriptedProvider
) -> None:
    client = bank.client(balance=1_000_000)
    assert client.ask(PATHS[0]).status_code == 200
    sent = provider.requests[-1].body["max_tokens"]
    assert 0 < sent * OUTPUT <= 1_000_000


@every_path
def test_rate_headers_are_on_every_answer_to_a_known_key(
    bank: Bank, provider: ScriptedProvider, path: str
) -> None:
    client = bank.client(limits=Limits(requests_per_minute=4, tokens_per_minute=100_000))
    fine = client.ask(path)
    streamed = client.ask(path, stream=True)
    bad = client.http.post(path, content=b"{")
    client.ask(path)
    refused = client.ask(path)
    codes = [each.status_code for each in (fine, streamed, bad, refused)]
    assert codes == [200, 200, 400, 429]
    left = [each.headers["x-ratelimit-remaining"] for each in (fine, streamed, bad, refused)]
    assert left == ["3", "2", "1", "0"]
    for answer in (fine, streamed, bad, refused):
        assert answer.headers["x-ratelimit-limit"] == "4"
        assert answer.headers["x-ratelimit-limit-tokens"] == "100000"
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    stranger = httpx.post(
        f"{bank.url}{path}", json={}, headers={"authorization": "Bearer drg_sk_nobody"}
    )
    assert stranger.status_code == 401
    assert not any(name.startswith("x-ratelimit") for name in stranger.headers)
    for answer in (bad, refused):
        record = client.record_later(answer.headers["x-request-id"])
        assert (record.status, record.http_status) == ("refused", answer.status_code)
    assert len(provider.requests) == 3


def test_counting_tokens_counts_as_a_request_and_costs_nothing(
    bank: Bank, provider: ScriptedProvider
) -> None:
    client = bank.client(limits=Limits(requests_per_minute=2, tokens_per_minute=1_000))
    body = {"model": "paid-claude", "messages": MESSAGES}
    counted = client.http.post("/v1/messages/count_tokens", json=body)
    assert counted.json() == {"input_tokens": 19}
    assert counted.headers["x-ratelimit-remaining-requests"] == "1"
    assert counted.headers["x-ratelimit-remaining-tokens"] == "1000"
    assert client.balance == NANO
    assert provider.requests[-1].path.endswith("/count_tokens")


def test_tokens_are_reserved_and_set_right_by_what_was_used(
    bank: Bank, provider: ScriptedProvider
) -> None:
    provider.default = Script(text="hello", usage=Tokens(input=40, output=60))
    client = bank.client(limits=Limits(tokens_per_minute=1_000))
    assert client.ask(PATHS[0], max_tokens=900).status_code == 200
    # 100 were used: there is room for some 900, and not for some 990.
    assert client.ask(PATHS[0], max_tokens=980).status_code == 429
    assert client.ask(PATHS[0], max_tokens=800).status_code == 200


@every_path
def test_what_can_never_fit_a_limit_is_not_to_be_tried_again(
    bank: Bank, provider: ScriptedProvider, path: str
) -> None:
    client = bank.client(limits=Limits(tokens_per_minute=100))
    never = client.ask(path, max_tokens=400)
    assert never.status_code == 429
    assert never.headers["x-should-retry"] == "false"
    assert "retry-after" not in never.headers
    client.ask(path, max_tokens=80)
    later = client.ask(path, max_tokens=80)
    assert later.status_code == 429
    assert "x-should-retry" not in later.headers
    assert 1 <= int(later.headers["retry-after"]) <= 60


def test_what_a_stop_cuts_is_settled_before_the_process_ends(
    provider: ScriptedProvider, tmp_path: Path
) -> None:
    provider.default = Script(deltas=("word ",) * 20, stall_after_frames=9)
    server = ServerProcess(tmp_path / "data", CONFIG.format(url=provider.base_url)).start()
    store = open_store(server.data_dir)
    client = Client(Bank(server, store), NANO)
    body = body_for(PATHS[0], stream=True)
    with client.http.stream("POST", PATHS[0], json=body) as answer:
        lines = answer.iter_lines()
        seen = 0
        while seen < 8:
            seen += "word " in next(lines)
        server.terminate()
        rest = "\n".join(lines)
    assert server.wait() == 0
    assert '"error"' in rest
    record = client.record(answer)
    assert (record.status, record.error, record.cost_nano_usd) == ("failed", "draining", 0)
    assert record.usage.output_tokens >= 8
    balance = store.balance(client.account.id, time.time())
    assert (balance.free_nano_usd, balance.held_nano_usd) == (NANO, 0)
    assert store.verify() == []
    store.close()


@every_path
@either_form
def test_the_same_idempotency_key_is_answered_again_and_charged_once(
    bank: Bank, provider: ScriptedProvider, path: str, stream: bool
) -> None:
    provider.default = Script(deltas=("one ", "two"), usage=Tokens(input=40, output=7))
    client = bank.client()
    headers = {"idempotency-key": f"wish {path} {stream}"}
    body = body_for(path, stream=stream)
    answers = [client.http.post(path, json=body, headers=headers) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert answers[0].text.replace(
        answers[0].headers["x-request-id"], answers[1].headers["x-request-id"]
    ) == (answers[1].text)
    assert "idempotent-replayed" not in answers[0].headers
    assert answers[1].headers["idempotent-replayed"] == "true"
    assert client.balance == NANO - 40 * INPUT - 7 * OUTPUT
    assert len(provider.requests) == 1
    other = client.http.post(path, json=body | {"temperature": 0.5}, headers=headers)
    assert other.status_code == 409
    assert other.headers["x-should-retry"] == "false"
    replayed = client.record_later(answers[1].headers["x-request-id"])
    assert (replayed.status, replayed.cost_nano_usd) == ("replayed", 0)
