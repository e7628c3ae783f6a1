"""`dragoman projects`: what applications ask for by one name, and what stands behind that name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import msgspec
import typer

from dragoman.cli.administering import (
    AccountOption,
    ProjectArgument,
    account_names,
    find_account,
    opened_administration,
    print_fields,
    print_table,
    show_time,
    show_time_or_none,
    tell,
)
from dragoman.cli.attaching import attach
from dragoman.cli.terminal import ConfigOption, DataDirOption, Failure, JsonOption, out, print_json

if TYPE_CHECKING:
    from dragoman.policy.administration import Administration, LimitsWish
    from dragoman.policy.administration.definitions import Origin
    from dragoman.policy.administration.project_wishes import AttachedModelWish, ContentWish
    from dragoman.records.project import Project

projects_app = typer.Typer(
    help="Make and change projects: what applications ask for by one name.",
    no_args_is_help=True,
    epilog="Example: dragoman projects create support --model local",
)

RightName = Literal["view", "edit", "admin", "none"]

PublicOption = Annotated[
    int | None,
    typer.Option(
        "--public-requests",
        min=1,
        metavar="NUMBER",
        help="Serve it without a key: so many requests a minute, of everybody together.",
    ),
]
PublicTokensOption = Annotated[
    int | None,
    typer.Option("--public-tokens", min=1, metavar="NUMBER", help="The same for tokens."),
]


class ModelRow(msgspec.Struct, frozen=True, kw_only=True):
    key: str
    model: str
    is_default: bool
    template: str | None
    tools: tuple[str, ...]
    """Those that `use_tools: true` turns on."""
    max_ttft_ms: int | None


class OriginRow(msgspec.Struct, frozen=True, kw_only=True):
    value: msgspec.Raw
    origin: str
    """`file` or `API` (the command line, too). What is not listed is the default."""


class ProjectRow(msgspec.Struct, frozen=True, kw_only=True):
    """A project as `--json` shows it."""

    id: str
    key: str
    name: str
    account: str
    models: tuple[ModelRow, ...]
    default_model: str | None
    is_public: bool
    is_stored: bool
    is_from_file: bool
    created: str
    archived: str | None


class WholeProjectRow(ProjectRow, frozen=True, kw_only=True):
    """What `show --json` shows."""

    values: dict[str, OriginRow]
    """Every value that is not the default, by path, with templates and metrics."""


class RightRow(msgspec.Struct, frozen=True, kw_only=True):
    member: str
    email: str
    role: str
    right: str
    is_own: bool
    """Given by the project, in place of what the role gives."""


@projects_app.command("list", epilog="Example: dragoman projects list --account acme")
def list_projects(
    every: Annotated[bool, typer.Option("--all", help="Archived ones too.")] = False,
    account: AccountOption = None,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """List projects, oldest first."""
    with opened_administration(config, data_dir) as (office, _):
        account_id = None if account is None else find_account(office, account).id
        rows = [_row(each) for each in office.projects.list_all(account_id, with_archived=every)]
        names = account_names(office)
    if as_json:
        print_json(rows)
        return
    if not rows:
        tell("There are no projects; make one with: dragoman projects create KEY --model MODEL")
        return
    print_table(
        ("KEY", "NAME", "ACCOUNT", "MODELS", "DEFAULT", "FROM", "STATE"),
        (
            (
                *(row.key, row.name, names.get(row.account, row.account)),
                ", ".join(model.key for model in row.models),
                row.default_model,
                "file" if row.is_from_file else "API",
                "archived" if row.archived else "public" if row.is_public else "active",
            )
            for row in rows
        ),
    )


@projects_app.command(epilog="Example: dragoman projects show support")
def show(
    project: ProjectArgument,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """Show all of a project, and where each value comes from: the settings file, or the API and commands.

    What is not shown is at its default.
    """
    with opened_administration(config, data_dir) as (office, _):
        _print(office, office.projects.find(project), as_json=as_json)


@projects_app.command(
    epilog="Example: dragoman projects create support --model local --model smart=gpt-5-mini"
)
def create(
    key: Annotated[
        str, typer.Argument(help="How requests name it: lower-case letters, digits, - and _.")
    ],
    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            "-m",
            metavar="[KEY=]MODEL",
            help="A model that it has, under a key of its own; may be repeated. The first is the default.",
        ),
    ] = None,
    name: Annotated[
        str | None, typer.Option("--name", help="What people call it. [the key]")
    ] = None,
    account: AccountOption = None,
    public_requests: PublicOption = None,
    public_tokens: PublicTokensOption = None,
    token: Annotated[
        str | None,
        typer.Option(
            "--token", metavar="TEXT", help="Your name for this wish: repeated, it makes no second."
        ),
    ] = None,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """Make a project, which answers from its next request on."""
    from dragoman.policy.administration import ProjectWish

    with opened_administration(config, data_dir) as (office, _):
        wish = ProjectWish(
            key=key,
            name=name,
            account_id="acct_default" if account is None else find_account(office, account).id,
            models=tuple(map(_model_wish, model or ())),
            public=_public(public_requests, public_tokens),
        )
        made, _is_new = office.projects.create(wish, token=token)
        _print(office, made, as_json=as_json)
    if not as_json and not made.models:
        tell(f"Next: dragoman projects attach {made.key} MODEL")


@projects_app.command(
    epilog="Examples: dragoman projects change support --default-model smart;"
    " dragoman projects change support --keep-days 30 --redact email --redact card"
)
def change(
    project: ProjectArgument,
    name: Annotated[str | None, typer.Option("--name", help="Its new name.")] = None,
    default_model: Annotated[
        str | None,
        typer.Option("--default-model", metavar="KEY", help="Which of its models answers."),
    ] = None,
    public_requests: PublicOption = None,
    public_tokens: PublicTokensOption = None,
    private: Annotated[
        bool, typer.Option("--private", help="Serve it to those with a key only.")
    ] = False,
    store: Annotated[
        bool | None,
        typer.Option("--store/--no-store", help="Keep the words of conversations, or do not."),
    ] = None,
    keep_days: Annotated[
        str | None,
        typer.Option("--keep-days", metavar="DAYS", help="For so many days, or none: for ever."),
    ] = None,
    redact: Annotated[
        list[str] | None,
        typer.Option(
            "--redact",
            metavar="KIND",
            help="Keep them without email, phone, card, ip_address or pattern:REGEX; may be repeated; none.",
        ),
    ] = None,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """Change what holds for a project, from its next request on. What is not named stays."""
    from msgspec import UNSET

    from dragoman.policy.administration import ProjectChange

    if private and (public_requests or public_tokens):
        raise Failure("--private and --public-… were both given; give one", exit_code=2)
    with opened_administration(config, data_dir) as (office, _):
        found = office.projects.find(project)
        public = _public(public_requests, public_tokens)
        content = _content(office, found, store, keep_days, redact)
        wish = ProjectChange(
            name=UNSET if name is None else name,
            default_model=UNSET if default_model is None else default_model,
            public=None if private else UNSET if public is None else public,
            content=UNSET if content is None else content,
        )
        _print(office, office.projects.change(found.id, wish), as_json=as_json)


@projects_app.command(epilog="Example: dragoman projects archive support")
def archive(
    project: ProjectArgument, config: ConfigOption = None, data_dir: DataDirOption = None
) -> None:
    """Let a project answer nothing any more. What was kept of it stays, and its key stays taken."""
    with opened_administration(config, data_dir) as (office, _):
        done = office.projects.archive(project)
    typer.echo(f"Archived {done.key} ({done.id}); undo: dragoman projects restore {done.key}")


@projects_app.command(epilog="Example: dragoman projects restore support")
def restore(
    project: ProjectArgument, config: ConfigOption = None, data_dir: DataDirOption = None
) -> None:
    """Let an archived project answer again."""
    with opened_administration(config, data_dir) as (office, _):
        done = office.projects.restore(project)
    typer.echo(f"Restored {done.key} ({done.id}).")


projects_app.command(
    epilog="Examples: dragoman projects attach support gpt-5-mini --key smart --temperature 0.2"
    " --template greeting; dragoman projects attach support --key smart --tool orders"
)(attach)


@projects_app.command(epilog="Example: dragoman projects detach support smart")
def detach(
    project: ProjectArgument,
    model: Annotated[str, typer.Argument(metavar="KEY", help="The model's key in the project.")],
    as_json: JsonOption = False,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """Take a model out of a project. The default has to be another first."""
    with opened_administration(config, data_dir) as (office, _):
        _print(office, office.projects.detach(project, model), as_json=as_json)


@projects_app.command(
    epilog="Examples: dragoman projects rights support;"
    " dragoman projects rights support ann@example.com edit"
)
def rights(
    project: ProjectArgument,
    member: Annotated[
        str | None,
        typer.Argument(help="A member of the project's account, by e-mail address or id."),
    ] = None,
    right: Annotated[
        RightName | None,
        typer.Argument(help="view, edit or admin; none: what the role in the account gives."),
    ] = None,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """List what the account's members may do with a project, or set it for one of them.

    view: read interactions and reports. edit: also models, templates, metrics and campaigns. admin: also rights,
    content rules and the public switch.
    """
    from dragoman.policy.administration import RightWish
    from dragoman.policy.administration.rights import right_of

    if member is not None and right is None:
        raise Failure("say which right: view, edit, admin or none", exit_code=2)
    with opened_administration(config, data_dir) as (office, _):
        found = office.projects.find(project)
        if member is not None and right == "none":
            found = office.projects.remove_right(found.id, member)
        elif member is not None and right is not None and right != "none":
            found = office.projects.set_right(found.id, RightWish(member=member, right=right))
        own = {each.member_id for each in found.rights}
        rows = [
            RightRow(
                member=each.id,
                email=each.email,
                role=each.role,
                right=right_of(found, each) or "none",
                is_own=each.id in own,
            )
            for each in office.accounts.show(found.account_id).members
        ]
    if as_json:
        print_json(rows)
    elif rows:
        print_table(
            ("E-MAIL", "ROLE", "RIGHT", "FROM"),
            ((r.email, r.role, r.right, "project" if r.is_own else "role") for r in rows),
        )
    else:
        tell(f"Its account has no members; see: dragoman accounts members list {found.account_id}")


# --- What is wished for -------------------------------------------------------------------------


def _model_wish(text: str) -> AttachedModelWish:
    from dragoman.policy.administration import AttachedModelWish

    key, separator, model = text.partition("=")
    return AttachedModelWish(model=model, key=key) if separator else AttachedModelWish(model=text)


def _public(requests: int | None, tokens: int | None) -> LimitsWish | None:
    from dragoman.policy.administration import LimitsWish

    if requests is None and tokens is None:
        return None
    return LimitsWish(requests_per_minute=requests, tokens_per_minute=tokens)


def _content(
    office: Administration,
    project: Project,
    store: bool | None,
    keep_days: str | None,
    redact: list[str] | None,
) -> ContentWish | None:
    """`None` where nothing is said of it."""
    from dragoman.policy.administration.project_wishes import RedactionWish

    if store is None and keep_days is None and not redact:
        return None
    wish = office.whole_projects.current(project.id).content
    if store is not None:
        wish = msgspec.structs.replace(wish, is_stored=store)
    if keep_days is not None:
        if keep_days != "none" and not (keep_days.isdecimal() and len(keep_days) < 10):
            raise Failure(
                f"--keep-days is {keep_days[:40]!r}; write a number, or none", exit_code=2
            )
        days = None if keep_days == "none" else int(keep_days)
        wish = msgspec.structs.replace(wish, keep_days=days)
    if redact:
        rules = []
        for text in [] if redact == ["none"] else redact:
            kind, separator, pattern = text.partition(":")
            rule = {"kind": kind} | ({"pattern": pattern} if separator else {})
            rules.append(msgspec.convert(_known_kind(rule), RedactionWish))
        wish = msgspec.structs.replace(wish, redact=tuple(rules))
    return wish


def _known_kind(rule: dict[str, str]) -> dict[str, str]:
    kinds = ("email", "phone", "card", "ip_address", "pattern")
    if rule["kind"] not in kinds:
        raise Failure(f"--redact is {rule['kind'][:40]!r}; use {', '.join(kinds)}", exit_code=2)
    return rule


# --- What is told -------------------------------------------------------------------------------


def _row(project: Project) -> ProjectRow:
    return ProjectRow(
        id=project.id,
        key=project.key,
        name=project.name,
        account=project.account_id,
        models=tuple(
            ModelRow(
                key=each.key,
                model=each.model,
                is_default=each.key == project.default_model,
                template=each.template,
                tools=tuple(tool.id for tool in each.tools if tool.enabled),
                max_ttft_ms=each.max_ttft_ms,
            )
            for each in project.models
        ),
        default_model=project.default_model,
        is_public=project.public is not None,
        is_stored=project.content.is_stored,
        is_from_file=project.applied is not None,
        created=show_time(project.created_s),
        archived=show_time_or_none(project.archived_s),
    )


def _print(office: Administration, project: Project, *, as_json: bool) -> None:
    from dragoman.policy.administration.definitions import origins

    row = _row(project)
    found = origins(office.whole_projects.current(project.id), project.applied)
    if as_json:
        fields = {name: getattr(row, name) for name in row.__struct_fields__}
        values = {each.path: OriginRow(value=each.value, origin=each.origin) for each in found}
        print_json(WholeProjectRow(**fields, values=values))
        return
    print_fields(
        (
            ("id", row.id),
            ("key", row.key),
            ("account", account_names(office).get(row.account, row.account)),
            ("created", row.created),
            ("archived", row.archived),
        )
    )
    _print_values(found)


def _print_values(found: list[Origin]) -> None:
    console = out()
    for each in found:
        if each.path not in ("key", "account_id"):
            console.print(f"{each.path} = {bytes(each.value).decode()}  # {each.origin}")
