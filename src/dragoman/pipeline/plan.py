"""A request that was admitted."""

from __future__ import annotations

import msgspec

from dragoman.chat import ChatRequest
from dragoman.records.model import Model
from dragoman.tools.loop import ToolKit


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """An admitted request: what will be asked, and of whom, in order."""

    request: ChatRequest
    targets: tuple[Model, ...]
    max_ttft_ms: int | None
    kit: ToolKit | None = None
    """Server-side tools, where the request turned some on."""
