"""A change that somebody made to accounts, keys, plans, prices or money."""

from __future__ import annotations

import msgspec


class AuditEvent(msgspec.Struct, frozen=True, kw_only=True):
    at_s: float
    actor: str
    """`key_…` of an admin key, `cli:USER`, or `server` for the key of a first start."""
    action: str
    """`account.create`, `key.revoke`, `credits.top_up`, …"""
    subject: str
    """The id of what was changed."""
    detail: msgspec.Raw = msgspec.Raw(b"{}")
    """A JSON object: what was asked for. Never a secret."""
