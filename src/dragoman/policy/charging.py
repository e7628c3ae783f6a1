"""What a request may cost, before it is asked, and what is kept of it afterwards.

A quote is made of the worst case of each target: the whole prompt at the dearest input price, and the
longest answer there can be. Where the client named no maximum, what the quote's payer can carry becomes
one, and is sent to the target, so that it binds.
"""

from __future__ import annotations

from collections.abc import Awaitable, Generator, Sequence

import msgspec

from dragoman.chat import ChatRequest, NanoUSD, Usage
from dragoman.errors import Forbidden
from dragoman.policy.limits import TokenAsk
from dragoman.policy.prices import PriceBook
from dragoman.policy.routing import MIN_GUESSED_LIMIT, estimate_input_tokens, system_prompt_of
from dragoman.ports.accounting import Keep
from dragoman.records.hold import Hold, HoldAsk, Quote, WorstRate
from dragoman.records.idempotency import Claim, KeptAnswer
from dragoman.records.model import Model
from dragoman.records.price import Price
from dragoman.records.usage_record import UsageRecord

ASSUMED_MAX_OUTPUT = 131_072
"""No answer is longer than this where nothing is known of the model's own maximum: as many tokens as the
models with the longest answers give."""


FREE = Quote()
"""Of a request that none of its targets is paid for."""


class InputCount(msgspec.Struct, frozen=True):
    """A prompt's tokens."""

    tokens: int
    is_estimated: bool


def is_charged(price: Price | None) -> bool:
    """Whether anything has to be counted before the request is let in."""
    if price is None:
        return False
    for tier in price.tiers:
        if tier.input or tier.output or tier.cached_input or tier.cache_write:
            return True
    return False


def estimate_input(request: ChatRequest, model: Model) -> InputCount:
    """An upper guess, with the prompt that `model` is given beside the request's own."""
    tokens = estimate_input_tokens(request)
    if model.default_system_prompt is None:
        return InputCount(tokens, is_estimated=True)
    prompt = system_prompt_of(request, model)
    if prompt is not None and request.system_prompt is None:
        # As `estimate_input_tokens` reckons: a turn's frame, and a token for every three bytes.
        tokens += (24 + len(prompt.encode())) // 3 + 1
    return InputCount(tokens, is_estimated=True)


def measure_request(
    request: ChatRequest, targets: Sequence[Model], counts: Sequence[InputCount]
) -> TokenAsk:
    """`counts[i]` is the prompt as `targets[i]` gets it; `request` is as its client wrote it.

    The client's maximum is cut to what any target can give, and there always is an output bound.
    """
    input_tokens = 0
    most: int | None = 0
    longest = 0
    for model, count in zip(targets, counts, strict=True):
        answer = _longest_answer(model, count)
        input_tokens = max(input_tokens, count.tokens)
        most = None if most is None or answer is None else max(most, answer)
        if answer is None:
            answer = ASSUMED_MAX_OUTPUT
        elif model.max_output_tokens is None:
            # What is left of a large context is no length that answers have.
            answer = min(answer, ASSUMED_MAX_OUTPUT)
        longest = max(longest, answer)
    asked = request.max_output_tokens
    if asked is not None and most is not None:
        # A maximum beyond the model's own is cut to it, and must not be paid for.
        asked = min(asked, most)
    return TokenAsk(
        input_tokens=input_tokens,
        choices=request.choices,
        asked_output_tokens=asked,
        output_bound=longest,
    )


def _longest_answer(model: Model, count: InputCount) -> int | None:
    longest = model.max_output_tokens
    context = model.context_tokens
    if context is None:
        return longest
    left = context - count.tokens
    if count.is_estimated and left < MIN_GUESSED_LIMIT:
        # The guess may be too high by all that is left, and so no limit is made of it.
        left = context
    left = max(left, 1)
    return left if longest is None else min(longest, left)


def quote(book: PriceBook, prices: Sequence[Price | None], size: TokenAsk) -> Quote:
    """The worst of each target."""
    return Quote(
        rates=tuple([book.worst_rate(price, size.input_tokens, size.choices) for price in prices]),
        asked_output_tokens=size.asked_output_tokens,
        output_bound=size.output_bound,
    )


class Rounds(msgspec.Struct, frozen=True, kw_only=True):
    """A request that asks its models several times, each time with all that was said before."""

    count: int
    result_tokens: int
    """Of all results of tools together; the worst is that the first round brings them."""
    context_tokens: int | None
    """No prompt is longer; `None`: not known of every target."""

    @property
    def answers(self) -> int:
        """How often an answer's tokens count: each once as an answer, and in every later prompt."""
        return self.count + self.count * (self.count - 1) // 2

    def input_tokens(self, first: int) -> int:
        """Of all prompts together, where the first has so many, without earlier answers."""
        grown = self.count * first + (self.count - 1) * self.result_tokens
        if self.context_tokens is None:
            return grown
        return max(min(grown, self.count * self.context_tokens), first)

    def longest_input(self, first: int, answer: int) -> int:
        """Of the last prompt, with all answers before it: it may reach a dearer tier."""
        longest = first + self.result_tokens + (self.count - 1) * answer
        if self.context_tokens is not None:
            longest = max(min(longest, self.context_tokens), first)
        return longest


def measure_rounds(size: TokenAsk, rounds: Rounds) -> TokenAsk:
    """What all rounds may use together, where `size` is the first: linear in an answer's length."""
    return msgspec.structs.replace(
        size, input_tokens=rounds.input_tokens(size.input_tokens), choices=rounds.answers
    )


def quote_rounds(
    book: PriceBook, prices: Sequence[Price | None], size: TokenAsk, rounds: Rounds
) -> Quote:
    """The worst of all targets: each round may be answered by another one. `size` is the first round."""
    together = rounds.input_tokens(size.input_tokens)
    asked = size.asked_output_tokens
    answer = size.longest_output_tokens if asked is None else asked
    longest = rounds.longest_input(size.input_tokens, answer)
    repeated = rounds.answers - rounds.count
    dearest_input = dearest_output = 0
    for price in prices:
        # Of a single token, at the tier that the last round may reach.
        rate = book.worst_rate(price, longest, 1)
        dearest_input = max(dearest_input, rate.input_micro // longest if longest else 0)
        dearest_output = max(dearest_output, rate.output_micro)
    # One target may be dear to write and another to read, so none of them alone is the worst.
    worst = WorstRate(
        together * dearest_input, rounds.count * dearest_output + repeated * dearest_input
    )
    return Quote(
        rates=(worst,),
        asked_output_tokens=asked,
        output_bound=size.output_bound,
    )


class _Kept:
    """An awaitable that is done already: no task, no future."""

    __slots__ = ("_record",)

    def __init__(self, record: UsageRecord) -> None:
        self._record = record

    def __await__(self) -> Generator[None, None, UsageRecord]:
        yield from ()
        return self._record


class Unaccounted:
    """Implements `ports.Accounting` for a server whose books are shut: grants all, and keeps nothing.

    Nobody who pays is served, because nothing would be taken from their balance.
    """

    def hold_now(self, ask: HoldAsk) -> Hold:
        account = ask.account
        if not account.is_unbounded:
            raise Forbidden(
                "This server runs with its accounting off, and serves no account that has a balance or"
                " a monthly limit."
            )
        return Hold(
            request_id=ask.intent.request_id,
            account_id=account.id,
            amount=NanoUSD(0),
            max_output_tokens=None,
            slot=-1,
        )

    async def hold(self, ask: HoldAsk) -> Hold:
        return self.hold_now(ask)

    def checkpoint(self, hold: Hold, usage: Usage) -> None:  # noqa: ARG002
        return None

    def settle(
        self,
        hold: Hold,  # noqa: ARG002 - the port's signature
        record: UsageRecord,
        *,
        claim: Claim | None = None,  # noqa: ARG002
        answer: bytes | None = None,  # noqa: ARG002
        keep: Keep | None = None,  # noqa: ARG002
    ) -> Awaitable[UsageRecord]:
        return _Kept(record)

    async def claim(self, claim: Claim) -> KeptAnswer | None:  # noqa: ARG002
        raise Forbidden("This server runs with its accounting off, and keeps no answers.")

    def give_up(self, claim: Claim) -> None:  # noqa: ARG002
        return None

    def note(self, record: UsageRecord) -> None:  # noqa: ARG002
        return None
