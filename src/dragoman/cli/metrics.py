"""`dragoman metrics`: what a project's completions are judged by."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import msgspec
import typer

from dragoman.cli.administering import (
    ProjectArgument,
    opened_administration,
    print_table,
    show_time,
)
from dragoman.cli.terminal import ConfigOption, DataDirOption, Failure, JsonOption, print_json

if TYPE_CHECKING:
    from dragoman.records.metric import Metric

metrics_app = typer.Typer(
    help="List and make what a project's completions are judged by.",
    no_args_is_help=True,
    epilog="Example: dragoman metrics add support helpful --kind bool",
)

MetricArgument = Annotated[str, typer.Argument(metavar="METRIC", help="A metric's key or id.")]
DescriptionOption = Annotated[str | None, typer.Option("--description", help="What it tells.")]


class MetricRow(msgspec.Struct, frozen=True, kw_only=True):
    """A metric as `--json` shows it."""

    id: str
    key: str
    name: str
    kind: str
    better: str
    description: str | None
    is_built_in: bool
    """Measured of every completion; it takes no feedback."""
    created: str | None


@metrics_app.command("list", epilog="Example: dragoman metrics list support")
def list_metrics(
    project: ProjectArgument,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """List a project's metrics, then those that are measured of every completion."""
    with opened_administration(config, data_dir) as (office, _):
        rows = [_row(each) for each in office.metrics.list_all(project)]
    if as_json:
        print_json(rows)
        return
    print_table(
        ("KEY", "NAME", "KIND", "BETTER", "FEEDBACK", "DESCRIPTION"),
        (
            (
                *(row.key, row.name, row.kind, row.better.partition("_")[0]),
                "measured" if row.is_built_in else "by feedback",
                row.description,
            )
            for row in rows
        ),
    )


@metrics_app.command(
    epilog="Examples: dragoman metrics add support helpful --kind bool;"
    " dragoman metrics add support edits --kind scalar --better lower"
)
def add(
    project: ProjectArgument,
    key: Annotated[str, typer.Argument(help="How feedback names it.")],
    kind: Annotated[
        Literal["bool", "scalar"],
        typer.Option("--kind", help="bool takes 0 and 1, scalar any number; it never changes."),
    ],
    better: Annotated[
        Literal["higher", "lower"],
        typer.Option("--better", help="Which of two values is the better one; it never changes."),
    ] = "higher",
    name: Annotated[
        str | None, typer.Option("--name", help="What people call it. [the key]")
    ] = None,
    description: DescriptionOption = None,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """Make a metric, which takes feedback at once."""
    from dragoman.policy.administration import MetricWish

    with opened_administration(config, data_dir) as (office, _):
        wish = MetricWish(
            key=key,
            name=name,
            kind=kind,
            better="higher_is_better" if better == "higher" else "lower_is_better",
            description=description,
        )
        made, _is_new = office.metrics.create(project, wish)
    _print(made, as_json=as_json)


@metrics_app.command(epilog="Example: dragoman metrics change support helpful --name 'Helpful?'")
def change(
    project: ProjectArgument,
    metric: MetricArgument,
    name: Annotated[str | None, typer.Option("--name", help="Its new name.")] = None,
    description: DescriptionOption = None,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """Give a metric another name or description. What its values mean never changes."""
    from msgspec import UNSET

    from dragoman.policy.administration import MetricChange

    if name is None and description is None:
        raise Failure("say what is to change: --name or --description", exit_code=2)
    with opened_administration(config, data_dir) as (office, _):
        wish = MetricChange(
            name=UNSET if name is None else name,
            description=UNSET if description is None else description or None,
        )
        changed = office.metrics.change(project, metric, wish)
    _print(changed, as_json=as_json)


@metrics_app.command(epilog="Example: dragoman metrics delete support helpful")
def delete(
    project: ProjectArgument,
    metric: MetricArgument,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """Delete a metric that there is neither feedback nor a campaign of."""
    with opened_administration(config, data_dir) as (office, _):
        found = office.metrics.find(project, metric)
        office.metrics.delete(project, found.id)
    typer.echo(f"Deleted {found.key} ({found.id}).")


def _print(metric: Metric, *, as_json: bool) -> None:
    row = _row(metric)
    if as_json:
        print_json(row)
        return
    typer.echo(f"{row.key} ({row.id}): {row.kind}, {row.better.partition('_')[0]} is better.")


def _row(metric: Metric) -> MetricRow:
    return MetricRow(
        id=metric.id,
        key=metric.key,
        name=metric.name,
        kind=metric.kind,
        better=metric.better,
        description=metric.description,
        is_built_in=metric.is_built_in,
        created=None if metric.is_built_in else show_time(metric.created_s),
    )
