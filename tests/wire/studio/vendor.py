"""What we emit, parsed by Adaptive's own client types, and whole answers by Prem's too."""

from __future__ import annotations

from adaptive_sdk.rest import rest_types
from premai.types import ChatCompletionsResponse


def check_response(body: bytes) -> None:
    rest_types.ChatResponse.model_validate_json(body)
    ChatCompletionsResponse.model_validate_json(body, strict=True)


def check_stream(body: bytes) -> None:
    payloads = [frame.removeprefix(b"data: ") for frame in body.split(b"\n\n") if frame]
    if b'"error"' in payloads[-1]:
        assert b"[DONE]" not in payloads
        return
    assert payloads.pop() == b"[DONE]"
    completions: dict[int, str] = {}
    for payload in payloads:
        chunk = rest_types.ChatResponseChunk.model_validate_json(payload)
        for choice in chunk.choices:
            first = completions.setdefault(choice.index, choice.completion_id)
            assert choice.completion_id == first
