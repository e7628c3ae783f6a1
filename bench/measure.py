"""What is measured of one server, and how: CPU time over requests, the least of several passes."""

from __future__ import annotations

import statistics
from pathlib import Path

import msgspec

from bench.load import Generator, LoadPlan, LoadResult, run_load
from bench.payloads import STREAM_EVENTS, request_body
from bench.processes import busy_core_s, cpu_s, resident_mib
from bench.servers import Gateway, Server

CLIENTS = (16, 64, 1)
STREAM_CLIENTS = 16


class Effort(msgspec.Struct, frozen=True, kw_only=True):
    """How long to measure. Passes differ by a quarter on a shared machine, hence the least."""

    seconds: float = 3.0
    passes: int = 3


class Bench(msgspec.Struct, frozen=True, kw_only=True):
    """Where the load runs, and with what."""

    server_core: int
    load_core: int
    generator: Generator
    folder: Path
    effort: Effort


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One server's figures."""

    server: str
    features: tuple[str, ...]
    cpu_us: dict[int, float]
    """CPU per non-streamed request, by how many clients ask at once."""
    requests_per_s: float
    """With the most clients."""
    p50_us: float
    p99_us: float
    """Latency with one client."""
    stream_cpu_us: float
    """CPU per stream whose events arrive in one burst."""
    resident_mib: float
    """After all of the load."""
    disturbance: float
    """The share of the server's core that other work took: the median of all passes."""


class Sample(msgspec.Struct, frozen=True):
    cpu_us: float
    disturbance: float
    load: LoadResult


def measure(server: Server, bench: Bench) -> Row:
    """Load `server` in every way; raises `RuntimeError` when any answer is not a success."""
    plain = {
        clients: _passes(server, bench, request_body(stream=False, model=server.model), clients)
        for clients in CLIENTS
    }
    streamed_body = request_body(stream=True, model=server.model)
    streamed = _passes(server, bench, streamed_body, STREAM_CLIENTS)
    return Row(
        server=server.name,
        features=server.features(),
        cpu_us={clients: _least_cpu_us(samples) for clients, samples in plain.items()},
        requests_per_s=max(
            sample.load.requests / sample.load.seconds for sample in plain[max(CLIENTS)]
        ),
        p50_us=min(sample.load.p50_us for sample in plain[1]),
        p99_us=min(sample.load.p99_us for sample in plain[1]),
        stream_cpu_us=_least_cpu_us(streamed),
        resident_mib=resident_mib(server.process.pid),
        disturbance=statistics.median(
            sample.disturbance for samples in (*plain.values(), streamed) for sample in samples
        ),
    )


def _least_cpu_us(samples: list[Sample]) -> float:
    return min(sample.cpu_us for sample in samples)


def _passes(server: Server, bench: Bench, body: bytes, clients: int) -> list[Sample]:
    plan = LoadPlan(
        port=server.port,
        path=server.path,
        body=body.decode(),
        clients=clients,
        seconds=bench.effort.seconds,
    )
    # Connections, caches and the interpreter's inline caches are warm when counting begins.
    warm_up = msgspec.structs.replace(plan, seconds=min(1.0, plan.seconds))
    run_load(warm_up, core=bench.load_core, generator=bench.generator, folder=bench.folder)
    samples = [_sample(server, bench, plan) for _ in range(bench.effort.passes)]
    # On a very busy machine the load may not have run at all for a second.
    useful = [sample for sample in samples if sample is not None]
    if not useful:
        raise RuntimeError(f"{server.name} answered nothing within {plan.seconds:g} s")
    return useful


def _sample(server: Server, bench: Bench, plan: LoadPlan) -> Sample | None:
    server.process.require_running()
    used_s, core_s = -cpu_s(server.process.pid), -busy_core_s(bench.server_core)
    load = run_load(plan, core=bench.load_core, generator=bench.generator, folder=bench.folder)
    used_s += cpu_s(server.process.pid)
    core_s += busy_core_s(bench.server_core)
    if not load.requests:
        return None
    return Sample(used_s * 1e6 / load.requests, max(0.0, core_s - used_s) / load.seconds, load)


class StartTimes(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds from process start to the first whole answer, the embedded model off."""

    first_s: float
    """With an empty data folder: the database is made, and a key."""
    second_s: float
    """With the folder that the first left: the least of several."""


def measure_starts(provider_port: int, core: int, folder: Path, starts: int) -> StartTimes:
    def start_s() -> float:
        gateway = Gateway(provider_port, core, folder)
        try:
            return gateway.first_completion_s()
        finally:
            gateway.process.stop()

    return StartTimes(first_s=start_s(), second_s=min(start_s() for _ in range(starts)))


__all__ = ["STREAM_EVENTS", "Bench", "Effort", "Row", "StartTimes", "measure", "measure_starts"]
