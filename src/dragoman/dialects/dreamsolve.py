"""`dreamsolve`: POST /api/v1/completions, a small completions API of one default model.

Its page documents text and tool calls, three error texts and `Content-Type: text/plain` for streams,
and little else; what it leaves open follows Anthropic's Messages API, whose shapes it shows. An
answer holds text and tool calls alone: thinking is not part of it.

A stream is made of Anthropic's frames under the documented content type. With the request header
`X-Stream-Format: text` it is bare text: no frames, so neither tool calls nor errors can be told, and
a failure cuts the connection instead.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal, assert_never

import msgspec
from msgspec import Meta

from dragoman import errors
from dragoman.chat import (
    ChatRequest,
    ChatResponse,
    DialectName,
    Failed,
    Message,
    PartDelta,
    PartEnded,
    PartStarted,
    Refusal,
    ResponseHead,
    StreamEvent,
    Text,
)
from dragoman.dialects import anthropic_answers as answers
from dragoman.dialects import anthropic_frames as frames
from dragoman.dialects.anthropic_blocks import (
    TextBlock,
    ToolResultBlock,
    ToolUseBlock,
    TurnDecoder,
)
from dragoman.dialects.anthropic_tools import (
    ToolChoiceParam,
    ToolParam,
    decode_tool_choice,
    decode_tools,
)
from dragoman.dialects.fields import BodyDecoder, require_range
from dragoman.errors import DragomanError, InvalidRequest, MalformedBody
from dragoman.ports import Example, StreamEncoder, WireTypes

DEFAULT_MAX_TOKENS = 1000
MAX_MAX_TOKENS = 100_000
STREAM_FORMAT_HEADER = "x-stream-format"

_NO_MESSAGES = "Messages are required and must be an array"


class DreamsolveMessage(msgspec.Struct, kw_only=True):
    role: Annotated[str, Meta(description="`user`, `assistant` or `system`.")]
    content: Annotated[
        str | list[TextBlock | ToolUseBlock | ToolResultBlock] | None,
        Meta(description="Text, or blocks. An assistant's may be null."),
    ] = None


class DreamsolveRequest(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    messages: Annotated[
        list[DreamsolveMessage],
        Meta(
            description="The conversation. System messages may stand anywhere and are collected in"
            " order; an assistant's message in the last place is continued."
        ),
    ]
    stream: bool | None = None
    max_tokens: Annotated[
        int | None, Meta(description="1 to 100000; 1000 where it is not given.")
    ] = None
    tools: list[ToolParam] | None = None
    tool_choice: Annotated[
        str | ToolChoiceParam | None,
        Meta(description="`auto`, `any`, `none`, or an object as Anthropic's API takes it."),
    ] = None


class DreamsolveError(msgspec.Struct, frozen=True):
    error: str


_decoder = BodyDecoder(DreamsolveRequest)
_encode = msgspec.json.Encoder().encode


class _BareTextEncoder:
    """Text, and nothing around it."""

    __slots__ = ("_is_text",)

    def __init__(self) -> None:
        self._is_text = False

    def feed(self, events: Sequence[StreamEvent]) -> bytes:
        pieces: list[str] = []
        for event in events:
            match event:
                case PartStarted(part=Text(text=text) | Refusal(text=text)):
                    self._is_text = True
                    pieces.append(text)
                case PartDelta(text=text) if self._is_text:
                    pieces.append(text)
                case PartEnded() | Failed():
                    self._is_text = False
        return "".join(pieces).encode()

    def close(self) -> bytes:
        return b""


class Dreamsolve:
    """Serves `POST /api/v1/completions`; implements `ports.Dialect`."""

    name: DialectName = "dreamsolve"
    names_request_in_own_header = True

    def __init__(self) -> None:
        self.wire = WireTypes(
            path="/api/v1/completions",
            summary="Create a completion with the default model",
            request=DreamsolveRequest,
            response=answers.PlainMessage,
            stream_frame=frames.StreamFrame | answers.ErrorFrame,
            error=DreamsolveError,
            stream_media_type="text/plain",
            examples=_EXAMPLES,
            request_headers=(
                ("X-Stream-Format", "`text`: stream the bare text instead of event frames."),
            ),
        )

    def decode_request(self, body: bytes, headers: Mapping[str, str]) -> ChatRequest:
        try:
            wire, unknown = _decoder.decode(body)
        except InvalidRequest as error:
            if isinstance(error, MalformedBody) or error.param == "messages":
                raise InvalidRequest(_NO_MESSAGES, param="messages") from None
            raise
        if not wire.messages:
            raise InvalidRequest(_NO_MESSAGES, param="messages")
        require_range("max_tokens", wire.max_tokens, 1, MAX_MAX_TOKENS)
        tools = decode_tools(wire.tools) if wire.tools else ()
        tool_choice, parallel = decode_tool_choice(wire.tool_choice, tools)
        stream = bool(wire.stream)
        return ChatRequest(
            dialect="dreamsolve",
            target=None,
            messages=_decode_messages(wire.messages, body),
            tools=tools,
            tool_choice=tool_choice,
            parallel_tool_calls=parallel,
            max_output_tokens=(DEFAULT_MAX_TOKENS if wire.max_tokens is None else wire.max_tokens),
            is_default_maximum=wire.max_tokens is None,
            stream=stream,
            bare_text=stream and headers.get(STREAM_FORMAT_HEADER, "").strip().lower() == "text",
            extensions=unknown,
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
        return answers.encode_plain_message(response, head)

    def encode_error(self, error: DragomanError, request_id: str) -> bytes:
        return _encode(DreamsolveError(_error_text(error)))

    def error_status(self, error: DragomanError) -> int:
        return 500 if _is_backend_failure(error) else error.status

    def stream_encoder(self, request: ChatRequest, head: ResponseHead) -> StreamEncoder:
        return _BareTextEncoder() if request.bare_text else frames.FrameEncoder(head, "plain")

    def stream_content_type(self, request: ChatRequest) -> str:
        return "text/plain; charset=utf-8"


def _decode_messages(messages: list[DreamsolveMessage], body: bytes) -> tuple[Message, ...]:
    turns = TurnDecoder(body)
    for i, message in enumerate(messages):
        turns.add(i, message.role, message.content)
    system = [message for message in turns.messages if message.role == "system"]
    if not system:
        return tuple(turns.messages)
    if len(system) == len(turns.messages):
        raise InvalidRequest(
            "messages must hold at least one message that is not a system message",
            param="messages",
        )
    return (*system, *[message for message in turns.messages if message.role != "system"])


def _is_backend_failure(error: DragomanError) -> bool:
    # A client cannot ask for `max_ttft_ms` here: a first token that is late is the model's failure.
    return error.status >= 500 or isinstance(error, errors.FirstTokenTimeout)


def _error_text(error: DragomanError) -> str:
    if _is_backend_failure(error):
        return "Failed to get AI response"
    match error:
        case errors.Unauthenticated():
            return "Unauthorized. Please log in."
        case errors.InsufficientCredits():
            return "Insufficient credits"
        case errors.RateLimited():
            return "Rate limit exceeded"
        case MalformedBody():
            return _NO_MESSAGES
        case _:
            return error.message


_WEATHER_TOOL = {
    "name": "get_weather",
    "description": "Get current weather for a location",
    "input_schema": {
        "type": "object",
        "properties": {"location": {"type": "string", "description": "City name"}},
        "required": ["location"],
    },
}

_EXAMPLES = (
    Example(
        name="question",
        summary="A question",
        body={
            "messages": [{"role": "user", "content": "What is the capital of France?"}],
            "max_tokens": 100,
        },
    ),
    Example(
        name="system",
        summary="With instructions",
        body={
            "messages": [
                {"role": "system", "content": "You answer in one short sentence."},
                {"role": "user", "content": "Why is the sky blue?"},
            ],
            "max_tokens": 200,
        },
    ),
    Example(
        name="stream",
        summary="Streamed",
        body={
            "messages": [{"role": "user", "content": "Count from one to five."}],
            "stream": True,
            "max_tokens": 100,
        },
    ),
    Example(
        name="tools",
        summary="With a tool that must be called",
        body={
            "messages": [{"role": "user", "content": "What is the weather in Paris?"}],
            "tools": [_WEATHER_TOOL],
            "tool_choice": "any",
            "max_tokens": 200,
        },
    ),
)

DREAMSOLVE = Dreamsolve()
