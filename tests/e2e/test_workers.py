"""Several processes serve as one: a death takes little with it, and a stop loses nothing."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.conftest import SCRIPTED_SECRET, gateway_config, share_model
from tests.scripted_provider import Gate, Script, ScriptedProvider
from tests.server_process import ServerProcess, children_of, is_alive

from dragoman.stores import open_store
from dragoman.web.handover import REPORT_PERIOD_S

PATH = "/v1/chat/completions"
BODY: dict[str, Any] = {"model": "gpt", "messages": [{"role": "user", "content": "hi"}]}
STREAM = BODY | {"stream": True}


def until(condition: Callable[[], object], timeout_s: float = 20.0, pause_s: float = 0.01) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it never came to be"
        time.sleep(pause_s)


def headers(server: ServerProcess) -> dict[str, str]:
    return {"authorization": f"Bearer {server.key}"}


def client_of(server: ServerProcess) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=server.url, headers=headers(server), timeout=30)


def config_of(provider: ScriptedProvider) -> str:
    return gateway_config(provider).replace(
        'default_model = "gpt"', 'default_model = "gpt"\nworkers = 2\nshutdown_grace_s = 3.0'
    )


@pytest.fixture
def server(provider: ScriptedProvider, tmp_path: Path) -> Iterator[ServerProcess]:
    with ServerProcess(
        tmp_path / "data", config_of(provider), environment={"SCRIPTED_SECRET": SCRIPTED_SECRET}
    ) as process:
        yield process


async def read_stream(client: httpx.AsyncClient, begun: asyncio.Semaphore) -> str:
    """All that came of a stream, whole or not."""
    text = ""
    with suppress(httpx.TransportError):
        async with client.stream("POST", PATH, json=STREAM) as response:
            assert response.status_code == 200, response.status_code
            async for chunk in response.aiter_text():
                if not text:
                    begun.release()
                text += chunk
    return text


async def begin_streams(server: ServerProcess, count: int) -> list[asyncio.Task[str]]:
    """Streams with a connection each, all of them begun."""
    begun = asyncio.Semaphore(0)

    async def one() -> str:
        async with client_of(server) as client:
            return await read_stream(client, begun)

    tasks = [asyncio.create_task(one()) for _ in range(count)]
    async with asyncio.timeout(20):
        for _ in tasks:
            await begun.acquire()
    return tasks


def is_whole(text: str) -> bool:
    return text.endswith("data: [DONE]\n\n")


async def test_a_killed_worker_takes_only_its_own_streams_and_is_replaced(
    server: ServerProcess, provider: ScriptedProvider
) -> None:
    gate = Gate()
    provider.default = Script(deltas=("one ", "two"), frame_gate=gate, frames_before_gate=2)
    before = server.workers
    assert len(before) == 2
    streams = await begin_streams(server, 4)
    sockets = sockets_of(server.pid)
    os.kill(before[0], signal.SIGKILL)
    provider.default = Script()
    async with client_of(server) as client:
        for _ in range(20):
            answer = await client.post(PATH, json=BODY, headers={"connection": "close"})
            assert answer.status_code == 200, answer.text
    gate.open()
    texts = await asyncio.gather(*streams)
    assert sorted(map(is_whole, texts)) == [False, False, True, True]
    for text in texts:
        assert is_whole(text) == ('"finish_reason":"stop"' in text)
    until(lambda: len(server.workers) == 2)
    assert before[0] not in server.workers
    assert before[1] in server.workers
    assert "ended with code -9 and is replaced" in server.log
    assert "2 requests were interrupted" in server.log
    until(lambda: statuses(server) == {"interrupted": 2, "ok": 22})
    until(lambda: read_rows(server, "SELECT count(*) FROM workers") == [(2,)])
    until(lambda: is_shared_out(server), pause_s=2 * REPORT_PERIOD_S)
    until(lambda: sockets_of(server.pid) == sockets)


def read_rows(server: ServerProcess, query: str) -> list[tuple[Any, ...]]:
    connection = sqlite3.connect(f"file:{server.data_dir / 'dragoman.db'}?mode=ro", uri=True)
    try:
        return connection.execute(query).fetchall()
    finally:
        connection.close()


def statuses(server: ServerProcess) -> dict[str, int]:
    return dict(read_rows(server, "SELECT status, count(*) FROM usage_records GROUP BY status"))


def sockets_of(pid: int) -> int:
    count = 0
    for file in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(OSError):
            count += str(file.readlink()).startswith("socket:")
    return count


def is_shared_out(server: ServerProcess) -> bool:
    """Whether of 16 connections each worker gets half."""
    before = {pid: sockets_of(pid) for pid in server.workers}
    connections = []
    try:
        for _ in range(16):
            connection = socket.create_connection(("127.0.0.1", server.port))
            connections.append(connection)
            connection.sendall(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
        for connection in connections:
            assert connection.recv(65536).startswith(b"HTTP/1.1 200")
        return all(sockets_of(pid) - count == 8 for pid, count in before.items())
    finally:
        for connection in connections:
            connection.close()


def test_connections_are_shared_out_evenly(server: ServerProcess) -> None:
    until(lambda: is_shared_out(server), pause_s=2 * REPORT_PERIOD_S)
    assert httpx.get(f"{server.url}/healthz").json()["features"]["several_workers"]


def test_a_revoked_key_is_refused_at_the_next_request_by_all(server: ServerProcess) -> None:
    clients = [httpx.Client(base_url=server.url, headers=headers(server)) for _ in range(4)]
    try:
        for client in clients:
            assert client.get("/v1/models").status_code == 200
        store = open_store(server.data_dir)
        try:
            (key,) = store.list_keys()
            assert store.revoke_key(key.id, time.time())
        finally:
            store.close()
        assert [client.get("/v1/models").status_code for client in clients] == [401] * 4
    finally:
        for client in clients:
            client.close()


def test_a_worker_that_was_asked_to_stop_is_replaced_too(server: ServerProcess) -> None:
    before = server.workers
    os.kill(before[0], signal.SIGTERM)
    until(lambda: len(server.workers) == 2 and before[0] not in server.workers)
    assert "ended with code 0 and is replaced" in server.log
    assert httpx.get(f"{server.url}/v1/models", headers=headers(server)).status_code == 200
    assert server.stop() == 0


async def test_nothing_outlives_a_killed_parent(
    server: ServerProcess, provider: ScriptedProvider
) -> None:
    provider.default = Script(deltas=("one ", "two"), stall_after_frames=2)
    streams = await begin_streams(server, 2)
    workers = server.workers
    server.kill()
    # Told so, and cut: no answer looks finished.
    for text in await asyncio.gather(*streams):
        assert not is_whole(text)
        assert '"finish_reason":"stop"' not in text
    until(lambda: not any(map(is_alive, workers)), 10)
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", server.port))
    provider.default = Script()
    server.start()
    async with client_of(server) as client:
        assert (await client.post(PATH, json=BODY)).status_code == 200


async def test_a_stop_lets_the_streams_of_all_workers_finish(
    server: ServerProcess, provider: ScriptedProvider
) -> None:
    gate = Gate()
    provider.default = Script(deltas=("one ", "two"), frame_gate=gate, frames_before_gate=2)
    streams = await begin_streams(server, 4)
    workers = server.workers
    server.terminate()
    async with client_of(server) as client, asyncio.timeout(20):
        while True:
            answer = await client.post(PATH, json=BODY | {"model": "nothing"})
            if answer.status_code == 503:
                break
    gate.open()
    assert all(map(is_whole, await asyncio.gather(*streams)))
    assert server.wait() == 0
    assert not any(map(is_alive, workers))
    assert not (server.data_dir / "port").exists()
    assert "is replaced" not in server.log


async def test_a_second_signal_hurries_all_workers(
    server: ServerProcess, provider: ScriptedProvider
) -> None:
    provider.default = Script(deltas=("one ", "two"), stall_after_frames=2)
    streams = await begin_streams(server, 2)
    server.terminate()
    until(lambda: server.log.count("answers under way") == 2)
    begun_s = time.monotonic()
    server.terminate()
    for text in await asyncio.gather(*streams):
        assert '"error"' in text
        assert not is_whole(text)
    assert server.wait() == 0
    assert time.monotonic() - begun_s < 3.0


async def test_limits_hold_over_all_workers_and_outlive_none(
    provider: ScriptedProvider, tmp_path: Path
) -> None:
    config = "requests_per_minute = 12\nconcurrent_requests = 4\n" + config_of(provider)
    secrets = {"SCRIPTED_SECRET": SCRIPTED_SECRET}
    gate = Gate()
    provider.default = Script(deltas=("one ", "two"), frame_gate=gate, frames_before_gate=2)
    with ServerProcess(tmp_path / "data", config, environment=secrets) as server:
        streams = await begin_streams(server, 4)

        async def ask() -> int:
            async with client_of(server) as client:
                return (await client.post(PATH, json=BODY)).status_code

        assert await asyncio.gather(*(ask() for _ in range(6))) == [429] * 6
        # What ran in dead workers runs no more; what came still counts.
        provider.default = Script()
        before = server.workers
        for pid in before:
            os.kill(pid, signal.SIGKILL)
        await asyncio.gather(*streams)
        gate.open()
        until(lambda: len(server.workers) == 2 and not set(before) & set(server.workers))
        counts = Counter([await ask() for _ in range(12)])
        assert counts == {200: 8, 429: 4}


# --- One engine for all -------------------------------------------------------------------------

ENGINE_CONFIG = """
workers = 2
shutdown_grace_s = 3.0

[[local_models]]
id = "small"
aliases = ["local"]
slots = 1
max_queue = 1
context_tokens = 512
stall_s = 2.0
"""
LONG: dict[str, Any] = STREAM | {
    "model": "local",
    "messages": [{"role": "user", "content": "Tell a very long story about the sea."}],
    "max_tokens": 400,
    "temperature": 1,
    "logit_bias": {"2": -100},
}
SHORT = LONG | {"max_tokens": 4, "stream": False}


def engine_of(server: ServerProcess) -> int:
    (engine,) = (pid for pid in children_of(server.pid) if pid not in server.workers)
    return engine


async def ask_until_answered(server: ServerProcess) -> None:
    """A new connection each time, so that both workers are asked."""
    async with asyncio.timeout(60):
        for _ in range(4):
            while True:
                async with client_of(server) as client:
                    answer = await client.post(PATH, json=SHORT)
                if answer.status_code == 200:
                    break
                assert answer.status_code == 503, answer.text


@pytest.mark.engine
async def test_one_engine_serves_all_workers_within_one_bound(tmp_path: Path) -> None:
    share_model(tmp_path / "data")
    with ServerProcess(tmp_path / "data", ENGINE_CONFIG) as server:
        await ask_until_answered(server)
        engine = engine_of(server)
        answers = asyncio.Queue[tuple[int, str]]()
        clients = [client_of(server) for _ in range(6)]

        async def ask(client: httpx.AsyncClient, begun: asyncio.Event | None = None) -> None:
            text = ""
            with suppress(httpx.TransportError):
                async with client.stream("POST", PATH, json=LONG) as response:
                    if response.status_code == 503:
                        assert response.headers["retry-after"]
                        answers.put_nowait((503, ""))
                        return
                    async for chunk in response.aiter_text():
                        text += chunk
                        if begun is not None:
                            begun.set()
            answers.put_nowait((response.status_code, text))

        tasks = [asyncio.create_task(ask(client)) for client in clients]
        # One generates, one waits, and all others are turned away, whichever worker they asked.
        async with asyncio.timeout(30):
            assert [await answers.get() for _ in range(4)] == [(503, "")] * 4
        assert answers.empty()
        os.kill(engine, signal.SIGKILL)
        async with asyncio.timeout(60):
            failed = [await answers.get() for _ in range(1)]
        assert '"finish_reason":"' not in failed[0][1]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for client in clients:
            await client.aclose()
        # The one that waited may have been told, too, before it was given up.
        while not answers.empty():
            answers.get_nowait()
        await ask_until_answered(server)
        assert engine_of(server) != engine
        # One that is frozen is found out, whichever worker waits for it.
        engine = engine_of(server)
        begun = asyncio.Event()
        async with client_of(server) as client, asyncio.timeout(30):
            stream = asyncio.create_task(ask(client, begun))
            await begun.wait()
            os.kill(engine, signal.SIGSTOP)
            await stream
        status, text = await answers.get()
        assert status == 200
        assert '"error"' in text
        assert "made no progress" in server.log
        await ask_until_answered(server)
        # The slot of a killed worker is free again.
        async with client_of(server) as client, client.stream("POST", PATH, json=LONG) as response:
            assert response.status_code == 200
            for pid in server.workers:
                os.kill(pid, signal.SIGKILL)
        until(lambda: len(server.workers) == 2)
        await ask_until_answered(server)
        everyone = children_of(server.pid)
        server.kill()
        until(lambda: not any(map(is_alive, everyone)), 10)
