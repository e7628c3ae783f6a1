"""One line per request: gathered in memory, written a few times a second.

Writing is a thread's business, since whoever reads the log may be slow; at most `FLUSH_S` of lines is
lost with the process. What waits is plain text, which the garbage collector has no interest in.
Never the content, never a key.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import queue
import sys
import threading
from typing import IO, Literal

import msgspec

from dragoman.errors import DragomanError
from dragoman.ports import Clock
from dragoman.web.call import Call

FLUSH_S = 0.25
MAX_WAITING_TEXTS = 64
"""Flushes that may wait for a slow reader of the log."""
CLOSE_WAIT_S = 1.0
MAX_PATH_CHARS = 200
MAX_WAITING_LINES = 20_000
"""More than that within one flush are counted, not kept."""


class RequestLine(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    time_s: float
    request_id: str
    method: str
    path: str
    status: int
    total_ms: float
    error: str | None = None
    detail: str | None = None


class RequestLog:
    """`level`: `info` logs every request, `warning` those that failed on our side, `error` none."""

    def __init__(
        self,
        clock: Clock,
        *,
        layout: Literal["console", "json"] = "console",
        level: Literal["debug", "info", "warning", "error"] = "info",
        out: IO[str] | None = None,
    ) -> None:
        self._clock = clock
        self._layout = layout
        self._least_status = {"debug": 0, "info": 0, "warning": 500, "error": 1000}[level]
        self._out = out or sys.stderr
        self._waiting: list[str] = []
        self._dropped = 0
        self._timer: asyncio.TimerHandle | None = None
        self._texts: queue.Queue[str | None] = queue.Queue(MAX_WAITING_TEXTS)
        self._writer: threading.Thread | None = None
        self._encode = msgspec.json.Encoder().encode

    def record(self, call: Call, total_s: float, error: DragomanError | None) -> None:
        status = call.status or 499  # nginx's number for a client that left before any answer
        if status < self._least_status:
            return
        if len(self._waiting) >= MAX_WAITING_LINES:
            self._dropped += 1
            return
        line = RequestLine(
            self._clock.unix_s(),
            call.request_id,
            call.method,
            call.path,
            status,
            total_s * 1000,
            error.code if error is not None else None,
            error.detail if error is not None else None,
        )
        if self._layout == "json":
            self._waiting.append(self._encode(line).decode() + "\n")
        else:
            self._waiting.append(_for_people(line))
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(FLUSH_S, self.flush)

    def flush(self, wait_s: float = 0.0) -> None:
        """Hand what is waiting to the writer."""
        self._timer = None
        lines, self._waiting = self._waiting, []
        count = len(lines)
        if self._dropped:
            lines.append(f"{self._dropped} more requests were not logged\n")
        if self._writer is None:
            self._writer = threading.Thread(target=self._write, name="request-log", daemon=True)
            self._writer.start()
        try:
            self._texts.put("".join(lines), block=wait_s > 0, timeout=wait_s)
        except queue.Full:
            self._dropped += count
        else:
            self._dropped = 0

    def _write(self) -> None:
        while (text := self._texts.get()) is not None:
            try:
                self._out.write(text)
                self._out.flush()
            except (OSError, ValueError):
                # Nobody reads the log any more; requests are answered all the same.
                return

    def close(self) -> None:
        """Write the rest, unless that takes too long."""
        if self._timer is not None:
            self._timer.cancel()
        self.flush(CLOSE_WAIT_S)
        with contextlib.suppress(queue.Full):
            self._texts.put(None, timeout=CLOSE_WAIT_S)
        if self._writer is not None:
            self._writer.join(CLOSE_WAIT_S)


def _for_people(line: RequestLine) -> str:
    path = _printable(line.path[:MAX_PATH_CHARS])
    text = f"{line.request_id} {line.method} {path} {line.status} {line.total_ms:.1f} ms"
    if line.error is not None:
        text += f" {line.error}"
    if line.detail is not None:
        text += f" ({_printable(line.detail)})"
    return text + "\n"


def _printable(text: str) -> str:
    """`text` without what could begin another line, or speak to a terminal."""
    return text if text.isprintable() else ascii(text)


class LogLine(msgspec.Struct, frozen=True):
    time_s: float
    level: str
    logger: str
    message: str


class JsonLogFormatter(logging.Formatter):
    """Every other log record as one JSON object a line, like the request log's."""

    def format(self, record: logging.LogRecord) -> str:
        line = LogLine(record.created, record.levelname.lower(), record.name, record.getMessage())
        return msgspec.json.encode(line).decode()
