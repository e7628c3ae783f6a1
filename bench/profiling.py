"""Where the gateway's time goes: Python functions by sampling, native code by perf if it is there."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table

from bench.load import LoadPlan, available_generator, run_load
from bench.payloads import request_body
from bench.processes import choose_cores, cpu_s
from bench.sampling import Samples
from bench.servers import Gateway, start_provider

_SECONDS = 8.0
_CLIENTS = 64
_SHOWN = 45


class Profiler:
    """Loads gateways in front of one provider, each under a profiler, and prints what costs most."""

    def __init__(self, folder: Path, console: Console) -> None:
        self._folder = folder
        self._console = console
        self._core, self._load_core = choose_cores()
        self._provider, self._provider_port = start_provider(self._load_core, folder)

    def close(self) -> None:
        self._provider.stop()

    def _load(self, gateway: Gateway, *, stream: bool) -> float:
        """CPU seconds a request."""
        plan = LoadPlan(
            port=gateway.port,
            path=gateway.path,
            body=request_body(stream=stream).decode(),
            clients=_CLIENTS,
            seconds=_SECONDS,
        )
        before_s = cpu_s(gateway.process.pid)
        load = run_load(
            plan, core=self._load_core, generator=available_generator(), folder=self._folder
        )
        return (cpu_s(gateway.process.pid) - before_s) / load.requests

    def profile_python(self, *, stream: bool) -> None:
        output = self._folder / f"samples-{stream}.json"
        runner = (sys.executable, "-m", "bench.sampling", str(output))
        gateway = Gateway(self._provider_port, self._core, self._folder, runner=runner)
        try:
            gateway.first_completion_s()
            os.kill(gateway.process.pid, signal.SIGUSR1)
            request_s = self._load(gateway, stream=stream)
        finally:
            gateway.process.stop()
        samples = msgspec.json.decode(output.read_bytes(), type=Samples)
        kind = "stream" if stream else "request"
        self._console.print(
            f"\n[bold]Python functions, µs of the {request_s * 1e6:.0f} µs of CPU a {kind}, "
            "waiting included in asyncio's run"
        )
        self._console.print(_table(samples, request_s * 1e6))

    def profile_native(self, *, stream: bool) -> None:
        gateway = Gateway(self._provider_port, self._core, self._folder)
        output = self._folder / f"perf-{stream}"
        record = ["perf", "record", "-q", "-F", "1999", "-o", str(output)]
        try:
            gateway.first_completion_s()
            with subprocess.Popen(
                [*record, "-p", str(gateway.process.pid)], stderr=subprocess.DEVNULL
            ) as recorder:
                self._load(gateway, stream=stream)
                recorder.terminate()
        finally:
            gateway.process.stop()
        kind = "streams" if stream else "requests"
        for sort in ("dso", "dso,symbol"):
            self._console.print(f"\n[bold]perf, {kind}, by {sort}")
            report = subprocess.run(
                ["perf", "report", "-i", str(output), "--stdio", "--sort", sort],
                check=True,
                capture_output=True,
                text=True,
            ).stdout
            lines = [line for line in report.splitlines() if line.strip() and line[0] != "#"]
            self._console.print("\n".join(lines[:25]), markup=False, highlight=False)


def _table(samples: Samples, request_us: float) -> Table:
    table = Table()
    table.add_column("own", justify="right")
    table.add_column("with callees", justify="right")
    table.add_column("function", overflow="fold")

    def share(count: int) -> str:
        return f"{count / samples.total * request_us:.1f}"

    # First by own time, then by the whole: the two answer different questions.
    by_own = sorted(samples.own, key=samples.own.__getitem__, reverse=True)
    for name in by_own[:_SHOWN]:
        table.add_row(share(samples.own[name]), share(samples.with_callees[name]), name)
    table.add_section()
    by_whole = sorted(samples.with_callees, key=samples.with_callees.__getitem__, reverse=True)
    # What is on the stack all the time is only how the server was started.
    inner = [name for name in by_whole if samples.with_callees[name] < 0.95 * samples.total]
    for name in inner[:_SHOWN]:
        table.add_row(share(samples.own.get(name, 0)), share(samples.with_callees[name]), name)
    return table


def profile(folder: Path, console: Console) -> None:
    """Load the gateway under each profiler in turn, streamed and not, and print what costs most."""
    profiler = Profiler(folder, console)
    try:
        for stream in (False, True):
            profiler.profile_python(stream=stream)
            if shutil.which("perf"):
                profiler.profile_native(stream=stream)
    finally:
        profiler.close()
