"""What `anthropic` and `dreamsolve` share of a conversation: content blocks, and turns made of them.

Blocks that have no canonical form (documents, what Anthropic's own server tools leave behind) are
kept whole as `Opaque`, so that they reach an Anthropic target as they came; everything else becomes
canonical parts. The blocks are decoded in the one pass that decodes the body: only when a block has
to be kept whole is the body read a second time, for its text.

Source: https://platform.claude.com/docs/en/api/messages
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from dragoman.chat import (
    CacheTTL,
    Image,
    Message,
    Opaque,
    Part,
    Reasoning,
    Role,
    Text,
    ToolCall,
    ToolResult,
)
from dragoman.dialects.anthropic_tools import (
    CacheControl,
    arguments_of,
    cache_ttl,
    canonical_tool_id,
)
from dragoman.errors import InvalidRequest, MalformedBody

# --- Content blocks -----------------------------------------------------------------------------


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
                    parts.append(Text(block.text, cache_ttl(block.cache_control)))
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
                    parts.append(Text(block.text, cache_ttl(block.cache_control)))
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
        arguments = arguments_of(block.input)
        if arguments is None:
            path = f"messages[{i}].content[{j}].input"
            raise InvalidRequest(f"{path} must be an object", param=path)
        return ToolCall(
            id=call_id,
            name=block.name,
            arguments=arguments,
            cache=cache_ttl(block.cache_control),
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
                    parts.append(Text(inner.text, cache_ttl(inner.cache_control)))
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
            cache=cache_ttl(block.cache_control),
        )

    def _image(self, i: int, j: int, block: ImageBlock) -> Image | Opaque:
        cache = cache_ttl(block.cache_control)
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
        parts.append(Text(block.text, cache_ttl(block.cache_control)))
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


def _misplaced(i: int, j: int, kind: str, role: Role) -> InvalidRequest:
    path = f"messages[{i}].content[{j}].type"
    return InvalidRequest(f"{path} '{kind}' belongs in a message of role '{role}'", param=path)
