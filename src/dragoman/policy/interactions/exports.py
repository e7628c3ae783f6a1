"""Interactions as files of JSON lines.

`chat` is what fine-tuning tools read: OpenAI's format, https://platform.openai.com/docs/guides/supervised-fine-tuning
(one conversation a line, the answer as its last message). `full` has everything, feedback included.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Literal, get_args

import msgspec
from msgspec import UNSET, Raw, UnsetType

from dragoman.policy.interactions.rows import Names, interaction_row
from dragoman.records.interaction_query import KeptInteraction

ExportLayout = Literal["chat", "full"]
EXPORT_LAYOUTS: tuple[str, ...] = get_args(ExportLayout)
MAX_PIECE_BYTES = 256 * 1024
"""A piece may be longer by one line."""


class _Message(msgspec.Struct, frozen=True):
    """What of a message fine-tuning takes; ids and the like of ours stay behind."""

    role: Raw | UnsetType = UNSET
    content: Raw | UnsetType = UNSET
    name: Raw | UnsetType = UNSET
    tool_calls: Raw | UnsetType = UNSET
    tool_call_id: Raw | UnsetType = UNSET
    refusal: Raw | UnsetType = UNSET


class _SystemMessage(msgspec.Struct, frozen=True):
    content: str
    role: Literal["system"] = "system"


class _Conversation(msgspec.Struct, frozen=True):
    messages: tuple[_SystemMessage | _Message, ...]
    tools: Raw | UnsetType = UNSET


_messages = msgspec.json.Decoder(list[_Message])
_message = msgspec.json.Decoder(_Message)
_encoder = msgspec.json.Encoder()


def export_pieces(
    chunks: Iterable[Sequence[KeptInteraction]], layout: ExportLayout, names: Names
) -> Iterator[bytes]:
    """Whole lines, some at a time; between two pieces it may be left."""
    lines: list[bytes] = []
    size = 0
    for chunk in chunks:
        for kept in chunk:
            line = chat_line(kept) if layout == "chat" else full_line(kept, names)
            if line is None:
                continue
            lines += (line, b"\n")
            size += len(line)
            if size >= MAX_PIECE_BYTES:
                yield b"".join(lines)
                lines.clear()
                size = 0
    if lines:
        yield b"".join(lines)


def chat_line(kept: KeptInteraction) -> bytes | None:
    """The conversation with its answer; `None` where there was none, or its words are not kept."""
    content = kept.interaction.content
    if content is None or content.completion is None or kept.interaction.status != "ok":
        return None
    messages: list[_SystemMessage | _Message] = []
    if content.system_prompt:
        messages.append(_SystemMessage(content.system_prompt))
    messages += _messages.decode(content.messages)
    messages.append(_message.decode(content.completion))
    tools = UNSET if content.tools is None else content.tools
    return _encoder.encode(_Conversation(tuple(messages), tools))


def full_line(kept: KeptInteraction, names: Names) -> bytes:
    return _encoder.encode(interaction_row(kept, names))
