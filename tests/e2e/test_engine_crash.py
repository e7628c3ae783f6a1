"""The engine's child dies or freezes under load: its requests are told at once, and nothing else is hurt."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from tests.conftest import share_model
from tests.scripted_provider import ScriptedProvider
from tests.server_process import ServerProcess

pytestmark = pytest.mark.engine

CONFIG = """
[[local_models]]
id = "small"
aliases = ["local"]
slots = 2
context_tokens = 512
stall_s = 2.0

[[providers]]
name = "scripted"
wire = "openai"
base_url = "{base_url}"

[[providers.models]]
id = "elsewhere"

[[providers.models]]
id = "unused"
"""
LONG = {
    "model": "local",
    "messages": [{"role": "user", "content": "Tell a very long story about the sea."}],
    "max_tokens": 400,
    "temperature": 1,
    "stream": True,
}
SHORT = LONG | {"max_tokens": 4, "stream": False}


@pytest.fixture
def server(provider: ScriptedProvider, tmp_path: Path) -> Iterator[ServerProcess]:
    share_model(tmp_path / "data")
    with ServerProcess(tmp_path / "data", CONFIG.format(base_url=provider.base_url)) as process:
        yield process


def children_of(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


async def begin(client: httpx.AsyncClient, begun: asyncio.Semaphore) -> str:
    """A long stream; all that came of it."""
    text = ""
    async with client.stream("POST", "/v1/chat/completions", json=LONG) as response:
        assert response.status_code == 200
        async for chunk in response.aiter_text():
            if not text:
                begun.release()
            text += chunk
    return text


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "frozen"])
async def test_only_its_own_requests_fail_and_it_recovers_without_help(
    server: ServerProcess, number: signal.Signals
) -> None:
    headers = {"authorization": f"Bearer {server.key}"}
    async with (
        asyncio.timeout(90),
        httpx.AsyncClient(base_url=server.url, headers=headers, timeout=60) as client,
    ):
        ready = await client.post("/v1/chat/completions", json=SHORT)
        assert ready.status_code == 200, ready.text
        begun = asyncio.Semaphore(0)
        streams = [asyncio.ensure_future(begin(client, begun)) for _ in range(2)]
        for _ in streams:
            await begun.acquire()
        (child,) = children_of(server.pid)
        os.kill(child, number)
        # The rest of the server never stopped.
        elsewhere = await client.post("/v1/chat/completions", json=SHORT | {"model": "elsewhere"})
        assert elsewhere.status_code == 200
        for text in await asyncio.gather(*streams):
            assert '"error"' in text
            assert "[DONE]" not in text
            assert '"finish_reason":"' not in text
        again = await client.post("/v1/chat/completions", json=SHORT)
        while again.status_code == 503:
            again = await client.post("/v1/chat/completions", json=SHORT)
        assert again.status_code == 200
        assert children_of(server.pid) != [child]
