"""Tokens as the database can count them, and back."""

from __future__ import annotations

from dragoman.chat import Usage
from dragoman.stores.database import Row

_MOST_TOKENS = 1 << 53
"""A provider may claim any number; sums of this one still fit the database's integers."""


def token_counts(usage: Usage) -> tuple[int, ...]:
    """In the order of the tables' columns."""
    counts = (
        usage.input_tokens,
        usage.cached_input_tokens,
        usage.cache_write_tokens,
        usage.output_tokens,
        usage.reasoning_tokens,
    )
    if min(counts) >= 0 and max(counts) <= _MOST_TOKENS:
        return counts
    return tuple([max(0, min(count, _MOST_TOKENS)) for count in counts])


def usage_of(columns: Row) -> Usage:
    """From the counts in the order of the tables' columns, and whether they are estimated."""
    input_, cached, written, output, reasoning, is_estimated = columns
    return Usage(
        input_tokens=input_,
        output_tokens=output,
        cached_input_tokens=cached,
        cache_write_tokens=written,
        reasoning_tokens=reasoning,
        is_estimated=bool(is_estimated),
    )
