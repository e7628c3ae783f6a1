"""Plain HTTP tools, at a server that does byte for byte what a test says."""

from __future__ import annotations

import asyncio
import json

import msgspec
import pytest
from tests.http_client.raw_server import Line, serve
from tests.tools.bench import SECRET, Bench

from dragoman.records.tool_server import HttpTool, ToolOutcome, ToolServer

SCHEMA = msgspec.Raw(
    b'{"type":"object","properties":{"town":{"type":"string","maxLength":20}},"required":["town"]}'
)


def weather(port: int, **changes: object) -> ToolServer:
    server = ToolServer(
        key="weather",
        kind="http",
        url=f"http://127.0.0.1:{port}/v1/",
        headers=(("x-key", "env:SECRET"),),
        tools=(
            HttpTool(name="now", description="Weather now.", parameters=SCHEMA, path="/now"),
            HttpTool(name="search", parameters=SCHEMA, path="search?v=1", method="GET"),
        ),
        allow_private=True,
    )
    return msgspec.structs.replace(server, **changes)


def answer(body: bytes, kind: str = "application/json", status: str = "200 OK") -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


class Site:
    def __init__(self, response: bytes, *, closes: bool = False) -> None:
        self.response = response
        self.closes = closes
        self.heads: list[str] = []
        self.bodies: list[bytes] = []
        self.sent = 0

    async def __call__(self, line: Line) -> None:
        while True:
            try:
                head, body = await line.request()
            except (asyncio.IncompleteReadError, ConnectionError):
                return
            self.heads.append(head)
            self.bodies.append(body)
            try:
                for start in range(0, len(self.response), 65_536):
                    await line.send(self.response[start : start + 65_536])
                    self.sent = start
            except ConnectionError:
                return
            if self.closes:
                line.close()
                return


async def call(
    bench: Bench, site: Site, name: str = "now", max_bytes: int = 2000, **arguments: object
) -> ToolOutcome:
    async with serve(site) as server:
        bench.put(weather(server.port))
        tools = await bench.tools("weather")
        given = json.dumps(arguments or {"town": "Ulm"})
        outcome = await bench.box.call(tools[name], given, timeout_s=5, max_bytes=max_bytes)
        await bench.anywhere.aclose()
    return outcome


async def test_arguments_are_sent_as_json_and_the_answer_is_the_result(bench: Bench) -> None:
    site = Site(answer(b'{"c":21}'))
    assert await call(bench, site) == ToolOutcome(text='{"c":21}')
    assert site.heads[0].startswith("POST /v1/now HTTP/1.1\r\n")
    assert f"x-key: {SECRET}\r\n" in site.heads[0]
    assert json.loads(site.bodies[0]) == {"town": "Ulm"}


async def test_get_sends_arguments_as_the_query(bench: Bench) -> None:
    site = Site(answer(b"ok", "text/plain"))
    assert (await call(bench, site, "search", town="Ulm & so\r\n")).text == "ok"
    assert site.heads[0].startswith("GET /v1/search?v=1&town=Ulm%20%26%20so%0D%0A HTTP/1.1\r\n")


async def test_what_breaks_the_schema_is_not_sent(bench: Bench) -> None:
    site = Site(answer(b"{}"))
    outcome = await call(bench, site, town=7)
    assert outcome.error == "invalid_arguments"
    assert 'town: 7 is not of type "string"' in outcome.text
    assert site.heads == []


async def test_the_models_garbage_is_told_to_it(bench: Bench) -> None:
    bench.put(weather(9))
    now = (await bench.tools("weather"))["now"]
    for arguments in ("{", "[]", "null", "", '{"town":"' + "x" * 2_000_000 + '"}', "[" * 99_999):
        outcome = await bench.box.call(now, arguments, timeout_s=5, max_bytes=500)
        assert outcome.error == "invalid_arguments"
        assert len(outcome.text.encode()) <= 500


async def test_ten_megabytes_are_read_no_further_than_they_are_shown(bench: Bench) -> None:
    site = Site(answer(b"y" * 10_000_000, "text/plain"))
    outcome = await call(bench, site)
    assert outcome.is_cut
    assert not outcome.is_error
    assert len(outcome.text) == 2000
    assert outcome.text.startswith("yyy")
    assert site.sent < 9_000_000


async def test_a_cut_is_made_between_characters(bench: Bench) -> None:
    outcome = await call(bench, Site(answer("ü".encode() * 2000, "text/plain; charset=utf-8")))
    assert outcome.is_cut
    assert outcome.text.startswith("üü")
    assert "�" not in outcome.text


@pytest.mark.parametrize(
    ("response", "error", "text"),
    [
        (answer(b"no such town", "text/plain", "404 Not"), "tool_failed", "HTTP 404: no such"),
        (answer(b"", status="302 Found"), "tool_failed", "redirect"),
        (answer(b"", "text/plain"), None, "(the result is empty)"),
        (answer(b"\x89PNG", "image/png"), None, "[image/png, 4 bytes: not shown]"),
        (answer(b"\xe4", "text/plain; charset=iso-8859-1"), None, "ä"),
        (answer(b"\xff\xfe rubbish \xff", "text/plain"), None, "�"),
        (
            b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n\x1f\x8b",
            None,
            "[binary data, 2 bytes: not shown]",
        ),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n\xff\x00aaaaaaaa"[:-8], None, "[binary"),
        (b"rubbish\r\n\r\n", "garbled", "broke off"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\nhalf", "garbled", "broke off"),
        (answer(f"you sent {SECRET}".encode()), None, "you sent [secret]"),
    ],
    ids=[
        "refusal",
        "redirect",
        "empty",
        "picture",
        "latin",
        "no-utf8",
        "zipped",
        "unnamed",
        "no-http",
        "cut-off",
        "echo",
    ],
)
async def test_whatever_comes_is_told(
    bench: Bench, response: bytes, error: str | None, text: str
) -> None:
    outcome = await call(bench, Site(response, closes=True))
    assert outcome.error == error
    assert outcome.is_error == (error is not None)
    assert text in outcome.text
    assert "127.0.0.1" not in outcome.text


async def test_a_silent_tool_ends_in_time(bench: Bench) -> None:
    async def silent(line: Line) -> None:
        await line.closed_by_client()

    async with serve(silent) as server:
        bench.put(weather(server.port))
        now = (await bench.tools("weather"))["now"]
        outcome = await bench.box.call(now, '{"town":"Ulm"}', timeout_s=0.05, max_bytes=500)
        assert outcome.error == "timeout"
        await server.all_closed.wait()


async def test_who_is_not_there_is_unreachable(bench: Bench) -> None:
    bench.put(weather(9))
    assert (await bench.call("weather", "now", town="Ulm")).error == "unreachable"


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:{port}/",
        "https://127.0.0.1:{port}/",
        "https://localhost:{port}/",
        "https://[::ffff:127.0.0.1]:{port}/",
        "https://0x7f000001:{port}/",
        "https://169.254.169.254/latest",
        "ftp://example.com/",
        "https://user:pass@example.com/",
    ],
)
async def test_what_is_not_public_is_not_connected_to(bench: Bench, url: str) -> None:
    site = Site(answer(b"inside"))
    async with serve(site) as server:
        bench.put(weather(0, url=url.format(port=server.port), allow_private=False))
        outcome = await bench.call("weather", "now", town="Ulm")
        assert outcome.error == "unreachable"
        assert server.accepted == 0


async def test_a_secret_that_is_not_there_stops_the_call(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.put(weather(9, headers=(("x-key", "env:NOWHERE"),)))
    outcome = await bench.call("weather", "now", town="Ulm")
    assert outcome.text == "The tool's server is not set up."
    assert "tool server weather: env:NOWHERE is not set" in caplog.text
