"""What the HTTP server makes of bytes: good ones, split ones, and those that mean harm."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from dragoman.web.call import Receive, Scope, Send
from dragoman.web.protocol import MAX_HEAD_BYTES, MAX_WAITING_REQUESTS, Connections

GET = b"GET /here HTTP/1.1\r\nHost: a\r\n\r\n"


def post(body: bytes, *headers: str) -> bytes:
    lines = ["POST /there HTTP/1.1", "Host: a", *headers, f"Content-Length: {len(body)}"]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def chunked(*pieces: bytes, trailers: bytes = b"") -> bytes:
    head = b"POST /there HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces)
    return head + chunks + b"0\r\n" + trailers + b"\r\n"


@dataclass
class Server:
    """Answers each request with what it saw of it."""

    port: int = 0
    seen: list[dict[str, Any]] = field(default_factory=list)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                self.seen.append({"disconnected": True})
                return
            body += message["body"]
            more = message["more_body"]
        self.seen.append(
            {
                "path": scope["path"],
                "headers": [name.decode() for name, _ in scope["headers"]],
                "body": body.decode(),
            }
        )
        answer = json.dumps(self.seen[-1]).encode()
        headers = [(b"content-length", b"%d" % len(answer))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": answer})

    async def talk(self, *pieces: bytes) -> bytes:
        """All that it answers to `pieces`, until it closes or has nothing more to say."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        received = b""
        try:
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(0)
            while data := await asyncio.wait_for(reader.read(65536), 0.3):
                received += data
            received += b"<closed>"
        except TimeoutError:
            pass
        except ConnectionError:
            received += b"<closed>"
        finally:
            writer.close()
        return received


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    application = Server()
    connections = Connections(application)
    listener = await asyncio.get_running_loop().create_server(connections.protocol, "127.0.0.1", 0)
    application.port = listener.sockets[0].getsockname()[1]
    yield application
    listener.close()
    await connections.close(1)


async def test_requests_sent_ahead_are_answered_in_order(server: Server) -> None:
    answers = await server.talk(post(b"one") + GET + chunked(b"th", b"ree"))
    assert answers.count(b"HTTP/1.1 200 OK") == 3
    assert [each["body"] for each in server.seen] == ["one", "", "three"]


async def test_bytes_may_be_split_anywhere(server: Server) -> None:
    sent = post(b"one") + chunked(b"two")
    await server.talk(*[sent[i : i + 1] for i in range(len(sent))])
    assert [each["body"] for each in server.seen] == ["one", "two"]


@pytest.mark.parametrize(
    "head",
    [
        b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n",
        b"Content-Length: 3\r\nContent-Length: 3\r\n",
        b"Content-Length: 3\r\nContent-Length: 4\r\n",
        b"Content-Length: 3, 3\r\n",
        b"Content-Length: +3\r\n",
        b"Content-Length: 99999999999999999999999\r\n",
        b"Content-Length : 3\r\n",
        b"Transfer-Encoding: chunked, identity\r\n",
        b"Transfer-Encoding: xchunked\r\n",
        b"X-Folded: a\r\n b\r\n",
        b"X-Bare: a\nX-Next: b\r\n",
        b"X-Bare: a\rX-Next: b\r\n",
        b"X-Nul: \0\r\n",
        b": nameless\r\n",
        b"X-Many: x\r\n" * 300,
    ],
)
async def test_what_two_servers_could_read_differently_is_refused(
    server: Server, head: bytes
) -> None:
    answer = await server.talk(b"POST / HTTP/1.1\r\nHost: a\r\n" + head + b"\r\nabc" + GET)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert answer.endswith(b"<closed>")
    assert not any("path" in each for each in server.seen)


async def test_trailers_do_not_pass_for_headers(server: Server) -> None:
    await server.talk(chunked(b"body", trailers=b"Authorization: Bearer smuggled\r\n"))
    assert server.seen[0]["body"] == "body"
    assert "authorization" not in server.seen[0]["headers"]


async def test_endless_trailers_are_refused(server: Server) -> None:
    endless = chunked(b"body")[:-2] + b"X-Endless: "
    answer = await server.talk(endless, *[b"x" * 16_384] * (3 * MAX_HEAD_BYTES // 16_384))
    assert b"<closed>" in answer
    assert server.seen == [{"disconnected": True}]


async def test_an_endless_head_is_refused(server: Server) -> None:
    answer = await server.talk(b"GET / HTTP/1.1\r\nX-Endless: ", *[b"x" * 65_536] * 8)
    assert b"<closed>" in answer
    assert server.seen == []


@pytest.mark.parametrize("body", [b"", b"the body"])
@pytest.mark.parametrize("offer", ["Upgrade: h2c", "Upgrade: websocket"])
async def test_an_offer_of_another_protocol_is_passed_over_and_the_body_is_not(
    server: Server, offer: str, body: bytes
) -> None:
    offered = post(body, "Connection: Upgrade, HTTP2-Settings", offer, "HTTP2-Settings: AAMAAABk")
    answers = await server.talk(offered + GET + offered)
    assert answers.count(b"HTTP/1.1 200 OK") == 3
    assert [each["body"] for each in server.seen] == [body.decode(), "", body.decode()]
    assert "upgrade" not in server.seen[0]["headers"]


async def test_an_offer_may_be_split_from_its_body(server: Server) -> None:
    offered = post(b"the body", "Connection: Upgrade", "Upgrade: h2c")
    await server.talk(*[offered[i : i + 1] for i in range(len(offered))])
    assert server.seen[0]["body"] == "the body"


async def test_a_tunnel_is_refused(server: Server) -> None:
    answer = await server.talk(b"CONNECT a.example:443 HTTP/1.1\r\nHost: a\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 400 ")


async def test_only_so_many_requests_wait_on_one_connection(server: Server) -> None:
    answers = await server.talk(GET * (MAX_WAITING_REQUESTS * 3))
    assert answers.count(b"HTTP/1.1 200 OK") == MAX_WAITING_REQUESTS + 1
    assert answers.endswith(b"<closed>")


async def test_requests_before_a_fault_are_answered(server: Server) -> None:
    answers = await server.talk(GET + post(b"whole") + b"garbage\r\n\r\n")
    assert answers.count(b"HTTP/1.1 200 OK") == 2
    assert answers.endswith(b"<closed>")
    assert b"400" not in answers
