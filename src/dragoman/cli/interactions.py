"""`dragoman interactions`: what was asked of projects, and what was answered."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec
import typer

from dragoman.cli.administering import (
    DEFAULT_LIMIT,
    AccountOption,
    FromOption,
    LimitOption,
    ProjectArgument,
    SessionOption,
    ToOption,
    UserOption,
    confirm,
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
    from dragoman.policy.interactions.rows import InteractionRow

interactions_app = typer.Typer(
    help="List, search, export, import and delete what was asked of projects.",
    no_args_is_help=True,
    epilog="Example: dragoman interactions list --project support --search refund --from -7d",
)

STDIN = Path("-")
BATCH_LINES = 500
"""Of an import: each batch is kept whole, or not at all."""
MAX_LINE_BYTES = 20 << 20
MAX_TEXT_CHARS = 60

ProjectOption = Annotated[
    str | None, typer.Option("--project", "-p", help="A project's key or id.")
]
ModelOption = Annotated[
    str | None,
    typer.Option("--model", "-m", help="The model that answered, or the key of the project's."),
]
LabelOption = Annotated[
    list[str] | None,
    typer.Option("--label", metavar="NAME[:VALUE]", help="A label; may be repeated: all of them."),
]
TagOption = Annotated[
    list[str] | None, typer.Option("--tag", help="A tag; may be repeated: all of them.")
]
CampaignOption = Annotated[str | None, typer.Option("--campaign", help="A campaign's key or id.")]
ArmOption = Annotated[str | None, typer.Option("--arm", help="The campaign's arm that was meant.")]
StatusOption = Annotated[
    str | None, typer.Option("--status", help="ok, client_gone, failed or interrupted.")
]
SourceOption = Annotated[
    str | None, typer.Option("--source", help="completion (answered here) or import.")
]
MetricOption = Annotated[
    str | None, typer.Option("--metric", help="With feedback of this metric: its key or id.")
]
SearchOption = Annotated[
    str | None,
    typer.Option(
        "--search", metavar="WORDS", help='Words that all occur in it; "in quotes": a phrase.'
    ),
]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do it without asking.")]


class PageRow(msgspec.Struct, frozen=True, kw_only=True):
    """What `list --json` shows."""

    interactions: list[msgspec.Raw]
    next: str | None
    """For `--before`, to go on; null: there is no more."""


class Exported(msgspec.Struct, frozen=True, kw_only=True):
    """What `export --output FILE --json` shows."""

    file: str
    interactions: int


class ImportedRow(msgspec.Struct, frozen=True, kw_only=True):
    """What `import --json` shows."""

    interactions: int
    feedback: int


@interactions_app.command(
    "list",
    epilog="Example: dragoman interactions list --project support --search 'late delivery' --from -7d",
)
def list_interactions(
    project: ProjectOption = None,
    account: AccountOption = None,
    model: ModelOption = None,
    session: SessionOption = None,
    user: UserOption = None,
    label: LabelOption = None,
    tag: TagOption = None,
    campaign: CampaignOption = None,
    arm: ArmOption = None,
    status: StatusOption = None,
    source: SourceOption = None,
    metric: MetricOption = None,
    search: SearchOption = None,
    from_: FromOption = None,
    to: ToOption = None,
    limit: LimitOption = DEFAULT_LIMIT,
    before: Annotated[
        str | None, typer.Option("--before", metavar="TEXT", help="Go on below the page before.")
    ] = None,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """List interactions, newest first. What was said is shown by `show`, by `export`, and as JSON."""
    from dragoman.policy.interactions.questions import InteractionQuestion

    question = question_of(
        InteractionQuestion,
        {
            "project": project,
            "model": model,
            "session_id": session,
            "user": user,
            "labels": label,
            "tags": tag,
            "campaign": campaign,
            "arm": arm,
            "status": status,
            "source": source,
            "metric": metric,
            "search": search,
        },
        from_,
        to,
    )
    with opened_administration(config, data_dir) as (office, _):
        page = office.interactions.page(
            question, account_id=_account_id(office, account), before=before, limit=limit
        )
    if as_json:
        encoded = [msgspec.Raw(msgspec.json.encode(row)) for row in page.rows]
        print_json(PageRow(interactions=encoded, next=page.before))
        return
    if page.rows:
        print_table(
            (
                *("TIME", "COMPLETION", "PROJECT", "MODEL", "USER", "STATUS"),
                *(">TOKENS", ">COST", ">FEEDBACK", "ANSWER"),
            ),
            map(_cells, page.rows),
        )
    elif page.before is None:
        tell("There are no such interactions.")
    if page.before is not None:
        tell(f"More: dragoman interactions list --before {page.before}")


@interactions_app.command(
    epilog="Example: dragoman interactions show 3c90c3cc-0d44-4b50-8888-8dd25736052a"
)
def show(
    completion: Annotated[str, typer.Argument(metavar="COMPLETION", help="The completion's id.")],
    as_json: JsonOption = False,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """Show all that is kept of one interaction, the words included."""
    with opened_administration(config, data_dir) as (office, _):
        row = office.interactions.find(completion)
    if as_json:
        print_json(row)
        return
    values = msgspec.json.decode(msgspec.json.encode(row))
    print_fields(
        (
            name,
            value
            if value is None or (isinstance(value, str) and value.isprintable())
            # What clients and models wrote is not for the terminal to obey.
            else msgspec.json.encode(value).decode(),
        )
        for name, value in values.items()
    )


@interactions_app.command(
    epilog="Example: dragoman interactions export --project support --from 2026-11-01 --output november.jsonl"
)
def export(
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="FILE", dir_okay=False, help="Where to write. [stdout]"
        ),
    ] = None,
    layout: Annotated[
        Literal["chat", "full"],
        typer.Option(
            "--format", help="chat: what fine-tuning tools read. full: all that is known of each."
        ),
    ] = "chat",
    project: ProjectOption = None,
    account: AccountOption = None,
    model: ModelOption = None,
    session: SessionOption = None,
    user: UserOption = None,
    label: LabelOption = None,
    tag: TagOption = None,
    campaign: CampaignOption = None,
    arm: ArmOption = None,
    status: StatusOption = None,
    source: SourceOption = None,
    metric: MetricOption = None,
    search: SearchOption = None,
    from_: FromOption = None,
    to: ToOption = None,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """Write interactions as JSON lines, the oldest first. A file is there whole, or not at all.

    Of those whose words were not kept, `chat` has none.
    """
    from dragoman.policy.interactions.questions import InteractionQuestion

    if as_json and output is None:
        raise Failure("--json says what was written to a file; name it with --output", exit_code=2)
    question = question_of(
        InteractionQuestion,
        {
            "project": project,
            "model": model,
            "session_id": session,
            "user": user,
            "labels": label,
            "tags": tag,
            "campaign": campaign,
            "arm": arm,
            "status": status,
            "source": source,
            "metric": metric,
            "search": search,
        },
        from_,
        to,
    )
    with opened_administration(config, data_dir) as (office, _):
        pieces = office.interactions.export(
            question, layout, account_id=_account_id(office, account)
        )
        if output is None:
            write_stdout(pieces)
            return
        count = write_file(output, pieces, noun="interactions")
    if as_json:
        print_json(Exported(file=str(output), interactions=count))
    else:
        tell(f"Wrote {count:,} interactions to {output}.")


@interactions_app.command(
    "import",
    epilog="Examples: dragoman interactions import support old.jsonl;"
    " zcat logs.gz | dragoman interactions import support -",
)
def import_(
    project: ProjectArgument,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="JSON lines; - for standard input.")],
    as_json: JsonOption = False,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """Keep conversations that were answered elsewhere: one a line, as `export` writes them.

    Further fields are those of POST /api/v1/interactions. Lines with a completion_id can be imported again: what is
    kept already stays. Each 500 lines are kept whole, or not at all.
    """
    from dragoman.app.definitions import configured_models
    from dragoman.cli.importing import import_batch
    from dragoman.cli.terminal import err, read_config

    models = configured_models(read_config(config, data_dir=data_dir))
    done = ImportedRow(interactions=0, feedback=0)
    with opened_administration(config, data_dir) as (office, store):
        owner = office.projects.find(project)
        if owner.archived_s is not None:
            raise Failure(f"{owner.key} is archived; see: dragoman projects restore {owner.key}")
        with err().status("Importing …") as progress:
            for first, lines in _batches(file):
                kept = import_batch(store, models, owner, lines, first_line=first)
                done = ImportedRow(
                    interactions=done.interactions + len(kept),
                    feedback=done.feedback + sum(len(each.feedback_ids) for each in kept),
                )
                progress.update(f"Importing … {done.interactions:,} interactions")
    if as_json:
        print_json(done)
    else:
        tell(f"Imported {done.interactions:,} interactions with {done.feedback:,} feedbacks.")


@interactions_app.command(
    epilog="Example: dragoman interactions delete 3c90c3cc-0d44-4b50-8888-8dd25736052a"
)
def delete(
    completions: Annotated[
        list[str], typer.Argument(metavar="COMPLETION...", help="Ids of completions.")
    ],
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """Delete interactions with their feedback and comparisons. What they cost stays in the books."""
    with opened_administration(config, data_dir) as (office, _):
        # All are found before any is deleted: a typing error changes nothing.
        ids = [office.interactions.find(each).completion_id for each in dict.fromkeys(completions)]
        for completion_id in dict.fromkeys(ids):
            office.interactions.delete(completion_id)
            typer.echo(f"Deleted {completion_id}.")


@interactions_app.command(
    "erase-user", epilog="Example: dragoman interactions erase-user user-4711 --account acme"
)
def erase_user(
    user: Annotated[str, typer.Argument(help="The user, exactly as requests named them.")],
    account: AccountOption = None,
    yes: YesOption = False,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """Delete all that is kept of an account's user, wherever it is, for good.

    Without --account of the server's own account. Counts and costs stay, and name nobody.
    """
    with opened_administration(config, data_dir) as (office, _):
        account_id = _account_id(office, account) or "acct_default"
        confirm(
            f"Delete all that is kept of {user} in account {account_id}, for good?",
            yes=yes,
            refusal="what is erased cannot be had back",
        )
        erasure = office.interactions.erase_user(account_id, user)
    if as_json:
        print_json(erasure)
        return
    print_fields(
        (name.replace("_", " "), f"{getattr(erasure, name):,}")
        for name in erasure.__struct_fields__
    )


# --- What is asked ------------------------------------------------------------------------------


def _account_id(office: Administration, account: str | None) -> str | None:
    return None if account is None else find_account(office, account).id


def _batches(file: Path) -> Iterator[tuple[int, bytes]]:
    """Some lines at a time, with the number of the first."""
    try:
        with sys.stdin.buffer if file == STDIN else file.open("rb") as stream:
            lines: list[bytes] = []
            first = number = 1
            while line := stream.readline(MAX_LINE_BYTES + 1):
                if len(line) > MAX_LINE_BYTES:
                    raise Failure(f"line {number} has more than {MAX_LINE_BYTES} bytes")
                lines.append(line)
                number += 1
                if len(lines) == BATCH_LINES:
                    yield first, b"".join(lines)
                    lines.clear()
                    first = number
            if lines:
                yield first, b"".join(lines)
    except OSError as error:
        raise Failure(f"{file} cannot be read: {error.strerror}", exit_code=2) from None


# --- What is told -------------------------------------------------------------------------------


def _cells(row: InteractionRow) -> tuple[str | None, ...]:
    return (
        show_time(row.created_at.timestamp()),
        row.completion_id,
        row.project,
        row.model or row.attached_model,
        None if row.user is None else _one_line(row.user),
        row.status,
        f"{row.input_tokens + row.output_tokens:,}",
        show_usd(row.cost_nano_usd),
        str(len(row.feedback)) if row.feedback else None,
        _beginning(row),
    )


def _beginning(row: InteractionRow) -> str | None:
    """Of the answer, on one line."""
    if row.completion is None:
        return None
    message = msgspec.json.decode(row.completion)
    content = message.get("content") if isinstance(message, dict) else None
    if not isinstance(content, str):
        return None
    return _one_line(content)


def _one_line(text: str) -> str:
    """The beginning of what clients or models wrote: nothing of it is for the terminal to obey."""
    plain = "".join(c if c.isprintable() else " " for c in text[: MAX_TEXT_CHARS * 2])
    plain = " ".join(plain.split())
    return plain if len(plain) <= MAX_TEXT_CHARS else plain[: MAX_TEXT_CHARS - 1] + "…"
