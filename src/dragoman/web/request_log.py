"""One line per request: gathered in memory, written a few times a second.

Formatting and writing stay off the request path; at most `FLUSH_S` of lines is lost with the process.
Never the content, never a key.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from typing import IO, Literal

import msgspec

from dragoman.errors import DragomanError
from dragoman.ports import Clock
from dragoman.web.call import Call

FLUSH_S = 0.25
MAX_WAITING_LINES = 20_000
"""More than that within one flush are counted, not kept."""


class RequestLine(msgspec.Struct, frozen=True, omit_defaults=True):
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
        self._waiting: list[RequestLine] = []
        self._dropped = 0
        self._timer: asyncio.TimerHandle | None = None
        self._encode = msgspec.json.Encoder().encode

    def record(self, call: Call, total_s: float, error: DragomanError | None) -> None:
        status = call.status or 499  # nginx's number for a client that left before any answer
        if status < self._least_status:
            return
        if len(self._waiting) >= MAX_WAITING_LINES:
            self._dropped += 1
            return
        self._waiting.append(
            RequestLine(
                self._clock.unix_s(),
                call.request_id,
                call.method,
                call.path,
                status,
                total_s * 1000,
                error.code if error is not None else None,
                error.detail if error is not None else None,
            )
        )
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(FLUSH_S, self.flush)

    def flush(self) -> None:
        """Write what is waiting."""
        self._timer = None
        lines, self._waiting = self._waiting, []
        if self._layout == "json":
            text = "".join([self._encode(line).decode() + "\n" for line in lines])
        else:
            text = "".join([_for_people(line) for line in lines])
        if self._dropped:
            text += f"{self._dropped} more requests were not logged\n"
            self._dropped = 0
        self._out.write(text)
        self._out.flush()


def _for_people(line: RequestLine) -> str:
    path = line.path if line.path.isprintable() else ascii(line.path)
    text = f"{line.request_id} {line.method} {path[:200]} {line.status} {line.total_ms:.1f} ms"
    if line.error is not None:
        text += f" {line.error}"
    if line.detail is not None:
        text += f" ({line.detail})"
    return text + "\n"


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
