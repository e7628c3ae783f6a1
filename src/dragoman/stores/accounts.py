"""Accounts, plans and members."""

from __future__ import annotations

import msgspec

from dragoman.errors import UnknownEntity
from dragoman.records.account import Account, AccountId, Alerts, Member, MemberId, Plan, PlanId
from dragoman.records.limits import Limits
from dragoman.stores.compiled import accounts as sql
from dragoman.stores.compiled import money
from dragoman.stores.database import Area, Row, Value
from dragoman.stores.months import month_numbered


class AccountArea(Area):
    def list_accounts(self) -> list[Account]:
        """Oldest first."""
        return [_account(row) for row in self._database.rows(sql.SQLITE_LIST_ACCOUNTS, {})]

    def add_account(self, account: Account) -> None:
        """With a balance of 0. Raises `UnknownEntity` where its plan does not exist."""
        with self._database.transaction():
            self._database.change(
                sql.SQLITE_ADD_ACCOUNT,
                {"id": account.id, **_account_values(account)},
                taken=_account_taken(account),
                missing=f"plan '{account.plan_id}' does not exist",
            )
            balance: dict[str, Value] = {
                "account_id": account.id,
                "free": 0,
                "is_exact": True,
                "month": 0,
                "month_spent": 0,
            }
            self._database.change(sql.SQLITE_ADD_BALANCE, balance, taken=_account_taken(account))
            self._database.announce()

    def replace_account(self, account: Account) -> None:
        """Where its time zone changes, what it has spent in the month is counted anew."""
        values = {"account_id": account.id, **_account_values(account)}
        with self._database.transaction():
            zone = self._database.rows(money.SQLITE_READ_TIME_ZONE, {"account_id": account.id})
            changed = self._database.change(
                sql.SQLITE_REPLACE_ACCOUNT,
                values,
                taken=_account_taken(account),
                missing=f"plan '{account.plan_id}' does not exist",
            )
            if not changed:
                raise UnknownEntity(f"account '{account.id}' does not exist", entity="account")
            if zone != [(account.time_zone,)]:
                self._count_month(account)
            self._database.announce()

    def list_plans(self) -> list[Plan]:
        """Oldest first."""
        return [_plan(row) for row in self._database.rows(sql.SQLITE_LIST_PLANS, {})]

    def put_plan(self, plan: Plan) -> None:
        self._database.change(sql.SQLITE_PUT_PLAN, _plan_values(plan))
        self._database.announce()

    def delete_plan(self, plan_id: PlanId) -> None:
        changed = self._database.change(
            sql.SQLITE_DELETE_PLAN,
            {"plan_id": plan_id},
            taken=f"The plan '{plan_id}' is still an account's; give its accounts another plan first.",
        )
        if not changed:
            raise UnknownEntity(f"plan '{plan_id}' does not exist", entity="plan")
        self._database.announce()

    def list_members(self, account_id: AccountId) -> list[Member]:
        """Oldest first."""
        rows = self._database.rows(sql.SQLITE_LIST_MEMBERS, {"account_id": account_id})
        return [Member(**dict(zip(Member.__struct_fields__, row, strict=True))) for row in rows]

    def put_member(self, member: Member) -> None:
        """Add or change one. Raises `UnknownEntity` where the account does not exist."""
        self._database.change(
            sql.SQLITE_PUT_MEMBER,
            msgspec.structs.asdict(member),
            taken=f"The account has a member with the address '{member.email}' already.",
            missing=f"account '{member.account_id}' does not exist",
        )

    def delete_member(self, member_id: MemberId) -> None:
        if not self._database.change(sql.SQLITE_DELETE_MEMBER, {"member_id": member_id}):
            raise UnknownEntity(f"member '{member_id}' does not exist", entity="member")

    def _count_month(self, account: Account) -> None:
        rows = self._database.rows(money.SQLITE_READ_BALANCE, {"account_id": account.id})
        month = rows[0][2] if rows else 0
        if month:
            _, from_s, to_s = month_numbered(account.time_zone, month)
            self._database.change(
                money.SQLITE_COUNT_MONTH,
                {"account": account.id, "from_s": from_s, "to_s": to_s},
            )


def _account_taken(account: Account) -> str:
    return f"There is an account named '{account.name}' already."


def _account_values(account: Account) -> dict[str, Value]:
    """Every column but the id."""
    return {
        "name": account.name,
        "plan_id": account.plan_id,
        "is_prepaid": account.is_prepaid,
        "monthly_limit_nano_usd": account.monthly_limit_nano_usd,
        "time_zone": account.time_zone,
        "alerts": msgspec.json.encode(account.alerts).decode(),
        "created_s": account.created_s,
        "suspended_s": account.suspended_s,
    }


def _account(row: Row) -> Account:
    id_, name, plan_id, is_prepaid, limit, time_zone, alerts, created_s, suspended_s = row
    return Account(
        id=id_,
        name=name,
        plan_id=plan_id,
        is_prepaid=bool(is_prepaid),
        monthly_limit_nano_usd=limit,
        time_zone=time_zone,
        alerts=msgspec.json.decode(alerts, type=Alerts),
        created_s=created_s,
        suspended_s=suspended_s,
    )


def _plan_values(plan: Plan) -> dict[str, Value]:
    return {
        "id": plan.id,
        "name": plan.name,
        "requests_per_minute": plan.limits.requests_per_minute,
        "tokens_per_minute": plan.limits.tokens_per_minute,
        "concurrent_requests": plan.limits.concurrent_requests,
        "models": None if plan.models is None else msgspec.json.encode(plan.models).decode(),
        "created_s": plan.created_s,
    }


def _plan(row: Row) -> Plan:
    id_, name, requests, tokens, concurrent, models, created_s = row
    return Plan(
        id=id_,
        name=name,
        limits=Limits(
            requests_per_minute=requests,
            tokens_per_minute=tokens,
            concurrent_requests=concurrent,
        ),
        models=None if models is None else msgspec.json.decode(models, type=tuple[str, ...]),
        created_s=created_s,
    )
