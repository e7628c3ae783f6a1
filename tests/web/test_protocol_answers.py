"""What the HTTP server makes of an application's answers: framing, cuts, pace and ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest

from dragoman.web.call import Receive, Scope, Send
from dragoman.web.protocol import (
    HEAD_TIMEOUT_S,
    KEEP_ALIVE_S,
    WRITE_STALL_S,
    Asgi,
    Connections,
)

GET = b"GET /%s HTTP/1.1\r\nhost: x\r\n\r\n"
LAST_GET = b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"


async def body_of(receive: Receive) -> bytes:
    body, more = b"", True
    while more:
        message = await receive()
        assert message["type"] == "http.request"
        body, more = body + message["body"], message["more_body"]
    return body


async def begin(send: Send, *headers: tuple[bytes, bytes], status: int = 200) -> None:
    await send({"type": "http.response.start", "status": status, "headers": list(headers)})


async def go_on(send: Send, body: bytes, *, more: bool = True) -> None:
    await send({"type": "http.response.body", "body": body, "more_body": more})


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    body = scope["path"].encode() + b" " + await body_of(receive)
    await begin(send, (b"content-length", b"%d" % len(body)))
    await go_on(send, body, more=False)


async def stream(scope: Scope, receive: Receive, send: Send) -> None:
    await begin(send)
    for piece in (b"one ", b"", b"two"):
        await go_on(send, piece)
    await go_on(send, b"", more=False)


class Peer:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def response(self, *, has_body: bool = True) -> tuple[int, dict[str, str], bytes]:
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
        status, *lines = head.rstrip().split("\r\n")
        headers = {line.split(": ")[0].lower(): line.split(": ", 1)[1] for line in lines}
        length = int(headers.get("content-length", 0)) if has_body else 0
        return int(status.split()[1]), headers, await self.reader.readexactly(length)


async def until(is_true: Callable[[], bool]) -> None:
    for _ in range(500):
        if is_true():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not come to what the test waits for")


Connect = Callable[[], Coroutine[Any, Any, Peer]]


@asynccontextmanager
async def serving(
    application: Asgi, connections: Connections | None = None
) -> AsyncIterator[Connect]:
    """Yields what opens a connection to a server of `application`."""
    connections = connections or Connections(application)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(connections.protocol, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    peers: list[Peer] = []

    async def connect() -> Peer:
        peers.append(Peer(*await asyncio.open_connection("127.0.0.1", port)))
        return peers[-1]

    try:
        async with asyncio.timeout(20):
            yield connect
    finally:
        for peer in peers:
            peer.writer.close()
        server.close()
        await connections.close(0.5)


async def test_a_connection_answers_one_request_after_another() -> None:
    async with serving(echo) as connect:
        peer = await connect()
        for name in (b"a", b"b", b"c"):
            await peer.send(GET % name)
            status, headers, body = await peer.response()
            assert (status, body) == (200, b"/%s " % name)
            assert "date" in headers
            assert "connection" not in headers


@pytest.mark.parametrize("hosts", [b"", b"host: a\r\nhost: b\r\n"], ids=["none", "two"])
async def test_a_request_names_exactly_one_host(hosts: bytes) -> None:
    async with serving(echo) as connect:
        peer = await connect()
        await peer.send(b"GET / HTTP/1.1\r\n" + hosts + b"\r\n")
        assert (await peer.response())[0] == 400
        assert await peer.reader.read() == b""


async def test_a_stream_is_chunked_and_ends_with_its_last_chunk() -> None:
    async with serving(stream) as connect:
        peer = await connect()
        await peer.send(LAST_GET)
        _, headers, _ = await peer.response()
        assert headers["transfer-encoding"] == "chunked"
        assert headers["connection"] == "close"
        assert await peer.reader.read() == b"4\r\none \r\n3\r\ntwo\r\n0\r\n\r\n"


async def test_an_old_client_gets_the_stream_unframed_and_then_the_end() -> None:
    async with serving(stream) as connect:
        peer = await connect()
        await peer.send(b"GET / HTTP/1.0\r\n\r\n")
        _, headers, _ = await peer.response()
        assert "transfer-encoding" not in headers
        assert await peer.reader.read() == b"one two"


async def test_a_head_that_no_body_follows_is_sent_at_once() -> None:
    gate = asyncio.Event()

    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        await begin(send)
        await gate.wait()
        await go_on(send, b"late", more=False)

    async with serving(slow) as connect:
        peer = await connect()
        await peer.send(GET % b"")
        assert (await peer.response())[0] == 200
        gate.set()
        assert await peer.reader.readuntil(b"0\r\n\r\n") == b"4\r\nlate\r\n0\r\n\r\n"


async def test_head_and_304_have_no_body() -> None:
    async def unchanged(scope: Scope, receive: Receive, send: Send) -> None:
        await begin(send, status=304)
        await go_on(send, b"ignored", more=False)

    for application, method in ((echo, b"HEAD"), (unchanged, b"GET")):
        async with serving(application) as connect:
            peer = await connect()
            for _ in range(2):
                await peer.send(method + b" / HTTP/1.1\r\nhost: x\r\n\r\n")
                await peer.response(has_body=False)
            await peer.send(LAST_GET)
            assert (await peer.reader.read()).startswith(b"HTTP/1.1 ")


async def test_a_client_that_asks_first_is_told_to_go_on_when_its_body_is_wanted() -> None:
    async with serving(echo) as connect:
        peer = await connect()
        head = b"POST / HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n"
        await peer.send(head)
        assert await peer.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        await peer.send(b"ok")
        assert (await peer.response())[2] == b"/ ok"


async def test_a_large_body_arrives_whole() -> None:
    big = bytes(range(256)) * 20_000
    async with serving(echo) as connect:
        peer = await connect()
        await peer.send(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(big))
        peer.writer.write(big)
        assert (await peer.response())[2] == b"/ " + big


async def test_an_answer_to_an_unread_body_reaches_a_client_that_is_still_sending() -> None:
    async def refuse(scope: Scope, receive: Receive, send: Send) -> None:
        await begin(send, (b"connection", b"close"), (b"content-length", b"2"))
        await go_on(send, b"no", more=False)

    async with serving(refuse) as connect:
        peer = await connect()
        await peer.send(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 9000000\r\n\r\n")
        for _ in range(50):
            peer.writer.write(b"x" * 60_000)
            await asyncio.sleep(0)
        assert (await peer.response())[2] == b"no"
        assert await peer.reader.read() == b""


@pytest.mark.parametrize("version", [b"1.1", b"1.0"])
async def test_half_an_answer_is_cut_and_never_ended(version: bytes) -> None:
    async def half(scope: Scope, receive: Receive, send: Send) -> None:
        await begin(send)
        await go_on(send, b"half")

    async with serving(half) as connect:
        peer = await connect()
        await peer.send(b"GET / HTTP/%s\r\nhost: x\r\n\r\n" % version)
        if version == b"1.1":
            assert (await peer.reader.read()).endswith(b"4\r\nhalf\r\n")
        else:
            # Without chunks only a reset tells a cut from an end.
            with pytest.raises(ConnectionResetError):
                await peer.reader.read()


async def test_fewer_bytes_than_announced_are_cut_as_well() -> None:
    async def short(scope: Scope, receive: Receive, send: Send) -> None:
        await begin(send, (b"content-length", b"10"))
        await go_on(send, b"short", more=False)

    async with serving(short) as connect:
        peer = await connect()
        await peer.send(GET % b"")
        with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
            await peer.response()


async def test_an_application_that_fails_ends_its_connection_only() -> None:
    async def fail(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/bad":
            raise RuntimeError("on purpose")
        await echo(scope, receive, send)

    async with serving(fail) as connect:
        bad, good = await connect(), await connect()
        await bad.send(GET % b"bad")
        with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
            await bad.response()
        await good.send(GET % b"good")
        assert (await good.response())[2] == b"/good "


@pytest.mark.parametrize("value", [b"a\r\nset-cookie: b", b"a\nb: c", b"a\rb", b"a\0b"])
async def test_a_header_value_cannot_begin_another_header(value: bytes) -> None:
    async def inject(scope: Scope, receive: Receive, send: Send) -> None:
        await begin(send, (b"x-echo", value), (b"content-length", b"0"))
        await go_on(send, b"", more=False)

    async with serving(inject) as connect:
        peer = await connect()
        await peer.send(GET % b"")
        with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
            await peer.response()


async def test_the_clients_leaving_is_told_to_the_application() -> None:
    waiting, left = asyncio.Event(), asyncio.Event()

    async def watch(scope: Scope, receive: Receive, send: Send) -> None:
        await body_of(receive)
        waiting.set()
        assert (await receive())["type"] == "http.disconnect"
        left.set()

    async with serving(watch) as connect:
        peer = await connect()
        await peer.send(GET % b"")
        await waiting.wait()
        assert not left.is_set()
        peer.writer.close()
        await left.wait()


async def test_writing_waits_for_a_slow_reader() -> None:
    sent = 0

    async def flood(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal sent
        await begin(send)
        for _ in range(400):
            await go_on(send, b"x" * 100_000)
            sent += 1
        await go_on(send, b"", more=False)

    async with serving(flood) as connect:
        peer = await connect()
        await peer.send(LAST_GET)
        await peer.response()
        held = -1
        while held != sent:
            held = sent
            await asyncio.sleep(0.1)
        assert held < 300
        whole = await peer.reader.read()
        assert whole.endswith(b"0\r\n\r\n")
        assert whole.count(b"x" * 100_000) == 400


async def test_an_idle_or_half_told_connection_is_closed_in_time() -> None:
    connections = Connections(echo)
    async with serving(echo, connections) as connect:
        idle, half = await connect(), await connect()
        await half.send(b"GET / HTTP/1.1\r\nx: ")
        await asyncio.sleep(0.05)
        now_s = asyncio.get_running_loop().time()
        for connection in list(connections.open):
            connection.close_if_late(now_s + HEAD_TIMEOUT_S + 1)
        assert await half.reader.read() == b""
        assert len(connections.open) == 1
        for connection in list(connections.open):
            connection.close_if_late(now_s + KEEP_ALIVE_S + 1)
        assert await idle.reader.read() == b""


async def test_a_client_that_reads_nothing_for_minutes_is_cut_off() -> None:
    async def flood(scope: Scope, receive: Receive, send: Send) -> None:
        await begin(send)
        for _ in range(400):
            await go_on(send, b"x" * 100_000)

    connections = Connections(flood)
    async with serving(flood, connections) as connect:
        peer = await connect()
        await peer.send(LAST_GET)
        await peer.response()
        (connection,) = connections.open
        await until(lambda: connection.is_full)
        now_s = asyncio.get_running_loop().time()
        connection.close_if_late(now_s + WRITE_STALL_S - 1)
        assert connections.open
        connection.close_if_late(now_s + WRITE_STALL_S + 1)
        with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
            await peer.reader.readexactly(50_000_000)
        await until(lambda: not connections.open)


async def test_closing_lets_answers_finish_and_cuts_those_that_do_not() -> None:
    gate, forever = asyncio.Event(), asyncio.Event()

    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        await begin(send, (b"content-length", b"4"))
        await (gate if scope["path"] == "/good" else forever).wait()
        await go_on(send, b"done", more=False)

    connections = Connections(slow)
    async with serving(slow, connections) as connect:
        good, late = await connect(), await connect()
        await good.send(GET % b"good")
        await late.send(GET % b"late")
        await asyncio.sleep(0.05)
        closing = asyncio.ensure_future(connections.close(0.3))
        gate.set()
        assert (await good.response())[2] == b"done"
        with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
            await late.response()
        await closing
