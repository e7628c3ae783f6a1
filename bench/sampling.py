"""Runs the gateway and notes, each millisecond, which Python functions are active.

`python -m bench.sampling FILE ARGUMENTS…` is `dragoman ARGUMENTS…` under this sampler; the notes go
to FILE as JSON. Sampling leaves the weights as they are, where a tracing profiler adds its own cost
to every call. Time in C counts for the Python function that called it; the event loop's own, and its
waiting, for the function that runs the loop.
"""

from __future__ import annotations

import signal
import sys
from collections import Counter
from pathlib import Path
from types import FrameType

import msgspec

INTERVAL_S = 0.001


class Samples(msgspec.Struct):
    """How many samples found each function: on top of the stack, and anywhere on it."""

    total: int
    own: dict[str, int]
    with_callees: dict[str, int]


class _Sampler:
    def __init__(self) -> None:
        self.total = 0
        self.own: Counter[str] = Counter()
        self.with_callees: Counter[str] = Counter()

    def start(self) -> None:
        # Not the timers of CPU time: they tick as seldom as every 10 ms.
        signal.signal(signal.SIGALRM, self._take)
        signal.setitimer(signal.ITIMER_REAL, INTERVAL_S, INTERVAL_S)

    def stop(self) -> Samples:
        signal.setitimer(signal.ITIMER_REAL, 0)
        return Samples(self.total, dict(self.own), dict(self.with_callees))

    def clear(self) -> None:
        """Forget the start: what counts is the work under load."""
        self.total = 0
        self.own.clear()
        self.with_callees.clear()

    def _take(self, _: int, frame: FrameType | None) -> None:
        self.total += 1
        seen = set()
        top = True
        while frame is not None:
            name = _name(frame)
            if top:
                self.own[name] += 1
                top = False
            if name not in seen:
                seen.add(name)
                self.with_callees[name] += 1
            frame = frame.f_back


def _name(frame: FrameType) -> str:
    code = frame.f_code
    file = code.co_filename
    for mark in ("/site-packages/", "/src/", "/lib/"):
        if mark in file:
            file = file.rpartition(mark)[2]
            break
    return f"{file}:{code.co_firstlineno} {code.co_qualname}"


def main() -> None:
    output = Path(sys.argv[1])
    sys.argv = ["dragoman", *sys.argv[2:]]
    from dragoman.__main__ import main as run_gateway  # noqa: PLC0415 - not where it is only read

    sampler = _Sampler()
    signal.signal(signal.SIGUSR1, lambda *_: sampler.clear())
    sampler.start()
    try:
        run_gateway()
    finally:
        output.write_bytes(msgspec.json.encode(sampler.stop()))


if __name__ == "__main__":
    main()
