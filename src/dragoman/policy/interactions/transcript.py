"""Conversations as they are kept: in the form of OpenAI's chat messages, which fine-tuning tools read.

https://platform.openai.com/docs/api-reference/chat/create

What a message has beyond that form stands beside it: `reasoning_content`, and a client's own `completion_id` and
`metadata`. Images are kept as data URIs as long as the whole stays within its bound; of a larger conversation only
their kind and size is kept, and of one that is too large even so, nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import msgspec
from msgspec import UNSET, Raw, UnsetType

from dragoman.chat import (
    Image,
    Message,
    Opaque,
    Part,
    Reasoning,
    Refusal,
    Text,
    Tool,
    ToolCall,
    ToolResult,
)

MAX_CONTENT_BYTES = 4 * 1024 * 1024
"""Of what a client sends, as it is kept."""


class _Function(msgspec.Struct):
    name: str
    arguments: str


class _ToolCall(msgspec.Struct):
    id: str
    type: Literal["function"]
    function: _Function


class _Message(msgspec.Struct, omit_defaults=True, kw_only=True):
    role: str
    content: str | list[Any] | None
    name: str | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    tool_calls: list[_ToolCall] | None = None
    tool_call_id: str | None = None
    completion_id: str | None = None
    metadata: Raw | UnsetType = UNSET


class _Declared(msgspec.Struct, omit_defaults=True, kw_only=True):
    name: str
    description: str | None = None
    parameters: Raw
    strict: bool | None = None


class _Tool(msgspec.Struct, kw_only=True):
    type: Literal["function"] = "function"
    function: _Declared


_encode = msgspec.json.Encoder().encode


def encode_messages(messages: Sequence[Message], *, with_data: bool = True) -> Raw:
    """A JSON list. `with_data`: with the data of images and files; else only what they are."""
    encoded: list[_Message] = []
    for message in messages:
        _put_message(message, encoded, with_data)
    return Raw(_encode(encoded))


def encode_answer(parts: Sequence[Part]) -> Raw:
    """The assistant's message, as JSON."""
    return Raw(_encode(_assistant(parts, with_data=True)))


def encode_tools(tools: Sequence[Tool]) -> Raw | None:
    """A JSON list; `None`: there are none."""
    if not tools:
        return None
    return Raw(
        _encode(
            [
                _Tool(
                    function=_Declared(
                        name=tool.name,
                        description=tool.description,
                        parameters=tool.parameters,
                        strict=tool.strict,
                    )
                )
                for tool in tools
            ]
        )
    )


def _put_message(message: Message, encoded: list[_Message], with_data: bool) -> None:
    if message.role == "assistant":
        wire = _assistant(message.parts, with_data)
    else:
        rest: list[Part] = []
        for part in message.parts:
            if isinstance(part, ToolResult):
                content = _content(part.parts, with_data)
                encoded.append(_Message(role="tool", content=content, tool_call_id=part.call_id))
            else:
                rest.append(part)
        if not rest and message.role == "tool":
            return
        role = "user" if message.role == "tool" else message.role
        wire = _Message(role=role, content=_content(rest, with_data))
    wire.name = message.name
    wire.completion_id = message.completion_id
    if message.metadata is not None:
        wire.metadata = message.metadata
    encoded.append(wire)


def _assistant(parts: Sequence[Part], with_data: bool) -> _Message:
    shown = [part for part in parts if isinstance(part, Text | Image | Opaque)]
    calls = [part for part in parts if isinstance(part, ToolCall)]
    refusals = [part.text for part in parts if isinstance(part, Refusal)]
    thinking = [part.text for part in parts if isinstance(part, Reasoning)]
    return _Message(
        role="assistant",
        content=_content(shown, with_data) if shown or not (calls or refusals) else None,
        refusal="".join(refusals) or None,
        reasoning_content="".join(thinking) or None,
        tool_calls=[
            _ToolCall(call.id, "function", _Function(call.name, call.arguments or "{}"))
            for call in calls
        ]
        or None,
    )


def _content(parts: Sequence[Part], with_data: bool) -> str | list[Any]:
    if len(parts) == 1 and type(parts[0]) is Text:
        return parts[0].text
    if all(isinstance(part, Text) for part in parts) and len(parts) < 2:
        return ""
    return [_content_part(part, with_data) for part in parts]


def _content_part(part: Part, with_data: bool) -> object:
    match part:
        case Text(text=text) | Refusal(text=text) | Reasoning(text=text):
            return {"type": "text", "text": text}
        case Image():
            return _image(part, with_data)
        case Opaque():
            if with_data:
                return Raw(part.json.encode())
            return _described(part.kind, None, len(part.json))
        case ToolCall() | ToolResult():
            # Neither stands within what a turn says; both have places of their own.
            return {"type": "text", "text": ""}


def _image(part: Image, with_data: bool) -> dict[str, Any]:
    if part.data is None:
        url = part.url or ""
    elif with_data:
        url = f"data:{part.media_type or 'application/octet-stream'};base64,{part.data}"
    else:
        return _described("image", part.media_type, len(part.data))
    image: dict[str, Any] = {"url": url}
    if part.detail is not None:
        image["detail"] = part.detail
    return {"type": "image_url", "image_url": image}


def _described(kind: str, media_type: str | None, size: int) -> dict[str, Any]:
    what = kind if media_type is None else f"{kind} {media_type}"
    return {"type": "text", "text": f"[{what}, {size} characters, not kept]"}
