"""The Protocols that `pipeline`, `policy` and `web` are given, and `app` fills in.

A port is stated where it is used from: nothing here does I/O or imports an adapter.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any, Literal, Protocol

import msgspec

from dragoman.chat import (
    ChatRequest,
    ChatResponse,
    DialectName,
    ResponseHead,
    StreamEvent,
)
from dragoman.errors import DragomanError
from dragoman.records.key import Key, KeyId
from dragoman.records.model import Model


class Clock(Protocol):
    """Time, injected so that tests need no sleeping."""

    def monotonic_s(self) -> float: ...

    def unix_s(self) -> float: ...


# --- Dialects: the serving side -----------------------------------------------------------------


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


# --- Providers ----------------------------------------------------------------------------------


class Provider(Protocol):
    """The back: a canonical request in, canonical events out."""

    @property
    def name(self) -> str: ...

    def stream(self, request: ChatRequest, model: Model) -> AsyncGenerator[list[StreamEvent], None]:
        """Answer `request` with `model`: event lists as they come, one for each read from the wire.

        Raises a `DragomanError` for any failure; an answer that is cut off raises, and never looks
        finished. Closing the iterator (or cancelling the task that drives it) stops the generation
        at once. `request` is already bound: sampling, output limit and stop strings are what is
        to be sent.
        """
        ...

    async def complete(self, request: ChatRequest, model: Model) -> ChatResponse | None:
        """The whole answer, where the provider gives it in one piece; `None`: it only streams.

        The same as `collect` of the stream's events, without the detour. Raises as `stream` does.
        """
        ...

    async def count_input(self, request: ChatRequest, model: Model) -> int | None:
        """How many tokens the prompt has, exactly; `None` where the provider cannot tell."""
        ...

    async def check(self) -> ProviderHealth:
        """Whether the provider can be reached and takes our credentials, at no cost."""
        ...

    async def aclose(self) -> None: ...


class ProviderHealth(msgspec.Struct, frozen=True, kw_only=True):
    ok: bool
    message: str
    """What was found, in words for the operator."""
    remedy: str | None = None


# --- Repositories -------------------------------------------------------------------------------


class KeyRepository(Protocol):
    """Where keys are kept. Synchronous: called outside the request path, or in a thread."""

    def list_keys(self) -> list[Key]: ...

    def add_key(self, key: Key) -> None: ...

    def revoke_key(self, key_id: KeyId, revoked_s: float) -> bool:
        """Whether there was such a key that was not yet revoked."""
        ...

    def generation(self) -> int:
        """A number that changes whenever any process changes a key: cheap, no I/O."""
        ...
