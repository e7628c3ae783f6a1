"""A canonical request as a chat-completions provider takes it.

Settled here:

- Tool results become `tool` messages ahead of the rest of their turn, because the format wants them
  right after the calls. Images in them follow in a `user` message: a `tool` message holds text alone.
  A result that is an error says so in its text; the format has no flag for it.
- Only a user's content is ever an array, and only where one string cannot say it: many servers take
  nothing else. Several texts of a system message or tool result are joined by an empty line.
- Thinking goes back only to providers whose row forwards `reasoning_content`, `reasoning` or
  `reasoning_details`, and cache marks to those whose row forwards `cache_control`: others refuse them.
- Ids longer than 40 characters, which OpenAI refuses, are replaced by a hash, in calls and results alike;
  so are those that a row's `tool_call_id_chars` does not allow.
- What the user is called, and everything else in the request's context, stays here.
"""

from __future__ import annotations

from base64 import b32encode
from collections.abc import Sequence
from hashlib import sha256
from typing import Any, Literal

import msgspec
from msgspec import UNSET, Raw, UnsetType

from dragoman.chat import (
    CacheTTL,
    ChatRequest,
    Image,
    Message,
    Opaque,
    Part,
    Reasoning,
    Refusal,
    ResponseFormat,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
)
from dragoman.dialects.chat_completions_answer import reasoning_detail
from dragoman.dialects.chat_completions_wire import CacheControl, ReasoningDetail
from dragoman.errors import UnsupportedField
from dragoman.records.model import Model
from dragoman.records.provider import FORWARDED_IN_MESSAGES, ProviderRow

MAX_ID_CHARS = 40
LOW_BUDGET_TOKENS, MEDIUM_BUDGET_TOKENS = 4096, 16384
"""Up to which budget thinking is called `low`, or `medium`: the wire has words only."""


class _Cached(msgspec.Struct, omit_defaults=True):
    cache_control: CacheControl | UnsetType = UNSET


class _TextPart(_Cached, tag_field="type", tag="text"):
    text: str = ""


class _ImageURL(msgspec.Struct, omit_defaults=True):
    url: str
    detail: str | UnsetType = UNSET


class _ImagePart(_Cached, tag_field="type", tag="image_url", kw_only=True):
    image_url: _ImageURL


class _Function(msgspec.Struct, omit_defaults=True, kw_only=True):
    name: str
    description: str | UnsetType = UNSET
    parameters: Raw
    strict: bool | UnsetType = UNSET


class _Tool(_Cached, kw_only=True):
    type: Literal["function"]
    function: _Function


class _CalledFunction(msgspec.Struct):
    name: str
    arguments: str


class _ToolCall(msgspec.Struct):
    id: str
    type: Literal["function"]
    function: _CalledFunction


class _Message(msgspec.Struct, omit_defaults=True, kw_only=True):
    role: str
    content: str | list[Any] | None
    name: str | UnsetType = UNSET
    refusal: str | UnsetType = UNSET
    reasoning_content: str | UnsetType = UNSET
    reasoning: str | UnsetType = UNSET
    reasoning_details: list[ReasoningDetail] | UnsetType = UNSET
    tool_calls: list[_ToolCall] | UnsetType = UNSET
    tool_call_id: str | UnsetType = UNSET


class _JSONSchema(msgspec.Struct, omit_defaults=True, kw_only=True):
    name: str
    description: str | UnsetType = UNSET
    schema: Raw
    strict: bool | UnsetType = UNSET


class _ResponseFormat(msgspec.Struct, omit_defaults=True):
    type: str
    json_schema: _JSONSchema | UnsetType = UNSET


class _NamedFunction(msgspec.Struct):
    name: str


class _NamedChoice(msgspec.Struct):
    type: Literal["function"]
    function: _NamedFunction


class _StreamOptions(msgspec.Struct):
    include_usage: bool


class _Body(msgspec.Struct, omit_defaults=True, kw_only=True):
    model: str
    messages: list[_Message]
    stream: bool | UnsetType = UNSET
    stream_options: _StreamOptions | UnsetType = UNSET
    temperature: float | UnsetType = UNSET
    top_p: float | UnsetType = UNSET
    top_k: int | UnsetType = UNSET
    frequency_penalty: float | UnsetType = UNSET
    presence_penalty: float | UnsetType = UNSET
    seed: int | UnsetType = UNSET
    logit_bias: dict[int, float] | UnsetType = UNSET
    max_tokens: int | UnsetType = UNSET
    max_completion_tokens: int | UnsetType = UNSET
    stop: list[str] | UnsetType = UNSET
    n: int | UnsetType = UNSET
    tools: list[_Tool] | UnsetType = UNSET
    tool_choice: str | _NamedChoice | UnsetType = UNSET
    parallel_tool_calls: bool | UnsetType = UNSET
    response_format: _ResponseFormat | UnsetType = UNSET
    logprobs: bool | UnsetType = UNSET
    top_logprobs: int | UnsetType = UNSET
    reasoning_effort: str | UnsetType = UNSET


_encoder = msgspec.json.Encoder()
_INCLUDE_USAGE = _StreamOptions(include_usage=True)


def encode_request(request: ChatRequest, model: Model, row: ProviderRow, *, stream: bool) -> bytes:
    """The body to send. Raises `UnsupportedField` for a part of another wire format."""
    body = _Body(model=model.upstream_name, messages=_messages(request.messages, row))
    if stream:
        body.stream = True
        if row.reports_stream_usage:
            body.stream_options = _INCLUDE_USAGE
    _put_sampling(body, request)
    if request.max_output_tokens is not None:
        if row.max_tokens_field == "max_tokens":
            body.max_tokens = request.max_output_tokens
        else:
            body.max_completion_tokens = request.max_output_tokens
    if request.stop:
        body.stop = list(request.stop)
    if request.choices != 1:
        body.n = request.choices
    if request.tools:
        _put_tools(body, request, row)
    if request.response_format.kind != "text":
        body.response_format = _response_format(request.response_format)
    if request.logprobs:
        body.logprobs = True
        body.top_logprobs = request.top_logprobs or UNSET
    if request.thinking is not None:
        body.reasoning_effort = _effort(request.thinking)
    encoded = _encoder.encode(body)
    return _with_extensions(encoded, request, row) if request.extensions else encoded


def _with_extensions(encoded: bytes, request: ChatRequest, row: ProviderRow) -> bytes:
    """Add the unknown fields that the row allows, as the client wrote them."""
    pieces = [encoded[:-1]]
    for name, raw in request.extensions:
        # A field that we know was encoded already, and must not come twice.
        if name in row.forwards and name not in _KNOWN_FIELDS:
            pieces += (b",", _encoder.encode(name), b":", bytes(raw))
    return b"".join([*pieces, b"}"])


_KNOWN_FIELDS = FORWARDED_IN_MESSAGES.union(_Body.__struct_encode_fields__)


def _put_sampling(body: _Body, request: ChatRequest) -> None:
    sampling = request.sampling
    if sampling.temperature is not None:
        body.temperature = sampling.temperature
    if sampling.top_p is not None:
        body.top_p = sampling.top_p
    if sampling.top_k is not None:
        body.top_k = sampling.top_k
    if sampling.frequency_penalty is not None:
        body.frequency_penalty = sampling.frequency_penalty
    if sampling.presence_penalty is not None:
        body.presence_penalty = sampling.presence_penalty
    if sampling.seed is not None:
        body.seed = sampling.seed
    if sampling.logit_bias:
        body.logit_bias = dict(sampling.logit_bias)


def _effort(thinking: Thinking) -> str | UnsetType:
    if thinking.effort is not None:
        return thinking.effort
    if not thinking.enabled or thinking.budget_tokens is None:
        return UNSET
    if thinking.budget_tokens <= LOW_BUDGET_TOKENS:
        return "low"
    return "medium" if thinking.budget_tokens <= MEDIUM_BUDGET_TOKENS else "high"


# --- Tools and formats --------------------------------------------------------------------------


def _put_tools(body: _Body, request: ChatRequest, row: ProviderRow) -> None:
    marks = "cache_control" in row.forwards
    body.tools = [_tool(tool, marks) for tool in request.tools]
    if request.tool_choice.mode != "auto":
        body.tool_choice = _tool_choice(request.tool_choice)
    if request.parallel_tool_calls is not None:
        body.parallel_tool_calls = request.parallel_tool_calls


def _tool(tool: Tool, marks: bool) -> _Tool:
    function = _Function(name=tool.name, parameters=tool.parameters)
    if tool.description is not None:
        function.description = tool.description
    if tool.strict is not None:
        function.strict = tool.strict
    return _Tool(type="function", function=function, cache_control=_mark(tool.cache, marks))


def _mark(cache: CacheTTL | None, marks: bool) -> CacheControl | UnsetType:
    return CacheControl(ttl=cache) if marks and cache is not None else UNSET


def _tool_choice(choice: ToolChoice) -> str | _NamedChoice:
    if choice.mode == "named" and choice.name is not None:
        return _NamedChoice("function", _NamedFunction(choice.name))
    return choice.mode


def _response_format(wanted: ResponseFormat) -> _ResponseFormat:
    if wanted.schema is None:
        return _ResponseFormat("json_object")
    inner = _JSONSchema(name=wanted.name or "answer", schema=wanted.schema)
    if wanted.description is not None:
        inner.description = wanted.description
    if wanted.strict is not None:
        inner.strict = wanted.strict
    return _ResponseFormat("json_schema", inner)


# --- Messages -----------------------------------------------------------------------------------


def _messages(messages: Sequence[Message], row: ProviderRow) -> list[_Message]:
    forwards = row.forwards
    encoded: list[_Message] = []
    for message in messages:
        parts = message.parts
        if len(parts) == 1 and type(parts[0]) is Text and not forwards:
            wire = _Message(role=message.role, content=parts[0].text)
            if message.name is not None:
                wire.name = message.name
            encoded.append(wire)
        elif message.role == "assistant":
            encoded.append(_assistant_message(message, row))
        else:
            _put_turn(message, row, encoded)
    return encoded


def _put_turn(message: Message, row: ProviderRow, encoded: list[_Message]) -> None:
    """A system, user or tool message: results first, then what else it holds."""
    marks = "cache_control" in row.forwards
    rest: list[Part] = []
    for part in message.parts:
        if isinstance(part, ToolResult):
            encoded.append(_tool_message(part, row, marks))
            rest += [inner for inner in part.parts if isinstance(inner, Image)]
        else:
            rest.append(part)
    if not rest and message.role == "tool":
        return
    role = "user" if message.role == "tool" else message.role
    texts = [part.text for part in rest if isinstance(part, Text)]
    content: str | list[Any]
    if len(texts) == len(rest) and not _has_marks(rest, marks):
        if len(texts) > 1 and role == "user":
            content = [_TextPart(text=text) for text in texts]
        else:
            content = "\n\n".join(texts)
    else:
        content = [_content_part(part, marks) for part in rest]
    wire = _Message(role=role, content=content)
    if message.name is not None:
        wire.name = message.name
    encoded.append(wire)


def _has_marks(parts: Sequence[Part], marks: bool) -> bool:
    return marks and any(isinstance(part, Text) and part.cache is not None for part in parts)


def _content_part(part: Part, marks: bool) -> object:
    match part:
        case Text():
            return _TextPart(text=part.text, cache_control=_mark(part.cache, marks))
        case Image():
            url = part.url or f"data:{part.media_type or 'image/png'};base64,{part.data or ''}"
            image = _ImageURL(url)
            if part.detail is not None:
                image.detail = part.detail
            return _ImagePart(image_url=image, cache_control=_mark(part.cache, marks))
        case Opaque(wire="openai"):
            return Raw(part.json.encode())
        case Opaque():
            raise UnsupportedField(
                f"messages: the model cannot take a part of type '{part.kind}'", param="messages"
            )
        case Reasoning() | Refusal() | ToolCall() | ToolResult():
            raise UnsupportedField(
                "messages: only an assistant's message can hold thinking, refusals or tool calls",
                param="messages",
            )


def _tool_message(result: ToolResult, row: ProviderRow, marks: bool) -> _Message:
    texts = [part for part in result.parts if isinstance(part, Text)]
    prefix = "Error: " if result.is_error else ""
    wire = _Message(
        role="tool",
        content=prefix + "\n\n".join([part.text for part in texts]),
        tool_call_id=_call_id(result.call_id, row),
    )
    if _has_marks(texts, marks) and not prefix:
        wire.content = [_content_part(part, marks) for part in texts]
    if result.name is not None:
        wire.name = result.name
    return wire


def _call_id(call_id: str, row: ProviderRow) -> str:
    """`call_id`, or what stands for it, the same each time, where the provider refuses it."""
    chars = row.tool_call_id_chars
    if chars is not None:
        if len(call_id) == chars and call_id.isascii() and call_id.isalnum():
            return call_id
        # Five bits a character: of the nine that Mistral takes, a thousand calls clash once in 10^8.
        return b32encode(sha256(call_id.encode()).digest()).decode()[:chars]
    if 0 < len(call_id) <= MAX_ID_CHARS:
        return call_id
    return "call_" + sha256(call_id.encode()).hexdigest()[:32]


def _assistant_message(message: Message, row: ProviderRow) -> _Message:
    texts: list[str] = []
    refusals: list[str] = []
    thinking: list[Reasoning] = []
    calls: list[_ToolCall] = []
    for part in message.parts:
        match part:
            case Text():
                texts.append(part.text)
            case ToolCall():
                function = _CalledFunction(part.name, part.arguments or "{}")
                calls.append(_ToolCall(_call_id(part.id, row), "function", function))
            case Reasoning():
                thinking.append(part)
            case Refusal():
                refusals.append(part.text)
            case _:
                raise UnsupportedField(
                    "messages: the model cannot take this part of an assistant's message",
                    param="messages",
                )
    wire = _Message(
        role="assistant",
        content="".join(texts) if texts or not (calls or refusals) else None,
    )
    if message.name is not None:
        wire.name = message.name
    if refusals:
        wire.refusal = "".join(refusals)
    if calls:
        wire.tool_calls = calls
    if thinking:
        _put_thinking(wire, thinking, row.forwards)
    return wire


def _put_thinking(wire: _Message, thinking: Sequence[Reasoning], forwards: Sequence[str]) -> None:
    text = "".join([part.text for part in thinking])
    if text and "reasoning_content" in forwards:
        wire.reasoning_content = text
    if text and "reasoning" in forwards:
        wire.reasoning = text
    if "reasoning_details" in forwards:
        wire.reasoning_details = [
            reasoning_detail(part, index) for index, part in enumerate(thinking)
        ]
