"""The embedded models as a provider: canonical requests to supervised engines, and back.

The engine is always asked for a stream, for only then does a closed connection free its slot. Each
choice of a request is a question of its own with a slot of its own: the engine counts the tokens of one
choice only when it is asked for several.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing

import msgspec

from dragoman.chat import (
    ChatRequest,
    ChatResponse,
    Failed,
    Finished,
    Sampling,
    Started,
    StreamEvent,
    Usage,
)
from dragoman.engine import guard
from dragoman.engine.access import EngineAccess, LoadedEngine, Place
from dragoman.errors import DragomanError, EngineFailed, Internal
from dragoman.http_client import (
    ConnectFailed,
    Endpoint,
    HttpClient,
    HttpClientError,
    HttpRequest,
    HttpResponse,
)
from dragoman.ports import ProviderHealth
from dragoman.providers.local_answer import AnswerReader
from dragoman.providers.local_prompt import Question, ask
from dragoman.providers.local_wire import (
    ChunkReader,
    decode_input_tokens,
    read_error,
)
from dragoman.records.local_model import LocalModel
from dragoman.records.model import Model
from dragoman.records.provider import Timeouts

PROVIDER_NAME = "local"
PACKAGED_SYSTEM_PROMPT = "You are a helpful assistant. Answer directly, briefly and accurately."
AUTHORS_TEMPERATURE = 0.2
AUTHORS_TOP_P = 0.9
"""What the packaged model's authors sample with: https://huggingface.co/HuggingFaceTB/SmolLM2-135M-Instruct"""

# The supervisor watches the engine's progress; a bound on one answer's silence would kill those that
# wait for others. So these only have to be longer than any wait.
TIMEOUTS = Timeouts(connect_s=5.0, first_byte_s=3600.0, idle_s=3600.0, total_s=86_400.0)
COUNT_TIMEOUTS = Timeouts(connect_s=5.0, first_byte_s=30.0, idle_s=30.0, total_s=30.0)
QUEUED_BATCHES = 16
"""How far one choice of several may run ahead of a slow reader."""


def describe_model(local: LocalModel, *, system_fingerprint: str | None = None) -> Model:
    """`local` as a model that can be asked for."""
    is_packaged = local.path is None
    temperature, top_p, prompt = local.temperature, local.top_p, local.default_system_prompt
    if is_packaged:
        temperature = AUTHORS_TEMPERATURE if temperature is None else temperature
        top_p = AUTHORS_TOP_P if top_p is None else top_p
        prompt = PACKAGED_SYSTEM_PROMPT if prompt is None else prompt
    return Model(
        id=local.id,
        provider=PROVIDER_NAME,
        upstream_name=local.id,
        aliases=local.aliases or (("local",) if is_packaged else ()),
        context_tokens=local.context_tokens,
        ends_at_context=True,
        default_sampling=Sampling(temperature=temperature, top_p=top_p),
        default_system_prompt=prompt,
        lacks=frozenset({"images", "thinking"}),
        max_stops=guard.MAX_STOPS,
        system_fingerprint=system_fingerprint,
    )


class LocalProvider:
    """Implements `ports.Provider` over the engine of each local model, by the model's id."""

    def __init__(
        self,
        engines: Mapping[str, EngineAccess],
        client: HttpClient,
        name: str = PROVIDER_NAME,
    ) -> None:
        self.name = name
        self._engines = engines
        self._client = client

    async def stream(
        self, request: ChatRequest, model: Model
    ) -> AsyncGenerator[list[StreamEvent], None]:
        """Answer `request`; closing the generator frees the engine's slots."""
        access = self._access(model)
        guard.check_request(request)
        tickets = await access.admit(request.choices)
        try:
            engine = await access.running()
            question = _question(request, engine)
            if len(tickets) == 1:
                only = self._choice(access, tickets[0], question, 0)
                async with aclosing(only) as batches:
                    async for batch in batches:
                        yield batch
            else:
                together = self._choices(access, tickets, question)
                async with aclosing(together) as batches:
                    async for batch in batches:
                        yield batch
        finally:
            for ticket in tickets:
                ticket.release()

    async def complete(self, request: ChatRequest, model: Model) -> ChatResponse | None:  # noqa: ARG002 - the port's signature
        """Never: an engine that is not asked to stream cannot be stopped."""
        return None

    async def _choices(
        self, access: EngineAccess, tickets: Sequence[Place], question: Question
    ) -> AsyncGenerator[list[StreamEvent], None]:
        """Every choice as it comes, interleaved; the last one to finish carries the sum of usage."""
        queue: asyncio.Queue[list[StreamEvent]] = asyncio.Queue(QUEUED_BATCHES)

        async def pump(ticket: Place, index: int) -> None:
            choice = self._choice(access, ticket, question, index)
            try:
                async with aclosing(choice) as batches:
                    async for batch in batches:
                        await queue.put(batch)
            except DragomanError as error:
                await queue.put([Failed(error)])
            except Exception as error:
                # A fault of ours: the reader must not wait for this choice for ever. Its words may hold
                # the prompt, and stay out of the log.
                await queue.put([Failed(Internal(detail=type(error).__name__))])
                raise
            finally:
                # Others may wait for this slot while this request's other choices go on.
                ticket.release()

        tasks = [asyncio.create_task(pump(ticket, i)) for i, ticket in enumerate(tickets)]
        total = Usage()
        open_choices = len(tasks)
        try:
            while open_choices:
                batch = await queue.get()
                events: list[StreamEvent] = []
                for event in batch:
                    if isinstance(event, Failed):
                        raise event.error
                    if isinstance(event, Finished):
                        open_choices -= 1
                        total = _add(total, event.usage)
                        event = msgspec.structs.replace(  # noqa: PLW2901
                            event, usage=None if open_choices else total
                        )
                    events.append(event)
                yield events
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _choice(
        self, access: EngineAccess, ticket: Place, question: Question, index: int
    ) -> AsyncGenerator[list[StreamEvent], None]:
        await ticket.wait()
        engine = await access.running()
        answer = AnswerReader(question, index)
        yield [Started(index, system_fingerprint=access.system_fingerprint)]
        reader = ChunkReader()
        body = question.body(index)
        response: HttpResponse | None = None
        try:
            try:
                with engine.awaited():
                    response = await self._client.send(_chat_request(engine, body))
            except ConnectFailed:
                # It died before it had this request: the next one takes it.
                engine = await access.running(after=engine)
            with engine.awaited():
                if response is None:
                    response = await self._client.send(_chat_request(engine, body))
                if response.status != 200:
                    raise read_error(response.status, await response.read())
            chunks = response.chunks().__aiter__()
            while not reader.is_done:
                with engine.awaited():
                    data = await anext(chunks, None)
                if data is None:
                    break
                received = reader.feed(data)
                if received:
                    engine.progressed()
                events = answer.feed(received)
                if events:
                    yield events
        except (HttpClientError, OSError) as error:
            raise _translate(error) from error
        finally:
            if response is not None:
                response.close()
        yield answer.finish()

    async def count_input(self, request: ChatRequest, model: Model) -> int | None:
        """The prompt's exact length, as the model's own template and vocabulary make it."""
        access = self._access(model)
        guard.check_request(request)
        engine = await access.running()
        question = _question(request, engine)
        body = await self._ask_once(engine, "/v1/chat/completions/input_tokens", question.body(0))
        return decode_input_tokens(body).input_tokens

    async def _ask_once(self, engine: LoadedEngine, path: str, body: bytes) -> bytes:
        request = HttpRequest(_endpoint(engine, "POST", path), body, timeouts=COUNT_TIMEOUTS)
        response: HttpResponse | None = None
        try:
            response = await self._client.send(request)
            data = await response.read()
        except (HttpClientError, OSError) as error:
            raise _translate(error) from error
        finally:
            if response is not None:
                response.close()
        if response.status != 200:
            raise read_error(response.status, data)
        return data

    async def check(self) -> ProviderHealth:
        """Whether every engine runs; one that is still loading is no fault."""
        for name, access in self._engines.items():
            if access.failure is not None:
                return ProviderHealth(
                    ok=False,
                    message=f"model '{name}' cannot be started: {access.failure}",
                    remedy=f"check that {access.model_path} is a GGUF file that fits into memory",
                )
        loading = [name for name, each in self._engines.items() if each.engine is None]
        if loading:
            return ProviderHealth(ok=True, message=f"loading: {', '.join(loading)}")
        return ProviderHealth(ok=True, message=f"running: {', '.join(self._engines)}")

    async def aclose(self) -> None:
        """End every engine."""
        await asyncio.gather(*(each.aclose() for each in self._engines.values()))

    def _access(self, model: Model) -> EngineAccess:
        access = self._engines.get(model.upstream_name)
        if access is None:
            raise Internal(detail=f"no engine runs {model.upstream_name!r}")
        return access


def _question(request: ChatRequest, engine: LoadedEngine) -> Question:
    return ask(
        request,
        vocabulary=engine.vocabulary,
        context_tokens=engine.context_tokens,
        knows_tools=engine.knows_tools,
    )


def _endpoint(engine: LoadedEngine, method: str, path: str) -> Endpoint:
    # Its kept connections do not survive a streamed answer.
    headers = [
        ("Authorization", f"Bearer {engine.key}"),
        ("Content-Type", "application/json"),
        ("Connection", "close"),
    ]
    return Endpoint(method, f"http://engine{path}", headers, unix_socket=engine.socket_path)


def _chat_request(engine: LoadedEngine, body: bytes) -> HttpRequest:
    return HttpRequest(_endpoint(engine, "POST", "/v1/chat/completions"), body, timeouts=TIMEOUTS)


def _translate(error: HttpClientError | OSError) -> DragomanError:
    """Whatever breaks between us and our own child means that the child broke."""
    return EngineFailed(retry_after_s=2.0, detail=str(error))


def _add(one: Usage, other: Usage | None) -> Usage:
    """The prompt is one, however many answers it gets; what was produced adds up."""
    if other is None:
        return one
    return Usage(
        input_tokens=max(one.input_tokens, other.input_tokens),
        output_tokens=one.output_tokens + other.output_tokens,
        cached_input_tokens=max(one.cached_input_tokens, other.cached_input_tokens),
        reasoning_tokens=one.reasoning_tokens + other.reasoning_tokens,
    )
