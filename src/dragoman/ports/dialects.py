"""The Protocols of wire formats, on the serving side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol

import msgspec

from dragoman.chat import ChatRequest, ChatResponse, DialectName, ResponseHead, StreamEvent
from dragoman.errors import DragomanError


class Example(msgspec.Struct, frozen=True, kw_only=True):
    """A request that the interface description shows, and a test sends."""

    name: str
    summary: str
    body: dict[str, Any]


class WireTypes(msgspec.Struct, frozen=True, kw_only=True):
    """The types that decode and encode a dialect, from which its description is generated."""

    path: str
    summary: str
    request: Any
    response: Any
    stream_frame: Any
    error: Any
    stream_media_type: str
    examples: tuple[Example, ...]
    request_headers: tuple[tuple[str, str], ...] = ()
    """Headers of the dialect's own: (name, what it does)."""


class StreamEncoder(Protocol):
    """Turns events into the dialect's bytes; holds no bytes back."""

    def feed(self, events: Sequence[StreamEvent]) -> bytes:
        """Frames for `events`, possibly none. A `Failed` becomes the dialect's error frame, after
        which nothing more is written; in a bare-text stream it becomes nothing."""
        ...

    def close(self) -> bytes:
        """What ends a stream whose every choice finished (`data: [DONE]`, say); else nothing."""
        ...


class Dialect(Protocol):
    """The serving side of one wire format. Pure: no I/O, no clock; all ids come in values."""

    @property
    def name(self) -> DialectName: ...

    @property
    def wire(self) -> WireTypes: ...

    @property
    def names_request_in_own_header(self) -> bool:
        """Whether answers carry `request-id` beside `x-request-id`, as Anthropic's do."""
        ...

    def decode_request(self, body: bytes, headers: Mapping[str, str]) -> ChatRequest:
        """Raise `InvalidRequest` (with `param`) when `body` breaks a rule; `headers` in lower case."""
        ...

    def bind_target(self, request: ChatRequest, kind: Literal["model", "project"]) -> ChatRequest:
        """Apply the rules and defaults that depend on what the request's target turned out to be."""
        ...

    def encode_response(
        self, request: ChatRequest, response: ChatResponse, head: ResponseHead
    ) -> bytes: ...

    def encode_error(self, error: DragomanError, request_id: str) -> bytes: ...

    def error_status(self, error: DragomanError) -> int:
        """The dialect's HTTP status for `error`: mostly `error.status`."""
        ...

    def stream_encoder(self, request: ChatRequest, head: ResponseHead) -> StreamEncoder: ...

    def stream_content_type(self, request: ChatRequest) -> str: ...
