"""One account within one write transaction: the rules by which money moves.

No SQL and no clock: the numbers are read before, and written after. Invariants, for each account:
what is free and what processes have leased is never below 0; what is free, leased and charged is what was
topped up; for a limited month, what is charged in it and leased is at most the limit.
"""

from __future__ import annotations

from collections.abc import Callable

from dragoman.chat import NanoUSD
from dragoman.errors import InsufficientCredits
from dragoman.records.account import Account
from dragoman.records.hold import Quote
from dragoman.stores.ledger.purse import Backing, Purse
from dragoman.stores.months import Month, first_day

EXACT_BELOW_SLICES = 8
EXACT_UNTIL_SLICES = 16
"""For each process. Below the first no process keeps a slice; above the second they do again."""
SHARE_OF_AVAILABLE = 8
"""A slice is at most this part of what is available."""


class AccountBook:
    __slots__ = (
        "_charged_in",
        "_month",
        "account",
        "charged",
        "free",
        "has_holds",
        "is_exact",
        "month",
        "month_spent",
        "net",
        "others",
        "own",
        "own_before",
        "purses",
        "spent_before",
        "total_before",
    )

    def __init__(
        self,
        account: Account,
        balance: tuple[int, bool, int, int],
        own: list[int],
        others: int,
        charged_in: Callable[[Month], int],
    ) -> None:
        self.account = account
        self.free, self.is_exact, self.month, self.month_spent = balance
        self.own = own
        """What this process has leased, by `Backing`: slices and holds."""
        self.own_before = tuple(own)
        self.others = others
        """What all other processes have leased."""
        self.net = [0, 0]
        """What moved into `held` within this transaction, by `Backing`; below 0 what moved out."""
        self.charged = 0
        self.has_holds = False
        self.purses: dict[Backing, Purse] = {}
        """Those that this transaction touches. What goes to one is `arriving` there until the commit."""
        self.total_before = self.free + sum(own) + others
        self.spent_before = self.month_spent
        self._charged_in = charged_in
        self._month: Month | None = None

    def available(self, backing: Backing, month: Month) -> int | None:
        """What a request that came in `month` could hold; `None`: anything."""
        self._month = month
        room = self._room(month)
        if backing is Backing.HOUSE:
            return room
        return self.free if room is None else min(self.free, room)

    def take(self, backing: Backing, amount: int) -> None:
        """Lease `amount` to this process."""
        if backing is Backing.FREE:
            self.free -= amount
        self.own[backing] += amount
        self.net[backing] += amount

    def give(self, backing: Backing, amount: int) -> None:
        """Take `amount` back that this process has leased."""
        if backing is Backing.FREE:
            self.free += amount
        self.own[backing] -= amount
        self.net[backing] -= amount

    def hold(self, backing: Backing, quote: Quote, month: Month) -> tuple[NanoUSD, int | None]:
        """Hold what `quote` needs; returns it and the output limit. Raises `InsufficientCredits`.

        The purse of this process has to be empty, so that its slice can be held too.
        """
        self.has_holds = True
        available = self.available(backing, month)
        try:
            amount, limit = quote.fit(available)
        except InsufficientCredits as error:
            if backing is Backing.FREE and available == self.free:
                raise
            raise self._month_is_full(quote, available or 0, month) from error
        self.take(backing, amount)
        return amount, limit

    def others_could_help(self, backing: Backing, quote: Quote, month: Month) -> bool:
        """Whether `quote` would fit if other processes gave back all that they have leased."""
        available = self.available(backing, month)
        try:
            quote.fit(None if available is None else available + self.others)
        except InsufficientCredits:
            return False
        return True

    def settle(self, purse: Purse, held: int, wanted: int, month: Month) -> int:
        """End a hold of `held` with a charge of at most `wanted`; returns the charge."""
        self._month = month
        backing = purse.backing
        charge = wanted
        if wanted > held:
            available = self.available(backing, month)
            if available is not None:
                charge = held + min(wanted - held, available)
        if backing is Backing.HOUSE:
            self.give(backing, min(charge, held))
        else:
            if charge > held:
                self.take(backing, charge - held)
            self.own[backing] -= charge
        if charge < held:
            purse.arriving += held - charge
        self._turn_to(month)
        if month.number == self.month:
            self.month_spent += charge
        self.charged += charge
        return charge

    def finish(self, slice_nano_usd: int, workers: int) -> bool:
        """Decide who keeps slices from here on; returns whether the others have to return theirs.

        What is `arriving` in a purse stays leased, up to two slices, unless the account is exact.
        """
        month = self._month
        must_return = False
        for backing, purse in self.purses.items():
            if month is None:
                # Slices only came back.
                continue
            available = self.available(backing, month) or 0
            if self.is_exact:
                most_exact = EXACT_UNTIL_SLICES * workers * slice_nano_usd
                self.is_exact = available <= most_exact
            elif self.has_holds and available < EXACT_BELOW_SLICES * workers * slice_nano_usd:
                self.is_exact = must_return = True
            self._fill(purse, available, slice_nano_usd)
            purse.available = self.available(backing, month) or 0
            purse.month_from_s, purse.month_to_s = month.from_s, month.to_s
        return must_return

    def _fill(self, purse: Purse, available: int, slice_nano_usd: int) -> None:
        most = 0 if self.is_exact else max(0, 2 * slice_nano_usd - purse.unspent)
        if purse.arriving > most:
            self.give(purse.backing, purse.arriving - most)
            purse.arriving = most
        if self.has_holds and not self.is_exact:
            missing = slice_nano_usd - purse.unspent - purse.arriving
            extra = min(missing, available // SHARE_OF_AVAILABLE)
            if extra > 0:
                self.take(purse.backing, extra)
                purse.arriving += extra

    def _room(self, month: Month) -> int | None:
        limit = self.account.monthly_limit_nano_usd
        if limit is None:
            return None
        self._turn_to(month)
        # A request that came just before the boundary, and is held after the first one of the next month.
        spent = self.month_spent if month.number == self.month else self._charged_in(month)
        return max(0, limit - spent - sum(self.own) - self.others)

    def _turn_to(self, month: Month) -> None:
        if month.number > self.month:
            self.month, self.month_spent, self.spent_before = month.number, 0, 0

    def _month_is_full(self, quote: Quote, available: int, month: Month) -> InsufficientCredits:
        limit = self.account.monthly_limit_nano_usd or 0
        zone = self.account.time_zone
        largest = quote.affordable_tokens(available) or 0
        asked = quote.asked_output_tokens
        remedy = ""
        if asked is not None and 1 <= largest < asked:
            remedy = f" The largest maximum that it still allows is {largest} output tokens."
        return InsufficientCredits(
            f"The monthly limit of {dollars(limit)} is reached; it starts anew on"
            f" {first_day(zone, month.to_s)} ({zone}).{remedy}",
            param="max_tokens" if remedy else None,
        )


def dollars(nano_usd: int) -> str:
    """Exactly: `$12.50`, `$0.000000001`."""
    whole, fraction = divmod(nano_usd, 1_000_000_000)
    digits = f"{fraction:09d}"
    return f"${whole}.{digits[:2]}{digits[2:].rstrip('0')}"
