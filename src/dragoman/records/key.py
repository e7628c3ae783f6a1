"""A client's key, as it is kept: never its secret, only the secret's hash."""

from __future__ import annotations

from typing import NewType

import msgspec

KeyId = NewType("KeyId", str)
"""`key_` and 20 lower-case letters and digits: stable, fit to be shown and logged."""


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
