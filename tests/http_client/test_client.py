"""Requests and answers over real sockets, as they should go."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from tests.http_client.raw_server import Line, answering, chunked, serve, with_length

from dragoman.http_client import Endpoint, HttpClient, HttpRequest

OK = with_length(b"fine")


async def fetch(client: HttpClient, url: str, body: bytes = b"{}", method: str = "POST") -> bytes:
    response = await client.send(HttpRequest(Endpoint(method, url), body))
    return await response.read()


async def test_request_goes_out_as_written(client: HttpClient) -> None:
    seen: list[tuple[str, bytes]] = []

    async def handle(line: Line) -> None:
        seen.append(await line.request())
        await line.send(OK)

    async with serve(handle) as server:
        endpoint = Endpoint("POST", server.url("/v1/x?a=b"), [("Authorization", "Bearer k")])
        request = HttpRequest(endpoint, b'{"a":1}', headers=(("X-Once", "yes"),))
        response = await client.send(request)
        assert await response.read() == b"fine"
    head, body = seen[0]
    assert head.split("\r\n") == [
        "POST /v1/x?a=b HTTP/1.1",
        f"Host: 127.0.0.1:{server.port}",
        "Accept-Encoding: identity",
        "Authorization: Bearer k",
        "X-Once: yes",
        "Content-Length: 7",
        "",
        "",
    ]
    assert body == b'{"a":1}'


async def test_get_has_no_body_and_no_length(client: HttpClient) -> None:
    heads: list[str] = []

    async def handle(line: Line) -> None:
        heads.append((await line.request())[0])
        await line.send(OK)

    async with serve(handle) as server:
        assert await fetch(client, server.url("/models"), b"", "GET") == b"fine"
    assert heads[0].startswith("GET /models HTTP/1.1\r\n")
    assert "content-length" not in heads[0].lower()


async def test_headers_are_lower_case_and_repeated_ones_are_joined(client: HttpClient) -> None:
    answer = with_length(b"", headers="X-Request-ID: Abc\r\nVia: one\r\nVIA: two\r\n")
    async with serve(answering(answer)) as server:
        response = await client.send(HttpRequest(Endpoint("POST", server.url())))
        assert response.status == 200
        assert response.headers == {"x-request-id": "Abc", "via": "one, two", "content-length": "0"}
        assert await response.read() == b""


async def test_connection_is_kept_and_used_again(client: HttpClient) -> None:
    async with serve(answering(OK, chunked(b"ab", b"c"))) as server:
        assert await fetch(client, server.url()) == b"fine"
        assert await fetch(client, server.url()) == b"abc"
        assert await fetch(client, server.url()) == b"abc"
        assert server.accepted == 1


@pytest.mark.parametrize(
    ("answer", "body"),
    [
        (with_length(b"hello"), b"hello"),
        (chunked(b"he", b"l", b"lo"), b"hello"),
        (chunked(b"hello")[:-2] + b"Trailer: x\r\n\r\n", b"hello"),
        (b"HTTP/1.1 200 OK\r\n\r\nhello", b"hello"),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello", b"hello"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b""),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", b""),
        (b"HTTP/1.1 100 Continue\r\nX: 1\r\n\r\n" + with_length(b"hello"), b"hello"),
        (b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" * 3 + with_length(b"hello"), b"hello"),
        (b"HTTP/1.1 200\r\nContent-Length: 5\r\n\r\nhello", b"hello"),
    ],
)
@pytest.mark.parametrize("is_bytewise", [False, True])
async def test_bodies_of_every_framing(
    client: HttpClient, answer: bytes, body: bytes, is_bytewise: bool
) -> None:
    async def handle(line: Line) -> None:
        await line.request()
        await (line.send_bytewise(answer) if is_bytewise else line.send(answer))

    async with serve(handle) as server:
        assert await fetch(client, server.url()) == body


async def test_informational_headers_are_not_the_answers(client: HttpClient) -> None:
    answer = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + OK
    async with serve(answering(answer)) as server:
        response = await client.send(HttpRequest(Endpoint("POST", server.url())))
        assert (response.status, response.headers) == (200, {"content-length": "4"})


async def test_answer_to_head_has_no_body(client: HttpClient) -> None:
    async with serve(answering(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")) as server:
        response = await client.send(HttpRequest(Endpoint("HEAD", server.url())))
        assert response.headers["content-length"] == "5"
        assert await response.read() == b""


async def test_redirect_is_handed_over_and_not_followed(client: HttpClient) -> None:
    answer = with_length(b"", status="307 Temporary Redirect", headers="Location: /other\r\n")
    async with serve(answering(answer)) as server:
        response = await client.send(HttpRequest(Endpoint("POST", server.url())))
        assert (response.status, response.headers["location"]) == (307, "/other")
        assert server.accepted == 1


@pytest.mark.parametrize(
    "answer",
    [
        with_length(b"fine", headers="Connection: close\r\n"),
        b"HTTP/1.0 200 OK\r\nContent-Length: 4\r\n\r\nfine",
        OK + b"HTTP/1.1 200 OK\r\n",
        OK + b"what is this",
    ],
    ids=["connection-close", "http-1.0", "second-answer", "garbage-after"],
)
async def test_connection_that_is_not_fit_is_not_used_again(
    client: HttpClient, answer: bytes
) -> None:
    async with serve(answering(answer)) as server:
        assert await fetch(client, server.url()) == b"fine"
        assert await fetch(client, server.url()) == b"fine"
        assert server.accepted == 2


async def test_request_may_ask_to_close(client: HttpClient) -> None:
    async with serve(answering(OK)) as server:
        endpoint = Endpoint("POST", server.url(), [("Connection", "close")])
        for _ in range(2):
            assert await (await client.send(HttpRequest(endpoint))).read() == b"fine"
        assert server.accepted == 2


async def test_chunks_come_as_they_are_read(client: HttpClient) -> None:
    go = asyncio.Event()

    async def handle(line: Line) -> None:
        await line.request()
        await line.send(chunked(b"one", is_ended=False))
        await go.wait()
        await line.send(b"3\r\ntwo\r\n5\r\nthree\r\n")
        await go.wait()
        await line.send(b"0\r\n\r\n")

    async with serve(handle) as server:
        response = await client.send(HttpRequest(Endpoint("POST", server.url())))
        chunks = response.chunks()
        assert await anext(chunks) == b"one"
        assert not response.is_complete
        go.set()
        rest = [chunk async for chunk in chunks]
        assert b"".join(rest) == b"twothree"
        assert rest[0] == b"twothree", "chunks of one socket read are joined"
        assert response.is_complete


async def test_large_bodies_go_both_ways(client: HttpClient) -> None:
    sent = bytes(range(256)) * 40_000

    async def handle(line: Line) -> None:
        while True:
            _, body = await line.request()
            await line.send(with_length(body))

    async with serve(handle) as server:
        assert await fetch(client, server.url(), sent) == sent
        assert await fetch(client, server.url(), sent) == sent
        assert server.accepted == 1


async def test_answer_before_the_request_is_read_is_received(client: HttpClient) -> None:
    async def handle(line: Line) -> None:
        await line.reader.readuntil(b"\r\n\r\n")
        await line.send(with_length(b"too large", status="413 Content Too Large"))
        await line.closed_by_client()

    async with serve(handle) as server:
        request = HttpRequest(Endpoint("POST", server.url()), b"x" * 20_000_000)
        response = await client.send(request)
        assert (response.status, await response.read()) == (413, b"too large")
        await server.all_closed.wait()


async def test_unix_socket_is_spoken_to(client: HttpClient, tmp_path: Path) -> None:
    heads: list[str] = []

    async def handle(line: Line) -> None:
        while True:
            heads.append((await line.request())[0])
            await line.send(OK)

    path = str(tmp_path / "engine.sock")
    async with serve(handle, unix_path=path) as server:
        endpoint = Endpoint("POST", "http://engine/tokenize", unix_socket=path)
        for _ in range(2):
            assert await (await client.send(HttpRequest(endpoint, b"{}"))).read() == b"fine"
        assert server.accepted == 1
    assert heads[0].startswith("POST /tokenize HTTP/1.1\r\nHost: engine\r\n")


async def test_ipv6_literal_is_spoken_to(client: HttpClient) -> None:
    heads: list[str] = []

    async def handle(line: Line) -> None:
        heads.append((await line.request())[0])
        await line.send(OK)

    async with serve(handle, host="::1") as server:
        assert await fetch(client, server.url(host="[::1]")) == b"fine"
    assert f"\r\nHost: [::1]:{server.port}\r\n" in heads[0]


async def test_name_with_several_addresses_is_reached(client: HttpClient) -> None:
    async with serve(answering(OK)) as server:
        assert await fetch(client, server.url(host="localhost")) == b"fine"


async def test_many_requests_at_once_each_get_their_own_answer(client: HttpClient) -> None:
    async def handle(line: Line) -> None:
        while True:
            _, body = await line.request()
            await line.send(chunked(body[:1], body[1:]))

    async with serve(handle) as server:
        bodies = [b"%d" % index for index in range(100, 300)]
        answers = await asyncio.gather(*[fetch(client, server.url(), body) for body in bodies])
        assert answers == bodies
