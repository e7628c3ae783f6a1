"""How often callers without a key may ask, each address apart, whatever they ask for.

Such a request costs the reading of its body before it is known whether it may be served at all. Addresses share a
fixed number of windows, by a hash: however many of them ask, the table of limits, which keys and accounts need,
cannot be filled. Two that share one have its limit together.
"""

from __future__ import annotations

from hashlib import blake2b
from ipaddress import IPv6Address, IPv6Network, ip_address

from dragoman.errors import RateLimited
from dragoman.ports.limits import Full, Subject, Windows

REQUESTS_PER_MINUTE = 60
WINDOW_COUNT = 512
SITE_BITS = 64
"""Of an IPv6 address: what one site is given as a whole, and can draw addresses from at will (RFC 6177)."""


class GuestLimits:
    """Belongs to one event loop."""

    def __init__(self, windows: Windows, requests_per_minute: int = REQUESTS_PER_MINUTE) -> None:
        self._windows = windows
        self._requests = requests_per_minute

    def admit(self, address: str | None) -> None:
        """Count a request from `address`; `None`: it is not known. Raises `RateLimited`, with nothing counted."""
        subjects = (Subject(name=_window_of(address), requests=self._requests),)
        standings = self._windows.enter(subjects)
        if isinstance(standings, Full):
            wait_s = standings.wait_s or 1.0
            raise RateLimited(
                f"Rate limit exceeded: without a key, an address may ask {self._requests} times in any"
                f" 60 seconds. Try again in {max(1, -int(-wait_s // 1))} s, or send a key.",
                retry_after_s=wait_s,
            )
        # What it runs and uses is counted with the project.
        self._windows.leave(subjects, standings, 0, 0)


def _window_of(address: str | None) -> str:
    digest = blake2b(_site_of(address).encode("utf-8", "replace"), digest_size=8).digest()
    return f"guests:{int.from_bytes(digest) % WINDOW_COUNT}"


def _site_of(address: str | None) -> str:
    if address is None:
        return ""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, IPv6Address):
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return str(IPv6Network((int(parsed), SITE_BITS), strict=False))
    return str(parsed)
