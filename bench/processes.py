"""Child processes on chosen cores, and what the kernel says of their CPU time and memory."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_STOP_S = 10.0


def choose_cores() -> tuple[int, int]:
    """The server's core and the load's: the same one where there is no second."""
    cores = sorted(os.sched_getaffinity(0))
    return cores[0], cores[-1]


def on_core(core: int) -> tuple[str, ...]:
    """What to put before a command so that it, and all that it starts, runs on `core`."""
    return ("taskset", "-c", str(core))


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


class Process:
    """A child process pinned to `core`, in a group of its own; its output goes to `log`."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        core: int,
        log: Path,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._log = log
        with log.open("ab") as output:
            self._child = subprocess.Popen(
                [*on_core(core), *command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=None if environment is None else {**os.environ, **environment},
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self._child.pid

    def wait_for_port(self, port: int, *, patience_s: float = 30.0) -> None:
        """Return when something listens on `port`; raise if the process ends, or takes too long."""
        deadline = time.monotonic() + patience_s
        while time.monotonic() < deadline:
            self.require_running()
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1.0):
                return
            time.sleep(0.002)
        raise RuntimeError(f"nothing listens on port {port}:\n{self._last_words()}")

    def require_running(self) -> None:
        if self._child.poll() is not None:
            raise RuntimeError(
                f"{self._child.args!r} ended with {self._child.returncode}:\n{self._last_words()}"
            )

    def wait_to_tell(self) -> None:
        """After a cut connection: raise what the process said if it is ending."""
        with suppress(subprocess.TimeoutExpired):
            self._child.wait(1.0)
        self.require_running()

    def stop(self) -> int:
        """Ask it to stop, insist after a while; its exit status."""
        if self._child.poll() is None:
            self._child.send_signal(signal.SIGTERM)
            try:
                self._child.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                os.killpg(self._child.pid, signal.SIGKILL)
        return self._child.wait()

    def _last_words(self) -> str:
        return self._log.read_text(errors="replace")[-2000:]


def process_tree(pid: int) -> list[int]:
    """`pid` and all its descendants."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                # The name, in brackets, may hold spaces: fields are counted from its end.
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                children.setdefault(int(fields[1]), []).append(int(entry.name))
    tree = [pid]
    for member in tree:
        tree += children.get(member, [])
    return tree


def cpu_s(pid: int) -> float:
    """CPU seconds that `pid` and its descendants have used.

    From the scheduler's nanoseconds where the kernel keeps them, else from clock ticks (10 ms).
    """
    return sum(_precise_cpu_s(member) or _ticked_cpu_s(member) for member in process_tree(pid))


def _precise_cpu_s(pid: int) -> float:
    total_ns = 0
    with suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            with suppress(OSError):
                total_ns += int((task / "schedstat").read_text().split()[0])
    return total_ns / 1e9


def _ticked_cpu_s(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S


def busy_core_s(core: int) -> float:
    """Seconds that `core` was not idle since the machine's start.

    https://docs.kernel.org/filesystems/proc.html#miscellaneous-kernel-statistics-in-proc-stat
    """
    for line in Path("/proc/stat").read_text().splitlines():
        name, *ticks = line.split()
        if name == f"cpu{core}":
            user, nice, system, _, _, irq, soft_irq, steal = map(int, ticks[:8])
            return (user + nice + system + irq + soft_irq + steal) / _TICKS_PER_S
    raise RuntimeError(f"/proc/stat does not know core {core}")


def resident_mib(pid: int) -> float:
    """Resident memory of `pid` and its descendants; shared pages count once for each."""
    page_bytes = os.sysconf("SC_PAGE_SIZE")
    pages = 0
    for member in process_tree(pid):
        with suppress(OSError):
            pages += int(Path(f"/proc/{member}/statm").read_text().split()[1])
    return pages * page_bytes / 2**20
