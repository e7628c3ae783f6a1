"""What every command shares: the two consoles, errors, options, configuration and store."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from dragoman.config import Config
    from dragoman.stores import Store

PIPE_WIDTH = 1000
PORT_FILE = "port"
"""Where a server that was given port 0 says, in its data directory, which one it has."""

ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        "-c",
        metavar="FILE",
        help="The settings file, in place of $DRAGOMAN_CONFIG or ./dragoman.toml.",
    ),
]
DataDirOption = Annotated[
    Path | None,
    typer.Option("--data-dir", metavar="DIR", help="Where keys, models and state are kept."),
]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Print JSON for a program, not a table for a person.")
]


class Failure(Exception):
    """Ends the command with a message on stderr and exit code 1, or 2 where it was asked wrongly."""

    def __init__(self, message: str, *, exit_code: int = 1) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def warn(message: str) -> None:
    typer.secho("warning: ", fg="yellow", nl=False, err=True)
    typer.echo(message, err=True)


def out() -> Console:
    """The console for answers."""
    from rich.console import Console

    # A pipe has no width: what reads it wants each row on one line.
    width = None if sys.stdout.isatty() else PIPE_WIDTH
    return Console(highlight=False, markup=False, width=width)


def err() -> Console:
    """The console for everything that is not an answer."""
    from rich.console import Console

    return Console(stderr=True, highlight=False, markup=False, soft_wrap=True)


def print_json(value: object) -> None:
    import msgspec

    typer.echo(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())


def read_config(path: Path | None, **overrides: object) -> Config:
    """The configuration, with its warnings said; `overrides` are flags, `None` where not given."""
    from dragoman.config import ConfigError, load_config

    given = {name: str(value) for name, value in overrides.items() if value is not None}
    try:
        config = load_config(path, given)
    except ConfigError as error:
        raise Failure(str(error), exit_code=2) from None
    for warning in config.warnings:
        warn(warning)
    return config


def local_url(config: Config) -> str:
    """Where the server of this configuration is reached from this machine."""
    host = "127.0.0.1" if config.host in {"0.0.0.0", "::", "*"} else config.host  # noqa: S104
    port = str(config.port)
    if config.port == 0:
        try:
            port = (config.data_dir / PORT_FILE).read_text().strip()
        except OSError:
            port = "PORT"
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


@contextmanager
def opened_store(config: Config) -> Iterator[Store]:
    """The store of `config`'s data directory; its errors end the command with a message."""
    from dragoman.errors import DragomanError
    from dragoman.stores import open_store

    try:
        store = open_store(config.data_dir)
        try:
            yield store
        finally:
            store.close()
    except DragomanError as error:
        raise Failure(error.detail or error.message) from error
