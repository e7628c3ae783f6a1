"""`dragoman ledger`: every movement of money, and the check that they add up."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import typer

from dragoman.cli.administering import (
    DEFAULT_LIMIT,
    AccountOption,
    BeforeOption,
    LimitOption,
    find_account,
    opened_administration,
    print_table,
    show_time,
    show_usd,
    tell,
)
from dragoman.cli.terminal import (
    ConfigOption,
    DataDirOption,
    Failure,
    JsonOption,
    print_json,
    read_config,
)

if TYPE_CHECKING:
    from dragoman.records.ledger_entry import LedgerEntry

ledger_app = typer.Typer(
    help="List the entries of the ledger, and verify every balance against them.",
    no_args_is_help=True,
    epilog="Example: dragoman ledger verify",
)


class EntryRow(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An entry as `--json` shows it."""

    number: int
    time: str
    kind: str
    account: str
    amount: str
    amount_nano_usd: int
    from_book: str
    to_book: str
    idempotency_key: str
    request: str | None = None
    note: str | None = None


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What `verify --json` shows."""

    is_right: bool
    differences: list[str]


@ledger_app.command("list", epilog="Example: dragoman ledger list --account acme --limit 20")
def list_entries(
    account: AccountOption = None,
    limit: LimitOption = DEFAULT_LIMIT,
    before: BeforeOption = None,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """List entries, newest first. Each moves an amount from one book to another."""
    with opened_administration(config, data_dir) as (office, _):
        account_id = None if account is None else find_account(office, account).id
        entries = office.money.entries(account_id, before=before, limit=limit)
    rows = [entry_row(entry) for entry in entries]
    if as_json:
        print_json(rows)
        return
    if not rows:
        tell("There are no entries.")
        return
    print_table(
        (">NO.", "TIME", "KIND", "ACCOUNT", ">AMOUNT", "FROM", "TO", "REQUEST", "NOTE"),
        (
            (
                *(str(row.number), row.time, row.kind, row.account, show_usd(row.amount_nano_usd)),
                *(row.from_book, row.to_book, row.request, row.note),
            )
            for row in rows
        ),
    )
    if len(rows) == limit:
        tell(f"More: dragoman ledger list --before {rows[-1].number}")


@ledger_app.command(epilog="Example: dragoman ledger verify --json")
def verify(
    as_json: JsonOption = False, config: ConfigOption = None, data_dir: DataDirOption = None
) -> None:
    """Recompute every balance from the ledger. Ends with 1 where anything differs, and names it."""
    _require_books(config, data_dir)
    with opened_administration(config, data_dir) as (office, _):
        differences = office.money.verify()
    if as_json:
        print_json(Verdict(is_right=not differences, differences=differences))
    elif differences:
        for difference in differences:
            typer.echo(difference)
        plural = "s" if len(differences) > 1 else ""
        tell(f"{len(differences)} difference{plural}: restore a backup, or adjust and say why.")
    else:
        typer.echo("All is right: every balance, charge and sum follows from the ledger.")
    if differences:
        raise typer.Exit(1)


def _require_books(config_path: Path | None, data_dir: Path | None) -> None:
    """Of a directory that was mistyped, "all is right" would be said of books made for the question."""
    from dragoman.stores.connection import DATABASE_NAME

    settings = read_config(config_path, data_dir=data_dir)
    if not (settings.data_dir / DATABASE_NAME).exists():
        raise Failure(f"there are no books in {settings.data_dir}; name another with --data-dir")


def entry_row(entry: LedgerEntry) -> EntryRow:
    from dragoman.policy.administration import format_usd

    return EntryRow(
        number=entry.sequence,
        time=show_time(entry.posted_s),
        kind=entry.kind,
        account=entry.account_id,
        amount=format_usd(entry.amount_nano_usd),
        amount_nano_usd=entry.amount_nano_usd,
        from_book=entry.from_book,
        to_book=entry.to_book,
        # As it was given; the ledger sets people's keys apart from its own.
        idempotency_key=entry.idempotency_key.removeprefix("key:"),
        request=entry.request_id,
        note=entry.note,
    )
