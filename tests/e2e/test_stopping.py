"""SIGTERM: new work is refused, running streams finish, what is left is told, and the exit is 0."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from tests.conftest import SCRIPTED_SECRET, gateway_config
from tests.scripted_provider import Gate, Script, ScriptedProvider
from tests.server_process import ServerProcess

BODY = {"model": "gpt", "messages": [{"role": "user", "content": "hi"}], "stream": True}


@pytest.fixture
def server(provider: ScriptedProvider, tmp_path: Path) -> Iterator[ServerProcess]:
    config = gateway_config(provider).replace(
        'default_model = "gpt"', 'default_model = "gpt"\nshutdown_grace_s = 2.0'
    )
    with ServerProcess(
        tmp_path / "data", config, environment={"SCRIPTED_SECRET": SCRIPTED_SECRET}
    ) as process:
        yield process


def headers(server: ServerProcess) -> dict[str, str]:
    return {"authorization": f"Bearer {server.key}"}


def test_an_idle_server_exits_with_0_at_once(server: ServerProcess) -> None:
    assert server.stop() == 0
    assert not (server.data_dir / "port").exists()


def test_sigint_is_a_stop_as_well(server: ServerProcess) -> None:
    assert server._process is not None
    server._process.send_signal(signal.SIGINT)
    assert server.wait() == 0


def test_a_running_stream_finishes_while_new_work_is_refused(
    server: ServerProcess, provider: ScriptedProvider
) -> None:
    gate = Gate()
    provider.default = Script(deltas=("one ", "two"), frame_gate=gate, frames_before_gate=2)
    url = f"{server.url}/v1/chat/completions"
    with (
        httpx.Client(headers=headers(server), timeout=20) as client,
        client.stream("POST", url, json=BODY) as response,
    ):
        chunks = response.iter_text()
        text = next(chunks)
        server.terminate()
        # The refusal is a 503 while the port is open, and a refused connection once it is not.
        refused = threading.Event()
        for _ in range(200):
            try:
                answer = httpx.post(url, json=BODY | {"stream": False}, headers=headers(server))
            except httpx.TransportError:
                refused.set()
                break
            if answer.status_code == 503:
                assert answer.headers["retry-after"]
                assert answer.json()["error"]["type"] == "service_unavailable"
                refused.set()
                break
        assert refused.is_set()
        gate.open()
        text += "".join(chunks)
    assert text.endswith("data: [DONE]\n\n")
    assert server.wait() == 0


def test_a_stream_that_outlasts_the_grace_is_told_so_and_cut(
    server: ServerProcess, provider: ScriptedProvider
) -> None:
    provider.default = Script(deltas=("one ", "two"), stall_after_frames=2)
    url = f"{server.url}/v1/chat/completions"
    with (
        httpx.Client(headers=headers(server), timeout=20) as client,
        client.stream("POST", url, json=BODY) as response,
    ):
        chunks = response.iter_text()
        text = next(chunks)
        server.terminate()
        text += "".join(chunks)
    assert '"error"' in text
    assert "[DONE]" not in text
    assert server.wait() == 0


def test_a_second_start_on_the_same_data_keeps_its_keys(
    server: ServerProcess, provider: ScriptedProvider
) -> None:
    assert server.stop() == 0
    server.start()
    answer = httpx.get(f"{server.url}/v1/models", headers=headers(server))
    assert answer.status_code == 200
