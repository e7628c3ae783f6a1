"""Accounts, the people who belong to them, and plans."""

from __future__ import annotations

import re
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

import msgspec
from msgspec import UNSET, UnsetType

from dragoman.chat import NanoUSD
from dragoman.errors import Conflict, InvalidRequest, UnknownEntity
from dragoman.policy.administration.amounts import resolve_amount
from dragoman.policy.administration.desk import Desk, checked, same_or_conflict, text_checked
from dragoman.policy.administration.wishes import (
    AccountChange,
    AccountWish,
    AlertsWish,
    LimitsWish,
    MemberChange,
    MemberWish,
    PlanWish,
)
from dragoman.policy.alerts import SECRET_NAME, webhook_secret
from dragoman.records.account import (
    Account,
    AccountId,
    Alerts,
    Member,
    MemberId,
    Plan,
    PlanId,
)
from dragoman.records.ledger_entry import Balance
from dragoman.records.limits import Limits

MAX_MEMBERS = 1000

_PLAN_ID = re.compile(r"[a-z0-9_-]{1,64}", re.ASCII)
_EMAIL = re.compile(r"[^\s@<>\"]{1,64}@[^\s@<>\"]{1,255}")


class AccountStanding(msgspec.Struct, frozen=True, kw_only=True):
    """An account, and how it stands at this moment."""

    account: Account
    balance: Balance
    plan: Plan | None = None
    members: tuple[Member, ...] = ()


class AccountAdministration:
    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def list_all(self) -> list[Account]:
        return self._desk.store.list_accounts()

    def find(self, account_id: str) -> Account:
        """Raises `UnknownEntity`."""
        return self._desk.account(account_id)

    def show(self, account_id: str) -> AccountStanding:
        """Raises `UnknownEntity`."""
        store = self._desk.store
        account = self._desk.account(account_id)
        plans = {plan.id: plan for plan in store.list_plans()}
        return AccountStanding(
            account=account,
            balance=store.balance(account.id, self._desk.now_s()),
            plan=plans.get(account.plan_id) if account.plan_id is not None else None,
            members=tuple(store.list_members(account.id)),
        )

    def create(self, wish: AccountWish, *, token: str | None = None) -> tuple[Account, bool]:
        """The account, and whether it is new: the same wish with the same `token` makes one only.

        Raises `InvalidRequest`, or `Conflict` where the name is taken.
        """
        wish = checked(wish)
        account = Account(
            id=AccountId(self._desk.id_for("acct_", "account", token)),
            name=text_checked(wish.name, "name"),
            plan_id=self._plan_id(wish.plan_id),
            is_prepaid=wish.is_prepaid,
            monthly_limit_nano_usd=resolve_amount(
                wish.monthly_limit_nano_usd, wish.monthly_limit, param="monthly_limit"
            ),
            time_zone=_time_zone(wish.time_zone),
            alerts=self._alerts(wish.alerts),
            created_s=self._desk.now_s(),
        )
        _check_monthly_limit(account)
        with self._desk.store.atomically():
            accounts = self._desk.store.list_accounts()
            for other in accounts:
                if token is not None and other.id == account.id:
                    return same_or_conflict(account, other), False
            self._refuse_taken_name(account, accounts)
            self._desk.store.add_account(account)
            self._desk.note("account.create", account.id, _told(account))
        return account, True

    def change(self, account_id: str, change: AccountChange) -> Account:
        """Raises `UnknownEntity`, `InvalidRequest` or `Conflict`."""
        change = checked(change)
        with self._desk.store.atomically():
            account = self._desk.account(account_id)
            changed = self._changed(account, change)
            if changed == account:
                return account
            self._refuse_taken_name(changed, self._desk.store.list_accounts())
            self._desk.store.replace_account(changed)
            self._desk.note("account.change", account.id, _difference(account, changed))
        return changed

    def suspend(self, account_id: str) -> Account:
        """Refuse its keys from now on. Nothing of it is lost. Doing it twice changes nothing."""
        return self._set_suspended(account_id, is_suspended=True)

    def resume(self, account_id: str) -> Account:
        return self._set_suspended(account_id, is_suspended=False)

    def webhook_secret(self, account_id: str) -> str:
        """What signs the alerts that are sent to the account's webhook. Raises `UnknownEntity`."""
        account = self._desk.account(account_id)
        return webhook_secret(self._desk.store.server_secret(SECRET_NAME), account.id)

    # --- Members ---

    def members(self, account_id: str) -> list[Member]:
        return self._desk.store.list_members(self._desk.account(account_id).id)

    def add_member(
        self, account_id: str, wish: MemberWish, *, token: str | None = None
    ) -> tuple[Member, bool]:
        """The member, and whether they are new. Raises `Conflict` where the address is a member already."""
        wish = checked(wish)
        with self._desk.store.atomically():
            account = self._desk.account(account_id)
            member = Member(
                id=MemberId(self._desk.id_for("mem_", f"member:{account.id}", token)),
                account_id=account.id,
                email=_email(wish.email),
                role=wish.role,
                created_s=self._desk.now_s(),
            )
            members = self._desk.store.list_members(account.id)
            for other in members:
                if token is not None and other.id == member.id:
                    return same_or_conflict(member, other), False
                if other.email.casefold() == member.email.casefold():
                    raise Conflict(
                        f"email: {member.email} is a member already, as {other.id}", param="email"
                    )
            if len(members) >= MAX_MEMBERS:
                raise Conflict(f"an account may have at most {MAX_MEMBERS} members")
            self._desk.store.put_member(member)
            self._desk.note(
                "member.add",
                account.id,
                {"member": member.id, "email": member.email, "role": member.role},
            )
        return member, True

    def change_member(self, account_id: str, member_id: str, change: MemberChange) -> Member:
        """Raises `UnknownEntity`."""
        change = checked(change)
        with self._desk.store.atomically():
            member = self._member(account_id, member_id)
            changed = msgspec.structs.replace(member, role=change.role)
            if changed != member:
                self._desk.store.put_member(changed)
                self._desk.note(
                    "member.change", member.account_id, {"member": member.id, "role": change.role}
                )
        return changed

    def remove_member(self, account_id: str, member_id: str) -> None:
        """Raises `UnknownEntity`."""
        with self._desk.store.atomically():
            member = self._member(account_id, member_id)
            self._desk.store.delete_member(member.id)
            self._desk.note(
                "member.remove", member.account_id, {"member": member.id, "email": member.email}
            )

    def _member(self, account_id: str, member_id: str) -> Member:
        for member in self.members(account_id):
            if member.id == member_id:
                return member
        raise UnknownEntity(
            f"member {member_id[:60]!r} does not exist in account {account_id[:60]!r}",
            entity="member",
            param="member_id",
        )

    # --- Plans ---

    def plans(self) -> list[Plan]:
        return self._desk.store.list_plans()

    def find_plan(self, plan_id: str) -> Plan:
        """Raises `UnknownEntity`."""
        for plan in self._desk.store.list_plans():
            if plan.id == plan_id:
                return plan
        raise UnknownEntity(f"plan {plan_id[:64]!r} does not exist", entity="plan", param="plan_id")

    def put_plan(self, plan_id: str, wish: PlanWish) -> tuple[Plan, bool]:
        """Make the plan, or write the one with this id anew; whether it is new.

        Holds for its accounts from their next request on.
        """
        wish = checked(wish)
        if _PLAN_ID.fullmatch(plan_id) is None:
            raise InvalidRequest(
                "plan_id must have 1 to 64 lower-case letters, digits, '-' and '_'", param="plan_id"
            )
        with self._desk.store.atomically():
            before = next((p for p in self._desk.store.list_plans() if p.id == plan_id), None)
            plan = Plan(
                id=PlanId(plan_id),
                name=text_checked(wish.name or plan_id, "name"),
                limits=limits_of(wish.limits),
                models=self._desk.models(wish.models, "models"),
                created_s=self._desk.now_s() if before is None else before.created_s,
            )
            if plan != before:
                self._desk.store.put_plan(plan)
                self._desk.note("plan.create" if before is None else "plan.change", plan_id, plan)
        return plan, before is None

    def delete_plan(self, plan_id: str) -> None:
        """Raises `UnknownEntity`, or `Conflict` while an account has it."""
        with self._desk.store.atomically():
            plan = self.find_plan(plan_id)
            holder = next((a for a in self.list_all() if a.plan_id == plan.id), None)
            if holder is not None:
                raise Conflict(
                    f"plan '{plan.id}' is the plan of account {holder.id}; give its accounts another first"
                )
            self._desk.store.delete_plan(plan.id)
            self._desk.note("plan.delete", plan.id, plan)

    # --- Steps ---

    def _plan_id(self, plan_id: str | None) -> PlanId | None:
        if plan_id is None:
            return None
        known = [plan.id for plan in self._desk.store.list_plans()]
        if plan_id not in known:
            raise InvalidRequest(
                f"plan_id: there is no plan {plan_id[:64]!r};"
                f" there are {', '.join(known[:20]) or 'none yet'}",
                param="plan_id",
            )
        return PlanId(plan_id)

    def _refuse_taken_name(self, account: Account, accounts: list[Account]) -> None:
        for other in accounts:
            if other.name == account.name and other.id != account.id:
                raise Conflict(f"name: account {other.id} has this name already", param="name")

    def _changed(self, account: Account, change: AccountChange) -> Account:
        changed = account
        if not isinstance(change.name, UnsetType):
            changed = msgspec.structs.replace(changed, name=text_checked(change.name, "name"))
        if not isinstance(change.plan_id, UnsetType):
            changed = msgspec.structs.replace(changed, plan_id=self._plan_id(change.plan_id))
        if not isinstance(change.is_prepaid, UnsetType):
            changed = msgspec.structs.replace(changed, is_prepaid=change.is_prepaid)
        if not isinstance(change.time_zone, UnsetType):
            changed = msgspec.structs.replace(changed, time_zone=_time_zone(change.time_zone))
        if not isinstance(change.alerts, UnsetType):
            changed = msgspec.structs.replace(changed, alerts=self._alerts(change.alerts))
        limit = _changed_limit(change)
        if not isinstance(limit, UnsetType):
            changed = msgspec.structs.replace(changed, monthly_limit_nano_usd=limit)
        _check_monthly_limit(changed)
        return changed

    def _alerts(self, wish: AlertsWish) -> Alerts:
        alerts = _alerts_of(wish)
        is_plain = (alerts.webhook_url or "").lower().startswith("http:")
        if is_plain and not self._desk.allows_plain_webhooks:
            # Each alert would be given up; better told now than found out then.
            raise InvalidRequest(
                "alerts.webhook_url must begin with https://, unless the setting"
                " webhook_allow_private is true",
                param="alerts.webhook_url",
            )
        return alerts

    def _set_suspended(self, account_id: str, *, is_suspended: bool) -> Account:
        with self._desk.store.atomically():
            account = self._desk.account(account_id)
            if (account.suspended_s is not None) == is_suspended:
                return account
            changed = msgspec.structs.replace(
                account, suspended_s=self._desk.now_s() if is_suspended else None
            )
            self._desk.store.replace_account(changed)
            self._desk.note("account.suspend" if is_suspended else "account.resume", account.id, {})
        return changed


def limits_of(wish: LimitsWish) -> Limits:
    return Limits(
        requests_per_minute=wish.requests_per_minute,
        tokens_per_minute=wish.tokens_per_minute,
        concurrent_requests=wish.concurrent_requests,
    )


def _changed_limit(change: AccountChange) -> NanoUSD | UnsetType | None:
    nano, text = change.monthly_limit_nano_usd, change.monthly_limit
    if isinstance(nano, UnsetType):
        if isinstance(text, UnsetType):
            return UNSET
        return resolve_amount(None, text, param="monthly_limit")
    return resolve_amount(
        nano, None if isinstance(text, UnsetType) else text, param="monthly_limit"
    )


def _check_monthly_limit(account: Account) -> None:
    limit = account.monthly_limit_nano_usd
    if limit is not None and limit < 0:
        raise InvalidRequest("monthly_limit must not be below 0", param="monthly_limit")


def _time_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ValueError, OSError, KeyError):
        # It looks for a file of that name, which may as well be a folder, or be too long.
        raise InvalidRequest(
            f"time_zone: {name[:64]!r} is not in the IANA database; use a name like 'Europe/Vienna'",
            param="time_zone",
        ) from None
    return name


def _email(address: str) -> str:
    address = address.strip()
    if not address.isprintable() or _EMAIL.fullmatch(address) is None:
        raise InvalidRequest(f"email: {address[:80]!r} is not an address", param="email")
    return address


def _alerts_of(wish: AlertsWish) -> Alerts:
    if wish.webhook_url is not None:
        _check_webhook(wish.webhook_url)
    return Alerts(
        webhook_url=wish.webhook_url,
        balance_below_nano_usd=tuple(
            sorted({NanoUSD(nano) for nano in wish.balance_below_nano_usd}, reverse=True)
        ),
        month_percent=tuple(sorted(set(wish.month_percent))),
    )


def _check_webhook(url: str) -> None:
    try:
        parts = urlsplit(url)
        is_usable = (
            parts.scheme in ("https", "http")
            and bool(parts.hostname)
            and parts.username is None
            and (parts.port is None or parts.port > 0)
        )
    except ValueError:
        is_usable = False
    if not is_usable or not url.isascii() or not url.isprintable() or " " in url:
        raise InvalidRequest(
            "alerts.webhook_url must be an address like 'https://example.com/alerts',"
            " without a user name or password",
            param="alerts.webhook_url",
        )


def _told(account: Account) -> dict[str, object]:
    """For the audit log: a webhook's path may be a secret, its host is not."""
    told: dict[str, object] = msgspec.to_builtins(account)
    url = account.alerts.webhook_url
    if url is not None:
        parts = urlsplit(url)
        told["alerts"] = {
            **msgspec.to_builtins(account.alerts),
            "webhook_url": f"{parts.scheme}://{parts.hostname}/…",
        }
    return told


def _difference(before: Account, after: Account) -> dict[str, object]:
    earlier, later = _told(before), _told(after)
    difference: dict[str, object] = {
        name: value for name, value in later.items() if earlier.get(name) != value
    }
    if before.alerts != after.alerts:
        difference["alerts"] = later["alerts"]
    return difference
