"""An answer costs the same in whatever form and dialect it is given, and each part of it is paid for once."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.exact.crowd import MESSAGES, Client
from tests.exact.payer import Payer
from tests.scripted_provider import Call, Gate, Script, ScriptedProvider, Tokens
from tests.server_process import ServerProcess

from dragoman.records.usage_record import UsageRecord
from dragoman.stores import Store, open_store

BALANCE = 1_000_000_000
INPUT, CACHED, OUTPUT = 1_000, 100, 4_000
"""Nano-USD for a token."""

CONFIG = """
embedded_model = false
default_model = "{default}"
log_format = "json"

[[providers]]
name = "openai-like"
wire = "openai"
base_url = "{url}"

[[providers.models]]
id = "gpt"
max_output_tokens = 4096
price = {{ input = 1, cached_input = 0.1, output = 4 }}

[[providers]]
name = "anthropic-like"
wire = "anthropic"
base_url = "{url}"

[[providers.models]]
id = "claude"
max_output_tokens = 4096
price = {{ input = 1, cached_input = 0.1, output = 4 }}
"""

PATHS = {
    "openai": "/v1/chat/completions",
    "studio": "/api/v1/chat/completions",
    "anthropic": "/v1/messages",
    "dreamsolve": "/api/v1/completions",
}
every_dialect = pytest.mark.parametrize("dialect", list(PATHS))
either_form = pytest.mark.parametrize("stream", [False, True])

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}
FUNCTION = {"type": "function", "function": {"name": "weather", "parameters": SCHEMA}}
TOOL = {"name": "weather", "description": "Tells it.", "input_schema": SCHEMA}


class House:
    """A server whose models all are of one wire format; the default one too, for `dreamsolve`."""

    def __init__(
        self, server: ServerProcess, store: Store, model: str, provider: ScriptedProvider
    ) -> None:
        self.server = server
        self.store = store
        self.model = model
        self.provider = provider

    def payer(self) -> Payer:
        return Payer(self.store, self.server.data_dir, BALANCE)

    def body(self, dialect: str, **fields: Any) -> dict[str, Any]:
        body: dict[str, Any] = {"model": self.model, "messages": MESSAGES, "max_tokens": 500}
        if dialect == "dreamsolve":
            del body["model"]
        if dialect == "studio" and fields.get("stream"):
            body["stream_options"] = {"include_usage": True}
        return body | fields

    def record(self, request_id: str) -> UsageRecord:
        """Of a request that has ended, or is about to."""
        until(lambda: self.store.find_usage(request_id) is not None)
        record = self.store.find_usage(request_id)
        assert record is not None
        return record

    def statuses_of(self, payer: Payer) -> dict[str, int]:
        """Once there is a record at all."""
        until(lambda: payer.statuses)
        return payer.statuses


def until(is_true: Callable[[], object]) -> None:
    deadline_s = time.monotonic() + 5
    while not is_true():
        assert time.monotonic() < deadline_s, "it never came to be"
        time.sleep(0.005)


@pytest.fixture(scope="module", params=["gpt", "claude"])
def house(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[House]:
    data_dir: Path = tmp_path_factory.mktemp("billing") / "data"
    with ScriptedProvider() as provider:
        config = CONFIG.format(url=provider.base_url, default=request.param)
        with ServerProcess(data_dir, config) as server:
            store = open_store(data_dir)
            yield House(server, store, request.param, provider)
            assert store.verify() == []
            store.close()


def told_tokens(dialect: str, stream: bool, body: bytes) -> tuple[int, int]:
    """The prompt's and the answer's tokens, as the client is told, all in all."""
    usages = []
    if stream:
        frames = [json.loads(line[6:]) for line in body.split(b"\n") if line.startswith(b"data: {")]
        usages = [frame["usage"] for frame in frames if frame.get("usage")]
        usages += [frame["message"]["usage"] for frame in frames if "message" in frame]
    else:
        usages = [json.loads(body)["usage"]]
    if dialect in ("openai", "studio"):
        (usage,) = usages
        return usage["prompt_tokens"], usage["completion_tokens"]
    cached = max(usage.get("cache_read_input_tokens") or 0 for usage in usages)
    prompt = max(usage.get("input_tokens") or 0 for usage in usages)
    return prompt + cached, max(usage["output_tokens"] for usage in usages)


@every_dialect
@either_form
async def test_the_same_answer_is_billed_the_same_and_told_so(
    house: House, dialect: str, stream: bool
) -> None:
    house.provider.default = Script(
        deltas=("one ", "two"), usage=Tokens(input=40, output=7, cached=10)
    )
    payer = house.payer()
    async with Client(house.server.port, payer.key) as client:
        reply = await client.send("POST", PATHS[dialect], house.body(dialect, stream=stream))
    assert reply.status == 200, reply
    cost = 30 * INPUT + 10 * CACHED + 7 * OUTPUT
    record = house.record(reply.request_id)
    assert (record.status, record.cost_nano_usd, record.is_stream) == ("ok", cost, stream)
    assert told_tokens(dialect, stream, reply.body) == (40, 7)
    assert payer.look().charged == cost


@every_dialect
@either_form
async def test_choices_tools_and_cached_tokens_are_billed_once(
    house: House, dialect: str, stream: bool
) -> None:
    house.provider.default = Script(
        calls=(Call("weather", ('{"city":', '"Wien"}')),),
        usage=Tokens(input=100, output=30, cached=60),
    )
    has_choices = dialect in ("openai", "studio") and house.model == "gpt"
    fields: dict[str, Any] = {"n": 3} if has_choices else {}
    fields["tools"] = [FUNCTION if dialect in ("openai", "studio") else TOOL]
    payer = house.payer()
    async with Client(house.server.port, payer.key) as client:
        body = house.body(dialect, stream=stream, **fields)
        reply = await client.send("POST", PATHS[dialect], body)
    assert reply.status == 200, reply
    assert reply.body.count(b"weather") == (3 if has_choices else 1)
    cost = 40 * INPUT + 60 * CACHED + 30 * OUTPUT
    record = house.record(reply.request_id)
    assert (record.finish_reason, record.cost_nano_usd) == ("tool_calls", cost)
    assert told_tokens(dialect, stream, reply.body) == (100, 30)
    assert payer.look().charged == cost


@pytest.mark.parametrize("form", [*PATHS, "text"])
@pytest.mark.parametrize("count", [3, 40])
async def test_a_client_that_leaves_is_billed_for_about_what_it_got(
    house: House, form: str, count: int
) -> None:
    # Frames before the first word: a role; or a message's beginning, a block's, and a ping.
    before = 1 if house.model == "gpt" else 3
    house.provider.default = Script(
        deltas=("word ",) * 400, frame_gate=Gate(), frames_before_gate=before + count
    )
    dialect = "dreamsolve" if form == "text" else form
    payer = house.payer()
    async with Client(house.server.port, payer.key) as client:
        body = house.body(dialect, stream=True)
        headers = {"x-stream-format": "text"} if form == "text" else {}
        request_id = await client.leave_after(PATHS[dialect], body, b"word ", count, headers)
    record = house.record(request_id)
    assert record.status == "client_gone"
    assert record.usage.is_estimated
    assert count <= record.usage.output_tokens <= 2 * count
    cost = record.usage.input_tokens * INPUT + record.usage.output_tokens * OUTPUT
    assert record.cost_nano_usd == cost
    assert payer.look().charged == cost


@pytest.mark.parametrize("stream", [False, True])
async def test_a_client_that_leaves_before_the_first_token_pays_for_its_prompt(
    house: House, stream: bool
) -> None:
    gate = Gate()
    house.provider.default = Script(first_byte_gate=gate)
    payer = house.payer()
    house.provider.requests.clear()
    async with Client(house.server.port, payer.key) as client:
        await client.begin("POST", PATHS["openai"], house.body("openai", stream=stream))
        await house.provider.until(lambda: len(house.provider.requests) == 1)
    await house.provider.until(lambda: house.provider.requests[0].is_disconnected)
    gate.open()
    assert house.statuses_of(payer) == {"client_gone": 1}
    look = payer.look()
    assert 0 < look.charged < 100 * INPUT
    assert look.total == BALANCE
