"""What people and payment processors do to balances: every posting once, whatever is repeated."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from dragoman.chat import NanoUSD
from dragoman.errors import Conflict, InvalidRequest, UnknownEntity
from dragoman.policy.administration.amounts import (
    MAX_AMOUNT,
    format_usd,
    resolve_amount,
)
from dragoman.policy.administration.desk import Desk, checked, token_checked
from dragoman.policy.administration.wishes import Adjustment, Payment, Refund
from dragoman.records.account import Account, AccountId
from dragoman.records.ledger_entry import Balance, EntryKind, LedgerEntry
from dragoman.records.usage_query import UsageFilter

MAX_IDEMPOTENCY_KEY_CHARS = 255


class _Posting(msgspec.Struct, frozen=True, kw_only=True):
    account_id: AccountId
    amount: NanoUSD
    kind: EntryKind
    key: str
    note: str | None = None
    request_id: str | None = None


class MoneyAdministration:
    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def top_up(
        self, account_id: str, payment: Payment, idempotency_key: str
    ) -> tuple[LedgerEntry, bool]:
        """Add to the free balance; the entry, and whether it is new.

        Raises `UnknownEntity`, `InvalidRequest`, or `Conflict` where the idempotency key was used for
        something else.
        """
        payment = checked(payment)
        account = self._desk.account(account_id)
        amount = _positive(resolve_amount(payment.amount_nano_usd, payment.amount))
        return self._post(
            _Posting(
                account_id=account.id,
                amount=amount,
                kind="top_up",
                key=_own_key(idempotency_key),
                note=_note(payment.note),
            )
        )

    def refund(
        self, account_id: str, refund: Refund, idempotency_key: str | None = None
    ) -> tuple[LedgerEntry, bool]:
        """Give back what a request was charged, or a part of it, once; or an amount.

        A request is refunded once by itself; a refund of an amount needs an idempotency key. Raises
        as `top_up` does, and `Conflict` where more would come back than was paid.
        """
        refund = checked(refund)
        account = self._desk.account(account_id)
        amount = resolve_amount(refund.amount_nano_usd, refund.amount)
        if refund.request_id is not None:
            amount = self._refundable(account.id, refund.request_id, amount)
            key = f"refund:{refund.request_id}"
        elif idempotency_key is None:
            raise InvalidRequest(
                "Idempotency-Key is needed to refund an amount, so that it is refunded once;"
                " a refund of a request_id needs none",
                param="Idempotency-Key",
            )
        else:
            key = _own_key(idempotency_key)
        amount = _positive(amount)
        if refund.request_id is None:
            self._refuse_more_than_charged(account.id, amount)
        posting = _Posting(
            account_id=account.id,
            amount=amount,
            kind="refund",
            key=key,
            note=_note(refund.note),
            request_id=refund.request_id,
        )
        try:
            return self._post(posting)
        except Conflict as error:
            if refund.request_id is None or error.param != "Idempotency-Key":
                raise
            raise Conflict(
                f"request {refund.request_id} was refunded already, with another amount; it can be"
                " refunded once",
                param="request_id",
            ) from None

    def adjust(
        self, account_id: str, adjustment: Adjustment, idempotency_key: str
    ) -> tuple[LedgerEntry, bool]:
        """Correct the balance, up or down. Raises as `top_up` does, and `Conflict` where the free balance
        is less than what is taken."""
        adjustment = checked(adjustment)
        account = self._desk.account(account_id)
        amount = resolve_amount(adjustment.amount_nano_usd, adjustment.amount)
        if not amount or abs(amount) > MAX_AMOUNT:
            raise _unusable_amount("must not be 0")
        return self._post(
            _Posting(
                account_id=account.id,
                amount=amount,
                kind="adjustment",
                key=_own_key(idempotency_key),
                note=_note(adjustment.note),
            )
        )

    def balance(self, account_id: str) -> Balance:
        """Raises `UnknownEntity`."""
        return self._desk.store.balance(self._desk.account(account_id).id, self._desk.now_s())

    def balances(self, accounts: Iterable[Account] | None = None) -> list[Balance]:
        """Of these accounts; `None`: of every one."""
        store, now_s = self._desk.store, self._desk.now_s()
        if accounts is None:
            accounts = store.list_accounts()
        return [store.balance(account.id, now_s) for account in accounts]

    def entries(
        self, account_id: str | None = None, *, before: int | None = None, limit: int = 100
    ) -> list[LedgerEntry]:
        """Newest first; `before` is the sequence number that the last page ended with."""
        account = None if account_id is None else self._desk.account(account_id).id
        return self._desk.store.list_entries(account, before=before, limit=limit)

    def verify(self) -> list[str]:
        """Recompute every balance from the ledger; one sentence for each difference."""
        return self._desk.store.verify()

    # --- Steps ---

    def _post(self, posting: _Posting) -> tuple[LedgerEntry, bool]:
        store = self._desk.store
        with store.atomically():
            entry, is_new = store.post_money(
                posting.account_id,
                posting.amount,
                posting.kind,
                posting.key,
                at_s=self._desk.now_s(),
                note=posting.note,
                request_id=posting.request_id,
            )
            if is_new:
                self._desk.note(
                    f"credits.{posting.kind}",
                    posting.account_id,
                    {
                        "amount_nano_usd": posting.amount,
                        "sequence": entry.sequence,
                        "request_id": posting.request_id,
                        "note": posting.note,
                    },
                )
        return entry, is_new

    def _refundable(
        self, account_id: AccountId, request_id: str, wished: NanoUSD | None
    ) -> NanoUSD:
        record = self._desk.store.find_usage(request_id)
        if record is None or record.account_id != account_id:
            raise UnknownEntity(
                f"request_id: account {account_id} has no request {request_id[:64]!r}",
                entity="request",
                param="request_id",
            )
        if record.cost_nano_usd == 0:
            raise Conflict(f"request {request_id} was charged nothing", param="request_id")
        charge = self._desk.store.find_charge(request_id)
        if charge is not None and charge.kind == "grant":
            # Its money would come out of nothing: the balance has not paid for it.
            raise Conflict(
                f"request {request_id} was paid for by the house, and not from the balance;"
                " there is nothing to give back",
                param="request_id",
            )
        if wished is not None and wished > record.cost_nano_usd:
            raise Conflict(
                f"amount: request {request_id} was charged {format_usd(record.cost_nano_usd)}"
                " US dollars; no more than that can be refunded",
                param="amount",
            )
        return record.cost_nano_usd if wished is None else wished

    def _refuse_more_than_charged(self, account_id: AccountId, amount: NanoUSD) -> None:
        """A slip of the decimal point is no refund."""
        sums = self._desk.store.usage_groups(UsageFilter(account_id=account_id), ())
        charged = sum(group.sums.cost_nano_usd for group in sums.groups)
        if amount > charged:
            raise Conflict(
                f"amount: account {account_id} was charged {format_usd(charged)} US dollars in all;"
                " no more than that can be refunded. To give more, adjust the balance.",
                param="amount",
            )


def _positive(amount: NanoUSD | None) -> NanoUSD:
    if amount is None or not 0 < amount <= MAX_AMOUNT:
        raise _unusable_amount("must be above 0")
    return amount


def _unusable_amount(rule: str) -> InvalidRequest:
    return InvalidRequest(
        f"amount {rule}, and at most {format_usd(MAX_AMOUNT)} US dollars; give it as 'amount', like"
        " \"25.00\", or as 'amount_nano_usd'",
        param="amount",
    )


def _own_key(idempotency_key: str) -> str:
    """Apart from the keys that the ledger gives its own entries."""
    return "key:" + token_checked(
        idempotency_key, "Idempotency-Key", most=MAX_IDEMPOTENCY_KEY_CHARS
    )


def _note(note: str | None) -> str | None:
    if note is None:
        return None
    note = note.strip()
    if any(not (character.isprintable() or character in "\n\t") for character in note):
        raise InvalidRequest("note must be of printable characters", param="note")
    return note or None
