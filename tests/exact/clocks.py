"""Clocks that a test sets, for a server of any number of processes.

They are in a file that all of them map. Each clock shows `rate * the machine's clock + shift`: with a rate
of 0 it stands still at `shift` until it is set, with 1 it runs, that much ahead.

    with ServerProcess(…, environment=clocks.environment) as server:
        clocks.set(unix_s=…)
"""

from __future__ import annotations

import mmap
import os
import struct
import time
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
SITE = Path(__file__).parent / "site"

_LAYOUT = struct.Struct("=dddd")


class Clocks:
    """The server's monotonic clock and its calendar."""

    def __init__(self, path: Path, *, unix_s: float, stands_still: bool) -> None:
        """The calendar stands still at `unix_s`; the monotonic clock stands still too, or runs.

        Where it stands still, whoever waits for a time to come waits in vain.
        """
        # Whole, so that binary fractions of a second are added without rounding.
        now_s = float(int(time.monotonic()))
        rate, shift = (0.0, now_s) if stands_still else (1.0, 0.0)
        path.write_bytes(_LAYOUT.pack(rate, shift, 0.0, unix_s))
        self._path = path
        self._values = _mapped(path)

    @classmethod
    def read(cls, path: str) -> Clocks:
        """For the server's own processes."""
        clocks = cls.__new__(cls)
        clocks._path = Path(path)
        clocks._values = _mapped(clocks._path)
        return clocks

    @property
    def environment(self) -> dict[str, str]:
        return {
            "PYTHONPATH": os.pathsep.join((str(SITE), str(REPOSITORY))),
            "TEST_CLOCKS": str(self._path),
        }

    def install(self) -> None:
        """Be the clocks of this process."""
        from dragoman.app.process import SystemClock  # noqa: PLC0415 - not where tests only set it

        values = self._values

        def monotonic_s() -> float:
            return values[0] * time.monotonic() + values[1]

        def unix_s() -> float:
            return values[2] * time.time() + values[3]

        for read in (monotonic_s, unix_s):
            setattr(SystemClock, read.__name__, staticmethod(read))

    @property
    def unix_s(self) -> float:
        return self._values[3]

    def set(self, *, unix_s: float) -> None:
        """Only the calendar."""
        self._values[3] = unix_s

    def advance(self, seconds: float) -> None:
        """Both."""
        self._values[1] += seconds
        self._values[3] += seconds


def _mapped(path: Path) -> memoryview[float]:
    """As numbers: an aligned one is never half of another process's write."""
    with path.open("r+b") as file:
        return memoryview(mmap.mmap(file.fileno(), _LAYOUT.size)).cast("d")
