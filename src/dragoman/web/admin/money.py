"""`/admin/v1`'s money: top-ups, refunds, adjustments, balances, the ledger, prices and models."""

from __future__ import annotations

from typing import Annotated

from litestar import Controller, Response, get, post
from litestar.datastructures import State
from litestar.params import JSONBody, QueryParameter

from dragoman.policy.administration import Adjustment, Payment, PriceWish, Refund
from dragoman.records.account import Account
from dragoman.records.ledger_entry import LedgerEntry
from dragoman.web.admin.parameters import (
    Cursor,
    ForActor,
    Id,
    IdempotencyKey,
    Limit,
    before,
    made,
    required,
)
from dragoman.web.admin.views import (
    BalanceView,
    EntryView,
    ModelView,
    Page,
    PriceView,
    VerificationView,
    balance_view,
    entry_view,
    model_view,
    page_of,
    price_view,
    slice_of,
)


class Credits(Controller):
    path = "/accounts/{account_id:str}"
    tags = ("credits",)

    @post("/top-ups", sync_to_thread=True, summary="Add to an account's balance")
    def top_up(
        self,
        administration: ForActor,
        account_id: Id,
        data: JSONBody[Payment],
        idempotency_key: IdempotencyKey = None,
    ) -> Response[EntryView]:
        entry, is_new = administration.money.top_up(account_id, data, required(idempotency_key))
        return made(entry_view(entry), is_new=is_new)

    @post("/refunds", sync_to_thread=True, summary="Give back a request's charge, or an amount")
    def refund(
        self,
        administration: ForActor,
        account_id: Id,
        data: JSONBody[Refund],
        idempotency_key: IdempotencyKey = None,
    ) -> Response[EntryView]:
        entry, is_new = administration.money.refund(account_id, data, idempotency_key)
        return made(entry_view(entry), is_new=is_new)

    @post("/adjustments", sync_to_thread=True, summary="Correct an account's balance")
    def adjust(
        self,
        administration: ForActor,
        account_id: Id,
        data: JSONBody[Adjustment],
        idempotency_key: IdempotencyKey = None,
    ) -> Response[EntryView]:
        entry, is_new = administration.money.adjust(account_id, data, required(idempotency_key))
        return made(entry_view(entry), is_new=is_new)

    @get("/ledger", sync_to_thread=True, summary="An account's ledger, newest first")
    def account_ledger(
        self, administration: ForActor, account_id: Id, cursor: Cursor = None, limit: Limit = 100
    ) -> Page[EntryView]:
        entries = administration.money.entries(account_id, before=before(cursor), limit=limit)
        return _page(entries, limit)


class Ledger(Controller):
    path = "/ledger"
    tags = ("ledger",)

    @get(sync_to_thread=True, summary="The whole ledger, newest first")
    def list_entries(
        self,
        administration: ForActor,
        account_id: Annotated[str | None, QueryParameter(description="Of this account.")] = None,
        cursor: Cursor = None,
        limit: Limit = 100,
    ) -> Page[EntryView]:
        entries = administration.money.entries(account_id, before=before(cursor), limit=limit)
        return _page(entries, limit)

    @get("/verify", sync_to_thread=True, summary="Recompute every balance from the ledger")
    def verify(self, administration: ForActor) -> VerificationView:
        differences = tuple(administration.money.verify())
        return VerificationView(is_right=not differences, differences=differences)


class Balances(Controller):
    path = "/balances"
    tags = ("ledger",)

    @get(sync_to_thread=True, summary="The balance of every account")
    def list_balances(
        self, administration: ForActor, cursor: Cursor = None, limit: Limit = 100
    ) -> Page[BalanceView]:
        accounts = slice_of(
            administration.accounts.list_all(), _itself, start=before(cursor), limit=limit
        )
        balances = administration.money.balances(accounts.data)
        return Page(
            data=tuple(balance_view(balance) for balance in balances),
            next_cursor=accounts.next_cursor,
        )


class Prices(Controller):
    path = "/prices"
    tags = ("prices",)

    @get(sync_to_thread=True, summary="Every price there ever was, the earliest first")
    def list_prices(
        self,
        administration: ForActor,
        model: Annotated[
            str | None, QueryParameter(description="Of this model, by its id.")
        ] = None,
        cursor: Cursor = None,
        limit: Limit = 100,
    ) -> Page[PriceView]:
        prices = sorted(administration.prices.list_all(model), key=lambda p: p.valid_from_s)
        return slice_of(prices, price_view, start=before(cursor), limit=limit)

    @post(sync_to_thread=True, summary="Set a model's price, from a moment on")
    def set_price(self, administration: ForActor, data: JSONBody[PriceWish]) -> Response[PriceView]:
        price, is_new = administration.prices.set(data)
        return made(price_view(price), is_new=is_new)


class Models(Controller):
    path = "/models"
    tags = ("models",)

    @get(summary="Every model, who answers for it, and what it costs now")
    async def list_models(self, state: State) -> Page[ModelView]:
        parts = state.parts
        if parts.prices.is_stale():
            await parts.prices.refresh()
        now_s = parts.clock.unix_s()
        return Page(
            data=tuple(
                model_view(model, parts.prices.price(model, now_s))
                for model in parts.directory.models
            )
        )


def _itself(account: Account) -> Account:
    return account


def _page(entries: list[LedgerEntry], limit: int) -> Page[EntryView]:
    last = entries[-1].sequence if entries else None
    return page_of([entry_view(entry) for entry in entries], limit, last)
