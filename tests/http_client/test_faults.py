"""What servers do wrong, and what it is called; a broken connection is never used again."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

import pytest
from tests.http_client.raw_server import Line, RawServer, answering, chunked, serve, with_length

from dragoman.http_client import (
    BadResponse,
    ClientClosed,
    ConnectFailed,
    ConnectionLost,
    Endpoint,
    HttpClient,
    HttpClientError,
    HttpRequest,
    HttpResponse,
    ResponseTooLarge,
    TimedOut,
)
from dragoman.records.provider import Timeouts

OK = with_length(b"fine")


def request_to(
    server: RawServer,
    *,
    method: str = "POST",
    timeouts: Timeouts | None = None,
    limit: int = 10_000,
) -> HttpRequest:
    return HttpRequest(
        Endpoint(method, server.url()), b"{}", (), timeouts or Timeouts(), max_body_bytes=limit
    )


async def test_refused_connection_is_named(client: HttpClient) -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{bound.getsockname()[1]}/?secret=1"
        with pytest.raises(ConnectFailed, match="refused") as caught:
            await client.send(HttpRequest(Endpoint("POST", url)))
    assert "secret" not in str(caught.value)


async def test_missing_socket_is_named(client: HttpClient) -> None:
    endpoint = Endpoint("POST", "http://engine/", unix_socket="/nowhere/at/all.sock")
    with pytest.raises(ConnectFailed, match="No such file"):
        await client.send(HttpRequest(endpoint))


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH_9.9\r\n",
        b"\x16\x03\x01\x00\xa5\x01",
        b"HTTP/1.1 abc OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA\x00B: c\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\nhello",
        b"HTTP/2 200\r\n\r\n",
        b"<html>no HTTP at all</html>",
    ],
)
async def test_what_is_not_http_is_refused(client: HttpClient, answer: bytes) -> None:
    async with serve(answering(answer)) as server:
        with pytest.raises(BadResponse):
            await client.send(request_to(server))
        await server.all_closed.wait()


async def test_broken_chunk_is_refused_after_the_good_bytes(client: HttpClient) -> None:
    async with serve(answering(chunked(b"good", is_ended=False) + b"zz\r\n")) as server:
        response = await client.send(request_to(server))
        chunks = response.chunks()
        assert await anext(chunks) == b"good"
        with pytest.raises(BadResponse):
            await anext(chunks)


@pytest.mark.parametrize("is_reset", [False, True])
@pytest.mark.parametrize(
    "answer",
    [with_length(b"good")[:-1], chunked(b"goo", is_ended=False), chunked(b"goo")[:-2]],
    ids=["content-length", "chunked", "in-the-last-chunk"],
)
async def test_cut_body_never_looks_finished(
    client: HttpClient, answer: bytes, is_reset: bool
) -> None:
    may_cut = asyncio.Event()

    async def handle(line: Line) -> None:
        await line.request()
        await line.send(answer)
        await may_cut.wait()
        line.reset() if is_reset else line.close()

    async with serve(handle) as server:
        response = await client.send(request_to(server))
        chunks = response.chunks()
        assert await anext(chunks) == b"goo"
        may_cut.set()
        with pytest.raises(ConnectionLost, match="within its answer") as caught:
            await anext(chunks)
        assert not caught.value.is_untouched
        with pytest.raises(ConnectionLost):
            await response.read()


async def test_reset_is_no_end_of_a_body_without_length(client: HttpClient) -> None:
    may_cut = asyncio.Event()

    async def handle(line: Line) -> None:
        await line.request()
        await line.send(b"HTTP/1.1 200 OK\r\n\r\ngoo")
        await may_cut.wait()
        line.reset()

    async with serve(handle) as server:
        response = await client.send(request_to(server))
        may_cut.set()
        with pytest.raises(ConnectionLost):
            await response.read()


async def test_new_connection_closed_unanswered_is_not_tried_again(client: HttpClient) -> None:
    async def handle(line: Line) -> None:
        await line.request()
        line.close()

    async with serve(handle) as server:
        with pytest.raises(ConnectionLost, match="unanswered") as caught:
            await client.send(request_to(server))
        assert caught.value.is_untouched
        assert server.accepted == 1


@pytest.mark.parametrize("is_reset", [False, True])
async def test_server_that_closes_at_once_is_named_at_once(
    client: HttpClient, is_reset: bool
) -> None:
    async def handle(line: Line) -> None:
        line.reset() if is_reset else line.close()

    async with serve(handle) as server:
        sends = [client.send(request_to(server)) for _ in range(30)]
        results = await asyncio.wait_for(asyncio.gather(*sends, return_exceptions=True), 5)
        assert {type(result) for result in results} <= {ConnectionLost, ConnectFailed}


@pytest.mark.parametrize("is_reset", [False, True])
async def test_kept_connection_closed_unanswered_is_replaced_once(
    client: HttpClient, is_reset: bool
) -> None:
    served = 0

    async def handle(line: Line) -> None:
        nonlocal served
        await line.request()
        await line.send(OK)
        served += 1
        await line.request()
        line.reset() if is_reset else line.close()

    async with serve(handle) as server:
        for count in (1, 2):
            response = await client.send(request_to(server))
            assert await response.read() == b"fine"
            assert server.accepted == served == count


async def test_replacement_that_fails_too_is_the_end(client: HttpClient) -> None:
    async def handle(line: Line) -> None:
        await line.request()
        if server.accepted == 1:
            await line.send(OK)
            await line.request()
        line.close()

    async with serve(handle) as server:
        await (await client.send(request_to(server))).read()
        with pytest.raises(ConnectionLost):
            await client.send(request_to(server))
        assert server.accepted == 2


async def test_connection_closed_while_unused_is_forgotten(client: HttpClient) -> None:
    async def handle(line: Line) -> None:
        await line.request()
        await line.send(OK)

    async with serve(handle) as server:
        for _ in range(3):
            assert await (await client.send(request_to(server))).read() == b"fine"
            await server.all_closed.wait()
            await asyncio.sleep(0)
        assert server.accepted == 3


async def test_server_that_speaks_unasked_is_dropped(client: HttpClient) -> None:
    spoken = asyncio.Event()

    async def handle(line: Line) -> None:
        await line.request()
        await line.send(OK)
        if server.accepted == 1:
            await line.send(OK)
            spoken.set()
        await line.closed_by_client()

    async with serve(handle) as server:
        await (await client.send(request_to(server))).read()
        await spoken.wait()
        await server.all_closed.wait()
        assert await (await client.send(request_to(server))).read() == b"fine"
        assert server.accepted == 2


def endless(start: bytes, piece: bytes) -> Callable[[Line], object]:
    async def handle(line: Line) -> None:
        await line.request()
        await line.send(start)
        while True:
            await line.send(piece)

    return handle


@pytest.mark.parametrize(
    ("start", "piece"),
    [
        (b"HTTP/1.1 200 OK\r\nX: ", b"a" * 1000),
        (b"HTTP/1.1 200 OK\r\n", b"X: a\r\n" * 100),
        (b"", b"HTTP/1.1 103 Early Hints\r\n\r\n"),
        (chunked(b"a", is_ended=False) + b"0\r\nX: ", b"a" * 1000),
        (chunked(b"a", is_ended=False) + b"5;x=", b"a" * 1000),
        (chunked(b"", is_ended=False)[:-5], b"400\r\n" + b"a" * 1024 + b"\r\n"),
        (b"HTTP/1.1 200 OK\r\n\r\n", b"a" * 1000),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n", b"a" * 1000),
    ],
    ids=["header", "headers", "1xx", "trailer", "extension", "chunks", "to-eof", "length"],
)
async def test_endless_answer_is_bounded(client: HttpClient, start: bytes, piece: bytes) -> None:
    async with serve(endless(start, piece)) as server:  # type: ignore[arg-type]
        with pytest.raises(ResponseTooLarge):
            await (await client.send(request_to(server))).read()
        await server.all_closed.wait()


async def test_body_at_its_bound_is_accepted(client: HttpClient) -> None:
    async with serve(answering(with_length(b"a" * 10_000), with_length(b"a" * 10_001))) as server:
        assert len(await (await client.send(request_to(server))).read()) == 10_000
        with pytest.raises(ResponseTooLarge):
            await (await client.send(request_to(server))).read()


async def silent(line: Line) -> None:
    await line.request()
    await line.closed_by_client()


async def stalls(line: Line) -> None:
    await line.request()
    await line.send(chunked(b"one", is_ended=False))
    await line.closed_by_client()


async def drips(line: Line) -> None:
    await line.request()
    await line.send(chunked(b"one", is_ended=False))
    while True:
        await line.send(b"1\r\na\r\n")
        await asyncio.sleep(0.005)


@pytest.mark.parametrize(
    ("handle", "timeouts", "phase"),
    [
        (silent, Timeouts(first_byte_s=0.05), "first_byte"),
        (silent, Timeouts(total_s=0.05), "total"),
        (stalls, Timeouts(idle_s=0.05), "idle"),
        (drips, Timeouts(idle_s=0.5, total_s=0.1), "total"),
    ],
    ids=["no-byte", "no-byte-in-total", "stall", "drip"],
)
async def test_time_bounds(
    client: HttpClient,
    handle: Callable[[Line], object],
    timeouts: Timeouts,
    phase: str,
) -> None:
    async with serve(handle) as server:  # type: ignore[arg-type]
        with pytest.raises(TimedOut) as caught:
            await (await client.send(request_to(server, timeouts=timeouts))).read()
        assert caught.value.phase == phase
        await server.all_closed.wait()


async def test_time_bound_of_connecting_includes_tls(client: HttpClient) -> None:
    async with serve(Line.closed_by_client) as server:
        endpoint = Endpoint("POST", server.url(scheme="https"))
        with pytest.raises(TimedOut) as caught:
            await client.send(HttpRequest(endpoint, timeouts=Timeouts(connect_s=0.2)))
        assert caught.value.phase == "connect"
        await server.all_closed.wait()


async def test_deadlines_of_one_exchange_do_not_reach_the_next(client: HttpClient) -> None:
    release = asyncio.Event()

    async def handle(line: Line) -> None:
        await line.request()
        await line.send(OK)
        await line.request()
        await release.wait()
        await line.send(OK)

    async with serve(handle) as server:
        await (await client.send(request_to(server, timeouts=Timeouts(first_byte_s=0.05)))).read()
        waiting = asyncio.create_task(client.send(request_to(server)))
        await asyncio.sleep(0.15)
        assert not waiting.done()
        release.set()
        assert await (await waiting).read() == b"fine"
        assert server.accepted == 1


async def test_silence_while_the_reader_is_slow_is_not_the_servers(client: HttpClient) -> None:
    size = 3_000_000

    async def handle(line: Line) -> None:
        await line.request()
        await line.send(with_length(b"a" * size))

    async with serve(handle) as server:
        timeouts = Timeouts(idle_s=0.05)
        response = await client.send(request_to(server, timeouts=timeouts, limit=size))
        await asyncio.sleep(0.2)
        received = 0
        async for chunk in response.chunks():
            received += len(chunk)
        assert received == size


async def test_slow_reader_holds_the_server_back(client: HttpClient) -> None:
    """What nobody reads stays with the server: our memory is bounded, and so are the kernel's buffers."""
    sent = 0
    total = 40_000_000
    piece = b"a" * 100_000

    async def handle(line: Line) -> None:
        nonlocal sent
        await line.request()
        await line.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % total)
        while sent < total:
            await line.send(piece)
            sent += len(piece)
        await line.closed_by_client()

    async with serve(handle) as server:
        response = await client.send(request_to(server, limit=total))
        before = -1
        while before != sent:
            before = sent
            await asyncio.sleep(0.05)
        assert sent < 20_000_000
        received, largest = 0, 0
        async for chunk in response.chunks():
            received += len(chunk)
            largest = max(largest, len(chunk))
        assert received == total
        assert largest < 1_000_000


async def test_cancelled_request_closes_its_connection(client: HttpClient) -> None:
    asked = asyncio.Event()

    async def handle(line: Line) -> None:
        await line.request()
        asked.set()
        await line.closed_by_client()

    async with serve(handle) as server:
        sending = asyncio.create_task(client.send(request_to(server)))
        await asked.wait()
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        await asyncio.wait_for(server.all_closed.wait(), 5)


@pytest.mark.parametrize("how", ["cancel-read", "cancel-chunks", "close"])
async def test_answer_left_in_the_middle_closes_its_connection(
    client: HttpClient, how: str
) -> None:
    async with serve(stalls) as server:
        response = await client.send(request_to(server))
        if how == "close":
            response.close()
            with pytest.raises(HttpClientError):
                await response.read()
        else:
            reading = asyncio.create_task(
                response.read() if how == "cancel-read" else read_all(response)
            )
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            reading.cancel()
            with pytest.raises(asyncio.CancelledError):
                await reading
        await asyncio.wait_for(server.all_closed.wait(), 5)


async def read_all(response: HttpResponse) -> bytes:
    return b"".join([chunk async for chunk in response.chunks()])


async def test_cancellation_leaves_no_task_and_no_connection(client: HttpClient) -> None:
    async with serve(stalls) as server:
        sent = [asyncio.create_task(client.send(request_to(server))) for _ in range(20)]
        responses = await asyncio.gather(*sent)
        reading = [asyncio.create_task(response.read()) for response in responses]
        await asyncio.sleep(0.01)
        for task in reading:
            task.cancel()
        await asyncio.gather(*reading, return_exceptions=True)
        await asyncio.wait_for(server.all_closed.wait(), 5)
        assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_released_answer_keeps_its_connection_when_it_ends_soon(client: HttpClient) -> None:
    released = asyncio.Event()

    async def handle(line: Line) -> None:
        await line.request()
        await line.send(chunked(b"all that matters", is_ended=False))
        await released.wait()
        await line.send(b"4\r\nmore\r\n0\r\n\r\n")
        await line.request()
        await line.send(OK)

    async with serve(handle) as server:
        response = await client.send(request_to(server))
        assert await anext(response.chunks()) == b"all that matters"
        response.release()
        released.set()
        response.close()
        await asyncio.sleep(0.05)
        assert await (await client.send(request_to(server))).read() == b"fine"
        assert server.accepted == 1


async def test_released_answer_that_goes_on_is_closed(client: HttpClient) -> None:
    async with serve(drips) as server:
        response = await client.send(request_to(server))
        await anext(response.chunks())
        response.release(grace_s=0.05)
        await asyncio.wait_for(server.all_closed.wait(), 5)


async def test_closing_the_client_ends_what_runs(client: HttpClient) -> None:
    async with serve(stalls) as server:
        response = await client.send(request_to(server))
        reading = asyncio.create_task(response.read())
        await asyncio.sleep(0)
        await client.aclose()
        with pytest.raises(ClientClosed):
            await reading
        with pytest.raises(ClientClosed):
            await client.send(request_to(server))
        await asyncio.wait_for(server.all_closed.wait(), 5)
