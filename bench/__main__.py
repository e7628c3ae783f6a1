"""`python -m bench`: measure, print a table, and optionally write the figures as JSON."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import msgspec
from rich.console import Console

from bench.load import Generator, available_generator
from bench.measure import Bench, Effort, Row, measure, measure_starts
from bench.processes import choose_cores
from bench.profiling import profile
from bench.report import Report, describe_machine, print_report
from bench.servers import Gateway, Nginx, Server, nginx_binary, start_provider

QUICK = Effort(seconds=1.0, passes=1)


def main() -> None:
    options = _parse_options()
    console = Console()
    with tempfile.TemporaryDirectory(prefix="dragoman-bench-") as name:
        folder = Path(name)
        if options.profile:
            profile(folder, console)
            return
        report = _run(options, folder, console)
    print_report(report, console)
    if options.json is not None:
        options.json.write_bytes(msgspec.json.format(msgspec.json.encode(report)))


def _parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    parser.add_argument("--quick", action="store_true", help="one short pass: for trying it out")
    parser.add_argument("--seconds", type=float, help="length of each pass (default 3)")
    parser.add_argument("--passes", type=int, help="passes, of which the least counts (default 3)")
    parser.add_argument("--load", choices=["wrk", "own"], help="default: wrk where installed")
    parser.add_argument("--only", choices=["nginx", "dragoman"], help="measure this one alone")
    parser.add_argument("--profile", action="store_true", help="show where Dragoman's time goes")
    return parser.parse_args()


def _run(options: argparse.Namespace, folder: Path, console: Console) -> Report:
    server_core, load_core = choose_cores()
    effort = QUICK if options.quick else Effort()
    effort = Effort(
        seconds=options.seconds or effort.seconds, passes=options.passes or effort.passes
    )
    generator: Generator = options.load or available_generator()
    bench = Bench(
        server_core=server_core,
        load_core=load_core,
        generator=generator,
        folder=folder,
        effort=effort,
    )
    machine = describe_machine(generator, is_core_shared=server_core == load_core)
    provider, provider_port = start_provider(load_core, folder)
    notes: list[str] = []
    rows: list[Row] = []
    starts = None
    try:
        if options.only != "dragoman":
            if nginx_binary() is None:
                notes.append("nginx is not installed: no row to compare with.")
            else:
                rows.append(
                    _measure(lambda: Nginx(provider_port, server_core, folder), bench, console)
                )
        if options.only != "nginx":
            with console.status("start times …"):
                starts = measure_starts(provider_port, server_core, folder, effort.passes)
            for accounting, logs_requests, asks_project in (
                (False, False, False),
                (True, False, False),
                (True, True, False),
                (True, False, True),
            ):
                start = partial(
                    _ready,
                    provider_port,
                    server_core,
                    folder,
                    accounting=accounting,
                    logs_requests=logs_requests,
                    asks_project=asks_project,
                )
                rows.append(_measure(start, bench, console))
    finally:
        provider.stop()
    return Report(machine=machine, rows=tuple(rows), starts=starts, notes=tuple(notes))


def _ready(
    provider_port: int,
    core: int,
    folder: Path,
    *,
    accounting: bool,
    logs_requests: bool,
    asks_project: bool,
) -> Gateway:
    gateway = Gateway(
        provider_port,
        core,
        folder,
        accounting=accounting,
        logs_requests=logs_requests,
        asks_project=asks_project,
    )
    gateway.first_completion_s()
    return gateway


def _measure(start: Callable[[], Server], bench: Bench, console: Console) -> Row:
    with console.status("measuring …") as status:
        server = start()
        status.update(f"measuring {server.name} …")
        try:
            return measure(server, bench)
        finally:
            server.process.stop()


if __name__ == "__main__":
    main()
