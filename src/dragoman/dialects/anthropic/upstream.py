"""`anthropic`, upstream: what we ask of a provider that speaks Anthropic's Messages API.

Answers are read by `upstream_answers`, errors by `upstream_errors`. How canonical values become this format's:

- System messages are lifted to `system`, in order; all others become user and assistant turns that
  alternate, tool results first in theirs. Blank texts, which the API refuses, are left out.
- Tool ids are restricted to the characters that the API allows, and made unique: local servers
  repeat theirs from turn to turn.
- Thinking without a signature was not made by this API's models, and is refused by it as forged:
  earlier turns go without.
- What the API has nothing like is refused by name (`UPSTREAM_LACKS` lets routing know before). That
  includes a temperature above 1, because a lower one is not what was asked for, and stop strings of
  white space alone. An image's `detail` is a hint, and sent nowhere.

Source: https://platform.claude.com/docs/en/api/messages
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal, TypeGuard, assert_never

import msgspec

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
from dragoman.dialects.anthropic.upstream_answers import (
    StreamDecoder,
    decode_count_response,
    decode_response,
)
from dragoman.dialects.anthropic.upstream_errors import decode_error
from dragoman.dialects.anthropic_blocks import IMAGE_TYPES
from dragoman.dialects.anthropic_tools import coded_tool_id, is_plain_name, tool_input
from dragoman.errors import UnsupportedField
from dragoman.records.model import Feature, Model
from dragoman.records.provider import ProviderRow

__all__ = [
    "ANTHROPIC_UPSTREAM",
    "UPSTREAM_LACKS",
    "UPSTREAM_MAX_STOPS",
    "can_send_stop",
    "decode_count_response",
    "decode_error",
    "decode_response",
    "encode_count_request",
    "encode_request",
    "stream_decoder",
]

UPSTREAM_LACKS: frozenset[Feature] = frozenset(
    {
        "frequency_penalty",
        "presence_penalty",
        "seed",
        "logit_bias",
        "logprobs",
        "n",
        "json_object",
        "blank_stops",
    }
)
"""What no model behind this wire format can be asked for."""

UPSTREAM_MAX_STOPS: int | None = None
"""The API names no limit."""

DEFAULT_MAX_TOKENS = 4096
"""The API requires a limit: this one stands where neither the client nor the model has any."""


def can_send_stop(stop: str) -> bool:
    """Whether the API takes `stop`: it refuses stop strings of white space alone."""
    return not _is_blank(stop)


# --- The wire -----------------------------------------------------------------------------------


class _CacheControl(msgspec.Struct, frozen=True):
    type: Literal["ephemeral"] = "ephemeral"
    ttl: CacheTTL | msgspec.UnsetType = msgspec.UNSET


# Five minutes is the API's default: unsaid, for those who take no `ttl`.
_CACHE: dict[CacheTTL | None, _CacheControl | msgspec.UnsetType] = {
    None: msgspec.UNSET,
    "5m": _CacheControl(),
    "1h": _CacheControl(ttl="1h"),
}


class _Text(msgspec.Struct, tag="text", tag_field="type"):
    text: str
    cache_control: _CacheControl | msgspec.UnsetType = msgspec.UNSET


class _Source(msgspec.Struct, omit_defaults=True):
    type: Literal["base64", "url"] | None = None
    media_type: str | None = None
    data: str | None = None
    url: str | None = None


class _Image(msgspec.Struct, tag="image", tag_field="type"):
    source: _Source
    cache_control: _CacheControl | msgspec.UnsetType = msgspec.UNSET


class _Thinking(msgspec.Struct, tag="thinking", tag_field="type"):
    thinking: str
    signature: str


class _RedactedThinking(msgspec.Struct, tag="redacted_thinking", tag_field="type"):
    data: str


class _ToolUse(msgspec.Struct, tag="tool_use", tag_field="type"):
    id: str
    name: str
    input: msgspec.Raw
    cache_control: _CacheControl | msgspec.UnsetType = msgspec.UNSET


class _ToolResult(msgspec.Struct, tag="tool_result", tag_field="type"):
    tool_use_id: str
    content: str | list[_Text | _Image] | msgspec.UnsetType = msgspec.UNSET
    is_error: bool | msgspec.UnsetType = msgspec.UNSET
    cache_control: _CacheControl | msgspec.UnsetType = msgspec.UNSET


_Block = _Text | _Image | _Thinking | _RedactedThinking | _ToolUse | _ToolResult | msgspec.Raw


class _Turn(msgspec.Struct):
    role: Literal["user", "assistant"]
    content: str | list[_Block]


class _Tool(msgspec.Struct, omit_defaults=True):
    name: str
    input_schema: msgspec.Raw
    description: str | None = None
    strict: bool | None = None
    cache_control: _CacheControl | msgspec.UnsetType = msgspec.UNSET


class _ToolChoice(msgspec.Struct, omit_defaults=True):
    type: str
    name: str | None = None
    disable_parallel_tool_use: bool = False


class _ThinkingConfig(msgspec.Struct, omit_defaults=True):
    type: str
    budget_tokens: int | None = None
    display: str | None = None


class _Format(msgspec.Struct):
    schema: msgspec.Raw
    type: Literal["json_schema"] = "json_schema"


class _OutputConfig(msgspec.Struct, omit_defaults=True):
    effort: str | None = None
    format: _Format | None = None


class _Body(msgspec.Struct, kw_only=True, omit_defaults=True):
    model: str
    max_tokens: int | None = None
    system: str | list[_Text] | None = None
    messages: list[_Turn]
    tools: list[_Tool] | None = None
    tool_choice: _ToolChoice | None = None
    stop_sequences: Sequence[str] | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    thinking: _ThinkingConfig | None = None
    output_config: _OutputConfig | None = None
    stream: bool = False


_encode = msgspec.json.Encoder().encode
_OWN_FIELDS = frozenset(_Body.__struct_encode_fields__)


def encode_request(request: ChatRequest, model: Model, row: ProviderRow, *, stream: bool) -> bytes:
    """The body of a message request; raises `UnsupportedField` for what cannot be asked."""
    body = _prompt(request, model)
    _refuse_unsupported(request)
    body.max_tokens = request.max_output_tokens or model.max_output_tokens or DEFAULT_MAX_TOKENS
    body.stop_sequences = request.stop or None
    sampling = request.sampling
    body.temperature, body.top_p, body.top_k = (
        sampling.temperature,
        sampling.top_p,
        sampling.top_k,
    )
    body.stream = stream
    encoded = _encode(body)
    if request.extensions and row.forwards:
        return _with_extensions(encoded, request, row)
    return encoded


def encode_count_request(request: ChatRequest, model: Model, row: ProviderRow) -> bytes:  # noqa: ARG001  # like `encode_request`
    """The body of a token count: the prompt alone."""
    return _encode(_prompt(request, model))


def stream_decoder() -> StreamDecoder:
    return StreamDecoder()


def _with_extensions(encoded: bytes, request: ChatRequest, row: ProviderRow) -> bytes:
    pieces = [encoded[:-1]]
    for name, value in request.extensions:
        if name in row.forwards and name not in _OWN_FIELDS:
            pieces += (b",", _encode(name), b":", bytes(value))
    pieces.append(b"}")
    return b"".join(pieces)


def _prompt(request: ChatRequest, model: Model) -> _Body:
    system, turns = _Turns(request.messages).split()
    body = _Body(model=model.upstream_name, messages=turns, system=system)
    if request.tools:
        body.tools = [_tool(tool) for tool in request.tools]
        body.tool_choice = _tool_choice(request.tool_choice, request.parallel_tool_calls)
    if request.thinking is not None or request.response_format.kind != "text":
        _configure_output(body, request.thinking, request.response_format)
    return body


def _refuse_unsupported(request: ChatRequest) -> None:
    sampling = request.sampling
    if (
        request.choices > 1
        or request.logprobs
        or sampling.seed is not None
        or sampling.frequency_penalty
        or sampling.presence_penalty
        or sampling.logit_bias
    ):
        raise _unsupported(_first_unsupported(request))
    if sampling.temperature is not None and sampling.temperature > 1:
        raise UnsupportedField("temperature must be at most 1 for this model", param="temperature")
    for stop in request.stop:
        if not can_send_stop(stop):
            raise UnsupportedField(
                "stop strings of white space alone cannot be honoured by this model",
                param="stop",
            )


def _first_unsupported(request: ChatRequest) -> str:
    if request.choices > 1:
        return "n"
    if request.logprobs:
        return "logprobs"
    if request.sampling.seed is not None:
        return "seed"
    if request.sampling.frequency_penalty:
        return "frequency_penalty"
    return "presence_penalty" if request.sampling.presence_penalty else "logit_bias"


def _unsupported(param: str) -> UnsupportedField:
    return UnsupportedField(
        f"{param} cannot be honoured by this model; leave it out, or choose another model",
        param=param,
    )


# --- Messages -----------------------------------------------------------------------------------


class _Turns:
    """One conversation on its way into turns that alternate."""

    __slots__ = ("_are_calls_made", "_messages", "_used_ids", "_wire_ids")

    def __init__(self, messages: Sequence[Message]) -> None:
        self._messages = messages
        self._wire_ids: dict[str, list[str]] = {}
        """The ids that the calls of each canonical id were given in the latest turn that made any.

        Where one turn made several, their results take these in order, the last of them for good.
        """
        self._are_calls_made = False
        """Whether something else followed the calls of the latest turn."""
        self._used_ids: set[str] = set()

    def split(self) -> tuple[str | list[_Text] | None, list[_Turn]]:
        """The system prompt, and everybody's turns."""
        system: list[_Text] = []
        turns: list[_Turn] = []
        role: Literal["user", "assistant"]
        for i, message in enumerate(self._messages):
            if message.name is not None and message.role != "tool":
                # A tool message's name repeats its call's; any other says who speaks.
                raise _unsupported(f"messages[{i}].name")
            if message.role == "system":
                system += self._system(i, message.parts)
                continue
            role = "assistant" if message.role == "assistant" else "user"
            self._are_calls_made |= role == "user"
            parts = message.parts
            last = turns[-1] if turns and turns[-1].role == role else None
            first = parts[0] if len(parts) == 1 else None
            if last is None and first is not None and _is_plain(first):
                turns.append(_Turn(role, first.text))
                continue
            blocks = self._blocks(i, parts)
            if last is None:
                if blocks:
                    turns.append(_Turn(role, blocks))
            elif isinstance(last.content, str):
                last.content = [_Text(last.content), *blocks]
            else:
                last.content += blocks
        if not turns:
            raise UnsupportedField(
                "messages must say something beside instructions to this model",
                param="messages",
            )
        for turn in turns:
            if not isinstance(turn.content, str):
                _settle(turn, turn.content)
        if len(system) == 1 and system[0].cache_control is msgspec.UNSET:
            return system[0].text, turns
        return system or None, turns

    def _system(self, i: int, parts: Iterable[Part]) -> list[_Text]:
        blocks = []
        for part in parts:
            if not isinstance(part, Text):
                raise _unsupported(f"messages[{i}].content")
            if not _is_blank(part.text):
                blocks.append(_Text(part.text, _CACHE[part.cache]))
        return blocks

    def _blocks(self, i: int, parts: Iterable[Part]) -> list[_Block]:
        blocks: list[_Block] = []
        for j, part in enumerate(parts):
            match part:
                case Text():
                    if not _is_blank(part.text):
                        blocks.append(_Text(part.text, _CACHE[part.cache]))
                case ToolCall():
                    blocks.append(
                        _ToolUse(
                            self._new_id(part.id),
                            part.name,
                            tool_input(part.arguments),
                            _CACHE[part.cache],
                        )
                    )
                case ToolResult():
                    blocks.append(self._tool_result(i, part))
                case Image():
                    blocks.append(_image(f"messages[{i}].content[{j}]", part))
                case Reasoning(redacted=str(data)):
                    blocks.append(_RedactedThinking(data))
                case Reasoning(signature=str(signature)):
                    blocks.append(_Thinking(part.text, signature))
                case Reasoning():
                    pass
                case Refusal():
                    if not _is_blank(part.text):
                        blocks.append(_Text(part.text))
                case Opaque():
                    if part.wire != "anthropic":
                        raise _unsupported(f"messages[{i}].content[{j}]")
                    blocks.append(msgspec.Raw(part.json.encode()))
                case _:
                    assert_never(part)
        return blocks

    def _tool_result(self, i: int, part: ToolResult) -> _ToolResult:
        content: list[_Text | _Image] = []
        for inner in part.parts:
            if isinstance(inner, Image):
                content.append(_image(f"messages[{i}].content", inner))
            elif not _is_blank(inner.text):
                content.append(_Text(inner.text, _CACHE[inner.cache]))
        result = _ToolResult(
            self._answered_id(part.call_id),
            cache_control=_CACHE[part.cache],
        )
        if part.is_error:
            result.is_error = True
        match content:
            case []:
                pass
            case [_Text(text=text, cache_control=msgspec.UNSET)]:
                result.content = text
            case _:
                result.content = content
        return result

    def _new_id(self, call_id: str) -> str:
        first = wire_id = _safe_id(call_id)
        count = 1
        while wire_id in self._used_ids:
            count += 1
            wire_id = f"{first}_{count}"
        self._used_ids.add(wire_id)
        if self._are_calls_made:
            self._wire_ids = {}
            self._are_calls_made = False
        self._wire_ids.setdefault(call_id, []).append(wire_id)
        return wire_id

    def _answered_id(self, call_id: str) -> str:
        wire_ids = self._wire_ids.get(call_id)
        if wire_ids is None:
            return _safe_id(call_id)
        return wire_ids.pop(0) if len(wire_ids) > 1 else wire_ids[0]


def _is_plain(part: Part) -> TypeGuard[Text]:
    return type(part) is Text and part.cache is None and not _is_blank(part.text)


def _is_blank(text: str) -> bool:
    return not text or text.isspace()


def _safe_id(call_id: str) -> str:
    return call_id if is_plain_name(call_id) else coded_tool_id(call_id)


def _settle(turn: _Turn, blocks: list[_Block]) -> None:
    """Put results first, and write a lone text as the API's short form does."""
    if len(blocks) == 1:
        block = blocks[0]
        if type(block) is _Text and block.cache_control is msgspec.UNSET:
            turn.content = block.text
    elif turn.role == "user" and any(type(block) is _ToolResult for block in blocks):
        # Sorting is stable: results first, and each kind in its own order.
        blocks.sort(key=lambda block: type(block) is not _ToolResult)


def _image(path: str, image: Image) -> _Image:
    url, data, media_type = image.url, image.data, image.media_type
    if data is not None:
        if media_type not in IMAGE_TYPES:
            raise UnsupportedField(
                f"{path}: this model takes images of {', '.join(sorted(IMAGE_TYPES))}",
                param=path,
            )
        source = _Source(type="base64", media_type=media_type, data=data)
    else:
        source = _Source(type="url", url=url)
    return _Image(source, _CACHE[image.cache])


# --- Tools and output ---------------------------------------------------------------------------

_schema_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])


def _tool(tool: Tool) -> _Tool:
    return _Tool(
        tool.name,
        _object_schema(tool.parameters),
        tool.description,
        tool.strict,
        _CACHE[tool.cache],
    )


def _object_schema(schema: msgspec.Raw) -> msgspec.Raw:
    """`schema` as it is, or with the `type` that the API requires and OpenAI's does not."""
    try:
        fields = _schema_fields.decode(schema)
    except msgspec.DecodeError:
        return schema
    if "type" in fields:
        return schema
    return msgspec.Raw(_encode({"type": "object", **fields}))


def _tool_choice(choice: ToolChoice, parallel: bool | None) -> _ToolChoice | None:
    is_single = parallel is False
    match choice.mode:
        case "auto":
            return _ToolChoice("auto", None, is_single) if is_single else None
        case "none":
            return _ToolChoice("none")
        case "required":
            return _ToolChoice("any", None, is_single)
        case "named":
            return _ToolChoice("tool", choice.name, is_single)
        case _:
            assert_never(choice.mode)


# OpenAI has a step below Anthropic's lowest.
_EFFORTS = {"minimal": "low"} | {name: name for name in ("low", "medium", "high", "xhigh", "max")}


def _configure_output(body: _Body, thinking: Thinking | None, format_: ResponseFormat) -> None:
    config = _OutputConfig()
    match format_.kind:
        case "text":
            pass
        case "json_object":
            raise _unsupported("response_format")
        case "json_schema":
            if format_.schema is None:
                raise _unsupported("response_format")
            config.format = _Format(format_.schema)
        case _:
            assert_never(format_.kind)
    if thinking is not None:
        # OpenAI's "none" is no effort but the wish not to think.
        if thinking.effort not in (None, "none"):
            config.effort = _EFFORTS.get(thinking.effort)
            if config.effort is None:
                raise _unsupported("reasoning_effort")
        if not thinking.is_implied:
            body.thinking = _thinking_config(thinking)
    if config.effort is not None or config.format is not None:
        body.output_config = config


def _thinking_config(thinking: Thinking) -> _ThinkingConfig:
    if not thinking.enabled:
        return _ThinkingConfig("disabled")
    if thinking.budget_tokens is not None:
        return _ThinkingConfig("enabled", thinking.budget_tokens, thinking.display)
    return _ThinkingConfig("adaptive", None, thinking.display)


class AnthropicUpstream:
    """The functions of this module under one name, beside other wire formats' upstream sides."""

    encode_request = staticmethod(encode_request)
    decode_response = staticmethod(decode_response)
    decode_error = staticmethod(decode_error)
    stream_decoder = staticmethod(stream_decoder)
    encode_count_request = staticmethod(encode_count_request)
    decode_count_response = staticmethod(decode_count_response)
    lacks = UPSTREAM_LACKS
    max_stops = UPSTREAM_MAX_STOPS


ANTHROPIC_UPSTREAM = AnthropicUpstream()
