"""A client that can be believed: it asks, and makes durable every whole answer that it received.

    python -m tests.crash.judge PORT KEY FILE SECONDS

It runs in a process of its own, so that nothing which happens to the server happens to it. Each line of
FILE is an `Answer`, written and synced before the next request is sent on that connection. What is not
whole is not written: a body cut short, a stream without its finish reason and its end.
"""

from __future__ import annotations

import http.client
import itertools
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

import msgspec

CLIENTS = 4
RETRY_S = 0.02


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What a client was told, to the end."""

    request_id: str
    form: str
    input_tokens: int | None
    """`None`: this form of answer does not tell."""
    output_tokens: int | None
    cost: float | None
    """US dollars."""


MESSAGES = [{"role": "user", "content": "Count to ten."}]
FORMS: dict[str, tuple[str, dict[str, Any], dict[str, str]]] = {
    "openai": ("/v1/chat/completions", {"model": "priced", "messages": MESSAGES}, {}),
    "openai-stream": (
        "/v1/chat/completions",
        {"model": "priced", "messages": MESSAGES, "stream": True},
        {},
    ),
    "anthropic-stream": (
        "/v1/messages",
        {"model": "priced", "max_tokens": 100, "messages": MESSAGES, "stream": True},
        {},
    ),
    "bare-text": (
        "/api/v1/completions",
        {"messages": MESSAGES, "max_tokens": 100, "stream": True},
        {"x-stream-format": "text"},
    ),
}


def whole_answer(form: str, request_id: str, body: bytes) -> Answer | None:
    """What `body` says, if it is the whole of an answer."""
    usage: dict[str, Any] = {}
    match form:
        case "openai":
            usage = msgspec.json.decode(body)["usage"]
        case "openai-stream":
            frames = _data(body)
            if frames[-1:] != [b"[DONE]"]:
                return None
            last = msgspec.json.decode(frames[-2])
            if last["choices"][0]["finish_reason"] is None:
                return None
            usage = last["usage"]
        case "anthropic-stream":
            events = [msgspec.json.decode(frame) for frame in _data(body)]
            if not events or events[-1]["type"] != "message_stop":
                return None
            told = next(e["usage"] for e in reversed(events) if e["type"] == "message_delta")
            usage = {"completion_tokens": told["output_tokens"]}
        case _:
            # Nothing but the body's own end says that it is whole: without it, reading has failed.
            pass
    return Answer(
        request_id=request_id,
        form=form,
        input_tokens=usage.get("prompt_tokens"),
        output_tokens=usage.get("completion_tokens"),
        cost=usage.get("cost"),
    )


def _data(body: bytes) -> list[bytes]:
    return [line[6:] for line in body.split(b"\n") if line.startswith(b"data: ")]


class Judge:
    def __init__(self, port: int, key: str, file: int, until_s: float) -> None:
        self._port = port
        self._key = key
        self._file = file
        self._until_s = until_s
        self._lock = threading.Lock()

    def run(self) -> None:
        threads = [threading.Thread(target=self._ask, args=(start,)) for start in range(CLIENTS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _ask(self, start: int) -> None:
        forms = itertools.cycle(list(FORMS)[start:] + list(FORMS)[:start])
        connection: http.client.HTTPConnection | None = None
        while time.monotonic() < self._until_s:
            connection = connection or http.client.HTTPConnection(
                "127.0.0.1", self._port, timeout=10
            )
            try:
                self._ask_once(connection, next(forms))
            except (OSError, http.client.HTTPException):
                connection.close()
                connection = None
                time.sleep(RETRY_S)
        if connection is not None:
            connection.close()

    def _ask_once(self, connection: http.client.HTTPConnection, form: str) -> None:
        path, body, headers = FORMS[form]
        connection.request(
            "POST",
            path,
            msgspec.json.encode(body),
            {"authorization": f"Bearer {self._key}", **headers},
        )
        response = connection.getresponse()
        content = response.read()
        if response.status != 200:
            time.sleep(RETRY_S)
            return
        answer = whole_answer(form, response.headers["x-request-id"], content)
        if answer is not None:
            self._keep(answer)

    def _keep(self, answer: Answer) -> None:
        with self._lock:
            os.write(self._file, msgspec.json.encode(answer) + b"\n")
            os.fdatasync(self._file)


def read_answers(path: Path) -> list[Answer]:
    return [msgspec.json.decode(line, type=Answer) for line in path.read_bytes().splitlines()]


def main() -> None:
    port, key, path, seconds = sys.argv[1:]
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    Judge(int(port), key, file, time.monotonic() + float(seconds)).run()


if __name__ == "__main__":
    main()
