"""How the client behaves, as plain values: whoever reads the environment builds these."""

from __future__ import annotations

import base64
import ipaddress
from urllib.parse import unquote, urlsplit

import msgspec


class ProxySettings(msgspec.Struct, frozen=True, kw_only=True):
    """Proxy URLs for each scheme of target, as `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY` give them.

    `no_proxy` entries: `*`, a host, a domain (its subdomains included), an address, a network in
    CIDR form; each may end in `:port`. Loopback targets are never sent through a proxy.
    """

    http: str | None = None
    https: str | None = None
    no_proxy: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return "ProxySettings(…)"  # a proxy's URL may hold a password


class HttpSettings(msgspec.Struct, frozen=True, kw_only=True):
    ca_file: str | None = None
    """PEM file of authorities to trust besides the system's."""
    proxy: ProxySettings = ProxySettings()
    public_only: bool = False
    """Connect to no address but the public Internet's: for targets that somebody else names. Through a proxy,
    names are looked up by the proxy, and only addresses are checked here."""
    keepalive_s: float = 55.0
    """How long an unused connection is kept: a little under the minute that most servers keep it."""
    max_age_s: float = 900.0
    """A connection older than this is not used again, so that changed names are looked up anew."""
    max_waiting: int = 1024
    """How many requests may wait for a connection to one origin."""
    max_head_bytes: int = 64 * 1024
    buffer_bytes: int = 256 * 1024
    """How much of an answer is held for a slow reader before we stop reading from the socket."""


class Proxy(msgspec.Struct, frozen=True, kw_only=True):
    """A forward proxy, ready to be used."""

    host: str
    port: int
    authorization: bytes = b""
    """The `Proxy-Authorization` header line, or nothing."""

    def __repr__(self) -> str:
        return f"Proxy(host={self.host!r}, port={self.port})"


def parse_proxy(url: str) -> Proxy:
    """Read a proxy's URL, with its user and password where it has them.

    Raises `ValueError`, which does not repeat the URL, when it cannot be used.
    """
    parts = urlsplit(url if "://" in url else f"http://{url}")
    if parts.scheme != "http":
        raise ValueError(
            f"proxies over {parts.scheme or 'no'} scheme are not supported; use http://"
        )
    if not parts.hostname:
        raise ValueError("the proxy's URL names no host")
    try:
        port = parts.port or 80
    except ValueError:
        raise ValueError("the proxy's port is not a number below 65536") from None
    authorization = b""
    if parts.username is not None:
        credentials = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        encoded = base64.b64encode(credentials.encode())
        authorization = b"Proxy-Authorization: Basic " + encoded + b"\r\n"
    return Proxy(host=parts.hostname, port=port, authorization=authorization)


def choose_proxy(settings: ProxySettings, *, is_tls: bool, host: str, port: int) -> Proxy | None:
    """The proxy that a request to `host` goes through, if any."""
    url = settings.https if is_tls else settings.http
    if not url or _is_loopback(host) or _is_exempt(settings.no_proxy, host, port):
        return None
    return parse_proxy(url)


def _is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    address = _address(host)
    return address is not None and address.is_loopback


def _is_exempt(entries: tuple[str, ...], host: str, port: int) -> bool:
    address = _address(host)
    for entry in entries:
        pattern = entry.strip().lower()
        if pattern == "*":
            return True
        name, _, suffix = pattern.rpartition(":")
        if name and suffix.isdecimal() and (name.endswith("]") or ":" not in name):
            if int(suffix) != port:
                continue
            pattern = name
        pattern = pattern.strip("[]").removeprefix("*").removeprefix(".")
        if not pattern:
            continue
        if address is None:
            if host == pattern or host.endswith(f".{pattern}"):
                return True
        elif _contains(pattern, address):
            return True
    return False


def _contains(pattern: str, address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    try:
        return address in ipaddress.ip_network(pattern, strict=False)
    except ValueError:
        return False


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
