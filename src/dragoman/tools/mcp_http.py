"""The SDK's HTTP, sent over our own client: checked addresses, no redirects, bounded answers.

The SDK ends a whole session when a request of it fails below HTTP. So what fails here is told as an
answer of the server's, with a JSON-RPC error: it ends the one call.
Imported with the SDK, when an MCP server is first asked.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx2
import msgspec

from dragoman.http_client import (
    ConnectFailed,
    Endpoint,
    HttpClient,
    HttpClientError,
    HttpRequest,
    HttpResponse,
    PoolFull,
    ResponseTooLarge,
    TimedOut,
)
from dragoman.records.provider import Timeouts
from dragoman.tools.mcp_words import (
    BROKEN,
    FAILED,
    MAX_MESSAGE_BYTES,
    REFUSED,
    TIMED_OUT,
    TOO_LONG,
    UNREACHABLE,
)
from dragoman.tools.references import NotSetUp, ReferredValues

MAX_CONNECTIONS = 32
# Each call has a shorter time of its own.
TIMEOUTS = Timeouts(connect_s=10.0, first_byte_s=660.0, idle_s=660.0, total_s=660.0)
MAX_ERROR_BYTES = 64 * 1024
# Of a call's stream of events: its notifications and its result.
MAX_STREAM_BYTES = 4 * MAX_MESSAGE_BYTES

_KEPT = ("content-type", "mcp-session-id")
_OWN_HEADERS = frozenset(
    {
        "host",
        "content-length",
        "transfer-encoding",
        "accept-encoding",
        "connection",
        "user-agent",
    }
)


class GuardedTransport(httpx2.AsyncBaseTransport):
    """Belongs to one tool server."""

    def __init__(self, client: HttpClient, headers: ReferredValues, *, allow_private: bool) -> None:
        self._client = client
        self._headers = headers
        self._allow_private = allow_private

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        if request.method == "GET" and "last-event-id" not in request.headers:
            # A stream for what nobody asked: lists are asked for again often enough.
            return httpx2.Response(405, request=request)
        if not self._allow_private and request.url.scheme != "https":
            return _error(request, REFUSED, "only https is allowed")
        try:
            asked = await self._asked(request)
        except (ValueError, NotSetUp):
            return _error(request, REFUSED, "the request cannot be sent")
        try:
            response = await self._client.send(asked)
            return await self._answer(request, response)
        except HttpClientError as error:
            return _error(request, *_words(error))

    async def _asked(self, request: httpx2.Request) -> HttpRequest:
        body = await request.aread()
        configured = await self._headers.read()
        taken = {name.lower() for name, _ in configured}
        headers = [
            (name, value)
            for name, value in request.headers.items()
            if name not in _OWN_HEADERS and name not in taken
        ]
        endpoint = Endpoint(
            request.method,
            str(request.url),
            (*headers, *configured),
            max_connections=MAX_CONNECTIONS,
        )
        return HttpRequest(endpoint, body, timeouts=TIMEOUTS, max_body_bytes=MAX_STREAM_BYTES)

    async def _answer(self, request: httpx2.Request, response: HttpResponse) -> httpx2.Response:
        status, headers = response.status, response.headers
        kind = headers.get("content-type", "").lower()
        kept = [(name, headers[name]) for name in _KEPT if name in headers]
        if status == 200 and kind.startswith("text/event-stream"):
            return httpx2.Response(status, headers=kept, stream=_Events(response), request=request)
        try:
            if 300 <= status < 400:
                return _error(request, REFUSED, "redirects are not followed")
            is_json = kind.startswith("application/json")
            if status >= 400 and not is_json and status != 404:
                return _error(request, FAILED, f"HTTP status {status}")
            most = MAX_MESSAGE_BYTES if status < 400 else MAX_ERROR_BYTES
            body = await _read(response, most) if is_json else b""
        finally:
            response.close()
        if body is None:
            return _error(request, TOO_LONG, "the message is too long")
        return httpx2.Response(status, headers=kept, content=body, request=request)


class _Events(httpx2.AsyncByteStream):
    def __init__(self, response: HttpResponse) -> None:
        self._response = response

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for chunk in self._response.chunks():
                yield chunk
        except HttpClientError as error:
            raise httpx2.ReadError("the stream broke off") from error

    async def aclose(self) -> None:
        # After a result little is left, and the connection can be used again.
        self._response.release()


async def _read(response: HttpResponse, most: int) -> bytes | None:
    """The whole body; `None`: it is longer than `most`, and not read further."""
    chunks: list[bytes] = []
    size = 0
    async for chunk in response.chunks():
        size += len(chunk)
        if size > most:
            return None
        chunks.append(chunk)
    return b"".join(chunks)


def _words(error: HttpClientError) -> tuple[int, str]:
    if isinstance(error, TimedOut):
        return TIMED_OUT, "no answer in time"
    if isinstance(error, ConnectFailed | PoolFull):
        return UNREACHABLE, str(error)
    if isinstance(error, ResponseTooLarge):
        return TOO_LONG, "the message is too long"
    return BROKEN, "the answer broke off"


class _Error(msgspec.Struct, frozen=True):
    code: int
    message: str


class _ErrorMessage(msgspec.Struct, frozen=True):
    error: _Error
    id: None = None
    jsonrpc: str = "2.0"


def _error(request: httpx2.Request, code: int, message: str) -> httpx2.Response:
    """What the SDK takes for the server's own error of this call."""
    body = msgspec.json.encode(_ErrorMessage(_Error(code, message)))
    return httpx2.Response(
        502, headers={"content-type": "application/json"}, content=body, request=request
    )
