"""The `studio` dialect: Prem Studio's and Adaptive Engine's chat completions, one superset at one path.

What depends on whether `model` names a model (or alias) or a project is settled by `bind_target`;
everything else when the body is decoded. Readings chosen where the two documents differ or are silent:

- `tools` holds functions (Prem) and switches of server-side tools (Adaptive), told apart element by
  element: `function` makes one a function, `id` with `enabled` a switch; `null` elements are dropped.
- `content` may be `null`, and `tool_calls`, `tool_call_id` and `name` may stand on any role, as Prem's
  example has them; where they have no meaning they are ignored.
- Images are data URIs for a project. A model also takes http(s) URLs, as OpenAI's format does.
- `n: 0` is 1. `max_tokens: 0` asks for an empty answer; `max_completion_tokens` must be positive.
- `json_schema` may be the schema itself, without a name around it.
- A refusal is shown as the text of the answer: neither vendor's message has a place of its own for it.
- An error's `code` is a stable word (`context_length_exceeded`), because `type` is the coarse one; a 404's
  message begins with `EntityNotFound:` and says what kind of thing it was, as Adaptive's client expects.
- Usage is streamed only where asked for, as a last chunk without choices.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Raw, UnsetType

from dragoman.chat import (
    MAX_LABEL_CHARS,
    MAX_LABELS,
    NO_CONTEXT,
    ChatRequest,
    ChatResponse,
    DialectName,
    Image,
    Message,
    Part,
    Refusal,
    RequestContext,
    ResponseHead,
    Sampling,
    Text,
    Tool,
    ToolResult,
    ToolSwitch,
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
    shown,
)
from dragoman.dialects.chat_completions_answer import (
    AnswerUsage,
    Logprobs,
    ToolCallOut,
    encode_logprobs,
    encode_message,
    encode_usage,
    finish_reason,
)
from dragoman.dialects.chat_completions_errors import error_type, shown_message
from dragoman.dialects.chat_completions_stream import ChunkEncoder, Delta, ToolCallDelta
from dragoman.dialects.chat_completions_wire import (
    CompletionBody,
    MessageIn,
    ReasoningDetail,
    ToolIn,
    about,
)
from dragoman.dialects.fields import BodyDecoder, require_json_object, require_range
from dragoman.dialects.studio_examples import EXAMPLES
from dragoman.errors import DragomanError, InvalidRequest, UnknownEntity
from dragoman.ports import Dialect, StreamEncoder, WireTypes

MAX_STOPS = 256
"""Neither vendor states a number; this one bounds the work per token."""
MAX_TAGS = 64
MAX_TTFT_MS = 2**63 - 1
MODEL_SAMPLING = Sampling(temperature=0.7, top_p=1.0)

# RFC 9562, 4: the text form, in either case.
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE)


# --- Wire types of a request --------------------------------------------------------------------


class StudioMessage(MessageIn):
    completion_id: Annotated[
        str | None, about("The completion that this message repeats.", format="uuid")
    ] = None
    metadata: Annotated[Raw, about("Anything, kept with the message.")] = Raw()


LabelsIn = Annotated[
    dict[str, Any] | None,
    about("Strings by name, to find interactions by.", additionalProperties={"type": "string"}),
]
MetadataIn = Annotated[
    dict[str, Any] | None,
    about("The same under another name.", additionalProperties={"type": "string"}),
]
TagsIn = Annotated[list[str] | None, about("Kept with the interaction.")]


class StudioTool(ToolIn):
    id: Annotated[str | None, about("A server-side tool, to be switched.")] = None
    enabled: Annotated[bool | None, about("Whether it may be used.")] = None


class StudioRequest(CompletionBody, kw_only=True, forbid_unknown_fields=True):
    messages: Annotated[
        list[StudioMessage], about("The conversation so far; at least one.", minItems=1)
    ]
    tools: Annotated[
        list[StudioTool | None] | None,
        about("Functions (`{type, function}`), and switches of server tools (`{id, enabled}`)."),
    ] = None
    max_ttft_ms: Annotated[
        int | None, about("Longest wait for the first token, all included.", minimum=0)
    ] = None
    session_id: Annotated[str | None, about("Groups interactions.", format="uuid")] = None
    user: Annotated[str | None, about("Who asks; for a project, a UUID.")] = None
    ab_campaign: Annotated[str | None, about("A campaign's id or key, to count in for sure.")] = (
        None
    )
    labels: LabelsIn = None
    metadata: MetadataIn = None
    system_prompt_args: Annotated[
        Raw, about("Values for the project's system prompt template.", type="object")
    ] = Raw()
    tags: TagsIn = None
    use_tools: Annotated[bool | None, about("Let the project's server tools run.")] = None


# --- Wire types of an answer --------------------------------------------------------------------


class StudioMessageOut(msgspec.Struct, omit_defaults=True, kw_only=True):
    id: str
    role: Literal["assistant"]
    content: Annotated[str, about("Empty where only tools are called.")]
    reasoning_content: str | None = None
    reasoning_details: list[ReasoningDetail] | None = None
    tool_calls: list[ToolCallOut] | None = None


class StudioChoice(msgspec.Struct, omit_defaults=True, kw_only=True):
    index: int
    finish_reason: str
    completion_id: Annotated[str, about("Names this answer, in feedback say.", format="uuid")]
    model: str
    message: StudioMessageOut
    logprobs: Logprobs | None = None


class StudioCompletion(msgspec.Struct, kw_only=True):
    id: str
    object: Literal["chat.completion"]
    created: Annotated[int, about("Unix time in seconds.")]
    model: Annotated[str, about("The full id of the model that answered.")]
    system_fingerprint: Annotated[str | None, about("Changes only with the backend.")]
    session_id: Annotated[str, about("As given, or new.", format="uuid")]
    choices: list[StudioChoice]
    usage: AnswerUsage


class StudioDelta(msgspec.Struct, omit_defaults=True, kw_only=True):
    id: str
    role: Literal["assistant"]
    content: Annotated[str, about("More text; empty where there is none.")]
    reasoning_content: str | UnsetType = UNSET
    reasoning_details: list[ReasoningDetail] | UnsetType = UNSET
    tool_calls: list[ToolCallDelta] | UnsetType = UNSET


class StudioChunkChoice(msgspec.Struct, omit_defaults=True, kw_only=True):
    index: int
    delta: StudioDelta
    finish_reason: str | None
    completion_id: Annotated[str, about("The same throughout.", format="uuid")]
    model: str
    logprobs: Logprobs | UnsetType = UNSET


class StudioChunk(msgspec.Struct, omit_defaults=True, kw_only=True):
    id: str
    object: Literal["chat.completion.chunk"]
    created: int
    model: str
    system_fingerprint: str | None
    session_id: Annotated[str, about("As given, or new.", format="uuid")]
    choices: list[StudioChunkChoice]
    usage: AnswerUsage | UnsetType = UNSET


class StudioErrorDetail(msgspec.Struct, kw_only=True):
    message: str
    type: str
    param: Annotated[str | None, about("The path of the field at fault.")]
    code: Annotated[str, about("A stable word for what went wrong.")]


class StudioErrorBody(msgspec.Struct):
    error: StudioErrorDetail


# --- Decoding -----------------------------------------------------------------------------------

_body = BodyDecoder(StudioRequest)
_encoder = msgspec.json.Encoder()


def decode_studio_messages(wire: list[StudioMessage]) -> tuple[Message, ...]:
    messages = decode_messages(wire, is_lenient=True)
    for sent in wire:
        if sent.completion_id is not None or sent.metadata:
            return _with_extras(messages, wire)
    return messages


def _with_extras(messages: tuple[Message, ...], wire: list[StudioMessage]) -> tuple[Message, ...]:
    return tuple(
        [
            msgspec.structs.replace(
                message,
                completion_id=decode_uuid(f"messages[{index}].completion_id", sent.completion_id),
                metadata=present(sent.metadata),
            )
            for index, (message, sent) in enumerate(zip(messages, wire, strict=True))
        ]
    )


def decode_uuid(path: str, value: str | None) -> str | None:
    if value is None:
        return None
    if _UUID.fullmatch(value) is None:
        raise InvalidRequest(f"{path} '{shown(value)}' is not a UUID", param=path)
    return value.lower()


def _split_tools(
    wire: list[StudioTool | None] | None,
) -> tuple[tuple[Tool, ...], tuple[ToolSwitch, ...]]:
    """(functions of the client, switches of the server's tools)."""
    functions: list[Tool] = []
    switches: list[ToolSwitch] = []
    for index, tool in enumerate(wire or ()):
        if tool is None:
            continue
        path = f"tools[{index}]"
        if tool.id is not None and tool.enabled is not None and tool.function is None:
            switches.append(ToolSwitch(tool.id, tool.enabled))
        elif tool.function is not None and tool.enabled is None:
            functions.append(decode_tool(path, tool))
        else:
            raise InvalidRequest(
                f'{path} must be {{"type":"function","function":…}} or {{"id":…,"enabled":…}}',
                param=path,
            )
    return tuple(functions), tuple(switches)


def decode_labels(
    labels: Mapping[str, Any] | None, metadata: Mapping[str, Any] | None
) -> tuple[tuple[str, str], ...]:
    """Both fields' entries; where they share a name, that of `labels`."""
    merged: dict[str, str] = {}
    for field, given in (("metadata", metadata), ("labels", labels)):
        for name, value in (given or {}).items():
            path = f"{field}.{shown(name)}"
            if not isinstance(value, str):
                raise InvalidRequest(f"{path} must be a string", param=path)
            if len(name) > MAX_LABEL_CHARS or len(value) > MAX_LABEL_CHARS:
                raise InvalidRequest(
                    f"{path}: names and values have at most {MAX_LABEL_CHARS} characters",
                    param=path,
                )
            merged[name] = value
    if len(merged) > MAX_LABELS:
        raise InvalidRequest(f"labels must have at most {MAX_LABELS} entries", param="labels")
    return tuple(merged.items())


def decode_tags(given: list[str]) -> tuple[str, ...]:
    if len(given) > MAX_TAGS or any(len(tag) > MAX_LABEL_CHARS for tag in given):
        raise InvalidRequest(
            f"tags must be at most {MAX_TAGS} strings of at most {MAX_LABEL_CHARS} characters",
            param="tags",
        )
    return tuple(given)


def _has_context(wire: StudioRequest) -> bool:
    """Whether any field of the context, or `tools` with its switches, is given."""
    return not (
        wire.user is None
        and wire.store is None
        and wire.session_id is None
        and wire.labels is None
        and wire.metadata is None
        and wire.max_ttft_ms is None
        and wire.ab_campaign is None
        and wire.tags is None
        and wire.use_tools is None
        and wire.tools is None
        and not wire.system_prompt_args
    )


def _context(wire: StudioRequest, switches: tuple[ToolSwitch, ...]) -> RequestContext:
    require_range("max_ttft_ms", wire.max_ttft_ms, 0, MAX_TTFT_MS)
    check_user(wire.user)
    arguments = present(wire.system_prompt_args)
    if arguments is not None:
        require_json_object("system_prompt_args", arguments)
    if wire.ab_campaign is not None and not 0 < len(wire.ab_campaign) <= MAX_LABEL_CHARS:
        raise InvalidRequest("ab_campaign must be a campaign's id or key", param="ab_campaign")
    return RequestContext(
        session_id=decode_uuid("session_id", wire.session_id),
        user=wire.user,
        labels=decode_labels(wire.labels, wire.metadata) if wire.labels or wire.metadata else (),
        tags=decode_tags(wire.tags) if wire.tags else (),
        store=wire.store,
        campaign=wire.ab_campaign,
        system_prompt_args=arguments,
        use_tools=wire.use_tools,
        tool_switches=switches,
        max_ttft_ms=wire.max_ttft_ms,
    )


def _check_model_rules(request: ChatRequest) -> None:
    for index, message in enumerate(request.messages):
        if index and message.role == "system":
            path = f"messages[{index}].role"
            raise InvalidRequest(
                f"{path}: a system message must be the first; only projects take any order",
                param=path,
            )


def _check_project_rules(request: ChatRequest) -> None:
    for index, message in enumerate(request.messages):
        for position, part in enumerate(message.parts):
            inner: tuple[Part, ...] = part.parts if isinstance(part, ToolResult) else (part,)
            if any(isinstance(image, Image) and image.url is not None for image in inner):
                path = f"messages[{index}].content[{position}].image_url"
                raise InvalidRequest(
                    f"{path} must be a data URI: projects fetch no images", param=path
                )


# --- The dialect --------------------------------------------------------------------------------


class StudioDialect:
    """The serving side of `studio`."""

    name: DialectName = "studio"
    names_request_in_own_header = False
    wire = WireTypes(
        path="/api/v1/chat/completions",
        summary="Chat completions, compatible with Prem Studio's and Adaptive Engine's.",
        request=StudioRequest,
        response=StudioCompletion,
        stream_frame=StudioChunk,
        error=StudioErrorBody,
        stream_media_type="text/event-stream",
        examples=EXAMPLES,
    )

    def decode_request(self, body: bytes, headers: Mapping[str, str]) -> ChatRequest:
        wire, unknown = _body.decode(body)
        if not wire.model:
            raise InvalidRequest("model is required", param="model")
        messages = decode_studio_messages(wire.messages)
        if wire.functions or wire.function_call:
            refuse_functions(wire)
        tools, switches = _split_tools(wire.tools)
        logprobs, top_logprobs = decode_logprobs(wire)
        stream = bool(wire.stream)
        options = wire.stream_options
        wants_usage = stream and options is not None and bool(options.include_usage)
        return ChatRequest(
            dialect="studio",
            target=wire.model,
            messages=messages,
            tools=tools,
            tool_choice=decode_tool_choice(
                wire.tool_choice, tools, has_others=bool(wire.use_tools)
            ),
            parallel_tool_calls=False if wire.parallel_tool_calls is False else None,
            sampling=decode_sampling(wire),
            max_output_tokens=decode_max_tokens(wire, least=0),
            stop=() if wire.stop is None else decode_stop(wire.stop, most=MAX_STOPS),
            choices=1 if wire.n is None else decode_choices(wire.n, least=0),
            response_format=decode_response_format(wire.response_format, takes_bare_schema=True),
            logprobs=logprobs,
            top_logprobs=top_logprobs,
            thinking=None if wire.reasoning_effort is None else decode_thinking(wire),
            stream=stream,
            stream_usage="separate_chunk" if wants_usage else "none",
            context=_context(wire, switches) if _has_context(wire) else NO_CONTEXT,
            extensions=unknown,
        )

    def bind_target(self, request: ChatRequest, kind: Literal["model", "project"]) -> ChatRequest:
        if kind == "project":
            _check_project_rules(request)
            user = request.context.user
            # One user in two spellings would be two.
            spelled = decode_uuid("user", user)
            if spelled == user:
                return request
            context = msgspec.structs.replace(request.context, user=spelled)
            return msgspec.structs.replace(request, context=context)
        _check_model_rules(request)
        return msgspec.structs.replace(request, default_sampling=MODEL_SAMPLING)

    def encode_response(
        self, request: ChatRequest, response: ChatResponse, head: ResponseHead
    ) -> bytes:
        return _encoder.encode(
            StudioCompletion(
                id="chatcmpl-" + head.response_id,
                object="chat.completion",
                created=head.created_s,
                model=head.model,
                system_fingerprint=head.system_fingerprint,
                session_id=head.session_id,
                choices=[
                    StudioChoice(
                        index=index,
                        finish_reason=finish_reason(choice.finish_reason),
                        completion_id=head.completion_ids[index],
                        model=head.model,
                        message=_message(choice.parts, head.completion_ids[index]),
                        logprobs=encode_logprobs(choice.logprobs) if choice.logprobs else None,
                    )
                    for index, choice in enumerate(response.choices)
                ],
                usage=encode_usage(response.usage),
            )
        )

    def encode_error(self, error: DragomanError, request_id: str) -> bytes:
        message = shown_message(error, error.status)
        param = error.param
        if isinstance(error, UnknownEntity):
            message = f"EntityNotFound: {error.entity}: {message}"
            param = param or error.entity
        return _encoder.encode(
            StudioErrorBody(
                StudioErrorDetail(
                    message=message,
                    type=error_type(error, error.status),
                    param=param,
                    code=error.code,
                )
            )
        )

    def error_status(self, error: DragomanError) -> int:
        return error.status

    def stream_encoder(self, request: ChatRequest, head: ResponseHead) -> StreamEncoder:
        return _StudioChunks(request, head, self.encode_error)

    def stream_content_type(self, request: ChatRequest) -> str:
        return "text/event-stream; charset=utf-8"


def _message(parts: tuple[Part, ...], completion_id: str) -> StudioMessageOut:
    if len(parts) == 1 and type(parts[0]) is Text:
        return StudioMessageOut(id=completion_id, role="assistant", content=parts[0].text)
    message = encode_message(parts)
    return StudioMessageOut(
        id=completion_id,
        role="assistant",
        content="".join([part.text for part in parts if isinstance(part, Text | Refusal)]),
        reasoning_content=message.reasoning_content,
        reasoning_details=message.reasoning_details,
        tool_calls=message.tool_calls,
    )


class _StudioChunks(ChunkEncoder):
    """One chunk and its one choice are filled in anew for each frame: most of it never changes."""

    def __init__(
        self,
        request: ChatRequest,
        head: ResponseHead,
        encode_error: Callable[[DragomanError, str], bytes],
    ) -> None:
        super().__init__(request, head, encode_error)
        self._delta = StudioDelta(id="", role="assistant", content="")
        self._choice = StudioChunkChoice(
            index=0, delta=self._delta, finish_reason=None, completion_id="", model=head.model
        )
        self._chunk = StudioChunk(
            id=self.id,
            object="chat.completion.chunk",
            created=head.created_s,
            model=head.model,
            system_fingerprint=head.system_fingerprint,
            session_id=head.session_id,
            choices=[self._choice],
        )

    def encode_chunk(
        self,
        choice: int,
        delta: Delta,
        finish: str | None = None,
        logprobs: Logprobs | UnsetType = UNSET,
        usage: AnswerUsage | UnsetType | None = UNSET,
    ) -> bytes:
        wire, shown_delta = self._choice, self._delta
        completion_id = self.head.completion_ids[choice]
        wire.index, wire.finish_reason, wire.logprobs = choice, finish, logprobs
        wire.completion_id = shown_delta.id = completion_id
        text = delta.content or delta.refusal
        shown_delta.content = text if isinstance(text, str) else ""
        shown_delta.reasoning_content = delta.reasoning_content
        shown_delta.reasoning_details = delta.reasoning_details
        shown_delta.tool_calls = delta.tool_calls
        return _encoder.encode(self._chunk)

    def encode_usage_chunk(self, usage: AnswerUsage) -> bytes:
        return _encoder.encode(msgspec.structs.replace(self._chunk, choices=[], usage=usage))


STUDIO: Dialect = StudioDialect()
