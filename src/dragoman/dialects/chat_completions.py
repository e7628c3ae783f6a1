"""What `openai` and `studio` share of a request: how its wire types become canonical values.

A body is decoded by one compiled decoder into the plain structs of `chat_completions_wire`; the
functions below then check what types cannot say, and name the field at fault by its path
(``messages[1].role``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
from msgspec import Raw

from dragoman.chat import (
    AUTO_TOOL_CHOICE,
    NO_SAMPLING,
    TEXT_FORMAT,
    CacheTTL,
    Image,
    Message,
    Opaque,
    Part,
    Reasoning,
    Refusal,
    ResponseFormat,
    Role,
    Sampling,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
)
from dragoman.dialects.chat_completions_wire import (
    MAX_CHOICES,
    MAX_TOP_LOGPROBS,
    AudioPart,
    CacheControl,
    CompletionBody,
    FilePart,
    ImagePart,
    JSONSchemaIn,
    MessageIn,
    ReasoningDetail,
    RefusalPart,
    ResponseFormatIn,
    TextPart,
    ToolChoiceIn,
    ToolIn,
)
from dragoman.dialects.fields import invalid_field, require_json_object, require_range
from dragoman.errors import InvalidRequest

MAX_TOKENS = 2**31 - 1
MAX_LOGIT_BIASES = 1024
MAX_NAME_CHARS = 128
MAX_USER_CHARS = 1024
MAX_STOP_CHARS = 4096
MAX_SHOWN_CHARS = 40
"""How much of a client's own value an error repeats."""

_NULL = b"null"


_PLAIN_ROLES: dict[str, Role] = {"user": "user", "system": "system", "developer": "system"}


# --- Messages -----------------------------------------------------------------------------------


def decode_messages(
    messages: Sequence[MessageIn], *, is_lenient: bool = False
) -> tuple[Message, ...]:
    """One canonical message for each, so that indices in errors stay true.

    `is_lenient` takes `null` content and ignores tool fields on any role, as `studio` must.
    """
    if not messages:
        raise InvalidRequest("messages must hold at least one message", param="messages")
    decoded: list[Message] = []
    turn_calls: set[str] = set()
    previous = ""
    for index, message in enumerate(messages):
        role, content = message.role, message.content
        plain = _PLAIN_ROLES.get(role)
        if plain is not None and type(content) is str and _is_bare(message):
            decoded.append(Message(plain, (Text(content),), message.name))
        elif role == "assistant":
            if previous != "assistant":
                turn_calls = set()
            if type(content) is str and content and _is_bare(message):
                decoded.append(Message("assistant", (Text(content),), message.name))
            else:
                decoded.append(_assistant_message(index, message, turn_calls, is_lenient))
        elif role == "tool":
            decoded.append(_tool_message(index, message, turn_calls, is_lenient))
        else:
            decoded.append(_plain_message(index, message, is_lenient))
        previous = role
    return tuple(decoded)


def _is_bare(message: MessageIn) -> bool:
    """Whether there is nothing but a role, a name and content: true of nearly every message."""
    return (
        message.tool_calls is None
        and message.tool_call_id is None
        and message.reasoning_content is None
        and message.reasoning is None
        and message.reasoning_details is None
        and message.refusal is None
    )


def _plain_message(index: int, message: MessageIn, is_lenient: bool) -> Message:
    role = _PLAIN_ROLES.get(message.role)
    if role is None:
        raise _unknown_role(index, message.role)
    if not is_lenient and (message.tool_calls or message.tool_call_id is not None):
        field = "tool_calls" if message.tool_calls else "tool_call_id"
        path = f"messages[{index}].{field}"
        raise InvalidRequest(f"{path} does not belong to the role '{message.role}'", param=path)
    if isinstance(message.content, str):
        return Message(role, (Text(message.content),), message.name)
    return Message(role, decode_content(index, message, is_lenient), message.name)


def _unknown_role(index: int, role: str) -> InvalidRequest:
    path = f"messages[{index}].role"
    remedy = "use 'system', 'user', 'assistant' or 'tool'"
    return InvalidRequest(f"{path} '{shown(role)}' is unknown; {remedy}", param=path)


def shown(value: str) -> str:
    """As much of a client's own value as an error repeats, without control characters."""
    text = "".join([c if c.isprintable() else "�" for c in value[:MAX_SHOWN_CHARS]])
    return text + "…" if len(value) > MAX_SHOWN_CHARS else text


def decode_content(index: int, message: MessageIn, is_lenient: bool) -> tuple[Part, ...]:
    """The parts of content that is not a plain string."""
    content = message.content
    path = f"messages[{index}].content"
    if content is None:
        if is_lenient:
            return ()
        raise InvalidRequest(f"{path} is required for the role '{message.role}'", param=path)
    if isinstance(content, str):
        return (Text(content),) if content else ()
    parts: list[Part] = []
    for position, part in enumerate(content):
        match part:
            case TextPart():
                parts.append(Text(part.text, _cache(part.cache_control)))
            case ImagePart():
                parts.append(_image(f"{path}[{position}].image_url", part))
            case RefusalPart():
                if message.role != "assistant":
                    raise InvalidRequest(
                        f"{path}[{position}]: only an assistant refuses",
                        param=f"{path}[{position}]",
                    )
                parts.append(Refusal(part.refusal))
            case AudioPart():
                parts.append(_opaque("input_audio", part.input_audio))
            case FilePart():
                parts.append(_opaque("file", part.file))
    return tuple(parts)


def _opaque(kind: str, inner: Raw) -> Opaque:
    # `kind` needs no escaping: it is one of ours.
    text = bytes(inner).decode()
    return Opaque(wire="openai", kind=kind, json=f'{{"type":"{kind}","{kind}":{text}}}')


def _cache(mark: CacheControl | None) -> CacheTTL | None:
    return None if mark is None else mark.ttl or "5m"


def _image(path: str, part: ImagePart) -> Image:
    inner = part.image_url
    url, detail = (inner, None) if isinstance(inner, str) else (inner.url, inner.detail)
    cache = _cache(part.cache_control)
    scheme = url[:8].lower()
    if scheme.startswith("data:"):
        # RFC 2397: data:[<mediatype>][;base64],<data>
        header, comma, data = url.partition(",")
        media_type, _, encoding = header[5:].partition(";")
        if not (comma and data and media_type.lower().startswith("image/")) or (
            encoding.lower().rpartition(";")[2] != "base64"
        ):
            raise InvalidRequest(
                f"{path} must be a data URI of an image: data:image/…;base64,…", param=path
            )
        return Image(data=data, media_type=media_type.lower(), detail=detail, cache=cache)
    if scheme.startswith(("http://", "https://")):
        return Image(url=url, detail=detail, cache=cache)
    raise InvalidRequest(f"{path} must be an http(s) URL or a data URI", param=path)


def _assistant_message(
    index: int, message: MessageIn, turn_calls: set[str], is_lenient: bool
) -> Message:
    parts = decode_reasoning(
        message.reasoning_content or message.reasoning, message.reasoning_details
    )
    if message.content is not None:
        parts += decode_content(index, message, is_lenient)
    if message.refusal:
        parts.append(Refusal(message.refusal))
    if message.tool_calls:
        for position, call in enumerate(message.tool_calls):
            path = f"messages[{index}].tool_calls[{position}]"
            if call.type not in (None, "function") or call.function is None:
                raise InvalidRequest(f"{path} must be a call of a function", param=path)
            turn_calls.add(call.id)
            function = call.function
            parts.append(ToolCall(id=call.id, name=function.name, arguments=function.arguments))
    elif message.content is None and not parts and not is_lenient:
        path = f"messages[{index}].content"
        raise InvalidRequest(f"{path} is required for an assistant that calls no tools", param=path)
    return Message("assistant", tuple(parts), message.name)


def decode_reasoning(text: str | None, details: Sequence[ReasoningDetail] | None) -> list[Part]:
    """Thinking as parts; `details`, where there are any, say more than `text`."""
    parts: list[Part] = []
    for detail in details or ():
        if detail.type == "reasoning.encrypted" and detail.data:
            parts.append(Reasoning(redacted=detail.data))
        elif detail.text or detail.signature or detail.summary:
            parts.append(
                Reasoning(text=detail.text or detail.summary or "", signature=detail.signature)
            )
    if text and not any(isinstance(part, Reasoning) and part.text for part in parts):
        parts.insert(0, Reasoning(text=text))
    return parts


def _tool_message(
    index: int, message: MessageIn, turn_calls: set[str], is_lenient: bool
) -> Message:
    path = f"messages[{index}].tool_call_id"
    call_id = message.tool_call_id
    if call_id is None:
        raise InvalidRequest(f"{path} is required for the role 'tool'", param=path)
    # Only the nearest turn counts: local servers use the same ids again in every turn.
    if call_id not in turn_calls:
        raise InvalidRequest(
            f"{path} '{shown(call_id)}' matches no tool call of the assistant turn before it",
            param=path,
        )
    content = message.content
    parts = (
        (Text(content),)
        if isinstance(content, str) and content
        else decode_content(index, message, is_lenient)
    )
    held: list[Text | Image] = []
    for position, part in enumerate(parts):
        if not isinstance(part, Text | Image):
            path = f"messages[{index}].content[{position}]"
            raise InvalidRequest(f"{path} must be text or an image", param=path)
        held.append(part)
    result = ToolResult(call_id=call_id, parts=tuple(held), name=message.name)
    return Message("tool", (result,))


# --- Tools and formats --------------------------------------------------------------------------


def decode_tool(path: str, tool: ToolIn) -> Tool:
    """A function that the client offers; `path` names its element."""
    function = tool.function
    if tool.type not in (None, "function"):
        raise InvalidRequest(
            f"{path}.type '{shown(tool.type)}' is not supported; use 'function'",
            param=f"{path}.type",
        )
    if function is None:
        raise InvalidRequest(f"{path}.function is required", param=f"{path}.function")
    if not 0 < len(function.name) <= MAX_NAME_CHARS:
        raise InvalidRequest(
            f"{path}.function.name must have 1 to {MAX_NAME_CHARS} characters",
            param=f"{path}.function.name",
        )
    cache = _cache(tool.cache_control)
    parameters = present(function.parameters)
    if parameters is None:
        return Tool(
            name=function.name,
            description=function.description,
            strict=function.strict,
            cache=cache,
        )
    require_json_object(f"{path}.function.parameters", parameters)
    return Tool(
        name=function.name,
        description=function.description,
        parameters=parameters,
        strict=function.strict,
        cache=cache,
    )


def present(raw: Raw) -> Raw | None:
    """`None` for JSON that is absent or `null`."""
    return raw if raw and bytes(raw) != _NULL else None


def decode_tool_choice(
    choice: str | ToolChoiceIn | None, tools: Sequence[Tool], *, has_others: bool = False
) -> ToolChoice:
    """`has_others`: there are tools besides `tools`, of the server's own."""
    if choice is None or choice == "auto":
        return AUTO_TOOL_CHOICE
    if choice == "none":
        return ToolChoice("none")
    if choice == "required":
        if not tools and not has_others:
            raise InvalidRequest("tool_choice 'required' needs tools", param="tool_choice")
        return ToolChoice("required")
    if isinstance(choice, str):
        raise InvalidRequest(
            f"tool_choice '{shown(choice)}' is unknown;"
            " use 'auto', 'none', 'required' or a function",
            param="tool_choice",
        )
    if choice.type != "function" or choice.function is None:
        raise InvalidRequest(
            'tool_choice must be {"type":"function","function":{"name":…}}', param="tool_choice"
        )
    name = choice.function.name
    if all(tool.name != name for tool in tools):
        raise InvalidRequest(
            f"tool_choice names '{shown(name)}', which is not among tools", param="tool_choice"
        )
    return ToolChoice("named", name)


def decode_response_format(
    wanted: ResponseFormatIn | None, *, takes_bare_schema: bool = False
) -> ResponseFormat:
    """`takes_bare_schema`: `json_schema` may be the schema itself, without a name around it."""
    if wanted is None or wanted.type == "text":
        return TEXT_FORMAT
    if wanted.type == "json_object":
        return ResponseFormat(kind="json_object")
    path = "response_format.json_schema"
    if wanted.type != "json_schema":
        raise InvalidRequest(
            f"response_format.type '{shown(wanted.type)}' is unknown;"
            " use 'text', 'json_object' or 'json_schema'",
            param="response_format.type",
        )
    raw = present(wanted.json_schema)
    if raw is None:
        raise InvalidRequest(f"{path} is required", param=path)
    try:
        inner = _json_schema.decode(raw)
    except msgspec.ValidationError as error:
        raise invalid_field(error, path) from None
    schema = present(inner.schema)
    if schema is None and takes_bare_schema:
        return ResponseFormat(kind="json_schema", schema=raw)
    if schema is None:
        raise InvalidRequest(f"{path}.schema is required", param=f"{path}.schema")
    if not inner.name and not takes_bare_schema:
        raise InvalidRequest(f"{path}.name is required", param=f"{path}.name")
    require_json_object(f"{path}.schema", schema)
    return ResponseFormat(
        kind="json_schema",
        name=inner.name,
        description=inner.description,
        schema=schema,
        strict=inner.strict,
    )


_json_schema = msgspec.json.Decoder(JSONSchemaIn)


# --- Numbers and the rest -----------------------------------------------------------------------


def refuse_functions(body: CompletionBody) -> None:
    """OpenAI's forerunner of tools: refused by name."""
    if present(body.functions) is not None:
        raise InvalidRequest("functions is not supported; use tools", param="functions")
    if present(body.function_call) is not None:
        raise InvalidRequest(
            "function_call is not supported; use tools and tool_choice", param="function_call"
        )


def decode_sampling(body: CompletionBody) -> Sampling:
    """What the client asked for; its ranges are the same in both dialects."""
    bias = body.logit_bias
    temperature, top_p, seed = body.temperature, body.top_p, body.seed
    frequency, presence = body.frequency_penalty, body.presence_penalty
    if temperature is None and top_p is None and seed is None:  # noqa: SIM102  # the usual case first
        if frequency is None and presence is None and not bias:
            return NO_SAMPLING
    if temperature is not None:
        require_range("temperature", temperature, 0, 2)
    if top_p is not None:
        require_range("top_p", top_p, 0, 1)
    if frequency is not None:
        require_range("frequency_penalty", frequency, -2, 2)
    if presence is not None:
        require_range("presence_penalty", presence, -2, 2)
    if seed is not None and not -(2**63) <= seed < 2**63:
        raise InvalidRequest("seed must be a 64-bit integer", param="seed")
    return Sampling(
        temperature=temperature,
        top_p=top_p,
        frequency_penalty=frequency,
        presence_penalty=presence,
        seed=seed,
        logit_bias=_logit_bias(bias) if bias else (),
    )


def _logit_bias(bias: Mapping[str, float]) -> tuple[tuple[int, float], ...]:
    if len(bias) > MAX_LOGIT_BIASES:
        raise InvalidRequest(
            f"logit_bias must have at most {MAX_LOGIT_BIASES} entries", param="logit_bias"
        )
    pairs = []
    for token, value in bias.items():
        if not (token.isascii() and token.isdigit() and len(token) <= 9):
            raise InvalidRequest(
                f"logit_bias: '{shown(token)}' is not a token id", param="logit_bias"
            )
        require_range("logit_bias", value, -100, 100)
        pairs.append((int(token), value))
    return tuple(pairs)


def decode_max_tokens(body: CompletionBody, *, least: int) -> int | None:
    """The one maximum that two fields may state; `least` is for the field `max_tokens`."""
    short, long = body.max_tokens, body.max_completion_tokens
    if short is None and long is None:
        return None
    require_range("max_tokens", short, least, MAX_TOKENS)
    require_range("max_completion_tokens", long, 1, MAX_TOKENS)
    if short is not None and long is not None and short != long:
        raise InvalidRequest(
            "max_tokens and max_completion_tokens differ; give one of them", param="max_tokens"
        )
    return short if short is not None else long


def decode_stop(stop: str | list[str] | None, *, most: int) -> tuple[str, ...]:
    if not stop and stop != "":
        return ()
    stops = (stop,) if isinstance(stop, str) else tuple(stop or ())
    if len(stops) > most:
        raise InvalidRequest(f"stop must have at most {most} strings", param="stop")
    for index, text in enumerate(stops):
        if not 0 < len(text) <= MAX_STOP_CHARS:
            path = "stop" if isinstance(stop, str) else f"stop[{index}]"
            raise InvalidRequest(f"{path} must have 1 to {MAX_STOP_CHARS} characters", param=path)
    return stops


def decode_choices(n: int | None, *, least: int) -> int:
    """How many answers; 0, where `least` allows it, means 1."""
    require_range("n", n, least, MAX_CHOICES)
    return n or 1


def decode_logprobs(body: CompletionBody) -> tuple[bool, int]:
    """Whether log probabilities are wanted, and how many of the likeliest tokens'."""
    top = body.top_logprobs or 0
    if top:
        require_range("top_logprobs", top, 0, MAX_TOP_LOGPROBS)
        if not body.logprobs:
            raise InvalidRequest("top_logprobs needs logprobs: true", param="top_logprobs")
    return bool(body.logprobs), top


def decode_thinking(body: CompletionBody) -> Thinking | None:
    effort = body.reasoning_effort
    return None if effort is None else Thinking(enabled=effort != "none", effort=effort)


def check_user(user: str | None) -> None:
    if user is not None and len(user) > MAX_USER_CHARS:
        raise InvalidRequest(f"user must have at most {MAX_USER_CHARS} characters", param="user")
