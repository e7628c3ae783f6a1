"""What this process has of one account, in memory: the slice that it may hold from without asking."""

from __future__ import annotations

from enum import IntEnum

from dragoman.records.account import Account


class Backing(IntEnum):
    """Which book stands behind what is held."""

    FREE = 0
    """The account's own balance."""
    HOUSE = 1
    """An account that is not prepaid: only its monthly limit bounds it."""


def backing_of(account: Account) -> Backing:
    return Backing.FREE if account.is_prepaid else Backing.HOUSE


class Purse:
    """The slice of one account out of one book.

    Guarded by the till's lock: the event loop takes from `unspent`, the writer fills it and empties it.
    """

    __slots__ = (
        "account",
        "arriving",
        "available",
        "backing",
        "is_counted",
        "month_from_s",
        "month_to_s",
        "seen",
        "unspent",
        "used_s",
        "word",
    )

    def __init__(self, account: Account, backing: Backing, word: int) -> None:
        self.account = account
        """As last seen."""
        self.backing = backing
        self.word = word
        self.unspent = 0
        self.arriving = 0
        """To be added to `unspent` by the transaction that is being committed."""
        self.is_counted = False
        """Whether the seat tells the other processes of this purse."""
        self.seen = -1
        """The epoch when `unspent` was filled."""
        self.available = 0
        """What could be held beside `unspent`, when the database was last read."""
        self.month_from_s = 0.0
        self.month_to_s = 0.0
        """The month that `available` is about."""
        self.used_s = 0.0
        """Monotonic: when something was last held from it."""
