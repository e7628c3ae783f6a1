"""The purses of this process, and the lock that its event loop and its writer meet at."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence

from dragoman.chat import NanoUSD
from dragoman.errors import InsufficientCredits
from dragoman.records.account import Account, AccountId
from dragoman.records.hold import HoldAsk
from dragoman.stores.ledger.purse import Backing, Purse, backing_of
from dragoman.stores.ledger.shared_words import SharedWords, word_of


class Purses:
    """The lock is held for a few lines at a time, never during I/O."""

    def __init__(self, words: SharedWords, seat: int) -> None:
        self._words = words
        self._seat = seat
        self._lock = threading.Lock()
        self._by_backing: tuple[dict[AccountId, Purse], dict[AccountId, Purse]] = ({}, {})
        self.filled: set[Purse] = set()
        """Those with something unspent."""

    # --- The event loop's ---

    def hold_now(self, ask: HoldAsk, now_s: float) -> tuple[NanoUSD, int | None] | None:
        """Hold from the unspent slice; `None` where it does not do."""
        account = ask.account
        backing = backing_of(account)
        purse = self._by_backing[backing].get(account.id)
        if purse is None or purse.unspent == 0:
            return None
        limit = account.monthly_limit_nano_usd
        if limit is not None and not (
            limit == purse.account.monthly_limit_nano_usd
            and purse.month_from_s <= ask.intent.started_s < purse.month_to_s
        ):
            return None
        with self._lock:
            unspent = purse.unspent
            if purse.seen != self._words.epochs[purse.word]:
                return None
            try:
                amount, cap = ask.quote.fit(purse.available + unspent)
            except InsufficientCredits:
                return None
            if amount > unspent:
                return None
            purse.unspent = unspent - amount
            purse.used_s = now_s
            purse.account = account
            if amount == unspent:
                self._note_level(purse)
        return amount, cap

    def has_unspent(self, account: Account) -> bool:
        purse = self._by_backing[backing_of(account)].get(account.id)
        return purse is not None and purse.unspent > 0

    def put_in(self, account: Account, amount: int) -> None:
        """Undo a `hold_now`."""
        backing = backing_of(account)
        with self._lock:
            purse = self._by_backing[backing][account.id]
            purse.unspent += amount
            self._note_level(purse)

    def to_return(self, now_s: float, idle_s: float) -> list[Purse]:
        """Those whose slices others asked for, and those that nobody used for `idle_s`."""
        epochs = self._words.epochs
        with self._lock:
            return [
                purse
                for purse in self.filled
                if purse.seen != epochs[purse.word] or now_s - purse.used_s > idle_s
            ]

    # --- The writer's ---

    def get_or_make(self, account: Account, backing: Backing) -> Purse:
        purses = self._by_backing[backing]
        purse = purses.get(account.id)
        if purse is None:
            purse = purses[account.id] = Purse(account, backing, word_of(account.id))
        return purse

    def take_all(self, purse: Purse) -> int:
        with self._lock:
            taken, purse.unspent = purse.unspent, 0
        return taken

    def put_back(self, taken: Sequence[tuple[Purse, int]], touched: Iterable[Purse]) -> None:
        """The transaction that took it came to nothing."""
        with self._lock:
            for purse, amount in taken:
                purse.unspent += amount
            for purse in touched:
                purse.arriving = 0
                self._note_level(purse)

    def announce(self, touched: Iterable[Purse]) -> None:
        """Before the commit: whoever reads the database after it has to know of what is `arriving`."""
        with self._lock:
            for purse in touched:
                if not purse.unspent and not purse.arriving:
                    continue
                if purse.unspent == 0:
                    # Not read after the commit: by then another process may have raised it.
                    purse.seen = self._words.epochs[purse.word]
                if not purse.is_counted:
                    self._words.count(self._seat, purse.word, 1)
                    purse.is_counted = True

    def receive(self, touched: Iterable[Purse], now_s: float) -> None:
        """After the commit."""
        with self._lock:
            for purse in touched:
                purse.unspent += purse.arriving
                purse.arriving = 0
                purse.used_s = now_s
                self._note_level(purse)

    def _note_level(self, purse: Purse) -> None:
        if purse.unspent:
            self.filled.add(purse)
            if not purse.is_counted:
                self._words.count(self._seat, purse.word, 1)
                purse.is_counted = True
            return
        self.filled.discard(purse)
        if purse.is_counted and not purse.arriving:
            self._words.count(self._seat, purse.word, -1)
            purse.is_counted = False
