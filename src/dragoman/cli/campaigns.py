"""`dragoman campaigns`: models and prompts of a project compared on its users."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

import msgspec
import typer

from dragoman.cli.administering import (
    ProjectArgument,
    opened_administration,
    print_fields,
    print_table,
    show_time,
    show_time_or_none,
    tell,
)
from dragoman.cli.terminal import (
    ConfigOption,
    DataDirOption,
    Failure,
    JsonOption,
    out,
    print_json,
    warn,
)

if TYPE_CHECKING:
    from dragoman.policy.administration.project_wishes import ArmWish, GuardrailWish
    from dragoman.policy.campaigns.reporting import CampaignReport
    from dragoman.records.campaign import Campaign
    from dragoman.records.metric import MetricId

campaigns_app = typer.Typer(
    help="Compare models and prompts of a project on its users, and read what came of it.",
    no_args_is_help=True,
    epilog="Example: dragoman campaigns create support tone --metric helpful --arm fast --arm smart",
)

_SAMPLING = ("temperature", "top_p", "top_k", "frequency_penalty", "presence_penalty", "seed")

CampaignArgument = Annotated[str, typer.Argument(metavar="CAMPAIGN", help="Its key or id.")]
SplitOption = Annotated[
    float | None,
    typer.Option(
        "--split",
        metavar="SHARE",
        help="The share of sessions, users or requests that enter: 0 to 1.",
    ),
]
AutoDeployOption = Annotated[
    bool | None,
    typer.Option("--auto-deploy/--no-auto-deploy", help="Make the winner the project's default."),
]


class ArmRow(msgspec.Struct, frozen=True, kw_only=True):
    key: str
    model: str
    template_version: int | None
    sampling: dict[str, Any]


class CampaignRow(msgspec.Struct, frozen=True, kw_only=True):
    """A campaign as `--json` shows it."""

    id: str
    project: str
    key: str
    name: str
    status: str
    kind: str
    metric: str
    """Its key."""
    metric_id: str
    arms: tuple[ArmRow, ...]
    traffic_split: float
    auto_deploy: bool
    alpha: float
    guard_alpha: float
    min_scores: int
    mixture_variance: float
    guardrails: dict[str, float]
    """The margin of each measure."""
    created: str
    ended: str | None
    end_reason: str | None
    winner: str | None
    deployed: str | None


@campaigns_app.command("list", epilog="Example: dragoman campaigns list support")
def list_campaigns(
    project: Annotated[
        str | None, typer.Argument(metavar="PROJECT", help="A project's key or id. [all]")
    ] = None,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """List campaigns, the newest first."""
    with opened_administration(config, data_dir) as (office, _):
        keys = {each.id: each.key for each in office.projects.list_all(with_archived=True)}
        found = office.campaigns.list_all(project)
        metrics = office.campaigns.metric_keys(*found)
        rows = [_row(each, keys.get(each.project_id, each.project_id), metrics) for each in found]
    if as_json:
        print_json(rows)
    elif rows:
        print_table(
            (
                "PROJECT",
                "KEY",
                "STATUS",
                "KIND",
                "METRIC",
                "ARMS",
                ">SPLIT",
                "WINNER",
                "BEGAN",
                "ENDED",
            ),
            (
                (
                    *(row.project, row.key, row.status, row.kind, row.metric),
                    ", ".join(f"{arm.key}: {arm.model}" for arm in row.arms),
                    *(f"{row.traffic_split:g}", row.winner, row.created, row.ended),
                )
                for row in rows
            ),
        )
    else:
        tell("There are none; begin one with: dragoman campaigns create")


@campaigns_app.command(
    epilog="Examples: dragoman campaigns create support tone --metric helpful --arm fast --arm smart --split 0.2;"
    " dragoman campaigns create support cold --metric helpful --arm old=fast@1 --arm new=fast@2"
    " --guard errors=0.02"
)
def create(
    project: ProjectArgument,
    key: Annotated[str, typer.Argument(help="The campaign's key.")],
    metric: Annotated[
        str, typer.Option("--metric", help="What is compared: a metric's key or id.")
    ],
    arm: Annotated[
        list[str],
        typer.Option(
            "--arm",
            metavar="[KEY=]MODEL[@VERSION][,NAME=VALUE]",
            help="A model of the project, a version of its template, its sampling; two to eight of them.",
        ),
    ],
    kind: Annotated[
        Literal["direct", "comparison"],
        typer.Option("--kind", help="By values of the metric, or by which of two is preferred."),
    ] = "direct",
    name: Annotated[
        str | None, typer.Option("--name", help="What people call it. [the key]")
    ] = None,
    split: SplitOption = None,
    auto_deploy: AutoDeployOption = None,
    alpha: Annotated[
        float, typer.Option("--alpha", help="The chance to find a difference where there is none.")
    ] = 0.05,
    guard_alpha: Annotated[
        float, typer.Option("--guard-alpha", help="The same for all guardrails together.")
    ] = 0.05,
    min_scores: Annotated[
        int | None,
        typer.Option(
            "--min-scores",
            help="Of each arm or pair, before anything is tested. [30; scalar metrics 100, built-in ones 300]",
        ),
    ] = None,
    mixture_variance: Annotated[
        float,
        typer.Option("--mixture-variance", help="Where the test is sharpest: less for later."),
    ] = 0.01,
    guard: Annotated[
        list[str] | None,
        typer.Option(
            "--guard",
            metavar="MEASURE=MARGIN",
            help="End it when an arm is certainly worse by more: errors=0.02, cost=0.001 (US dollars),"
            " first_token_ms=300; may be repeated.",
        ),
    ] = None,
    token: Annotated[
        str | None,
        typer.Option(
            "--token",
            metavar="TEXT",
            help="Your name for this wish: repeated, it begins no second.",
        ),
    ] = None,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """Begin a campaign: from now on units are spread over its arms. One runs at a time in a project.

    It ends by itself when an arm is certainly better, however often one looks; arms never change.
    """
    from dragoman.policy.administration import CampaignWish

    wish = CampaignWish(
        key=key,
        name=name,
        metric=metric,
        kind=kind,
        arms=tuple(map(_arm_wish, arm)),
        traffic_split=1.0 if split is None else split,
        auto_deploy=bool(auto_deploy),
        alpha=alpha,
        guard_alpha=guard_alpha,
        min_scores=min_scores,
        mixture_variance=mixture_variance,
        guardrails=tuple(map(_guard_wish, guard or ())),
    )
    with opened_administration(config, data_dir) as (office, _):
        owner = office.projects.find(project)
        made, _is_new = office.campaigns.create(owner.id, wish, token=token)
        row = _row(made, owner.key, office.campaigns.metric_keys(made))
    _print(row, as_json=as_json)
    if not as_json:
        tell(f"To see how it stands: dragoman campaigns report {owner.key} {made.key}")


@campaigns_app.command(epilog="Example: dragoman campaigns show support tone")
def show(
    project: ProjectArgument,
    campaign: CampaignArgument,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """Show what a campaign was begun with, and how it ended."""
    with opened_administration(config, data_dir) as (office, _):
        owner = office.projects.find(project)
        found = office.campaigns.find(owner.id, campaign)
        row = _row(found, owner.key, office.campaigns.metric_keys(found))
    _print(row, as_json=as_json)


@campaigns_app.command(epilog="Example: dragoman campaigns report support tone")
def report(
    project: ProjectArgument,
    campaign: CampaignArgument,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """Say what came of a campaign so far, in words and numbers. One may look as often as one likes."""
    with opened_administration(config, data_dir) as (office, _):
        found = office.campaigns.report(project, campaign)
    if as_json:
        print_json(found)
        return
    _print_report(found)


@campaigns_app.command(epilog="Example: dragoman campaigns change support tone --split 0.5")
def change(
    project: ProjectArgument,
    campaign: CampaignArgument,
    name: Annotated[str | None, typer.Option("--name", help="Its new name.")] = None,
    split: SplitOption = None,
    auto_deploy: AutoDeployOption = None,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """Change what may change while a campaign runs. Units that are in with a smaller split stay in with a
    larger one."""
    from msgspec import UNSET

    from dragoman.policy.administration import CampaignChange

    wish = CampaignChange(
        name=UNSET if name is None else name,
        traffic_split=UNSET if split is None else split,
        auto_deploy=UNSET if auto_deploy is None else auto_deploy,
    )
    with opened_administration(config, data_dir) as (office, _):
        owner = office.projects.find(project)
        changed = office.campaigns.change(owner.id, campaign, wish)
        row = _row(changed, owner.key, office.campaigns.metric_keys(changed))
    _print(row, as_json=as_json)


@campaigns_app.command(epilog="Example: dragoman campaigns cancel support tone")
def cancel(
    project: ProjectArgument,
    campaign: CampaignArgument,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """End a campaign without a winner, for good. What was counted stays."""
    with opened_administration(config, data_dir) as (office, _):
        done = office.campaigns.cancel(project, campaign)
    typer.echo(f"Cancelled {done.key} ({done.id}).")


# --- What is wished for -------------------------------------------------------------------------


def _arm_wish(text: str) -> ArmWish:
    """`KEY=MODEL@VERSION,temperature=0.2`: all but the model may be left out."""
    from dragoman.policy.administration.project_wishes import ArmWish, SamplingWish

    head, *pairs = text.split(",")
    key, separator, model = head.partition("=")
    if not separator:
        key, model = "", head
    # A model's key may hold an @ itself; a version is digits at the end.
    name, at, version = model.rpartition("@")
    if not at or not version.isdecimal():
        name, version = model, ""
    if not name or (separator and not key):
        raise Failure(f"--arm is {text[:60]!r}; write MODEL, or KEY=MODEL@VERSION", exit_code=2)
    sampling: dict[str, float] = {}
    for pair in pairs:
        setting, _, value = pair.partition("=")
        if setting not in _SAMPLING:
            raise Failure(
                f"--arm sets {setting[:40]!r}; use {', '.join(_SAMPLING)}, each as NAME=VALUE",
                exit_code=2,
            )
        sampling[setting] = _number(value, f"--arm … {setting}")
    return ArmWish(
        model=name,
        key=key or None,
        template_version=int(version) if version else None,
        sampling=SamplingWish(**sampling),  # type: ignore[arg-type] # checked with all else
    )


def _guard_wish(text: str) -> GuardrailWish:
    from dragoman.policy.administration.project_wishes import GuardrailWish
    from dragoman.records.campaign import GuardMeasure

    measure, _, margin = text.partition("=")
    for known in get_args(GuardMeasure):
        if measure == known:
            return GuardrailWish(measure=known, margin=_number(margin, f"--guard {measure}"))
    known_measures = ", ".join(get_args(GuardMeasure))
    raise Failure(
        f"--guard is {text[:40]!r}; write MEASURE=MARGIN with one of {known_measures}", exit_code=2
    )


def _number(text: str, option: str) -> float:
    try:
        value = msgspec.json.decode(text, type=float | int)
    except msgspec.DecodeError:
        raise Failure(f"{option} is {text[:40]!r}; write a number", exit_code=2) from None
    return value


# --- What is told -------------------------------------------------------------------------------


def _row(campaign: Campaign, project: str, metrics: Mapping[MetricId, str]) -> CampaignRow:
    """`metrics` are keys."""
    return CampaignRow(
        id=campaign.id,
        project=project,
        key=campaign.key,
        name=campaign.name,
        status=campaign.status,
        kind=campaign.kind,
        metric=metrics.get(campaign.metric_id, campaign.metric_id),
        metric_id=campaign.metric_id,
        arms=tuple(
            ArmRow(
                key=arm.key,
                model=arm.model,
                template_version=arm.template_version,
                sampling={
                    name: value
                    for name in _SAMPLING
                    if (value := getattr(arm.sampling, name)) is not None
                },
            )
            for arm in campaign.arms
        ),
        traffic_split=campaign.traffic_split,
        auto_deploy=campaign.auto_deploy,
        alpha=campaign.alpha,
        guard_alpha=campaign.guard_alpha,
        min_scores=campaign.min_scores,
        mixture_variance=campaign.mixture_variance,
        guardrails={each.measure: each.margin for each in campaign.guardrails},
        created=show_time(campaign.created_s),
        ended=show_time_or_none(campaign.ended_s),
        end_reason=campaign.end_reason,
        winner=campaign.winner,
        deployed=show_time_or_none(campaign.deployed_s),
    )


def _print(row: CampaignRow, *, as_json: bool) -> None:
    if as_json:
        print_json(row)
        return
    print_fields(
        (
            ("id", row.id),
            ("project", row.project),
            ("key", row.key),
            ("name", row.name),
            ("status", row.status),
            ("kind", row.kind),
            ("metric", row.metric),
            *((f"arm {arm.key}", _arm_text(arm)) for arm in row.arms),
            ("traffic split", f"{row.traffic_split:g}"),
            ("auto deploy", "yes" if row.auto_deploy else "no"),
            ("alpha", f"{row.alpha:g}"),
            ("guardrails", ", ".join(f"{name} {m:g}" for name, m in row.guardrails.items())),
            ("least scores", str(row.min_scores)),
            ("began", row.created),
            ("ended", row.ended),
            ("because", row.end_reason),
            ("winner", row.winner),
            ("deployed", row.deployed),
        )
    )


def _arm_text(arm: ArmRow) -> str:
    version = "" if arm.template_version is None else f", template version {arm.template_version}"
    return arm.model + version + "".join(f", {name} {v:g}" for name, v in arm.sampling.items())


def _print_report(found: CampaignReport) -> None:
    if found.sample_ratio.warning is not None:
        warn(found.sample_ratio.warning)
    console = out()
    console.print(f"{found.name}: {found.status}, {found.kind}, by {found.metric}")
    console.print(found.headline)
    for words in found.words:
        # Why it ended is made of what is said of its pairs and guardrails.
        if words != found.sample_ratio.warning and words not in found.headline:
            console.print(f"  {words}")
    console.print()
    print_table(
        ("ARM", "MODEL", ">UNITS", ">REQUESTS", ">FALLBACKS", ">SCORES", ">MEAN", ">INTERVAL"),
        (
            (
                *(arm.key, arm.model),
                *(f"{n:,}" for n in (arm.units, arm.requests, arm.fallbacks, arm.scores)),
                *(_value(arm.mean), _interval(arm.low, arm.high)),
            )
            for arm in found.arms
        ),
    )
    console.print()
    print_table(
        ("PAIR", ">WINS", ">LOSSES", ">TIES", ">DIFFERENCE", ">INTERVAL", ">P", "BETTER"),
        (
            (
                f"{pair.first} – {pair.second}",
                *(_count(n) for n in (pair.wins, pair.losses, pair.ties)),
                *(_value(pair.difference), _interval(pair.low, pair.high), _value(pair.p)),
                pair.better,
            )
            for pair in found.pairs
        ),
    )
    if found.guardrails:
        console.print()
        print_table(
            ("GUARDRAIL", "PAIR", ">MARGIN", ">DIFFERENCE", ">INTERVAL", "WORSE"),
            (
                (
                    *(guard.measure, f"{guard.first} – {guard.second}", f"{guard.margin:g}"),
                    *(_value(guard.difference), _interval(guard.low, guard.high), guard.worse),
                )
                for guard in found.guardrails
            ),
        )


def _value(value: float | None) -> str | None:
    return None if value is None else f"{value:.4g}"


def _count(number: int | None) -> str | None:
    return None if number is None else f"{number:,}"


def _interval(low: float | None, high: float | None) -> str | None:
    return None if low is None or high is None else f"{low:.4g} to {high:.4g}"
