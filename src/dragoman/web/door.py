"""The door that every route with a key goes through.

Whose key it is, whether it holds now, comes from where it may, and may be used in the dialect of the
path: all of it from memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

from dragoman.chat import DialectName
from dragoman.errors import Forbidden, Unauthenticated
from dragoman.policy.keys import KeyRing
from dragoman.policy.networks import Network, is_within
from dragoman.ports import Clock
from dragoman.records.key import KeyId
from dragoman.records.principal import Principal
from dragoman.web.call import Call, Headers

TOUCH_PERIOD_S = 60.0
"""How often at most it is noted that a key was used."""
MAX_FORWARDED_HOPS = 32
MAX_ADDRESS_CHARS = 64

Touch = Callable[[KeyId, float], object]


class Door:
    """What every route that costs something goes through first: the caller's key."""

    def __init__(
        self,
        keys: KeyRing,
        clock: Clock,
        *,
        touch: Touch | None = None,
        rate_headers: Callable[[Principal], Headers] | None = None,
        trusted_proxies: Iterable[Network] = (),
    ) -> None:
        """`touch` is told, seldom, when a key was last used: (its id, seconds since the epoch).

        `rate_headers` come with every answer to a key that is known, unless its route has better ones.
        `trusted_proxies` are believed when they say who they ask for (`X-Forwarded-For`).
        """
        self._keys = keys
        self._clock = clock
        self._touch = touch
        self._touched: dict[KeyId, float] = {}
        self._rate_headers = rate_headers
        self._trusted = tuple(trusted_proxies)
        self.refusals = 0
        """How many calls came without a key that holds."""

    async def authenticate(self, call: Call, dialect: DialectName | None = None) -> Principal:
        """Who calls; `dialect` where the call is a conversation in it. No I/O, unless some process has
        changed something since.

        Raises `Unauthenticated`, or `Forbidden` where the key is sound and may not do this.
        """
        keys = self._keys
        if keys.is_stale():
            await keys.refresh()
        now_s = self._clock.unix_s()
        try:
            secret = call.presented_key()
            if secret is None:
                raise Unauthenticated
            principal = keys.authenticate(secret, now_s)
        except Unauthenticated:
            self.refusals += 1
            raise
        if self._rate_headers is not None:
            call.late_headers = partial(self._rate_headers, principal)
        scopes = principal.scopes
        if scopes.networks is not None:
            keys.require_network(principal, self.origin_of(call))
        if dialect is not None and scopes.dialects is not None and dialect not in scopes.dialects:
            raise Forbidden(
                f"This key may not be used in the dialect '{dialect}', but in"
                f" {', '.join(scopes.dialects) or 'none'}; ask there, or with another key."
            )
        if self._touch is not None and now_s >= self._touched.get(principal.key_id, 0.0):
            self._note_use(principal.key_id, now_s)
        return principal

    def _note_use(self, key_id: KeyId, now_s: float) -> None:
        assert self._touch is not None
        if len(self._touched) > 2 * len(self._keys) + 1000:
            # Keys that are gone.
            self._touched.clear()
        self._touched[key_id] = now_s + TOUCH_PERIOD_S
        self._touch(key_id, now_s)

    def origin_of(self, call: Call) -> str | None:
        """The address of whoever asks: the peer's, or what trusted proxies say of theirs.

        Each proxy adds the address that it was asked from at the right. So what is to the left of the
        last one that is not trusted may be anybody's invention.
        """
        client = call.scope.get("client")
        address: str | None = None if client is None else client[0]
        if address is None or not is_within(address, self._trusted):
            return address
        forwarded = b",".join(
            value for name, value in call.scope["headers"] if name == b"x-forwarded-for"
        )
        hops = forwarded.decode("latin-1").split(",")
        for hop in reversed(hops[-MAX_FORWARDED_HOPS:]):
            stated = _without_port(hop.strip())
            if not stated:
                continue
            address = stated
            if not is_within(stated, self._trusted):
                break
        return address


def _without_port(hop: str) -> str:
    """`192.0.2.7:1234` and `[2001:db8::1]:1234` are written by some proxies."""
    if hop.startswith("["):
        return hop[1:].partition("]")[0][:MAX_ADDRESS_CHARS]
    if hop.count(":") == 1:
        hop = hop.partition(":")[0]
    return hop[:MAX_ADDRESS_CHARS]
