"""Connections are shared out evenly, and none is lost while there is anybody to take it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import pytest_asyncio

from dragoman.web import handover
from dragoman.web.call import Receive, Scope, Send
from dragoman.web.handover import Dealer, HandedConnections
from dragoman.web.protocol import Connections
from dragoman.web.server import listen

REQUEST = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - the kernel tells of no event
            await asyncio.sleep(0.002)


class Server:
    """A server in this process that has been handed connections; it says its name."""

    def __init__(self, name: str, dealer: Dealer) -> None:
        self.name = name
        ours, theirs = socket.socketpair()
        self.handed = HandedConnections(theirs)
        self.connections = Connections(self._answer)
        self.taker = dealer.add(ours)

    async def _answer(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        length = str(len(self.name)).encode()
        headers = [(b"content-length", length)]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": self.name.encode()})

    async def begin(self) -> Server:
        await self.handed.begin(self.connections)
        return self

    async def close(self) -> None:
        self.handed.close()
        await self.connections.close(0)


class Port:
    def __init__(self) -> None:
        self.sock = listen("127.0.0.1", 0)
        self.dealer = Dealer(self.sock)
        self.address: Any = self.sock.getsockname()
        self.servers: list[Server] = []
        self.writers: list[asyncio.StreamWriter] = []

    async def server(self, name: str) -> Server:
        server = await Server(name, self.dealer).begin()
        self.servers.append(server)
        return server

    async def ask(self) -> str:
        """The name of the server that answers a new connection, which stays open."""
        reader, writer = await asyncio.open_connection(*self.address)
        self.writers.append(writer)
        writer.write(REQUEST)
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200")
        return (await reader.readexactly(1)).decode()


@pytest_asyncio.fixture
async def port() -> AsyncIterator[Port]:
    made = Port()
    yield made
    for writer in made.writers:
        writer.close()
    made.dealer.close()
    for server in made.servers:
        await server.close()


@pytest.mark.parametrize("count", [2, 16, 60])
async def test_connections_opened_at_once_are_shared_out_evenly(port: Port, count: int) -> None:
    for name in "ab":
        await port.server(name)
    names = await asyncio.gather(*(port.ask() for _ in range(count)))
    assert names.count("a") == names.count("b") == count // 2


async def test_a_server_that_has_fewer_gets_the_next_ones(
    port: Port, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handover, "REPORT_PERIOD_S", 0.01)
    busy = await port.server("a")
    for _ in range(6):
        assert await port.ask() == "a"
    await until(lambda: busy.taker.load == 6)
    await port.server("b")
    names = [await port.ask() for _ in range(10)]
    assert names[:6] == ["b"] * 6
    assert sorted(names[6:]) == ["a", "a", "b", "b"]
    # Connections that were closed count no more.
    for writer in port.writers[:6]:
        writer.close()
    await until(lambda: busy.taker.load == 2)
    assert [await port.ask() for _ in range(4)] == ["a"] * 4


async def test_a_server_that_stops_is_passed_over_while_there_are_others(port: Port) -> None:
    stopping = await port.server("a")
    other = await port.server("b")
    stopping.handed.retire()
    await until(lambda: stopping.taker.load > other.taker.load)
    assert {await port.ask() for _ in range(4)} == {"b"}
    other.handed.retire()
    await until(lambda: other.taker.load > 1 << 30)
    assert {await port.ask() for _ in range(4)} == {"a", "b"}


async def test_a_dead_server_is_passed_over(port: Port) -> None:
    dying = await port.server("a")
    await port.server("b")
    await port.ask()
    dying.handed.close()
    names = {await port.ask() for _ in range(4)}
    assert names == {"b"}


async def test_connections_wait_while_there_is_no_server(port: Port) -> None:
    asking = [asyncio.create_task(port.ask()) for _ in range(3)]
    await asyncio.sleep(0.01)
    dying = await port.server("a")
    assert await asyncio.gather(*asking) == ["a"] * 3
    dying.handed.close()
    asking = [asyncio.create_task(port.ask()) for _ in range(3)]
    # What was accepted before its death was noticed is held for the next one.
    await asyncio.sleep(0.01)
    await port.server("b")
    async with asyncio.timeout(5):
        assert await asyncio.gather(*asking) == ["b"] * 3


async def test_a_server_that_does_not_look_gets_no_more_than_its_share(port: Port) -> None:
    await port.server("a")
    frozen = Server("b", port.dealer)
    port.servers.append(frozen)
    asking = [asyncio.create_task(port.ask()) for _ in range(20)]
    done, waiting = await asyncio.wait(asking, timeout=0.5)
    assert {task.result() for task in done} == {"a"}
    assert len(waiting) == 10
    await frozen.begin()
    async with asyncio.timeout(5):
        assert {await task for task in waiting} == {"b"}
