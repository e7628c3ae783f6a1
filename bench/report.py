"""The figures as a table for people and as JSON for machines."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table

from bench.measure import CLIENTS, STREAM_CLIENTS, STREAM_EVENTS, Row, StartTimes
from bench.payloads import ANSWER_BYTES, REQUEST_BYTES


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """Without which no figure means anything."""

    cpu: str
    cores: int
    kernel: str
    python: str
    load_average: float
    """When the run began: other work on the machine makes all figures worse."""
    generator: str
    is_core_shared: bool
    """Server and load had to share one core."""


class Report(msgspec.Struct, frozen=True, kw_only=True):
    machine: Machine
    rows: tuple[Row, ...]
    starts: StartTimes | None
    notes: tuple[str, ...] = ()


def describe_machine(generator: str, *, is_core_shared: bool) -> Machine:
    return Machine(
        cpu=_cpu_name(),
        cores=len(os.sched_getaffinity(0)),
        kernel=platform.release(),
        python=platform.python_version(),
        load_average=os.getloadavg()[0],
        generator=generator,
        is_core_shared=is_core_shared,
    )


def _cpu_name() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def print_report(report: Report, console: Console) -> None:
    machine = report.machine
    console.print(
        f"{machine.cpu}, {machine.cores} cores, Linux {machine.kernel}, Python {machine.python}",
        highlight=False,
    )
    console.print(
        f"Load by {machine.generator}; load average at the start {machine.load_average:.2f}; "
        "the least of all passes",
        highlight=False,
    )
    if machine.is_core_shared:
        console.print("One core only: server and load share it, so latencies and rates are low.")
    console.print(_table(report))
    for note in report.notes:
        console.print(note)


def _table(report: Report) -> Table:
    table = Table()
    table.add_column(f"request {REQUEST_BYTES} B, answer {ANSWER_BYTES} B")
    for row in report.rows:
        table.add_column(row.server, justify="right")

    def add(title: str, show: Callable[[Row], str]) -> None:
        table.add_row(title, *(show(row) for row in report.rows))

    def show_cpu(clients: int) -> Callable[[Row], str]:
        return lambda row: f"{row.cpu_us[clients]:.0f}"

    for clients in CLIENTS:
        add(f"CPU µs a request, {_counted(clients)}", show_cpu(clients))
    add(
        f"CPU µs a stream of {STREAM_EVENTS} events in a burst, {_counted(STREAM_CLIENTS)}",
        lambda row: f"{row.stream_cpu_us:.0f}",
    )
    add(f"requests/s, {_counted(max(CLIENTS))}", lambda row: f"{row.requests_per_s:,.0f}")
    add("latency p50 / p99 µs, 1 client", lambda row: f"{row.p50_us:.0f} / {row.p99_us:.0f}")
    add("resident MiB after the load", lambda row: f"{row.resident_mib:.0f}")
    if report.starts is not None:
        starts = {"dragoman": report.starts}
        add(
            "s from start to first completion, empty data folder",
            lambda row: f"{starts[row.server].first_s:.2f}" if row.server in starts else "",
        )
        add(
            "s from start to first completion, later starts",
            lambda row: f"{starts[row.server].second_s:.2f}" if row.server in starts else "",
        )
    add("server's core taken by other work", lambda row: f"{row.disturbance:.0%}")
    add("features on", lambda row: "\n".join(row.features) or "none")
    return table


def _counted(clients: int) -> str:
    return f"{clients} client" if clients == 1 else f"{clients} clients"
