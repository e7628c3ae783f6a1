"""Money and tokens of requests with server-side tools: one hold for all rounds, one charge, exact to the last part.

Prices have fractions of a nano-USD, so that a sum which is rounded too early shows.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.exact.crowd import Client
from tests.exact.desk import (
    STUDIO,
    Kept,
    kept,
    look,
    open_project,
    question,
    say,
    tool_server,
)
from tests.exact.disk import locked
from tests.exact.payer import Payer
from tests.scripted_provider import Gate, Recorded, Script, ScriptedProvider, Tokens
from tests.server_process import ServerProcess

from dragoman.records.limits import Limits
from dragoman.records.project import Project
from dragoman.stores import Store, open_store
from dragoman.stores.ledger.till import FRESH_S
from dragoman.stores.ledger.writer import REFUSE_AFTER_S

RICH = 2_000_000_000
"""Too little for slices: what is leased is held."""
INPUT, OUTPUT = 1_234_567_800, 3_000_000_100
DEAR_INPUT, DEAR_OUTPUT = 9_876_543_300, 40_000_000_700
"""Millionths of a nano-USD for a token."""
MICRO = 10**6
CLIENTS = 32
SMALL = {"result_bytes": 1024}
CONFIG = """
embedded_model = false
default_model = "priced"
log_format = "json"
shutdown_grace_s = 0
header_hold_s = 0.1
workers = {workers}

[[providers]]
name = "cheap"
wire = "openai"
base_url = "{url}"
max_connections = {connections}

[[providers.models]]
id = "priced"
max_output_tokens = 400
price = {{ input = 1.2345678, output = 3.0000001 }}
fallbacks = ["dear"]

[[providers]]
name = "dear"
wire = "anthropic"
base_url = "{url}"

[[providers.models]]
id = "dear"
max_output_tokens = 400
price = {{ input = 9.8765433, output = 40.0000007 }}
"""


class House:
    """A server, the model behind it, and the tools beside it."""

    def __init__(
        self,
        server: ServerProcess,
        store: Store,
        model: ScriptedProvider,
        tools: ScriptedProvider,
    ) -> None:
        self.server = server
        self.store = store
        self.model = model
        self.tools = tools

    def customer(
        self, balance: int = RICH, limits: Limits | None = None, **fields: Any
    ) -> Customer:
        self.model.reset()
        self.tools.requests.clear()
        payer = Payer(
            self.store,
            self.server.data_dir,
            balance,
            **({} if limits is None else {"limits": limits}),
        )
        return Customer(self, payer, open_project(self.store, payer, **fields))


class Customer:
    def __init__(self, house: House, payer: Payer, made: Project) -> None:
        self.house = house
        self.payer = payer
        self.project = made
        self.http = httpx.Client(
            base_url=house.server.url,
            headers={"authorization": f"Bearer {payer.key}"},
            timeout=20,
        )

    def ask(self, **fields: Any) -> httpx.Response:
        return self.http.post(STUDIO, json=question(self.project, **fields))

    def only(self) -> Kept:
        """The one request of it that there is, once it has ended: its books are right."""
        until(lambda: bool(kept(self.house.server.data_dir, self.payer)))
        (found,) = kept(self.house.server.data_dir, self.payer)
        look = self.payer.look()
        assert (look.leased, look.total) == (0, self.payer.topped_up)
        assert look.charged == found.cost <= found.hold
        # The interaction is of the same transaction, and says the same.
        ((_, status, cost),) = found.interactions
        assert (status, cost) == (found.status, found.cost)
        return found


def until(question: Callable[[], bool]) -> None:
    end_s = time.monotonic() + 20
    while not question():
        assert time.monotonic() < end_s
        time.sleep(0.005)


@pytest.fixture(scope="module")
def _house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    data_dir: Path = tmp_path_factory.mktemp("rounds") / "data"
    with ScriptedProvider() as model, ScriptedProvider() as tools:
        config = CONFIG.format(url=model.base_url, workers=1, connections=256)
        with ServerProcess(data_dir, config) as server:
            store = open_store(data_dir)
            store.put_tool_server(tool_server(tools))
            yield House(server, store, model, tools)
            assert store.verify() == []
            store.close()


@pytest.fixture
def house(_house: House) -> House:
    return _house


# --- What is charged ----------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [False, True])
def test_the_sum_is_exact_over_rounds_of_targets_with_other_prices(
    house: House, stream: bool
) -> None:
    customer = house.customer()
    house.model.enqueue(
        look(102, 7),
        # The second round is the fallback's, and the third the first target's again.
        Script(status=500),
        look(203, 11),
        say("There.", 307, 13),
    )
    answer = customer.ask(stream=stream, stream_options={"include_usage": True} if stream else None)
    assert answer.status_code == 200, answer.text
    assert "There." in answer.text
    found = customer.only()
    micro = (102 + 307) * INPUT + (7 + 13) * OUTPUT + 203 * DEAR_INPUT + 11 * DEAR_OUTPUT
    assert found.cost == micro // MICRO
    # Rounded round by round, it would be another sum.
    each = [
        102 * INPUT + 7 * OUTPUT,
        203 * DEAR_INPUT + 11 * DEAR_OUTPUT,
        307 * INPUT + 13 * OUTPUT,
    ]
    assert found.cost != sum(cost // MICRO for cost in each)
    assert (found.status, found.input_tokens, found.output_tokens) == ("ok", 612, 31)
    told = float(answer.text.rpartition('"cost":')[2].partition("}")[0].partition(",")[0])
    assert round(told * 1e9) == found.cost
    assert len(house.tools.requests) == 2


def test_who_leaves_in_the_second_round_pays_for_what_was_produced(house: House) -> None:
    customer = house.customer()
    gate = Gate()
    house.tools.enqueue(Script(body=b"x" * 9_000, content_type="text/plain"))
    house.model.enqueue(look(100, 20), say("There.", 200, 5, first_byte_gate=gate))
    body = question(customer.project, stream=True)
    with customer.http.stream("POST", STUDIO, json=body):
        house.model.wait_until(lambda: len(house.model.requests) == 2)
    house.model.wait_until(lambda: house.model.requests[-1].is_disconnected)
    found = customer.only()
    assert found.status == "client_gone"
    assert found.output_tokens == 20
    # The first as its provider counted it; of the second only the prompt is known, by a guess: the tool's
    # result is most of it.
    guessed = found.input_tokens - 100
    assert 3_000 < guessed < 3_500
    assert found.cost == (100 * INPUT + 20 * OUTPUT + guessed * INPUT) // MICRO
    gate.open()


def test_a_model_that_fails_in_the_third_round_is_metered_and_not_charged(house: House) -> None:
    customer = house.customer()
    house.model.enqueue(look(100, 20), look(200, 10), Script(status=500), Script(status=500))
    answer = customer.ask()
    assert answer.status_code == 503, answer.text
    found = customer.only()
    assert (found.status, found.error, found.cost) == ("failed", "provider_failed", 0)
    assert (found.input_tokens, found.output_tokens) == (300, 30)
    assert customer.payer.look().free == RICH


def test_a_stop_in_the_second_round_charges_nothing(tmp_path: Path) -> None:
    with ScriptedProvider() as model, ScriptedProvider() as tools:
        config = CONFIG.format(url=model.base_url, workers=1, connections=256)
        with ServerProcess(tmp_path / "data", config) as server:
            store = open_store(tmp_path / "data")
            store.put_tool_server(tool_server(tools))
            customer = House(server, store, model, tools).customer()
            model.enqueue(look(100, 20), say("There.", 200, 5, first_byte_gate=Gate()))
            with customer.http.stream(
                "POST", STUDIO, json=question(customer.project, stream=True)
            ) as answer:
                model.wait_until(lambda: len(model.requests) == 2)
                assert server.stop() == 0
                told = answer.read()
            assert b'"error"' in told
            assert b"[DONE]" not in told
        found = customer.only()
        assert (found.status, found.error, found.cost) == ("failed", "draining", 0)
        # What the first round used is known.
        assert found.input_tokens >= 100
        assert found.output_tokens == 20
        assert customer.payer.look().free == RICH
        assert store.verify() == []
        store.close()


# --- What is held -------------------------------------------------------------------------------


def test_a_balance_that_is_short_by_one_is_refused_before_anybody_is_asked(house: House) -> None:
    rich = house.customer()
    house.model.enqueue(look(100, 20), say("There.", 200, 5))
    assert rich.ask(max_tokens=50).status_code == 200
    hold = rich.only().hold
    poor = house.customer(hold - 1)
    answer = poor.ask(max_tokens=50)
    assert answer.status_code == 402, answer.text
    assert house.model.requests == house.tools.requests == []
    assert poor.payer.look().free == hold - 1
    poor.payer.top_up(1)
    house.model.enqueue(look(100, 20), say("There.", 200, 5))
    assert poor.ask(max_tokens=50).status_code == 200


async def test_many_at_once_on_a_tight_balance_never_take_more_than_there_is(house: House) -> None:
    rich = house.customer(bounds=SMALL)
    house.model.enqueue(look(100, 20), say("There.", 200, 5))
    assert (await asyncio.to_thread(rich.ask, max_tokens=50)).status_code == 200
    hold = rich.only().hold
    customer = house.customer(7 * hold + hold // 2, bounds=SMALL)

    def answer(request: Recorded) -> Script:
        if request.body["messages"][-1]["role"] == "tool":
            return say("There.", 200, 5, first_byte_delay_s=0.003)
        return look(100, 20, first_byte_delay_s=0.003)

    house.model.default = answer
    looks = []
    is_over = asyncio.Event()

    async def watch() -> None:
        while not is_over.is_set():
            looks.append(await asyncio.to_thread(customer.payer.look))

    watching = asyncio.create_task(watch())

    async def ask(number: int) -> int:
        async with Client(house.server.port, customer.payer.key) as client:
            body = question(customer.project, max_tokens=50, stream=number % 2 == 0)
            reply = await client.send("POST", STUDIO, body)
            return reply.status if reply.status != 200 else 200 * reply.is_whole

    statuses = await asyncio.gather(*map(ask, range(CLIENTS)))
    is_over.set()
    await watching
    assert set(statuses) == {200, 402}
    assert statuses.count(200) >= 7
    # Whoever was refused was refused before any model was asked.
    assert len(house.model.requests) == 2 * statuses.count(200)
    for seen in looks:
        assert min(seen.free, seen.leased) >= 0
        assert seen.total == customer.payer.topped_up
    last = customer.payer.look()
    assert last.leased == 0
    assert last.charged == statuses.count(200) * ((300 * INPUT + 25 * OUTPUT) // MICRO)


def test_a_token_window_gets_back_what_the_rounds_did_not_use(house: House) -> None:
    limit = 60_000
    customer = house.customer(limits=Limits(tokens_per_minute=limit), bounds=SMALL)

    def left(answer: httpx.Response) -> int:
        return int(answer.headers["x-ratelimit-remaining-tokens"])

    peeked = customer.http.get("/v1/models")
    assert left(peeked) == limit
    house.model.enqueue(look(100, 20), say("There.", 200, 5))
    during = customer.ask(max_tokens=50)
    assert during.status_code == 200
    # All rounds' were set aside when the head was written.
    assert left(customer.http.get("/v1/models")) == limit - 325
    # A failure used what its rounds did, and the wait for a token that came too late nothing more.
    house.model.enqueue(look(100, 20), Script(status=500), Script(status=500))
    assert customer.ask(max_tokens=50).status_code == 503
    assert left(customer.http.get("/v1/models")) == limit - 325 - 120


# --- How long a first token may take --------------------------------------------------------------


def is_given_back(customer: Customer, error: str = "first_token_timeout") -> None:
    found = customer.only()
    assert (found.status, found.error, found.cost) == ("failed", error, 0)
    assert found.hold > 0
    assert customer.payer.look().free == RICH


def is_refused_in_time(answer: httpx.Response) -> None:
    # A stream's head had not gone out: it is an ordinary error, with its status.
    assert answer.status_code == 408, answer.text
    assert answer.headers["content-type"].startswith("application/json")
    assert answer.headers["x-should-retry"] == "false"


@pytest.mark.parametrize("stream", [False, True])
def test_a_slow_tool_is_left_when_the_first_token_is_late(house: House, stream: bool) -> None:
    customer = house.customer()
    house.tools.enqueue(Script(body=b'"late"', first_byte_gate=Gate()))
    house.model.enqueue(look(100, 20))
    is_refused_in_time(customer.ask(max_ttft_ms=700, stream=stream))
    house.tools.wait_until(lambda: house.tools.requests[-1].is_disconnected)
    is_given_back(customer)
    assert len(house.model.requests) == 1


@pytest.mark.parametrize("stream", [False, True])
def test_slow_fallbacks_are_left_in_whichever_round_they_are(house: House, stream: bool) -> None:
    customer = house.customer(max_ttft_ms=700)
    house.model.enqueue(look(100, 20), Script(status=500), say("x", 1, 1, first_byte_gate=Gate()))
    # The project's bound holds; a request may only shorten it.
    is_refused_in_time(customer.ask(max_ttft_ms=5000, stream=stream))
    house.model.wait_until(lambda: house.model.requests[-1].is_disconnected)
    is_given_back(customer)
    assert customer.only().output_tokens == 20


def test_a_hold_that_is_granted_too_late_is_given_back(house: House) -> None:
    customer = house.customer()
    headers = {"idempotency-key": "late"}

    def ask(**fields: Any) -> httpx.Response:
        return customer.http.post(
            STUDIO, json=question(customer.project, **fields), headers=headers
        )

    with locked(house.server.data_dir):
        # A commit that is this fresh would show that writes are taken.
        time.sleep(2 * FRESH_S)
        begun_s = time.monotonic()
        late = customer.http.post(STUDIO, json=question(customer.project, max_ttft_ms=200))
        is_refused_in_time(late)
        assert time.monotonic() - begun_s < REFUSE_AFTER_S
    is_given_back(customer)
    assert house.model.requests == []
    # One that came too late has let go of its key.
    house.tools.enqueue(Script(body=b'"late"', first_byte_gate=Gate()))
    house.model.enqueue(look(100, 20), look(100, 20), say("There.", 200, 5))
    is_refused_in_time(ask(max_ttft_ms=1000))
    until(lambda: customer.payer.statuses["failed"] == 2)
    answer = ask(max_ttft_ms=1000)
    assert answer.status_code == 200, answer.text
    assert customer.payer.look().charged == (300 * INPUT + 25 * OUTPUT) // MICRO


def test_waiting_for_a_connection_is_waiting_for_the_first_token(tmp_path: Path) -> None:
    with ScriptedProvider() as model, ScriptedProvider() as tools:
        config = CONFIG.format(url=model.base_url, workers=1, connections=1)
        with ServerProcess(tmp_path / "data", config) as server:
            store = open_store(tmp_path / "data")
            store.put_tool_server(tool_server(tools))
            house = House(server, store, model, tools)
            customer = house.customer()
            gate = Gate()
            held = open_project(store, first := Payer(store, server.data_dir, RICH))
            model.enqueue(Script(deltas=("a", "b"), frame_gate=gate, usage=Tokens(10, 2)))
            headers = {"authorization": f"Bearer {first.key}"}
            body = question(held, stream=True, use_tools=False)
            with httpx.stream("POST", server.url + STUDIO, json=body, headers=headers) as stream:
                model.wait_until(lambda: bool(model.requests) and model.requests[0].sent_frames > 0)
                is_refused_in_time(customer.ask(max_ttft_ms=300))
                gate.open()
                stream.read()
            is_given_back(customer)
            assert len(model.requests) == 1
            # Nobody waits in the queue any more.
            model.enqueue(say("There.", 10, 1))
            assert customer.ask().status_code == 200
            store.close()
