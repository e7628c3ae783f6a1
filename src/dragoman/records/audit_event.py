"""A change that somebody made to what administrators manage, or the server to it by itself."""

from __future__ import annotations

import msgspec


class AuditEvent(msgspec.Struct, frozen=True, kw_only=True):
    at_s: float
    actor: str
    """The id of a key, `cli:USER`, `file:PATH` for what a settings file defines, or `server`: for the key of a
    first start, and for campaigns that end."""
    action: str
    """`account.create`, `key.revoke`, `credits.top_up`, …"""
    subject: str
    """The id of what was changed."""
    detail: msgspec.Raw = msgspec.Raw(b"{}")
    """A JSON object: what was asked for. Never a secret."""
