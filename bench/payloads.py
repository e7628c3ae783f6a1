"""What is asked and answered: the same bytes for every server."""

from __future__ import annotations

import json
from typing import Any

REQUEST_BYTES = 958
ANSWER_BYTES = 557
STREAM_EVENTS = 66

MODEL = "bench-model"
PROJECT = "bench-project"
KEY = "drg_sk_benchmarkbenchmarkbenchmarkbench"

_WORDS = "the quick brown fox jumps over the lazy dog and runs far away from the old mill "


def _filler(length: int) -> str:
    return (_WORDS * (length // len(_WORDS) + 1))[:length]


def _encoded(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def request_body(*, stream: bool, model: str = MODEL) -> bytes:
    """A chat request of `REQUEST_BYTES`."""

    def build(filler: str) -> bytes:
        return _encoded(
            {
                "model": model,
                "messages": [
                    {"role": "system", "content": "You are a helpful assistant."},
                    {"role": "user", "content": "What does a fox do all day?"},
                    {"role": "assistant", "content": "It sleeps, hunts and plays."},
                    {"role": "user", "content": filler},
                ],
                "temperature": 0.7,
                "max_tokens": 256,
                "stream": stream,
            }
        )

    return build(_filler(REQUEST_BYTES - len(build(""))))


def answer_body() -> bytes:
    """A chat completion of `ANSWER_BYTES`, in OpenAI's format.

    https://platform.openai.com/docs/api-reference/chat/object
    """

    def build(filler: str) -> bytes:
        return _encoded(
            {
                "id": "chatcmpl-0123456789abcdef0123456789abcdef",
                "object": "chat.completion",
                "created": 1767225600,
                "model": MODEL,
                "choices": [
                    {
                        "index": 0,
                        "message": {"role": "assistant", "content": filler},
                        "finish_reason": "stop",
                    }
                ],
                "usage": {"prompt_tokens": 211, "completion_tokens": 64, "total_tokens": 275},
            }
        )

    return build(_filler(ANSWER_BYTES - len(build(""))))


def stream_events() -> list[bytes]:
    """`STREAM_EVENTS` server-sent events, `[DONE]` included, in OpenAI's format.

    https://platform.openai.com/docs/api-reference/chat-streaming
    """

    def chunk(delta: dict[str, Any], reason: str | None = None, **extra: Any) -> bytes:
        return _encoded(
            {
                "id": "chatcmpl-0123456789abcdef0123456789abcdef",
                "object": "chat.completion.chunk",
                "created": 1767225600,
                "model": MODEL,
                "choices": [{"index": 0, "delta": delta, "finish_reason": reason}],
                **extra,
            }
        )

    words = _WORDS.split()
    texts = [f"{words[number % len(words)]} " for number in range(STREAM_EVENTS - 4)]
    usage = {"prompt_tokens": 211, "completion_tokens": len(texts), "total_tokens": 273}
    payloads = [
        chunk({"role": "assistant", "content": ""}),
        *(chunk({"content": text}) for text in texts),
        chunk({}, "stop"),
        chunk({}, choices=[], usage=usage),
        b"[DONE]",
    ]
    return [b"data: %s\n\n" % payload for payload in payloads]
