"""DreamSolve publishes no client. Its answers are Anthropic's, so Anthropic's types parse them."""

from __future__ import annotations

from tests.wire.anthropic.vendor import check_response, check_stream

__all__ = ["check_response", "check_stream"]
