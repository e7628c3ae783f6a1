"""What the parts that speak MCP share, free of the SDK, so that naming it loads nothing."""

from __future__ import annotations

MAX_MESSAGE_BYTES = 4 << 20
"""The longest message that is read: the longest result, with all of its characters escaped."""

# Our own errors in JSON-RPC's words: https://www.jsonrpc.org/specification#error_object
TOO_LONG = -32090
UNREACHABLE = -32091
TIMED_OUT = -32092
BROKEN = -32093
REFUSED = -32094
FAILED = -32095
