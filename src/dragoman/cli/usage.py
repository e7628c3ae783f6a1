"""`dragoman usage`: what was asked and what it cost; records, sums and exports."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec
import typer

from dragoman.cli.administering import (
    DEFAULT_LIMIT,
    AccountOption,
    BeforeOption,
    FromOption,
    LimitOption,
    SessionOption,
    ToOption,
    UserOption,
    account_names,
    find_account,
    opened_administration,
    print_fields,
    print_table,
    question_of,
    show_time,
    show_usd,
    tell,
)
from dragoman.cli.exporting import write_file, write_stdout
from dragoman.cli.terminal import ConfigOption, DataDirOption, Failure, JsonOption, print_json

if TYPE_CHECKING:
    from dragoman.policy.administration import Administration
    from dragoman.policy.administration.usage import UsageQuestion, UsageRow

usage_app = typer.Typer(
    help="List, sum and export what was asked and what it cost.",
    no_args_is_help=True,
    epilog="Example: dragoman usage groups --by day,model --from -30d",
)

KeyOption = Annotated[str | None, typer.Option("--key", "-k", metavar="ID", help="A key's id.")]
ModelOption = Annotated[
    str | None, typer.Option("--model", "-m", help="The model that answered: id or alias.")
]
ProjectOption = Annotated[str | None, typer.Option("--project", "-p", help="The key's project.")]
StatusOption = Annotated[
    str | None,
    typer.Option(
        "--status", help="ok, client_gone, failed, interrupted, refused or replayed: how it ended."
    ),
]
DialectOption = Annotated[
    str | None, typer.Option("--dialect", help="openai, studio, dreamsolve or anthropic.")
]
LabelOption = Annotated[
    str | None, typer.Option("--label", metavar="NAME:VALUE", help="A label of the request.")
]


class PageRow(msgspec.Struct, frozen=True, kw_only=True):
    """What `list --json` shows."""

    records: list[msgspec.Raw]
    next: int | None
    """For `--before`, to go on; null: there is no more."""


class Exported(msgspec.Struct, frozen=True, kw_only=True):
    """What `export --output FILE --json` shows."""

    file: str
    records: int


@usage_app.command("list", epilog="Example: dragoman usage list --account acme --status failed")
def list_usage(
    account: AccountOption = None,
    key: KeyOption = None,
    model: ModelOption = None,
    project: ProjectOption = None,
    status: StatusOption = None,
    dialect: DialectOption = None,
    label: LabelOption = None,
    session: SessionOption = None,
    user: UserOption = None,
    from_: FromOption = None,
    to: ToOption = None,
    limit: LimitOption = DEFAULT_LIMIT,
    before: BeforeOption = None,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """List requests, newest first: never what was said, only how much, and what it cost."""
    from dragoman.policy.administration.usage import usage_row

    with opened_administration(config, data_dir) as (office, _):
        question = _question(
            office,
            account,
            from_,
            to,
            {
                "key_id": key,
                "model": model,
                "project": project,
                "status": status,
                "dialect": dialect,
                "label": label,
                "session_id": session,
                "user": user,
            },
        )
        page = office.usage.page(question, before=before, limit=limit)
    rows = [usage_row(kept.record) for kept in page.records]
    if as_json:
        encoded = [msgspec.Raw(msgspec.json.encode(row)) for row in rows]
        print_json(PageRow(records=encoded, next=page.before))
        return
    if rows:
        print_table(
            (
                *("TIME", "REQUEST", "KEY", "MODEL", "STATUS"),
                *(">INPUT", ">OUTPUT", ">COST", ">MS"),
            ),
            map(_cells, rows),
        )
    elif page.before is None:
        tell("There are no such requests.")
    if page.before is not None:
        tell(f"More: dragoman usage list --before {page.before}")


@usage_app.command(epilog="Example: dragoman usage show req_0123456789abcdef01234567")
def show(
    request: Annotated[
        str, typer.Argument(metavar="REQUEST", help="The request's id: an answer's x-request-id.")
    ],
    as_json: JsonOption = False,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """Show all that is kept of one request."""
    from dragoman.policy.administration.usage import usage_row

    with opened_administration(config, data_dir) as (office, _):
        row = usage_row(office.usage.find(request))
    if as_json:
        print_json(row)
        return
    values = msgspec.to_builtins(row)
    print_fields(
        (
            name,
            value
            if isinstance(value, str) or value is None
            else msgspec.json.encode(value).decode(),
        )
        for name, value in values.items()
    )


@usage_app.command(
    epilog="Examples: dragoman usage groups --by day,model; dragoman usage groups --by label:team"
)
def groups(
    by: Annotated[
        str,
        typer.Option(
            "--by",
            metavar="WHAT",
            help="One or two of day, model, key, project, account, status, label:NAME.",
        ),
    ] = "day",
    account: AccountOption = None,
    key: KeyOption = None,
    model: ModelOption = None,
    project: ProjectOption = None,
    status: StatusOption = None,
    dialect: DialectOption = None,
    label: LabelOption = None,
    session: SessionOption = None,
    user: UserOption = None,
    from_: FromOption = None,
    to: ToOption = None,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """Sum requests, tokens and cost by day, model, key, project, account, status or a label."""
    from dragoman.policy.administration.usage import usage_sum

    groupings = [part.strip() for part in by.split(",")]
    with opened_administration(config, data_dir) as (office, _):
        question = _question(
            office,
            account,
            from_,
            to,
            {
                "key_id": key,
                "model": model,
                "project": project,
                "status": status,
                "dialect": dialect,
                "label": label,
                "session_id": session,
                "user": user,
            },
        )
        found = office.usage.groups(question, groupings)
        names = account_names(office)
    rows = [usage_sum(group, groupings) for group in found.groups]
    if as_json:
        print_json(rows)
    else:
        print_table(
            (
                *(grouping.upper() for grouping in groupings),
                *(">REQUESTS", ">INPUT", ">OUTPUT", ">COST"),
            ),
            (
                (
                    *(names.get(value or "", value or "–") for value in row.by.values()),
                    *(f"{n:,}" for n in (row.requests, row.input_tokens, row.output_tokens)),
                    show_usd(row.cost_nano_usd),
                )
                for row in rows
            ),
        )
    if found.is_cut:
        tell("There are more groups than are shown: narrow it with --from, --to and others.")


@usage_app.command(
    epilog="Example: dragoman usage export --from 2026-11-01 --to 2026-12-01 --output november.csv"
)
def export(
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="FILE", dir_okay=False, help="Where to write. [stdout]"
        ),
    ] = None,
    layout: Annotated[
        Literal["csv", "jsonl"] | None,
        typer.Option("--format", help="csv or jsonl. [by the file's name, else jsonl]"),
    ] = None,
    account: AccountOption = None,
    key: KeyOption = None,
    model: ModelOption = None,
    project: ProjectOption = None,
    status: StatusOption = None,
    dialect: DialectOption = None,
    label: LabelOption = None,
    session: SessionOption = None,
    user: UserOption = None,
    from_: FromOption = None,
    to: ToOption = None,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """Write every record, the oldest first, as CSV or as JSON lines.

    What was charged adds up to the ledger's settlements. A file is there whole, or not at all.
    """
    chosen: Literal["csv", "jsonl"] = layout or (
        "csv" if output is not None and output.suffix.lower() == ".csv" else "jsonl"
    )
    if as_json and output is None:
        raise Failure("--json says what was written to a file; name it with --output", exit_code=2)
    with opened_administration(config, data_dir) as (office, _):
        question = _question(
            office,
            account,
            from_,
            to,
            {
                "key_id": key,
                "model": model,
                "project": project,
                "status": status,
                "dialect": dialect,
                "label": label,
                "session_id": session,
                "user": user,
            },
        )
        pieces = office.usage.export(question, chosen)
        if output is None:
            write_stdout(pieces)
            return
        count = write_file(output, pieces, noun="records", is_csv=chosen == "csv")
    if as_json:
        print_json(Exported(file=str(output), records=count))
    else:
        tell(f"Wrote {count:,} records to {output}.")


def _question(
    office: Administration,
    account: str | None,
    from_: str | None,
    to: str | None,
    filters: dict[str, str | None],
) -> UsageQuestion:
    from dragoman.policy.administration.usage import UsageQuestion

    question = question_of(UsageQuestion, filters, from_, to)
    account_id = None if account is None else find_account(office, account).id
    return msgspec.structs.replace(question, account_id=account_id)


def _cells(row: UsageRow) -> tuple[str | None, ...]:
    return (
        show_time(row.started_at.timestamp()),
        row.request_id,
        row.key_id,
        row.model or row.model_asked,
        row.status,
        f"{row.input_tokens:,}",
        f"{row.output_tokens:,}" + ("~" if row.is_estimated else ""),
        show_usd(row.cost_nano_usd),
        f"{row.total_ms:,.0f}",
    )
