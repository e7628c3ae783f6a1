"""A conversation with a running server, over its OpenAI dialect."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from urllib.parse import quote

import msgspec

from dragoman.http_client import (
    Endpoint,
    HttpClient,
    HttpClientError,
    HttpRequest,
    HttpResponse,
    HttpSettings,
    ProxySettings,
)
from dragoman.records.provider import Timeouts
from dragoman.sse import EventTooLarge, SseParser

MAX_ERROR_BYTES = 64 * 1024
MAX_LIST_BYTES = 8 * 1024 * 1024
TIMEOUTS = Timeouts(connect_s=10.0, first_byte_s=600.0, idle_s=300.0, total_s=3600.0)


class ServerSaidNo(Exception):
    """The server, or the way to it, failed: the message is for the person at the terminal."""


class Turn(msgspec.Struct, frozen=True):
    role: str
    content: str


DEFAULT_TEMPERATURE = 0.2
"""What the packaged model's authors recommend: at OpenAI's default of 1 a small model rambles."""


class Question(msgspec.Struct, frozen=True, kw_only=True):
    model: str
    messages: list[Turn]
    temperature: float
    stream: bool = True


class _Delta(msgspec.Struct):
    content: str | None = None
    refusal: str | None = None


class _Choice(msgspec.Struct):
    delta: _Delta = msgspec.field(default_factory=_Delta)
    finish_reason: str | None = None


class _Error(msgspec.Struct):
    message: str = ""


class _Chunk(msgspec.Struct):
    choices: list[_Choice] = []
    error: _Error | None = None


class _Failed(msgspec.Struct):
    error: _Error


class _Entry(msgspec.Struct):
    id: str


class _Models(msgspec.Struct):
    data: list[_Entry]


class Conversation:
    """Messages so far, and the server that continues them. Belongs to one event loop."""

    def __init__(self, url: str, secret: str, proxies: ProxySettings) -> None:
        self.url = url.rstrip("/").removesuffix("/v1")
        self.model = ""
        self.temperature = DEFAULT_TEMPERATURE
        self.system: str | None = None
        self.turns: list[Turn] = []
        self.finish_reason: str | None = None
        """Why the last answer ended; `None`: it did not."""
        self._headers = headers = [
            ("authorization", f"Bearer {secret}"),
            ("content-type", "application/json"),
        ]
        try:
            self._completions = Endpoint("POST", f"{self.url}/v1/chat/completions", headers)
            self._models = Endpoint("GET", f"{self.url}/v1/models", headers)
        except ValueError as error:
            raise ServerSaidNo(f"the server's URL or the key cannot be used: {error}") from None
        self._client = HttpClient(HttpSettings(proxy=proxies))

    async def list_models(self) -> list[str]:
        """The ids of the models that the server offers. Raises `ServerSaidNo`."""
        response = await self._send(
            HttpRequest(self._models, timeouts=TIMEOUTS, max_body_bytes=MAX_LIST_BYTES)
        )
        try:
            body = await response.read()
            return [entry.id for entry in msgspec.json.decode(body, type=_Models).data]
        except (HttpClientError, msgspec.DecodeError, UnicodeError) as error:
            raise ServerSaidNo(f"{self.url} does not answer as a dragoman does: {error}") from None
        finally:
            response.close()

    async def require_model(self, name: str) -> None:
        """Raise `ServerSaidNo` unless the server knows `name`, an id or alias."""
        response = await self._send(
            HttpRequest(
                Endpoint("GET", f"{self.url}/v1/models/{quote(name, safe='')}", self._headers),
                timeouts=TIMEOUTS,
            )
        )
        response.close()

    async def ask(self, text: str) -> AsyncGenerator[str, None]:
        """Pieces of the answer to `text` as they come. Raises `ServerSaidNo`.

        What was answered stays in the conversation, also when the caller stops listening; a
        question that got no answer at all does not.
        """
        self.finish_reason = None
        self.turns.append(Turn("user", text))
        pieces: list[str] = []
        try:
            async for piece in self._stream():
                pieces.append(piece)
                yield piece
        finally:
            if pieces:
                self.turns.append(Turn("assistant", "".join(pieces)))
            else:
                self.turns.pop()

    async def _stream(self) -> AsyncGenerator[str, None]:
        system = [Turn("system", self.system)] if self.system else []
        question = Question(
            model=self.model, messages=system + self.turns, temperature=self.temperature
        )
        response = await self._send(
            HttpRequest(self._completions, msgspec.json.encode(question), timeouts=TIMEOUTS)
        )
        parser = SseParser()
        decode = msgspec.json.Decoder(_Chunk).decode
        try:
            async for data in response.chunks():
                for event in parser.feed(data):
                    if event.data == b"[DONE]":
                        return
                    for piece in self._read(decode(event.data)):
                        yield piece
        except HttpClientError as error:
            raise ServerSaidNo(f"the answer was cut off: {error}") from None
        except (EventTooLarge, msgspec.DecodeError, UnicodeError) as error:
            raise ServerSaidNo(f"the answer cannot be read: {error}") from None
        finally:
            response.close()
        raise ServerSaidNo("the answer was cut off before its end")

    def _read(self, chunk: _Chunk) -> list[str]:
        if chunk.error is not None:
            raise ServerSaidNo(chunk.error.message)
        pieces = []
        for choice in chunk.choices:
            self.finish_reason = choice.finish_reason or self.finish_reason
            pieces += [text for text in (choice.delta.content, choice.delta.refusal) if text]
        return pieces

    async def _send(self, request: HttpRequest) -> HttpResponse:
        try:
            response = await self._client.send(request)
        except HttpClientError as error:
            raise ServerSaidNo(
                f"{self.url} cannot be reached: {error}. Start a server with `dragoman serve`, or "
                "name one with --url or $DRAGOMAN_URL."
            ) from None
        if response.status == 200:
            return response
        try:
            raise ServerSaidNo(await self._explain(response))
        finally:
            response.close()

    async def _explain(self, response: HttpResponse) -> str:
        try:
            async with asyncio.timeout(10):
                body = b""
                async for data in response.chunks():
                    body += data
                    if len(body) > MAX_ERROR_BYTES:
                        break
            said = msgspec.json.decode(body, type=_Failed).error.message
        except (HttpClientError, TimeoutError, msgspec.DecodeError, UnicodeError):
            said = "no explanation"
        text = f"the server answered {response.status}: {said}"
        if response.status == 401:
            text += " Name a key with --key or $DRAGOMAN_API_KEY; `dragoman keys create` makes one."
        return text

    async def aclose(self) -> None:
        await self._client.aclose()
