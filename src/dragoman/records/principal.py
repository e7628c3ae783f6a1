"""Who a request comes from, once its key is known."""

from __future__ import annotations

import msgspec

from dragoman.records.account import Account
from dragoman.records.key import ALL_SCOPES, KeyId, Scopes
from dragoman.records.limits import NO_LIMITS, Limits


class Principal(msgspec.Struct, frozen=True, kw_only=True):
    key_id: KeyId
    name: str
    """The key's."""
    account: Account
    project: str | None = None
    expires_s: float | None = None
    scopes: Scopes = ALL_SCOPES
    models: frozenset[str] | None = None
    """Ids of the models that both the key's scopes and the account's plan allow; `None`: all."""
    key_limits: Limits = NO_LIMITS
    account_limits: Limits = NO_LIMITS
    """The plan's, or the server's defaults where the account has no plan."""
