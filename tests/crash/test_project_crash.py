"""A request to a project, with tools, and a server that is killed on its way: conversation and charge exist together,
or neither does, and an `Idempotency-Key` gives one answer, whoever died meanwhile."""

from __future__ import annotations

import itertools
import json
import os
import random
import re
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.crash.books import priced_config
from tests.exact.desk import FOUND, STUDIO, Kept, kept, look, open_project, question, tool_server
from tests.exact.payer import Payer
from tests.scripted_provider import Gate, Recorded, Script, ScriptedProvider, Tokens
from tests.server_process import ServerProcess

from dragoman.stores import open_store

REPOSITORY = Path(__file__).parent.parent.parent
ENVIRONMENT = {"SCRIPTED_SECRET": "upstream-secret", "PYTHONPATH": str(REPOSITORY)}
BALANCE = 4_000_000_000
COST = 300 * 2_000 + 15 * 10_000
"""Of both rounds, at 2 and 10 dollars a million tokens."""
POINTS = {
    "after-intent": 1,
    "between-rounds": 1,
    "before-commit": 1,
    "after-commit": 1,
    # It has answered once already: that it is healthy.
    "after-finish": 2,
}
"""Which time that the server comes by is its last."""
IS_SETTLED = {"after-commit", "after-finish"}
CLIENTS = 4


def answer(request: Recorded) -> Script:
    """A call of the tool, and then what is shown, token by token."""
    if request.body["messages"][-1]["role"] != "tool":
        return look(100, 10)
    return Script(deltas=("It ", "is ", "there."), usage=Tokens(200, 5), frame_delay_s=0.02)


class House:
    """One data directory with a project, and servers that come and go."""

    def __init__(self, folder: Path, model: ScriptedProvider, tools: ScriptedProvider) -> None:
        self.data_dir = folder / "data"
        self.model = model
        self.tools = tools
        store = open_store(self.data_dir)
        store.put_tool_server(tool_server(tools))
        self.payer = Payer(store, self.data_dir, BALANCE)
        # The second round is the last, and so it is shown as it comes.
        self.project = open_project(store, self.payer, bounds={"rounds": 2})
        store.close()
        self._http = httpx.Client(timeout=20)

    def server(self, *fault: str, **settings: object) -> ServerProcess:
        program = ("-m", "tests.crash.faulty_server", *fault) if fault else ("-m", "dragoman")
        config = priced_config(self.model, **settings)
        return ServerProcess(self.data_dir, config, program=program, environment=ENVIRONMENT)

    def ask(self, server: ServerProcess, key: str, *, stream: bool) -> Told | None:
        """`None`: no whole answer came."""
        try:
            response = self._http.post(
                server.url + STUDIO,
                json=question(self.project, stream=stream, max_tokens=50),
                headers={"authorization": f"Bearer {self.payer.key}", "idempotency-key": key},
            )
        except httpx.TransportError:
            return None
        if response.status_code in (409, 503):
            return None
        assert response.status_code == 200, response.text
        return Told(response)

    def kept(self) -> list[Kept]:
        return kept(self.data_dir, self.payer)

    def is_balanced(self) -> None:
        """Once no server runs: nothing is held, and what is gone was charged."""
        store = open_store(self.data_dir)
        assert store.verify() == []
        store.close()
        seen = self.payer.look()
        assert (seen.leased, seen.total) == (0, BALANCE)


class Told:
    """A whole answer."""

    def __init__(self, response: httpx.Response) -> None:
        text = response.text
        assert '"finish_reason":"stop"' in text
        self.is_replayed = "idempotent-replayed" in response.headers
        self.completion_ids = set(re.findall(r'"completion_id":"([^"]+)"', text))
        assert len(self.completion_ids) == 1, text
        if "data: " in text:
            lines = [line[6:] for line in text.split("\n") if line.startswith("data: {")]
            words = [json.loads(line)["choices"] for line in lines]
            self.words = "".join(
                each["delta"].get("content") or "" for choices in words for each in choices
            )
        else:
            self.words = response.json()["choices"][0]["message"]["content"]


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with ScriptedProvider(answer) as model, ScriptedProvider(FOUND) as tools:
        yield House(tmp_path, model, tools)


def until(question: Callable[[], Any], timeout_s: float = 20.0) -> None:
    end_s = time.monotonic() + timeout_s
    while not question():
        assert time.monotonic() < end_s
        time.sleep(0.005)


def test_wherever_the_server_is_killed_conversation_and_charge_are_there_together(
    house: House,
) -> None:
    seen: dict[str, Told | None] = {}
    for point, count in POINTS.items():
        server = house.server(point, str(count)).start()
        try:
            seen[point] = house.ask(server, point, stream=True)
            assert server.wait(20) == -signal.SIGKILL, server.log
        finally:
            server.kill()
    hang = "while-a-tool-hangs"
    with house.server() as server:
        house.tools.enqueue(Script(body=b"late", first_byte_gate=Gate()))
        count = len(house.tools.requests)
        asking = threading.Thread(target=house.ask, args=(server, hang), kwargs={"stream": False})
        asking.start()
        house.tools.wait_until(lambda: len(house.tools.requests) > count)
        os.kill(server.pid, signal.SIGKILL)
        server.wait(20)
        asking.join()
    # Only who has seen all of it has seen its end.
    assert {point for point, told in seen.items() if told is not None} <= {"after-finish"}

    with house.server() as server:
        # What was under way is swept: recorded, and paid by nobody; what was settled stays so.
        found = house.kept()
        assert Counter(each.status for each in found) == {
            "ok": len(IS_SETTLED),
            "interrupted": len(POINTS) + 1 - len(IS_SETTLED),
        }
        for each in found:
            is_ok = each.status == "ok"
            assert (each.cost, len(each.interactions)) == ((COST, 1) if is_ok else (0, 0))
        # What the rounds that had ended used is on record: whose provider was asked bills for it.
        used = sorted((each.input_tokens, each.output_tokens) for each in found if not each.cost)
        assert used[:3] == [(0, 0), (100, 10), (100, 10)]
        settled = {each.interactions[0][0] for each in found if each.interactions}
        for point in [*POINTS, hang]:
            house.model.requests.clear()
            stream = point != hang
            told, again = [house.ask(server, point, stream=stream) for _ in range(2)]
            assert told is not None
            assert again is not None
            assert again.completion_ids == told.completion_ids
            assert told.words == again.words == "It is there."
            is_kept = point in IS_SETTLED
            assert (told.completion_ids <= settled) == is_kept
            assert len(house.model.requests) == (0 if is_kept else 2)
            if (before := seen.get(point)) is not None:
                assert before.completion_ids == told.completion_ids
    ends = house.kept()
    charged = [each for each in ends if each.cost]
    assert len(charged) == len(POINTS) + 1
    assert {each.cost for each in charged} == {COST}
    assert {len(each.interactions) for each in charged} == {1}
    house.is_balanced()


def is_on(server: ServerProcess, told: dict[str, Told], count: int) -> bool:
    """Whether both workers are there, and so many answers have come."""
    return len(server.workers) == 2 and len(told) >= count


def test_several_workers_killed_under_load_keep_one_conversation_for_each_key(house: House) -> None:
    chance = random.Random(11)
    numbers = itertools.count(1)
    told: dict[str, Told] = {}
    is_over = threading.Event()
    faults: list[BaseException] = []
    with house.server(workers=2) as server:

        def insist() -> None:
            try:
                while not is_over.is_set():
                    key = f"key-{next(numbers)}"
                    answer: Told | None = None
                    # To the end, also of what was under way when all others stopped.
                    while answer is None:
                        answer = house.ask(server, key, stream=int(key[4:]) % 2 == 0)
                        if answer is None:
                            time.sleep(0.02)
                    told[key] = answer
            except BaseException as fault:
                faults.append(fault)
                raise

        clients = [threading.Thread(target=insist) for _ in range(CLIENTS)]
        for client in clients:
            client.start()
        for _ in range(3):
            count = len(told)
            until(partial(is_on, server, told, count + 5))
            time.sleep(chance.uniform(0.0, 0.1))
            os.kill(chance.choice(server.workers), signal.SIGKILL)
        until(lambda: len(server.workers) == 2)
        is_over.set()
        for client in clients:
            client.join()
        assert faults == []
        # Whichever worker is asked again gives the same answer.
        for key in list(told)[:: max(1, len(told) // 20)]:
            again = house.ask(server, key, stream=int(key[4:]) % 2 == 0)
            assert again is not None
            assert again.completion_ids == told[key].completion_ids
    found = house.kept()
    charged = [each for each in found if each.cost]
    assert {(each.status, each.cost) for each in charged} == {("ok", COST)}
    assert sorted(each.interactions for each in charged) == sorted(
        [(completion_id, "ok", COST)]
        for one in told.values()
        for completion_id in one.completion_ids
    )
    assert all(each.interactions == [] for each in found if each.status == "interrupted")
    assert len(told) > 20
    assert any(each.status == "interrupted" for each in found)
    house.is_balanced()
