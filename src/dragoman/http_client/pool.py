"""The connections to one origin: opened when needed, kept for a while, and shared.

The connection used last is used first, so that a quiet time lets the others expire. `_open` counts
connections that exist or are being opened; it never passes the bound that the request brings. Who
finds it reached waits in line, and is handed either a free connection or the right to open one.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from collections import deque
from collections.abc import Awaitable, Callable

from dragoman.http_client.connection import Connection
from dragoman.http_client.endpoint import Endpoint, Origin
from dragoman.http_client.errors import (
    ClientClosed,
    ConnectFailed,
    HttpClientError,
    PoolFull,
    ProxyFailed,
    TimedOut,
    TlsFailed,
)
from dragoman.http_client.public_addresses import is_named_public, public_addresses
from dragoman.http_client.settings import HttpSettings, Proxy
from dragoman.http_client.tunnel import open_tunnel

TlsContext = Callable[[], Awaitable[ssl.SSLContext]]


class Pool:
    def __init__(
        self,
        origin: Origin,
        proxy: Proxy | None,
        settings: HttpSettings,
        tls_context: TlsContext,
    ) -> None:
        self._origin = origin
        self._proxy = proxy
        self._settings = settings
        self._tls_context = tls_context
        self._loop = asyncio.get_running_loop()
        self._connections: set[Connection] = set()
        self._idle: list[Connection] = []
        self._open = 0
        self._waiters: deque[asyncio.Future[Connection | None]] = deque()

    @property
    def is_empty(self) -> bool:
        return self._open == 0

    @property
    def is_forwarded(self) -> bool:
        """Whether a proxy reads the requests, rather than passing bytes through a tunnel."""
        return self._proxy is not None and not self._origin.is_tls

    @property
    def proxy_authorization(self) -> bytes:
        return self._proxy.authorization if self._proxy is not None and self.is_forwarded else b""

    def take_idle(self) -> Connection | None:
        """A kept connection that seems fit, without waiting."""
        oldest = self._loop.time() - self._settings.max_age_s
        while self._idle:
            connection = self._idle.pop()
            if connection.is_usable and connection.created_s >= oldest:
                return connection
            connection.abort(ClientClosed("the connection was too old"))
        return None

    async def acquire(
        self, endpoint: Endpoint, connect_s: float, *, is_fresh: bool = False
    ) -> Connection:
        """A connection that nobody else uses. `is_fresh`: not one that was kept."""
        if not is_fresh:
            connection = self.take_idle()
            if connection is not None:
                return connection
        elif self._open >= endpoint.max_connections and self._idle:
            self._idle.pop(0).abort(ClientClosed("the connection made room for another"))
        try:
            async with asyncio.timeout(connect_s):
                while self._open >= endpoint.max_connections:
                    handed = await self._wait_in_line()
                    if handed is None:
                        return await self._open_counted()
                    if handed.is_usable:
                        return handed
                self._open += 1
                return await self._open_counted()
        except TimeoutError as error:
            text = f"{self._origin} gave no connection within {connect_s:g} s"
            raise TimedOut(text, "connect") from error

    async def _wait_in_line(self) -> Connection | None:
        """A free connection, or `None`: the right, already counted, to open one."""
        if len(self._waiters) >= self._settings.max_waiting:
            raise PoolFull(f"{len(self._waiters)} requests wait for {self._origin} already")
        waiter: asyncio.Future[Connection | None] = self._loop.create_future()
        self._waiters.append(waiter)
        try:
            return await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                handed = waiter.result()
                if handed is None:
                    self._give_up_slot()
                elif handed.is_usable:
                    self.put_back(handed)
            elif waiter in self._waiters:
                self._waiters.remove(waiter)
            raise

    async def _open_counted(self) -> Connection:
        """Open a connection for which `_open` was already raised."""
        connection = Connection(self, self._loop, self._settings)
        self._connections.add(connection)
        try:
            await self._connect(connection)
        except BaseException:
            # Also after cancellation: the slot is given back, and no socket is left open.
            connection.abort(ClientClosed("the connection was not wanted any more"))
            raise
        return connection

    async def _connect(self, connection: Connection) -> None:
        origin, proxy, loop = self._origin, self._proxy, self._loop
        if proxy is not None and self._settings.public_only and not is_named_public(origin.host):
            raise ConnectFailed(f"{origin.host} is not on the public Internet")
        try:
            if origin.socket_path is not None:
                await loop.create_unix_connection(lambda: connection, origin.socket_path)
            elif proxy is not None and origin.is_tls:
                context = await self._tls_context()
                await open_tunnel(loop, proxy, origin, context, connection)
            elif proxy is not None:
                await loop.create_connection(lambda: connection, proxy.host, proxy.port)
            else:
                await self._connect_directly(connection)
        except HttpClientError:
            raise
        except ssl.SSLCertVerificationError as error:
            raise TlsFailed(
                f"{origin}: its certificate is refused: {error.verify_message}"
            ) from error
        except ssl.SSLError as error:
            raise TlsFailed(f"{origin}: TLS failed: {error.reason or 'no reason given'}") from error
        except TimeoutError:
            raise
        except OSError as error:
            through = f" through the proxy {proxy.host}:{proxy.port}" if proxy is not None else ""
            text = f"{origin}{through}: {_reason(error)}"
            raise (ProxyFailed if proxy is not None else ConnectFailed)(text) from error

    async def _connect_directly(self, connection: Connection) -> None:
        origin = self._origin
        hosts = [origin.host]
        if self._settings.public_only:
            hosts = await public_addresses(origin.host, origin.port)
        context = await self._tls_context() if origin.is_tls else None
        name = origin.host if origin.is_tls else None
        for index, host in enumerate(hosts):
            try:
                await self._loop.create_connection(
                    lambda: connection, host, origin.port, ssl=context, server_hostname=name
                )
            except ssl.SSLError:
                raise
            except OSError:
                if index == len(hosts) - 1:
                    raise
            else:
                return

    # --- What connections tell their pool ---

    def put_back(self, connection: Connection) -> None:
        waiter = self._next_waiter()
        if waiter is not None:
            waiter.set_result(connection)
        else:
            self._idle.append(connection)

    def forget(self, connection: Connection) -> None:
        if connection in self._idle:
            self._idle.remove(connection)
        if connection in self._connections:
            self._connections.remove(connection)
            self._give_up_slot()

    def _give_up_slot(self) -> None:
        waiter = self._next_waiter()
        if waiter is not None:
            waiter.set_result(None)
            return
        self._open -= 1

    def _next_waiter(self) -> asyncio.Future[Connection | None] | None:
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                return waiter
        return None

    def close(self) -> None:
        """Close every connection; whoever waits or reads gets `ClientClosed`."""
        error = ClientClosed("the HTTP client is closed")
        while (waiter := self._next_waiter()) is not None:
            waiter.set_exception(error)
        for connection in list(self._connections):
            connection.abort(error)


def _reason(error: OSError) -> str:
    """What the system says; event loops word it in their own ways, or not at all."""
    if error.errno is not None and error.errno > 0:
        return os.strerror(error.errno)
    return error.strerror or type(error).__name__
