"""Limits hold over real sockets and over all processes: exactly as many are let in as may be."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx
import pytest
from tests.scripted_provider import ScriptedProvider
from tests.server_process import ServerProcess

ASKED = 64
LIMIT = 20
BODY = {"model": "gpt", "messages": [{"role": "user", "content": "hi"}]}


def _config(provider: ScriptedProvider, limits: str, workers: int) -> str:
    return f"""
embedded_model = false
default_model = "gpt"
workers = {workers}
{limits}

[[providers]]
name = "scripted"
wire = "openai"
base_url = "{provider.base_url}"

[[providers.models]]
id = "gpt"
"""


async def _ask_at_once(server: ServerProcess) -> list[httpx.Response]:
    """On a connection each, so that every process gets some."""
    headers = {"authorization": f"Bearer {server.key}"}
    async with httpx.AsyncClient(
        base_url=server.url,
        headers=headers,
        timeout=30,
        limits=httpx.Limits(max_keepalive_connections=0),
    ) as http:
        return await asyncio.gather(
            *[http.post("/v1/chat/completions", json=BODY) for _ in range(ASKED)]
        )


@pytest.mark.parametrize("workers", [1, 2])
def test_exactly_the_limit_is_let_in_of_many_at_once(
    provider: ScriptedProvider, tmp_path: Path, workers: int
) -> None:
    config = _config(provider, f"requests_per_minute = {LIMIT}", workers)
    with ServerProcess(tmp_path / "data", config) as server:
        responses = asyncio.run(_ask_at_once(server))
        let_in = [response for response in responses if response.status_code == 200]
        refused = [response for response in responses if response.status_code == 429]
        assert len(let_in) == LIMIT
        assert len(refused) == ASKED - LIMIT
        assert len(provider.requests) == LIMIT
        left = [int(response.headers["x-ratelimit-remaining"]) for response in let_in]
        assert min(left) == 0
        assert max(left) < LIMIT
        for response in refused:
            assert 1 <= int(response.headers["retry-after"]) <= 60
            assert response.headers["x-ratelimit-limit"] == str(LIMIT)
            assert response.headers["x-ratelimit-remaining"] == "0"
        # What is counted outlives the server, so that a restart is no way around it.
        server.kill()
        server.start()
        again = httpx.post(
            f"{server.url}/v1/chat/completions",
            json=BODY,
            headers={"authorization": f"Bearer {server.key}"},
        )
        assert again.status_code == 429
