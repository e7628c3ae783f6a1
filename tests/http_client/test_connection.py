"""The connection without sockets: any split of the bytes gives the same answer, and no timer is wasted."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Iterable
from typing import Any

import uvloop
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.http_client.raw_server import chunked, with_length

from dragoman.http_client import Endpoint, HttpClientError, HttpRequest, HttpSettings
from dragoman.http_client.connection import Connection


class Wire(asyncio.Transport):
    """Takes what is written, and says nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.is_closed = False

    def write(self, data: bytes | bytearray | memoryview[Any]) -> None:
        self.written += bytes(data)

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview[Any]]) -> None:
        for data in list_of_data:
            self.write(data)

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return self.is_closed

    def close(self) -> None:
        self.is_closed = True

    def abort(self) -> None:
        self.is_closed = True

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


class Owner:
    def __init__(self) -> None:
        self.kept = 0
        self.forgotten = 0

    def put_back(self, connection: Connection) -> None:
        self.kept += 1

    def forget(self, connection: Connection) -> None:
        self.forgotten += 1


REQUEST = HttpRequest(Endpoint("POST", "http://h/"), b"{}", max_body_bytes=1000)


async def exchange(pieces: list[bytes], *, is_ended: bool) -> tuple[object, ...]:
    """Everything that can be seen of an exchange in which `pieces` arrive."""
    owner = Owner()
    connection = Connection(owner, asyncio.get_running_loop(), HttpSettings(max_head_bytes=2000))
    connection.connection_made(Wire())
    response = connection.exchange(REQUEST, b"")
    for piece in pieces:
        if not connection.is_closed and piece:
            connection.data_received(piece)
            if owner.kept:
                break
    if is_ended and not connection.is_closed:
        connection.eof_received()
    connection.abort(HttpClientError("the test is over"))
    try:
        body: object = await response.read()
    except HttpClientError as error:
        body = type(error).__name__
    return response.status, response.headers, body, owner.kept, owner.forgotten


ANSWERS = [
    with_length(b"hello", headers="A: b\r\n"),
    with_length(b""),
    chunked(b"he", b"llo", headers="A: b\r\na: c\r\n"),
    chunked(b"hello")[:-2] + b"Trailer: x\r\n\r\n",
    b"HTTP/1.1 103 Early\r\nLink: x\r\n\r\n" + with_length(b"hello"),
    b"HTTP/1.1 200 OK\r\n\r\nuntil the end",
    b"HTTP/1.1 204 None\r\n\r\n",
    with_length(b"hello", headers="Connection: close\r\n"),
    with_length(b"hello")[:-1],
    chunked(b"hello", is_ended=False),
    b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
    chunked(b"a" * 600, b"a" * 600),
    b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 600 + b"\r\n",
    b"nonsense",
]


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(ANSWERS), st.lists(st.integers(0, 4000), max_size=10), st.booleans())
def test_any_split_gives_the_same_answer(answer: bytes, cuts: list[int], is_ended: bool) -> None:
    places = sorted({min(cut, len(answer)) for cut in cuts} | {0, len(answer)})
    pieces = [answer[a:b] for a, b in itertools.pairwise(places)]

    async def run() -> None:
        whole = await exchange([answer], is_ended=is_ended)
        split = await exchange(pieces, is_ended=is_ended)
        bytewise = await exchange(
            [answer[i : i + 1] for i in range(len(answer))], is_ended=is_ended
        )
        assert whole[2:] == split[2:] == bytewise[2:]
        if isinstance(whole[2], bytes):  # what was seen before a failure may differ
            assert whole == split == bytewise

    uvloop.run(run())


@settings(deadline=None)
@given(st.lists(st.binary(max_size=200), max_size=5))
def test_random_bytes_never_break_the_protocol(pieces: list[bytes]) -> None:
    uvloop.run(exchange(pieces, is_ended=True))


async def test_kept_connection_needs_no_timer_for_each_request() -> None:
    """A deadline that moves later leaves the timer alone; one that moves earlier replaces it."""
    loop = CountingLoop(asyncio.get_running_loop())
    owner = Owner()
    connection = Connection(owner, loop, HttpSettings())  # type: ignore[arg-type]
    connection.connection_made(Wire())
    for count in range(1, 21):
        response = connection.exchange(REQUEST, b"")
        connection.data_received(with_length(b"hello"))
        assert response.is_complete
        assert owner.kept == count
    assert loop.timers <= 3
    connection.abort(HttpClientError("the test is over"))


class CountingLoop:
    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.timers = 0
        self._loop = loop

    def time(self) -> float:
        return self._loop.time()

    def call_at(self, when: float, call: Callable[[], None]) -> asyncio.TimerHandle:
        self.timers += 1
        return self._loop.call_at(when, call)
