"""What can go wrong between us and a server: adapters translate these once into the error tree.

Messages name the origin and the cause; they never hold a header's value, a body or a URL's query.
"""

from __future__ import annotations

from typing import Literal

Phase = Literal["pool", "connect", "first_byte", "idle", "total"]


class HttpClientError(Exception):
    """Anything that kept a request from its whole answer."""


class ConnectFailed(HttpClientError):
    """No connection: the name does not resolve, or the server refuses or is not there."""


class TlsFailed(ConnectFailed):
    """The server's certificate is not trusted or not its own, or it does not speak TLS."""


class ProxyFailed(ConnectFailed):
    """The proxy refused to open a tunnel, or did not answer as a proxy does."""


class PoolFull(HttpClientError):
    """Too many requests already wait for a connection to this origin."""


class TimedOut(HttpClientError):
    """A time bound was passed; `phase` says which."""

    def __init__(self, message: str, phase: Phase) -> None:
        super().__init__(message)
        self.phase: Phase = phase


class ConnectionLost(HttpClientError):
    """The connection ended before the answer did.

    `is_untouched`: not one byte of the answer had come.
    """

    def __init__(self, message: str, *, is_untouched: bool = False) -> None:
        super().__init__(message)
        self.is_untouched = is_untouched


class BadResponse(HttpClientError):
    """The server does not speak HTTP/1.1 as it is written."""


class ResponseTooLarge(HttpClientError):
    """The answer's head or body passes its bound."""


class ClientClosed(HttpClientError):
    """The client was closed while the request waited or ran."""
