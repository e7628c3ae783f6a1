"""Who may administer: admin keys alone, from where they may, and how often an address may fail."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable
from ipaddress import IPv6Address, ip_address

from dragoman.errors import RateLimited, Unauthenticated
from dragoman.policy.keys import KeyRing
from dragoman.ports import Clock
from dragoman.records.principal import Principal
from dragoman.web.call import Call
from dragoman.web.door import Touch

MAX_FAILURES = 10
WINDOW_S = 60.0
MAX_ADDRESSES = 10_000
_UNKNOWN = "unknown"


class Gate:
    """Belongs to one event loop."""

    def __init__(
        self,
        keys: KeyRing,
        clock: Clock,
        origin_of: Callable[[Call], str | None],
        *,
        touch: Touch | None = None,
    ) -> None:
        """`origin_of` tells the address of whoever calls; `touch` is told that a key was used."""
        self._keys = keys
        self._clock = clock
        self._origin_of = origin_of
        self._touch = touch
        self._failures = Failures(clock)

    async def authenticate(self, call: Call) -> Principal:
        """Raises `Unauthenticated`, `Forbidden`, or `RateLimited` for what would be one of too many
        failures.

        A sound key is let in whatever its address did before: every secret of an admin key was drawn by
        us, and is beyond guessing, so that locking administrators out would be the greater harm.
        """
        keys = self._keys
        if keys.is_stale():
            await keys.refresh()
        origin = self._origin_of(call)
        try:
            secret = call.presented_key()
            if secret is None:
                raise Unauthenticated(
                    "An admin key is needed: send it as 'Authorization: Bearer …'."
                    " 'dragoman keys create NAME --admin' makes one."
                )
            principal = keys.authenticate_admin(secret, self._clock.unix_s())
        except Unauthenticated:
            self._failures.count(origin or _UNKNOWN)
            raise
        keys.require_network(principal, origin)
        if self._touch is not None:
            self._touch(principal.key_id, self._clock.unix_s())
        return principal


class Failures:
    """The latest failures of each address, as many as are needed to tell."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._by_address: OrderedDict[str, deque[float]] = OrderedDict()

    def count(self, address: str) -> None:
        """Raises `RateLimited` where there were `MAX_FAILURES` within the window already."""
        now_s = self._clock.monotonic_s()
        # Whoever has an IPv6 address has a whole /64 of them.
        address = _network_of(address)
        times = self._by_address.setdefault(address, deque(maxlen=MAX_FAILURES))
        self._by_address.move_to_end(address)
        if len(self._by_address) > MAX_ADDRESSES:
            self._by_address.popitem(last=False)
        while times and now_s - times[0] >= WINDOW_S:
            times.popleft()
        if len(times) == MAX_FAILURES:
            raise RateLimited(
                "Too many attempts without an admin key that holds; try again later.",
                retry_after_s=WINDOW_S - (now_s - times[0]),
            )
        times.append(now_s)


def _network_of(address: str) -> str:
    try:
        parsed = ip_address(address)
    except ValueError:
        return address[:64]
    if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped is None:
        return f"{int(parsed) >> 64:x}"
    return address
