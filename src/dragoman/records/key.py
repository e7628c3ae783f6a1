"""A key, as it is kept: never its secret, only the secret's hash."""

from __future__ import annotations

from typing import Literal, NewType

import msgspec

from dragoman.records.account import DEFAULT_ACCOUNT, AccountId
from dragoman.records.limits import NO_LIMITS, Limits

KeyId = NewType("KeyId", str)
"""`key_` and 20 lower-case letters and digits: stable, fit to be shown and logged."""


class Scopes(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a key may be used for; `None`: everything that its account may."""

    models: tuple[str, ...] | None = None
    """Ids of models."""
    projects: tuple[str, ...] | None = None
    dialects: tuple[str, ...] | None = None
    networks: tuple[str, ...] | None = None
    """Where its requests may come from: `10.0.0.0/8`, `2001:db8::/32`."""


ALL_SCOPES = Scopes()


class Key(msgspec.Struct, frozen=True, kw_only=True):
    id: KeyId
    name: str
    hash: bytes
    """SHA-256 of the whole secret: 32 bytes. Secrets are 32 random characters, so no salt or
    stretching is needed, and a look-up by hash leaks nothing by its time."""
    hint: str
    """The secret's prefix and last four characters, for people to tell keys apart."""
    created_s: float
    revoked_s: float | None = None
    kind: Literal["client", "admin"] = "client"
    """`client` keys ask for completions, `admin` keys use the admin API; neither does both."""
    account_id: AccountId = DEFAULT_ACCOUNT
    project: str | None = None
    expires_s: float | None = None
    """Valid before that moment. A rotated key's grace ends here."""
    last_used_s: float | None = None
    """Kept to within a minute."""
    scopes: Scopes = ALL_SCOPES
    limits: Limits = NO_LIMITS
    replaces: KeyId | None = None
    """The key that this one was made from by rotation."""
    creation_token: str | None = None
    """What its maker called the wish for it: the same wish again makes no second key."""
