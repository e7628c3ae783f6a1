"""Requests that the interface description shows."""

from __future__ import annotations

from typing import Any

from dragoman.ports import Example

WEATHER: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather at a place, now.",
        "parameters": {
            "type": "object",
            "properties": {"location": {"type": "string"}},
            "required": ["location"],
        },
    },
}
_CAPITAL = {"role": "user", "content": "What is the capital of France?"}

EXAMPLES = (
    Example(
        name="basic",
        summary="A question",
        body={"model": "local", "messages": [_CAPITAL], "max_tokens": 64, "temperature": 0},
    ),
    Example(
        name="streaming",
        summary="An answer as it comes",
        body={"model": "local", "messages": [_CAPITAL], "max_tokens": 64, "stream": True},
    ),
    Example(
        name="json_mode",
        summary="An answer that is a JSON object",
        body={
            "model": "local",
            "messages": [
                {"role": "system", "content": "Answer in JSON."},
                {"role": "user", "content": "Name a city and its country."},
            ],
            "response_format": {"type": "json_object"},
            "max_tokens": 64,
        },
    ),
    Example(
        name="tool_calling",
        summary="A function that the model may call",
        body={
            "model": "local",
            "messages": [{"role": "user", "content": "What is the weather in Oslo?"}],
            "tools": [WEATHER],
            "tool_choice": "auto",
            "max_tokens": 64,
        },
    ),
    Example(
        name="tool_result",
        summary="What the function answered",
        body={
            "model": "local",
            "messages": [
                {"role": "user", "content": "What is the weather in Oslo?"},
                {
                    "role": "assistant",
                    "content": None,
                    "tool_calls": [
                        {
                            "id": "call_1",
                            "type": "function",
                            "function": {
                                "name": "get_weather",
                                "arguments": '{"location":"Oslo"}',
                            },
                        }
                    ],
                },
                {"role": "tool", "tool_call_id": "call_1", "content": "4 °C, rain"},
            ],
            "tools": [WEATHER],
            "max_tokens": 64,
        },
    ),
)
