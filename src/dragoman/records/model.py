"""A model that can be asked for, and what it can honour."""

from __future__ import annotations

from typing import Literal

import msgspec

from dragoman.chat import NO_SAMPLING, Sampling

Feature = Literal[
    "temperature",
    "top_p",
    "temperature_with_top_p",
    "top_k",
    "frequency_penalty",
    "presence_penalty",
    "seed",
    "logit_bias",
    "logprobs",
    "n",
    "tools",
    "tool_choice",
    "tool_choice_with_thinking",
    "json_object",
    "json_schema",
    "images",
    "thinking",
    "prefill",
    "blank_stops",
]
"""Things that a request may ask for and some models cannot do."""


class Model(msgspec.Struct, frozen=True, kw_only=True):
    """A target: one model at one provider."""

    id: str
    """Unique, as clients name it and as answers show it."""
    provider: str
    upstream_name: str
    """What the provider calls it."""
    aliases: tuple[str, ...] = ()
    fallbacks: tuple[str, ...] = ()
    """Ids of the models to try, in order, when this one cannot answer."""
    context_tokens: int | None = None
    ends_at_context: bool = False
    """Its provider counts exactly and ends an answer where the context ends: no guess may cut it."""
    max_output_tokens: int | None = None
    default_sampling: Sampling = NO_SAMPLING
    """Used where neither the client nor its dialect says anything."""
    default_system_prompt: str | None = None
    """Put before a conversation that has no system message of its own."""
    lacks: frozenset[Feature] = frozenset()
    max_stops: int | None = None
    """How many stop strings it takes; we apply the rest. `None`: any number."""
    max_ttft_ms: int | None = None
    forwards: frozenset[str] = frozenset()
    """Fields that no dialect of ours knows and its provider is sent all the same."""
    system_fingerprint: str | None = None
    owned_by: str = "dragoman"
    created_s: int = 0
