"""Who answers: a row of the provider catalog, or of the user's configuration."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from dragoman.records.model import Feature

UpstreamWire = Literal["openai", "anthropic"]
Seconds = Annotated[float, Meta(gt=0, le=86400)]


FORWARDED_IN_MESSAGES = frozenset(
    {"reasoning", "reasoning_content", "reasoning_details", "cache_control"}
)
"""Of `ProviderRow.forwards`, what is a field of messages. It is never one of a request's top level."""


class Timeouts(msgspec.Struct, frozen=True, kw_only=True):
    """How long each step of a call may take, in seconds."""

    connect_s: Seconds = 10.0
    """Until a connection is open, TLS included."""
    first_byte_s: Seconds = 300.0
    """From the request's last byte to the answer's first."""
    idle_s: Seconds = 120.0
    """The longest silence within an answer."""
    total_s: Seconds = 3600.0
    """The whole call."""


class ProviderRow(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    wire: UpstreamWire
    base_url: str
    """With its version path, as vendors print it: `https://api.openai.com/v1`."""
    api_key: str | None = None
    """A reference, `env:NAME` or `file:PATH`: never the secret itself."""
    headers: tuple[tuple[str, str], ...] = ()
    """Sent with every request; a value may be a reference like `api_key`."""
    query: tuple[tuple[str, str], ...] = ()
    chat_path: str | None = None
    """Below `base_url`; `None`: the wire format's own. May hold `{model}` (Azure's deployments)."""
    check_path: str | None = None
    """Below `base_url`: what tells, at no cost, whether the provider is there and takes our key.
    `None`: its list of models."""
    auth_header: Literal["authorization", "x-api-key", "api-key"] | None = None
    """How the key is sent; `None`: the wire format's own way."""
    max_tokens_field: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    tool_call_id_chars: int | None = None
    """Takes only ids of tool calls that are so many letters and digits; `None`: up to 40 characters."""
    reports_stream_usage: bool = True
    """Takes `stream_options.include_usage`."""
    forwards: tuple[str, ...] = ()
    """Top-level fields of a request that we do not know and it does, never by default one that
    changes the price; and which of `FORWARDED_IN_MESSAGES` it takes."""
    lacks: frozenset[Feature] = frozenset()
    max_stops: int | None = None
    timeouts: Timeouts = Timeouts()
    max_connections: int = 256
    max_response_bytes: int = 64 * 1024 * 1024
