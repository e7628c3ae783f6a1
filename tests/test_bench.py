"""The benchmark measures what it says: its payloads, its provider, its load and its CPU clock."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from bench import payloads
from bench.load import LoadPlan, LoadResult, generate_load, run_load
from bench.processes import Process, busy_core_s, choose_cores, cpu_s, process_tree, resident_mib
from bench.provider import CannedAnswers, plain_answer, streamed_answer
from bench.servers import Nginx, ask, nginx_binary, start_provider

ROOT = Path(__file__).parent.parent


@pytest.fixture(name="provider_port", scope="module")
def run_provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    process, port = start_provider(choose_cores()[1], tmp_path_factory.mktemp("provider"))
    yield port
    process.stop()


def plan(port: int, *, stream: bool = False, path: str = "/v1/chat/completions") -> LoadPlan:
    body = payloads.request_body(stream=stream).decode()
    return LoadPlan(port=port, path=path, body=body, clients=4, seconds=0.1)


def test_payloads_have_the_sizes_that_the_table_names() -> None:
    assert len(payloads.request_body(stream=False)) == payloads.REQUEST_BYTES
    assert len(payloads.request_body(stream=True)) == payloads.REQUEST_BYTES
    assert len(payloads.answer_body()) == payloads.ANSWER_BYTES
    assert len(payloads.stream_events()) == payloads.STREAM_EVENTS


def test_canned_stream_is_a_whole_chat_completion() -> None:
    events = payloads.stream_events()
    chunks = [json.loads(event.removeprefix(b"data: ")) for event in events[:-1]]
    assert events[-1] == b"data: [DONE]\n\n"
    assert chunks[-2]["choices"][0]["finish_reason"] == "stop"
    texts = [chunk["choices"][0]["delta"].get("content", "") for chunk in chunks[:-1]]
    assert chunks[-1]["usage"]["completion_tokens"] == len([text for text in texts if text])


class Recorder(asyncio.Transport):
    def __init__(self) -> None:
        super().__init__()
        self.written = b""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += data


def request_bytes(*, stream: bool) -> bytes:
    body = payloads.request_body(stream=stream)
    return b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)


@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_provider_answers_requests_split_anywhere(size: int) -> None:
    protocol, transport = CannedAnswers(), Recorder()
    protocol.connection_made(transport)
    sent = request_bytes(stream=False) + request_bytes(stream=True)
    for start in range(0, len(sent), size):
        protocol.data_received(sent[start : start + size])
    assert transport.written == plain_answer() + streamed_answer()


def test_provider_process_answers(provider_port: int) -> None:
    status, body = ask(provider_port, "POST", "/", payloads.request_body(stream=False))
    assert (status, body) == (200, payloads.answer_body())
    status, body = ask(provider_port, "POST", "/", payloads.request_body(stream=True))
    assert (status, body) == (200, b"".join(payloads.stream_events()))


@pytest.mark.parametrize("stream", [False, True])
async def test_own_load_counts_answers(provider_port: int, stream: bool) -> None:
    result = await generate_load(plan(provider_port, stream=stream))
    assert result.requests > 0
    assert result.errors == 0
    assert 0 < result.p50_us <= result.p99_us
    assert result.seconds >= 0.1


def test_load_raises_when_answers_are_refused(tmp_path: Path) -> None:
    if nginx_binary() is None:
        pytest.skip("nginx is not installed")
    # Nothing is behind it: every answer is a 502.
    nginx = Nginx(1, choose_cores()[0], tmp_path)
    try:
        with pytest.raises(RuntimeError, match="errors"):
            run_load(plan(nginx.port), core=choose_cores()[0], generator="own", folder=tmp_path)
    finally:
        nginx.process.stop()


def test_nginx_checks_the_key(provider_port: int, tmp_path: Path) -> None:
    if nginx_binary() is None:
        pytest.skip("nginx is not installed")
    nginx = Nginx(provider_port, choose_cores()[0], tmp_path)
    try:
        body = payloads.request_body(stream=False)
        assert ask(nginx.port, "POST", nginx.path, body) == (200, payloads.answer_body())
        assert ask(nginx.port, "POST", nginx.path, body, key="wrong")[0] == 401
        assert nginx.features() == ("key check",)
        assert len(process_tree(nginx.process.pid)) == 2
    finally:
        assert nginx.process.stop() == 0


def test_wrk_and_own_load_agree_on_success(provider_port: int, tmp_path: Path) -> None:
    if shutil.which("wrk") is None:
        pytest.skip("wrk is not installed")
    result = run_load(plan(provider_port), core=choose_cores()[0], generator="wrk", folder=tmp_path)
    assert isinstance(result, LoadResult)
    assert result.requests > 0


def test_cpu_time_of_a_process_is_what_it_burnt() -> None:
    before_s, before_clock_s = cpu_s(os.getpid()), time.process_time()
    while time.process_time() - before_clock_s < 0.05:
        pass
    used_s = cpu_s(os.getpid()) - before_s
    assert 0.04 < used_s < 0.2
    assert resident_mib(os.getpid()) > 10


def test_core_is_busy_while_something_runs_on_it() -> None:
    core = choose_cores()[0]
    command = ["sh", "-c", "while :; do :; done"]
    before_s = busy_core_s(core)
    spinner = subprocess.Popen(["taskset", "-c", str(core), *command])
    try:
        while cpu_s(spinner.pid) < 0.1:
            time.sleep(0.01)
    finally:
        spinner.kill()
        spinner.wait()
    assert busy_core_s(core) - before_s > 0.05


def test_process_that_ends_early_shows_its_last_words(tmp_path: Path) -> None:
    process = Process(
        ["sh", "-c", "echo goodbye; exit 3"], core=choose_cores()[0], log=tmp_path / "log"
    )
    with pytest.raises(RuntimeError, match=r"ended with 3:\ngoodbye"):
        process.wait_for_port(1)


def test_command_writes_figures_as_json(tmp_path: Path) -> None:
    if nginx_binary() is None:
        pytest.skip("nginx is not installed")
    figures = tmp_path / "figures.json"
    command = [sys.executable, "-m", "bench", "--quick", "--seconds", "0.05", "--load", "own"]
    subprocess.run(
        [*command, "--only", "nginx", "--json", str(figures)],
        check=True,
        cwd=ROOT,
        capture_output=True,
    )
    report = msgspec.json.decode(figures.read_bytes())
    (row,) = report["rows"]
    assert row["server"] == "nginx"
    assert row["features"] == ["key check"]
    assert set(row["cpu_us"]) == {"1", "16", "64"}
    assert all(cost > 0 for cost in row["cpu_us"].values())
