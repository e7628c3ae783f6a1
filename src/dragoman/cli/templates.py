"""`dragoman templates`: the texts that system prompts are made of, in versions."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from dragoman.cli.administering import (
    ProjectArgument,
    opened_administration,
    print_table,
    show_time,
    tell,
)
from dragoman.cli.terminal import ConfigOption, DataDirOption, Failure, JsonOption, print_json

if TYPE_CHECKING:
    from dragoman.policy.administration.project_wishes import ArgumentWish
    from dragoman.records.template import Template, TemplateVersion

templates_app = typer.Typer(
    help="Write, activate and roll back the prompt templates of projects.",
    no_args_is_help=True,
    epilog="Example: dragoman templates add support greeting prompt.txt",
)

MAX_FILE_BYTES = 4 * 65_536
STDIN = Path("-")

TemplateArgument = Annotated[str, typer.Argument(metavar="TEMPLATE", help="Its key or id.")]
VersionOption = Annotated[
    int | None,
    typer.Option("--version", min=1, metavar="NUMBER", help="Which one. [the active one]"),
]


class ArgumentRow(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    is_required: bool
    default: msgspec.Raw | None
    description: str | None


class VersionRow(msgspec.Struct, frozen=True, kw_only=True):
    version: int
    is_active: bool
    text: str
    arguments: tuple[ArgumentRow, ...]
    note: str | None
    created: str


class TemplateRow(msgspec.Struct, frozen=True, kw_only=True):
    """A template as `--json` shows it."""

    id: str
    key: str
    active_version: int
    versions: tuple[VersionRow, ...]
    created: str


@templates_app.command("list", epilog="Example: dragoman templates list support")
def list_templates(
    project: ProjectArgument,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """List a project's templates."""
    with opened_administration(config, data_dir) as (office, _):
        rows = [_row(each) for each in office.templates.list_all(project)]
    if as_json:
        print_json(rows)
    elif rows:
        print_table(
            ("KEY", ">ACTIVE", ">VERSIONS", "ARGUMENTS", "CREATED"),
            (
                (
                    *(row.key, str(row.active_version), str(len(row.versions))),
                    ", ".join(each.name for each in _active(row).arguments),
                    row.created,
                )
                for row in rows
            ),
        )
    else:
        tell(f"There are none; add one with: dragoman templates add {project} KEY FILE")


@templates_app.command(
    epilog="Examples: dragoman templates show support greeting;"
    " dragoman templates show support greeting --version 1 > prompt.txt"
)
def show(
    project: ProjectArgument,
    template: TemplateArgument,
    version: VersionOption = None,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """Print the text of a template's version; what else there is to know goes to stderr, or into --json."""
    with opened_administration(config, data_dir) as (office, _):
        found = office.templates.find(project, template)
        number = found.active_version if version is None else version
        shown = office.templates.find_version(project, template, number)
    if as_json:
        print_json(_row(found) if version is None else _version_row(shown, found))
        return
    tell(f"version {shown.version} of {len(found.versions)}; active: {found.active_version}")
    for argument in _version_row(shown, found).arguments:
        default = "required" if argument.default is None else bytes(argument.default).decode()
        tell(f"argument {argument.name}: {default}" + _in_brackets(argument.description))
    typer.echo(shown.text)


@templates_app.command(
    epilog="Examples: dragoman templates add support greeting prompt.txt --default tone=kind;"
    " echo 'Be {{tone}}.' | dragoman templates add support greeting -"
)
def add(
    project: ProjectArgument,
    key: Annotated[
        str, typer.Argument(help="The template's key; a new one, or one that is there.")
    ],
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="Holds the text; - for standard input.")
    ],
    default: Annotated[
        list[str] | None,
        typer.Option(
            "--default",
            metavar="NAME=VALUE",
            help="What an argument is where a request does not give it, as text or as JSON; may be repeated.",
        ),
    ] = None,
    note: Annotated[
        str | None, typer.Option("--note", help="The reason for it, kept with the version.")
    ] = None,
    activate: Annotated[
        bool, typer.Option("--activate/--no-activate", help="Whether it answers from now on.")
    ] = True,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """Add a template, or the next version of one. `{{name}}` in the text stands for an argument."""
    from dragoman.policy.administration import TemplateVersionWish, TemplateWish

    text = _read(file)
    arguments = _defaults(default)
    with opened_administration(config, data_dir) as (office, _):
        kept = [each for each in office.templates.list_all(project) if key in (each.key, each.id)]
        if kept:
            found, version, is_new = office.templates.add_version(
                project,
                kept[0].id,
                TemplateVersionWish(text=text, arguments=arguments, note=note, activate=activate),
            )
        else:
            found, is_new = office.templates.create(
                project, TemplateWish(key=key, text=text, arguments=arguments, note=note)
            )
            version = found.versions[0]
    if as_json:
        print_json(_row(found))
        return
    if not is_new:
        tell(f"Version {version.version} of {found.key} has this text already.")
    typer.echo(
        f"Version {version.version} of {found.key} is "
        + ("active." if found.active_version == version.version else "there, and not active.")
    )


@templates_app.command(epilog="Example: dragoman templates activate support greeting 3")
def activate(
    project: ProjectArgument,
    template: TemplateArgument,
    version: Annotated[int, typer.Argument(min=1, help="The number of the version.")],
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """Let that version answer from the next request on."""
    with opened_administration(config, data_dir) as (office, _):
        done = office.templates.activate(project, template, version)
    typer.echo(f"Version {done.active_version} of {done.key} is active.")


@templates_app.command(epilog="Example: dragoman templates rollback support greeting")
def rollback(
    project: ProjectArgument,
    template: TemplateArgument,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """Activate the version before the active one."""
    with opened_administration(config, data_dir) as (office, _):
        done = office.templates.roll_back(project, template)
    typer.echo(f"Version {done.active_version} of {done.key} is active.")


@templates_app.command(
    epilog="Examples: dragoman templates preview support greeting --argument tone=kind;"
    ' dragoman templates preview support greeting --file draft.txt --arguments \'{"user":{"name":"Ann"}}\''
)
def preview(
    project: ProjectArgument,
    template: TemplateArgument,
    argument: Annotated[
        list[str] | None,
        typer.Option(
            "--argument",
            "-a",
            metavar="NAME=VALUE",
            help="A value, as text or as JSON; may be repeated.",
        ),
    ] = None,
    arguments: Annotated[
        str | None,
        typer.Option("--arguments", metavar="JSON", help="All of them, as one JSON object."),
    ] = None,
    version: VersionOption = None,
    file: Annotated[
        Path | None,
        typer.Option("--file", "-f", help="Show this text instead; - for standard input."),
    ] = None,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """Show what a template comes out as. What is missing stays as it stands in the text; the exit code is 1."""
    from dragoman.policy.administration.project_wishes import PreviewWish

    given = _object(arguments) | _pairs(argument, "--argument")
    wish = PreviewWish(arguments=given, version=version, text=None if file is None else _read(file))
    with opened_administration(config, data_dir) as (office, _):
        shown = office.templates.preview(project, template, wish)
    if as_json:
        print_json(shown)
    else:
        typer.echo(shown.text)
    if shown.missing:
        raise Failure(f"missing: {', '.join(shown.missing)}; a request without them is refused")


@templates_app.command(epilog="Example: dragoman templates delete support greeting")
def delete(
    project: ProjectArgument,
    template: TemplateArgument,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """Delete a template with all of its versions. No model of the project may have it."""
    with opened_administration(config, data_dir) as (office, _):
        found = office.templates.find(project, template)
        office.templates.delete(project, found.id)
    typer.echo(f"Deleted {found.key} ({found.id}).")


# --- What is wished for -------------------------------------------------------------------------


def _read(file: Path) -> str:
    """The text of the file, without the line break that it ends with."""
    try:
        if file == STDIN:
            content = sys.stdin.buffer.read(MAX_FILE_BYTES + 1)
        else:
            with file.open("rb") as stream:
                content = stream.read(MAX_FILE_BYTES + 1)
        text = content.decode()
    except OSError as error:
        raise Failure(f"{file} cannot be read: {error.strerror}", exit_code=2) from None
    except UnicodeDecodeError:
        raise Failure(f"{file} is not text in UTF-8, or is too long", exit_code=2) from None
    return text.removesuffix("\n").removesuffix("\r")


def _defaults(pairs: list[str] | None) -> tuple[ArgumentWish, ...]:
    from dragoman.policy.administration.project_wishes import ArgumentWish

    given = _pairs(pairs, "--default")
    return tuple(ArgumentWish(name=name, default=value) for name, value in given.items())


def _pairs(texts: list[str] | None, option: str) -> dict[str, Any]:
    """Of `NAME=VALUE`: a value that is JSON is that, every other one is text."""
    values: dict[str, Any] = {}
    for text in texts or ():
        name, separator, value = text.partition("=")
        if not name or not separator:
            raise Failure(f"{option} is {text[:40]!r}; write NAME=VALUE", exit_code=2)
        try:
            values[name] = msgspec.json.decode(value)
        except msgspec.DecodeError:
            values[name] = value
    return values


def _object(text: str | None) -> dict[str, Any]:
    if text is None:
        return {}
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except msgspec.DecodeError as error:
        raise Failure(f"--arguments is no JSON object: {error}", exit_code=2) from None


# --- What is told -------------------------------------------------------------------------------


def _row(template: Template) -> TemplateRow:
    return TemplateRow(
        id=template.id,
        key=template.key,
        active_version=template.active_version,
        versions=tuple(_version_row(each, template) for each in template.versions),
        created=show_time(template.created_s),
    )


def _version_row(version: TemplateVersion, template: Template) -> VersionRow:
    return VersionRow(
        version=version.version,
        is_active=version.version == template.active_version,
        text=version.text,
        arguments=tuple(
            ArgumentRow(
                name=each.name,
                is_required=each.default is None,
                default=each.default,
                description=each.description,
            )
            for each in version.arguments
        ),
        note=version.note,
        created=show_time(version.created_s),
    )


def _active(row: TemplateRow) -> VersionRow:
    return next(each for each in row.versions if each.is_active)


def _in_brackets(text: str | None) -> str:
    return f" ({text})" if text else ""
