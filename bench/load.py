"""Load: closed-loop clients over keep-alive connections, by wrk where it is installed.

Without wrk our own generator does the same from one process (`python -m bench.load`, JSON in and
out); it is slower, so that the server's core is not always busy and its figures come out higher.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Literal, cast

import httptools
import msgspec
import uvloop

from bench.payloads import KEY
from bench.processes import on_core

Generator = Literal["wrk", "own"]


class LoadPlan(msgspec.Struct, frozen=True, kw_only=True):
    port: int
    path: str
    body: str
    clients: int
    seconds: float


class LoadResult(msgspec.Struct, frozen=True, kw_only=True):
    requests: int
    seconds: float
    p50_us: float
    p99_us: float
    errors: int
    """Answers other than 200, and broken connections."""


def available_generator() -> Generator:
    return "wrk" if shutil.which("wrk") else "own"


def run_load(plan: LoadPlan, *, core: int, generator: Generator, folder: Path) -> LoadResult:
    """Load one server; raises `RuntimeError` when any answer was not a success."""
    result = _run_wrk(plan, core, folder) if generator == "wrk" else _run_own(plan, core)
    if result.errors:
        raise RuntimeError(f"{result.errors} errors in {result.requests} requests to {plan.path}")
    return result


_WRK_SCRIPT = """\
local file = io.open("%s", "rb")
wrk.method = "POST"
wrk.body = file:read("*a")
file:close()
wrk.headers["Content-Type"] = "application/json"
wrk.headers["Authorization"] = "Bearer %s"
function done(summary, latency)
  local e = summary.errors
  io.write(string.format("RESULT %%d %%d %%f %%f %%d\\n", summary.requests, summary.duration,
    latency:percentile(50), latency:percentile(99),
    e.connect + e.read + e.write + e.status + e.timeout))
end
"""


def _run_wrk(plan: LoadPlan, core: int, folder: Path) -> LoadResult:
    body = folder / "body.json"
    body.write_text(plan.body)
    script = folder / "wrk.lua"
    script.write_text(_WRK_SCRIPT % (body, KEY))
    seconds = max(1, round(plan.seconds))
    output = subprocess.run(
        [
            *on_core(core),
            *("wrk", "-t1", f"-c{plan.clients}", f"-d{seconds}s", "--timeout", "30s"),
            *("-s", str(script)),
            f"http://127.0.0.1:{plan.port}{plan.path}",
        ],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    line = next(line for line in output.splitlines() if line.startswith("RESULT "))
    requests, duration_us, p50_us, p99_us, failed = line.split()[1:]
    return LoadResult(
        requests=int(requests),
        seconds=int(duration_us) / 1e6,
        p50_us=float(p50_us),
        p99_us=float(p99_us),
        errors=int(failed),
    )


def _run_own(plan: LoadPlan, core: int) -> LoadResult:
    output = subprocess.run(
        [*on_core(core), sys.executable, "-m", "bench.load"],
        input=msgspec.json.encode(plan),
        check=True,
        capture_output=True,
        cwd=Path(__file__).parent.parent,
    ).stdout
    return msgspec.json.decode(output, type=LoadResult)


class _Client(asyncio.Protocol):
    """One connection: asks again as soon as it is answered, until the deadline."""

    def __init__(self, request: bytes, deadline_s: float, tally: _Tally) -> None:
        self._request = request
        self._deadline_s = deadline_s
        self._tally = tally
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._asked_s = 0.0
        self.ended = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._ask()

    def _ask(self) -> None:
        assert self._transport is not None
        self._asked_s = time.perf_counter()
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        now = time.perf_counter()
        if self._parser.get_status_code() == 200:
            self._tally.latencies_s.append(now - self._asked_s)
        else:
            self._tally.errors += 1
        assert self._transport is not None
        self._parser = httptools.HttpResponseParser(self)
        if now < self._deadline_s:
            self._ask()
        else:
            self._finish()

    def connection_lost(self, _: Exception | None) -> None:
        if not self.ended.done():
            self._tally.errors += 1
            self._finish()

    def _finish(self) -> None:
        self.ended.set_result(None)
        assert self._transport is not None
        self._transport.close()


class _Tally:
    def __init__(self) -> None:
        self.latencies_s: list[float] = []
        self.errors = 0


async def generate_load(plan: LoadPlan) -> LoadResult:
    """Load a server from this process."""
    body = plan.body.encode()
    request = (
        b"POST %s HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
        b"authorization: Bearer %s\r\ncontent-length: %d\r\n\r\n"
        % (plan.path.encode(), KEY.encode(), len(body))
    ) + body
    loop = asyncio.get_running_loop()
    tally = _Tally()
    started_s = time.perf_counter()
    clients = [
        (
            await loop.create_connection(
                lambda: _Client(request, started_s + plan.seconds, tally), "127.0.0.1", plan.port
            )
        )[1]
        for _ in range(plan.clients)
    ]
    await asyncio.gather(*(client.ended for client in clients))
    elapsed_s = time.perf_counter() - started_s
    ordered = sorted(tally.latencies_s) or [0.0]
    return LoadResult(
        requests=len(tally.latencies_s),
        seconds=elapsed_s,
        p50_us=ordered[len(ordered) // 2] * 1e6,
        p99_us=ordered[min(len(ordered) - 1, len(ordered) * 99 // 100)] * 1e6,
        errors=tally.errors,
    )


if __name__ == "__main__":
    asked = msgspec.json.decode(sys.stdin.buffer.read(), type=LoadPlan)
    print(json.dumps(msgspec.to_builtins(uvloop.run(generate_load(asked)))))
