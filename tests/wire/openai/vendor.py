"""What we emit, parsed by OpenAI's own client types, strictly."""

from __future__ import annotations

import json
from typing import Any

from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types.chat import ChatCompletion, ChatCompletionChunk


def check_response(body: bytes) -> None:
    answer = ChatCompletion.model_validate_json(body, strict=True)
    assert answer.usage is not None
    for choice in answer.choices:
        for call in choice.message.tool_calls or ():
            assert call.type == "function"
            assert isinstance(json.loads(call.function.arguments), dict)


def check_stream(body: bytes) -> None:
    state: ChatCompletionStreamState[Any] = ChatCompletionStreamState()
    payloads = [frame.removeprefix(b"data: ") for frame in body.split(b"\n\n") if frame]
    if b'"error"' in payloads[-1]:
        assert b"[DONE]" not in payloads
        return
    assert payloads.pop() == b"[DONE]"
    has_role: set[int] = set()
    for payload in payloads:
        chunk = ChatCompletionChunk.model_validate_json(payload, strict=True)
        state.handle_chunk(chunk)
        for choice in chunk.choices:
            assert (choice.delta.role == "assistant") == (choice.index not in has_role)
            has_role.add(choice.index)
    check_response(state.current_completion_snapshot.model_dump_json().encode())
