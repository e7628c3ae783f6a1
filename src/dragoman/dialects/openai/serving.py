"""The `openai` dialect, as clients see it: chat completions exactly as OpenAI's own clients expect.

Settled here, beside what `chat_completions` shares with `studio`:

- At most 4 stop strings, `max_tokens` ≥ 1, `n` ≥ 1. Temperature and top_p default to 1.
- A model that is missing or unknown is a 400, and `code` in an error is the HTTP status, an integer.
- A stream's usage comes on the chunk with the finish reason, unless `stream_options.include_usage`
  asks for OpenAI's own form: `usage: null` until a last chunk without choices.
- `session_id` is no field of this dialect: each request is a session of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Literal

import msgspec
from msgspec import Raw

from dragoman.chat import (
    AUTO_TOOL_CHOICE,
    NO_CONTEXT,
    ChatRequest,
    ChatResponse,
    DialectName,
    RequestContext,
    ResponseHead,
    Sampling,
    StreamUsage,
)
from dragoman.dialects.chat_completions import (
    check_user,
    decode_choices,
    decode_logprobs,
    decode_max_tokens,
    decode_messages,
    decode_response_format,
    decode_sampling,
    decode_stop,
    decode_thinking,
    decode_tool,
    decode_tool_choice,
    present,
    refuse_functions,
)
from dragoman.dialects.chat_completions_answer import (
    AnswerUsage,
    Logprobs,
    MessageOut,
    encode_logprobs,
    encode_message,
    encode_usage,
    finish_reason,
)
from dragoman.dialects.chat_completions_errors import error_type, shown_message
from dragoman.dialects.chat_completions_stream import ChunkEncoder, Delta, shown_usage
from dragoman.dialects.chat_completions_wire import CompletionBody, MessageIn, ToolIn, about
from dragoman.dialects.fields import BodyDecoder, invalid_field
from dragoman.dialects.openai.examples import EXAMPLES
from dragoman.errors import DragomanError, InvalidRequest, UnknownEntity
from dragoman.ports import Dialect, StreamEncoder, WireTypes

MAX_STOPS = 4
DEFAULT_SAMPLING = Sampling(temperature=1.0, top_p=1.0)


# --- Wire types ---------------------------------------------------------------------------------


class ChatCompletionRequest(CompletionBody, kw_only=True, forbid_unknown_fields=True):
    messages: Annotated[
        list[MessageIn], about("The conversation so far; at least one.", minItems=1)
    ]
    tools: Annotated[list[ToolIn] | None, about("Functions that the model may call.")] = None
    metadata: Annotated[
        Raw, about("Strings by name, kept with the conversation.", type="object")
    ] = Raw()


class ChatCompletionChoice(msgspec.Struct, omit_defaults=True, kw_only=True):
    index: int
    message: MessageOut
    finish_reason: Annotated[str, about("`stop`, `length`, `tool_calls` or `content_filter`.")]
    logprobs: Logprobs | None = None


class ChatCompletion(msgspec.Struct, omit_defaults=True, kw_only=True):
    id: str
    object: Literal["chat.completion"]
    created: Annotated[int, about("Unix time in seconds.")]
    model: Annotated[str, about("The full id of the model that answered.")]
    system_fingerprint: Annotated[str | None, about("Changes only with the backend.")] = None
    choices: list[ChatCompletionChoice]
    usage: AnswerUsage


class ChunkChoice(msgspec.Struct, omit_defaults=True, kw_only=True):
    index: int
    delta: Delta
    finish_reason: Annotated[str | None, about("On the choice's last chunk.")]
    logprobs: Logprobs | msgspec.UnsetType = msgspec.UNSET


class ChatCompletionChunk(msgspec.Struct, omit_defaults=True, kw_only=True):
    id: str
    object: Literal["chat.completion.chunk"]
    created: int
    model: str
    system_fingerprint: str | None = None
    choices: list[ChunkChoice]
    usage: AnswerUsage | msgspec.UnsetType | None = msgspec.UNSET


class ErrorDetail(msgspec.Struct, kw_only=True):
    message: str
    type: str
    param: Annotated[str | None, about("The path of the field at fault.")]
    code: Annotated[int, about("The HTTP status.")]


class ErrorBody(msgspec.Struct):
    error: ErrorDetail


# --- The dialect --------------------------------------------------------------------------------

_body = BodyDecoder(ChatCompletionRequest)
_encoder = msgspec.json.Encoder()
_metadata = msgspec.json.Decoder(dict[str, str])


class OpenAIDialect:
    """The serving side of `openai`."""

    name: DialectName = "openai"
    names_request_in_own_header = False
    wire = WireTypes(
        path="/v1/chat/completions",
        summary="Chat completions, compatible with OpenAI's.",
        request=ChatCompletionRequest,
        response=ChatCompletion,
        stream_frame=ChatCompletionChunk,
        error=ErrorBody,
        stream_media_type="text/event-stream",
        examples=EXAMPLES,
    )

    def decode_request(self, body: bytes, headers: Mapping[str, str]) -> ChatRequest:
        wire, unknown = _body.decode(body)
        if not wire.model:
            raise InvalidRequest("model is required", param="model")
        messages = decode_messages(wire.messages)
        if wire.functions or wire.function_call:
            refuse_functions(wire)
        tools = (
            tuple([decode_tool(f"tools[{i}]", tool) for i, tool in enumerate(wire.tools)])
            if wire.tools
            else ()
        )
        logprobs, top_logprobs = decode_logprobs(wire)
        stream = bool(wire.stream)
        return ChatRequest(
            dialect="openai",
            target=wire.model,
            messages=messages,
            tools=tools,
            tool_choice=(
                AUTO_TOOL_CHOICE
                if wire.tool_choice is None
                else decode_tool_choice(wire.tool_choice, tools)
            ),
            parallel_tool_calls=False if wire.parallel_tool_calls is False else None,
            sampling=decode_sampling(wire),
            default_sampling=DEFAULT_SAMPLING,
            max_output_tokens=decode_max_tokens(wire, least=1),
            stop=() if wire.stop is None else decode_stop(wire.stop, most=MAX_STOPS),
            choices=1 if wire.n is None else decode_choices(wire.n, least=1),
            response_format=decode_response_format(wire.response_format),
            logprobs=logprobs,
            top_logprobs=top_logprobs,
            thinking=None if wire.reasoning_effort is None else decode_thinking(wire),
            stream=stream,
            stream_usage=_stream_usage(wire) if stream else "none",
            context=_context(wire),
            extensions=unknown,
        )

    def bind_target(self, request: ChatRequest, kind: Literal["model", "project"]) -> ChatRequest:
        return request

    def encode_response(
        self, request: ChatRequest, response: ChatResponse, head: ResponseHead
    ) -> bytes:
        return _encoder.encode(
            ChatCompletion(
                id="chatcmpl-" + head.response_id,
                object="chat.completion",
                created=head.created_s,
                model=head.model,
                system_fingerprint=head.system_fingerprint,
                choices=[
                    ChatCompletionChoice(
                        index=index,
                        message=encode_message(choice.parts),
                        finish_reason=finish_reason(choice.finish_reason),
                        logprobs=encode_logprobs(choice.logprobs) if choice.logprobs else None,
                    )
                    for index, choice in enumerate(response.choices)
                ],
                usage=encode_usage(response.usage),
            )
        )

    def encode_error(self, error: DragomanError, request_id: str) -> bytes:
        status = self.error_status(error)
        param = error.param
        if param is None and isinstance(error, UnknownEntity):
            param = error.entity
        return _encoder.encode(
            ErrorBody(
                ErrorDetail(
                    message=shown_message(error, status),
                    type=error_type(error, status),
                    param=param,
                    code=status,
                )
            )
        )

    def error_status(self, error: DragomanError) -> int:
        if isinstance(error, UnknownEntity) and not error.is_in_path:
            return 400  # a fault of the body
        return error.status

    def stream_encoder(self, request: ChatRequest, head: ResponseHead) -> StreamEncoder:
        return _OpenAIChunks(request, head, self.encode_error)

    def stream_content_type(self, request: ChatRequest) -> str:
        return "text/event-stream; charset=utf-8"


def _stream_usage(wire: ChatCompletionRequest) -> StreamUsage:
    options = wire.stream_options
    return "separate_chunk" if options is not None and options.include_usage else "final_chunk"


def _context(wire: ChatCompletionRequest) -> RequestContext:
    metadata = present(wire.metadata)
    if wire.user is None and wire.store is None and metadata is None:
        return NO_CONTEXT
    check_user(wire.user)
    if metadata is not None:
        try:
            _metadata.decode(metadata)
        except msgspec.ValidationError as error:
            raise invalid_field(error, "metadata") from None
    return RequestContext(user=wire.user, store=wire.store, metadata=metadata)


class _OpenAIChunks(ChunkEncoder):
    """One chunk and its one choice are filled in anew for each frame: most of it never changes."""

    def __init__(
        self,
        request: ChatRequest,
        head: ResponseHead,
        encode_error: Callable[[DragomanError, str], bytes],
    ) -> None:
        super().__init__(request, head, encode_error)
        self._choice = ChunkChoice(index=0, delta=Delta(), finish_reason=None)
        self._chunk = ChatCompletionChunk(
            id=self.id,
            object="chat.completion.chunk",
            created=head.created_s,
            model=head.model,
            system_fingerprint=head.system_fingerprint,
            choices=[self._choice],
        )

    def encode_chunk(
        self,
        choice: int,
        delta: Delta,
        finish: str | None = None,
        logprobs: Logprobs | msgspec.UnsetType = msgspec.UNSET,
        usage: AnswerUsage | msgspec.UnsetType | None = msgspec.UNSET,
    ) -> bytes:
        wire = self._choice
        wire.index, wire.delta, wire.finish_reason, wire.logprobs = choice, delta, finish, logprobs
        self._chunk.usage = shown_usage(self.stream_usage, usage)
        return _encoder.encode(self._chunk)

    def encode_usage_chunk(self, usage: AnswerUsage) -> bytes:
        return _encoder.encode(msgspec.structs.replace(self._chunk, choices=[], usage=usage))


OPENAI: Dialect = OpenAIDialect()
