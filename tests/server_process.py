"""A real server in a real process, for tests: `dragoman serve` with a configuration of its own.

with ServerProcess(data_dir, config_toml) as server:
    httpx.get(f"{server.url}/healthz")
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import TracebackType

KEY = "drg_sk_" + "t" * 32
START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 30.0


def children_of(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def is_alive(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    # One that nobody has reaped yet is over all the same.
    return status.rpartition(")")[2].split()[0] != "Z"


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""


class ServerProcess:
    """Starts on entering, stops with SIGTERM on leaving. The port is the kernel's choice."""

    def __init__(
        self,
        data_dir: Path,
        config: str,
        *,
        environment: dict[str, str] | None = None,
        arguments: tuple[str, ...] = (),
        program: tuple[str, ...] = ("-m", "dragoman"),
        log_path: Path | None = None,
    ) -> None:
        """`program` is what Python runs: another one may prepare the server's ways to fail."""
        self._program = program
        self.data_dir = data_dir
        self.key = KEY
        self.port = 0
        self._config = config
        self._environment = environment or {}
        self._arguments = arguments
        self._process: subprocess.Popen[bytes] | None = None
        data_dir.mkdir(parents=True, exist_ok=True)
        self.log_path = log_path or data_dir / "server.log"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def workers(self) -> list[int]:
        """The processes that serve, where there are several, in no order."""
        return [pid for pid in children_of(self.pid) if "dragoman.app.worker" in _command(pid)]

    @property
    def log(self) -> str:
        return self.log_path.read_text(errors="replace")

    def start(self) -> ServerProcess:
        config_path = self.data_dir / "dragoman.toml"
        config_path.write_text(self._config)
        port_path = self.data_dir / "port"
        port_path.unlink(missing_ok=True)
        environment = {
            name: value for name, value in os.environ.items() if not name.startswith("DRAGOMAN_")
        }
        environment |= {
            "DRAGOMAN_CONFIG": str(config_path),
            "DRAGOMAN_DATA_DIR": str(self.data_dir),
            "DRAGOMAN_PORT": "0",
            "DRAGOMAN_BOOTSTRAP_KEY": self.key,
        }
        environment |= self._environment
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, *self._program, "serve", *self._arguments],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._wait_until_ready(port_path)
        return self

    def _wait_until_ready(self, port_path: Path) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline:
            assert self._process is not None
            if self._process.poll() is not None:
                raise AssertionError(
                    f"the server ended with {self._process.returncode}: {self.log}"
                )
            if port_path.exists() and (text := port_path.read_text()):
                self.port = int(text)
                try:
                    urllib.request.urlopen(f"{self.url}/healthz", timeout=5).close()
                except (urllib.error.URLError, OSError):
                    pass
                else:
                    return
            time.sleep(0.02)
        self.kill()
        raise AssertionError(f"the server was not ready in {START_TIMEOUT_S} s: {self.log}")

    def terminate(self) -> None:
        """Ask it to stop, without waiting."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)

    def wait(self, timeout_s: float = STOP_TIMEOUT_S) -> int:
        """Its exit code."""
        assert self._process is not None
        return self._process.wait(timeout_s)

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait(STOP_TIMEOUT_S)

    def stop(self) -> int:
        self.terminate()
        try:
            return self.wait()
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"the server did not stop: {self.log}") from None

    def __enter__(self) -> ServerProcess:
        return self.start()

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._process is not None and self._process.poll() is None:
            self.stop()
