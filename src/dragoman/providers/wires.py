"""The wire formats that HTTP providers speak: which codec, which paths, which fixed headers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import msgspec

from dragoman.chat import ChatRequest, ChatResponse, StreamEvent
from dragoman.dialects.anthropic import ANTHROPIC_UPSTREAM, UPSTREAM_LACKS
from dragoman.dialects.openai import OPENAI_UPSTREAM
from dragoman.errors import DragomanError
from dragoman.records.model import Feature, Model
from dragoman.records.provider import ProviderRow, UpstreamWire


class UpstreamStreamDecoder(Protocol):
    """Turns the `data` of server-sent events into events."""

    def feed(self, data: bytes) -> list[StreamEvent]:
        """Raises `ProviderGarbled`, or the error that the provider tells in its stream."""
        ...

    def close(self) -> list[StreamEvent]:
        """What was held back. Raises `ProviderGarbled` when the stream was cut."""
        ...


class UpstreamWireCodec(Protocol):
    """The provider's side of one wire format."""

    @property
    def encode_request(self) -> EncodeRequest: ...

    @property
    def decode_response(self) -> Callable[[bytes], ChatResponse]: ...

    @property
    def decode_error(self) -> Callable[[int, Mapping[str, str], bytes], DragomanError]: ...

    @property
    def stream_decoder(self) -> Callable[[], UpstreamStreamDecoder]: ...


class EncodeRequest(Protocol):
    def __call__(
        self, request: ChatRequest, model: Model, row: ProviderRow, *, stream: bool
    ) -> bytes: ...


class TokenCounting(msgspec.Struct, frozen=True):
    """How a wire format has a prompt's tokens counted, where it can."""

    path: str
    encode: Callable[[ChatRequest, Model, ProviderRow], bytes]
    decode: Callable[[bytes], int]


class UpstreamWireFormat(msgspec.Struct, frozen=True, kw_only=True):
    codec: UpstreamWireCodec
    chat_path: str
    last_data: Sequence[bytes]
    """What the data of a stream's last event may be, where one is only an end mark."""
    last_names: Sequence[bytes] = ()
    """What the last event may be called."""
    headers: tuple[tuple[str, str], ...] = ()
    lacks: frozenset[Feature] = frozenset()
    """What no model behind this wire format can be asked for."""
    counting: TokenCounting | None = None


WIRES: Mapping[UpstreamWire, UpstreamWireFormat] = {
    "openai": UpstreamWireFormat(
        codec=OPENAI_UPSTREAM,
        chat_path="chat/completions",
        last_data=(b"[DONE]",),
    ),
    "anthropic": UpstreamWireFormat(
        codec=ANTHROPIC_UPSTREAM,
        chat_path="messages",
        last_data=(),
        last_names=(b"message_stop",),
        # https://platform.claude.com/docs/en/api/versioning
        headers=(("anthropic-version", "2023-06-01"),),
        lacks=UPSTREAM_LACKS,
        counting=TokenCounting(
            "messages/count_tokens",
            ANTHROPIC_UPSTREAM.encode_count_request,
            ANTHROPIC_UPSTREAM.decode_count_response,
        ),
    ),
}
