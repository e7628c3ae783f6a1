"""`dragoman config`: what holds and why, the reference that is generated from the types, and the file's projects
made true.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from dragoman.cli.terminal import (
    ConfigOption,
    DataDirOption,
    Failure,
    JsonOption,
    out,
    print_json,
    read_config,
)

if TYPE_CHECKING:
    from dragoman.policy.administration.definitions import Difference, FileApplied, NotApplied

config_app = typer.Typer(
    help="Show the settings that hold, and apply the file's projects and tool servers.",
    no_args_is_help=True,
    epilog="Example: dragoman config show",
)

REFERENCE_NAME = "configuration.md"
SCHEMA_NAME = "dragoman.schema.json"

MAX_SHOWN_CHARS = 60
_NOW_FROM = {
    "file_changed": "file",
    "api_changed": "API",
    "both_changed": "API",
    "only_file": "default",
    "only_api": "API",
}
_ON_APPLY = {
    "file_changed": "follows the file",
    "api_changed": "kept: changed since",
    "both_changed": "kept: both changed",
    "only_file": "made",
    "only_api": "kept: not in the file",
}


class DifferenceRow(msgspec.Struct, frozen=True, kw_only=True):
    """A value that is not as the file says, as `--json` shows it."""

    path: str
    file: msgspec.Raw | None
    """Null: the file says nothing."""
    current: msgspec.Raw | None
    """Null: there is none, or the default holds."""
    state: str
    """`file_changed`, `only_file`: applying follows the file. `api_changed`, `both_changed`, `only_api`: it keeps
    what there is, unless it overwrites."""
    current_from: str
    """`file` (as it was applied last), `API` (the command line, too) or `default`."""


class AppliedRow(msgspec.Struct, frozen=True, kw_only=True):
    """What `apply --json` shows."""

    is_dry_run: bool
    changed: list[DifferenceRow]
    """What is now as the file says; in a dry run: what would be."""
    kept: list[DifferenceRow]
    failed: list[NotApplied]


@config_app.command(epilog="Example: dragoman config show --json")
def show(
    as_json: JsonOption = False, config: ConfigOption = None, data_dir: DataDirOption = None
) -> None:
    """Show the settings that hold, and where each comes from. Secrets stay references."""
    settings = read_config(config, data_dir=data_dir)
    values = msgspec.to_builtins(
        {
            name: getattr(settings, name)
            for name in settings.__struct_fields__
            # Proxies may hold a password.
            if name not in {"proxies", "origins", "warnings", "path"}
        },
        enc_hook=str,
        order="sorted",
    )
    origins = dict(settings.origins)
    if as_json:
        print_json(
            {
                "file": None if settings.path is None else str(settings.path),
                "values": values,
                "origins": origins,
                "warnings": settings.warnings,
            }
        )
        return
    console = out()
    console.print(f"file: {settings.path or 'none'}")
    for name in settings.__struct_fields__:
        if name in values:
            shown = msgspec.json.encode(values[name]).decode()
            console.print(f"{name} = {shown}  # {origins.get(name, 'default')}")


@config_app.command(
    epilog="Example: dragoman config diff || echo 'something is not as the file says'"
)
def diff(
    as_json: JsonOption = False, config: ConfigOption = None, data_dir: DataDirOption = None
) -> None:
    """Show what of projects and tool servers is not as the file says; the exit code is then 1, else 0.

    A value that nobody changed since the file was applied last will follow it. One that was changed over the
    API or the command line is kept, until it is overwritten.
    """
    from dragoman.cli.administering import opened_definitions, tell

    with opened_definitions(config, data_dir) as definitions:
        found = definitions.differences()
    if as_json:
        print_json([_row(each) for each in found])
    elif found:
        _print(found)
    else:
        tell("Everything is as the file says.")
    if found:
        raise typer.Exit(1)


@config_app.command(
    epilog="Examples: dragoman config apply --dry-run; dragoman config apply --overwrite --yes"
)
def apply(
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only show what would be changed.")
    ] = False,
    overwrite: Annotated[
        bool,
        typer.Option(
            "--overwrite", help="Also change what was changed since over the API or commands."
        ),
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Overwrite without asking.")] = False,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """Make projects and tool servers what the file says, from their next request on.

    What others changed since the file was applied last is kept, unless --overwrite. What was taken out of the
    file stays: archive a project, or remove a tool server, by its own command.
    """
    from dragoman.cli.administering import confirm, opened_definitions

    with opened_definitions(config, data_dir) as definitions:
        found = definitions.differences()
        following, standing = _divided(found, overwrite=overwrite)
        if dry_run:
            _tell_applied(following, standing, (), is_dry_run=True, as_json=as_json)
            return
        overwritten = [each for each in following if _NOW_FROM[each.state] == "API"]
        if overwritten:
            if not yes:
                _print(overwritten, to_stderr=True)
            confirm(
                f"Overwrite these {len(overwritten)} values?",
                yes=yes,
                refusal="they were changed over the API or commands since the file was applied",
            )
        applied = definitions.apply(force=overwrite)
    _tell_applied(applied.changed, applied.kept, applied.failed, is_dry_run=False, as_json=as_json)
    if applied.failed:
        raise Failure(_failure_text(applied))


@config_app.command(epilog="Example: dragoman config release projects.support")
def release(
    names: Annotated[
        list[str],
        typer.Argument(
            metavar="NAME...", help="projects.KEY or tool_servers.KEY, as `diff` has them."
        ),
    ],
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """Let what was taken out of the file be as if it had never come from it: kept as it is, and told no more."""
    from dragoman.cli.administering import opened_administration

    settings = read_config(config, data_dir=data_dir)
    defined = {f"projects.{each.key}" for each in settings.projects}
    defined |= {f"tool_servers.{each.key}" for each in settings.tool_servers}
    for name in names:
        area, dot, key = name.partition(".")
        if area not in ("projects", "tool_servers") or not dot or not key:
            raise Failure(
                f"{name[:80]} is no name; write projects.KEY or tool_servers.KEY", exit_code=2
            )
        if name in defined:
            raise Failure(f"{name} is in the file; take it out of the file first", exit_code=2)
    with opened_administration(config, data_dir) as (office, _):
        # All are found before any is released: a typing error changes nothing.
        for name in names:
            area, _dot, key = name.partition(".")
            find = office.projects.find if area == "projects" else office.tool_servers.find
            find(key)
        for name in names:
            area, _dot, key = name.partition(".")
            if area == "projects":
                office.projects.release(key)
            else:
                office.tool_servers.release(key)
            typer.echo(f"Released {name}.")


@config_app.command(epilog="Example: dragoman config schema > dragoman.schema.json")
def schema() -> None:
    """Print the JSON Schema of dragoman.toml, for editors and checkers."""
    from dragoman.config.reference import schema_text

    typer.echo(schema_text(), nl=False)


@config_app.command(epilog="Example: dragoman config docs | less")
def docs(
    write: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", file_okay=False, help="Write the page and the schema there instead."
        ),
    ] = None,
) -> None:
    """Print the reference of all settings, in Markdown."""
    from dragoman.config.reference import reference_text, schema_text

    if write is None:
        typer.echo(reference_text(), nl=False)
        return
    try:
        (write / REFERENCE_NAME).write_text(reference_text(), encoding="utf-8")
        (write / SCHEMA_NAME).write_text(schema_text(), encoding="utf-8")
    except OSError as error:
        raise Failure(f"{write} cannot be written to: {error.strerror}") from error


# --- Applying, step by step ---------------------------------------------------------------------


def _divided(
    found: Sequence[Difference], *, overwrite: bool
) -> tuple[list[Difference], list[Difference]]:
    """What applying changes, and what it keeps."""
    from dragoman.policy.administration.definitions import is_changed_by_applying

    divided: tuple[list[Difference], list[Difference]] = ([], [])
    for each in found:
        divided[0 if is_changed_by_applying(each, force=overwrite) else 1].append(each)
    return divided


def _tell_applied(
    changed: Sequence[Difference],
    kept: Sequence[Difference],
    failed: Sequence[NotApplied],
    *,
    is_dry_run: bool,
    as_json: bool,
) -> None:
    from dragoman.cli.administering import tell

    if as_json:
        print_json(
            AppliedRow(
                is_dry_run=is_dry_run,
                changed=[_row(each) for each in changed],
                kept=[_row(each) for each in kept],
                failed=list(failed),
            )
        )
        return
    if changed:
        _print(changed, with_outcome=False)
    words = "would be changed" if is_dry_run else "changed"
    tell(f"{_count(len(changed))} {words}, {_count(len(kept))} kept as changed since.")
    if kept:
        tell("To see what is kept: dragoman config diff")


def _failure_text(applied: FileApplied) -> str:
    return "; ".join(f"{each.path} was left as it is: {each.reason}" for each in applied.failed)


def _count(number: int) -> str:
    return "1 value" if number == 1 else f"{number} values"


def _row(difference: Difference) -> DifferenceRow:
    return DifferenceRow(
        path=difference.path,
        file=difference.file,
        current=difference.current,
        state=difference.state,
        current_from=_NOW_FROM[difference.state],
    )


def _print(
    differences: Sequence[Difference], *, with_outcome: bool = True, to_stderr: bool = False
) -> None:
    from dragoman.cli.administering import print_table

    headings = ["PATH", "IN THE FILE", "NOW", "NOW IS FROM", "WHEN APPLIED"]
    if not with_outcome:
        headings = ["PATH", "IN THE FILE", "BEFORE", "BEFORE FROM"]
    print_table(
        headings,
        (
            (
                *(each.path, _shown(each.file), _shown(each.current), _NOW_FROM[each.state]),
                *([_ON_APPLY[each.state]] if with_outcome else []),
            )
            for each in differences
        ),
        to_stderr=to_stderr,
    )


def _shown(value: msgspec.Raw | None) -> str:
    if value is None:
        return "–"
    text = bytes(value).decode()
    return text if len(text) <= MAX_SHOWN_CHARS else text[: MAX_SHOWN_CHARS - 1] + "…"
