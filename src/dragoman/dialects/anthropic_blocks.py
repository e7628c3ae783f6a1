"""What `anthropic` and `dreamsolve` share of a request: content blocks, turns, tools, tool choice.

Blocks that have no canonical form (documents, what Anthropic's own server tools leave behind) are
kept whole as `Opaque`, so that they reach an Anthropic target as they came; everything else becomes
canonical parts. The blocks are decoded in the one pass that decodes the body: only when a block has
to be kept whole is the body read a second time, for its text.

Tool ids and tool inputs are mapped both ways here, so that whatever a model of any provider produced
can be shown to a client of this wire format, and comes back as it was: see `wire_tool_id` and
`tool_input`.

Source: https://platform.claude.com/docs/en/api/messages
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from dragoman.chat import (
    AUTO_TOOL_CHOICE,
    CacheTTL,
    Image,
    Message,
    Opaque,
    Part,
    Reasoning,
    Role,
    Text,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
)
from dragoman.dialects.fields import require_json_object
from dragoman.errors import InvalidRequest, MalformedBody

# --- Tool ids -----------------------------------------------------------------------------------

_NATIVE_ID = "toolu_"
_PLAIN_ID = "toolu_id_"
_CODED_ID = "toolu_b64_"


def is_plain_name(text: str) -> bool:
    """Whether `text` is made of ASCII letters, digits, `_` and `-` alone, and not empty."""
    return text.isascii() and text.replace("_", "a").replace("-", "a").isalnum()


def coded_tool_id(call_id: str) -> str:
    """Any id, in the characters that this wire format allows."""
    return _CODED_ID + base64.urlsafe_b64encode(call_id.encode()).decode().rstrip("=")


def wire_tool_id(call_id: str) -> str:
    """The id that a client is shown: Anthropic's own as it is, any other's marked or coded.

    Nothing has to be remembered: `canonical_tool_id` takes it back to `call_id`.
    """
    if not is_plain_name(call_id):
        return coded_tool_id(call_id)
    if call_id.startswith(_NATIVE_ID) and not call_id.startswith((_PLAIN_ID, _CODED_ID)):
        return call_id
    return _PLAIN_ID + call_id


def canonical_tool_id(wire_id: str) -> str:
    if wire_id.startswith(_PLAIN_ID):
        return wire_id[len(_PLAIN_ID) :]
    if wire_id.startswith(_CODED_ID):
        coded = wire_id[len(_CODED_ID) :]
        try:
            return base64.b64decode(
                coded + "=" * (-len(coded) % 4), altchars=b"-_", validate=True
            ).decode()
        except (binascii.Error, ValueError):
            return wire_id
    return wire_id


# --- Tool inputs --------------------------------------------------------------------------------

_INVALID = "INVALID_JSON"
_INVALID_START = '{"' + _INVALID
_EMPTY_INPUT = msgspec.Raw(b"{}")


class _InvalidInput(msgspec.Struct, forbid_unknown_fields=True):
    text: str = msgspec.field(name=_INVALID)


_json_object = msgspec.json.Decoder(dict[str, msgspec.Raw])
_invalid_input = msgspec.json.Decoder(_InvalidInput)


def tool_input(arguments: str) -> msgspec.Raw:
    """The JSON object that a tool call shows for the `arguments` that a model wrote.

    They stay as written where they are an object. Where they are not (a small model's slip, or an
    answer cut at its length), they are wrapped as `{"INVALID_JSON": "<text>"}`: the form that
    Anthropic gives for input that does not parse. The client's tool then finds its own fields
    missing and says so, instead of running on half an input.
    https://platform.claude.com/docs/en/agents-and-tools/tool-use/fine-grained-tool-streaming
    """
    try:
        text = arguments.encode()
        _json_object.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        # Some providers write nothing, or `null`, for a function without parameters.
        if arguments.strip() in ("", "null"):
            return _EMPTY_INPUT
        return msgspec.Raw(invalid_tool_input(arguments).encode())
    return msgspec.Raw(text)


def invalid_tool_input(arguments: str) -> str:
    return f'{{"{_INVALID}":{msgspec.json.encode(arguments).decode()}}}'


def arguments_of(path: str, wire_input: msgspec.Raw) -> str:
    """What `tool_input` was made from."""
    require_json_object(path, wire_input)
    try:
        text = bytes(wire_input).decode()
        if text.startswith(_INVALID_START):
            return _invalid_input.decode(text).text
    except UnicodeError:
        raise MalformedBody from None
    except msgspec.ValidationError:
        pass
    return text


# --- Content blocks -----------------------------------------------------------------------------


class CacheControl(msgspec.Struct):
    """Marks the end of a prompt's part that is worth caching."""

    type: Literal["ephemeral"]
    ttl: CacheTTL | None = None


class Base64Source(msgspec.Struct, tag="base64", tag_field="type"):
    media_type: Annotated[
        str, Meta(description="`image/jpeg`, `image/png`, `image/gif` or `image/webp`.")
    ]
    data: Annotated[str, Meta(description="The image's bytes in base64.")]


class UrlSource(msgspec.Struct, tag="url", tag_field="type"):
    url: str


class FileSource(msgspec.Struct, tag="file", tag_field="type"):
    """A file that was uploaded to Anthropic: only an Anthropic target can see it."""

    file_id: str


class TextBlock(msgspec.Struct, tag="text", tag_field="type"):
    text: str
    cache_control: CacheControl | None = None
    citations: list[Any] | None = None


class ImageBlock(msgspec.Struct, tag="image", tag_field="type"):
    source: Base64Source | UrlSource | FileSource
    cache_control: CacheControl | None = None
    transformations: dict[str, Any] | None = None


class ThinkingBlock(msgspec.Struct, tag="thinking", tag_field="type"):
    thinking: str
    signature: str | None = None


class RedactedThinkingBlock(msgspec.Struct, tag="redacted_thinking", tag_field="type"):
    data: str


class ToolUseBlock(msgspec.Struct, tag="tool_use", tag_field="type"):
    id: str
    name: str
    input: Annotated[msgspec.Raw, Meta(description="A JSON object.")]
    cache_control: CacheControl | None = None
    caller: dict[str, Any] | None = None
    toolset_name: str | None = None


class KeptBlock(msgspec.Struct, tag_field="type"):
    """A block that only Anthropic understands: kept as it came."""


class DocumentBlock(KeptBlock, tag="document"):
    pass


class SearchResultBlock(KeptBlock, tag="search_result"):
    pass


class ToolReferenceBlock(KeptBlock, tag="tool_reference"):
    pass


class BrowserStateBlock(KeptBlock, tag="browser_state"):
    pass


class ServerToolUseBlock(KeptBlock, tag="server_tool_use"):
    pass


class WebSearchToolResultBlock(KeptBlock, tag="web_search_tool_result"):
    pass


class WebFetchToolResultBlock(KeptBlock, tag="web_fetch_tool_result"):
    pass


class CodeExecutionToolResultBlock(KeptBlock, tag="code_execution_tool_result"):
    pass


class BashToolResultBlock(KeptBlock, tag="bash_code_execution_tool_result"):
    pass


class TextEditorToolResultBlock(KeptBlock, tag="text_editor_code_execution_tool_result"):
    pass


class ToolSearchToolResultBlock(KeptBlock, tag="tool_search_tool_result"):
    pass


class ContainerUploadBlock(KeptBlock, tag="container_upload"):
    pass


class ToolResultBlock(msgspec.Struct, tag="tool_result", tag_field="type"):
    tool_use_id: Annotated[str, Meta(description="The `id` of the `tool_use` that it answers.")]
    content: (
        str
        | list[
            TextBlock
            | ImageBlock
            | DocumentBlock
            | SearchResultBlock
            | ToolReferenceBlock
            | BrowserStateBlock
        ]
        | None
    ) = None
    is_error: bool | None = None
    cache_control: CacheControl | None = None
    toolset_name: str | None = None


ContentBlock = (
    TextBlock
    | ImageBlock
    | ThinkingBlock
    | RedactedThinkingBlock
    | ToolUseBlock
    | ToolResultBlock
    | DocumentBlock
    | SearchResultBlock
    | ServerToolUseBlock
    | WebSearchToolResultBlock
    | WebFetchToolResultBlock
    | CodeExecutionToolResultBlock
    | BashToolResultBlock
    | TextEditorToolResultBlock
    | ToolSearchToolResultBlock
    | ContainerUploadBlock
)

IMAGE_TYPES = frozenset({"image/jpeg", "image/png", "image/gif", "image/webp"})


class _RawTurn(msgspec.Struct):
    content: str | list[msgspec.Raw] | None = None


class _RawTurns(msgspec.Struct):
    messages: list[_RawTurn]


_raw_turns = msgspec.json.Decoder(_RawTurns)


# --- Turns --------------------------------------------------------------------------------------


class TurnDecoder:
    """Turns the messages of one body into canonical ones, in order.

    Feed it every message with `add`; then `messages` holds the conversation. A user's message that
    answers tool calls becomes a `tool` message, and a `user` one for what else it says: results
    come first, as this wire format asks.
    """

    __slots__ = ("_body", "_call_ids", "_raw", "has_citations", "messages")

    def __init__(self, body: bytes) -> None:
        self.messages: list[Message] = []
        self.has_citations = False
        """Whether any text came with citations, which are not carried."""
        self._body = body
        self._raw: list[_RawTurn] | None = None
        self._call_ids: set[str] = set()
        """The calls of the nearest assistant turn so far."""

    def add(self, i: int, role: str, content: str | Iterable[ContentBlock] | None) -> None:
        """Take `messages[i]`; raises `InvalidRequest` naming the field at fault."""
        if role == "user":
            if isinstance(content, str):
                self.messages.append(Message("user", (Text(content),)))
            elif content is not None:
                self._add_user_blocks(i, content)
            else:
                raise InvalidRequest(
                    f"messages[{i}].content is required", param=f"messages[{i}].content"
                )
        elif role == "assistant":
            if not (self.messages and self.messages[-1].role == "assistant"):
                self._call_ids = set()
            if content is None or content == "":
                self.messages.append(Message("assistant", ()))
            elif isinstance(content, str):
                self.messages.append(Message("assistant", (Text(content),)))
            else:
                self._add_assistant_blocks(i, content)
        elif role == "system":
            self.messages.append(Message("system", system_parts(f"messages[{i}].content", content)))
        else:
            shown = role if len(role) <= 40 else role[:40] + "…"
            raise InvalidRequest(
                f"messages[{i}].role '{shown}' is unknown; use 'user', 'assistant' or 'system'",
                param=f"messages[{i}].role",
            )

    def _add_assistant_blocks(self, i: int, blocks: Iterable[ContentBlock]) -> None:
        parts: list[Part] = []
        for j, block in enumerate(blocks):
            match block:
                case TextBlock():
                    parts.append(Text(block.text, _cache(block.cache_control)))
                    if block.citations:
                        self.has_citations = True
                case ToolUseBlock():
                    call_id = canonical_tool_id(block.id)
                    self._call_ids.add(call_id)
                    parts.append(self._tool_call(i, j, call_id, block))
                case ThinkingBlock():
                    parts.append(Reasoning(text=block.thinking, signature=block.signature or None))
                case RedactedThinkingBlock():
                    parts.append(Reasoning(redacted=block.data))
                case ImageBlock():
                    parts.append(self._image(i, j, block))
                case ToolResultBlock():
                    raise _misplaced(i, j, "tool_result", "user")
                case _:
                    parts.append(self._kept(i, j, block))
        self.messages.append(Message("assistant", tuple(parts)))

    def _add_user_blocks(self, i: int, blocks: Iterable[ContentBlock]) -> None:
        parts: list[Part] = []
        results: list[Part] = []
        for j, block in enumerate(blocks):
            match block:
                case TextBlock():
                    parts.append(Text(block.text, _cache(block.cache_control)))
                case ToolResultBlock():
                    results.append(self._tool_result(i, j, block))
                case ImageBlock():
                    parts.append(self._image(i, j, block))
                case ToolUseBlock():
                    raise _misplaced(i, j, "tool_use", "assistant")
                case ThinkingBlock() | RedactedThinkingBlock():
                    raise _misplaced(i, j, "thinking", "assistant")
                case _:
                    parts.append(self._kept(i, j, block))
        if not parts and not results:
            raise InvalidRequest(
                f"messages[{i}].content must not be empty", param=f"messages[{i}].content"
            )
        if results:
            self.messages.append(Message("tool", tuple(results)))
        if parts:
            self.messages.append(Message("user", tuple(parts)))

    def _tool_call(self, i: int, j: int, call_id: str, block: ToolUseBlock) -> ToolCall | Opaque:
        caller = block.caller
        if block.toolset_name or (caller is not None and caller.get("type") != "direct"):
            return self._kept(i, j, block)
        return ToolCall(
            id=call_id,
            name=block.name,
            arguments=arguments_of(f"messages[{i}].content[{j}].input", block.input),
            cache=_cache(block.cache_control),
        )

    def _tool_result(self, i: int, j: int, block: ToolResultBlock) -> ToolResult | Opaque:
        call_id = canonical_tool_id(block.tool_use_id)
        if call_id not in self._call_ids:
            path = f"messages[{i}].content[{j}].tool_use_id"
            raise InvalidRequest(
                f"{path} matches no tool_use block of the assistant's turn before it", param=path
            )
        content = block.content
        parts: list[Text | Image] = []
        if isinstance(content, str):
            parts.append(Text(content))
        elif content is not None:
            for inner in content:
                if isinstance(inner, TextBlock):
                    parts.append(Text(inner.text, _cache(inner.cache_control)))
                    continue
                image = self._image(i, j, inner) if isinstance(inner, ImageBlock) else None
                if not isinstance(image, Image):
                    return self._kept(i, j, block)
                parts.append(image)
        if block.toolset_name:
            return self._kept(i, j, block)
        return ToolResult(
            call_id=call_id,
            parts=tuple(parts),
            is_error=bool(block.is_error),
            cache=_cache(block.cache_control),
        )

    def _image(self, i: int, j: int, block: ImageBlock) -> Image | Opaque:
        cache = _cache(block.cache_control)
        match block.source:
            case Base64Source(media_type=media_type, data=data):
                if media_type not in IMAGE_TYPES:
                    path = f"messages[{i}].content[{j}].source.media_type"
                    raise InvalidRequest(
                        f"{path} must be one of {', '.join(sorted(IMAGE_TYPES))}", param=path
                    )
                image = Image(data=data, media_type=media_type, cache=cache)
            case UrlSource(url=url):
                image = Image(url=url, cache=cache)
            case FileSource():
                return self._kept(i, j, block)
        return self._kept(i, j, block) if block.transformations else image

    def _kept(self, i: int, j: int, block: ContentBlock) -> Opaque:
        if self._raw is None:
            self._raw = _raw_turns.decode(self._body).messages
        content = self._raw[i].content
        assert isinstance(content, list)
        try:
            text = bytes(content[j]).decode()
        except UnicodeError:
            raise MalformedBody from None
        kind = block.__struct_config__.tag
        assert isinstance(kind, str)
        return Opaque(wire="anthropic", kind=kind, json=text)


def system_parts(path: str, content: str | Iterable[ContentBlock] | None) -> tuple[Text, ...]:
    """Instructions: text, or text blocks and nothing else."""
    if content is None:
        raise InvalidRequest(f"{path} is required", param=path)
    if isinstance(content, str):
        return (Text(content),)
    parts = []
    for j, block in enumerate(content):
        if not isinstance(block, TextBlock):
            raise InvalidRequest(
                f"{path}[{j}].type must be 'text' in a system message", param=f"{path}[{j}].type"
            )
        parts.append(Text(block.text, _cache(block.cache_control)))
    return tuple(parts)


def cache_last_part(messages: list[Message], ttl: CacheTTL) -> None:
    """Mark the last part that can be cached, unless it already is: in place."""
    for i in range(len(messages) - 1, -1, -1):
        parts = messages[i].parts
        for j in range(len(parts) - 1, -1, -1):
            part = parts[j]
            if isinstance(part, Text | Image | ToolCall | ToolResult):
                if part.cache is None:
                    marked = msgspec.structs.replace(part, cache=ttl)
                    messages[i] = msgspec.structs.replace(
                        messages[i], parts=(*parts[:j], marked, *parts[j + 1 :])
                    )
                return


def _cache(control: CacheControl | None) -> CacheTTL | None:
    return None if control is None else control.ttl or "5m"


def _misplaced(i: int, j: int, kind: str, role: Role) -> InvalidRequest:
    path = f"messages[{i}].content[{j}].type"
    return InvalidRequest(f"{path} '{kind}' belongs in a message of role '{role}'", param=path)


# --- Tools --------------------------------------------------------------------------------------


class ToolParam(msgspec.Struct):
    """A function that the model may ask the client to call."""

    name: str
    input_schema: Annotated[
        msgspec.Raw, Meta(description="A JSON Schema of type `object`: the tool's parameters.")
    ] = msgspec.field(default_factory=msgspec.Raw)
    description: str | None = None
    type: Annotated[str | None, Meta(description="`custom`, or nothing.")] = None
    cache_control: CacheControl | None = None
    strict: bool | None = None
    allowed_callers: list[str] | None = None
    defer_loading: bool | None = None
    eager_input_streaming: bool | None = None
    input_examples: list[Any] | None = None

    def hints(self) -> list[str]:
        """Names of the given fields that tune how Anthropic runs a tool, and nothing else does."""
        return [
            name
            for name, is_given in (
                ("allowed_callers", self.allowed_callers not in (None, [], ["direct"])),
                ("defer_loading", bool(self.defer_loading)),
                ("eager_input_streaming", self.eager_input_streaming is not None),
                ("input_examples", bool(self.input_examples)),
            )
            if is_given
        ]


class ToolChoiceAuto(msgspec.Struct, tag="auto", tag_field="type"):
    """The model decides."""

    disable_parallel_tool_use: bool | None = None


class ToolChoiceAny(msgspec.Struct, tag="any", tag_field="type"):
    """At least one tool is called."""

    disable_parallel_tool_use: bool | None = None


class ToolChoiceTool(msgspec.Struct, tag="tool", tag_field="type"):
    """The named tool is called."""

    name: str
    disable_parallel_tool_use: bool | None = None


class ToolChoiceNone(msgspec.Struct, tag="none", tag_field="type"):
    """No tool is called."""


ToolChoiceParam = ToolChoiceAuto | ToolChoiceAny | ToolChoiceTool | ToolChoiceNone

MAX_TOOL_NAME = 128


def decode_tools(tools: list[ToolParam]) -> tuple[Tool, ...]:
    decoded = []
    names = set()
    for i, tool in enumerate(tools):
        if tool.type is not None and tool.type != "custom":
            raise InvalidRequest(
                f"tools[{i}].type '{tool.type[:60]}' is run by Anthropic, not here;"
                " leave this tool out, or describe one of your own with an input_schema",
                param=f"tools[{i}].type",
            )
        name = tool.name
        if len(name) > MAX_TOOL_NAME or not is_plain_name(name):
            raise InvalidRequest(
                f"tools[{i}].name must be 1 to {MAX_TOOL_NAME} letters, digits, '_' or '-'",
                param=f"tools[{i}].name",
            )
        if name in names:
            raise InvalidRequest(
                f"tools[{i}].name '{name}' is given twice", param=f"tools[{i}].name"
            )
        names.add(name)
        decoded.append(
            Tool(
                name=name,
                description=tool.description,
                parameters=_json_schema(f"tools[{i}].input_schema", tool.input_schema),
                strict=tool.strict,
                cache=_cache(tool.cache_control),
            )
        )
    return tuple(decoded)


def _json_schema(path: str, raw: msgspec.Raw) -> msgspec.Raw:
    text = bytes(raw)
    if text in (b"", b"null"):
        raise InvalidRequest(f"{path} is required", param=path)
    require_json_object(path, text)
    if not text.isascii():
        try:
            text.decode()
        except UnicodeError:
            raise MalformedBody from None
    return msgspec.Raw(text)


def decode_tool_choice(
    choice: ToolChoiceParam | str | None, tools: tuple[Tool, ...]
) -> tuple[ToolChoice, bool | None]:
    """The choice, and whether several calls at once are allowed (`None`: nothing said)."""
    match choice:
        case None | "auto":
            return AUTO_TOOL_CHOICE, None
        case "none" | ToolChoiceNone():
            return ToolChoice("none"), None
        case ToolChoiceAuto():
            return AUTO_TOOL_CHOICE, _parallel(choice.disable_parallel_tool_use)
        case "any" | ToolChoiceAny():
            if not tools:
                raise InvalidRequest(
                    "tool_choice 'any' needs tools to choose from", param="tool_choice"
                )
            disabled = None if isinstance(choice, str) else choice.disable_parallel_tool_use
            return ToolChoice("required"), _parallel(disabled)
        case ToolChoiceTool(name=name):
            if all(tool.name != name for tool in tools):
                raise InvalidRequest(
                    f"tool_choice.name '{name[:MAX_TOOL_NAME]}' is none of the tools",
                    param="tool_choice.name",
                )
            return ToolChoice("named", name), _parallel(choice.disable_parallel_tool_use)
        case _:
            raise InvalidRequest(
                f"tool_choice '{choice[:40]}' is unknown; use 'auto', 'any' or 'none'",
                param="tool_choice",
            )


def _parallel(is_disabled: bool | None) -> bool | None:
    return False if is_disabled else None
