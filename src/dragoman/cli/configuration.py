"""`dragoman config`: what holds and why, and the reference that is generated from the types."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

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

config_app = typer.Typer(
    help="Show the settings that hold, their reference and their JSON Schema.",
    no_args_is_help=True,
    epilog="Example: dragoman config show",
)

REFERENCE_NAME = "configuration.md"
SCHEMA_NAME = "dragoman.schema.json"


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
