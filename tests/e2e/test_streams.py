"""Streams never lie: held headers, honest failures, comments, cuts, pace, and clients that leave."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from tests.conftest import Served
from tests.scripted_provider import Gate, Script, ScriptedProvider

MESSAGES = [{"role": "user", "content": "hi"}]
STREAMED: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"model": "gpt", "messages": MESSAGES, "stream": True},
    "/api/v1/chat/completions": {"model": "gpt", "messages": MESSAGES, "stream": True},
    "/api/v1/completions": {"messages": MESSAGES, "stream": True},
    "/v1/messages": {"model": "gpt", "messages": MESSAGES, "stream": True, "max_tokens": 50},
}
every_path = pytest.mark.parametrize("path", list(STREAMED))
FIVE = ("one", "two", "three", "four", "five")


@pytest.fixture
def http(gateway: Served) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=gateway.url, headers=gateway.headers, timeout=20) as client:
        yield client


def frames_of(text: str) -> list[Any]:
    """The JSON of every data frame; `[DONE]` stays text."""
    payloads = [line[6:] for line in text.splitlines() if line.startswith("data: ")]
    return [payload if payload == "[DONE]" else json.loads(payload) for payload in payloads]


def looks_finished(path: str, text: str) -> bool:
    """Whether a client of the path's dialect would take the answer for complete."""
    for frame in frames_of(text):
        if frame == "[DONE]" or frame.get("type") == "message_stop":
            return True
        if (frame.get("delta") or {}).get("stop_reason"):
            return True
        if any(choice.get("finish_reason") for choice in frame.get("choices", ())):
            return True
    return False


def told_an_error(text: str) -> bool:
    return any(isinstance(frame, dict) and "error" in frame for frame in frames_of(text))


@every_path
def test_a_stream_has_the_headers_that_keep_it_a_stream(http: httpx.Client, path: str) -> None:
    response = http.post(path, json=STREAMED[path])
    kind = "text/plain; charset=utf-8" if path == "/api/v1/completions" else "text/event-stream"
    assert response.headers["content-type"].startswith(kind)
    assert response.headers["cache-control"] == "no-cache, no-transform"
    assert response.headers["x-accel-buffering"] == "no"
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["transfer-encoding"] == "chunked"
    assert looks_finished(path, response.text)


@every_path
def test_every_frame_is_sent_as_the_model_produces_it(
    http: httpx.Client, provider: ScriptedProvider, path: str
) -> None:
    gate = Gate()
    provider.default = Script(deltas=FIVE, frame_gate=gate, frames_before_gate=3)
    with http.stream("POST", path, json=STREAMED[path]) as response:
        seen = ""
        for chunk in response.iter_text():
            seen += chunk
            if "one" in seen and not looks_finished(path, seen):
                gate.open()
        assert "five" in seen
    assert looks_finished(path, seen)


@every_path
@pytest.mark.parametrize(
    "script",
    [
        Script(status=500, body=b"{}"),
        Script(cut_before_head=True),
        Script(cut_after_frames=0),
        Script(content_type="text/html", body=b"<html>busy</html>"),
        Script(bad_frame_after=0),
        Script(error_frame_after=0),
    ],
    ids=["500", "cut before head", "cut before a frame", "html", "garbled", "error frame"],
)
def test_a_failure_before_the_first_token_is_a_proper_status(
    http: httpx.Client, provider: ScriptedProvider, path: str, script: Script
) -> None:
    provider.default = script
    response = http.post(path, json=STREAMED[path])
    assert response.status_code >= 500
    assert response.headers["content-type"] == "application/json"


@every_path
@pytest.mark.parametrize(
    "script",
    [
        Script(deltas=FIVE, cut_after_frames=4),
        Script(deltas=FIVE, cut_after_frames=4, cut_by="reset"),
        Script(deltas=FIVE, bad_frame_after=4),
        Script(deltas=FIVE, error_frame_after=4),
        Script(deltas=FIVE, stall_after_frames=4),
        Script(deltas=FIVE, cut_after_frames=4, framing="close"),
    ],
    ids=["cut", "reset", "garbled", "error frame", "stalled", "closed without length"],
)
def test_a_failure_in_mid_stream_is_one_error_frame_and_never_looks_finished(
    http: httpx.Client, provider: ScriptedProvider, path: str, script: Script
) -> None:
    provider.default = script
    response = http.post(path, json=STREAMED[path])
    assert response.status_code == 200
    assert "one" in response.text
    assert told_an_error(response.text)
    assert not looks_finished(path, response.text)
    assert sum("error" in frame for frame in frames_of(response.text)) == 1


@pytest.mark.parametrize("script", [Script(deltas=FIVE, cut_after_frames=4)])
def test_a_bare_text_stream_that_fails_is_cut_without_its_terminating_chunk(
    http: httpx.Client, provider: ScriptedProvider, script: Script
) -> None:
    path, headers = "/api/v1/completions", {"x-stream-format": "text"}
    assert (
        http.post(path, json=STREAMED[path], headers=headers).text
        == "Hello! How can I help you today?"
    )
    provider.default = script
    with pytest.raises(httpx.RemoteProtocolError):
        http.post(path, json=STREAMED[path], headers=headers)


def test_the_provider_sent_one_byte_at_a_time_gives_the_same_stream(
    http: httpx.Client, provider: ScriptedProvider
) -> None:
    path = "/v1/chat/completions"
    for model in ("gpt", "claude"):
        answers = []
        for slow in (False, True):
            provider.default = Script(deltas=FIVE, one_byte_at_a_time=slow)
            frames = frames_of(http.post(path, json=STREAMED[path] | {"model": model}).text)
            text = "".join(
                frame["choices"][0]["delta"].get("content") or "" for frame in frames[:-1]
            )
            answers.append((text, frames[-2]["usage"], frames[-2]["choices"][0]["finish_reason"]))
        assert answers[0] == answers[1]
        assert answers[0][0] == "".join(FIVE)


@every_path
def test_headers_are_held_for_the_first_token_and_then_comments_keep_the_stream_alive(
    http: httpx.Client, provider: ScriptedProvider, path: str
) -> None:
    gate = Gate()
    provider.default = Script(first_byte_gate=gate)
    started_s = time.monotonic()
    with http.stream("POST", path, json=STREAMED[path]) as response:
        held_s = time.monotonic() - started_s
        assert response.status_code == 200
        chunks = response.iter_text()
        first = next(chunks)
        gate.open()
        rest = "".join(chunks)
    # `header_hold_s` is 1 in these tests.
    assert 0.9 < held_s < 5
    assert first.startswith(":")
    assert looks_finished(path, rest)


@every_path
def test_a_failure_after_the_hold_is_told_in_the_stream(
    http: httpx.Client, provider: ScriptedProvider, path: str
) -> None:
    gate = Gate()
    provider.default = Script(status=500, body=b"{}", first_byte_gate=gate)
    with http.stream("POST", path, json=STREAMED[path]) as response:
        assert response.status_code == 200
        gate.open()
        text = "".join(response.iter_text())
    assert told_an_error(text)
    assert not looks_finished(path, text)


@every_path
@pytest.mark.parametrize("streamed", [True, False])
def test_a_client_that_leaves_cancels_the_generation_within_a_second(
    gateway: Served, provider: ScriptedProvider, path: str, streamed: bool
) -> None:
    provider.default = Script(deltas=FIVE, stall_after_frames=4, first_byte_gate=None)
    if not streamed:
        provider.default = Script(first_byte_gate=Gate())
    body = json.dumps(STREAMED[path] | {"stream": streamed}).encode()
    host, port = gateway.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as client:
        client.sendall(
            f"POST {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {gateway.key}\r\n"
            f"content-length: {len(body)}\r\n\r\n".encode()
            + body
        )
        provider.wait_until(lambda: len(provider.requests) == 1)
        if streamed:
            assert client.recv(1000)
        left_s = time.monotonic()
    provider.wait_until(lambda: provider.requests[0].is_disconnected)
    disconnected_s = provider.requests[0].disconnected_s
    assert disconnected_s is not None
    assert disconnected_s - left_s < 1.0


@pytest.mark.parametrize("streamed", [False, True])
def test_max_ttft_ms_is_a_408_that_the_clients_do_not_retry(
    http: httpx.Client, provider: ScriptedProvider, streamed: bool
) -> None:
    path = "/api/v1/chat/completions"
    provider.default = Script(first_byte_gate=Gate())
    for wait_ms in (0, 50):
        response = http.post(
            path, json=STREAMED[path] | {"stream": streamed, "max_ttft_ms": wait_ms}
        )
        assert response.status_code == 408
        assert response.headers["x-should-retry"] == "false"
        assert response.headers["content-type"] == "application/json"


def test_a_stream_falls_back_before_its_first_token_only(
    http: httpx.Client, provider: ScriptedProvider
) -> None:
    path = "/v1/chat/completions"
    provider.enqueue(Script(status=503, body=b"{}"), Script(text="from claude"))
    response = http.post(path, json=STREAMED[path] | {"model": "gpt-backed"})
    assert "from claude" in response.text
    assert {frame["model"] for frame in frames_of(response.text)[:-1]} == {"claude"}
    provider.enqueue(Script(deltas=FIVE, cut_after_frames=4), Script(text="from claude"))
    response = http.post(path, json=STREAMED[path] | {"model": "gpt-backed"})
    assert "from claude" not in response.text
    assert not looks_finished(path, response.text)


@pytest.mark.parametrize("streamed", [True, False])
def test_a_target_that_stalls_before_its_first_token_is_given_up_for_the_next(
    http: httpx.Client, provider: ScriptedProvider, streamed: bool
) -> None:
    path = "/v1/chat/completions"
    provider.enqueue(Script(stall_after_frames=0), Script(text="from claude"))
    response = http.post(path, json=STREAMED[path] | {"model": "gpt-backed", "stream": streamed})
    assert response.status_code == 200
    assert "from claude" in response.text


def test_headers_are_held_for_as_long_as_max_ttft_ms_allows(
    http: httpx.Client, provider: ScriptedProvider
) -> None:
    """The server's own hold is 1 s here: a status can still be told after it."""
    path = "/api/v1/chat/completions"
    provider.default = Script(first_byte_gate=Gate())
    response = http.post(path, json=STREAMED[path] | {"max_ttft_ms": 1500})
    assert response.status_code == 408


def test_a_whole_answer_falls_back_when_its_first_target_is_cut(
    http: httpx.Client, provider: ScriptedProvider
) -> None:
    body = {"model": "gpt-backed", "messages": MESSAGES}
    provider.enqueue(Script(text="half an answer", cut_after_bytes=40), Script(text="whole"))
    response = http.post("/v1/chat/completions", json=body)
    assert response.json()["choices"][0]["message"]["content"] == "whole"
    assert response.json()["model"] == "claude"
