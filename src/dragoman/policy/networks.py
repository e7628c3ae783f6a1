"""Networks, and whether an address is within them; IPv4 addresses in IPv6's form are what they stand for."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Network = IPv4Network | IPv6Network

_MAPPED_BITS = 96
"""How much of an IPv6 address says that it is an IPv4 address in disguise (RFC 4291, 2.5.5.2)."""


def parse_network(text: str) -> Network:
    """`10.0.0.0/8`, `2001:db8::/32`, or one address. Raises `ValueError`, with the remedy."""
    try:
        network = ip_network(text.strip(), strict=False)
    except ValueError:
        raise ValueError(
            f"{text[:60]!r} is no network; write it like 10.0.0.0/8, 2001:db8::/32 or 192.0.2.7"
        ) from None
    if isinstance(network, IPv6Network) and network.prefixlen >= _MAPPED_BITS:
        mapped = network.network_address.ipv4_mapped
        if mapped is not None:
            return IPv4Network((mapped, network.prefixlen - _MAPPED_BITS))
    return network


def is_within(address: str, networks: Iterable[Network]) -> bool:
    """Whether `address` is of one of `networks`; what is no address is of none."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped is not None:
        parsed = parsed.ipv4_mapped
    return any(parsed in network for network in networks)
