"""`/admin/v1/accounts`, their members, and `/admin/v1/plans`."""

from __future__ import annotations

from litestar import Controller, Response, delete, get, patch, post, put
from litestar.params import JSONBody

from dragoman.policy.administration import (
    AccountChange,
    AccountWish,
    MemberChange,
    MemberWish,
    PlanWish,
)
from dragoman.web.admin.parameters import Cursor, ForActor, Id, IdempotencyKey, Limit, before, made
from dragoman.web.admin.views import (
    AccountStandingView,
    AccountView,
    BalanceView,
    MemberView,
    Page,
    PlanView,
    WebhookSecretView,
    account_view,
    balance_view,
    member_view,
    plan_view,
    slice_of,
    standing_view,
)


class Accounts(Controller):
    path = "/accounts"
    tags = ("accounts",)

    @get(sync_to_thread=True, summary="Accounts, oldest first")
    def list_accounts(
        self, administration: ForActor, cursor: Cursor = None, limit: Limit = 100
    ) -> Page[AccountView]:
        accounts = administration.accounts.list_all()
        return slice_of(accounts, account_view, start=before(cursor), limit=limit)

    @post(sync_to_thread=True, summary="Make an account")
    def create_account(
        self,
        administration: ForActor,
        data: JSONBody[AccountWish],
        idempotency_key: IdempotencyKey = None,
    ) -> Response[AccountView]:
        account, is_new = administration.accounts.create(data, token=idempotency_key)
        return made(account_view(account), is_new=is_new)

    @get("/{account_id:str}", sync_to_thread=True, summary="An account, and how it stands")
    def show_account(self, administration: ForActor, account_id: Id) -> AccountStandingView:
        return standing_view(administration.accounts.show(account_id))

    @patch("/{account_id:str}", sync_to_thread=True, summary="Change an account")
    def change_account(
        self, administration: ForActor, account_id: Id, data: JSONBody[AccountChange]
    ) -> AccountView:
        return account_view(administration.accounts.change(account_id, data))

    @post(
        "/{account_id:str}/suspend",
        sync_to_thread=True,
        status_code=200,
        summary="Refuse an account's keys from now on",
    )
    def suspend_account(self, administration: ForActor, account_id: Id) -> AccountView:
        return account_view(administration.accounts.suspend(account_id))

    @post(
        "/{account_id:str}/resume",
        sync_to_thread=True,
        status_code=200,
        summary="Let an account's keys work again",
    )
    def resume_account(self, administration: ForActor, account_id: Id) -> AccountView:
        return account_view(administration.accounts.resume(account_id))

    @get("/{account_id:str}/balance", sync_to_thread=True, summary="An account's money")
    def show_balance(self, administration: ForActor, account_id: Id) -> BalanceView:
        return balance_view(administration.money.balance(account_id))

    @get(
        "/{account_id:str}/webhook-secret",
        sync_to_thread=True,
        summary="What an account's alerts are signed with",
    )
    def show_webhook_secret(self, administration: ForActor, account_id: Id) -> WebhookSecretView:
        return WebhookSecretView(secret=administration.accounts.webhook_secret(account_id))

    @get("/{account_id:str}/members", sync_to_thread=True, summary="Who belongs to an account")
    def list_members(self, administration: ForActor, account_id: Id) -> Page[MemberView]:
        return Page(data=tuple(member_view(m) for m in administration.accounts.members(account_id)))

    @post("/{account_id:str}/members", sync_to_thread=True, summary="Add a member")
    def add_member(
        self,
        administration: ForActor,
        account_id: Id,
        data: JSONBody[MemberWish],
        idempotency_key: IdempotencyKey = None,
    ) -> Response[MemberView]:
        member, is_new = administration.accounts.add_member(account_id, data, token=idempotency_key)
        return made(member_view(member), is_new=is_new)

    @patch(
        "/{account_id:str}/members/{member_id:str}",
        sync_to_thread=True,
        summary="Change a member's role",
    )
    def change_member(
        self, administration: ForActor, account_id: Id, member_id: Id, data: JSONBody[MemberChange]
    ) -> MemberView:
        return member_view(administration.accounts.change_member(account_id, member_id, data))

    @delete(
        "/{account_id:str}/members/{member_id:str}", sync_to_thread=True, summary="Remove a member"
    )
    def remove_member(self, administration: ForActor, account_id: Id, member_id: Id) -> None:
        administration.accounts.remove_member(account_id, member_id)


class Plans(Controller):
    path = "/plans"
    tags = ("plans",)

    @get(sync_to_thread=True, summary="All plans")
    def list_plans(self, administration: ForActor) -> Page[PlanView]:
        return Page(data=tuple(plan_view(plan) for plan in administration.accounts.plans()))

    @get("/{plan_id:str}", sync_to_thread=True, summary="A plan")
    def show_plan(self, administration: ForActor, plan_id: Id) -> PlanView:
        return plan_view(administration.accounts.find_plan(plan_id))

    @put("/{plan_id:str}", sync_to_thread=True, summary="Make a plan, or write it anew")
    def put_plan(self, administration: ForActor, plan_id: Id, data: JSONBody[PlanWish]) -> PlanView:
        plan, _ = administration.accounts.put_plan(plan_id, data)
        return plan_view(plan)

    @delete("/{plan_id:str}", sync_to_thread=True, summary="Delete a plan that no account has")
    def delete_plan(self, administration: ForActor, plan_id: Id) -> None:
        administration.accounts.delete_plan(plan_id)
