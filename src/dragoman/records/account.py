"""Who pays: an account, its plan, and the people who belong to it."""

from __future__ import annotations

from typing import Literal, NewType

import msgspec

from dragoman.chat import NanoUSD
from dragoman.records.limits import NO_LIMITS, Limits

AccountId = NewType("AccountId", str)
"""`acct_` and 20 lower-case letters and digits, or `acct_default`."""
PlanId = NewType("PlanId", str)
"""Chosen by whoever makes the plan: lower-case letters, digits, `-` and `_`."""
MemberId = NewType("MemberId", str)
"""`mem_` and 20 lower-case letters and digits."""

DEFAULT_ACCOUNT = AccountId("acct_default")
"""The owner's own, there from the start: not prepaid, so that a first request needs no payment."""

Role = Literal["owner", "developer", "viewer"]


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What the accounts that have it may use."""

    id: PlanId
    name: str
    limits: Limits = NO_LIMITS
    """Of an account as a whole, over all of its keys."""
    models: tuple[str, ...] | None = None
    """Ids of the models that may be asked for; `None`: all."""
    created_s: float = 0.0


class Alerts(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """When to tell the account's owner, and where."""

    webhook_url: str | None = None
    balance_below_nano_usd: tuple[NanoUSD, ...] = ()
    month_percent: tuple[int, ...] = ()
    """Of the monthly limit: 80, say."""


class Account(msgspec.Struct, frozen=True, kw_only=True):
    id: AccountId
    name: str
    plan_id: PlanId | None = None
    is_prepaid: bool = True
    """Its requests are paid for from its balance, which never falls below 0. Otherwise what it uses is
    metered and charged to the house, and only `monthly_limit_nano_usd` bounds it."""
    monthly_limit_nano_usd: NanoUSD | None = None
    """The most that is charged within one calendar month of `time_zone`."""
    time_zone: str = "UTC"
    """A name of the IANA database, `Europe/Vienna`: where its months begin."""
    alerts: Alerts = Alerts()
    created_s: float = 0.0
    suspended_s: float | None = None
    """Since then its keys are refused, and nothing of it is lost."""

    @property
    def is_unbounded(self) -> bool:
        """Whether nothing has to be held, whatever a request costs."""
        return not self.is_prepaid and self.monthly_limit_nano_usd is None


class Member(msgspec.Struct, frozen=True, kw_only=True):
    id: MemberId
    account_id: AccountId
    email: str
    role: Role
    created_s: float
