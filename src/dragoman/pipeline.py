"""A request's whole life: admit → route → call → finish.

`admit` settles everything that can be refused without a model. `open` and `complete` then walk the
same path: each target in turn is bound and called, and the next one is tried only while nothing has
reached the client. They differ in when that is: a streamed answer is handed over at its first token,
a whole one at its end. A whole answer is the fold of the same events, so the two cannot drift.

Invariants:
- An answer that reaches its end has one `Finished` per choice, the last of which carries the usage,
  counted by us where the provider reports none. An answer that does not reach its end raises, or, once
  its first token was handed over, ends with `Failed`.
- Leaving by any door, cancellation included, closes the provider's iterator, and so its connection.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing

import msgspec

from dragoman.chat import (
    ChatRequest,
    ChatResponse,
    Collector,
    Failed,
    Finished,
    PartDelta,
    PartStarted,
    ResponseHead,
    Started,
    StreamEvent,
    Usage,
    events_of,
)
from dragoman.errors import (
    ContextOverflow,
    DragomanError,
    FirstTokenTimeout,
    InvalidRequest,
    ProviderGarbled,
    UnknownEntity,
    UnsupportedField,
)
from dragoman.policy.ids import RandomHex, uuid4
from dragoman.policy.routing import (
    ModelDirectory,
    bind,
    estimate_input_tokens,
    in_clients_words,
    targets,
)
from dragoman.policy.stop_strings import StopScanner
from dragoman.ports import Clock, Dialect, Provider
from dragoman.records.model import Model

MAX_NAMED_MODELS = 20


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """An admitted request: what will be asked, and of whom, in order."""

    request: ChatRequest
    targets: tuple[Model, ...]
    max_ttft_ms: int | None


class Arrival(msgspec.Struct, frozen=True, kw_only=True):
    """When a request came, by both clocks, and the id it was given."""

    request_id: str
    monotonic_s: float
    unix_s: float


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """A streamed answer whose first token is there.

    `batches` must be closed by whoever reads it; it ends with every choice `Finished`, or `Failed`.
    """

    head: ResponseHead
    batches: AsyncGenerator[list[StreamEvent], None]


class InputCount(msgspec.Struct, frozen=True):
    tokens: int
    is_estimated: bool


class Pipeline:
    """Built once by `app`; holds no state of any request."""

    def __init__(
        self,
        directory: ModelDirectory,
        providers: Mapping[str, Provider],
        clock: Clock,
        *,
        max_choices: int,
    ) -> None:
        self.directory = directory
        self._providers = providers
        self._clock = clock
        self._max_choices = max_choices
        self._noise = RandomHex()

    def arrive(self, request_id: str) -> Arrival:
        return Arrival(
            request_id=request_id,
            monotonic_s=self._clock.monotonic_s(),
            unix_s=self._clock.unix_s(),
        )

    def admit(self, request: ChatRequest, dialect: Dialect) -> Plan:
        """Find the targets and apply the rules that depend on them.

        Raises `InvalidRequest`, `UnsupportedField` or `UnknownEntity`; costs nothing.
        """
        if request.choices > self._max_choices:
            raise InvalidRequest(f"n must be at most {self._max_choices} on this server", param="n")
        if request.context.campaign is not None:
            raise UnknownEntity(
                f"campaign '{request.context.campaign[:100]}' does not exist",
                entity="ab_campaign",
                param="ab_campaign",
            )
        model = self.directory.resolve(request.target)
        if model is None:
            raise self._unknown_model(request.target)
        request = dialect.bind_target(request, "model")
        able = targets(request, self.directory.candidates(model))
        waits = [ms for ms in (request.context.max_ttft_ms, able[0].max_ttft_ms) if ms is not None]
        return Plan(request=request, targets=tuple(able), max_ttft_ms=min(waits, default=None))

    def _unknown_model(self, name: str | None) -> UnknownEntity:
        known = self.directory.names()
        listed = ", ".join(f"'{name}'" for name in known[:MAX_NAMED_MODELS])
        more = ", …" if len(known) > MAX_NAMED_MODELS else ""
        if name is None:
            message = f"the default model is not set up; models are {listed}{more}"
        else:
            shown = name if len(name) <= 100 else name[:100] + "…"
            message = f"model '{shown}' does not exist; there are {listed}{more}"
        return UnknownEntity(message, entity="model", param="model")

    async def open(self, plan: Plan, arrival: Arrival) -> Answer:
        """Return once the first token is there; raises if it never comes from any target."""
        async with asyncio.timeout(self._first_token_wait_s(plan, arrival)) as wait:
            try:
                return await self._open_first_able(plan, arrival)
            except asyncio.CancelledError:
                if wait.expired():
                    raise FirstTokenTimeout from None
                raise

    async def _open_first_able(self, plan: Plan, arrival: Arrival) -> Answer:
        failed: DragomanError | None = None
        for model in plan.targets:
            batches = self._batches(plan.request, model)
            try:
                first = await _until_first_token(batches)
            except BaseException as error:
                await batches.aclose()
                if isinstance(error, DragomanError) and _may_fall_back(error):
                    failed = error
                    continue
                raise
            head = self._head(plan, model, arrival, _fingerprint_of(first))
            return Answer(head=head, batches=_resume(first, batches))
        assert failed is not None
        raise failed

    async def complete(self, plan: Plan, arrival: Arrival) -> tuple[ChatResponse, ResponseHead]:
        """Return the whole answer; raises if no target gives one."""
        if plan.max_ttft_ms is None:
            return await self._complete_first_able(plan, arrival)
        # Only a stream shows when its first token came.
        streamed = msgspec.structs.replace(
            plan, request=msgspec.structs.replace(plan.request, stream=True)
        )
        answer = await self.open(streamed, arrival)
        return await _fold(answer.batches), answer.head

    async def _complete_first_able(
        self, plan: Plan, arrival: Arrival
    ) -> tuple[ChatResponse, ResponseHead]:
        failed: DragomanError | None = None
        for model in plan.targets:
            try:
                response = await self._whole_answer(plan.request, model)
            except DragomanError as error:
                if not _may_fall_back(error):
                    raise
                failed = error
                continue
            return response, self._head(plan, model, arrival, response.system_fingerprint)
        assert failed is not None
        raise failed

    async def _whole_answer(self, request: ChatRequest, model: Model) -> ChatResponse:
        """One target's answer at rest: taken as it comes where it comes whole, else folded."""
        response = await self._answer_in_one_piece(request, model)
        if response is not None:
            return response
        return await _fold(self._batches(request, model))

    async def _answer_in_one_piece(self, request: ChatRequest, model: Model) -> ChatResponse | None:
        if request.max_output_tokens == 0:
            return None
        bound = bind(request, model)
        if len(bound.stop) < len(request.stop):
            # Stop strings of ours are applied to a stream.
            return None
        try:
            response = await self._providers[model.provider].complete(bound, model)
        except InvalidRequest as error:
            raise in_clients_words(error, request, bound) from error.__cause__
        if response is None:
            return None
        if len(response.choices) != request.choices:
            raise ProviderGarbled(detail="the provider's answer lacks choices")
        if response.usage.is_estimated:
            meter = _Meter(request.choices)
            meter.feed(events_of(response))
            usage = await self._estimated_usage(bound, model, meter)
            response = msgspec.structs.replace(response, usage=usage)
        return response

    def _first_token_wait_s(self, plan: Plan, arrival: Arrival) -> float | None:
        """Seconds left for the first token. A wait of 0 is over before it begins."""
        if plan.max_ttft_ms is None:
            return None
        spent_s = self._clock.monotonic_s() - arrival.monotonic_s
        left_s = plan.max_ttft_ms / 1000 - spent_s
        if plan.max_ttft_ms == 0 or left_s <= 0:
            raise FirstTokenTimeout
        return left_s

    async def _batches(
        self, request: ChatRequest, model: Model
    ) -> AsyncGenerator[list[StreamEvent], None]:
        """One target's answer, metered, with the stop strings that it does not take applied."""
        if request.max_output_tokens == 0:
            yield await self._empty_answer(request, model)
            return
        bound = bind(request, model)
        meter = _Meter(request.choices)
        # All of them are scanned for: which ones the target was sent makes no difference to text.
        scanner = (
            StopScanner(request.stop, request.choices)
            if len(bound.stop) < len(request.stop)
            else None
        )
        stream = self._providers[model.provider].stream(bound, model)
        try:
            async for batch in stream:
                events = batch
                if scanner is not None:
                    events = scanner.feed(events)
                if meter.feed(events):
                    usage = await self._estimated_usage(bound, model, meter)
                    events[-1] = msgspec.structs.replace(events[-1], usage=usage)
                if events:
                    yield events
                if scanner is not None and scanner.is_done:
                    yield scanner.close(await self._estimated_usage(bound, model, meter))
                    return
        except InvalidRequest as error:
            raise in_clients_words(error, request, bound) from error.__cause__
        finally:
            await stream.aclose()
        if not meter.is_whole:
            raise ProviderGarbled(detail="the provider's answer ended before it was complete")

    async def _empty_answer(self, request: ChatRequest, model: Model) -> list[StreamEvent]:
        """A maximum of no tokens at all: `length` at once, and no model is asked."""
        count = await self.count_input(request, model)
        usage = Usage(input_tokens=count.tokens, is_estimated=count.is_estimated)
        last = request.choices - 1
        events: list[StreamEvent] = []
        for i in range(request.choices):
            events += (Started(i), Finished("length", i, None, usage if i == last else None))
        return events

    async def _estimated_usage(self, request: ChatRequest, model: Model, meter: _Meter) -> Usage:
        count = await self.count_input(request, model)
        return Usage(
            input_tokens=count.tokens,
            output_tokens=meter.produced_tokens(),
            is_estimated=True,
        )

    def _head(
        self, plan: Plan, model: Model, arrival: Arrival, system_fingerprint: str | None
    ) -> ResponseHead:
        choices = plan.request.choices
        draw = self._noise.draw
        return ResponseHead(
            request_id=arrival.request_id,
            response_id=draw(32),
            created_s=int(arrival.unix_s),
            model=model.id,
            session_id=plan.request.context.session_id or uuid4(draw(32)),
            completion_ids=tuple([uuid4(draw(32)) for _ in range(choices)]),
            system_fingerprint=system_fingerprint or model.system_fingerprint,
        )

    async def count_input(self, request: ChatRequest, model: Model) -> InputCount:
        """The prompt's tokens: exact where the provider can tell, else estimated."""
        bound = bind(msgspec.structs.replace(request, max_output_tokens=None), model)
        try:
            tokens = await self._providers[model.provider].count_input(bound, model)
        except InvalidRequest as error:
            raise in_clients_words(error, request, bound) from error.__cause__
        if tokens is not None:
            return InputCount(tokens, is_estimated=False)
        return InputCount(estimate_input_tokens(bound), is_estimated=True)


class _Meter:
    """Counts what a target produces."""

    __slots__ = ("_choices", "_finished", "_produced_chars")

    def __init__(self, choices: int) -> None:
        self._choices = choices
        self._finished = 0
        self._produced_chars = 0

    @property
    def is_whole(self) -> bool:
        """Whether every choice has finished."""
        return self._finished == self._choices

    def feed(self, events: Sequence[StreamEvent]) -> bool:
        """Whether the last of `events` ends the answer and lacks its usage."""
        lacks_usage = False
        for event in events:
            kind = type(event)
            if kind is PartDelta:
                self._produced_chars += len(event.text)  # type: ignore[union-attr]
            elif kind is PartStarted:
                self._produced_chars += len(getattr(event.part, "text", ""))  # type: ignore[union-attr]
            elif kind is Finished:
                self._finished += 1
                lacks_usage = event.usage is None  # type: ignore[union-attr]
        return lacks_usage and self.is_whole

    def produced_tokens(self) -> int:
        """A guess, for providers that report none: four characters each."""
        return (self._produced_chars + 3) // 4


def _may_fall_back(error: DragomanError) -> bool:
    """Whether another target might answer where this one did not."""
    return (
        error.is_retryable
        or error.blame == "provider"
        or isinstance(error, ContextOverflow | UnsupportedField)
    )


async def _until_first_token(
    batches: AsyncGenerator[list[StreamEvent], None],
) -> list[StreamEvent]:
    """All events up to and including the batch in which the answer truly begins."""
    events: list[StreamEvent] = []
    async for batch in batches:
        events += batch
        if type(batch[-1]) is not Started:
            return events
    raise ProviderGarbled(detail="the provider's answer is empty")


def _fingerprint_of(events: Sequence[StreamEvent]) -> str | None:
    first = events[0]
    return first.system_fingerprint if isinstance(first, Started) else None


async def _fold(batches: AsyncGenerator[list[StreamEvent], None]) -> ChatResponse:
    """The whole answer at rest; raises where it is not whole."""
    collector = Collector()
    async with aclosing(batches):
        async for batch in batches:
            collector.feed(batch)
    return collector.response()


async def _resume(
    first: list[StreamEvent], batches: AsyncGenerator[list[StreamEvent], None]
) -> AsyncGenerator[list[StreamEvent], None]:
    """The whole answer again. From here on an error is told in the stream."""
    try:
        yield first
        async for batch in batches:
            yield batch
    except DragomanError as error:
        yield [Failed(error)]
    finally:
        await batches.aclose()
