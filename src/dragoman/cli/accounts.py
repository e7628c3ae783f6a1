"""`dragoman accounts`: who pays, who belongs to them, and what holds for them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import msgspec
import typer

from dragoman.cli.administering import (
    find_account,
    opened_administration,
    parse_amount,
    print_fields,
    print_table,
    show_time,
    show_time_or_none,
    show_usd,
    tell,
)
from dragoman.cli.terminal import ConfigOption, DataDirOption, Failure, JsonOption, print_json

if TYPE_CHECKING:
    from dragoman.policy.administration import Administration, AlertsWish
    from dragoman.records.account import Account, Alerts, Member
    from dragoman.records.ledger_entry import Balance

accounts_app = typer.Typer(
    help="Make and change accounts: who pays for requests, and how much they may.",
    no_args_is_help=True,
    epilog="Example: dragoman accounts create acme --monthly-limit 100",
)
members_app = typer.Typer(
    help="List, add and remove the people who belong to an account.",
    no_args_is_help=True,
    epilog="Example: dragoman accounts members add acme ann@example.com --role owner",
)
accounts_app.add_typer(members_app, name="members")

RoleName = Literal["owner", "developer", "viewer"]

AccountArgument = Annotated[str, typer.Argument(metavar="ACCOUNT", help="An account's id or name.")]
PlanOption = Annotated[str | None, typer.Option("--plan", help="Its plan's id, or none.")]
MonthlyLimitOption = Annotated[
    str | None,
    typer.Option(
        "--monthly-limit", metavar="USD", help="The most that a calendar month may cost, or none."
    ),
]
TimeZoneOption = Annotated[
    str | None,
    typer.Option("--time-zone", metavar="NAME", help="Where its months begin: Europe/Vienna."),
]
WebhookOption = Annotated[
    str | None,
    typer.Option("--webhook", metavar="URL", help="Where alerts are sent, or none."),
]
AlertBelowOption = Annotated[
    list[str] | None,
    typer.Option(
        "--alert-below", metavar="USD", help="Alert when the balance falls below; may be repeated."
    ),
]
AlertPercentOption = Annotated[
    list[int] | None,
    typer.Option(
        "--alert-percent",
        metavar="NUMBER",
        help="Alert at so much of the monthly limit; may be repeated.",
    ),
]


class AccountRow(msgspec.Struct, frozen=True, kw_only=True):
    """An account as `--json` shows it. Amounts are exact: in US dollars, and in nano-USD."""

    id: str
    name: str
    is_prepaid: bool
    plan: str | None
    balance: str
    balance_nano_usd: int
    held_nano_usd: int
    month: int
    month_spent: str
    month_spent_nano_usd: int
    monthly_limit: str | None
    monthly_limit_nano_usd: int | None
    time_zone: str
    webhook_url: str | None
    alert_below_nano_usd: tuple[int, ...]
    alert_percent: tuple[int, ...]
    created: str
    suspended: str | None


class MemberRow(msgspec.Struct, frozen=True, kw_only=True):
    """A member as `--json` shows it."""

    id: str
    email: str
    role: str
    added: str


@accounts_app.command("list", epilog="Example: dragoman accounts list --json")
def list_accounts(
    as_json: JsonOption = False, config: ConfigOption = None, data_dir: DataDirOption = None
) -> None:
    """List accounts with their balances."""
    with opened_administration(config, data_dir) as (office, _):
        accounts = office.accounts.list_all()
        balances = {balance.account_id: balance for balance in office.money.balances()}
    rows = [_row(account, balances[account.id]) for account in accounts]
    if as_json:
        print_json(rows)
        return
    print_table(
        ("ID", "NAME", "PLAN", ">BALANCE", ">THIS MONTH", ">MONTHLY LIMIT", "STATE"),
        (
            (
                *(row.id, row.name, row.plan),
                show_usd(row.balance_nano_usd) if row.is_prepaid else "not prepaid",
                show_usd(row.month_spent_nano_usd),
                _usd_or_none(row.monthly_limit_nano_usd),
                "active" if row.suspended is None else "suspended",
            )
            for row in rows
        ),
    )


@accounts_app.command(epilog="Example: dragoman accounts show acme")
def show(
    account: AccountArgument,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """Show an account, its balance and what holds for it."""
    with opened_administration(config, data_dir) as (office, _):
        _print(office, find_account(office, account), as_json=as_json)


@accounts_app.command(
    epilog="Example: dragoman accounts create acme --plan small --monthly-limit 100 --alert-below 5"
)
def create(
    name: Annotated[str, typer.Argument(help="What the account is called; no two are alike.")],
    plan: PlanOption = None,
    prepaid: Annotated[
        bool,
        typer.Option(
            "--prepaid/--not-prepaid",
            help="Paid for from its balance, or metered only.",
        ),
    ] = True,
    monthly_limit: MonthlyLimitOption = None,
    time_zone: TimeZoneOption = None,
    webhook: WebhookOption = None,
    alert_below: AlertBelowOption = None,
    alert_percent: AlertPercentOption = None,
    token: Annotated[
        str | None,
        typer.Option(
            "--token", metavar="TEXT", help="Your name for this wish: repeated, it makes no second."
        ),
    ] = None,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """Make an account. It can be used as soon as it has a key and credits."""
    from dragoman.policy.administration import AccountWish, AlertsWish

    with opened_administration(config, data_dir) as (office, _):
        alerts = _alerts(None, webhook, alert_below, alert_percent)
        wish = AccountWish(
            name=name,
            plan_id=plan,
            is_prepaid=prepaid,
            monthly_limit=monthly_limit,
            time_zone=time_zone or "UTC",
            alerts=AlertsWish() if alerts is None else alerts,
        )
        made, _ = office.accounts.create(wish, token=token)
        _print(office, made, as_json=as_json)
    if not as_json and prepaid:
        tell(f"Next: dragoman credits top-up {made.id} 25 && dragoman keys create app -a {made.id}")


@accounts_app.command(epilog="Example: dragoman accounts change acme --monthly-limit 250")
def change(
    account: AccountArgument,
    name: Annotated[str | None, typer.Option("--name", help="Its new name.")] = None,
    plan: PlanOption = None,
    prepaid: Annotated[
        bool | None,
        typer.Option("--prepaid/--not-prepaid", help="Paid for from its balance, or metered only."),
    ] = None,
    monthly_limit: MonthlyLimitOption = None,
    time_zone: TimeZoneOption = None,
    webhook: WebhookOption = None,
    alert_below: AlertBelowOption = None,
    alert_percent: AlertPercentOption = None,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """Change what holds for an account, from its next request on. What is not named stays."""
    from msgspec import UNSET

    from dragoman.policy.administration import AccountChange

    with opened_administration(config, data_dir) as (office, _):
        found = find_account(office, account)
        alerts = _alerts(found.alerts, webhook, alert_below, alert_percent)
        wish = AccountChange(
            name=UNSET if name is None else name,
            plan_id=UNSET if plan is None else None if plan == "none" else plan,
            is_prepaid=UNSET if prepaid is None else prepaid,
            monthly_limit=UNSET
            if monthly_limit is None
            else None
            if monthly_limit == "none"
            else monthly_limit,
            time_zone=UNSET if time_zone is None else time_zone,
            alerts=UNSET if alerts is None else alerts,
        )
        _print(office, office.accounts.change(found.id, wish), as_json=as_json)


@accounts_app.command(epilog="Example: dragoman accounts suspend acme")
def suspend(
    account: AccountArgument, config: ConfigOption = None, data_dir: DataDirOption = None
) -> None:
    """Refuse an account's keys from their next request on. Nothing of it is lost."""
    with opened_administration(config, data_dir) as (office, _):
        done = office.accounts.suspend(find_account(office, account).id)
    typer.echo(f"Suspended {done.id} ({done.name}); undo: dragoman accounts resume {done.id}")


@accounts_app.command(epilog="Example: dragoman accounts resume acme")
def resume(
    account: AccountArgument, config: ConfigOption = None, data_dir: DataDirOption = None
) -> None:
    """Take a suspended account's keys again."""
    with opened_administration(config, data_dir) as (office, _):
        done = office.accounts.resume(find_account(office, account).id)
    typer.echo(f"Resumed {done.id} ({done.name}).")


# --- Members ------------------------------------------------------------------------------------


@members_app.command("list", epilog="Example: dragoman accounts members list acme")
def list_members(
    account: AccountArgument,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """List the people who belong to an account."""
    with opened_administration(config, data_dir) as (office, _):
        members = office.accounts.members(find_account(office, account).id)
    rows = [_member_row(member) for member in members]
    if as_json:
        print_json(rows)
    elif rows:
        print_table(
            ("ID", "E-MAIL", "ROLE", "ADDED"),
            ((row.id, row.email, row.role, row.added) for row in rows),
        )
    else:
        tell(f"It has none; add one with: dragoman accounts members add {account} E-MAIL")


@members_app.command(
    epilog="Example: dragoman accounts members add acme ann@example.com --role owner"
)
def add(
    account: AccountArgument,
    email: Annotated[str, typer.Argument(help="Their e-mail address.")],
    role: Annotated[RoleName, typer.Option("--role", help="What they may do.")] = "viewer",
    as_json: JsonOption = False,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """Let a person belong to an account; for one who does already, set the role."""
    from dragoman.policy.administration import MemberChange, MemberWish

    with opened_administration(config, data_dir) as (office, _):
        account_id = find_account(office, account).id
        known = _known_member(office, account_id, email)
        if known is None:
            member, _ = office.accounts.add_member(account_id, MemberWish(email=email, role=role))
        else:
            member = office.accounts.change_member(account_id, known.id, MemberChange(role=role))
    if as_json:
        print_json(_member_row(member))
        return
    typer.echo(f"{member.email} is {member.role} of {account_id}, as {member.id}.")


@members_app.command(epilog="Example: dragoman accounts members remove acme ann@example.com")
def remove(
    account: AccountArgument,
    member: Annotated[str, typer.Argument(help="Their e-mail address, or the member's id.")],
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """Take a person out of an account."""
    with opened_administration(config, data_dir) as (office, _):
        account_id = find_account(office, account).id
        known = _known_member(office, account_id, member)
        if known is None:
            raise Failure(
                f"{member!r} is no member; see: dragoman accounts members list {account_id}"
            )
        office.accounts.remove_member(account_id, known.id)
    typer.echo(f"Removed {known.email} from {account_id}.")


def _known_member(office: Administration, account_id: str, wanted: str) -> Member | None:
    for member in office.accounts.members(account_id):
        if member.id == wanted or member.email.casefold() == wanted.casefold():
            return member
    return None


def _member_row(member: Member) -> MemberRow:
    return MemberRow(
        id=member.id, email=member.email, role=member.role, added=show_time(member.created_s)
    )


# --- What is wished for, and what is told -------------------------------------------------------


def _alerts(
    kept: Alerts | None, webhook: str | None, below: list[str] | None, percent: list[int] | None
) -> AlertsWish | None:
    """`None` where nothing is said of alerts."""
    if webhook is None and not below and not percent:
        return None
    from dragoman.policy.administration import AlertsWish

    wish = AlertsWish()
    if kept is not None:
        wish = AlertsWish(
            webhook_url=kept.webhook_url,
            balance_below_nano_usd=kept.balance_below_nano_usd,
            month_percent=kept.month_percent,
        )
    if webhook is not None:
        wish = msgspec.structs.replace(wish, webhook_url=None if webhook == "none" else webhook)
    if below:
        wish = msgspec.structs.replace(
            wish,
            balance_below_nano_usd=tuple(parse_amount(text, "--alert-below") for text in below),
        )
    if percent:
        wish = msgspec.structs.replace(wish, month_percent=tuple(percent))
    return wish


def _row(account: Account, balance: Balance) -> AccountRow:
    from dragoman.policy.administration import format_usd

    limit = account.monthly_limit_nano_usd
    return AccountRow(
        id=account.id,
        name=account.name,
        is_prepaid=account.is_prepaid,
        plan=account.plan_id,
        balance=format_usd(balance.total_nano_usd),
        balance_nano_usd=balance.total_nano_usd,
        held_nano_usd=balance.held_nano_usd,
        month=balance.month,
        month_spent=format_usd(balance.month_spent_nano_usd),
        month_spent_nano_usd=balance.month_spent_nano_usd,
        monthly_limit=None if limit is None else format_usd(limit),
        monthly_limit_nano_usd=limit,
        time_zone=account.time_zone,
        webhook_url=account.alerts.webhook_url,
        alert_below_nano_usd=account.alerts.balance_below_nano_usd,
        alert_percent=account.alerts.month_percent,
        created=show_time(account.created_s),
        suspended=show_time_or_none(account.suspended_s),
    )


def _print(office: Administration, account: Account, *, as_json: bool) -> None:
    row = _row(account, office.money.balance(account.id))
    if as_json:
        print_json(row)
        return
    print_fields(
        (
            ("id", row.id),
            ("name", row.name),
            ("prepaid", "yes" if row.is_prepaid else "no: metered only"),
            ("plan", row.plan),
            ("balance", show_usd(row.balance_nano_usd)),
            ("of it held", show_usd(row.held_nano_usd)),
            ("spent this month", show_usd(row.month_spent_nano_usd)),
            ("monthly limit", _usd_or_none(row.monthly_limit_nano_usd)),
            ("time zone", row.time_zone),
            ("webhook", row.webhook_url),
            ("alert below", ", ".join(map(show_usd, row.alert_below_nano_usd))),
            ("alert at", ", ".join(f"{percent} %" for percent in row.alert_percent)),
            ("created", row.created),
            ("suspended", row.suspended),
        )
    )


def _usd_or_none(nano: int | None) -> str | None:
    return None if nano is None else show_usd(nano)
