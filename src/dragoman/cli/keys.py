"""`dragoman keys`: make, list and revoke clients' keys."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from dragoman.cli.terminal import (
    ConfigOption,
    DataDirOption,
    Failure,
    JsonOption,
    opened_store,
    out,
    print_json,
    read_config,
)

if TYPE_CHECKING:
    from dragoman.records.key import Key

keys_app = typer.Typer(
    help="Make, list and revoke the keys that clients call with.",
    no_args_is_help=True,
    epilog="Example: dragoman keys create laptop",
)


class KeyRow(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A key as `--json` shows it; `secret` only when it was made by this very command."""

    id: str
    name: str
    hint: str
    created: str
    revoked: str | None = None
    secret: str | None = None


@keys_app.command(epilog="Example: KEY=$(dragoman keys create ci --json | jq -r .secret)")
def create(
    name: Annotated[str, typer.Argument(help="What the key is for; shown in lists and logs.")],
    as_json: JsonOption = False,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """Make a key and show its secret, this once. Running servers take it at once."""
    from dragoman.policy.keys import UnusableKey, mint_key

    settings = read_config(config, data_dir=data_dir)
    try:
        secret, key = mint_key(name, time.time())
    except UnusableKey as error:
        raise Failure(str(error), exit_code=2) from None
    with opened_store(settings) as store:
        store.add_key(key)
    if as_json:
        print_json(_row(key, secret))
        return
    typer.echo(secret)
    typer.echo(
        f"This is key {key.id} ({key.name}). Keep it: only its hash is stored, "
        "and it is not shown again.",
        err=True,
    )


@keys_app.command("list", epilog="Example: dragoman keys list --all")
def list_keys(
    every: Annotated[bool, typer.Option("--all", "-a", help="Revoked keys too.")] = False,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """List keys, oldest first. Secrets are not stored and cannot be listed."""
    settings = read_config(config, data_dir=data_dir)
    with opened_store(settings) as store:
        kept = store.list_keys()
    rows = [_row(key) for key in kept if every or key.revoked_s is None]
    if as_json:
        print_json(rows)
        return
    if not rows:
        typer.echo("There are no keys; make one with: dragoman keys create NAME", err=True)
        return
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("ID", "NAME", "SECRET", "CREATED", *(["REVOKED"] if every else [])):
        table.add_column(heading, overflow="fold")
    for row in rows:
        last = [row.revoked or ""] if every else []
        table.add_row(row.id, row.name, row.hint, row.created, *last)
    out().print(table)


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
    settings = read_config(config, data_dir=data_dir)
    with opened_store(settings) as store:
        # All are found before any is revoked: a typing error changes nothing.
        found = [_find(store.list_keys(), wanted) for wanted in dict.fromkeys(keys)]
        now_s = time.time()
        for key in found:
            store.revoke_key(key.id, now_s)
    if as_json:
        print_json([_row(msgspec.structs.replace(key, revoked_s=now_s)) for key in found])
        return
    for key in found:
        typer.echo(f"Revoked {key.id} ({key.name}).")


def _find(kept: list[Key], wanted: str) -> Key:
    for key in kept:
        if key.id == wanted:
            if key.revoked_s is not None:
                raise Failure(f"{wanted} was revoked already, on {_time(key.revoked_s)}")
            return key
    named = [key for key in kept if key.name == wanted and key.revoked_s is None]
    if len(named) == 1:
        return named[0]
    if named:
        ids = ", ".join(key.id for key in named)
        raise Failure(f"{len(named)} keys are named {wanted!r}; use an id: {ids}")
    raise Failure(f"there is no key {wanted!r}; see: dragoman keys list")


def _row(key: Key, secret: str | None = None) -> KeyRow:
    return KeyRow(
        id=key.id,
        name=key.name,
        hint=key.hint,
        created=_time(key.created_s),
        revoked=None if key.revoked_s is None else _time(key.revoked_s),
        secret=secret,
    )


def _time(unix_s: float) -> str:
    return datetime.fromtimestamp(unix_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
