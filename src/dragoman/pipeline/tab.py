"""One request's tab: opened when its key is known, and closed exactly once, by whichever door it leaves.

The pipeline holds money on it, tells it what is asked and what is produced, and settles it when the
answer is whole: before the client is shown the end. Everyone else who lets go of a request calls
`close`, which does nothing where that has happened.

What closes it, and what is charged:

- the answer is whole: actual usage
- the client went away: what was produced until then, counted by us
- we or the provider failed, were too late, or the server stops: nothing
- it was refused before any model was asked: nothing; the refusal is noted
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Literal

import msgspec

from dragoman.chat import NO_CONTEXT, ChatRequest, FinishReason, NanoUSD, Usage
from dragoman.errors import DragomanError, FirstTokenTimeout
from dragoman.pipeline.metering import Meter, sum_usage
from dragoman.policy.idempotency import AnswerKeeper, Replay, make_claim, read_answer
from dragoman.policy.interactions.keeping import Conversation
from dragoman.policy.limits import Admission, Limiter, TokenAsk
from dragoman.policy.prices import PriceBook
from dragoman.policy.routing import estimate_input_tokens
from dragoman.ports import Accounting, Clock, Dialect, Keep
from dragoman.records.hold import Hold, HoldAsk, Quote
from dragoman.records.idempotency import Claim
from dragoman.records.model import Model
from dragoman.records.price import MILLION, Price
from dragoman.records.principal import Principal
from dragoman.records.usage_record import NO_USAGE, Attempt, UsageRecord, UsageStatus

CHECKPOINT_EVERY_S = 1.0
MAX_NAME_CHARS = 200
"""Of what a client calls a model or its user."""

WhyLeft = Literal["client_gone", "server_stops", "failed"]


class Books(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that a request is counted in."""

    accounting: Accounting
    limiter: Limiter
    prices: PriceBook


class Arrival(msgspec.Struct, frozen=True, kw_only=True):
    """When a request came, by both clocks, and the id it was given."""

    request_id: str
    monotonic_s: float
    unix_s: float


class Tab:
    """Belongs to the task that answers the request."""

    __slots__ = (
        "_accounting",
        "_asked_s",
        "_attempts",
        "_checked_s",
        "_claim",
        "_clock",
        "_earlier_cost_micro",
        "_earlier_usage",
        "_first_token_s",
        "_hold",
        "_intent",
        "_is_asking",
        "_is_closed",
        "_is_holding",
        "_left",
        "_limiter",
        "_model",
        "_price",
        "_prices",
        "_targets",
        "admission",
        "arrival",
        "conversation",
        "dialect",
        "error",
        "input_tokens",
        "keeper",
        "meter",
        "principal",
        "project",
        "request",
        "round_request",
        "session_id",
    )

    def __init__(
        self,
        books: Books,
        clock: Clock,
        principal: Principal,
        arrival: Arrival,
        dialect: Dialect,
    ) -> None:
        self._accounting = books.accounting
        self._limiter = books.limiter
        self._clock = clock
        self.principal = principal
        self.arrival = arrival
        self.dialect = dialect
        self.admission: Admission | None = None
        self.request: ChatRequest | None = None
        """As far as it is known yet."""
        self.error: DragomanError | None = None
        """What the client is told instead of an answer."""
        self.project = principal.project
        """Key of the project that is asked; else what the key says."""
        self.conversation: Conversation | None = None
        """Gathers what is kept of a request to a project."""
        self.session_id = ""
        self.input_tokens: int | None = None
        """Of the prompt, counted or guessed, where that was needed."""
        self.round_request: ChatRequest | None = None
        """With all that was said before this round, where there are several."""
        self.keeper: AnswerKeeper | None = None
        """Gathers the answer, where it is to be given again."""
        self._claim: Claim | None = None
        self._targets: tuple[Model, ...] = ()
        self._prices: tuple[Price | None, ...] = ()
        self._price: Price | None = None
        """The one that the target asked last is charged at."""
        self._hold: Hold | None = None
        self._intent: UsageRecord | None = None
        self._is_holding = False
        self._left: tuple[WhyLeft, int] | None = None
        self._is_closed = False
        self._model: Model | None = None
        self._is_asking = False
        self.meter: Meter | None = None
        self._attempts: tuple[Attempt, ...] = ()
        self._earlier_usage: Usage | None = None
        """Of rounds that have ended, where there are several."""
        self._earlier_cost_micro = 0
        """Of the same, before it is rounded."""
        self._asked_s = 0.0
        self._first_token_s: float | None = None
        self._checked_s = 0.0

    def rate_headers(self) -> list[tuple[bytes, bytes]]:
        """What the client is told of its limits, as they stand now."""
        if self.admission is None:
            return self._limiter.peek(self.principal).headers
        return self.admission.headers()

    # --- Before a model is asked ---

    async def claim(self, idempotency_key: str, body_hash: bytes) -> Replay | None:
        """Take the right to run, or return what was answered to the same before. Raises `Conflict`."""
        request_id = self.arrival.request_id
        claim = make_claim(
            self.principal.key_id, idempotency_key, body_hash, request_id, self.arrival.unix_s
        )
        kept = await self._accounting.claim(claim)
        if kept is not None:
            return read_answer(kept, request_id)
        self._claim = claim
        self.keeper = AnswerKeeper()
        return None

    def replay(self, replay: Replay) -> None:
        """The request is given an earlier one's answer, and costs nothing."""
        self._is_closed = True
        self._release(0)
        self._note("replayed", 200, model=replay.head.model)

    def enter(self) -> None:
        """Count the request among its key's and its account's. Raises `RateLimited`."""
        self.admission = self._limiter.admit(self.principal)

    @property
    def is_token_limited(self) -> bool:
        return self.admission is not None and self.admission.limited.is_token_limited

    def token_room(self) -> int | None:
        """How many tokens may still be reserved; `None`: any number."""
        assert self.admission is not None
        return self._limiter.token_room(self.admission)

    def reserve(self, size: TokenAsk) -> int:
        """Set the request's tokens aside, and return how long each choice may get. Raises `RateLimited`."""
        assert self.admission is not None
        limit = self._limiter.fit(self.admission, size)
        return size.longest_output_tokens if limit is None else limit

    async def hold(
        self, quote: Quote, targets: tuple[Model, ...], prices: tuple[Price | None, ...]
    ) -> Hold:
        """Set aside what `quote` says. Raises `InsufficientCredits` or `StoreUnavailable`."""
        self._targets = targets
        self._prices = prices
        self._intent = intent = self._describe()
        ask = HoldAsk(account=self.principal.account, quote=quote, intent=intent)
        held = self._accounting.hold_now(ask)
        if held is None:
            held = await self._hold_from_database(ask)
        self._hold = held
        return held

    async def _hold_from_database(self, ask: HoldAsk) -> Hold:
        asking = asyncio.ensure_future(self._accounting.hold(ask))
        try:
            return await asyncio.shield(asking)
        except asyncio.CancelledError:
            # It may be granted all the same, and then nobody but this tab knows of it.
            self._is_holding = True
            asking.add_done_callback(self._give_back)
            raise

    def _give_back(self, asking: asyncio.Future[Hold]) -> None:
        """The request was left while its hold was under way."""
        self._is_holding = False
        if not asking.cancelled() and asking.exception() is None:
            self._hold = asking.result()
        if self._left is not None:
            self.close(*self._left)

    def _describe(self) -> UsageRecord:
        """What is known before a model is asked; the worst end is assumed."""
        principal = self.principal
        request = self.request
        context = request.context if request is not None else NO_CONTEXT
        asked = request.target if request is not None else None
        user = context.user
        return UsageRecord(
            request_id=self.arrival.request_id,
            account_id=principal.account.id,
            key_id=principal.key_id,
            project=self.project,
            dialect=self.dialect.name,
            model_asked=asked[:MAX_NAME_CHARS] if asked is not None else None,
            is_stream=request is not None and request.stream,
            started_s=self.arrival.unix_s,
            status="interrupted",
            session_id=self.session_id or context.session_id,
            user=user[:MAX_NAME_CHARS] if user is not None else None,
            labels=context.labels,
            tags=context.tags,
        )

    # --- While targets are asked ---

    def begin_attempt(self, model: Model) -> None:
        self._model = model
        self._price = self._prices[self._targets.index(model)]
        self._is_asking = True
        self.meter = None
        self._first_token_s = None
        self._asked_s = self._clock.monotonic_s()
        if self.conversation is not None:
            self.conversation.begin()

    def end_attempt(self, error: str) -> None:
        """The target has failed, for the reason of that code."""
        self._attempts += (self._attempt(error),)
        self._is_asking = False

    @property
    def model(self) -> Model:
        """The target that was asked last."""
        assert self._model is not None
        return self._model

    def show(self) -> None:
        """The client is shown now what the target has produced earlier."""
        self._first_token_s = self._clock.monotonic_s()

    def finish(self, reason: FinishReason) -> None:
        """The client is told this reason, whatever the target's own was."""
        if self.meter is not None:
            self.meter.reason = reason

    def end_round(self) -> None:
        """The target has answered, and a model is asked again: what this round used is added to the request's."""
        meter, price = self.meter, self._price
        assert meter is not None
        assert meter.usage is not None, "a round ends with its answer"
        self._earlier_usage = self.with_earlier_rounds(meter.usage)
        if price is not None:
            self._earlier_cost_micro += price.cost_micro(meter.usage)
        self._attempts += (self._attempt(None),)
        self._is_asking = False
        self.meter = None
        # The next prompt is a longer one.
        self.input_tokens = None
        if self._hold is not None:
            self._accounting.checkpoint(self._hold, self._earlier_usage)

    def with_earlier_rounds(self, usage: Usage) -> Usage:
        """What the request has used, with `usage` in its last round; the same where that is the only one."""
        earlier = self._earlier_usage
        return usage if earlier is None else sum_usage(earlier, usage)

    def _cost(self, usage: Usage) -> NanoUSD | None:
        """What the request costs, with `usage` in its last round: rounded down once. `None`: nothing has a price."""
        price = self._price
        if self._earlier_usage is None:
            return None if price is None else price.cost(usage)
        micro = self._earlier_cost_micro
        if price is not None:
            micro += price.cost_micro(usage)
        elif not micro:
            return None
        return NanoUSD(micro // MILLION)

    def _attempt(self, error: str | None) -> Attempt:
        model = self._model
        assert model is not None
        return Attempt(
            model=model.id,
            provider=model.provider,
            total_ms=_ms(self._clock.monotonic_s() - self._asked_s),
            error=error,
        )

    def watch(self, meter: Meter) -> None:
        """`meter` counts what the target produces."""
        self.meter = meter

    @property
    def is_closed(self) -> bool:
        return self._is_closed

    @property
    def is_whole(self) -> bool:
        """Whether the answer has come to its end, and waits to be settled."""
        meter = self.meter
        return meter is not None and meter.is_whole and not self._is_closed

    def progressed(self, *, has_token: bool) -> None:
        """More was produced: keep count of it, once a second, should the process die."""
        now_s = self._clock.monotonic_s()
        if self._first_token_s is None:
            if not has_token:
                return
            self._first_token_s = now_s
        elif now_s - self._checked_s < CHECKPOINT_EVERY_S:
            return
        self._checked_s = now_s
        if self._hold is not None and not self.is_whole:
            self._accounting.checkpoint(self._hold, self.with_earlier_rounds(self._produced()))

    def _produced(self) -> Usage:
        """What there is so far, by our own count, unless the provider has told."""
        meter = self.meter
        if meter is None:
            return NO_USAGE
        if meter.usage is not None:
            return meter.usage
        produced = meter.produced_tokens()
        return self._estimated(produced) if produced else NO_USAGE

    def _estimated(self, output_tokens: int) -> Usage:
        if self.input_tokens is None:
            asked = self.round_request or self.request
            assert asked is not None
            self.input_tokens = estimate_input_tokens(asked)
        return Usage(input_tokens=self.input_tokens, output_tokens=output_tokens, is_estimated=True)

    # --- Leaving ---

    async def settle(self, usage: Usage, finish_reason: str | None) -> Usage:
        """Charge for a whole answer, whose last round used `usage`. Returns once that is durable, with all that
        was used and what it cost.

        Raises `StoreUnavailable` where it cannot be made durable: the answer must not be given then.
        """
        is_only_round = self._earlier_usage is None
        price = self._price
        if is_only_round:
            cost = None if price is None else price.cost(usage)
        else:
            cost = self._cost(usage)
        answer = self.keeper.answer(cost) if self.keeper is not None else None
        kept = await self._settle(
            "ok", usage, cost, finish_reason=finish_reason, http_status=200, answer=answer
        )
        if not is_only_round:
            usage = self.with_earlier_rounds(usage)
        if cost is None:
            return usage
        return msgspec.structs.replace(usage, cost_nano_usd=kept.cost_nano_usd)

    def close(self, why: WhyLeft, http_status: int) -> None:
        """The request leaves without a whole answer, unless it was settled. Waits for nothing."""
        if self._is_closed:
            return
        if self._is_holding:
            self._left = (why, http_status)
        elif self._hold is None:
            self._refuse(http_status)
        elif why == "client_gone" and self.error is None:
            # Once a target was asked it has the prompt, and its provider bills for that.
            usage = self._produced()
            if usage is NO_USAGE and self._is_asking:
                usage = self._estimated(0)
            self._settle("client_gone", usage, self._cost(usage), http_status=http_status)
        else:
            code = "draining" if why == "server_stops" else "internal"
            if self.error is not None:
                code = self.error.code
            self._settle("failed", self._produced(), None, error=code, http_status=http_status)

    def _refuse(self, http_status: int) -> None:
        self._is_closed = True
        self._release(0)
        if self._claim is not None:
            self._accounting.give_up(self._claim)
        if self.error is not None and self.error.blame == "client":
            self._note("refused", http_status, error=self.error.code)

    def _note(
        self,
        status: UsageStatus,
        http_status: int,
        *,
        error: str | None = None,
        model: str | None = None,
    ) -> None:
        record = msgspec.structs.replace(
            self._describe(),
            status=status,
            error=error,
            http_status=http_status,
            model=model,
            total_ms=self.since_arrival_ms(),
        )
        self._accounting.note(record)

    def _settle(
        self,
        status: UsageStatus,
        usage: Usage,
        cost: NanoUSD | None,
        *,
        finish_reason: str | None = None,
        error: str | None = None,
        http_status: int = 0,
        answer: bytes | None = None,
    ) -> Awaitable[UsageRecord]:
        """The one place where a hold ends; `usage` is the last round's, `cost` the whole request's."""
        hold, intent, model = self._hold, self._intent, self._model
        assert hold is not None
        assert intent is not None
        if self._earlier_usage is not None:
            usage = self.with_earlier_rounds(usage)
        self._is_closed = True
        price = self._price
        attempts = self._attempts
        if self._is_asking and (attempts or error is not None):
            attempts += (self._attempt(error),)
        arrived_s, first_token_s = self.arrival.monotonic_s, self._first_token_s
        record = msgspec.structs.replace(
            intent,
            model=model.id if model is not None else None,
            provider=model.provider if model is not None else None,
            usage=usage,
            cost_nano_usd=NanoUSD(0) if cost is None else cost,
            hold_nano_usd=hold.amount,
            price_id=price.id if price is not None else None,
            queued_ms=_ms(self._asked_s - arrived_s) if model is not None else None,
            first_token_ms=_ms(first_token_s - arrived_s) if first_token_s is not None else None,
            total_ms=self.since_arrival_ms(),
            status=status,
            finish_reason=finish_reason,
            http_status=http_status,
            error=error,
            attempts=attempts,
        )
        keep = None if self.conversation is None else self._keep(self.conversation)
        settled = self._accounting.settle(hold, record, claim=self._claim, answer=answer, keep=keep)
        self._release(usage.total_tokens)
        return settled

    def _keep(self, conversation: Conversation) -> Keep | None:
        """What makes the rows of a request to a project, unless that was refused, by a target say."""
        error = self.error
        if error is not None and error.blame == "client" and error.code != FirstTokenTimeout.code:
            return None
        return conversation.keep()

    def _release(self, tokens: int) -> None:
        if self.admission is not None:
            self._limiter.finish(self.admission, tokens)

    def since_arrival_ms(self) -> float:
        """How long the request has been under way."""
        return _ms(self._clock.monotonic_s() - self.arrival.monotonic_s)


def _ms(seconds: float) -> float:
    # A microsecond's precision; `round` costs several times as much.
    return int(seconds * 1_000_000 + 0.5) / 1000
