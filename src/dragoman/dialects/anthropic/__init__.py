"""Anthropic's Messages API: `serving` answers its clients, `upstream` asks it as a provider."""

from dragoman.dialects.anthropic.serving import (
    ANTHROPIC,
    CountTokensRequest,
    TokenCount,
    decode_count_request,
    encode_count,
)
from dragoman.dialects.anthropic.upstream import (
    ANTHROPIC_UPSTREAM,
    UPSTREAM_LACKS,
    UPSTREAM_MAX_STOPS,
)

__all__ = [
    "ANTHROPIC",
    "ANTHROPIC_UPSTREAM",
    "UPSTREAM_LACKS",
    "UPSTREAM_MAX_STOPS",
    "CountTokensRequest",
    "TokenCount",
    "decode_count_request",
    "encode_count",
]
