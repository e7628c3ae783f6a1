"""Generated and random bodies on every path: a 4xx in the right shape, never a 500, never a hang."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.conftest import Served
from tests.e2e.test_common_rules import PATHS, error_text, every_path
from tests.scripted_provider import ScriptedProvider

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner),
    max_leaves=12,
)
FIELDS = [
    "messages", "model", "tools", "tool_choice", "stop", "n", "temperature", "max_tokens",
    "response_format", "stream", "stream_options", "logit_bias", "labels", "metadata",
    "session_id", "user", "thinking", "system", "stop_sequences", "max_ttft_ms", "tags",
]  # fmt: skip
MESSAGE = st.fixed_dictionaries(
    {},
    optional={
        "role": st.sampled_from(["user", "assistant", "system", "tool", "x", 1, None]),
        "content": JSON | st.lists(st.dictionaries(st.sampled_from(["type", "text", "id"]), JSON)),
        "tool_calls": JSON,
        "tool_call_id": JSON,
    },
)
BODY = st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=6) | st.fixed_dictionaries(
    {"messages": st.lists(MESSAGE, max_size=3) | JSON},
    optional={name: JSON for name in FIELDS if name != "messages"},
)

bounded = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture(scope="module")
def http(gateway: Served) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=gateway.url, headers=gateway.headers, timeout=10) as client:
        yield client


def check_answer(path: str, response: httpx.Response) -> None:
    assert response.status_code == 200 or 400 <= response.status_code < 500, response.text
    if response.status_code != 200:
        error_text(path, response)


@every_path
@bounded
@given(body=BODY)
def test_generated_bodies(
    http: httpx.Client, provider: ScriptedProvider, path: str, body: Any
) -> None:
    base = PATHS[path] if isinstance(body, dict) else {}
    check_answer(path, http.post(path, json=base | body))
    check_answer(path, http.post(path, json=body))


@every_path
@bounded
@given(content=st.binary(max_size=200))
def test_random_bytes(
    http: httpx.Client, provider: ScriptedProvider, path: str, content: bytes
) -> None:
    response = http.post(path, content=content)
    assert response.status_code == 400
    error_text(path, response)


HELLO = b'{"messages":[{"role":"user","content":"hi"}]'
CRAFTED = {
    "brackets": b"[" * 200_000,
    "nested": b'{"messages":' + b"[" * 200_000,
    "deep unknown": b'{"messages":[],"x":' + b'{"a":' * 100_000 + b"1" + b"}" * 100_000 + b"}",
    "surrogate": b'{"messages":[{"role":"user","content":"\\ud800"}]}',
    "digits": HELLO + b',"n":' + b"9" * 5000 + b"}",
    "1e400": HELLO + b',"temperature":1e400}',
    "nan": HELLO + b',"temperature":NaN}',
    "twice": HELLO + b',"messages":[]}',
}
UNKNOWN_TO_DREAMSOLVE = ("digits", "1e400")
"""It has neither field, and what a dialect does not know it ignores."""


@every_path
@pytest.mark.parametrize("name", list(CRAFTED))
def test_crafted_bodies(
    http: httpx.Client, provider: ScriptedProvider, path: str, name: str
) -> None:
    response = http.post(path, content=CRAFTED[name])
    if path == "/api/v1/completions" and name in UNKNOWN_TO_DREAMSOLVE:
        assert response.status_code == 200
    else:
        assert 400 <= response.status_code < 500
        error_text(path, response)


def raw(served: Served, data: bytes) -> bytes:
    host, port = served.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as client:
        client.sendall(data)
        client.shutdown(socket.SHUT_WR)
        answer = b""
        while chunk := client.recv(65536):
            answer += chunk
    return answer


@pytest.mark.parametrize(
    "data",
    [
        b"\x00\x01\x02\r\n\r\n",
        b"GET\r\n\r\n",
        b"POST /v1/chat/completions HTTP/1.1\r\ncontent-length: -5\r\n\r\n",
        b"POST /v1/chat/completions HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"GET /healthz HTTP/1.1\r\nx: " + b"a" * 2_000_000 + b"\r\n\r\n",
    ],
    ids=["binary", "no path", "negative length", "bad chunk", "endless header"],
)
def test_broken_http_is_answered_or_closed_and_the_server_lives(
    gateway: Served, data: bytes
) -> None:
    try:
        answer = raw(gateway, data)
    except OSError:
        answer = b""
    assert answer == b"" or b" 400 " in answer or b" 401 " in answer
    assert httpx.get(gateway.url + "/healthz").status_code == 200


def test_strange_paths_and_queries(gateway: Served) -> None:
    for target in (
        b"/%00",
        b"/v1/models/%ff%fe",
        b"//v1//chat",
        b"/docs/../../etc/passwd",
        b"/?a=%",
    ):
        answer = raw(
            gateway, b"GET " + target + b" HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
        )
        status = int(answer.split()[1])
        assert 400 <= status < 500, answer
        assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"]
