"""What a transaction set off: the outbox that alerts are delivered from."""

from __future__ import annotations

from typing import Literal

import msgspec

from dragoman.records.account import Account
from dragoman.records.usage_record import UsageRecord
from dragoman.stores.ledger.account_book import AccountBook
from dragoman.stores.ledger.rows import Row


class Occasion(msgspec.Struct, frozen=True):
    account_id: str
    name: str
    """Unique within the account."""
    payload: str
    is_told_anew: bool
    """A balance may fall below its threshold again; a month reaches its percentage once."""

    def row(self, now_s: float) -> Row:
        """In the order of the table's columns: due at once."""
        return (self.account_id, self.name, self.payload, now_s, 0, now_s, None, None)


class _Payload(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the account's owner is told."""

    kind: Literal["balance_below", "month_percent", "overrun"]
    account_id: str
    account_name: str
    at_s: float
    threshold_nano_usd: int | None = None
    balance_nano_usd: int | None = None
    month: int | None = None
    percent: int | None = None
    limit_nano_usd: int | None = None
    month_spent_nano_usd: int | None = None
    request_id: str | None = None
    unpaid_nano_usd: int | None = None


def crossed(book: AccountBook, now_s: float) -> list[Occasion]:
    """What the charges of `book` set off."""
    if not book.charged:
        return []
    account = book.account
    if not account.alerts.balance_below_nano_usd and not account.alerts.month_percent:
        return []
    found = _balance_occasions(book, account, now_s) if account.is_prepaid else []
    limit = account.monthly_limit_nano_usd
    if limit:
        found += _month_occasions(book, account, limit, now_s)
    return found


def overrun(account: Account, record: UsageRecord, unpaid: int, now_s: float) -> list[Occasion]:
    """`record` cost `unpaid` nano-USD more than its hold and its account could pay."""
    if account.alerts.webhook_url is None:
        return []
    return [
        Occasion(
            account.id,
            f"overrun:{record.request_id}",
            _text(
                _Payload(
                    kind="overrun",
                    account_id=account.id,
                    account_name=account.name,
                    at_s=now_s,
                    request_id=record.request_id,
                    unpaid_nano_usd=unpaid,
                )
            ),
            is_told_anew=False,
        )
    ]


def _balance_occasions(book: AccountBook, account: Account, now_s: float) -> list[Occasion]:
    before, after = book.total_before, book.total_before - book.charged
    return [
        Occasion(
            account.id,
            f"balance_below:{threshold}",
            _text(
                _Payload(
                    kind="balance_below",
                    account_id=account.id,
                    account_name=account.name,
                    at_s=now_s,
                    threshold_nano_usd=threshold,
                    balance_nano_usd=after,
                )
            ),
            is_told_anew=True,
        )
        for threshold in account.alerts.balance_below_nano_usd
        if after < threshold <= before
    ]


def _month_occasions(
    book: AccountBook, account: Account, limit: int, now_s: float
) -> list[Occasion]:
    before, after = book.spent_before, book.month_spent
    return [
        Occasion(
            account.id,
            f"month:{book.month}:{percent}",
            _text(
                _Payload(
                    kind="month_percent",
                    account_id=account.id,
                    account_name=account.name,
                    at_s=now_s,
                    month=book.month,
                    percent=percent,
                    limit_nano_usd=limit,
                    month_spent_nano_usd=after,
                )
            ),
            is_told_anew=False,
        )
        for percent in account.alerts.month_percent
        # In hundredths of the limit, so that nothing is rounded.
        if before * 100 < limit * percent <= after * 100
    ]


def _text(payload: _Payload) -> str:
    return msgspec.json.encode(payload).decode()
