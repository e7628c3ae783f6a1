"""What an administrator may ask for: the bodies of the admin API, and what the command line builds.

A field of a change that is left out stays as it is; one that is null is emptied.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from dragoman.chat import DialectName
from dragoman.records.account import Role
from dragoman.records.limits import Bound
from dragoman.records.price import PerMillion

Name = Annotated[str, Meta(min_length=1, max_length=200)]
Text = Annotated[str, Meta(max_length=1000)]
AmountText = Annotated[str, Meta(max_length=40)]
Nano = Annotated[int, Meta(ge=0, le=10**17)]
SignedNano = Annotated[int, Meta(ge=-(10**17), le=10**17)]
Names = Annotated[tuple[Name, ...], Meta(max_length=256)]
Moment = Annotated[datetime, Meta(tz=True)]
Token = Annotated[str, Meta(min_length=1, max_length=200)]
LongSeconds = Annotated[float, Meta(gt=0, le=100 * 366 * 86400)]


class AlertsWish(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When the account's owner is told, and where."""

    webhook_url: Annotated[str, Meta(max_length=2000)] | None = None
    """An `https://` address that each alert is posted to."""
    balance_below_nano_usd: Annotated[tuple[Nano, ...], Meta(max_length=16)] = ()
    """Tell when the balance falls below one of these."""
    month_percent: Annotated[
        tuple[Annotated[int, Meta(ge=1, le=100)], ...], Meta(max_length=16)
    ] = ()
    """Tell when so much of the monthly limit is spent."""


class AccountWish(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An account to be made."""

    name: Name
    """Unique."""
    plan_id: Name | None = None
    is_prepaid: bool = True
    """Its requests are paid for from its balance. Otherwise they are metered only."""
    monthly_limit_nano_usd: Nano | None = None
    """The most that is charged within one calendar month."""
    monthly_limit: AmountText | None = None
    """The same in US dollars: `"100.00"`."""
    time_zone: Annotated[str, Meta(min_length=1, max_length=64)] = "UTC"
    """A name of the IANA database, where its months begin: `Europe/Vienna`."""
    alerts: AlertsWish = AlertsWish()


class AccountChange(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """What is left out stays as it is."""

    name: Name | UnsetType = UNSET
    plan_id: Name | UnsetType | None = UNSET
    is_prepaid: bool | UnsetType = UNSET
    monthly_limit_nano_usd: Nano | UnsetType | None = UNSET
    monthly_limit: AmountText | UnsetType | None = UNSET
    time_zone: Annotated[str, Meta(min_length=1, max_length=64)] | UnsetType = UNSET
    alerts: AlertsWish | UnsetType = UNSET


class MemberWish(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    email: Annotated[str, Meta(min_length=3, max_length=320)]
    """Unique within the account."""
    role: Role = "viewer"


class MemberChange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    role: Role


class LimitsWish(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """Within any 60 seconds, and at once. Null: not limited here."""

    requests_per_minute: Bound | None = None
    """The most requests within any 60 seconds."""
    tokens_per_minute: Bound | None = None
    """The most tokens, input and output together, within any 60 seconds."""
    concurrent_requests: Bound | None = None
    """The most requests at once."""


class PlanWish(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: Name | None = None
    """Default: the plan's id."""
    limits: LimitsWish = LimitsWish()
    """Of an account as a whole, over all of its keys."""
    models: Names | None = None
    """Models that may be asked for, by id or alias. Null: all."""


class ScopesWish(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """What the key may be used for. Null: everything that its account may."""

    models: Names | None = None
    """By id or alias."""
    projects: Names | None = None
    dialects: Annotated[tuple[DialectName, ...], Meta(max_length=16)] | None = None
    networks: Names | None = None
    """Where its requests may come from: `10.0.0.0/8`, `2001:db8::/32`."""


class KeyWish(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A key to be made."""

    name: Name
    account_id: Annotated[str, Meta(min_length=1, max_length=40)] = "acct_default"
    kind: Literal["client", "admin"] = "client"
    """`client` keys ask for completions, `admin` keys use the admin API."""
    project: Name | None = None
    expires_at: Moment | None = None
    expires_in_s: LongSeconds | None = None
    """The same, from now on."""
    scopes: ScopesWish = ScopesWish()
    limits: LimitsWish = LimitsWish()
    creation_token: Token | None = None
    """Your name for this wish. The same wish with the same token within 24 hours makes no second key: it
    is answered with the first one, and its secret."""


class KeyChange(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """What is left out stays as it is."""

    name: Name | UnsetType = UNSET
    project: Name | UnsetType | None = UNSET
    expires_at: Moment | UnsetType | None = UNSET
    scopes: ScopesWish | UnsetType = UNSET
    limits: LimitsWish | UnsetType = UNSET


class RotationWish(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A key's replacement by one with a new secret, and all else the same."""

    grace_s: Annotated[float, Meta(ge=0, le=366 * 86400)] = 0.0
    """For how long the old key works beside the new one."""
    creation_token: Token | None = None
    """As where a key is made: the same rotation again is answered the same."""


class TierWish(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """In nano-USD for a million tokens."""

    above_input_tokens: Annotated[int, Meta(ge=0, le=1 << 40)] = 0
    """Holds for requests with more input tokens than this."""
    input: PerMillion
    cached_input: PerMillion | None = None
    """Default: as `input`."""
    cache_write: PerMillion | None = None
    """Default: as `input`."""
    output: PerMillion


class PriceWish(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A model's price from a moment on."""

    model: Name
    """An id or alias."""
    valid_from: Moment | None = None
    """Default: now. What was charged before stays as it is."""
    tiers: Annotated[tuple[TierWish, ...], Meta(min_length=1, max_length=16)]


class Payment(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An amount above 0, in one of two forms."""

    amount_nano_usd: Nano | None = None
    amount: AmountText | None = None
    """In US dollars, with at most 9 decimals: `"25.00"`."""
    note: Text | None = None


class Refund(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Of a request's charge, which can be refunded once, or of an amount."""

    request_id: Annotated[str, Meta(min_length=1, max_length=64)] | None = None
    amount_nano_usd: Nano | None = None
    """Default: all that the request was charged."""
    amount: AmountText | None = None
    note: Text | None = None


class Adjustment(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A correction, up or down; never below a free balance of 0."""

    amount_nano_usd: SignedNano | None = None
    amount: AmountText | None = None
    """In US dollars: `"-3.50"`."""
    note: Annotated[str, Meta(min_length=1, max_length=1000)]
    """Why."""
