"""A terminal with somebody at it, for programs that ask whether there is one."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import subprocess
import sys
import termios
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType


class Terminal:
    """Runs `dragoman` with a pseudo-terminal as its input, output and controlling terminal."""

    def __init__(self, arguments: list[str], env: Mapping[str, str], cwd: Path) -> None:
        self._own, other = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "dragoman", *arguments],
            env=dict(env) | {"TERM": "xterm"},
            cwd=cwd,
            stdin=other,
            stdout=other,
            stderr=other,
            start_new_session=True,
            # One system call, which takes no lock that another thread could hold.
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509
        )
        os.close(other)
        self._unread = ""

    def enter(self, text: str) -> None:
        os.write(self._own, text.encode())

    def read_until(self, text: str, timeout_s: float = 30) -> str:
        """What came up to and with `text`."""
        deadline = time.monotonic() + timeout_s
        while text not in self._unread:
            ready, _, _ = select.select([self._own], [], [], max(0, deadline - time.monotonic()))
            if not ready:
                raise AssertionError(f"{text!r} did not come, but {self._unread!r}")
            try:
                data = os.read(self._own, 65536)
            except OSError:  # the program ended
                data = b""
            if not data:
                raise AssertionError(f"{text!r} did not come before the end: {self._unread!r}")
            self._unread += data.decode(errors="replace")
        end = self._unread.index(text) + len(text)
        seen, self._unread = self._unread[:end], self._unread[end:]
        return seen

    def __enter__(self) -> Terminal:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self._own)
