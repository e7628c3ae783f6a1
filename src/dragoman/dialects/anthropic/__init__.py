"""Anthropic's Messages API: `serving` answers its clients, `upstream` asks it as a provider."""

from dragoman.dialects.anthropic.serving import (
    ANTHROPIC,
    CountTokensRequest,
    TokenCount,
    decode_count_request,
    encode_count,
)

__all__ = [
    "ANTHROPIC",
    "CountTokensRequest",
    "TokenCount",
    "decode_count_request",
    "encode_count",
]
