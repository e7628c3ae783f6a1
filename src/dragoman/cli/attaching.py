"""`dragoman projects attach`: one model of a project, with everything that it is asked with there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from dragoman.cli.administering import (
    ProjectArgument,
    opened_administration,
    print_fields,
    tell,
)
from dragoman.cli.terminal import ConfigOption, DataDirOption, Failure, JsonOption, print_json

if TYPE_CHECKING:
    from dragoman.policy.administration import AttachedModelWish
    from dragoman.records.project import AttachedModel

_SAMPLING = ("temperature", "top_p", "top_k", "frequency_penalty", "presence_penalty", "seed")
_BOUNDS = ("rounds", "total_s", "call_s", "result_bytes", "calls_per_round")
_FREEABLE = (*_SAMPLING, "max_output_tokens", "max_ttft_ms", "template", "tools")


def attach(
    project: ProjectArgument,
    model: Annotated[
        str | None, typer.Argument(help="The model's id or alias. [of one there: as it is]")
    ] = None,
    key: Annotated[
        str | None,
        typer.Option("--key", "-k", help="What follows the slash in PROJECT/KEY. [the model]"),
    ] = None,
    template: Annotated[
        str | None,
        typer.Option("--template", help="Key of the template that makes its system prompt."),
    ] = None,
    temperature: Annotated[
        float | None, typer.Option("--temperature", help="Where a request says nothing: 0 to 2.")
    ] = None,
    top_p: Annotated[
        float | None, typer.Option("--top-p", help="Where a request says nothing: 0 to 1.")
    ] = None,
    top_k: Annotated[
        int | None, typer.Option("--top-k", help="Where a request says nothing.")
    ] = None,
    frequency_penalty: Annotated[
        float | None, typer.Option("--frequency-penalty", help="The same: -2 to 2.")
    ] = None,
    presence_penalty: Annotated[
        float | None, typer.Option("--presence-penalty", help="The same: -2 to 2.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", help="Where a request says nothing.")
    ] = None,
    max_output_tokens: Annotated[
        int | None, typer.Option("--max-output-tokens", help="Where a request says nothing.")
    ] = None,
    max_ttft_ms: Annotated[
        int | None,
        typer.Option("--max-ttft-ms", help="The longest wait for a first token; past it: 408."),
    ] = None,
    tool: Annotated[
        list[str] | None,
        typer.Option(
            "--tool",
            metavar="SERVER[/TOOL]",
            help="A server-side tool, or all of a server; may be repeated.",
        ),
    ] = None,
    tool_off: Annotated[
        list[str] | None,
        typer.Option(
            "--tool-off",
            metavar="SERVER[/TOOL]",
            help="One that runs only where a request switches it on; may be repeated.",
        ),
    ] = None,
    rounds: Annotated[
        int | None, typer.Option("--tool-rounds", help="The most calls of the model in a request.")
    ] = None,
    total_s: Annotated[
        float | None, typer.Option("--tool-total-s", help="The most seconds for all rounds.")
    ] = None,
    call_s: Annotated[
        float | None, typer.Option("--tool-call-s", help="The most seconds for one call.")
    ] = None,
    result_bytes: Annotated[
        int | None, typer.Option("--tool-result-bytes", help="The most of one result.")
    ] = None,
    calls_per_round: Annotated[
        int | None, typer.Option("--tool-calls", help="The most calls in a round.")
    ] = None,
    free: Annotated[
        list[str] | None,
        typer.Option(
            "--free",
            metavar="WHAT",
            help="Set nothing any more for temperature, template, tools, …; may be repeated.",
        ),
    ] = None,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """Attach a model to a project; of one that has the key already, change what is named."""
    given = {
        "template": template,
        "max_output_tokens": max_output_tokens,
        "max_ttft_ms": max_ttft_ms,
    }
    sampling = dict(
        zip(
            _SAMPLING,
            (temperature, top_p, top_k, frequency_penalty, presence_penalty, seed),
            strict=True,
        )
    )
    bounds = dict(
        zip(_BOUNDS, (rounds, total_s, call_s, result_bytes, calls_per_round), strict=True)
    )
    freed = _freed(free)
    wanted = key or model
    if wanted is None:
        raise Failure("name a model, or the --key of one that is attached", exit_code=2)
    with opened_administration(config, data_dir) as (office, _):
        found = office.projects.find(project)
        wish, is_new = _begun(found.attached(wanted), wanted, model)
        wish = msgspec.structs.replace(
            wish,
            sampling=_with(wish.sampling, sampling, freed),
            tool_bounds=_with(wish.tool_bounds, bounds, frozenset()),
            tools=_tools(wish, tool, tool_off, freed),
        )
        wish = _with(wish, given, freed)
        changed, _ = office.projects.put_model(found.id, wanted, wish)
    attached = changed.attached(wanted)
    assert attached is not None
    if as_json:
        print_json(
            msgspec.structs.asdict(attached)
            | {
                "sampling": msgspec.structs.asdict(attached.sampling),
                "tools": [msgspec.structs.asdict(tool) for tool in attached.tools],
                "tool_bounds": msgspec.structs.asdict(attached.tool_bounds),
            }
        )
        return
    _print(attached)
    tell(f"{'Attached' if is_new else 'Changed'}; requests name it {changed.key}/{attached.key}.")


def _begun(
    kept: AttachedModel | None, key: str, model: str | None
) -> tuple[AttachedModelWish, bool]:
    """What the wish begins with, and whether the model is attached anew."""
    from dragoman.policy.administration import AttachedModelWish
    from dragoman.policy.administration.attached import wish_for

    if kept is None:
        if model is None:
            raise Failure(f"no model has the key {key!r}; name the model to attach", exit_code=2)
        return AttachedModelWish(model=model, key=key), True
    wish = wish_for(kept)
    return (wish if model is None else msgspec.structs.replace(wish, model=model)), False


def _with(wish: Any, given: dict[str, Any], freed: frozenset[str]) -> Any:
    """`wish` with the options that were given, and without those that were freed."""
    changes = {name: value for name, value in given.items() if value is not None}
    changes |= {name: None for name in given if name in freed}
    return msgspec.structs.replace(wish, **changes)


def _tools(
    wish: AttachedModelWish, on: list[str] | None, off: list[str] | None, freed: frozenset[str]
) -> tuple[Any, ...]:
    from dragoman.policy.administration.project_wishes import AttachedToolWish

    tools = {} if "tools" in freed else {tool.id: tool for tool in wish.tools}
    for names, is_enabled in ((on, True), (off, False)):
        for name in names or ():
            tools[name] = AttachedToolWish(id=name, enabled=is_enabled)
    return tuple(tools.values())


def _freed(names: list[str] | None) -> frozenset[str]:
    plain = [name.replace("-", "_") for name in names or ()]
    for name in plain:
        if name not in _FREEABLE:
            raise Failure(f"--free is {name[:40]!r}; use {', '.join(_FREEABLE)}", exit_code=2)
    return frozenset(plain)


def _print(model: AttachedModel) -> None:
    sampling = {
        name: value
        for name in _SAMPLING
        if (value := getattr(model.sampling, name, None)) is not None
    }
    print_fields(
        (
            ("key", model.key),
            ("model", model.model),
            ("template", model.template),
            ("sampling", ", ".join(f"{name} {value}" for name, value in sampling.items())),
            ("max output tokens", _text(model.max_output_tokens)),
            ("max ttft ms", _text(model.max_ttft_ms)),
            ("tools", ", ".join(t.id if t.enabled else f"{t.id} (off)" for t in model.tools)),
        )
    )


def _text(value: int | None) -> str | None:
    return None if value is None else str(value)
