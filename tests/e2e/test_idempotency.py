"""`Idempotency-Key`: a request that is sent again is answered again, and runs and costs once."""

from __future__ import annotations

import json
import socket
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.conftest import Served
from tests.scripted_provider import Call, Gate, Script, ScriptedProvider
from tests.server_process import ServerProcess

from dragoman.stores import open_store

CHAT: dict[str, Any] = {"messages": [{"role": "user", "content": "hi"}]}
PATHS: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": CHAT | {"model": "gpt"},
    "/api/v1/chat/completions": CHAT | {"model": "gpt"},
    "/api/v1/completions": CHAT,
    "/v1/messages": CHAT | {"model": "gpt", "max_tokens": 50},
}
every_path = pytest.mark.parametrize("path", list(PATHS))
OPENAI = "/v1/chat/completions"


@pytest.fixture
def http(gateway: Served) -> httpx.Client:
    return httpx.Client(base_url=gateway.url, headers=gateway.headers, timeout=20)


@pytest.fixture
def key() -> str:
    return str(uuid.uuid4())


def ask(
    http: httpx.Client, path: str, key: str, *, headers: dict[str, str] | None = None, **more: Any
) -> httpx.Response:
    return http.post(
        path, json=PATHS[path] | more, headers={"idempotency-key": key} | (headers or {})
    )


def is_replay(response: httpx.Response) -> bool:
    return bool(response.headers.get("idempotent-replayed") == "true")


def message_of(response: httpx.Response) -> str:
    error = response.json()["error"]
    return error if isinstance(error, str) else str(error["message"])


def recorded(data_dir: Path, response: httpx.Response) -> tuple[str, int, int]:
    """Status, cost and output tokens of the request, as they are kept: at once, or some time soon."""
    turns = threading.Event()
    store = open_store(data_dir)
    try:
        for _ in range(500):
            record = store.find_usage(response.headers["x-request-id"])
            if record is not None:
                return record.status, record.cost_nano_usd, record.usage.output_tokens
            turns.wait(0.01)
    finally:
        store.close()
    raise AssertionError(f"{response.headers['x-request-id']} was never recorded")


# --- Replays ---


@every_path
@pytest.mark.parametrize("is_stream", [False, True])
def test_same_request_again_is_answered_the_same_and_runs_once(
    http: httpx.Client, provider: ScriptedProvider, path: str, key: str, is_stream: bool
) -> None:
    provider.enqueue(Script(deltas=("Once", " upon", " a time")), Script(text="another answer"))
    first = ask(http, path, key, stream=is_stream)
    again = ask(http, path, key, stream=is_stream)
    assert first.status_code == again.status_code == 200
    assert "upon" in first.text
    assert again.content == first.content
    assert again.headers["content-type"] == first.headers["content-type"]
    assert not is_replay(first)
    assert is_replay(again)
    assert again.headers["x-request-id"] != first.headers["x-request-id"]
    assert len(provider.requests) == 1


def test_bare_text_is_replayed_as_bare_text(
    http: httpx.Client, provider: ScriptedProvider, key: str
) -> None:
    bare = {"x-stream-format": "text"}
    provider.enqueue(Script(deltas=("a ", "b")))
    for _ in range(2):
        response = ask(http, "/api/v1/completions", key, headers=bare, stream=True)
        assert response.text == "a b"
    assert is_replay(response)
    framed = ask(http, "/api/v1/completions", key, stream=True)
    assert framed.status_code == 409


@pytest.mark.parametrize("is_stream", [False, True])
def test_several_choices_and_tool_calls_are_replayed(
    http: httpx.Client, provider: ScriptedProvider, key: str, is_stream: bool
) -> None:
    provider.enqueue(Script(calls=(Call("look", ('{"at":', '"it"}')),), text="Let me see"))
    tools = [{"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}]
    first = ask(http, OPENAI, key, n=2, tools=tools, stream=is_stream)
    again = ask(http, OPENAI, key, n=2, tools=tools, stream=is_stream)
    assert "look" in first.text
    assert again.content == first.content
    assert is_replay(again)
    assert len(provider.requests) == 1


def test_keys_are_names_within_one_api_key_and_runs_have_none_in_common(
    http: httpx.Client, provider: ScriptedProvider, key: str
) -> None:
    assert not is_replay(ask(http, OPENAI, key))
    assert not is_replay(ask(http, OPENAI, str(uuid.uuid4())))
    assert not is_replay(http.post(OPENAI, json=PATHS[OPENAI]))
    assert len(provider.requests) == 3


def test_replay_is_on_record_and_produced_nothing(
    gateway: Served, http: httpx.Client, key: str
) -> None:
    first, again = ask(http, OPENAI, key), ask(http, OPENAI, key)
    assert recorded(gateway.log_path.parent, first) == ("ok", 0, 10)
    assert recorded(gateway.log_path.parent, again) == ("replayed", 0, 0)


# --- Conflicts ---


@every_path
def test_other_body_with_the_same_key_is_409_and_not_to_be_retried(
    http: httpx.Client, provider: ScriptedProvider, path: str, key: str
) -> None:
    ask(http, path, key)
    other = ask(http, path, key, messages=[{"role": "user", "content": "something else"}])
    assert other.status_code == 409
    assert other.headers["x-should-retry"] == "false"
    assert "retry-after" not in other.headers
    assert "Idempotency-Key" in message_of(other)
    assert len(provider.requests) == 1


def test_same_body_on_another_path_is_another_request(http: httpx.Client, key: str) -> None:
    assert ask(http, OPENAI, key).status_code == 200
    assert ask(http, "/api/v1/chat/completions", key).status_code == 409


@pytest.mark.parametrize("is_stream", [False, True])
def test_request_that_still_runs_is_409_with_retry_after(
    http: httpx.Client, provider: ScriptedProvider, key: str, is_stream: bool
) -> None:
    gate = Gate()
    provider.enqueue(Script(text="slowly", first_byte_gate=gate))
    answers: list[httpx.Response] = []
    running = threading.Thread(
        target=lambda: answers.append(ask(http, OPENAI, key, stream=is_stream))
    )
    running.start()
    provider.wait_until(lambda: len(provider.requests) == 1)
    early = ask(http, OPENAI, key, stream=is_stream)
    assert early.status_code == 409
    assert early.headers["retry-after"] == "1"
    # The vendors' clients repeat a 409 by themselves, which is right here.
    assert "x-should-retry" not in early.headers
    gate.open()
    running.join()
    assert not is_replay(answers[0])
    late = ask(http, OPENAI, key, stream=is_stream)
    assert is_replay(late)
    assert late.content == answers[0].content


# --- What is not kept ---


def test_failure_is_not_kept_and_the_same_may_be_tried_again(
    http: httpx.Client, provider: ScriptedProvider, key: str
) -> None:
    provider.enqueue(Script(status=400), Script(text="at last"))
    failed = ask(http, OPENAI, key)
    assert failed.status_code == 400
    again = ask(http, OPENAI, key)
    assert again.status_code == 200
    assert not is_replay(again)
    assert is_replay(ask(http, OPENAI, key))


def test_stream_that_fails_halfway_is_not_kept(
    http: httpx.Client, provider: ScriptedProvider, key: str
) -> None:
    provider.enqueue(
        Script(deltas=("a", "b", "c"), cut_after_frames=3), Script(deltas=("a", "b", "c"))
    )
    failed = ask(http, OPENAI, key, stream=True)
    assert '"error"' in failed.text
    whole = ask(http, OPENAI, key, stream=True)
    assert whole.text.endswith("data: [DONE]\n\n")
    assert not is_replay(whole)


def test_refusal_is_not_kept(http: httpx.Client, provider: ScriptedProvider, key: str) -> None:
    assert ask(http, OPENAI, key, model="no-such-model").status_code == 400
    assert ask(http, OPENAI, key, max_tokens=-1).status_code == 400
    assert ask(http, OPENAI, key).status_code == 200
    assert len(provider.requests) == 1


def test_client_that_left_halfway_may_ask_again(
    gateway: Served, http: httpx.Client, provider: ScriptedProvider, key: str
) -> None:
    gate = Gate()
    provider.enqueue(
        Script(deltas=("a", "b", "c"), frame_gate=gate, frames_before_gate=3),
        Script(deltas=("a", "b", "c")),
    )
    body = json.dumps(PATHS[OPENAI] | {"stream": True}).encode()
    host, port = gateway.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as left:
        left.sendall(
            b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer "
            + gateway.key.encode()
            + b"\r\nidempotency-key: "
            + key.encode()
            + b"\r\ncontent-length: %d\r\n\r\n" % len(body)
            + body
        )
        assert left.recv(1000).startswith(b"HTTP/1.1 200")
    provider.wait_until(lambda: provider.requests[0].is_disconnected)
    gate.open()
    response = http.post(OPENAI, content=body, headers={"idempotency-key": key})
    while response.status_code == 409:
        # The settlement of what was left is on its way.
        response = http.post(OPENAI, content=body, headers={"idempotency-key": key})
    assert response.text.endswith("data: [DONE]\n\n")
    assert len(provider.requests) == 2


def test_answer_that_is_too_long_is_not_run_again(
    http: httpx.Client, provider: ScriptedProvider, key: str
) -> None:
    provider.enqueue(Script(text="x" * 4_300_000))
    assert len(ask(http, OPENAI, key).content) > 4_300_000
    again = ask(http, OPENAI, key)
    assert again.status_code == 409
    assert "too long to be kept" in message_of(again)
    assert again.headers["x-should-retry"] == "false"
    assert len(provider.requests) == 1


# --- The header ---


@every_path
@pytest.mark.parametrize("bad", ["", "k" * 256, "caf\u00e9"])
def test_header_that_cannot_be_used_is_400(
    http: httpx.Client, provider: ScriptedProvider, path: str, bad: str
) -> None:
    response = http.post(
        path, json=PATHS[path], headers={b"idempotency-key": bad.encode("latin-1")}
    )
    assert response.status_code == 400
    assert "Idempotency-Key" in message_of(response)
    assert provider.requests == []


@pytest.mark.parametrize("path", [OPENAI, "/api/v1/chat/completions"])
def test_what_must_not_be_stored_cannot_be_replayed(
    http: httpx.Client, provider: ScriptedProvider, path: str, key: str
) -> None:
    response = ask(http, path, key, store=False)
    assert response.status_code == 400
    assert "store" in message_of(response)
    assert provider.requests == []
    assert ask(http, path, key, store=True).status_code == 200


# --- Death, and money ---


def _priced(provider: ScriptedProvider) -> str:
    return f"""
embedded_model = false
default_model = "gpt"

[[providers]]
name = "scripted"
wire = "openai"
base_url = "{provider.base_url}"

[[providers.models]]
id = "gpt"
price = {{ input = 1.00, output = 10.00 }}
"""


@pytest.fixture
def server(provider: ScriptedProvider, tmp_path: Path) -> Iterator[ServerProcess]:
    with ServerProcess(tmp_path / "data", _priced(provider)) as server:
        yield server


def test_killed_server_leaves_no_claim_and_forgets_no_answer(
    server: ServerProcess, provider: ScriptedProvider
) -> None:
    headers = {"authorization": f"Bearer {server.key}"}
    gate = Gate()
    done, lost = str(uuid.uuid4()), str(uuid.uuid4())
    provider.enqueue(
        Script(text="kept"), Script(text="lost", first_byte_gate=gate), Script(text="run anew")
    )
    with httpx.Client(base_url=server.url, headers=headers, timeout=20) as http:
        first = ask(http, OPENAI, done)
        running = threading.Thread(target=_ask_in_vain, args=(http, lost))
        running.start()
        provider.wait_until(lambda: len(provider.requests) == 2)
        server.kill()
        running.join()
    gate.open()
    server.start()
    with httpx.Client(base_url=server.url, headers=headers, timeout=20) as http:
        again = ask(http, OPENAI, done)
        assert is_replay(again)
        assert again.content == first.content
        anew = ask(http, OPENAI, lost)
        assert not is_replay(anew)
        assert "run anew" in anew.text
    usage = first.json()["usage"]
    # 19 tokens in at 1 USD and 10 out at 10 USD for a million.
    assert usage["cost"] == pytest.approx(0.000119)
    assert recorded(server.data_dir, first) == ("ok", 119_000, 10)
    assert recorded(server.data_dir, again) == ("replayed", 0, 0)


def _ask_in_vain(http: httpx.Client, key: str) -> None:
    with pytest.raises(httpx.TransportError):
        ask(http, OPENAI, key)
