"""One of several processes that serve, started by `supervising`: `python -m dragoman.app.worker`.

Its orders come as one line of JSON on standard input, so that no secret is in the argument list or the
environment. Standard input then stays open as a lifeline: at its end the parent is gone, and the worker
stops at once. One line on standard output says that it takes connections.
"""

from __future__ import annotations

import asyncio
import io
import os
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from dragoman.config import Config

READY_LINE = b"ready\n"
PIPE_BUF_BYTES = 4096
"""What a pipe takes in one piece: https://man7.org/linux/man-pages/man7/pipe.7.html"""
STDIN, STDOUT, STDERR = 0, 1, 2


class Orders(msgspec.Struct, frozen=True, kw_only=True):
    index: int
    """Which worker this is, counted from 0; the one that takes a dead one's place has its index."""
    connections_fd: int
    """Where connections are handed over."""
    engine_fd: int | None
    """Leads to the engines; `None` where there are none."""
    config: Config

    def __repr__(self) -> str:
        return f"Orders({self.index})"


def encode_orders(orders: Orders) -> bytes:
    return msgspec.json.encode(orders, enc_hook=str) + b"\n"


def decode_orders(line: bytes) -> Orders:
    def revive(kind: type, value: Any) -> Any:
        if kind is not Path:
            raise NotImplementedError(kind)
        return Path(value)

    return msgspec.json.decode(line, type=Orders, dec_hook=revive)


class WholeLines(io.TextIOBase):
    """Writes lines so that those of several processes do not run into each other in a pipe."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def write(self, text: str) -> int:
        data = text.encode(errors="backslashreplace")
        while len(data) > PIPE_BUF_BYTES:
            end = data.rfind(b"\n", 0, PIPE_BUF_BYTES) + 1 or PIPE_BUF_BYTES
            self._write(data[:end])
            data = data[end:]
        self._write(data)
        return len(text)

    def _write(self, data: bytes) -> None:
        while data:
            data = data[os.write(self._fd, data) :]

    def fileno(self) -> int:
        return self._fd


def main() -> None:
    orders = decode_orders(_read_line())
    # Whatever is printed goes to the log, never between us and the parent.
    report = os.dup(STDOUT)
    os.dup2(STDERR, STDOUT)
    sys.stderr = WholeLines(STDERR)

    from dragoman.app.serving import Seat, serve_seat  # noqa: PLC0415 - a bad order costs no imports
    from dragoman.web.handover import HandedConnections  # noqa: PLC0415
    from dragoman.web.server import Stop  # noqa: PLC0415

    def when_ready() -> None:
        # A parent that is gone is the lifeline's business.
        with suppress(BrokenPipeError):
            os.write(report, READY_LINE)
        os.close(report)

    def take_seat() -> Seat:
        stop = Stop()
        _watch_lifeline(stop.ask)
        link = None if orders.engine_fd is None else socket.socket(fileno=orders.engine_fd)
        handed = HandedConnections(socket.socket(fileno=orders.connections_fd))
        return Seat(orders.index, handed, stop, when_ready, link)

    serve_seat(orders.config, take_seat)


def _read_line() -> bytes:
    """The first line of standard input; ends the process where there is none."""
    line = b""
    while not line.endswith(b"\n"):
        data = os.read(STDIN, 65536)
        if not data:
            sys.exit(0)
        line += data
    return line


def _watch_lifeline(ask_to_stop: Callable[[], None]) -> None:
    loop = asyncio.get_running_loop()

    def on_readable() -> None:
        if os.read(STDIN, 1):
            return
        loop.remove_reader(STDIN)
        # Nobody listens any more, and another server may already be starting: no grace.
        ask_to_stop()
        ask_to_stop()

    loop.add_reader(STDIN, on_readable)


if __name__ == "__main__":
    main()
