"""`HttpClient`: sends requests over pooled connections."""

from __future__ import annotations

import asyncio
import ssl

from dragoman.http_client.connection import Connection
from dragoman.http_client.endpoint import Endpoint, HttpRequest, encode_headers
from dragoman.http_client.errors import ClientClosed, ConnectionLost
from dragoman.http_client.pool import Pool
from dragoman.http_client.response import HttpResponse
from dragoman.http_client.settings import HttpSettings, choose_proxy
from dragoman.http_client.tls import build_tls_context

# A kept connection that the server had closed shows it within a round trip. When the loss comes
# later, the server may have begun to answer, and a second request might be paid for twice.
STALE_S = 1.0

# Pools without connections are dropped when there are more: targets of web hooks come and go.
MAX_POOLS = 256


class HttpClient:
    """One for each event loop; `await aclose()` it in the end.

    Answers of any status are returned as they are: no redirect is followed, so that no header ever
    reaches another origin than the one it was given for.
    """

    def __init__(self, settings: HttpSettings | None = None) -> None:
        self._settings = settings or HttpSettings()
        self._pools: dict[str, Pool] = {}
        self._tls_context: asyncio.Future[ssl.SSLContext] | None = None
        self._is_closed = False

    async def send(self, request: HttpRequest) -> HttpResponse:
        """Send `request` and return when the head of its answer is in.

        Raises an `HttpClientError`. Cancelling closes the connection at once. A kept connection
        that turns out to be closed already is replaced by a new one, once.
        """
        endpoint = request.endpoint
        pool = self._pools.get(endpoint.key)
        if pool is None:
            pool = self._open_pool(endpoint)
        connection = pool.take_idle()
        if connection is None:
            connection = await pool.acquire(endpoint, request.timeouts.connect_s)
        was_kept = connection.reused
        started = connection.loop.time()
        try:
            return await self._exchange(pool, connection, request)
        except ConnectionLost as lost:
            if not (was_kept and lost.is_untouched):
                raise
            if not endpoint.is_idempotent and connection.loop.time() - started > STALE_S:
                raise
        connection = await pool.acquire(endpoint, request.timeouts.connect_s, is_fresh=True)
        return await self._exchange(pool, connection, request)

    async def _exchange(
        self, pool: Pool, connection: Connection, request: HttpRequest
    ) -> HttpResponse:
        endpoint = request.endpoint
        head = endpoint.head
        if pool.is_forwarded:
            head = endpoint.proxied_head + pool.proxy_authorization
        if request.headers:
            head += encode_headers(request.headers)
        if not connection.is_usable:
            # The server closed it between our having it and our using it.
            lost = ConnectionLost(
                f"{endpoint.key} closed the connection unasked", is_untouched=True
            )
            connection.abort(lost)
            raise lost
        body = request.body
        if body or not endpoint.is_idempotent:
            head += b"Content-Length: %d\r\n\r\n" % len(body)
        else:
            head += b"\r\n"
        response = connection.exchange(request, head)
        await response.head_received()
        return response

    def _open_pool(self, endpoint: Endpoint) -> Pool:
        if self._is_closed:
            raise ClientClosed("the HTTP client is closed")
        origin, key = endpoint.origin, endpoint.key
        proxy = None
        if origin.socket_path is None:
            proxy = choose_proxy(
                self._settings.proxy, is_tls=origin.is_tls, host=origin.host, port=origin.port
            )
        if len(self._pools) >= MAX_POOLS:
            self._pools = {key: pool for key, pool in self._pools.items() if not pool.is_empty}
        pool = Pool(origin, proxy, self._settings, self._load_tls_context)
        self._pools[key] = pool
        return pool

    async def _load_tls_context(self) -> ssl.SSLContext:
        """Built in a thread, once: reading the authorities would hold up the event loop."""
        if self._tls_context is None:
            loop = asyncio.get_running_loop()
            self._tls_context = loop.run_in_executor(
                None, build_tls_context, self._settings.ca_file
            )
        return await asyncio.shield(self._tls_context)

    async def aclose(self) -> None:
        """Close every connection; requests that still run get `ClientClosed`."""
        self._is_closed = True
        for pool in list(self._pools.values()):
            pool.close()
        self._pools.clear()
