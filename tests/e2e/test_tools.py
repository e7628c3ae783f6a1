"""Server-side tools on the wire: a real server, a real MCP server behind it, and a scripted model that calls."""

from __future__ import annotations

import itertools
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from tests.policy.project_books import attached, project
from tests.scripted_provider import Call, Gate, Script, ScriptedProvider, Tokens
from tests.server_process import ServerProcess, is_alive

from dragoman.chat import NanoUSD
from dragoman.policy.keys import mint_key
from dragoman.records.account import Account, AccountId
from dragoman.records.interaction import Interaction
from dragoman.records.interaction_query import InteractionFilter
from dragoman.records.limits import NO_LIMITS, Limits
from dragoman.records.project import AttachedTool, Project, ToolBounds
from dragoman.records.tool_server import ToolCallRecord, ToolServer
from dragoman.records.usage_record import UsageRecord
from dragoman.stores import Store, open_store

OPENAI, STUDIO = "/v1/chat/completions", "/api/v1/chat/completions"
PROGRAM = Path(__file__).parents[1] / "tools" / "mcp_program.py"
CONFIG = """
embedded_model = false
default_model = "paid"
log_format = "json"
shutdown_grace_s = 0
header_hold_s = 0.2

[[providers]]
name = "openai-like"
wire = "openai"
base_url = "{url}"
timeouts = {{ connect_s = 2.0, first_byte_s = 30.0, idle_s = 3.0, total_s = 60.0 }}

[[providers.models]]
id = "paid"
max_output_tokens = 1000
context_tokens = 20000
price = {{ input = 1, output = 4 }}
fallbacks = ["paid-claude"]

[[providers]]
name = "anthropic-like"
wire = "anthropic"
base_url = "{url}"

[[providers.models]]
id = "paid-claude"
max_output_tokens = 1000
context_tokens = 20000
price = {{ input = 10, output = 40 }}
"""
INPUT, OUTPUT = 1_000, 4_000
"""Nano-USD for a token of the first model; the second's cost ten times as much."""
NANO = 10**9
TOOLS = ToolServer(key="mcp", kind="mcp_stdio", command=(sys.executable, str(PROGRAM), "stdio"))
_numbers = itertools.count(1)


class Shop:
    """A server, its store, and a project with tools for each test."""

    def __init__(self, server: ServerProcess, store: Store) -> None:
        self.server = server
        self.store = store

    def open(self, *, balance: int = NANO, limits: Limits = NO_LIMITS, **bounds: Any) -> Customer:
        number = next(_numbers)
        account = Account(id=AccountId(f"acct_{number:020}"), name=f"c{number}", is_prepaid=True)
        self.store.add_account(account)
        secret, key = mint_key(f"key {number}", time.time())
        self.store.add_key(msgspec.structs.replace(key, account_id=account.id, limits=limits))
        self.store.post_money(
            account.id, NanoUSD(balance), "top_up", f"t{number}", at_s=time.time()
        )
        model = attached(
            "paid",
            tools=(AttachedTool("mcp"), AttachedTool("mcp/big", enabled=False)),
            tool_bounds=ToolBounds(**bounds),
        )
        made = project(f"shop{number}", model, account_id=account.id)
        self.store.add_project(made)
        return Customer(self, account, made, secret)


class Customer:
    def __init__(self, shop: Shop, account: Account, made: Project, secret: str) -> None:
        self.shop = shop
        self.account = account
        self.project = made
        self.http = httpx.Client(
            base_url=shop.server.url, headers={"authorization": f"Bearer {secret}"}, timeout=30
        )

    def body(self, **fields: Any) -> dict[str, Any]:
        return {
            "model": self.project.key,
            "messages": [{"role": "user", "content": "hi"}],
            "use_tools": True,
            **fields,
        }

    def ask(self, path: str = STUDIO, **fields: Any) -> httpx.Response:
        return self.http.post(path, json=self.body(**fields))

    @property
    def spent(self) -> int:
        return NANO - self.shop.store.balance(self.account.id, time.time()).total_nano_usd

    def record(self, answer: httpx.Response) -> UsageRecord:
        found = self.shop.store.find_usage(answer.headers["x-request-id"])
        assert found is not None
        return found

    def rows(self) -> list[Interaction]:
        page = self.shop.store.list_interactions(InteractionFilter(project_ids=(self.project.id,)))
        return [each.interaction for each in page.interactions]

    def calls(self) -> tuple[ToolCallRecord, ...]:
        (row,) = self.rows()
        assert row.content is not None
        return row.content.tool_calls


@pytest.fixture(scope="module")
def _shop(
    _scripted_provider: ScriptedProvider, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Shop]:
    data_dir: Path = tmp_path_factory.mktemp("tools") / "data"
    process = ServerProcess(data_dir, CONFIG.format(url=_scripted_provider.base_url))
    with process as server:
        store = open_store(data_dir)
        store.put_tool_server(TOOLS)
        yield Shop(server, store)
        store.close()


@pytest.fixture
def shop(_shop: Shop, provider: ScriptedProvider) -> Shop:
    assert provider.requests == []
    return _shop


def wants(name: str, call_id: str = "call_1", **arguments: object) -> Call:
    return Call(f"mcp__{name}", (json.dumps(arguments),), id=call_id)


def until(question: Callable[[], bool]) -> None:
    end_s = time.monotonic() + 20
    while not question():
        assert time.monotonic() < end_s
        time.sleep(0.005)


def warm_up(shop: Shop, provider: ScriptedProvider) -> None:
    """The server of tools runs from here on, whatever an earlier test did to it."""
    provider.enqueue(Script(calls=(wants("add", a=1, b=1),)), Script(text="Two."))
    customer = shop.open()
    assert text_of(customer.ask()) == "Two."
    assert customer.calls()[0].result == "2"


def text_of(answer: httpx.Response) -> str:
    assert answer.status_code == 200, answer.text
    text: str = answer.json()["choices"][0]["message"]["content"]
    return text


def test_the_model_uses_a_tool_and_the_client_sees_its_answer(
    shop: Shop, provider: ScriptedProvider
) -> None:
    customer = shop.open()
    provider.enqueue(
        Script(text="Let me see.", calls=(wants("add", a=2, b=3),), usage=Tokens(100, 20)),
        Script(text="It is 5.", usage=Tokens(150, 10)),
    )
    answer = customer.ask()
    assert text_of(answer) == "It is 5."
    message = answer.json()["choices"][0]["message"]
    assert not message.get("tool_calls")
    assert answer.json()["choices"][0]["finish_reason"] == "stop"
    usage = answer.json()["usage"]
    assert (usage["prompt_tokens"], usage["completion_tokens"]) == (250, 30)
    assert usage["cost"] == (250 * INPUT + 30 * OUTPUT) / NANO
    first, second = [request.body for request in provider.requests]
    assert "mcp__add" in [tool["function"]["name"] for tool in first["tools"]]
    assert "mcp__big" not in [tool["function"]["name"] for tool in first["tools"]]
    said = second["messages"][-2:]
    assert said[0]["tool_calls"][0]["function"]["name"] == "mcp__add"
    assert (said[1]["role"], said[1]["content"]) == ("tool", "5")
    record = customer.record(answer)
    assert (record.usage.input_tokens, record.usage.output_tokens) == (250, 30)
    assert record.cost_nano_usd == 250 * INPUT + 30 * OUTPUT == customer.spent
    assert [attempt.error for attempt in record.attempts] == [None, None]
    (call,) = customer.calls()
    assert (call.round, call.tool, call.result) == (1, "mcp/add", "5")
    assert json.loads(call.arguments) == {"a": 2, "b": 3}
    (row,) = customer.rows()
    assert row.content is not None
    assert row.content.completion is not None
    assert json.loads(bytes(row.content.completion)) == {"role": "assistant", "content": "It is 5."}


def test_a_stream_shows_only_the_final_text_and_stays_alive_meanwhile(
    shop: Shop, provider: ScriptedProvider
) -> None:
    customer = shop.open(rounds=2)
    gate, last = Gate(), Gate()
    provider.enqueue(
        Script(text="hidden", calls=(wants("add", a=1, b=1),), first_byte_gate=gate),
        Script(deltas=("It ", "is 2."), frame_gate=last, frames_before_gate=2),
    )
    body = customer.body(stream=True, stream_options={"include_usage": True})
    with customer.http.stream("POST", STUDIO, json=body) as answer:
        lines = answer.iter_lines()
        assert next(lines).startswith(":")
        gate.open()
        shown: list[str] = []
        # The last round that there can be comes as it is made.
        while "It " not in "".join(shown):
            shown.append(next(lines))
        last.open()
        shown += lines
    chunks = [
        json.loads(line.removeprefix("data: ")) for line in shown if line.startswith("data: {")
    ]
    text = "".join(
        choice["delta"].get("content") or "" for chunk in chunks for choice in chunk["choices"]
    )
    assert text == "It is 2."
    assert chunks[-1]["usage"]["prompt_tokens"] == 2 * 19
    assert "hidden" not in "".join(shown)
    assert provider.requests[1].body["tool_choice"] == "none"


def test_rounds_of_different_targets_are_billed_at_their_own_prices(
    shop: Shop, provider: ScriptedProvider
) -> None:
    customer = shop.open()
    provider.enqueue(
        Script(calls=(wants("add", a=1, b=1),), usage=Tokens(100, 20)),
        # It breaks off within a round that nobody has seen: another target may answer that.
        Script(deltas=("a", "b", "c"), cut_after_frames=2),
        Script(text="Two.", usage=Tokens(200, 5)),
    )
    answer = customer.ask()
    assert text_of(answer) == "Two."
    assert answer.json()["model"] == "paid-claude"
    record = customer.record(answer)
    assert record.cost_nano_usd == 100 * INPUT + 20 * OUTPUT + 10 * (200 * INPUT + 5 * OUTPUT)
    assert (record.usage.input_tokens, record.usage.output_tokens) == (300, 25)
    assert [attempt.error for attempt in record.attempts] == [None, "provider_garbled", None]
    blocks = provider.requests[2].body["messages"]
    assert blocks[-1]["content"][0]["type"] == "tool_result"


def test_calls_of_one_round_run_side_by_side(shop: Shop, provider: ScriptedProvider) -> None:
    customer = shop.open()
    both = (wants("meet", "1", who="a"), wants("meet", "2", who="b"))
    provider.enqueue(Script(calls=both), Script(text="They met."))
    assert text_of(customer.ask()) == "They met."
    assert [call.result for call in customer.calls()] == ["met: a", "met: b"]


@pytest.mark.parametrize(
    ("call", "error", "told"),
    [
        (wants("fail", why="no such town"), "tool_failed", "no such town"),
        (wants("die"), "unreachable", "ended before it answered"),
        (wants("nothing"), "unknown_tool", "no such tool"),
        (Call("mcp__add", ("{nonsense",)), "invalid_arguments", "not valid JSON"),
    ],
    ids=["fails", "dies", "unknown", "garbage"],
)
def test_a_tools_trouble_is_told_to_the_model(
    shop: Shop, provider: ScriptedProvider, call: Call, error: str, told: str
) -> None:
    customer = shop.open()
    provider.enqueue(Script(calls=(call,)), Script(text="Sorry."))
    assert text_of(customer.ask()) == "Sorry."
    assert customer.calls()[0].error == error
    assert told in provider.requests[1].body["messages"][-1]["content"]


def test_a_hanging_tool_costs_its_time_and_no_more(
    shop: Shop, provider: ScriptedProvider, tmp_path: Path
) -> None:
    customer = shop.open(call_s=0.2)
    warm_up(shop, provider)
    provider.enqueue(Script(calls=(wants("hang", mark=str(tmp_path / "m")),)), Script(text="Late."))
    assert text_of(customer.ask()) == "Late."
    assert customer.calls()[0].error == "timeout"
    until((tmp_path / "m.left").exists)


def test_ten_megabytes_are_told_of(shop: Shop, provider: ScriptedProvider) -> None:
    customer = shop.open()
    provider.enqueue(
        Script(calls=(wants("big", "1", size=10_000_000), wants("big", "2", size=50_000))),
        Script(text="Big."),
    )
    answer = customer.ask(tools=[{"id": "mcp/big", "enabled": True}])
    assert text_of(answer) == "Big."
    first, second = customer.calls()
    assert first.error == "too_long"
    assert second.is_cut
    # Both models have 20,000 tokens of context, which all results together must fit into.
    assert len(second.result) <= 20_000


def test_nothing_runs_unasked(shop: Shop, provider: ScriptedProvider) -> None:
    customer = shop.open()
    provider.enqueue(*[Script(text="No tools.")] * 3)
    assert text_of(customer.ask(use_tools=None)) == "No tools."
    assert text_of(customer.ask(use_tools=False)) == "No tools."
    # Other dialects have no such field, and say so.
    other = customer.ask(OPENAI)
    assert text_of(other) == "No tools."
    assert "use_tools" in other.headers["x-dragoman-ignored"]
    assert all("tools" not in request.body for request in provider.requests)


def test_a_switch_alone_turns_its_tool_on(shop: Shop, provider: ScriptedProvider) -> None:
    customer = shop.open()
    provider.enqueue(Script(text="Fine."))
    answer = customer.ask(use_tools=None, tools=[{"id": "mcp/add", "enabled": True}])
    assert text_of(answer) == "Fine."
    (request,) = provider.requests
    assert [tool["function"]["name"] for tool in request.body["tools"]] == ["mcp__add"]


def test_what_cannot_be_is_refused_before_anything_is_asked(
    shop: Shop, provider: ScriptedProvider
) -> None:
    customer = shop.open()
    unknown = customer.ask(tools=[{"id": "mcp/fly", "enabled": True}])
    assert unknown.status_code == 400
    assert unknown.json()["error"]["param"] == "tools[0].id"
    assert "'mcp/add'" in unknown.json()["error"]["message"]
    several = customer.ask(n=2)
    assert several.status_code == 400
    assert several.json()["error"]["param"] == "n"
    assert provider.requests == []
    assert customer.spent == 0


def test_a_plain_model_has_no_tools(shop: Shop, provider: ScriptedProvider) -> None:
    customer = shop.open()
    refused = customer.ask(model="paid")
    assert refused.status_code == 400
    assert refused.json()["error"]["param"] == "use_tools"
    assert text_of(customer.ask(model="paid", use_tools=False))
    assert text_of(
        customer.ask(model="paid", tools=[{"id": "x", "enabled": False}], use_tools=None)
    )


def test_a_replay_calls_no_tool_again(shop: Shop, provider: ScriptedProvider) -> None:
    customer = shop.open()
    provider.enqueue(Script(text="hidden", calls=(wants("add", a=1, b=1),)), Script(text="Two."))
    headers = {"Idempotency-Key": "once"}
    answers = [customer.http.post(STUDIO, json=customer.body(), headers=headers) for _ in "ab"]
    assert text_of(answers[0]) == text_of(answers[1]) == "Two."
    assert answers[0].json()["usage"] == answers[1].json()["usage"]
    assert len(provider.requests) == 2
    assert len(customer.calls()) == 1


def test_the_clients_own_functions_stay_the_clients(shop: Shop, provider: ScriptedProvider) -> None:
    customer = shop.open()
    function = {"type": "function", "function": {"name": "mine", "parameters": {"type": "object"}}}
    provider.enqueue(Script(calls=(wants("add", "1", a=1, b=1), Call("mine", id="2"))))
    answer = customer.ask(tools=[function, {"id": "mcp", "enabled": True}])
    choice = answer.json()["choices"][0]
    assert choice["finish_reason"] == "tool_calls"
    assert [call["function"]["name"] for call in choice["message"]["tool_calls"]] == ["mine"]
    assert customer.calls() == ()


def test_who_leaves_takes_tool_and_model_along(
    shop: Shop, provider: ScriptedProvider, tmp_path: Path
) -> None:
    customer = shop.open()
    warm_up(shop, provider)
    mark = tmp_path / "m"
    provider.enqueue(
        Script(calls=(wants("hang", mark=str(mark)),), usage=Tokens(100, 20)),
    )
    with pytest.raises(httpx.ReadTimeout):
        customer.http.post(STUDIO, json=customer.body(), timeout=httpx.Timeout(10, read=1.5))
    assert mark.exists()
    until((tmp_path / "m.left").exists)
    until(lambda: bool(customer.rows()))
    # What the first round used is paid for; its provider bills for it, too.
    assert customer.spent == 100 * INPUT + 20 * OUTPUT
    (row,) = customer.rows()
    assert row.status == "client_gone"
    assert customer.calls()[0].error == "cancelled"


def test_the_wait_for_a_first_token_covers_all_rounds(
    shop: Shop, provider: ScriptedProvider, tmp_path: Path
) -> None:
    customer = shop.open()
    warm_up(shop, provider)
    mark = tmp_path / "m"
    provider.enqueue(Script(calls=(wants("hang", mark=str(mark)),)))
    answer = customer.ask(max_ttft_ms=700)
    assert answer.status_code == 408
    assert answer.headers["x-should-retry"] == "false"
    assert customer.spent == 0
    until((tmp_path / "m.left").exists)


def test_one_hold_covers_what_all_rounds_may_cost(shop: Shop, provider: ScriptedProvider) -> None:
    poor = shop.open(balance=41_000_000)
    refused = poor.ask(max_tokens=1000)
    assert refused.status_code == 402
    assert provider.requests == []
    # The same without tools is but one round.
    assert text_of(poor.ask(max_tokens=1000, use_tools=False))
    rich = shop.open()
    provider.enqueue(Script(calls=(wants("add", a=1, b=1),)), Script(text="Two."))
    answer = rich.ask(max_tokens=1000)
    record = rich.record(answer)
    # At the dearer target: five rounds of answers, and each again in every later prompt.
    assert record.hold_nano_usd > 10 * (5 * 1000 * OUTPUT + 10 * 1000 * INPUT)
    assert record.hold_nano_usd < 10 * (5 * 1000 * OUTPUT + 10 * 1000 * INPUT + 5 * 20_000 * INPUT)


def test_a_token_window_has_to_hold_all_rounds(shop: Shop, provider: ScriptedProvider) -> None:
    customer = shop.open(limits=Limits(tokens_per_minute=5_000))
    refused = customer.ask(max_tokens=1000)
    assert refused.status_code == 429
    assert provider.requests == []
    provider.enqueue(Script(text="Fine."))
    assert text_of(customer.ask(max_tokens=1000, use_tools=False)) == "Fine."


def test_a_server_that_is_disabled_offers_nothing_from_the_next_request_on(
    shop: Shop, provider: ScriptedProvider
) -> None:
    customer = shop.open()
    warm_up(shop, provider)
    try:
        shop.store.put_tool_server(msgspec.structs.replace(TOOLS, disabled_s=time.time()))
        provider.enqueue(Script(text="Alone."))
        assert text_of(customer.ask()) == "Alone."
        assert "tools" not in provider.requests[-1].body
    finally:
        shop.store.put_tool_server(TOOLS)
    provider.enqueue(Script(calls=(wants("add", a=2, b=2),)), Script(text="Four."))
    assert text_of(customer.ask()) == "Four."


def test_admins_may_ask_what_a_server_has(shop: Shop, provider: ScriptedProvider) -> None:
    secret, key = mint_key("admin", time.time())
    shop.store.add_key(msgspec.structs.replace(key, kind="admin"))
    headers = {"authorization": f"Bearer {secret}"}
    url = f"{shop.server.url}/admin/v1/tool-servers/mcp/tools"
    answer = httpx.get(url, headers=headers, timeout=30)
    assert answer.status_code == 200
    assert "mcp/add" in [tool["id"] for tool in answer.json()["data"]]


def test_children_die_with_a_killed_server(provider: ScriptedProvider, tmp_path: Path) -> None:
    process = ServerProcess(tmp_path / "data", CONFIG.format(url=provider.base_url))
    with process as server:
        store = open_store(tmp_path / "data")
        store.put_tool_server(TOOLS)
        customer = Shop(server, store).open()
        provider.enqueue(Script(calls=(wants("pids"),)), Script(text="Yes."))
        assert text_of(customer.ask()) == "Yes."
        pids = [int(pid) for pid in customer.calls()[0].result.split(",")]
        assert all(map(is_alive, pids))
        # Nothing of the server's is open in what it starts.
        assert os.listdir(f"/proc/{pids[1]}/fd") == ["2"]
        store.close()
        os.kill(server.pid, signal.SIGKILL)
        until(lambda: not any(map(is_alive, pids)))
