"""Where the gateway's time goes: Python functions by cProfile, native code by perf if it is there."""

from __future__ import annotations

import pstats
import shutil
import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench.load import LoadPlan, available_generator, run_load
from bench.payloads import request_body
from bench.processes import choose_cores
from bench.servers import Gateway, start_provider

_SECONDS = 4.0
_CLIENTS = 64
_SHOWN = 40


def profile(folder: Path, console: Console) -> None:
    """Load the gateway under each profiler in turn, streamed and not, and print what costs most."""
    server_core, load_core = choose_cores()
    provider, provider_port = start_provider(load_core, folder)
    try:
        for stream in (False, True):
            _profile_python(provider_port, (server_core, load_core), folder, console, stream=stream)
            if shutil.which("perf"):
                _profile_native(
                    provider_port, (server_core, load_core), folder, console, stream=stream
                )
    finally:
        provider.stop()


def _load(gateway: Gateway, core: int, folder: Path, *, stream: bool) -> int:
    """How many requests were made."""
    plan = LoadPlan(
        port=gateway.port,
        path=gateway.path,
        body=request_body(stream=stream).decode(),
        clients=_CLIENTS,
        seconds=_SECONDS,
    )
    return run_load(plan, core=core, generator=available_generator(), folder=folder).requests


def _profile_python(
    provider_port: int, cores: tuple[int, int], folder: Path, console: Console, *, stream: bool
) -> None:
    output = folder / f"profile-{stream}"
    runner = (sys.executable, "-m", "cProfile", "-o", str(output), "-m", "dragoman")
    gateway = Gateway(provider_port, cores[0], folder, runner=runner)
    try:
        gateway.first_completion_s()
        requests = _load(gateway, cores[1], folder, stream=stream)
    finally:
        gateway.process.stop()
    kind = "stream" if stream else "request"
    console.print(
        f"\n[bold]Python functions, µs a {kind} (cProfile adds its own cost to each call)"
    )
    table = Table()
    for heading in ("own", "with callees", "calls"):
        table.add_column(heading, justify="right")
    table.add_column("function")
    stats = pstats.Stats(str(output)).stats  # type: ignore[attr-defined]
    ordered = sorted(stats.items(), key=lambda item: item[1][2], reverse=True)
    for (file, line, function), (_, calls, own_s, total_s, _) in ordered[:_SHOWN]:
        table.add_row(
            f"{own_s * 1e6 / requests:.1f}",
            f"{total_s * 1e6 / requests:.1f}",
            f"{calls / requests:.1f}",
            f"{_short(file)}:{line} {function}" if line else function,
        )
    console.print(table)


def _short(file: str) -> str:
    """From the package's name on."""
    for mark in ("/site-packages/", "/src/", "/lib/"):
        if mark in file:
            return file.rpartition(mark)[2]
    return file


def _profile_native(
    provider_port: int, cores: tuple[int, int], folder: Path, console: Console, *, stream: bool
) -> None:
    gateway = Gateway(provider_port, cores[0], folder)
    output = folder / f"perf-{stream}"
    try:
        gateway.first_completion_s()
        with subprocess.Popen(
            [
                "perf",
                "record",
                "-q",
                "-F",
                "1999",
                "-o",
                str(output),
                "-p",
                str(gateway.process.pid),
            ],
            stderr=subprocess.DEVNULL,
        ) as recorder:
            _load(gateway, cores[1], folder, stream=stream)
            recorder.terminate()
    finally:
        gateway.process.stop()
    kind = "streams" if stream else "requests"
    for sort in ("dso", "dso,symbol"):
        console.print(f"\n[bold]perf, {kind}, by {sort}")
        report = subprocess.run(
            [
                "perf",
                "report",
                "-i",
                str(output),
                "--stdio",
                "--sort",
                sort,
                "--percent-limit",
                "0.8",
            ],
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        lines = [line for line in report.splitlines() if line.strip() and not line.startswith("#")]
        console.print("\n".join(lines[:_SHOWN]), markup=False, highlight=False)
