"""Who a request comes from, once its key is known."""

from __future__ import annotations

import msgspec

from dragoman.records.key import KeyId


class Principal(msgspec.Struct, frozen=True, kw_only=True):
    key_id: KeyId
    name: str
    """The key's."""
