"""What the supervisor and its child tell each other."""

from __future__ import annotations

import msgspec


class ChildSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The line that the child reads at its start."""

    parent_pid: int
    model_path: str
    socket_path: str
    key: str
    """What every request to the socket must carry."""
    slots: int
    context_tokens: int
    threads: int
    gpu_layers: int
    prompt_cache_mib: int
    memory_limit_mib: int
    chat_template: str | None

    def __repr__(self) -> str:
        return f"ChildSettings({self.model_path!r})"


class ChildReady(msgspec.Struct, frozen=True, kw_only=True):
    """The line that the child writes when the model is loaded."""

    build: str
    """Names the native library and its version."""
    vocabulary: int
    """How many tokens the model knows: ids run from 0 to one less."""
    context_tokens: int
    """Per slot, as the engine reports it."""
    knows_tools: bool
    """The chat template renders tools, calls and results by itself."""
