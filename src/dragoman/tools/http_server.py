"""Plain HTTP tools: each is an address that takes its arguments as JSON and answers with text."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import msgspec

from dragoman.http_client import (
    ConnectFailed,
    Endpoint,
    HttpClient,
    HttpClientError,
    HttpRequest,
    HttpResponse,
    PoolFull,
    TimedOut,
)
from dragoman.records.provider import Timeouts
from dragoman.records.tool_server import HttpTool, ServerTool, ToolOutcome, ToolServer
from dragoman.tools.arguments import ArgumentCheck, parse_arguments
from dragoman.tools.offering import ListedTool, offer
from dragoman.tools.outcomes import ToolFault, cut, describe_binary, told
from dragoman.tools.references import ReferredValues, ResolveSecret

CONNECT_S = 10.0
MAX_CONNECTIONS = 16
MAX_QUERY_BYTES = 16 * 1024
# Never reached: reading stops before.
MAX_BODY_BYTES = 1 << 40
_CHARSETS = {"iso-8859-1": "latin-1", "latin-1": "latin-1", "windows-1252": "cp1252"}
_TEXT_TYPES = frozenset(
    {
        "application/json",
        "application/xml",
        "application/javascript",
        "application/yaml",
        "application/x-ndjson",
    }
)


class HttpToolServer:
    def __init__(self, server: ToolServer, client: HttpClient, resolve: ResolveSecret) -> None:
        self._server = server
        self._client = client
        self._headers = ReferredValues(server.headers, resolve)
        self._tools = {tool.name: tool for tool in server.tools}
        self._checks: dict[str, ArgumentCheck] = {}
        self._offered: list[ServerTool] | None = None

    async def offered(self, *, timeout_s: float) -> list[ServerTool]:  # noqa: ARG002 - the port's
        if self._offered is None:
            self._offered = offer(
                self._server.key,
                [
                    ListedTool(tool.name, tool.description, bytes(tool.parameters))
                    for tool in self._tools.values()
                ],
            )
        return self._offered

    async def call(
        self, tool: ServerTool, arguments: str, *, timeout_s: float, max_bytes: int
    ) -> ToolOutcome:
        """Raises `ToolFault`."""
        described = self._tools.get(tool.name)
        if described is None:
            raise ToolFault("unknown_tool", "There is no such tool any more.")
        given = parse_arguments(arguments)
        self._check_of(described).check(given)
        request = await self._request(described, given, timeout_s)
        try:
            response = await self._client.send(request)
            try:
                return await self._read(response, max_bytes)
            finally:
                # Nobody waits for the rest of what is too long.
                response.close()
        except HttpClientError as error:
            raise fault_of(error) from error

    async def aclose(self) -> None:
        """Its connections are the client's."""

    def _check_of(self, tool: HttpTool) -> ArgumentCheck:
        check = self._checks.get(tool.name)
        if check is None:
            try:
                check = self._checks[tool.name] = ArgumentCheck(bytes(tool.parameters))
            except ValueError as error:
                raise ToolFault("garbled", "The tool's schema cannot be used.") from error
        return check

    async def _request(
        self, tool: HttpTool, arguments: dict[str, Any], timeout_s: float
    ) -> HttpRequest:
        headers = list(await self._headers.read())
        url = (self._server.url or "").rstrip("/")
        if tool.path:
            url = f"{url}/{tool.path.lstrip('/')}"
        body = b""
        if tool.method == "GET":
            url = _with_query(url, arguments)
        else:
            body = msgspec.json.encode(arguments)
            headers.append(("content-type", "application/json"))
        if not any(name.lower() == "accept" for name, _ in headers):
            headers.append(("accept", "application/json, text/*;q=0.9, */*;q=0.1"))
        if not self._server.allow_private and not url.startswith("https://"):
            raise ToolFault("unreachable", "The tool's server is not set up.")
        try:
            endpoint = Endpoint(tool.method, url, headers, max_connections=MAX_CONNECTIONS)
        except ValueError as error:
            raise ToolFault("unreachable", "The tool's server is not set up.") from error
        return HttpRequest(
            endpoint,
            body,
            timeouts=Timeouts(
                connect_s=min(CONNECT_S, timeout_s),
                first_byte_s=timeout_s,
                idle_s=timeout_s,
                total_s=timeout_s,
            ),
            max_body_bytes=MAX_BODY_BYTES,
        )

    async def _read(self, response: HttpResponse, max_bytes: int) -> ToolOutcome:
        status = response.status
        if 300 <= status < 400:
            raise ToolFault(
                "tool_failed", "The tool answered with a redirect, which is not followed."
            )
        media_type, _, parameters = response.headers.get("content-type", "").partition(";")
        media_type = media_type.strip().lower()
        if not _is_text(media_type, response.headers.get("content-encoding", "")):
            text, is_longer = describe_binary(media_type, _length_of(response)), False
        else:
            data, is_longer = await _read_at_most(response, max_bytes)
            text = self._headers.scrub(_decode(data, media_type, parameters))
        if status >= 400:
            shown, is_cut = cut(f"HTTP {status}: {text}", max_bytes, is_longer=is_longer)
            return ToolOutcome(text=shown, is_error=True, error="tool_failed", is_cut=is_cut)
        return told(text, max_bytes, is_longer=is_longer)


def fault_of(error: HttpClientError) -> ToolFault:
    """A failed exchange in the model's words: it is not told where the server is."""
    if isinstance(error, TimedOut):
        return ToolFault("timeout", "The tool did not answer in time.")
    if isinstance(error, ConnectFailed | PoolFull):
        return ToolFault("unreachable", "The tool's server cannot be reached.")
    return ToolFault("garbled", "The tool's server broke off its answer.")


def _with_query(url: str, arguments: dict[str, Any]) -> str:
    pairs = []
    for name, value in arguments.items():
        if value is None:
            continue
        text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
        pairs.append(
            f"{quote(name, safe='', errors='replace')}={quote(text, safe='', errors='replace')}"
        )
    query = "&".join(pairs)
    if len(query) > MAX_QUERY_BYTES:
        raise ToolFault("invalid_arguments", "The arguments are too long for this tool.")
    if not query:
        return url
    return f"{url}{'&' if '?' in url else '?'}{query}"


def _is_text(media_type: str, coding: str) -> bool:
    if coding.strip().lower() not in {"", "identity"}:
        return False
    return (
        not media_type
        or media_type.startswith("text/")
        or media_type in _TEXT_TYPES
        or media_type.endswith(("+json", "+xml", "+yaml"))
    )


def _length_of(response: HttpResponse) -> int | None:
    length = response.headers.get("content-length", "")
    return int(length) if length.isdecimal() and len(length) < 16 else None


async def _read_at_most(response: HttpResponse, max_bytes: int) -> tuple[bytes, bool]:
    """The beginning of the body, and whether there is more of it; the rest is never held."""
    chunks: list[bytes] = []
    size = 0
    async for chunk in response.chunks():
        chunks.append(chunk)
        size += len(chunk)
        if size > max_bytes:
            return b"".join(chunks)[: max_bytes + 1], True
    return b"".join(chunks), False


def _decode(data: bytes, media_type: str, parameters: str) -> str:
    name = parameters.lower().partition("charset=")[2].strip(" \"';")
    if not media_type:
        # Nobody says what it is.
        try:
            return data.decode()
        except UnicodeDecodeError as error:
            if error.reason != "unexpected end of data":
                return describe_binary("binary data", len(data))
    return data.decode(_CHARSETS.get(name, "utf-8"), "replace")
