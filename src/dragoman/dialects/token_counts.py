"""Tokens as providers report them: numbers of somebody else's, which charges are made of."""

from __future__ import annotations

MAX_TOKENS = 1_000_000_000
"""More than any model reads or writes. What is beyond is a fault, and fits no book."""


def count_of(given: int | None) -> int:
    """0 for what is missing or below."""
    return given if given is not None and given > 0 else 0


def are_believable(input_tokens: int, output_tokens: int) -> bool:
    """Not so for zeros all over, which some send for want of a count: every prompt has a token."""
    return input_tokens + output_tokens > 0 and max(input_tokens, output_tokens) <= MAX_TOKENS
