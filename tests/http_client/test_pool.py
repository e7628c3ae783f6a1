"""How connections are shared: bounded, in line, last used first."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator

import pytest
from tests.http_client.raw_server import Line, RawServer, serve, with_length

from dragoman.http_client import (
    Endpoint,
    HttpClient,
    HttpClientError,
    HttpRequest,
    HttpSettings,
    PoolFull,
    TimedOut,
)
from dragoman.records.provider import Timeouts

OK = with_length(b"fine")


class Bottleneck:
    """A server that answers when it is told to, and knows how many wait."""

    def __init__(self) -> None:
        self.waiting = 0
        self.most = 0
        self.may_answer = asyncio.Event()
        self.arrived = asyncio.Condition()

    async def handle(self, line: Line) -> None:
        while True:
            await line.request()
            self.waiting += 1
            self.most = max(self.most, self.waiting)
            async with self.arrived:
                self.arrived.notify_all()
            await self.may_answer.wait()
            self.waiting -= 1
            await line.send(OK)

    async def until_waiting(self, count: int) -> None:
        async with self.arrived:
            await self.arrived.wait_for(lambda: self.waiting >= count)


@pytest.fixture
async def bottleneck() -> AsyncIterator[tuple[RawServer, Bottleneck]]:
    bottleneck = Bottleneck()
    async with serve(bottleneck.handle) as server:
        yield server, bottleneck


async def fetch(client: HttpClient, request: HttpRequest) -> bytes:
    return await (await client.send(request)).read()


async def test_no_more_connections_than_allowed(
    client: HttpClient, bottleneck: tuple[RawServer, Bottleneck]
) -> None:
    server, gate = bottleneck
    request = HttpRequest(Endpoint("POST", server.url(), max_connections=2))
    tasks = [asyncio.create_task(fetch(client, request)) for _ in range(10)]
    await gate.until_waiting(2)
    gate.may_answer.set()
    assert await asyncio.gather(*tasks) == [b"fine"] * 10
    assert (server.accepted, gate.most) == (2, 2)


async def test_cancelled_waiter_takes_no_connection_with_it(
    client: HttpClient, bottleneck: tuple[RawServer, Bottleneck]
) -> None:
    server, gate = bottleneck
    request = HttpRequest(Endpoint("POST", server.url(), max_connections=1))
    first = asyncio.create_task(fetch(client, request))
    await gate.until_waiting(1)
    second, third = (asyncio.create_task(fetch(client, request)) for _ in range(2))
    await asyncio.sleep(0)
    second.cancel()
    gate.may_answer.set()
    assert await first == b"fine"
    assert await third == b"fine"
    with pytest.raises(asyncio.CancelledError):
        await second
    assert await fetch(client, request) == b"fine"
    assert server.accepted == 1


async def test_waiter_cancelled_as_it_is_served_hands_on(
    client: HttpClient, bottleneck: tuple[RawServer, Bottleneck]
) -> None:
    """Each is cancelled in the same turn of the loop in which it may be handed the connection."""
    server, gate = bottleneck
    request = HttpRequest(Endpoint("POST", server.url(), max_connections=1))
    first = asyncio.create_task(fetch(client, request))
    await gate.until_waiting(1)
    waiters = [asyncio.create_task(fetch(client, request)) for _ in range(5)]
    await asyncio.sleep(0)
    gate.may_answer.set()
    await first
    for waiter in waiters[:-1]:
        waiter.cancel()
    assert await asyncio.wait_for(waiters[-1], 5) == b"fine"
    assert await asyncio.wait_for(fetch(client, request), 5) == b"fine"


async def test_place_of_a_closed_connection_goes_to_the_next(client: HttpClient) -> None:
    async def handle(line: Line) -> None:
        await line.request()
        await line.send(with_length(b"fine", headers="Connection: close\r\n"))

    async with serve(handle) as server:
        request = HttpRequest(Endpoint("POST", server.url(), max_connections=1))
        answers = await asyncio.gather(*[fetch(client, request) for _ in range(5)])
        assert answers == [b"fine"] * 5
        assert server.accepted == 5


async def test_place_of_a_failed_connection_goes_to_the_next(client: HttpClient) -> None:
    endpoint = Endpoint("POST", "http://x/", unix_socket="/nowhere.sock", max_connections=1)
    results = await asyncio.gather(
        *[client.send(HttpRequest(endpoint)) for _ in range(5)], return_exceptions=True
    )
    assert [type(result).__name__ for result in results] == ["ConnectFailed"] * 5


async def test_line_is_bounded(bottleneck: tuple[RawServer, Bottleneck]) -> None:
    server, gate = bottleneck
    client = HttpClient(HttpSettings(max_waiting=2))
    request = HttpRequest(Endpoint("POST", server.url(), max_connections=1))
    tasks = [asyncio.create_task(fetch(client, request)) for _ in range(3)]
    await gate.until_waiting(1)
    with pytest.raises(PoolFull):
        await client.send(request)
    gate.may_answer.set()
    assert await asyncio.gather(*tasks) == [b"fine"] * 3
    await client.aclose()


async def test_wait_in_line_counts_as_connecting(
    client: HttpClient, bottleneck: tuple[RawServer, Bottleneck]
) -> None:
    server, gate = bottleneck
    endpoint = Endpoint("POST", server.url(), max_connections=1)
    first = asyncio.create_task(fetch(client, HttpRequest(endpoint)))
    await gate.until_waiting(1)
    with pytest.raises(TimedOut) as caught:
        await client.send(HttpRequest(endpoint, timeouts=Timeouts(connect_s=0.02)))
    assert caught.value.phase == "connect"
    gate.may_answer.set()
    assert await first == b"fine"


async def test_unused_connection_expires() -> None:
    client = HttpClient(HttpSettings(keepalive_s=0.05))

    async def handle(line: Line) -> None:
        await line.request()
        await line.send(OK)
        await line.closed_by_client()

    async with serve(handle) as server:
        await fetch(client, HttpRequest(Endpoint("POST", server.url())))
        await asyncio.wait_for(server.all_closed.wait(), 5)
    await client.aclose()


async def test_old_connection_is_not_used_again() -> None:
    client = HttpClient(HttpSettings(max_age_s=0.0))

    async def handle(line: Line) -> None:
        while True:
            await line.request()
            await line.send(OK)

    async with serve(handle) as server:
        for _ in range(2):
            await fetch(client, HttpRequest(Endpoint("POST", server.url())))
            await asyncio.sleep(0.01)
        assert server.accepted == 2
    await client.aclose()


async def test_connection_used_last_is_used_first(client: HttpClient) -> None:
    used: list[int] = []
    both = asyncio.Barrier(2)
    is_first_round = True

    async def handle(line: Line) -> None:
        number = server.accepted
        while True:
            await line.request()
            used.append(number)
            if is_first_round:
                await both.wait()
            await line.send(OK)

    async with serve(handle) as server:
        request = HttpRequest(Endpoint("POST", server.url()))
        await asyncio.gather(fetch(client, request), fetch(client, request))
        is_first_round = False
        used.clear()
        for _ in range(5):
            await fetch(client, request)
        assert len(set(used)) == 1


async def test_origins_do_not_share_connections(client: HttpClient) -> None:
    async def handle(line: Line) -> None:
        while True:
            await line.request()
            await line.send(OK)

    async with serve(handle) as one, serve(handle) as other:
        await fetch(client, HttpRequest(Endpoint("POST", one.url())))
        await fetch(client, HttpRequest(Endpoint("POST", other.url())))
        assert (one.accepted, other.accepted) == (1, 1)


@pytest.mark.parametrize("seed", range(4))
async def test_no_mixture_of_faults_and_cancellations_leaks(client: HttpClient, seed: int) -> None:
    """After any mixture, every place is free again: as many requests as allowed run at once."""
    dice = random.Random(seed)
    most = 4

    async def handle(line: Line) -> None:
        while True:
            await line.request()
            match dice.randrange(6):
                case 0:
                    return
                case 1:
                    line.reset()
                    return
                case 2:
                    await line.send(b"nonsense")
                    return
                case 3:
                    await line.send(OK[:-1])
                    await line.closed_by_client()
                case 4:
                    await asyncio.sleep(dice.random() / 1000)
                    await line.send(OK)
                case _:
                    await line.send(OK)

    async def one(endpoint: Endpoint) -> None:
        request = HttpRequest(endpoint, timeouts=Timeouts(idle_s=0.05, connect_s=5))
        try:
            async with asyncio.timeout(dice.choice([0.001, 0.003, 5])):
                response = await client.send(request)
                if dice.random() < 0.3:
                    response.close() if dice.random() < 0.5 else response.release(0.01)
                else:
                    await response.read()
        except (HttpClientError, TimeoutError):
            pass

    async with serve(handle) as server:
        endpoint = Endpoint("POST", server.url(), max_connections=most)
        await asyncio.wait_for(asyncio.gather(*[one(endpoint) for _ in range(150)]), 20)
        pool = client._pools[endpoint.key]
        await asyncio.sleep(0.02)
        assert pool._open == len(pool._connections) == len(pool._idle) <= most
        assert not pool._waiters
        assert asyncio.all_tasks() - {asyncio.current_task()} <= server.tasks
