"""Projects and campaigns where two processes serve: what is changed holds in both at the next request, what is counted
is counted once, limits are common, and what one process does for all goes on when it dies."""

from __future__ import annotations

import itertools
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import msgspec
import pytest
from tests.conftest import SCRIPTED_SECRET, gateway_config
from tests.policy.project_books import attached, project
from tests.scripted_provider import Script, ScriptedProvider, Tokens
from tests.server_process import ServerProcess

from dragoman.app.housekeeping import LOCK_FILE
from dragoman.app.process import SystemClock
from dragoman.policy.campaigns.clerk import Clerk
from dragoman.policy.guests import REQUESTS_PER_MINUTE
from dragoman.policy.keys import mint_key
from dragoman.records.account import DEFAULT_ACCOUNT
from dragoman.records.campaign import Arm, Campaign, CampaignId
from dragoman.records.limits import Limits
from dragoman.records.metric import Metric, MetricId
from dragoman.records.project import Project
from dragoman.stores import Store, open_store
from dragoman.stores.connection import DATABASE_NAME

STUDIO = "/api/v1/chat/completions"
HELLO: dict[str, Any] = {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 20}
_numbers = itertools.count(1)


class House:
    """A server of two workers, and eight connections to it."""

    def __init__(self, server: ServerProcess, store: Store, provider: ScriptedProvider) -> None:
        self.server = server
        self.store = store
        self.provider = provider
        self.headers = {"authorization": f"Bearer {server.key}"}
        secret, key = mint_key("root", time.time())
        store.add_key(msgspec.structs.replace(key, kind="admin"))
        self.admin = httpx.Client(
            base_url=f"{server.url}/admin/v1",
            headers={"authorization": f"Bearer {secret}"},
            timeout=30,
        )
        self.clients: list[httpx.Client] = []

    def connect(self) -> None:
        """Each worker gets some of the connections."""
        end_s = time.monotonic() + 10
        while not self._is_connected_to_all():
            self.close()
            assert time.monotonic() < end_s

    def _is_connected_to_all(self) -> bool:
        before = {pid: sockets_of(pid) for pid in self.server.workers}
        self.clients = [
            httpx.Client(base_url=self.server.url, headers=self.headers, timeout=20, verify=False)
            for _ in range(8)
        ]
        for client in self.clients:
            assert client.get("/v1/models").status_code == 200
        return all(sockets_of(pid) > count for pid, count in before.items())

    def close(self) -> None:
        for client in self.clients:
            client.close()

    def open(self, *, metric: bool = False, **fields: Any) -> Project:
        models = (attached("short", "gpt"), attached("long", "gpt-text-only"))
        made = project(
            f"house{next(_numbers)}",
            *models,
            **{"account_id": DEFAULT_ACCOUNT, "default_model": "long", **fields},
        )
        self.store.add_project(made)
        if metric:
            self.store.add_metric(metric_of(made))
        return made

    def everywhere(self, model: str, **fields: Any) -> list[dict[str, Any]]:
        """What the provider was sent when each connection asked."""
        self.provider.requests.clear()
        for client in self.clients:
            answer = client.post(STUDIO, json={**HELLO, "model": model, **fields})
            assert answer.status_code == 200, answer.text
        return [request.body for request in self.provider.requests]

    def run(self, *arguments: str) -> None:
        """The command line, in a process of its own."""
        done = subprocess.run(
            [
                *(sys.executable, "-m", "dragoman", *arguments),
                *("--config", str(self.server.data_dir / "dragoman.toml")),
                *("--data-dir", str(self.server.data_dir)),
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr

    def change(self, method: str, path: str, body: object = None) -> None:
        answer = self.admin.request(method, path, json=body)
        assert answer.status_code in (200, 201), answer.text

    def campaign(self, made: Project, **fields: Any) -> Campaign:
        number = next(_numbers)
        values: dict[str, Any] = {
            "metric_id": MetricId("tokens"),
            "arms": (Arm(key="A", model="long"), Arm(key="B", model="short")),
            **fields,
        }
        begun = Campaign(
            id=CampaignId(str(UUID(int=number, version=4))),
            project_id=made.id,
            key=f"campaign{number}",
            name="A campaign",
            kind="direct",
            **values,
        )
        self.store.add_campaign(begun)
        return begun

    def rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        path = self.server.data_dir / DATABASE_NAME
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
            return database.execute(query, values).fetchall()


def metric_of(made: Project) -> Metric:
    return Metric(
        id=MetricId(f"liked-{made.key}"), project_id=made.id, key="liked", name="Liked", kind="bool"
    )


def sockets_of(pid: int) -> int:
    count = 0
    for file in Path(f"/proc/{pid}/fd").iterdir():
        try:
            count += str(file.readlink()).startswith("socket:")
        except OSError:
            continue
    return count


def until(question: Callable[[], Any]) -> None:
    end_s = time.monotonic() + 20
    while not question():
        assert time.monotonic() < end_s
        time.sleep(0.02)


def user(number: int) -> str:
    return str(UUID(int=number, version=4))


@pytest.fixture(scope="module")
def _house(
    _scripted_provider: ScriptedProvider, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[House]:
    data_dir: Path = tmp_path_factory.mktemp("workers") / "data"
    config = "workers = 2\n" + gateway_config(_scripted_provider)
    process = ServerProcess(data_dir, config, environment={"SCRIPTED_SECRET": SCRIPTED_SECRET})
    with process as server:
        store = open_store(data_dir)
        yield House(server, store, _scripted_provider)
        store.close()


@pytest.fixture
def house(_house: House, provider: ScriptedProvider) -> Iterator[House]:
    provider.default = Script(usage=Tokens(input=20, output=10))
    _house.connect()
    yield _house
    _house.close()


def test_what_is_changed_holds_at_the_next_request_in_both(house: House, tmp_path: Path) -> None:
    made = house.open()
    path = f"/projects/{made.key}"

    def sent(**fields: Any) -> list[Any]:
        """What all were sent alike: system prompt, model and temperature."""
        bodies = house.everywhere(made.key, **fields)
        found = [
            (
                body["messages"][0]["content"] if len(body["messages"]) > 1 else None,
                body["model"],
                body.get("temperature"),
            )
            for body in bodies
        ]
        assert len(found) == len(house.clients)
        return sorted(set(found), key=str)

    assert sent() == [(None, "gpt-text-only", None)]
    house.change("POST", f"{path}/templates", {"key": "greeting", "text": "Be kind."})
    model = {"model": "gpt-text-only", "template": "greeting", "sampling": {"temperature": 0.25}}
    house.change("PUT", f"{path}/models/long", model)
    assert sent() == [("Be kind.", "gpt-text-only", 0.25)]
    (tmp_path / "second").write_text("Be brief.")
    house.run("templates", "add", made.key, "greeting", str(tmp_path / "second"))
    assert sent() == [("Be brief.", "gpt-text-only", 0.25)]
    house.change("POST", f"{path}/templates/greeting/roll-back")
    assert sent() == [("Be kind.", "gpt-text-only", 0.25)]
    house.change("PATCH", path, {"default_model": "short"})
    assert sent() == [(None, "gpt", None)]

    arms = [
        {"key": "A", "model": "long", "template_version": 2},
        {"key": "B", "model": "long", "template_version": 2, "sampling": {"temperature": 0.75}},
    ]
    body = {"key": "tone", "metric": "tokens", "arms": arms}
    house.change("POST", f"{path}/campaigns", body)
    met = sent(user=user(1))
    # The same unit, the same arm, whoever is asked.
    assert met in (
        [("Be brief.", "gpt-text-only", 0.25)],
        [("Be brief.", "gpt-text-only", 0.75)],
    )
    house.change("PATCH", f"{path}/campaigns/tone", {"traffic_split": 0.0})
    assert sent(user=user(1)) == [(None, "gpt", None)]
    house.change("PATCH", f"{path}/campaigns/tone", {"traffic_split": 1.0})
    assert sent(user=user(1)) == met
    house.run("campaigns", "cancel", made.key, "tone")
    assert sent(user=user(1)) == [(None, "gpt", None)]

    house.run("projects", "archive", made.key)
    for client in house.clients:
        assert client.post(STUDIO, json={**HELLO, "model": made.key}).status_code == 404
    house.change("POST", f"{path}/restore")
    assert sent() == [(None, "gpt", None)]


def test_feedback_through_both_ends_a_campaign_once_and_deploys_once(house: House) -> None:
    made = house.open(metric=True)
    begun = house.campaign(made, metric_id=metric_of(made).id, auto_deploy=True)
    clerk = Clerk(house.store, SystemClock())
    said = Counter[bool]()

    def one(number: int) -> None:
        client = house.clients[number % len(house.clients)]
        body = {**HELLO, "model": made.key, "user": user(number)}
        answer = client.post(STUDIO, json=body)
        assert answer.status_code == 200, answer.text
        remark = {
            "completion_id": answer.json()["choices"][0]["completion_id"],
            "metric": "liked",
            "value": answer.json()["model"] == "gpt",
        }
        # By another connection than asked, and again by a third: the second opinion of one unit.
        for other in (1, 2):
            teller = house.clients[(number + other) % len(house.clients)]
            told = teller.post("/api/v1/feedback", json=remark)
            assert told.status_code == 200, told.text
            said[remark["value"]] += 1
        if number % 10 == 0:
            clerk.report(begun.id)

    with ThreadPoolExecutor(len(house.clients)) as pool:
        list(pool.map(one, range(110)))
    (ended,) = [each for each in house.store.list_campaigns() if each.id == begun.id]
    assert (ended.status, ended.winner) == ("DONE", "B")
    assert ended.deployed_s == ended.ended_s
    events = Counter(
        event.action
        for _, event in house.store.list_events()
        if event.subject in (begun.id, made.id) and event.actor == "server"
    )
    assert events == {"campaign.end": 1, "campaign.deploy": 1}
    (deployed,) = [each for each in house.store.list_projects() if each.id == made.id]
    assert deployed.default_model == "short"
    # All that was said is kept, whenever it came; what was tested is no more than one of each unit.
    kept = house.rows("SELECT count(*) FROM feedback WHERE project_id = ?", made.id)
    assert kept == [(sum(said.values()),)] == [(220,)]
    tally = house.store.tally(begun.id)
    scored = sum(arm.scores.n for arm in tally.arms)
    later = sum(arm.later_scores.n for arm in tally.arms)
    assert 60 <= scored <= 110
    assert scored - len(house.clients) <= later <= scored
    assert {request["model"] for request in house.everywhere(made.key)} == {"gpt"}


def test_each_interaction_is_counted_once_whoever_looks(house: House) -> None:
    made = house.open()
    begun = house.campaign(made, min_scores=100_000)
    clerks = [Clerk(house.store, SystemClock()) for _ in range(2)]

    def one(number: int) -> None:
        client = house.clients[number % len(house.clients)]
        body = {**HELLO, "model": made.key, "user": user(number // 4)}
        assert client.post(STUDIO, json=body).status_code == 200
        if number % 5 == 0:
            clerks[number % 2].look_at_all()
        if number % 40 == 0:
            house.admin.get(f"/projects/{made.key}/campaigns/{begun.key}/report")

    with ThreadPoolExecutor(len(house.clients)) as pool:
        list(pool.map(one, range(200)))
    clerks[0].look_at_all()
    tally = house.store.tally(begun.id)
    assert sum(arm.requests for arm in tally.arms) == 200
    assert sum(arm.units for arm in tally.arms) == 50
    assert sum(arm.scores.n for arm in tally.arms) == 50
    assert sum(arm.later_scores.n for arm in tally.arms) == 150
    assert all(sums.n <= arm.units for arm in tally.arms for sums in arm.guards.values())


def strangers(house: House, address: str, name: str, count: int) -> Counter[int]:
    """So many who have no key, all at once, each on a connection of its own."""

    def one(_: int) -> int:
        way = httpx.HTTPTransport(local_address=address, verify=False)
        with httpx.Client(base_url=house.server.url, transport=way, timeout=20) as client:
            return client.post(STUDIO, json={**HELLO, "model": name}).status_code

    with ThreadPoolExecutor(8) as pool:
        return Counter(pool.map(one, range(count)))


def test_limits_of_a_public_project_and_of_each_address_are_common(house: House) -> None:
    narrow = house.open(public=Limits(requests_per_minute=15))
    wide = house.open(public=Limits())
    assert strangers(house, "127.0.0.2", narrow.key, 40) == {200: 15, 429: 25}
    # Another address has its own, and finds the project's used up.
    assert strangers(house, "127.0.0.3", narrow.key, 5) == {429: 5}
    left = REQUESTS_PER_MINUTE - 40
    assert strangers(house, "127.0.0.2", wide.key, 40) == {200: left, 429: 40 - left}
    assert strangers(house, "127.0.0.4", wide.key, 10) == {200: 10}
    assert house.rows("SELECT count(*) FROM interactions WHERE project_id = ?", narrow.id) == [
        (15,)
    ]


def holder_of(path: Path) -> int | None:
    """The process that has locked the file."""
    node = path.stat()
    wanted = f"{os.major(node.st_dev):02x}:{os.minor(node.st_dev):02x}:{node.st_ino}"
    for line in Path("/proc/locks").read_text().splitlines():
        words = line.split()
        if words[1] == "FLOCK" and words[5] == wanted:
            return int(words[4])
    return None


def test_housekeeping_goes_on_when_the_process_that_does_it_dies(house: House) -> None:
    made = house.open()
    begun = house.campaign(made, min_scores=100_000)
    lock = house.server.data_dir / LOCK_FILE

    def is_done(count: int) -> bool:
        """Counted into the campaign, and found by its words."""
        counted = sum(arm.requests for arm in house.store.tally(begun.id).arms)
        query = {"project": made.key, "search": "hi"}
        found = house.clients[0].get("/api/v1/interactions", params=query)
        return counted == count == len(found.json()["data"])

    house.everywhere(made.key)
    until(lambda: is_done(8))
    keeper = holder_of(lock)
    assert keeper in house.server.workers
    assert keeper is not None
    os.kill(keeper, signal.SIGKILL)
    until(lambda: len(house.server.workers) == 2 and keeper not in house.server.workers)
    house.close()
    house.connect()
    house.everywhere(made.key)
    until(lambda: is_done(16))
    assert holder_of(lock) in house.server.workers
