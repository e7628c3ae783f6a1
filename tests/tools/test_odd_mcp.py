"""MCP servers that lie, babble, fall silent or write what cannot be read."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.http_client.raw_server import Line, serve
from tests.tools.bench import PLENTY_S, Bench

from dragoman.records.tool_server import ToolServer

PROGRAM = Path(__file__).with_name("odd_program.py")


@pytest.fixture
def odd(bench: Bench, request: pytest.FixtureRequest) -> Bench:
    bench.put(odd_server(request.param))
    return bench


def odd_server(behaviour: str) -> ToolServer:
    return ToolServer(
        key="odd", kind="mcp_stdio", command=(sys.executable, str(PROGRAM), behaviour)
    )


def behaves(behaviour: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("odd", [behaviour], indirect=True)


@behaves("lies")
async def test_tools_that_no_provider_would_take_are_left_out(
    odd: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    tools = await odd.tools("odd")
    # A foreign metaschema's name is not followed, and what it is does not matter.
    assert sorted(tools) == ["elsewhere", "odd", "twice", "wordy"]
    assert len(tools["wordy"].function.description or "") == 4000
    assert b'"properties"' in bytes(tools["wordy"].function.parameters)
    assert "'no-schema' has a schema that is none" in caplog.text


@behaves("many")
async def test_a_server_has_a_bounded_number_of_tools(odd: Bench) -> None:
    assert len(await odd.tools("odd")) == 128


@behaves("endless")
async def test_pages_that_never_end_are_not_followed(odd: Bench) -> None:
    assert sorted(await odd.tools("odd")) == ["odd"]


@behaves("bad-list")
async def test_a_list_that_cannot_be_read_offers_nothing(
    odd: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    assert await odd.tools("odd") == {}
    assert "garbled" in caplog.text


@behaves("garbage")
async def test_an_answer_that_is_none_is_told_as_such(odd: Bench) -> None:
    assert (await odd.call("odd", "odd")).error == "garbled"


@behaves("babbles")
async def test_a_server_that_babbles_is_ended(odd: Bench, caplog: pytest.LogCaptureFixture) -> None:
    outcome = await odd.call("odd", "odd")
    assert outcome.error == "unreachable"
    assert "writes what nobody asked for" in caplog.text


@behaves("long-line")
async def test_a_line_without_end_is_skipped(odd: Bench) -> None:
    assert (await odd.call("odd", "odd")).text == "after all"


@behaves("structured")
async def test_structured_content_stands_in_for_text(odd: Bench) -> None:
    assert (await odd.call("odd", "odd")).text == '{"a":[1,2]}'


@behaves("surrogates")
async def test_half_a_character_is_no_answer(odd: Bench) -> None:
    outcome = await odd.call("odd", "odd")
    assert outcome.error == "garbled"


@behaves("fails")
async def test_an_error_is_told_in_bounded_words(odd: Bench) -> None:
    outcome = await odd.call("odd", "odd")
    assert outcome.error == "tool_failed"
    assert outcome.text == "m" * 2000


@behaves("grows")
async def test_a_server_says_when_it_has_other_tools(odd: Bench) -> None:
    assert "grown" not in await odd.tools("odd")
    await odd.call("odd", "odd")
    async with asyncio.timeout(PLENTY_S):
        while "grown" not in await odd.tools("odd"):  # noqa: ASYNC110 - no event tells
            await asyncio.sleep(0.01)


@behaves("speaks")
async def test_what_a_server_says_once_it_is_used_is_not_logged(
    odd: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="dragoman.tools")
    await odd.call("odd", "odd")
    await odd.box.aclose()
    assert "odd begins" in caplog.text
    assert "secret words" not in caplog.text


@behaves("mute")
async def test_a_mute_server_holds_up_neither_lists_nor_other_servers(
    odd: Bench,
) -> None:
    odd.servers = {**odd.servers, "fine": _renamed(odd_server("structured"), "fine")}
    async with asyncio.timeout(PLENTY_S):
        await odd.box.offered(["fine"], timeout_s=PLENTY_S)
        offered = await odd.box.offered(["odd", "fine"], timeout_s=0.05)
        assert [tool.id for tool in offered] == ["fine/odd"]
        # Whoever comes later does not wait as long again.
        assert await odd.box.offered(["odd"], timeout_s=2 * PLENTY_S) == []


def _renamed(server: ToolServer, key: str) -> ToolServer:
    return ToolServer(key=key, kind=server.kind, command=server.command)


# --- Over HTTP ---


class OddSite:
    """Answers MCP over HTTP as a test wants; `call` makes the answer to a call."""

    def __init__(self, call: bytes) -> None:
        self.call = call
        self.is_forgetful = False
        self.sessions = 0
        self.seen: list[str] = []

    async def __call__(self, line: Line) -> None:
        while True:
            try:
                head, body = await line.request()
            except (asyncio.IncompleteReadError, ConnectionError):
                return
            self.seen.append(head)
            answer = self.answer(head, body)
            await line.send(answer)
            if answer.endswith(b"{{"):
                line.close()
                return

    def answer(self, head: str, body: bytes) -> bytes:
        if not body:
            return b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
        message = json.loads(body)
        method, number = message["method"], message.get("id")
        if method == "initialize":
            self.sessions += 1
            self.is_forgetful = False
            return http(
                result(
                    number,
                    {
                        "protocolVersion": "2025-06-18",
                        "capabilities": {"tools": {}},
                        "serverInfo": {"name": "odd", "version": "1"},
                    },
                ),
                f"Mcp-Session-Id: session-{self.sessions}\r\n",
            )
        if number is None:
            return b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n"
        if method == "tools/list":
            tool = {"name": "odd", "inputSchema": {"type": "object", "properties": {}}}
            return http(result(number, {"tools": [tool]}))
        if method == "tools/call":
            if self.is_forgetful:
                return b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
            return self.call.replace(b"$ID", str(number).encode())
        return b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"


def result(number: int, value: dict[str, Any]) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": number, "result": value}).encode()


def http(body: bytes, headers: str = "", kind: str = "application/json") -> bytes:
    head = (
        f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\n{headers}Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def site_server(port: int) -> ToolServer:
    return ToolServer(
        key="site",
        kind="mcp_http",
        url=f"http://127.0.0.1:{port}/mcp",
        headers=(("authorization", "env:SECRET"),),
        allow_private=True,
    )


TEXT = b'{"jsonrpc":"2.0","id":0,"result":{"content":[{"type":"text","text":"fine"}]}}'
# An id that needs no replacing would not be the request's: events carry whichever they like.
EVENT = http(b"event: message\r\ndata: " + TEXT + b"\r\n\r\n", kind="text/event-stream")


async def test_a_server_that_forgot_the_session_is_asked_again(bench: Bench) -> None:
    site = OddSite(EVENT)
    async with serve(site) as server:
        bench.put(site_server(server.port))
        assert (await bench.call("site", "odd")).text == "fine"
        site.is_forgetful = True
        assert (await bench.call("site", "odd")).text == "fine"
        assert site.sessions == 2
        await bench.box.aclose()
    assert all("authorization: hush-" in head for head in site.seen)


async def test_a_server_that_is_not_there_is_called_unreachable(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.put(site_server(9))
    assert await bench.tools("site") == {}
    assert "unreachable: The tool's server cannot be reached." in caplog.text


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (http(b"<html>", kind="text/html"), "tool_failed"),
        (http(b"{not json"), "garbled"),
        (http(b'{"jsonrpc":"2.0","id":"x","oops":1}'), "garbled"),
        (b"HTTP/1.1 500 Oops\r\nContent-Length: 4\r\n\r\noops", "tool_failed"),
        (
            b"HTTP/1.1 307 No\r\nLocation: http://10.0.0.1/\r\nContent-Length: 0\r\n\r\n",
            "unreachable",
        ),
        (b"HTTP/1.1 307 No\r\nLocation: /other\r\nContent-Length: 0\r\n\r\n", "unreachable"),
        (http(b"{" * 900)[:-800], "garbled"),
        (b"garbage\r\n\r\n", "garbled"),
        (http(b"event: message\r\ndata: {]\r\n\r\n", kind="text/event-stream"), "garbled"),
        (http(b": nothing\r\n\r\n", kind="text/event-stream"), "unreachable"),
        (
            http(b"data: " + b"x" * 10_000_000 + b"\r\n\r\n", kind="text/event-stream"),
            "too_long",
        ),
        (http(b'{"x":"' + b"x" * 10_000_000 + b'"}'), "too_long"),
    ],
    ids=[
        "html",
        "no-json",
        "no-message",
        "status-500",
        "redirect-inside",
        "redirect-along",
        "cut-off",
        "no-http",
        "bad-event",
        "no-event",
        "long-event",
        "long-json",
    ],
)
async def test_odd_answers_are_told_and_the_session_goes_on(
    bench: Bench, answer: bytes, error: str
) -> None:
    site = OddSite(answer)
    async with serve(site) as server:
        bench.put(site_server(server.port))
        outcome = await bench.call("site", "odd")
        assert outcome.error == error
        assert "127.0.0.1" not in outcome.text
        site.call = EVENT
        assert (await bench.call("site", "odd")).text == "fine"
        assert site.sessions == 1
        await bench.box.aclose()
