"""The Protocol of whoever answers."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Protocol

import msgspec

from dragoman.chat import ChatRequest, ChatResponse, StreamEvent
from dragoman.records.model import Model


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
