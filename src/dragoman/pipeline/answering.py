"""A request's whole life: receive → admit → hold → call → settle.

`receive` opens its tab. `admit` (in `admitting`) settles everything that can be refused without a
model. `open` and `complete` then walk the same path: tokens are reserved and money is held, each target
in turn is bound and called, and the next one is tried only while nothing has reached the client. They
differ in when that is: a streamed answer is handed over at its first token, a whole one at its end. A
whole answer is the fold of the same events, so the two cannot drift.

Invariants:
- An answer that reaches its end has one `Finished` per choice, the last of which carries the usage,
  counted by us where the provider reports none. An answer that does not reach its end raises, or, once
  its first token was handed over, ends with `Failed`.
- The events with the last `Finished`, and a whole answer, are handed over only after the settlement is
  durable: whoever has seen the end of an answer finds it on record.
- Leaving by any door, cancellation included, closes the provider's iterator, and so its connection. Whoever
  called `receive` closes the tab.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from operator import attrgetter

import msgspec

from dragoman.chat import (
    ChatRequest,
    ChatResponse,
    Collector,
    Failed,
    Finished,
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
    UnsupportedField,
)
from dragoman.pipeline.admitting import Admitter
from dragoman.pipeline.metering import Meter, has_token
from dragoman.pipeline.plan import Plan
from dragoman.pipeline.tab import Arrival, Books, Tab
from dragoman.pipeline.tool_rounds import RoundAsker, final_round, rounds_of, with_functions
from dragoman.policy.charging import (
    FREE,
    InputCount,
    estimate_input,
    is_charged,
    measure_request,
    measure_rounds,
    quote,
    quote_rounds,
)
from dragoman.policy.ids import RandomHex, uuid4
from dragoman.policy.limits import TokenAsk
from dragoman.policy.projects import ProjectBook
from dragoman.policy.routing import (
    ModelDirectory,
    bind,
    estimate_input_tokens,
    in_clients_words,
)
from dragoman.policy.stop_strings import StopScanner
from dragoman.ports import Clock, Dialect, Provider, ToolBox
from dragoman.records.model import Model
from dragoman.records.price import Price
from dragoman.records.principal import Principal

_ends_at_context = attrgetter("ends_at_context")
ROOMY = 8
"""A token window with room for so many requests of this size can do with a guess."""


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """A streamed answer whose first token is there.

    `batches` must be closed by whoever reads it; it ends with every choice `Finished`, or `Failed`.
    """

    head: ResponseHead
    batches: AsyncGenerator[list[StreamEvent], None]


class Pipeline:
    """Built once by `app`; holds no state of any request."""

    def __init__(
        self,
        directory: ModelDirectory,
        providers: Mapping[str, Provider],
        clock: Clock,
        books: Books,
        *,
        max_choices: int,
        projects: ProjectBook | None = None,
        tools: ToolBox | None = None,
    ) -> None:
        """`projects` and `tools` are `None` where there are none."""
        self.directory = directory
        self.projects = projects
        self._providers = providers
        self._clock = clock
        self._books = books
        self._noise = RandomHex()
        self._tools = tools
        self.admit = Admitter(directory, projects, tools, max_choices=max_choices).admit

    def receive(self, principal: Principal, request_id: str, dialect: Dialect) -> Tab:
        """Open a request's tab: enter it, and close it."""
        arrival = Arrival(
            request_id=request_id,
            monotonic_s=self._clock.monotonic_s(),
            unix_s=self._clock.unix_s(),
        )
        return Tab(self._books, self._clock, principal, arrival, dialect)

    async def open(self, plan: Plan, tab: Tab) -> Answer:
        """Return once the first token is there; raises if it never comes from any target."""
        async with asyncio.timeout(self._first_token_wait_s(plan, tab)) as wait:
            try:
                plan = await self._begin(plan, tab)
                if plan.kit is not None:
                    return await self._open_rounds(plan, tab)
                return await self._open(plan, tab)
            except asyncio.CancelledError:
                if wait.expired():
                    raise FirstTokenTimeout from None
                raise

    async def _open(self, plan: Plan, tab: Tab) -> Answer:
        model, first, batches = await self._first_able(plan.request, plan.targets, tab)
        head = self._head(plan, model, tab, _fingerprint_of(first))
        if tab.keeper is not None:
            tab.keeper.begin(head)
        return Answer(head=head, batches=_resume(first, batches, tab))

    async def _open_rounds(self, plan: Plan, tab: Tab) -> Answer:
        """The same of a request with server-side tools: what is shown is its final round."""
        assert self._tools is not None
        asker = RoundAsker(plan, tab, self._whole_round, self.call_model)
        batches = final_round(asker, plan, tab, self._tools, self._clock)
        try:
            first = await _until_first_token(batches)
        except BaseException:
            await batches.aclose()
            raise
        head = self._head(plan, tab.model, tab, _fingerprint_of(first))
        if tab.keeper is not None:
            tab.keeper.begin(head)
        return Answer(head=head, batches=_resume(first, batches, tab))

    async def _whole_round(self, request: ChatRequest, plan: Plan, tab: Tab) -> list[StreamEvent]:
        """One round that is not shown yet: the next target is tried even where one breaks off."""
        models = plan.targets
        while True:
            model, events, batches = await self._first_able(request, models, tab)
            models = models[models.index(model) + 1 :]
            try:
                async with aclosing(batches):
                    async for batch in batches:
                        events += batch
            except DragomanError as error:
                if not models or not _may_fall_back(error):
                    raise
                tab.end_attempt(error.code)
                continue
            return events

    async def call_model(
        self, request: ChatRequest, plan: Plan, tab: Tab
    ) -> AsyncGenerator[list[StreamEvent], None]:
        """One round of a request that asks its models several times: the first target of `plan` that answers.

        `request` is the plan's with the round's own messages. All rounds share the tab's one hold. Whoever asks
        again calls `tab.end_round` first: the tab adds up what each round used and what it cost at the price of
        the target that answered it, and the settlement has the sums.
        """
        _, first, batches = await self._first_able(request, plan.targets, tab)
        async with aclosing(batches):
            yield first
            async for batch in batches:
                yield batch

    async def _first_able(
        self, request: ChatRequest, models: Sequence[Model], tab: Tab
    ) -> tuple[Model, list[StreamEvent], AsyncGenerator[list[StreamEvent], None]]:
        """The first of `models` that produces a token, with what it has produced, and the rest."""
        failed: DragomanError | None = None
        for model in models:
            tab.begin_attempt(model)
            batches = self._batches(request, model, tab)
            try:
                return model, await _until_first_token(batches), batches
            except BaseException as error:
                await batches.aclose()
                if isinstance(error, DragomanError):
                    tab.end_attempt(error.code)
                    if _may_fall_back(error):
                        failed = error
                        continue
                raise
        assert failed is not None
        raise failed

    async def complete(self, plan: Plan, tab: Tab) -> tuple[ChatResponse, ResponseHead]:
        """Return the whole answer; raises if no target gives one."""
        if plan.max_ttft_ms is None and plan.kit is None:
            return await self._complete_first_able(await self._begin(plan, tab), tab)
        # Only a stream shows when its first token came, and what is of a round that is not shown.
        streamed = msgspec.structs.replace(
            plan, request=msgspec.structs.replace(plan.request, stream=True)
        )
        answer = await self.open(streamed, tab)
        return await _fold(answer.batches), answer.head

    async def _complete_first_able(self, plan: Plan, tab: Tab) -> tuple[ChatResponse, ResponseHead]:
        failed: DragomanError | None = None
        for model in plan.targets:
            tab.begin_attempt(model)
            try:
                response = await self._whole_answer(plan.request, model, tab)
            except DragomanError as error:
                tab.end_attempt(error.code)
                if not _may_fall_back(error):
                    raise
                failed = error
                continue
            head = self._head(plan, model, tab, response.system_fingerprint)
            if tab.conversation is not None:
                tab.conversation.take(response)
            if tab.keeper is not None:
                tab.keeper.begin(head)
                tab.keeper.feed(events_of(response))
            usage = await tab.settle(response.usage, response.choices[0].finish_reason)
            if usage is not response.usage:
                response = msgspec.structs.replace(response, usage=usage)
            return response, head
        assert failed is not None
        raise failed

    # --- What it may cost ---

    async def _begin(self, plan: Plan, tab: Tab) -> Plan:
        """Reserve tokens and hold money for the longest answer; where those cannot carry it, shorten it.

        Raises `RateLimited`, `InsufficientCredits` or `StoreUnavailable`, with nothing held.
        """
        books = self._books
        if books.prices.is_stale():
            await books.prices.refresh()
        request = plan.request
        asked = request.max_output_tokens
        tab.session_id = request.context.session_id or uuid4(self._noise.draw(32))
        if tab.conversation is not None:
            tab.conversation.session_id = tab.session_id
            tab.conversation.completion_ids = self._completion_ids(request.choices)
        prices = tuple([books.prices.price(each, tab.arrival.unix_s) for each in plan.targets])
        if asked == 0:
            # No model is asked.
            prices = (None,) * len(prices)
        # An account that nothing bounds needs no quote: there is nothing to take it from.
        is_priced = not tab.principal.account.is_unbounded and any(map(is_charged, prices))
        if not is_priced and not tab.is_token_limited:
            await tab.hold(FREE, plan.targets, prices)
            return plan
        measured = plan
        if plan.kit is not None:
            measured = msgspec.structs.replace(plan, request=with_functions(request, plan.kit))
        counts = [estimate_input(measured.request, model) for model in plan.targets]
        size = measure_request(request, plan.targets, counts)
        if any(map(_ends_at_context, plan.targets)):
            size = await self._counted(measured, prices, counts, size, tab.token_room())
        tab.input_tokens = size.input_tokens
        rounds = rounds_of(plan)
        limit = longest = size.longest_output_tokens
        if tab.is_token_limited:
            limit = tab.reserve(size if rounds is None else measure_rounds(size, rounds))
        quoted = FREE
        if is_priced:
            if asked is None and limit != longest:
                size = msgspec.structs.replace(size, output_bound=limit)
            quoted = (
                quote(books.prices, prices, size)
                if rounds is None
                else quote_rounds(books.prices, prices, size, rounds)
            )
        held = await tab.hold(quoted, plan.targets, prices)
        if asked is not None:
            return plan
        if held.max_output_tokens is not None:
            limit = min(limit, held.max_output_tokens)
        if limit >= longest:
            # Nothing had to be cut: what each target can give is bound enough.
            return plan
        return msgspec.structs.replace(
            plan, request=msgspec.structs.replace(request, max_output_tokens=limit)
        )

    async def _counted(
        self,
        plan: Plan,
        prices: Sequence[Price | None],
        counts: list[InputCount],
        guessed: TokenAsk,
        room: int | None,
    ) -> TokenAsk:
        """How large the request may get: as guessed, unless money or little room makes a count worth its time.

        Only a model of our own is asked to count: elsewhere that is a call over the network.
        """
        is_tight = room is not None and room < ROOMY * guessed.most_tokens
        is_counted = False
        for i, model in enumerate(plan.targets):
            if model.ends_at_context and (is_tight or is_charged(prices[i])):
                counts[i] = await self.count_input(plan.request, model)
                is_counted = True
        return measure_request(plan.request, plan.targets, counts) if is_counted else guessed

    async def _whole_answer(self, request: ChatRequest, model: Model, tab: Tab) -> ChatResponse:
        """One target's answer at rest: taken as it comes where it comes whole, else folded."""
        response = await self._answer_in_one_piece(request, model)
        if response is not None:
            return response
        return await _fold(self._batches(request, model, tab))

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
            meter = Meter(request.choices)
            meter.feed(events_of(response))
            usage = await self._estimated_usage(bound, model, meter)
            response = msgspec.structs.replace(response, usage=usage)
        return response

    def _first_token_wait_s(self, plan: Plan, tab: Tab) -> float | None:
        """Seconds left for the first token. A wait of 0 is over before it begins."""
        if plan.max_ttft_ms is None:
            return None
        spent_s = self._clock.monotonic_s() - tab.arrival.monotonic_s
        left_s = plan.max_ttft_ms / 1000 - spent_s
        if plan.max_ttft_ms == 0 or left_s <= 0:
            raise FirstTokenTimeout
        return left_s

    async def _batches(
        self, request: ChatRequest, model: Model, tab: Tab
    ) -> AsyncGenerator[list[StreamEvent], None]:
        """One target's answer, metered, with the stop strings that it does not take applied."""
        if request.max_output_tokens == 0:
            yield await self._empty_answer(request, model, tab)
            return
        bound = bind(request, model)
        meter = Meter(request.choices)
        tab.watch(meter)
        conversation = tab.conversation
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
                    _put_usage(events, usage)
                    meter.usage = usage
                if events:
                    if conversation is not None:
                        conversation.feed(events, meter.produced_bytes)
                    tab.progressed(has_token=meter.has_token)
                    yield events
                if scanner is not None and scanner.is_done:
                    last = scanner.close(await self._estimated_usage(bound, model, meter))
                    meter.feed(last)
                    if conversation is not None:
                        conversation.feed(last, meter.produced_bytes)
                    yield last
                    return
        except InvalidRequest as error:
            raise in_clients_words(error, request, bound) from error.__cause__
        finally:
            await stream.aclose()
        if not meter.is_whole:
            raise ProviderGarbled(detail="the provider's answer ended before it was complete")

    async def _empty_answer(
        self, request: ChatRequest, model: Model, tab: Tab
    ) -> list[StreamEvent]:
        """A maximum of no tokens at all: `length` at once, and no model is asked."""
        count = await self.count_input(request, model)
        usage = Usage(input_tokens=count.tokens, is_estimated=count.is_estimated)
        last = request.choices - 1
        events: list[StreamEvent] = []
        for i in range(request.choices):
            events += (Started(i), Finished("length", i, None, usage if i == last else None))
        meter = Meter(request.choices)
        meter.feed(events)
        tab.watch(meter)
        if tab.conversation is not None:
            tab.conversation.feed(events, 0)
        return events

    async def _estimated_usage(self, request: ChatRequest, model: Model, meter: Meter) -> Usage:
        count = await self.count_input(request, model)
        return Usage(
            input_tokens=count.tokens,
            output_tokens=meter.produced_tokens(),
            is_estimated=True,
        )

    def _head(
        self, plan: Plan, model: Model, tab: Tab, system_fingerprint: str | None
    ) -> ResponseHead:
        conversation = tab.conversation
        return ResponseHead(
            request_id=tab.arrival.request_id,
            response_id=self._noise.draw(32),
            created_s=int(tab.arrival.unix_s),
            model=model.id,
            session_id=tab.session_id,
            completion_ids=(
                self._completion_ids(plan.request.choices)
                if conversation is None
                else conversation.completion_ids
            ),
            system_fingerprint=system_fingerprint or model.system_fingerprint,
        )

    def _completion_ids(self, choices: int) -> tuple[str, ...]:
        draw = self._noise.draw
        return tuple([uuid4(draw(32)) for _ in range(choices)])

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
    """All events up to and including the batch in which the answer truly begins.

    That a part has begun is no token: some providers say so before they have any.
    """
    events: list[StreamEvent] = []
    async for batch in batches:
        events += batch
        if has_token(batch):
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
    first: list[StreamEvent], batches: AsyncGenerator[list[StreamEvent], None], tab: Tab
) -> AsyncGenerator[list[StreamEvent], None]:
    """The whole answer again. From here on an error is told in the stream."""
    keeper = tab.keeper
    try:
        if keeper is not None:
            keeper.feed(first)
        if tab.is_whole:
            await _settle_last(first, tab)
        yield first
        async for batch in batches:
            if keeper is not None:
                keeper.feed(batch)
            if tab.is_whole:
                await _settle_last(batch, tab)
            yield batch
    except DragomanError as error:
        yield [Failed(error)]
    finally:
        await batches.aclose()


async def _settle_last(batch: list[StreamEvent], tab: Tab) -> None:
    """Hold the events with the last `Finished` back until they are paid for."""
    meter = tab.meter
    assert meter is not None
    assert meter.usage is not None
    total = tab.with_earlier_rounds(meter.usage)
    if total is not meter.usage:
        # Before the settlement: what is kept of the answer says so too.
        _put_usage(batch, total)
    usage = await tab.settle(meter.usage, meter.reason)
    if usage is not meter.usage:
        _put_usage(batch, usage)


def _put_usage(events: list[StreamEvent], usage: Usage) -> None:
    """Put it on the last `Finished` of `events`."""
    for i in range(len(events) - 1, -1, -1):
        if isinstance(events[i], Finished):
            events[i] = msgspec.structs.replace(events[i], usage=usage)
            return
