"""What a model's tokens cost at a moment.

A price that was set over the API is in force from its own moment on, and beats the one that the
configuration gives; that one beats a public price list. What configuration and list give holds as long as it
is given: it is written to the repository when it is first seen, so that the id on a usage record always
leads to the price that the request was charged at.

The book holds all of it in memory, and is loaded anew when the repository's generation has moved.
"""

from __future__ import annotations

import asyncio
import secrets
import string
from collections.abc import Iterable, Sequence
from typing import Protocol

from dragoman.errors import Conflict
from dragoman.ports import Clock, PriceRepository
from dragoman.records.given_price import GivenPrice
from dragoman.records.hold import WorstRate
from dragoman.records.price import Price, PriceId

# As for keys: should the generation not tell of a change, this bounds the delay.
MAX_AGE_S = 30.0
# Two processes may write a price at one moment, which a model has one of; far fewer than so many do.
MAX_COLLISIONS = 100
COLLISION_STEP_S = 0.00001
# What a price list says of the future begins a little after midnight, when nobody's own prices do.
LISTED_OFFSET_S = 0.001
# How many times as long as guessed a prompt may be. The guess is a token for every three bytes: too many for most
# texts, and too few for the densest of scripts.
GUESS_ERROR = 1.5

_LOWER_ALPHANUMERIC = string.ascii_lowercase + string.digits
Timeline = tuple[tuple[float, Price], ...]
"""What beats others first; among equals, the latest first. Each with the moment it is in force from."""

_NOTHING = WorstRate(0, 0)


class HasPrice(Protocol):
    """A model, as far as prices are concerned."""

    @property
    def id(self) -> str: ...


def mint_price_id() -> PriceId:
    return PriceId("price_" + "".join(secrets.choice(_LOWER_ALPHANUMERIC) for _ in range(20)))


class PriceBook:
    """The prices of all models. Belongs to one event loop.

    The caller keeps it fresh: `if book.is_stale(): await book.refresh()`. The first refresh writes what
    `given` has that the repository has not, so nothing may be asked before it.
    """

    __slots__ = (
        "_clock",
        "_generation",
        "_given",
        "_identified",
        "_loaded_s",
        "_refreshing",
        "_repository",
        "_timelines",
    )

    def __init__(
        self, repository: PriceRepository, clock: Clock, given: Sequence[GivenPrice] = ()
    ) -> None:
        self._repository = repository
        self._clock = clock
        self._given = tuple(given)
        self._timelines: dict[str, Timeline] = {}
        # Found or written once: two servers that are given different prices must not take turns.
        self._identified: dict[GivenPrice, Price] = {}
        self._generation: int | None = None
        self._loaded_s = 0.0
        self._refreshing = asyncio.Lock()

    def is_stale(self) -> bool:
        """Whether prices may have changed, in any process, since they were loaded. No I/O."""
        return (
            self._generation != self._repository.generation()
            or self._clock.monotonic_s() - self._loaded_s > MAX_AGE_S
        )

    async def refresh(self) -> None:
        """Load the prices, in a thread; callers who come meanwhile share one load.

        Raises what the repository raises; the book then stays stale, and as it was.
        """
        async with self._refreshing:
            if not self.is_stale():
                return
            started_s = self._clock.monotonic_s()
            generation, self._timelines = await asyncio.to_thread(self._load)
            self._generation = generation
            self._loaded_s = started_s

    def price(self, model: HasPrice, at_s: float) -> Price | None:
        """What a request that comes at `at_s` is charged; `None`: nothing is known of the model."""
        for from_s, price in self._timelines.get(model.id, ()):
            if from_s <= at_s:
                return price
        return None

    def worst_rate(self, price: Price | None, input_tokens: int, choices: int) -> WorstRate:
        """The most that a request can cost whose prompt is guessed to have `input_tokens`.

        Whether its tokens are cached is known afterwards only, so the dearest kind counts. A prompt that is longer
        than guessed may reach the next tier, all of its tokens: so every tier counts that is reached by `GUESS_ERROR`
        times as many. What is beyond even that is found at the settlement.
        """
        if price is None:
            return _NOTHING
        tiers = price.tiers
        tier = tiers[0]
        dearest_input = max(tier.input, tier.cached_input, tier.cache_write)
        dearest_output = tier.output
        if len(tiers) > 1:
            reach = input_tokens * GUESS_ERROR
            for tier in tiers[1:]:
                if tier.above_input_tokens >= reach:
                    break
                dearest_input = max(dearest_input, tier.input, tier.cached_input, tier.cache_write)
                dearest_output = max(dearest_output, tier.output)
        return WorstRate(input_tokens * dearest_input, choices * dearest_output)

    def in_force(self, at_s: float) -> list[Price]:
        """Of each model that has one, by its id; also of models that are not configured any more."""
        prices = []
        for _, timeline in sorted(self._timelines.items()):
            prices += [price for from_s, price in timeline if from_s <= at_s][:1]
        return prices

    def unpriced(self, models: Iterable[HasPrice], at_s: float) -> list[str]:
        """Ids of those of `models` whose use is charged nothing because no price is known."""
        return [model.id for model in models if self.price(model, at_s) is None]

    def overridden(self, at_s: float) -> list[str]:
        """Ids of models whose configured price is not in force, because one was set over the API."""
        configured = {given.model for given in self._given if given.source == "config"}
        return [
            price.model
            for price in self.in_force(at_s)
            if price.source == "api" and price.model in configured
        ]

    def _load(self) -> tuple[int, dict[str, Timeline]]:
        """In a thread: the generation, and the timelines as they are at it or later."""
        generation = self._repository.generation()
        kept = self._repository.list_prices()
        now_s = self._clock.unix_s()
        given = self._given_now(now_s)
        unknown = [one for one in given if one not in self._identified]
        if unknown:
            for one in unknown:
                self._identified[one] = self._find(kept, one, now_s) or self._add(one, now_s)
            generation = self._repository.generation()
            kept = self._repository.list_prices()
        timelines: dict[str, list[tuple[float, Price]]] = {}
        for price in reversed(kept):
            if price.source == "api":
                timelines.setdefault(price.model, []).append((price.valid_from_s, price))
        for one in reversed(given):
            price = self._identified[one]
            from_s = one.from_s + LISTED_OFFSET_S if one.from_s > now_s else 0.0
            timelines.setdefault(price.model, []).append((from_s, price))
        return generation, {model: tuple(line) for model, line in timelines.items()}

    def _given_now(self, now_s: float) -> list[GivenPrice]:
        """What is given and holds now or will, by model, the earliest first."""
        configured = {one.model for one in self._given if one.source == "config"}
        chosen: dict[str, list[GivenPrice]] = {}
        for one in sorted(self._given, key=lambda one: one.from_s):
            if one.source != "config" and one.model in configured:
                continue
            line = chosen.setdefault(one.model, [])
            if one.from_s <= now_s:
                line.clear()
            line.append(one)
        return [one for line in chosen.values() for one in line]

    def _find(self, kept: Sequence[Price], given: GivenPrice, now_s: float) -> Price | None:
        """The price among `kept` that is `given`, from the same moment on."""
        rows = [row for row in kept if row.model == given.model and row.source == given.source]
        if given.from_s > now_s:
            later = [row for row in rows if row.valid_from_s >= given.from_s]
            return later[0] if later and later[0].tiers == given.tiers else None
        found = None
        for row in reversed([row for row in rows if row.valid_from_s <= now_s]):
            # Processes that start at one moment write it several times: all take the first.
            if row.tiers != given.tiers:
                break
            found = row
        return found

    def _add(self, given: GivenPrice, now_s: float) -> Price:
        from_s = given.from_s + LISTED_OFFSET_S if given.from_s > now_s else now_s
        for _ in range(MAX_COLLISIONS):
            price = Price(
                id=mint_price_id(),
                model=given.model,
                valid_from_s=from_s,
                source=given.source,
                tiers=given.tiers,
            )
            try:
                self._repository.add_price(price)
            except Conflict:
                found = self._find(self._repository.list_prices(), given, now_s)
                if found is not None:
                    return found
                from_s += COLLISION_STEP_S
            else:
                return price
        raise Conflict(f"the price of {given.model} is changed by too many at once")
