"""Requests that the interface description of `studio` shows."""

from __future__ import annotations

from dragoman.ports import Example

_SYSTEM = {"role": "system", "content": "Answer briefly."}
_CAPITAL = {"role": "user", "content": "What is the capital of France?"}

EXAMPLES = (
    Example(
        name="prem",
        summary="A question, as Prem Studio's clients send it",
        body={
            "model": "local",
            "messages": [_SYSTEM, _CAPITAL],
            "max_completion_tokens": 64,
            "temperature": 0.7,
            "seed": 7,
        },
    ),
    Example(
        name="adaptive",
        summary="A question, as Adaptive Engine's clients send it",
        body={
            "model": "local",
            "messages": [_SYSTEM, _CAPITAL],
            "max_tokens": 64,
            "max_ttft_ms": 60000,
            "session_id": "3c90c3cc-0d44-4b50-8888-8dd25736052a",
            "n": 1,
            "labels": {"team": "search"},
            "store": True,
        },
    ),
    Example(
        name="streaming",
        summary="An answer as it comes, with usage at the end",
        body={
            "model": "local",
            "messages": [_CAPITAL],
            "max_tokens": 64,
            "stream": True,
            "stream_options": {"include_usage": True},
        },
    ),
    Example(
        name="json_schema",
        summary="An answer that keeps to a JSON Schema",
        body={
            "model": "local",
            "messages": [{"role": "user", "content": "Name a city and its country."}],
            "max_tokens": 96,
            "response_format": {
                "type": "json_schema",
                "json_schema": {
                    "name": "place",
                    "schema": {
                        "type": "object",
                        "properties": {
                            "city": {"type": "string", "maxLength": 40},
                            "country": {"type": "string", "maxLength": 40},
                        },
                        "required": ["city", "country"],
                        "additionalProperties": False,
                    },
                },
            },
        },
    ),
)
