"""What may reach the engine: everything bounded, every refusal naming its field.

The native server trusts what it is sent: some requests kill it, some freeze it, and some it takes
without honouring them. None of those gets past here.
"""

from __future__ import annotations

import math
from typing import assert_never

import msgspec

from dragoman.chat import (
    ChatRequest,
    DialectName,
    Image,
    Opaque,
    Part,
    Reasoning,
    Refusal,
    Text,
    ToolCall,
    ToolResult,
)
from dragoman.engine.schema_text import Schema, UnsupportedSchema, read_schema
from dragoman.errors import ContextOverflow, InvalidRequest, UnsupportedField

MAX_TOOLS = 128
MAX_TOOL_NAME = 256
MAX_TOOLS_BYTES = 512 * 1024
MAX_STOPS = 64
MAX_STOP_CHARS = 1024
MAX_TOP_LOGPROBS = 20
MAX_LOGIT_BIAS = 300
MAX_CHARS_PER_TOKEN = 64
"""A text with more characters for each token of the context cannot fit, whatever it says."""
SEEDS = 2**32 - 1
"""The engine's seeds are 32 bits wide, and the last one means a random seed."""

_SCHEMA_PATHS: dict[DialectName, str] = {"anthropic": "output_config.format.schema"}
_PARAMETERS: dict[DialectName, str] = {"anthropic": "input_schema", "dreamsolve": "input_schema"}
_STOPS: dict[DialectName, str] = {"anthropic": "stop_sequences"}


def schema_path(request: ChatRequest) -> str:
    """What the request's dialect calls the schema of the answer."""
    return _SCHEMA_PATHS.get(request.dialect, "response_format.json_schema.schema")


def parameters_path(request: ChatRequest, index: int) -> str:
    """What the request's dialect calls the schema of a tool's arguments."""
    return f"tools[{index}].{_PARAMETERS.get(request.dialect, 'function.parameters')}"


def check_request(request: ChatRequest) -> None:
    """Raise `InvalidRequest` for whatever the engine must not see; cheap, and needs no engine."""
    _check_parts(request)
    _check_tools(request)
    if request.stop:
        _check_stops(request)
    if request.top_logprobs > MAX_TOP_LOGPROBS:
        raise InvalidRequest(
            f"top_logprobs must be at most {MAX_TOP_LOGPROBS}", param="top_logprobs"
        )
    if len(request.sampling.logit_bias) > MAX_LOGIT_BIAS:
        raise InvalidRequest(
            f"logit_bias must name at most {MAX_LOGIT_BIAS} tokens", param="logit_bias"
        )
    if request.max_output_tokens is not None and request.max_output_tokens < 1:
        raise InvalidRequest("max_tokens must be at least 1", param="max_tokens")


def check_against_model(request: ChatRequest, vocabulary: int, context_tokens: int) -> None:
    """Raise for what this one model cannot take."""
    for token, bias in request.sampling.logit_bias:
        if not 0 <= token < vocabulary:
            raise InvalidRequest(
                f"logit_bias names token {token}, and this model's run from 0 to {vocabulary - 1}",
                param="logit_bias",
            )
        if not math.isfinite(bias) or abs(bias) > 100:
            raise InvalidRequest(
                "logit_bias must lie between -100 and 100", param=f"logit_bias.{token}"
            )
    # Whole books are refused before anything counts their tokens.
    chars = sum(_chars(part) for message in request.messages for part in message.parts)
    if chars > context_tokens * MAX_CHARS_PER_TOKEN:
        raise ContextOverflow(
            f"messages hold {chars} characters, and the model's context holds {context_tokens} "
            "tokens; shorten them",
            param="messages",
        )


def _chars(part: Part) -> int:
    match part:
        case Text(text) | Refusal(text) | Reasoning(text=text):
            return len(text)
        case ToolCall():
            return len(part.name) + len(part.arguments)
        case ToolResult():
            return sum(_chars(inner) for inner in part.parts)
        case Image() | Opaque():
            return 0
        case _:
            assert_never(part)


def read_bounded_schema(raw: msgspec.Raw, path: str) -> Schema | bool:
    try:
        return read_schema(bytes(raw))
    except UnsupportedSchema as error:
        raise unsupported_schema(error, path) from error


def unsupported_schema(error: UnsupportedSchema, path: str) -> InvalidRequest:
    """`error`, told with the field that holds the schema."""
    where = f"{path}.{error.path}" if error.path else path
    if len(where) > 300:
        where = where[:300] + "…"
    return InvalidRequest(f"{where} {error.reason}", param=where)


def _check_parts(request: ChatRequest) -> None:
    for i, message in enumerate(request.messages):
        for part in message.parts:
            if isinstance(part, Image) or (
                isinstance(part, ToolResult) and any(isinstance(p, Image) for p in part.parts)
            ):
                raise UnsupportedField(
                    f"messages[{i}].content holds an image, and this model reads text only",
                    param=f"messages[{i}].content",
                )
            if isinstance(part, Opaque):
                raise UnsupportedField(
                    f"messages[{i}].content holds a part of type '{part.kind[:60]}', which this "
                    "model cannot read",
                    param=f"messages[{i}].content",
                )


def _check_tools(request: ChatRequest) -> None:
    if len(request.tools) > MAX_TOOLS:
        raise InvalidRequest(f"tools must list at most {MAX_TOOLS} functions", param="tools")
    total = 0
    for i, tool in enumerate(request.tools):
        if not 0 < len(tool.name) <= MAX_TOOL_NAME:
            raise InvalidRequest(
                f"tools[{i}]'s name must have 1 to {MAX_TOOL_NAME} characters", param=f"tools[{i}]"
            )
        total += len(bytes(tool.parameters)) + len(tool.description or "")
        if total > MAX_TOOLS_BYTES:
            raise InvalidRequest(f"tools must be at most {MAX_TOOLS_BYTES} bytes", param="tools")
        path = parameters_path(request, i)
        if not isinstance(read_bounded_schema(tool.parameters, path), dict):
            raise InvalidRequest(f"{path} must be an object", param=path)


def _check_stops(request: ChatRequest) -> None:
    field = _STOPS.get(request.dialect, "stop")
    if len(request.stop) > MAX_STOPS:
        raise InvalidRequest(f"{field} must list at most {MAX_STOPS} strings", param=field)
    for i, stop in enumerate(request.stop):
        if not 0 < len(stop) <= MAX_STOP_CHARS:
            raise InvalidRequest(
                f"{field}[{i}] must have 1 to {MAX_STOP_CHARS} characters", param=f"{field}[{i}]"
            )


def engine_seed(seed: int, choice: int) -> int:
    """Choice i uses seed + i, folded into what the engine takes."""
    return (seed + choice) % SEEDS
