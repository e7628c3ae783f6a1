"""The completion routes: what is kept of a request that a fault of ours ended."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from tests.pipeline.house import House

from dragoman.dialects.openai import OPENAI
from dragoman.policy.keys import KeyRing, mint_key
from dragoman.stores import open_store
from dragoman.web.application import Application, Routes
from dragoman.web.completions import CompletionRoute, WebLimits
from dragoman.web.door import Door
from dragoman.web.in_flight import InFlight
from dragoman.web.request_log import RequestLog

LIMITS = WebLimits(max_body_bytes=1000, body_timeout_s=1, header_hold_s=1, keep_alive_s=1)


@pytest.fixture
def house() -> House:
    """Its only target raises what no provider may."""
    return House({"first": {}}, {})


@pytest.fixture
async def client(house: House, tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    store = open_store(tmp_path)
    secret, key = mint_key("app", 1.0)
    store.add_key(key)
    door = Door(KeyRing(store, house.clock), house.clock)
    route = CompletionRoute(OPENAI, door, house.pipeline, InFlight(), LIMITS)
    log = RequestLog(house.clock, level="error")
    application = Application(Routes({"/ask": route}, {}, [("/", OPENAI)]), log, house.clock, ())
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(application),
        base_url="http://here",
        headers={"authorization": f"Bearer {secret}"},
    ) as client:
        yield client
    log.close()
    store.close()


@pytest.mark.parametrize("stream", [False, True])
async def test_a_fault_of_ours_is_on_record_as_its_client_was_told(
    client: httpx.AsyncClient, house: House, stream: bool
) -> None:
    body = {"model": "first", "messages": [{"role": "user", "content": "hi"}], "stream": stream}
    answer = await client.post("/ask", json=body)
    assert answer.status_code == 500
    (record,) = house.accounting.settled
    assert record.request_id == answer.headers["x-request-id"]
    assert (record.status, record.error, record.http_status) == ("failed", "internal", 500)
