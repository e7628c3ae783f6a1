"""A request's body is read within bounds of size and time."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest

from dragoman.errors import BodyTooLarge
from dragoman.web import protocol
from dragoman.web.call import BodyTimeout, Call, Receive, Scope, Send
from dragoman.web.protocol import Connections

REQUEST_ID = "req_0123456789abcdef01234567"

HEAD = b"POST /there HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n"


async def send_nothing(_message: Any) -> None:
    return None


def call(*messages: dict[str, Any]) -> Call:
    """A request whose body comes in `messages`, and then no more."""
    left: Iterator[dict[str, Any]] = iter(messages)

    async def receive() -> dict[str, Any]:
        message = next(left, None)
        if message is None:
            await asyncio.Event().wait()
            raise AssertionError
        return {"type": "http.request"} | message

    scope = {"method": "POST", "path": "/", "headers": []}
    return Call(scope, receive, send_nothing, REQUEST_ID)


async def test_pieces_are_joined() -> None:
    pieces: list[dict[str, Any]] = [
        {"body": b"a", "more_body": True},
        {"body": b"", "more_body": True},
        {"body": b"b"},
    ]
    assert await call(*pieces).read_body(10, 1.0) == b"ab"


async def test_pieces_are_counted_together() -> None:
    pieces = [{"body": b"a" * 6, "more_body": True}, {"body": b"b" * 6, "more_body": True}]
    with pytest.raises(BodyTooLarge):
        await call(*pieces).read_body(10, 1.0)


async def test_a_body_that_stops_coming_is_given_up() -> None:
    with pytest.raises(BodyTimeout):
        await call({"body": b"a", "more_body": True}).read_body(10, 0.01)


@pytest.mark.parametrize("sent", [b"", b"{"], ids=["nothing", "a part"])
async def test_a_body_that_is_announced_and_does_not_come_is_given_up(
    monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    monkeypatch.setattr(protocol, "BODY_SILENCE_S", 0.05)
    raised: list[BaseException] = []

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        read = Call(scope, receive, send, REQUEST_ID)
        try:
            await read.read_body(1000, 60.0)
        except BodyTimeout as error:
            raised.append(error)
            await read.send_whole(408, [], b"late")

    connections = Connections(application)
    listener = await asyncio.get_running_loop().create_server(connections.protocol, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*listener.sockets[0].getsockname())
    writer.write(HEAD + sent)
    answer = await asyncio.wait_for(reader.read(), 5)
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"connection: close" in answer
    assert [type(error) for error in raised] == [BodyTimeout]
    writer.close()
    with suppress(ConnectionError):
        await writer.wait_closed()
    listener.close()
    await connections.close(1)
