"""A model file that the embedded engine runs."""

from __future__ import annotations

import msgspec


class LocalModel(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    path: str | None = None
    """A GGUF file; `None`: the packaged SmolLM2-135M-Instruct."""
    aliases: tuple[str, ...] = ()
    context_tokens: int = 2048
    """Per slot: the longest prompt and answer together."""
    slots: int = 8
    """How many answers are generated at once."""
    max_queue: int = 64
    """How many more may wait for a slot; past it a request is refused with 503."""
    threads: int | None = None
    """`None`: one a core."""
    gpu_layers: int = 0
    chat_template: str | None = None
    """Jinja text, in place of the file's own."""
    default_system_prompt: str | None = None
    temperature: float | None = None
    top_p: float | None = None
    stall_s: float = 30.0
    """The engine is killed and restarted when no slot produced anything for so long under load."""
    memory_limit_mib: int = 8192
    prompt_cache_mib: int = 256
