"""A provider over HTTP: `ports.Provider` for every row of the catalog, in either upstream format.

One path for all of them: the row and its wire format say what differs. Foreign failures become ours
here and nowhere else. A streamed answer is handed on list by list, one for each read from the socket;
one that was not asked to stream comes as the shortest stream that folds into it. Whatever ends the
iterator (its end, an error, cancellation) settles the connection: kept after a whole answer, else closed.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from urllib.parse import quote

from dragoman import __version__
from dragoman.chat import ChatRequest, ChatResponse, Failed, StreamEvent, events_of
from dragoman.errors import (
    DragomanError,
    Draining,
    ProviderError,
    ProviderGarbled,
    ProviderOverloaded,
    ProviderRefusedUs,
    ProviderTimeout,
    ProviderUnreachable,
)
from dragoman.http_client import (
    ClientClosed,
    ConnectFailed,
    ConnectionLost,
    Endpoint,
    HttpClient,
    HttpClientError,
    HttpRequest,
    HttpResponse,
    PoolFull,
    TimedOut,
)
from dragoman.ports import ProviderHealth
from dragoman.providers.credentials import Credentials, ResolveSecret
from dragoman.providers.wires import WIRES, UpstreamWireFormat
from dragoman.records.model import Model
from dragoman.records.provider import ProviderRow, Timeouts
from dragoman.sse import EventTooLarge, SseParser

MAX_ERROR_BYTES = 64 * 1024
MAX_EVENT_BYTES = 8 * 1024 * 1024
MAX_ENDPOINTS = 1024
POOL_RETRY_AFTER_S = 1.0

# A count or a check is worth no long wait: there is an estimate to fall back to.
_QUICK = Timeouts(connect_s=5.0, first_byte_s=10.0, idle_s=10.0, total_s=15.0)


class HttpProvider:
    """Implements `ports.Provider`. The client is shared and not closed here."""

    def __init__(self, row: ProviderRow, client: HttpClient, resolve_secret: ResolveSecret) -> None:
        self._row = row
        self._client = client
        self._wire = WIRES[row.wire]
        self._codec = self._wire.codec
        self._credentials = Credentials(row, resolve_secret)
        self._chat_path = row.chat_path or self._wire.chat_path
        self._is_path_of_model = "{model}" in self._chat_path
        # Endpoints hold encoded headers, so they are made anew when the credentials change.
        self._endpoints: dict[tuple[str, str], Endpoint] = {}
        self._endpoints_version = 0

    def __repr__(self) -> str:
        return f"HttpProvider({self._row.name!r})"

    @property
    def name(self) -> str:
        return self._row.name

    async def stream(
        self, request: ChatRequest, model: Model
    ) -> AsyncGenerator[list[StreamEvent], None]:
        """See `ports.Provider`."""
        if not request.stream:
            yield events_of(await self.complete(request, model))
            return
        body = self._codec.encode_request(request, model, self._row, stream=True)
        response: HttpResponse | None = None
        try:
            response = await self._ask("POST", self._path(model), body, self._row.timeouts)
            if _is_json(response):
                yield events_of(self._codec.decode_response(await response.read()))
                return
            reader = _StreamReader(self._wire)
            async for data in response.chunks():
                events = reader.feed(data)
                if events:
                    yield events
                if reader.error is not None:
                    raise reader.error
                if reader.is_over:
                    # The body's own end is often a packet of its own: it is not worth waiting for.
                    response.release()
                    return
            events = reader.close()
            if events:
                yield events
        except HttpClientError as error:
            raise _translate(error) from error
        except DragomanError as error:
            raise self._scrubbed(error) from error.__cause__
        finally:
            if response is not None:
                response.close()

    async def complete(self, request: ChatRequest, model: Model) -> ChatResponse:
        """See `ports.Provider`."""
        body = self._codec.encode_request(request, model, self._row, stream=False)
        response: HttpResponse | None = None
        try:
            response = await self._ask("POST", self._path(model), body, self._row.timeouts)
            return self._codec.decode_response(await response.read())
        except HttpClientError as error:
            raise _translate(error) from error
        except DragomanError as error:
            raise self._scrubbed(error) from error.__cause__
        finally:
            if response is not None:
                response.close()

    async def count_input(self, request: ChatRequest, model: Model) -> int | None:
        """The prompt's tokens where the provider counts them; `None` also when it fails to."""
        counting = self._wire.counting
        if counting is None:
            return None
        body = counting.encode(request, model, self._row)
        response: HttpResponse | None = None
        try:
            response = await self._ask("POST", counting.path, body, _QUICK)
            return counting.decode(await response.read())
        except (HttpClientError, ProviderError):
            return None
        except DragomanError as error:
            raise self._scrubbed(error) from error.__cause__
        finally:
            if response is not None:
                response.close()

    async def check(self) -> ProviderHealth:
        """Ask for the list of models: costs nothing, and wants a good key nearly everywhere."""
        path = self._row.check_path or "models"
        response: HttpResponse | None = None
        try:
            response = await self._send("GET", path, b"", _QUICK)
            return self._health(response.status)
        except HttpClientError as error:
            return ProviderHealth(
                ok=False,
                message=f"cannot be reached: {error}",
                remedy=f"check base_url ({self._row.base_url}), the network and the proxy",
            )
        except ProviderRefusedUs as error:
            return ProviderHealth(
                ok=False,
                message=error.detail or error.message,
                remedy="make the key available, or change api_key in the configuration",
            )
        finally:
            if response is not None:
                response.close()

    def _health(self, status: int) -> ProviderHealth:
        if status < 300:
            said = "takes our key" if self._row.api_key is not None else "is open to us"
            return ProviderHealth(ok=True, message=f"is reached, and {said}")
        if status in (401, 403):
            return ProviderHealth(
                ok=False,
                message=f"is reached, and refuses our key (status {status})",
                remedy=f"check the key at {self._row.api_key or 'api_key, which is not set'}",
            )
        if status in (404, 405):
            return ProviderHealth(
                ok=True, message="is reached; it lists no models, so the key was not tried"
            )
        if status == 429:
            return ProviderHealth(ok=True, message="is reached, and limits our rate just now")
        remedy = "set base_url to its final address" if status < 400 else "ask the provider"
        return ProviderHealth(ok=False, message=f"answers with status {status}", remedy=remedy)

    async def aclose(self) -> None:
        await self._credentials.aclose()

    # --- Asking ---

    def _path(self, model: Model) -> str:
        if self._is_path_of_model:
            return self._chat_path.replace("{model}", quote(model.upstream_name, safe=""))
        return self._chat_path

    async def _ask(self, method: str, path: str, body: bytes, timeouts: Timeouts) -> HttpResponse:
        """The answer, once it is known to be none of the failures. Raises what they mean."""
        response = await self._send(method, path, body, timeouts)
        if response.status == 401 and await self._credentials.reread():
            # The key was changed under us. With the same key, the same refusal would come.
            response.release()
            response = await self._send(method, path, body, timeouts)
        if 200 <= response.status < 300:
            return response
        try:
            raise await self._failure(response)
        finally:
            response.close()

    async def _send(self, method: str, path: str, body: bytes, timeouts: Timeouts) -> HttpResponse:
        await self._credentials.ready()
        request = HttpRequest(
            self._endpoint(method, path),
            body,
            timeouts=timeouts,
            max_body_bytes=self._row.max_response_bytes,
        )
        return await self._client.send(request)

    def _endpoint(self, method: str, path: str) -> Endpoint:
        credentials = self._credentials
        if self._endpoints_version != credentials.version or len(self._endpoints) > MAX_ENDPOINTS:
            self._endpoints.clear()
            self._endpoints_version = credentials.version
        endpoint = self._endpoints.get((method, path))
        if endpoint is None:
            endpoint = self._endpoints[method, path] = self._build_endpoint(method, path)
        return endpoint

    def _build_endpoint(self, method: str, path: str) -> Endpoint:
        credentials, row = self._credentials, self._row
        given = {name.lower() for name, _ in credentials.headers}
        fixed = (("User-Agent", f"dragoman/{__version__}"), ("Content-Type", "application/json"))
        headers = [
            (name, value)
            for name, value in (*fixed, *self._wire.headers)
            if name.lower() not in given
        ]
        url = f"{row.base_url.rstrip('/')}/{path.lstrip('/')}"
        if credentials.query:
            url += f"{'&' if '?' in url else '?'}{credentials.query}"
        try:
            return Endpoint(
                method,
                url,
                [*headers, *credentials.headers],
                max_connections=row.max_connections,
            )
        except ValueError as error:
            raise ProviderRefusedUs(detail=f"provider {row.name}: {error}") from error

    # --- What failed ---

    async def _failure(self, response: HttpResponse) -> DragomanError:
        """What an answer that is no success means."""
        status = response.status
        if status < 400:
            return ProviderError(
                detail=f"answered with a redirect (status {status}), which is not followed;"
                " set base_url to its final address"
            )
        body = await _read_at_most(response, MAX_ERROR_BYTES)
        return self._codec.decode_error(status, response.headers, body)

    def _scrubbed(self, error: DragomanError) -> DragomanError:
        """`error` without our secrets: some providers repeat the key that they refuse."""
        scrub = self._credentials.scrub
        if error.detail is not None:
            error.detail = scrub(error.detail)
        if scrub(error.message) != error.message:
            error = error.with_message(scrub(error.message))
        return error


class _StreamReader:
    """Bytes of a stream to events, with the failure that came behind them kept apart."""

    __slots__ = ("_decoder", "_parser", "_wire", "error", "is_over")

    def __init__(self, wire: UpstreamWireFormat) -> None:
        self.error: DragomanError | None = None
        self.is_over = False
        self._wire = wire
        self._parser = SseParser(MAX_EVENT_BYTES)
        self._decoder = wire.codec.stream_decoder()

    def feed(self, data: bytes) -> list[StreamEvent]:
        """What one read brought. `is_over` after the last event, `error` when nothing may follow."""
        wire, decoder = self._wire, self._decoder
        events: list[StreamEvent] = []
        try:
            for event in self._parser.feed(data):
                events += decoder.feed(event.data)
                if event.data in wire.last_data or event.name in wire.last_names:
                    events += decoder.close()
                    self.is_over = True
                    break
        except EventTooLarge as error:
            self.error = ProviderGarbled(detail=str(error))
        except DragomanError as error:
            self.error = error
        if events and isinstance(last := events[-1], Failed):
            self.error = last.error
            events.pop()
        return events

    def close(self) -> list[StreamEvent]:
        """What was held back until the end. Raises `ProviderGarbled` when the stream was cut."""
        return self._decoder.close()


def _is_json(response: HttpResponse) -> bool:
    """Whether the answer is one whole JSON text. Anything else is tried as a stream, and raises
    `ProviderGarbled` in the end if it is none."""
    media_type = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    return media_type == "application/json" or media_type.endswith("+json")


async def _read_at_most(response: HttpResponse, limit: int) -> bytes:
    """The body, or its beginning: an error's words are not worth more."""
    body = bytearray()
    async for chunk in response.chunks():
        body += chunk
        if len(body) >= limit:
            break
    return bytes(body[:limit])


def _translate(error: HttpClientError) -> DragomanError:
    detail = str(error)
    match error:
        case TimedOut(phase="connect") | ConnectFailed():
            return ProviderUnreachable(detail=detail)
        case TimedOut():
            return ProviderTimeout(detail=detail)
        case ConnectionLost(is_untouched=True):
            return ProviderUnreachable(detail=detail)
        case PoolFull():
            return ProviderOverloaded(retry_after_s=POOL_RETRY_AFTER_S, detail=detail)
        case ClientClosed():
            return Draining(detail=detail)
        case _:
            return ProviderGarbled(detail=detail)
