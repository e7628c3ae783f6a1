"""Which addresses are the public Internet's: for targets that somebody else names.

Names are looked up once, here, and what is connected to is what was checked: a name that leads elsewhere a
moment later (DNS rebinding) gains nothing.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket

from dragoman.http_client.errors import ConnectFailed

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# https://www.rfc-editor.org/rfc/rfc6052: IPv4 addresses within IPv6, for translators
_TRANSLATED = ipaddress.IPv6Network("64:ff9b::/96")
MAX_ADDRESSES = 8


def is_public(address: Address) -> bool:
    """Whether it can only be somebody's on the Internet, whatever form an address within takes."""
    if isinstance(address, ipaddress.IPv6Address):
        if address in _TRANSLATED:
            return is_public(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
        within = address.ipv4_mapped or address.sixtofour
        if within is not None:
            return is_public(within)
        if address.teredo is not None or address.scope_id is not None:
            return False
    return address.is_global and not address.is_multicast and not address.is_reserved


async def public_addresses(host: str, port: int) -> list[str]:
    """The public addresses of `host`, the resolver's choice first. Raises `ConnectFailed` without any."""
    literal = _literal(host)
    if literal is not None:
        found = [literal]
    else:
        try:
            infos = await asyncio.get_running_loop().getaddrinfo(
                host, port, type=socket.SOCK_STREAM
            )
        except OSError as error:
            raise ConnectFailed(f"{host} cannot be resolved: {error.strerror}") from error
        found = [address for info in infos if (address := _literal(str(info[4][0]))) is not None]
    public = [str(address) for address in dict.fromkeys(found) if is_public(address)]
    if not public:
        raise ConnectFailed(f"{host} is not on the public Internet")
    return public[:MAX_ADDRESSES]


def is_named_public(host: str) -> bool:
    """Whether `host` may be public as far as can be told without asking a resolver."""
    literal = _literal(host)
    if literal is not None:
        return is_public(literal)
    return host != "localhost" and not host.endswith(".localhost")


def _literal(host: str) -> Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
