"""The tree of commands."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from dragoman import __version__
from dragoman.cli.areas import Areas
from dragoman.cli.chat import chat
from dragoman.cli.doctor import doctor
from dragoman.cli.serve import serve
from dragoman.cli.terminal import Failure

app = typer.Typer(
    name="dragoman",
    cls=Areas,
    help="A self-hosted LLM completion server: many dialects in, any model behind.",
    epilog="Begin with: dragoman serve",
    no_args_is_help=True,
    rich_markup_mode="rich",
    # A traceback with local variables would show secrets and prompts.
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"dragoman {__version__}")
        raise typer.Exit


@app.callback()
def dragoman(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    """A self-hosted LLM completion server: many dialects in, any model behind."""


app.command(epilog="Example: dragoman serve --port 9000")(serve)
app.command(epilog='Example: dragoman chat "Name three rivers."')(chat)
app.command(epilog="Example: dragoman doctor --json")(doctor)


def run() -> None:
    """Run the command that `sys.argv` names; ends the process with its exit code."""
    try:
        app(prog_name="dragoman")
    except Failure as failure:
        typer.secho("error: ", fg="red", bold=True, nl=False, err=True)
        typer.echo(str(failure), err=True)
        sys.exit(failure.exit_code)
