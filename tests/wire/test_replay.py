"""Every golden transcript, replayed: `README.md` describes their form."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.wire.replay import WIRE, Case, canonical_form, cases, frames, vendor_check

from dragoman.chat import ChatRequest
from dragoman.errors import DragomanError


@pytest.mark.parametrize("folder", list(cases()), ids=lambda folder: str(folder.relative_to(WIRE)))
def test_transcript(folder: Path) -> None:
    case = Case(folder)
    failed: DragomanError | None = None
    try:
        request = case.request()
        _check_request(case, request)
        if not case.is_answered:
            pytest.fail("the request should have been refused")
        events = case.provider_events()
    except DragomanError as error:
        failed = error
    if failed is not None:
        assert case.dialect.error_status(failed) == case.settings.status, failed.message
        body = case.dialect.encode_error(failed, case.head.request_id)
        assert json.loads(body) == case.read_json("response.json")
        return
    assert case.settings.status == 200
    answer = case.answer(request, events)
    if request.stream:
        expected = case.read("response.sse")
        assert expected is not None
        assert frames(answer) == frames(expected)
        vendor_check(folder.parent.name, "check_stream", answer)
    else:
        assert json.loads(answer) == case.read_json("response.json")
        vendor_check(folder.parent.name, "check_response", answer)


def _check_request(case: Case, request: ChatRequest) -> None:
    expected = case.read_json("canonical.json")
    if expected is not None:
        assert canonical_form(request) == expected
    expected = case.read_json("provider_request.json")
    if expected is not None:
        sent = case.upstream.encode_request(request, case.model, case.row, stream=request.stream)
        assert json.loads(sent) == expected
