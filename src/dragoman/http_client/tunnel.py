"""A TLS connection through a forward proxy: CONNECT, then TLS end to end.

https://www.rfc-editor.org/rfc/rfc9110#name-connect
"""

from __future__ import annotations

import asyncio
import ssl

from dragoman.http_client.endpoint import Origin
from dragoman.http_client.errors import ConnectFailed, ProxyFailed
from dragoman.http_client.settings import Proxy

_MAX_HEAD_BYTES = 16 * 1024


class _Handshake(asyncio.Protocol):
    """Collects the proxy's answer to CONNECT."""

    def __init__(self, answered: asyncio.Future[bytes]) -> None:
        self._answered = answered
        self._received = b""

    def data_received(self, data: bytes) -> None:
        self._received += data
        if b"\r\n\r\n" in self._received or len(self._received) > _MAX_HEAD_BYTES:
            self._settle()

    def connection_lost(self, _exc: Exception | None) -> None:
        self._settle()

    def _settle(self) -> None:
        if not self._answered.done():
            self._answered.set_result(self._received)


async def open_tunnel(
    loop: asyncio.AbstractEventLoop,
    proxy: Proxy,
    origin: Origin,
    context: ssl.SSLContext,
    protocol: asyncio.Protocol,
) -> None:
    """Connect `protocol` to `origin`, through `proxy`; TLS is verified against `origin` itself."""
    answered: asyncio.Future[bytes] = loop.create_future()
    plain, _ = await loop.create_connection(lambda: _Handshake(answered), proxy.host, proxy.port)
    try:
        host = f"[{origin.host}]" if ":" in origin.host else origin.host
        authority = f"{host}:{origin.port}".encode("ascii")
        plain.write(
            b"CONNECT " + authority + b" HTTP/1.1\r\nHost: " + authority + b"\r\n"
            + proxy.authorization + b"\r\n"
        )  # fmt: skip
        _require_open(await answered, proxy, origin)
        secured = await loop.start_tls(plain, protocol, context, server_hostname=origin.host)
    except BaseException:
        plain.abort()
        raise
    if secured is None:
        raise ConnectFailed(f"{origin}: the connection closed before TLS was agreed")
    protocol.connection_made(secured)


def _require_open(answer: bytes, proxy: Proxy, origin: Origin) -> None:
    name = f"the proxy {proxy.host}:{proxy.port}"
    head, separator, rest = answer.partition(b"\r\n\r\n")
    if not separator:
        raise ProxyFailed(f"{name} did not answer CONNECT to {origin} as a proxy does")
    words = head.split(b"\r\n", 1)[0].split(b" ", 2)
    if len(words) < 2 or not words[0].startswith(b"HTTP/1.") or not words[1].isdigit():
        raise ProxyFailed(f"{name} did not answer CONNECT to {origin} as a proxy does")
    status = int(words[1])
    if not 200 <= status < 300:
        hint = " (it wants a user and password)" if status == 407 else ""
        raise ProxyFailed(f"{name} refused a tunnel to {origin} with status {status}{hint}")
    if rest:
        raise ProxyFailed(f"{name} sent data before TLS began")
