"""One line per request, whoever reads them, and however slowly."""

from __future__ import annotations

import asyncio
import io
import json
import threading
from typing import Any

import pytest

from dragoman.errors import DragomanError, InvalidRequest, ProviderGarbled
from dragoman.web.call import Call
from dragoman.web.request_log import MAX_WAITING_TEXTS, RequestLog

REQUEST_ID = "req_0123456789abcdef01234567"


class FixedClock:
    def monotonic_s(self) -> float:
        return 1.0

    def unix_s(self) -> float:
        return 1_700_000_000.0


async def nothing(*_: Any) -> Any:
    return {"type": "http.disconnect"}


def call(path: str = "/v1/models", status: int = 200) -> Call:
    scope = {"method": "GET", "path": path, "headers": []}
    made = Call(scope, nothing, nothing, REQUEST_ID)
    made.status = status
    return made


def logged(error: DragomanError | None = None, **settings: Any) -> str:
    out = io.StringIO()
    log = RequestLog(FixedClock(), out=out, **settings)
    status = error.status if error is not None else 200
    log.record(call("/v1/models\x1b[2J\nfake line", status), 0.0123, error)
    log.close()
    return out.getvalue()


async def test_a_line_for_people_is_one_line_whatever_the_path_and_the_detail_hold() -> None:
    text = logged(ProviderGarbled(detail="broken\nGET /admin 200"))
    assert text.count("\n") == 1
    assert "\x1b" not in text
    assert " 503 12.3 ms provider_garbled " in text


async def test_a_line_for_programs_is_json() -> None:
    line = json.loads(logged(InvalidRequest("no"), layout="json"))
    assert line["status"] == 400
    assert line["error"] == "invalid_request"
    assert line["path"] == "/v1/models\x1b[2J\nfake line"
    assert line["request_id"].startswith("req_")


async def test_the_level_says_which_requests_are_logged() -> None:
    assert logged(level="warning") == ""
    assert logged(InvalidRequest("no"), level="warning") == ""
    assert logged(ProviderGarbled(), level="warning") != ""
    assert logged(ProviderGarbled(), level="error") == ""


class StuckPipe(io.StringIO):
    """A log that nobody reads, until somebody does."""

    def __init__(self) -> None:
        super().__init__()
        self.is_read = threading.Event()

    def write(self, text: str) -> int:
        self.is_read.wait(10)
        return super().write(text)


async def test_a_log_that_nobody_reads_holds_up_no_request_and_says_what_it_lost() -> None:
    out = StuckPipe()
    log = RequestLog(FixedClock(), out=out)
    for _ in range(MAX_WAITING_TEXTS + 10):
        log.record(call(), 0.0, None)
        log.flush()
    out.is_read.set()
    log.close()
    assert "requests were not logged" in out.getvalue()
    kept = out.getvalue().count(" /v1/models 200 ")
    assert MAX_WAITING_TEXTS <= kept < MAX_WAITING_TEXTS + 10


async def test_a_log_that_is_gone_ends_nothing() -> None:
    out = io.StringIO()
    out.close()
    log = RequestLog(FixedClock(), out=out)
    log.record(call(), 0.0, None)
    log.close()
    log.record(call(), 0.0, None)
    log.close()
    assert not any(thread.name == "request-log" for thread in threading.enumerate())


@pytest.mark.parametrize("layout", ["console", "json"])
async def test_lines_are_written_without_being_asked_for(layout: Any) -> None:
    written = threading.Event()

    class Watched(io.StringIO):
        def flush(self) -> None:
            written.set()

    log = RequestLog(FixedClock(), layout=layout, out=Watched())
    log.record(call(), 0.0, None)
    assert await asyncio.to_thread(written.wait, 10)
    log.close()
