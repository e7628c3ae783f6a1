"""Our HTTP/1.1 client: pooled connections, TLS, time and size bounds, proxies, Unix sockets.

client = HttpClient(HttpSettings())
endpoint = Endpoint("POST", "https://api.example.com/v1/things", [("authorization", "…")])
response = await client.send(HttpRequest(endpoint, body))
try:
    async for chunk in response.chunks():
        ...
finally:
    response.close()
"""

from dragoman.http_client.client import HttpClient
from dragoman.http_client.endpoint import Endpoint, HttpRequest, Origin
from dragoman.http_client.errors import (
    BadResponse,
    ClientClosed,
    ConnectFailed,
    ConnectionLost,
    HttpClientError,
    PoolFull,
    ProxyFailed,
    ResponseTooLarge,
    TimedOut,
    TlsFailed,
)
from dragoman.http_client.response import HttpResponse
from dragoman.http_client.settings import HttpSettings, ProxySettings

__all__ = [
    "BadResponse",
    "ClientClosed",
    "ConnectFailed",
    "ConnectionLost",
    "Endpoint",
    "HttpClient",
    "HttpClientError",
    "HttpRequest",
    "HttpResponse",
    "HttpSettings",
    "Origin",
    "PoolFull",
    "ProxyFailed",
    "ProxySettings",
    "ResponseTooLarge",
    "TimedOut",
    "TlsFailed",
]
