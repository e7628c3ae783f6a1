"""`dragoman plans`: what the accounts that have one may use."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from dragoman.cli.administering import (
    none_if_empty,
    opened_administration,
    print_table,
    show_time,
    tell,
)
from dragoman.cli.keys import ConcurrentOption, ModelOption, RequestsOption, TokensOption
from dragoman.cli.terminal import ConfigOption, DataDirOption, JsonOption, print_json

if TYPE_CHECKING:
    from dragoman.records.account import Plan

plans_app = typer.Typer(
    help="List, set and delete plans: how much, and which models, an account may use.",
    no_args_is_help=True,
    epilog="Example: dragoman plans set small --requests-per-minute 60",
)

PlanArgument = Annotated[
    str, typer.Argument(metavar="PLAN", help="Its id: lower-case letters, digits, - and _.")
]


class PlanRow(msgspec.Struct, frozen=True, kw_only=True):
    """A plan as `--json` shows it; what is null is not limited by it."""

    id: str
    name: str
    requests_per_minute: int | None
    tokens_per_minute: int | None
    concurrent_requests: int | None
    models: tuple[str, ...] | None
    created: str


@plans_app.command("list", epilog="Example: dragoman plans list --json")
def list_plans(
    as_json: JsonOption = False, config: ConfigOption = None, data_dir: DataDirOption = None
) -> None:
    """List plans. Accounts without one have the server's own limits, and all models."""
    with opened_administration(config, data_dir) as (office, _):
        rows = [_row(plan) for plan in office.accounts.plans()]
    if as_json:
        print_json(rows)
        return
    if not rows:
        tell("There are no plans; make one with: dragoman plans set PLAN --requests-per-minute 60")
        return
    print_table(
        ("ID", "NAME", ">REQUESTS/MIN", ">TOKENS/MIN", ">AT ONCE", "MODELS"),
        (
            (
                *(row.id, row.name),
                *(
                    "–" if bound is None else f"{bound:,}"
                    for bound in (
                        row.requests_per_minute,
                        row.tokens_per_minute,
                        row.concurrent_requests,
                    )
                ),
                "all" if row.models is None else ", ".join(row.models) or "none",
            )
            for row in rows
        ),
    )


@plans_app.command(
    "set",
    epilog="Example: dragoman plans set small --requests-per-minute 60 --tokens-per-minute 100000",
)
def set_plan(
    plan: PlanArgument,
    name: Annotated[str | None, typer.Option("--name", help="For people. [the id]")] = None,
    requests_per_minute: RequestsOption = None,
    tokens_per_minute: TokensOption = None,
    concurrent_requests: ConcurrentOption = None,
    model: ModelOption = None,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """Make a plan, or write it anew, whole. Holds from the next request of its accounts on."""
    from dragoman.policy.administration import LimitsWish, PlanWish

    with opened_administration(config, data_dir) as (office, _):
        wish = PlanWish(
            name=name,
            limits=LimitsWish(
                requests_per_minute=requests_per_minute,
                tokens_per_minute=tokens_per_minute,
                concurrent_requests=concurrent_requests,
            ),
            models=none_if_empty(model),
        )
        made, is_new = office.accounts.put_plan(plan, wish)
    if as_json:
        print_json(_row(made))
        return
    typer.echo(f"Plan {made.id} is {'made' if is_new else 'changed'}.")
    if is_new:
        tell(f"Give it to an account: dragoman accounts change ACCOUNT --plan {made.id}")


@plans_app.command(epilog="Example: dragoman plans delete small")
def delete(plan: PlanArgument, config: ConfigOption = None, data_dir: DataDirOption = None) -> None:
    """Delete a plan that no account has."""
    with opened_administration(config, data_dir) as (office, _):
        office.accounts.delete_plan(plan)
    typer.echo(f"Deleted plan {plan}.")


def _row(plan: Plan) -> PlanRow:
    return PlanRow(
        id=plan.id,
        name=plan.name,
        requests_per_minute=plan.limits.requests_per_minute,
        tokens_per_minute=plan.limits.tokens_per_minute,
        concurrent_requests=plan.limits.concurrent_requests,
        models=plan.models,
        created=show_time(plan.created_s),
    )
