"""MCP servers that are real, over both of their transports, and do what servers do to their callers."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
from tests.tools.bench import PLENTY_S, Bench

from dragoman.records.tool_server import ToolOutcome, ToolServer

PROGRAM = Path(__file__).with_name("mcp_program.py")


@pytest.fixture(scope="module")
def http_port() -> Iterator[int]:
    with subprocess.Popen(
        [sys.executable, str(PROGRAM), "http"], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        yield int(process.stdout.readline())
        process.kill()


def stdio_server(key: str = "pipes", **changes: object) -> ToolServer:
    server = ToolServer(key=key, kind="mcp_stdio", command=(sys.executable, str(PROGRAM), "stdio"))
    return msgspec.structs.replace(server, **changes)


def http_server(port: int, key: str = "web", **changes: object) -> ToolServer:
    server = ToolServer(
        key=key, kind="mcp_http", url=f"http://127.0.0.1:{port}/mcp", allow_private=True
    )
    return msgspec.structs.replace(server, **changes)


@pytest.fixture(params=["pipes", "web"])
def key(request: pytest.FixtureRequest, bench: Bench, http_port: int) -> str:
    """A server over each of the transports."""
    name: str = request.param
    bench.put(stdio_server() if name == "pipes" else http_server(http_port))
    return name


async def test_tools_are_listed_and_called(bench: Bench, key: str) -> None:
    tools = await bench.tools(key)
    add = tools["add"]
    assert add.id == f"{key}/add"
    assert add.function.name == f"{key}__add"
    assert add.function.description == "Add two numbers."
    assert msgspec.json.decode(add.function.parameters)["required"] == ["a", "b"]
    outcome = await bench.call(key, "add", a=2, b=3)
    assert outcome == ToolOutcome(text="5")


async def test_calls_of_one_server_run_side_by_side(bench: Bench, key: str) -> None:
    # Neither would ever end, were one made after the other.
    outcomes = await asyncio.gather(
        bench.call(key, "meet", who="a"), bench.call(key, "meet", who="b")
    )
    assert {outcome.text for outcome in outcomes} == {"met: a", "met: b"}


async def test_one_session_serves_many_calls(bench: Bench) -> None:
    bench.put(stdio_server())
    first = await bench.call("pipes", "pids")
    second = await bench.call("pipes", "pids")
    assert first.text == second.text


async def test_a_failing_tool_is_told_in_its_own_words(bench: Bench, key: str) -> None:
    outcome = await bench.call(key, "fail", why="no such town")
    assert outcome.is_error
    assert outcome.error == "tool_failed"
    assert "no such town" in outcome.text


async def test_arguments_that_the_server_refuses_are_told(bench: Bench, key: str) -> None:
    outcome = await bench.call(key, "add", a="many")
    assert outcome.is_error
    assert "valid" in outcome.text


async def test_arguments_that_are_no_object_are_not_sent(bench: Bench, key: str) -> None:
    add = (await bench.tools(key))["add"]
    for arguments in ("[1]", "{", '"a"', "[" * 100_000):
        outcome = await bench.box.call(add, arguments, timeout_s=5, max_bytes=1000)
        assert outcome.error == "invalid_arguments"


async def test_a_hanging_tool_ends_in_time_and_holds_nobody_up(
    bench: Bench, key: str, tmp_path: Path
) -> None:
    await bench.tools(key)
    hanging, other = await asyncio.gather(
        bench.call(key, "hang", timeout_s=0.3, mark=str(tmp_path / key)),
        bench.call(key, "add", a=1, b=1),
    )
    assert hanging.error == "timeout"
    assert other.text == "2"
    await appears(tmp_path / f"{key}.left")


async def test_who_leaves_takes_the_call_along(bench: Bench, key: str, tmp_path: Path) -> None:
    mark = tmp_path / key
    calling = asyncio.create_task(bench.call(key, "hang", mark=str(mark)))
    await appears(mark)
    calling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await calling
    await appears(tmp_path / f"{key}.left")


async def test_a_long_result_is_cut(bench: Bench, key: str) -> None:
    outcome = await bench.call(key, "big", size=100_000)
    assert outcome.is_cut
    assert not outcome.is_error
    assert len(outcome.text) <= 32_768
    assert outcome.text.startswith("xxx")
    assert outcome.text.endswith("of at most 32768 bytes]")


async def test_ten_megabytes_are_not_read_to_their_end(bench: Bench, key: str) -> None:
    outcome, other = await asyncio.gather(
        bench.call(key, "big", size=10_000_000), bench.call(key, "add", a=1, b=1)
    )
    assert outcome.error == "too_long"
    assert other.text == "2"
    assert (await bench.call(key, "add", a=1, b=2)).text == "3"


async def test_pictures_and_sounds_are_described(bench: Bench, key: str) -> None:
    outcome = await bench.call(key, "picture")
    assert outcome.text.splitlines() == [
        "see:",
        "[image/png, 6 bytes: not shown]",
        "[audio/wav, 6 bytes: not shown]",
    ]


async def test_a_server_that_dies_is_started_anew(bench: Bench) -> None:
    bench.put(stdio_server())
    first = await bench.call("pipes", "pids")
    died = await bench.call("pipes", "die")
    assert died.error == "unreachable"
    second = await bench.call("pipes", "pids")
    assert not second.is_error
    assert first.text != second.text


async def test_children_have_no_environment_of_ours(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OUR_SECRET", "shh")
    bench.put(stdio_server(environment=(("THEIRS", "1"),)))
    names = (await bench.call("pipes", "environment")).text.split(",")
    assert "THEIRS" in names
    assert "PATH" in names
    assert "OUR_SECRET" not in names


async def test_children_end_with_the_box(bench: Bench) -> None:
    bench.put(stdio_server())
    pids = [int(pid) for pid in (await bench.call("pipes", "pids")).text.split(",")]
    await bench.box.aclose()
    for pid in pids:
        await vanishes(pid)


async def test_a_changed_server_is_another_session(bench: Bench) -> None:
    bench.put(stdio_server())
    first = await bench.call("pipes", "pids")
    bench.put(stdio_server(environment=(("X", "1"),)))
    assert (await bench.call("pipes", "pids")).text != first.text
    await vanishes(int(first.text.split(",")[0]))


async def test_a_disabled_server_offers_nothing(bench: Bench) -> None:
    bench.put(stdio_server())
    add = (await bench.tools("pipes"))["add"]
    bench.put(stdio_server(disabled_s=1.0))
    assert await bench.tools("pipes") == {}
    outcome = await bench.box.call(add, '{"a":1,"b":1}', timeout_s=5, max_bytes=1000)
    assert outcome.error == "unknown_tool"


async def test_private_addresses_are_refused_unless_allowed(bench: Bench, http_port: int) -> None:
    bench.put(http_server(http_port, allow_private=False))
    assert await bench.tools("web") == {}
    bench.put(http_server(http_port, allow_private=False, url=f"https://127.0.0.1:{http_port}/mcp"))
    assert await bench.tools("web") == {}


async def test_a_program_that_does_not_exist_offers_nothing(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.put(stdio_server(command=("/nowhere/at-all",)))
    caplog.set_level("INFO", logger="dragoman.tools")
    assert await bench.tools("pipes") == {}
    assert "No such file" in caplog.text
    assert "tool server pipes" in caplog.text


async def appears(path: Path) -> None:
    await _becomes_true(path.exists)


async def vanishes(pid: int) -> None:
    def is_gone() -> bool:
        try:
            return "(zombie)" in Path(f"/proc/{pid}/status").read_text(errors="replace")
        except OSError:
            return True

    await _becomes_true(is_gone)


async def _becomes_true(question: Callable[[], bool]) -> None:
    """What another process does."""
    async with asyncio.timeout(PLENTY_S):
        while not question():  # noqa: ASYNC110 - no event tells
            await asyncio.sleep(0.01)
