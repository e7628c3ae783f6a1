"""`anthropic`, serving: POST /v1/messages and /v1/messages/count_tokens, Anthropic's Messages API.

Decisions that its documents leave to us:

- Fields that only Anthropic's own service can act on (`service_tier`, `container`, `speed`, …) are
  unknown fields here: ignored and named, unless the answering provider's row forwards them. So are
  a tool's hints and the citations of an earlier answer. Tools that Anthropic runs are refused.
- An unknown model is 404 `not_found_error`, as it is there.
- `max_tokens` 0 asks Anthropic to fill its prompt cache without answering: refused, because other
  targets have nothing like it.
- No sampling default is ours: the API's own types no longer name one, and models differ.
- A model's refusal in words is a text block, with the stop reason `refusal`.

Source: https://platform.claude.com/docs/en/api/messages
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Literal, assert_never

import msgspec
from msgspec import Meta

from dragoman.chat import (
    AUTO_TOOL_CHOICE,
    NO_CONTEXT,
    NO_SAMPLING,
    TEXT_FORMAT,
    ChatRequest,
    ChatResponse,
    DialectName,
    Message,
    RequestContext,
    ResponseFormat,
    ResponseHead,
    Sampling,
    Thinking,
    Tool,
    ToolChoice,
)
from dragoman.dialects import anthropic_answers as answers
from dragoman.dialects import anthropic_frames as frames
from dragoman.dialects.anthropic_blocks import (
    ContentBlock,
    TextBlock,
    TurnDecoder,
    cache_last_part,
    system_parts,
)
from dragoman.dialects.anthropic_tools import (
    CacheControl,
    ToolChoiceParam,
    ToolParam,
    decode_tool_choice,
    decode_tools,
)
from dragoman.dialects.fields import BodyDecoder, require_json_object, require_range
from dragoman.errors import DragomanError, InvalidRequest, MalformedBody
from dragoman.ports import Example, StreamEncoder, WireTypes

MIN_THINKING_TOKENS = 1024
MAX_INTEGER = 2**31 - 1
"""The most that every model server takes for a count."""
MAX_STOPS = 256
MAX_STOP_CHARS = 4096
MAX_USER_CHARS = 1024

_HINT = msgspec.Raw(b"true")


# --- The request --------------------------------------------------------------------------------


class MessageParam(msgspec.Struct, kw_only=True):
    role: Annotated[str, Meta(description="`user`, `assistant` or `system`.")]
    content: Annotated[
        str | list[ContentBlock] | None,
        Meta(description="Text, or blocks. An assistant's may be null."),
    ] = None


class Metadata(msgspec.Struct, kw_only=True):
    user_id: Annotated[
        str | None, Meta(description="Who the request is for, as the client names them.")
    ] = None


class ThinkingEnabled(msgspec.Struct, tag="enabled", tag_field="type", kw_only=True):
    budget_tokens: Annotated[int, Meta(description="At least 1024, and less than `max_tokens`.")]
    display: Literal["summarized", "omitted"] | None = None


class ThinkingAdaptive(msgspec.Struct, tag="adaptive", tag_field="type", kw_only=True):
    """The model decides when and how much to think."""

    display: Literal["summarized", "omitted"] | None = None


class ThinkingDisabled(msgspec.Struct, tag="disabled", tag_field="type"):
    pass


ThinkingParam = ThinkingEnabled | ThinkingAdaptive | ThinkingDisabled


class JsonSchemaFormat(msgspec.Struct, tag="json_schema", tag_field="type", kw_only=True):
    schema: Annotated[msgspec.Raw, Meta(description="The JSON Schema of the answer.")]


class OutputConfig(msgspec.Struct, kw_only=True):
    effort: Literal["low", "medium", "high", "xhigh", "max"] | None = None
    format: JsonSchemaFormat | None = None


class _Prompt(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What both endpoints take."""

    model: str
    messages: Annotated[list[MessageParam], Meta(description="The conversation; not empty.")]
    system: Annotated[
        str | list[TextBlock] | None, Meta(description="Instructions, before the conversation.")
    ] = None
    tools: list[ToolParam] | None = None
    tool_choice: ToolChoiceParam | None = None
    thinking: ThinkingParam | None = None
    output_config: OutputConfig | None = None
    cache_control: Annotated[
        CacheControl | None, Meta(description="Marks the last block that can be cached.")
    ] = None


class MessagesRequest(_Prompt, kw_only=True, forbid_unknown_fields=True):
    max_tokens: Annotated[int, Meta(description="At least 1.")]
    stream: bool | None = None
    stop_sequences: list[str] | None = None
    temperature: Annotated[float | None, Meta(description="0 to 1.")] = None
    top_p: Annotated[float | None, Meta(description="0 to 1.")] = None
    top_k: Annotated[int | None, Meta(description="At least 0.")] = None
    metadata: Metadata | None = None


class CountTokensRequest(_Prompt, kw_only=True, forbid_unknown_fields=True):
    pass


class TokenCount(msgspec.Struct, frozen=True):
    input_tokens: int


_decoder = BodyDecoder(MessagesRequest)
_count_decoder = BodyDecoder(CountTokensRequest)
_encode = msgspec.json.Encoder().encode


# --- The dialect --------------------------------------------------------------------------------


class Anthropic:
    """Serves `POST /v1/messages`; implements `ports.Dialect`."""

    name: DialectName = "anthropic"
    names_request_in_own_header = True

    def __init__(self) -> None:
        self.wire = WireTypes(
            path="/v1/messages",
            summary="Create a message",
            request=MessagesRequest,
            response=answers.WireMessage,
            stream_frame=frames.StreamFrame | answers.ErrorFrame,
            error=answers.ErrorFrame,
            stream_media_type="text/event-stream",
            examples=_EXAMPLES,
        )

    def decode_request(self, body: bytes, headers: Mapping[str, str]) -> ChatRequest:
        wire, unknown = _decoder.decode(body)
        _require_rules(wire)
        prompt = _decode_prompt(wire, body)
        stops = wire.stop_sequences
        return ChatRequest(
            dialect="anthropic",
            target=wire.model,
            messages=prompt.messages,
            tools=prompt.tools,
            tool_choice=prompt.tool_choice,
            parallel_tool_calls=prompt.parallel,
            sampling=_sampling(wire),
            max_output_tokens=wire.max_tokens,
            stop=tuple(stops) if stops else (),
            response_format=prompt.response_format,
            thinking=prompt.thinking,
            stream=bool(wire.stream),
            context=_context(wire.metadata),
            extensions=prompt.named(unknown) if prompt.ignored else unknown,
        )

    def bind_target(self, request: ChatRequest, kind: Literal["model", "project"]) -> ChatRequest:
        match kind:
            case "model" | "project":
                return request
            case _:
                assert_never(kind)

    def encode_response(
        self, request: ChatRequest, response: ChatResponse, head: ResponseHead
    ) -> bytes:
        return answers.encode_message(response, head)

    def encode_error(self, error: DragomanError, request_id: str) -> bytes:
        return answers.encode_error(error, request_id)

    def error_status(self, error: DragomanError) -> int:
        return answers.error_status(error)

    def stream_encoder(self, request: ChatRequest, head: ResponseHead) -> StreamEncoder:
        return frames.FrameEncoder(head, "full")

    def stream_content_type(self, request: ChatRequest) -> str:
        return "text/event-stream; charset=utf-8"


def decode_count_request(body: bytes, headers: Mapping[str, str]) -> ChatRequest:  # noqa: ARG001  # like `Dialect.decode_request`
    """The request of `/v1/messages/count_tokens`: a prompt, with no answer wanted."""
    wire, unknown = _count_decoder.decode(body)
    prompt = _decode_prompt(wire, body)
    return ChatRequest(
        dialect="anthropic",
        target=wire.model,
        messages=prompt.messages,
        tools=prompt.tools,
        tool_choice=prompt.tool_choice,
        parallel_tool_calls=prompt.parallel,
        response_format=prompt.response_format,
        thinking=prompt.thinking,
        extensions=prompt.named(unknown) if prompt.ignored else unknown,
    )


def encode_count(input_tokens: int) -> bytes:
    return _encode(TokenCount(input_tokens))


# --- From the wire ------------------------------------------------------------------------------


class _DecodedPrompt(msgspec.Struct, frozen=True):
    messages: tuple[Message, ...]
    tools: tuple[Tool, ...]
    tool_choice: ToolChoice
    parallel: bool | None
    response_format: ResponseFormat
    thinking: Thinking | None
    ignored: Iterable[str]

    def named(
        self, unknown: tuple[tuple[str, msgspec.Raw], ...]
    ) -> tuple[tuple[str, msgspec.Raw], ...]:
        """The unknown fields, and the paths of inner ones that are ignored like them."""
        return unknown + tuple([(name, _HINT) for name in self.ignored])


def _decode_prompt(wire: _Prompt, body: bytes) -> _DecodedPrompt:
    if not wire.messages:
        raise InvalidRequest("messages must hold at least one message", param="messages")
    turns = TurnDecoder(body)
    if wire.system:
        turns.messages.append(Message("system", system_parts("system", wire.system)))
    for i, message in enumerate(wire.messages):
        turns.add(i, message.role, message.content)
    messages = turns.messages
    if messages[-1].role == "system" and all(message.role == "system" for message in messages):
        raise InvalidRequest(
            "messages must hold at least one message that is not a system message",
            param="messages",
        )
    if wire.cache_control is not None:
        cache_last_part(messages, wire.cache_control.ttl or "5m")
    tools: tuple[Tool, ...] = ()
    tool_choice, parallel = AUTO_TOOL_CHOICE, None
    if wire.tools:
        tools = decode_tools(wire.tools)
    if wire.tool_choice is not None:
        tool_choice, parallel = decode_tool_choice(wire.tool_choice, tools)
    response_format, effort = TEXT_FORMAT, None
    if wire.output_config is not None:
        response_format, effort = _output_config(wire.output_config)
    thinking = None
    if wire.thinking is not None or effort is not None:
        thinking = _thinking(wire.thinking, effort)
    ignored: Iterable[str] = ()
    if wire.tools or turns.has_citations:
        ignored = _ignored_hints(wire.tools or (), turns.has_citations)
    return _DecodedPrompt(
        tuple(messages), tools, tool_choice, parallel, response_format, thinking, ignored
    )


def _ignored_hints(tools: Iterable[ToolParam], has_citations: bool) -> Iterable[str]:
    """Paths of the fields that were given within others and are not carried, each once."""
    names = dict.fromkeys(f"tools[].{name}" for tool in tools for name in tool.hints())
    if has_citations:
        names["messages[].content[].citations"] = None
    return names


def _require_rules(wire: MessagesRequest) -> None:
    if wire.max_tokens < 1:
        raise InvalidRequest(
            "max_tokens must be at least 1; filling a prompt cache with 0 is not supported here",
            param="max_tokens",
        )
    if wire.max_tokens > MAX_INTEGER:
        raise InvalidRequest(f"max_tokens must be at most {MAX_INTEGER}", param="max_tokens")
    if wire.stop_sequences:
        _require_stop_rules(wire.stop_sequences)
    if isinstance(wire.thinking, ThinkingEnabled):
        budget = wire.thinking.budget_tokens
        if not MIN_THINKING_TOKENS <= budget < wire.max_tokens:
            raise InvalidRequest(
                f"thinking.budget_tokens must be at least {MIN_THINKING_TOKENS}"
                " and less than max_tokens",
                param="thinking.budget_tokens",
            )


def _require_stop_rules(stops: list[str]) -> None:
    if len(stops) > MAX_STOPS:
        raise InvalidRequest(
            f"stop_sequences must hold at most {MAX_STOPS} strings", param="stop_sequences"
        )
    for i, stop in enumerate(stops):
        if not 0 < len(stop) <= MAX_STOP_CHARS:
            path = f"stop_sequences[{i}]"
            raise InvalidRequest(f"{path} must have 1 to {MAX_STOP_CHARS} characters", param=path)


def _sampling(wire: MessagesRequest) -> Sampling:
    if wire.temperature is None and wire.top_p is None and wire.top_k is None:
        return NO_SAMPLING
    require_range("temperature", wire.temperature, 0, 1)
    require_range("top_p", wire.top_p, 0, 1)
    if wire.top_k is not None and not 0 <= wire.top_k <= MAX_INTEGER:
        raise InvalidRequest(f"top_k must be between 0 and {MAX_INTEGER}", param="top_k")
    return Sampling(temperature=wire.temperature, top_p=wire.top_p, top_k=wire.top_k)


def _context(metadata: Metadata | None) -> RequestContext:
    if metadata is None or metadata.user_id is None:
        return NO_CONTEXT
    if len(metadata.user_id) > MAX_USER_CHARS:
        raise InvalidRequest(
            f"metadata.user_id must have at most {MAX_USER_CHARS} characters",
            param="metadata.user_id",
        )
    return RequestContext(user=metadata.user_id)


def _output_config(config: OutputConfig) -> tuple[ResponseFormat, str | None]:
    if config.format is None:
        return TEXT_FORMAT, config.effort
    path = "output_config.format.schema"
    schema = bytes(config.format.schema)
    require_json_object(path, schema)
    try:
        schema.decode()
    except UnicodeError:
        raise MalformedBody from None
    return (
        ResponseFormat(kind="json_schema", schema=msgspec.Raw(schema), strict=True),
        config.effort,
    )


def _thinking(config: ThinkingParam | None, effort: str | None) -> Thinking:
    match config:
        case None:
            return Thinking(effort=effort, is_implied=True)
        case ThinkingEnabled(budget_tokens=budget, display=display):
            return Thinking(budget_tokens=budget, effort=effort, display=display)
        case ThinkingAdaptive(display=display):
            return Thinking(effort=effort, display=display)
        case ThinkingDisabled():
            return Thinking(enabled=False, effort=effort)
        case _:
            assert_never(config)


_EXAMPLES = (
    Example(
        name="question",
        summary="A question",
        body={
            "model": "local",
            "max_tokens": 100,
            "messages": [{"role": "user", "content": "What is the capital of France?"}],
        },
    ),
    Example(
        name="stream",
        summary="Streamed, with instructions and a stop sequence",
        body={
            "model": "local",
            "max_tokens": 100,
            "system": "You answer in one short sentence.",
            "messages": [{"role": "user", "content": [{"type": "text", "text": "Hello!"}]}],
            "stop_sequences": ["\n\n"],
            "stream": True,
        },
    ),
    Example(
        name="tools",
        summary="The turn after a tool call",
        body={
            "model": "local",
            "max_tokens": 100,
            "tools": [
                {
                    "name": "get_weather",
                    "description": "The weather in a city",
                    "input_schema": {
                        "type": "object",
                        "properties": {"city": {"type": "string"}},
                        "required": ["city"],
                    },
                }
            ],
            "messages": [
                {"role": "user", "content": "What is the weather in Paris?"},
                {
                    "role": "assistant",
                    "content": [
                        {
                            "type": "tool_use",
                            "id": "toolu_01A09q90qw90lq917835lq9",
                            "name": "get_weather",
                            "input": {"city": "Paris"},
                        }
                    ],
                },
                {
                    "role": "user",
                    "content": [
                        {
                            "type": "tool_result",
                            "tool_use_id": "toolu_01A09q90qw90lq917835lq9",
                            "content": "21 °C, sunny",
                        }
                    ],
                },
            ],
        },
    ),
)

ANTHROPIC = Anthropic()
