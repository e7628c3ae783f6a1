"""The books in memory: `ports.Accounting` as the ledger keeps it, without a disk, for tests of the request's path.

It checks what the port promises and asks: each hold is ended once, nothing is held beyond the balance, and
what is settled costs what was held and is free at most.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

import msgspec

from dragoman.chat import NanoUSD, Usage
from dragoman.errors import Conflict, StoreUnavailable
from dragoman.ports.accounting import Keep
from dragoman.records.hold import Hold, HoldAsk
from dragoman.records.idempotency import Claim, KeptAnswer
from dragoman.records.interaction import Interaction
from dragoman.records.usage_record import CHARGED, UsageRecord


class FakeAccounting:
    """`balances` has what is free of each prepaid account, by id."""

    def __init__(self, **balances: int) -> None:
        self.free = dict(balances)
        self.settled: list[UsageRecord] = []
        self.noted: list[UsageRecord] = []
        self.checkpoints: list[Usage] = []
        self.asks: list[HoldAsk] = []
        self.answers: list[bytes | None] = []
        self.interactions: list[Interaction] = []
        self.open_holds: dict[str, Hold] = {}
        self.is_asked_first = False
        """Holds come from the database only."""
        self.hold_gate: asyncio.Event | None = None
        self.settle_gate: asyncio.Event | None = None
        """Nothing is durable before it is open."""
        self.was_asked = asyncio.Event()
        """A hold was asked of the database."""
        self.was_settled = asyncio.Event()
        self.takes_writes = True
        self._claims: dict[tuple[str, str], Claim] = {}
        self._kept: dict[tuple[str, str], KeptAnswer] = {}

    def hold_now(self, ask: HoldAsk) -> Hold | None:
        if self.is_asked_first:
            return None
        return self._hold(ask)

    async def hold(self, ask: HoldAsk) -> Hold:
        self.was_asked.set()
        if self.hold_gate is not None:
            await self.hold_gate.wait()
        if not self.takes_writes:
            raise StoreUnavailable(retry_after_s=1)
        return self._hold(ask)

    def _hold(self, ask: HoldAsk) -> Hold:
        account = ask.account
        free = self.free.get(account.id, 0) if account.is_prepaid else None
        amount, limit = ask.quote.fit(free)
        if free is None:
            amount = NanoUSD(0)
        else:
            self.free[account.id] = free - amount
        hold = Hold(
            request_id=ask.intent.request_id,
            account_id=account.id,
            amount=amount,
            max_output_tokens=limit,
            slot=len(self.asks),
        )
        assert hold.request_id not in self.open_holds, "held twice"
        assert ask.intent.status == "interrupted"
        self.asks.append(ask)
        self.open_holds[hold.request_id] = hold
        return hold

    def checkpoint(self, hold: Hold, usage: Usage) -> None:
        assert hold.request_id in self.open_holds, "counted after its end"
        self.checkpoints.append(usage)

    def settle(
        self,
        hold: Hold,
        record: UsageRecord,
        *,
        claim: Claim | None = None,
        answer: bytes | None = None,
        keep: Keep | None = None,
    ) -> Awaitable[UsageRecord]:
        assert self.open_holds.pop(hold.request_id, None) == hold, "settled twice, or never held"
        assert record.request_id == hold.request_id
        cost = record.cost_nano_usd if record.status in CHARGED else NanoUSD(0)
        if hold.account_id in self.free:
            cost = NanoUSD(min(cost, hold.amount + self.free[hold.account_id]))
        if not self.takes_writes:
            record = msgspec.structs.replace(record, status="failed")
            cost = NanoUSD(0)
        if hold.account_id in self.free:
            self.free[hold.account_id] += hold.amount - cost
        kept = msgspec.structs.replace(record, cost_nano_usd=cost)
        self.settled.append(kept)
        self.was_settled.set()
        self.answers.append(answer)
        if keep is not None:
            self.interactions += keep(kept)
        if claim is not None:
            place = (claim.key_id, claim.idempotency_key)
            if answer is not None:
                self._kept[place] = KeptAnswer(request_id=record.request_id, answer=answer)
            elif record.status != "ok":
                self._claims.pop(place, None)
        done: asyncio.Future[UsageRecord] = asyncio.get_running_loop().create_future()
        if self.settle_gate is None:
            self._end(done, kept)
        else:
            self._end_later(done, kept, self.settle_gate)
        return done

    def _end_later(
        self, done: asyncio.Future[UsageRecord], kept: UsageRecord, gate: asyncio.Event
    ) -> None:
        waiting = asyncio.ensure_future(gate.wait())
        waiting.add_done_callback(lambda _: self._end(done, kept))

    def _end(self, done: asyncio.Future[UsageRecord], kept: UsageRecord) -> None:
        if done.done():
            return
        if self.takes_writes:
            done.set_result(kept)
        else:
            done.set_exception(StoreUnavailable(retry_after_s=1))
            # It may be left alone.
            done.exception()

    async def claim(self, claim: Claim) -> KeptAnswer | None:
        place = (claim.key_id, claim.idempotency_key)
        other = self._claims.setdefault(place, claim)
        if other is claim:
            return None
        if other.body_hash != claim.body_hash:
            raise Conflict("The Idempotency-Key was used with another body.")
        kept = self._kept.get(place)
        if kept is None:
            raise Conflict("A request with this Idempotency-Key still runs.", retry_after_s=1)
        return kept

    def give_up(self, claim: Claim) -> None:
        self._claims.pop((claim.key_id, claim.idempotency_key), None)

    def note(self, record: UsageRecord) -> None:
        self.noted.append(record)
