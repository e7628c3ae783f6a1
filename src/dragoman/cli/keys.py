"""`dragoman keys`: make, change, replace and revoke keys."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from dragoman.cli.administering import (
    AccountOption,
    account_names,
    find_account,
    none_if_empty,
    opened_administration,
    parse_moment,
    parse_span,
    print_fields,
    print_table,
    show_time,
    show_time_or_none,
    tell,
)
from dragoman.cli.terminal import ConfigOption, DataDirOption, Failure, JsonOption, print_json

if TYPE_CHECKING:
    from dragoman.policy.administration import Administration, LimitsWish, ScopesWish
    from dragoman.policy.administration.keys import KeyMade
    from dragoman.records.key import Key
    from dragoman.records.limits import Limits

keys_app = typer.Typer(
    help="Make, change, replace and revoke the keys that clients and administrators call with.",
    no_args_is_help=True,
    epilog="Example: dragoman keys create laptop",
)

KeyArgument = Annotated[
    str, typer.Argument(metavar="KEY", help="An id, or a name that only one key has.")
]
ModelOption = Annotated[
    list[str] | None,
    typer.Option("--model", "-m", help="Only this model; may be repeated."),
]
ProjectOption = Annotated[
    str | None, typer.Option("--project", "-p", help="The project that the key belongs to.")
]
OnlyProjectOption = Annotated[
    list[str] | None,
    typer.Option("--only-project", metavar="KEY", help="Only this project; may be repeated."),
]
DialectOption = Annotated[
    list[str] | None,
    typer.Option(
        "--dialect", help="Only openai, studio, dreamsolve or anthropic; may be repeated."
    ),
]
NetworkOption = Annotated[
    list[str] | None,
    typer.Option("--network", help="Only from here: 10.0.0.0/8, 2001:db8::/32; may be repeated."),
]
RequestsOption = Annotated[
    int | None,
    typer.Option("--requests-per-minute", min=0, help="The most requests in any 60 seconds."),
]
TokensOption = Annotated[
    int | None,
    typer.Option("--tokens-per-minute", min=0, help="The most tokens in any 60 seconds."),
]
ConcurrentOption = Annotated[
    int | None, typer.Option("--concurrent-requests", min=0, help="The most requests at once.")
]
ExpiresOption = Annotated[
    str | None,
    typer.Option(
        "--expires", metavar="WHEN", help="After 30d, 12h, …; or at 2026-12-31T18:00+01:00."
    ),
]
TokenOption = Annotated[
    str | None,
    typer.Option(
        "--token",
        metavar="TEXT",
        help="Your name for this wish: repeated within a day, it makes no second key.",
    ),
]


class KeyRow(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A key as `--json` shows it; `secret` only when it was made by this very command."""

    id: str
    name: str
    hint: str
    created: str
    account: str
    kind: str
    project: str | None = None
    expires: str | None = None
    last_used: str | None = None
    revoked: str | None = None
    replaces: str | None = None
    models: tuple[str, ...] | None = None
    projects: tuple[str, ...] | None = None
    dialects: tuple[str, ...] | None = None
    networks: tuple[str, ...] | None = None
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    concurrent_requests: int | None = None
    secret: str | None = None


@keys_app.command(
    epilog="Examples: KEY=$(dragoman keys create ci --json | jq -r .secret);"
    " dragoman keys create app --account acme --model local --expires 30d"
)
def create(
    name: Annotated[str, typer.Argument(help="What the key is for; shown in lists and logs.")],
    account: AccountOption = None,
    project: ProjectOption = None,
    model: ModelOption = None,
    only_project: OnlyProjectOption = None,
    dialect: DialectOption = None,
    network: NetworkOption = None,
    expires: ExpiresOption = None,
    requests_per_minute: RequestsOption = None,
    tokens_per_minute: TokensOption = None,
    concurrent_requests: ConcurrentOption = None,
    admin: Annotated[
        bool,
        typer.Option("--admin", help="A key for the admin API, which asks for no completions."),
    ] = False,
    token: TokenOption = None,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """Make a key and show its secret, this once. Running servers take it at once.

    Without --account it belongs to the server's own account, which needs no credits.
    """
    from dragoman.policy.administration import KeyWish

    with opened_administration(config, data_dir) as (office, _):
        wish = KeyWish(
            name=name,
            account_id="acct_default" if account is None else find_account(office, account).id,
            kind="admin" if admin else "client",
            project=project,
            expires_at=None if expires is None else parse_moment(expires, "--expires"),
            scopes=_scopes(model, only_project, dialect, network),
            limits=_limits(requests_per_minute, tokens_per_minute, concurrent_requests),
            creation_token=token,
        )
        made = office.keys.create(wish)
    _tell_made(made, as_json=as_json)


@keys_app.command("list", epilog="Example: dragoman keys list --all")
def list_keys(
    every: Annotated[bool, typer.Option("--all", help="Revoked keys too.")] = False,
    account: AccountOption = None,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """List keys, oldest first. Secrets are not stored and cannot be listed."""
    with opened_administration(config, data_dir) as (office, _):
        account_id = None if account is None else find_account(office, account).id
        kept = office.keys.list_all(account_id, with_revoked=every)
        names = account_names(office)
    if as_json:
        print_json([_row(key) for key in kept])
        return
    if not kept:
        tell("There are no keys; make one with: dragoman keys create NAME")
        return
    print_table(
        (
            *("ID", "NAME", "SECRET", "ACCOUNT", "CREATED", "EXPIRES", "LAST USED"),
            *(["REVOKED"] if every else []),
        ),
        (
            (
                *(key.id, key.name, key.hint, names.get(key.account_id, key.account_id)),
                *map(show_time_or_none, (key.created_s, key.expires_s, key.last_used_s)),
                *([show_time_or_none(key.revoked_s)] if every else []),
            )
            for key in kept
        ),
    )


@keys_app.command(epilog="Example: dragoman keys show laptop")
def show(
    key: KeyArgument,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """Show all that is kept of one key."""
    with opened_administration(config, data_dir) as (office, _):
        found = _find(office, key, with_revoked=True)
    _print(found, as_json=as_json)


@keys_app.command(
    epilog="Example: dragoman keys change laptop --requests-per-minute 60 --network 10.0.0.0/8"
)
def change(
    key: KeyArgument,
    name: Annotated[str | None, typer.Option("--name", help="Its new name.")] = None,
    project: ProjectOption = None,
    model: ModelOption = None,
    only_project: OnlyProjectOption = None,
    dialect: DialectOption = None,
    network: NetworkOption = None,
    expires: Annotated[
        str | None,
        typer.Option("--expires", metavar="WHEN", help="After 30d, …; at a moment; or never."),
    ] = None,
    requests_per_minute: RequestsOption = None,
    tokens_per_minute: TokensOption = None,
    concurrent_requests: ConcurrentOption = None,
    free: Annotated[
        list[str] | None,
        typer.Option(
            "--free",
            metavar="WHAT",
            help="Lift models, projects, dialects, networks, project, requests-per-minute,"
            " tokens-per-minute or concurrent-requests; may be repeated.",
        ),
    ] = None,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """Change what a key may do, from its next request on. What is not named stays as it is."""
    from msgspec import UNSET

    from dragoman.policy.administration import KeyChange

    lifted = _lifted(free)
    with opened_administration(config, data_dir) as (office, _):
        found = _find(office, key)
        wish = KeyChange(
            name=UNSET if name is None else name,
            project=None if "project" in lifted else (UNSET if project is None else project),
            expires_at=UNSET
            if expires is None
            else None
            if expires == "never"
            else parse_moment(expires, "--expires"),
            scopes=_changed_scopes(
                found,
                lifted,
                {
                    "models": model,
                    "projects": only_project,
                    "dialects": dialect,
                    "networks": network,
                },
            ),
            limits=_changed_limits(
                found.limits,
                lifted,
                {
                    "requests_per_minute": requests_per_minute,
                    "tokens_per_minute": tokens_per_minute,
                    "concurrent_requests": concurrent_requests,
                },
            ),
        )
        changed = office.keys.change(found.id, wish)
    _print(changed, as_json=as_json)


@keys_app.command(epilog="Example: dragoman keys rotate laptop --grace 24h")
def rotate(
    key: KeyArgument,
    grace: Annotated[
        str, typer.Option("--grace", metavar="SPAN", help="How long the old key still works: 24h.")
    ] = "0s",
    token: TokenOption = None,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """Replace a key by one that may do the same, and show its secret, this once.

    The new key works at once; the old one to the end of the grace, exactly.
    """
    from dragoman.policy.administration import RotationWish

    with opened_administration(config, data_dir) as (office, _):
        wish = RotationWish(grace_s=parse_span(grace, "--grace"), creation_token=token)
        made = office.keys.rotate(_find(office, key).id, wish)
    _tell_made(made, as_json=as_json)


@keys_app.command(epilog="Example: dragoman keys revoke key_0i755jc04j1gzjxk3fog")
def revoke(
    keys: Annotated[
        list[str], typer.Argument(metavar="KEY...", help="Ids, or names that only one key has.")
    ],
    as_json: JsonOption = False,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """Revoke keys for good. Running servers refuse them from their next request on."""
    with opened_administration(config, data_dir) as (office, _):
        # All are found before any is revoked: a typing error changes nothing.
        found = [_find(office, wanted) for wanted in dict.fromkeys(keys)]
        revoked = [office.keys.revoke(key.id) for key in found]
    if as_json:
        print_json([_row(key) for key in revoked])
        return
    for key in revoked:
        typer.echo(f"Revoked {key.id} ({key.name}).")


def _find(office: Administration, wanted: str, *, with_revoked: bool = False) -> Key:
    kept = office.keys.list_all(with_revoked=True)
    for key in kept:
        if key.id == wanted:
            if key.revoked_s is not None and not with_revoked:
                raise Failure(f"{wanted} was revoked already, on {show_time(key.revoked_s)}")
            return key
    named = [key for key in kept if key.name == wanted and key.revoked_s is None]
    if len(named) == 1:
        return named[0]
    if named:
        ids = ", ".join(key.id for key in named)
        raise Failure(f"{len(named)} keys are named {wanted!r}; use an id: {ids}")
    raise Failure(f"there is no key {wanted!r}; see: dragoman keys list")


# --- What is wished for -------------------------------------------------------------------------

_LIFTABLE = (
    "models",
    "projects",
    "dialects",
    "networks",
    "project",
    "requests-per-minute",
    "tokens-per-minute",
    "concurrent-requests",
)


def _lifted(names: list[str] | None) -> frozenset[str]:
    for name in names or ():
        if name not in _LIFTABLE:
            raise Failure(f"--free is {name[:40]!r}; use {', '.join(_LIFTABLE)}", exit_code=2)
    return frozenset(names or ())


def _scopes(
    models: list[str] | None,
    projects: list[str] | None,
    dialects: list[str] | None,
    networks: list[str] | None,
) -> ScopesWish:
    from dragoman.policy.administration import ScopesWish

    return msgspec.convert(
        {
            "models": none_if_empty(models),
            "projects": none_if_empty(projects),
            "dialects": _known_dialects(dialects),
            "networks": none_if_empty(networks),
        },
        ScopesWish,
    )


def _known_dialects(names: list[str] | None) -> tuple[str, ...] | None:
    from typing import get_args

    from dragoman.chat import DialectName

    for name in names or ():
        if name not in get_args(DialectName) and names != ["none"]:
            raise Failure(
                f"--dialect is {name[:40]!r}; use {', '.join(get_args(DialectName))}", exit_code=2
            )
    return none_if_empty(names)


def _limits(requests: int | None, tokens: int | None, concurrent: int | None) -> LimitsWish:
    from dragoman.policy.administration import LimitsWish

    return LimitsWish(
        requests_per_minute=requests, tokens_per_minute=tokens, concurrent_requests=concurrent
    )


def _changed_scopes(
    key: Key, lifted: frozenset[str], given: dict[str, list[str] | None]
) -> ScopesWish | msgspec.UnsetType:
    if not lifted.intersection(given) and not any(given.values()):
        return msgspec.UNSET
    wish = _scopes(given["models"], given["projects"], given["dialects"], given["networks"])
    kept = {
        name: None if name in lifted else getattr(key.scopes, name)
        for name, values in given.items()
        if not values
    }
    return msgspec.structs.replace(wish, **kept)


def _changed_limits(
    limits: Limits, lifted: frozenset[str], given: dict[str, int | None]
) -> LimitsWish | msgspec.UnsetType:
    from dragoman.policy.administration import LimitsWish

    freed = {name for name in given if name.replace("_", "-") in lifted}
    if not freed and all(value is None for value in given.values()):
        return msgspec.UNSET
    return LimitsWish(
        **{
            name: None if name in freed else getattr(limits, name) if value is None else value
            for name, value in given.items()
        }
    )


# --- What is told -------------------------------------------------------------------------------


def _tell_made(made: KeyMade, *, as_json: bool) -> None:
    if as_json:
        print_json(_row(made.key, made.secret))
        return
    typer.echo(made.secret)
    key = made.key
    if not made.is_new:
        tell(f"This is key {key.id} ({key.name}), which the same wish made before.")
        return
    if made.replaced is not None and made.replaced.expires_s is not None:
        tell(
            f"It replaces {made.replaced.id}, which works until {show_time(made.replaced.expires_s)}."
        )
    tell(
        f"This is key {key.id} ({key.name}). Keep it: only its hash is stored, "
        "and it is not shown again."
    )


def _print(key: Key, *, as_json: bool) -> None:
    row = _row(key)
    if as_json:
        print_json(row)
        return
    print_fields(
        (
            name,
            ", ".join(value) if isinstance(value, tuple) else None if value is None else str(value),
        )
        for name, value in msgspec.structs.asdict(row).items()
        if name != "secret"
    )


def _row(key: Key, secret: str | None = None) -> KeyRow:
    return KeyRow(
        id=key.id,
        name=key.name,
        hint=key.hint,
        created=show_time(key.created_s),
        account=key.account_id,
        kind=key.kind,
        project=key.project,
        expires=show_time_or_none(key.expires_s),
        last_used=show_time_or_none(key.last_used_s),
        revoked=show_time_or_none(key.revoked_s),
        replaces=key.replaces,
        models=key.scopes.models,
        projects=key.scopes.projects,
        dialects=key.scopes.dialects,
        networks=key.scopes.networks,
        requests_per_minute=key.limits.requests_per_minute,
        tokens_per_minute=key.limits.tokens_per_minute,
        concurrent_requests=key.limits.concurrent_requests,
        secret=secret,
    )
