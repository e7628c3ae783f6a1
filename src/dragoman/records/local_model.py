"""A model file that the embedded engine runs."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from dragoman.records.dollar_price import DollarPrice


class LocalModel(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    """How clients name it, and what answers show. Unique."""
    path: str | None = None
    """A GGUF file. Default: the packaged SmolLM2-135M-Instruct."""
    aliases: tuple[str, ...] = ()
    """Other names for it. Unique among all ids and aliases."""
    context_tokens: Annotated[int, Meta(ge=128, le=1 << 24)] = 2048
    """Per slot: the longest prompt and answer together."""
    slots: Annotated[int, Meta(ge=1, le=256)] = 8
    """How many answers are generated at once."""
    max_queue: Annotated[int, Meta(ge=0, le=100_000)] = 64
    """How many more may wait for a slot; past it a request is refused with 503."""
    threads: Annotated[int, Meta(ge=1, le=1024)] | None = None
    """Default: one a core."""
    gpu_layers: Annotated[int, Meta(ge=-1, le=100_000)] = 0
    """How many of the model's layers run on a GPU; -1 is all of them."""
    chat_template: str | None = None
    """Jinja text, in place of the file's own."""
    default_system_prompt: str | None = None
    """Put before a conversation that has no system message of its own."""
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    """Used where neither the client nor its dialect says anything."""
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    """Used where neither the client nor its dialect says anything."""
    stall_s: Annotated[float, Meta(ge=1, le=86400)] = 30.0
    """The engine is killed and restarted when no slot produced anything for so long under load."""
    memory_limit_mib: Annotated[int, Meta(ge=256, le=1 << 24)] = 8192
    """The most memory that the engine's process may take."""
    prompt_cache_mib: Annotated[int, Meta(ge=0, le=1 << 24)] = 256
    """How much memory keeps the prompts that were read, so that they need not be read again."""
    price: DollarPrice | None = None
    """What its tokens cost. Default: nothing."""
