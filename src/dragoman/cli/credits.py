"""`dragoman credits`: balances, and what people do to them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from dragoman.cli.accounts import AccountArgument
from dragoman.cli.administering import (
    account_names,
    find_account,
    opened_administration,
    print_fields,
    print_table,
    show_usd,
    tell,
)
from dragoman.cli.ledger import EntryRow, entry_row
from dragoman.cli.terminal import ConfigOption, DataDirOption, JsonOption, print_json

if TYPE_CHECKING:
    from dragoman.policy.administration import Administration
    from dragoman.records.ledger_entry import Balance, LedgerEntry

credits_app = typer.Typer(
    help="Show balances, and top up, refund or adjust them.",
    no_args_is_help=True,
    epilog="Example: dragoman credits top-up acme 25",
)

AmountArgument = Annotated[
    str, typer.Argument(metavar="USD", help="US dollars, with at most 9 decimals: 25 or 0.000001.")
]
NoteOption = Annotated[
    str | None, typer.Option("--note", metavar="TEXT", help="Kept with the entry.")
]
IdempotencyKeyOption = Annotated[
    str | None,
    typer.Option(
        "--idempotency-key",
        metavar="TEXT",
        help="The same again changes nothing. Drawn, and told, where none is given.",
    ),
]


class BalanceRow(msgspec.Struct, frozen=True, kw_only=True):
    """A balance as `--json` shows it: in US dollars and in nano-USD, both exact."""

    account: str
    name: str
    balance: str
    balance_nano_usd: int
    free_nano_usd: int
    held_nano_usd: int
    month: int
    month_spent: str
    month_spent_nano_usd: int


class PostedRow(msgspec.Struct, frozen=True, kw_only=True):
    """A posting as `--json` shows it."""

    entry: EntryRow
    is_new: bool
    """False: the same was posted before, and nothing has changed."""
    balance: BalanceRow


@credits_app.command(epilog="Example: dragoman credits show acme")
def show(
    account: Annotated[
        str | None, typer.Argument(metavar="ACCOUNT", help="An id or name. Default: all.")
    ] = None,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """Show what an account, or each account, has and holds."""
    with opened_administration(config, data_dir) as (office, _):
        names = account_names(office)
        if account is None:
            rows = [_balance_row(balance, names) for balance in office.money.balances()]
        else:
            rows = [_balance_row(office.money.balance(find_account(office, account).id), names)]
    if as_json:
        print_json(rows if account is None else rows[0])
    elif account is None:
        print_table(
            ("ACCOUNT", "NAME", ">BALANCE", ">FREE", ">HELD", ">THIS MONTH"),
            (
                (
                    *(row.account, row.name),
                    *map(show_usd, (row.balance_nano_usd, row.free_nano_usd, row.held_nano_usd)),
                    show_usd(row.month_spent_nano_usd),
                )
                for row in rows
            ),
        )
    else:
        (row,) = rows
        print_fields(
            (
                ("account", f"{row.account} ({row.name})"),
                ("balance", show_usd(row.balance_nano_usd)),
                ("free", show_usd(row.free_nano_usd)),
                ("held", show_usd(row.held_nano_usd)),
                ("spent this month", show_usd(row.month_spent_nano_usd)),
            )
        )


@credits_app.command(
    "top-up", epilog="Example: dragoman credits top-up acme 25 --idempotency-key invoice-2026-117"
)
def top_up(
    account: AccountArgument,
    amount: AmountArgument,
    note: NoteOption = None,
    idempotency_key: IdempotencyKeyOption = None,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """Add to an account's balance. Running servers know of it at once."""
    from dragoman.policy.administration import Payment

    key = _told_key(idempotency_key)
    with opened_administration(config, data_dir) as (office, _):
        found = find_account(office, account)
        posted = office.money.top_up(found.id, Payment(amount=amount, note=note), key)
        _tell_posted(office, *posted, as_json=as_json)


@credits_app.command(
    epilog="Examples: dragoman credits refund acme --request req_…; dragoman credits refund acme 2.50"
)
def refund(
    account: AccountArgument,
    amount: Annotated[
        str | None,
        typer.Argument(metavar="USD", help="Default: all that the request was charged."),
    ] = None,
    request: Annotated[
        str | None,
        typer.Option("--request", metavar="ID", help="The request whose charge is given back."),
    ] = None,
    note: NoteOption = None,
    idempotency_key: IdempotencyKeyOption = None,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """Give back what a request was charged, once, or an amount."""
    from dragoman.policy.administration import Refund

    key = idempotency_key if request is not None else _told_key(idempotency_key)
    with opened_administration(config, data_dir) as (office, _):
        found = find_account(office, account)
        wish = Refund(request_id=request, amount=amount, note=note)
        _tell_posted(office, *office.money.refund(found.id, wish, key), as_json=as_json)


@credits_app.command(
    epilog='Example: dragoman credits adjust acme -3.50 --note "counted twice"',
    context_settings={"ignore_unknown_options": True},
)
def adjust(
    account: AccountArgument,
    amount: Annotated[
        str,
        typer.Argument(metavar="USD", help="US dollars to add, or with a minus to take: -3.50."),
    ],
    note: Annotated[str, typer.Option("--note", metavar="TEXT", help="Why: kept with the entry.")],
    idempotency_key: IdempotencyKeyOption = None,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """Correct a balance, up or down. Never takes more than is free."""
    from dragoman.policy.administration import Adjustment

    key = _told_key(idempotency_key)
    with opened_administration(config, data_dir) as (office, _):
        found = find_account(office, account)
        posted = office.money.adjust(found.id, Adjustment(amount=amount, note=note), key)
        _tell_posted(office, *posted, as_json=as_json)


def _told_key(given: str | None) -> str:
    """The caller's idempotency key; a drawn one is told before anything is posted, to repeat it with."""
    if given is not None:
        return given
    import secrets

    drawn = f"cli-{secrets.token_hex(12)}"
    tell(f"Idempotency key: {drawn} (repeat with --idempotency-key if this is cut off)")
    return drawn


def _tell_posted(
    office: Administration, entry: LedgerEntry, is_new: bool, *, as_json: bool
) -> None:
    balance = office.money.balance(entry.account_id)
    row = _balance_row(balance, account_names(office))
    if as_json:
        print_json(PostedRow(entry=entry_row(entry), is_new=is_new, balance=row))
        return
    if not is_new:
        tell(
            f"Entry {entry.sequence} was posted before with this idempotency key: nothing changed."
        )
    typer.echo(f"{row.account} ({row.name}) has {show_usd(row.balance_nano_usd)}.")


def _balance_row(balance: Balance, names: dict[str, str]) -> BalanceRow:
    from dragoman.policy.administration import format_usd

    return BalanceRow(
        account=balance.account_id,
        name=names.get(balance.account_id, balance.account_id),
        balance=format_usd(balance.total_nano_usd),
        balance_nano_usd=balance.total_nano_usd,
        free_nano_usd=balance.free_nano_usd,
        held_nano_usd=balance.held_nano_usd,
        month=balance.month,
        month_spent=format_usd(balance.month_spent_nano_usd),
        month_spent_nano_usd=balance.month_spent_nano_usd,
    )
