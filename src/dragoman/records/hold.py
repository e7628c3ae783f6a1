"""What a request may cost at most, and what is set aside for it.

A hold covers the dearest of a request's targets at its worst price, so that what was let in can be
paid for. Where the client named no maximum, the balance decides how long the answer may get.
"""

from __future__ import annotations

import msgspec

from dragoman.chat import NanoUSD
from dragoman.errors import InsufficientCredits
from dragoman.records.account import Account, AccountId
from dragoman.records.price import MILLION
from dragoman.records.usage_record import UsageRecord

SHORT_ANSWER_TOKENS = 1024
"""Where a quarter of the balance buys less than this, an answer may use all of the balance."""
LEAST_ANSWER_TOKENS = 16
"""A shorter answer than this is not worth beginning."""


class WorstRate(msgspec.Struct, frozen=True):
    """One target's worst price for one request, in millionths of a nano-USD."""

    input_micro: int
    """The whole prompt at the dearest of the input prices."""
    output_micro: int
    """For each token of the output limit, over all choices."""

    def cost(self, output_tokens: int) -> NanoUSD:
        """Rounded up: a hold must not be short by a fraction."""
        return NanoUSD(-(-(self.input_micro + output_tokens * self.output_micro) // MILLION))


class Quote(msgspec.Struct, frozen=True, kw_only=True):
    """A request's worst prices, one for each of its targets."""

    rates: tuple[WorstRate, ...] = ()
    asked_output_tokens: int | None = None
    """The client's own maximum, for each choice."""
    output_bound: int | None = None
    """The most that any target can produce for each choice, where that is known."""

    @property
    def is_free(self) -> bool:
        for rate in self.rates:  # noqa: SIM110 - a generator costs each request more than the rest
            if rate.input_micro or rate.output_micro:
                return False
        return True

    def cost(self, output_tokens: int) -> NanoUSD:
        """At the dearest target."""
        return max((rate.cost(output_tokens) for rate in self.rates), default=NanoUSD(0))

    @property
    def longest_output_tokens(self) -> int | None:
        """The output limit where the money is without bound, as `fit` says it."""
        if self.asked_output_tokens is not None or self.is_free:
            return self.asked_output_tokens
        return self.output_bound

    def affordable_tokens(self, free: int) -> int | None:
        """The longest answer, for each choice, that `free` nano-USD pays for; `None`: any length.

        Below 0 where not even the prompt is paid for.
        """
        least: int | None = None
        for rate in self.rates:
            left = free * MILLION - rate.input_micro
            if left < 0:
                return -1
            if rate.output_micro:
                tokens = left // rate.output_micro
                least = tokens if least is None else min(least, tokens)
        return least

    def fit(self, free: int | None) -> tuple[NanoUSD, int | None]:
        """What to hold out of `free` nano-USD (`None`: without bound), and the output limit it pays for.

        The limit is `None` where nothing has to be cut. Raises `InsufficientCredits`.
        """
        if self.is_free:
            return NanoUSD(0), self.asked_output_tokens
        if self.asked_output_tokens is not None:
            amount = self.cost(self.asked_output_tokens)
            if free is not None and amount > free:
                raise _too_long(self.asked_output_tokens, self.affordable_tokens(free))
            return amount, self.asked_output_tokens
        if free is None:
            bound = self.longest_output_tokens
            return (NanoUSD(0), None) if bound is None else (self.cost(bound), bound)
        limit = self._limit_without_maximum(free)
        if limit is None:
            return self.cost(0), None
        return self.cost(limit), limit

    def _limit_without_maximum(self, free: int) -> int | None:
        whole = self.affordable_tokens(free)
        if whole is not None and whole < min(LEAST_ANSWER_TOKENS, self.output_bound or 16):
            raise InsufficientCredits
        quarter = self.affordable_tokens(free // 4)
        if whole is None or quarter is None:
            # Only the prompt costs anything.
            return self.output_bound
        pays_for = whole if quarter < SHORT_ANSWER_TOKENS else quarter
        return pays_for if self.output_bound is None else min(self.output_bound, pays_for)


def _too_long(asked: int, affordable: int | None) -> InsufficientCredits:
    if affordable is None or affordable < 1:
        return InsufficientCredits()
    return InsufficientCredits(
        f"Insufficient credits for {asked} output tokens: the largest maximum that your balance"
        f" allows is {affordable}. Lower it, or top up your account.",
        param="max_tokens",
    )


class HoldAsk(msgspec.Struct, frozen=True, kw_only=True):
    """A wish to begin a request."""

    account: Account
    quote: Quote
    intent: UsageRecord
    """The record as it stands now, with `status` `interrupted`: what is kept of the request should the
    process die."""


class Hold(msgspec.Struct, frozen=True, kw_only=True):
    """Set aside until it is settled, or its owner process is known dead."""

    request_id: str
    account_id: AccountId
    amount: NanoUSD
    max_output_tokens: int | None
    """For each choice; to be sent to every target, so that it binds. `None`: nothing has to bind."""
    slot: int
    """Where the intent is kept."""
