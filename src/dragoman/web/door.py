"""The door that every route with a key goes through."""

from __future__ import annotations

from dragoman.errors import Unauthenticated
from dragoman.policy.keys import KeyRing
from dragoman.records.principal import Principal
from dragoman.web.call import Call


class Door:
    """What every route that costs something goes through first: the caller's key."""

    def __init__(self, keys: KeyRing) -> None:
        self._keys = keys

    async def authenticate(self, call: Call) -> Principal:
        """Raises `Unauthenticated`. No I/O, unless some process has changed a key since."""
        secret = call.presented_key()
        if secret is None:
            raise Unauthenticated
        if self._keys.is_stale():
            await self._keys.refresh()
        return self._keys.authenticate(secret)
