"""`dragoman audit`: who changed what."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from dragoman.cli.administering import (
    DEFAULT_LIMIT,
    BeforeOption,
    LimitOption,
    opened_administration,
    print_table,
    show_time,
    tell,
)
from dragoman.cli.terminal import ConfigOption, DataDirOption, JsonOption, print_json

if TYPE_CHECKING:
    from dragoman.records.audit_event import AuditEvent

audit_app = typer.Typer(
    help="List who changed accounts, keys, plans, prices and money.",
    no_args_is_help=True,
    epilog="Example: dragoman audit list",
)


class EventRow(msgspec.Struct, frozen=True, kw_only=True):
    """An event as `--json` shows it."""

    number: int
    time: str
    actor: str
    action: str
    subject: str
    detail: msgspec.Raw


@audit_app.command("list", epilog="Example: dragoman audit list --subject acct_default --json")
def list_events(
    subject: Annotated[
        str | None,
        typer.Option("--subject", metavar="ID", help="Only what was done to this account, key, …"),
    ] = None,
    limit: LimitOption = DEFAULT_LIMIT,
    before: BeforeOption = None,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """List changes, newest first: by the command line (cli:USER), the settings file (file:PATH), keys, and the server."""
    with opened_administration(config, data_dir) as (office, _):
        events = office.audit(subject=subject, before=before, limit=limit)
    rows = [_row(number, event) for number, event in events]
    if as_json:
        print_json(rows)
        return
    if not rows:
        tell("Nothing was changed yet.")
        return
    print_table(
        (">NO.", "TIME", "ACTOR", "ACTION", "SUBJECT", "DETAIL"),
        (
            (
                *(str(row.number), row.time, row.actor, row.action, row.subject),
                bytes(row.detail).decode(),
            )
            for row in rows
        ),
    )
    if len(rows) == limit:
        tell(f"More: dragoman audit list --before {rows[-1].number}")


def _row(number: int, event: AuditEvent) -> EventRow:
    return EventRow(
        number=number,
        time=show_time(event.at_s),
        actor=event.actor,
        action=event.action,
        subject=event.subject,
        detail=event.detail,
    )
