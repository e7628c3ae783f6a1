"""What the commands over accounts, keys and money share: who acts, whom they mean, and how values are
written and read.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import msgspec
import typer

from dragoman.cli.terminal import Failure, err, opened_store, out, read_config

if TYPE_CHECKING:
    from dragoman.config import Config
    from dragoman.policy.administration import Administration
    from dragoman.policy.administration.definitions import Definitions
    from dragoman.policy.administration.usage import UsageQuestion
    from dragoman.policy.interactions.questions import InteractionQuestion
    from dragoman.records.account import Account
    from dragoman.stores import Store

SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
DEFAULT_LIMIT = 50

Question = TypeVar("Question", "UsageQuestion", "InteractionQuestion")

AccountOption = Annotated[
    str | None,
    typer.Option("--account", "-a", metavar="ACCOUNT", help="An account's id or name."),
]
ProjectArgument = Annotated[str, typer.Argument(metavar="PROJECT", help="A project's key or id.")]
LimitOption = Annotated[
    int, typer.Option("--limit", "-n", min=1, max=1000, help="The most lines to show.")
]
SessionOption = Annotated[str | None, typer.Option("--session", help="The session's id.")]
UserOption = Annotated[str | None, typer.Option("--user", help="The user that was named.")]
FromOption = Annotated[
    str | None, typer.Option("--from", metavar="WHEN", help="From then on: 2026-11-01, or -7d.")
]
ToOption = Annotated[
    str | None, typer.Option("--to", metavar="WHEN", help="Until before then: 2026-12-01.")
]
BeforeOption = Annotated[
    int | None,
    typer.Option("--before", metavar="NUMBER", help="Go on below this line of the page before."),
]


class SystemClock:
    """The machine's clocks."""

    def monotonic_s(self) -> float:
        return time.monotonic()

    def unix_s(self) -> float:
        return time.time()


@contextmanager
def opened_administration(
    config_path: Path | None, data_dir: Path | None
) -> Iterator[tuple[Administration, Store]]:
    """Every administrator's operation, on behalf of who runs this; and the store beneath."""
    from dragoman.errors import InvalidRequest

    settings = read_config(config_path, data_dir=data_dir)
    with opened_store(settings) as store:
        try:
            yield administration_over(store, settings), store
        except InvalidRequest as error:
            raise Failure(error.message, exit_code=2) from None


@contextmanager
def opened_definitions(config_path: Path | None, data_dir: Path | None) -> Iterator[Definitions]:
    """What the settings file says of projects and tool servers, over the store."""
    from dragoman.app.definitions import definitions_of

    settings = read_config(config_path, data_dir=data_dir)
    with opened_store(settings) as store:
        yield definitions_of(settings, administration_over(store, settings), store)


def administration_over(store: Store, settings: Config) -> Administration:
    """The same, over a store that is open."""
    from dragoman.app.definitions import configured_models
    from dragoman.policy.administration import Administration

    return Administration(
        store,
        SystemClock(),
        f"cli:{_user()}",
        directory=configured_models(settings),
        allows_plain_webhooks=settings.webhook_allow_private,
        keeps_interactions=settings.accounting,
    )


def _user() -> str:
    import os
    import pwd

    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


def find_account(office: Administration, wanted: str) -> Account:
    """The account of that id, or of that name."""
    kept = office.accounts.list_all()
    for account in kept:
        if account.id == wanted:
            return account
    for account in kept:
        if account.name == wanted:
            return account
    raise Failure(f"there is no account {wanted!r}; see: dragoman accounts list")


def account_names(office: Administration) -> dict[str, str]:
    return {account.id: account.name for account in office.accounts.list_all()}


def question_of(
    kind: type[Question],
    filters: Mapping[str, str | list[str] | None],
    from_: str | None,
    to: str | None,
) -> Question:
    """What the options ask for; those that are `None` ask for nothing."""
    from dragoman.policy.administration.desk import invalid

    given = {name: value for name, value in filters.items() if value is not None}
    try:
        question = msgspec.convert(given, kind)
    except msgspec.ValidationError as error:
        raise Failure(invalid(str(error)).message, exit_code=2) from None
    return msgspec.structs.replace(
        question,
        from_at=None if from_ is None else parse_moment(from_, "--from"),
        to_at=None if to is None else parse_moment(to, "--to"),
    )


# --- Values as people write them ----------------------------------------------------------------


def parse_span(text: str, option: str) -> float:
    """`30d`, `12h`, `90m`, `45s`, `2w`: seconds."""
    number, unit = text[:-1], text[-1:].lower()
    if unit in SECONDS and number.isdecimal() and len(number) < 10:
        return float(int(number) * SECONDS[unit])
    raise Failure(
        f"{option} is {text[:40]!r}; write a number and one of s, m, h, d, w: 30d", exit_code=2
    )


def parse_moment(text: str, option: str) -> datetime:
    """`2026-12-31`, `2026-12-31T18:00`, with `+01:00` or in UTC; or a span from now: `-7d`, `30d`."""
    bare = text.lstrip("+-")
    if bare[-1:].lower() in SECONDS and bare[:-1].isdecimal():
        span_s = parse_span(bare, option)
        return datetime.fromtimestamp(
            time.time() + (-span_s if text.startswith("-") else span_s), UTC
        )
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise Failure(
            f"{option} is {text[:40]!r}; write a day or a moment: 2026-12-31,"
            " 2026-12-31T18:00+01:00 (without a zone it is UTC), or a span like -7d",
            exit_code=2,
        ) from None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def parse_amount(text: str, option: str) -> int:
    """US dollars, exactly, as nano-USD."""
    from dragoman.policy.administration import parse_usd

    return parse_usd(text, param=option)


def show_usd(nano: int) -> str:
    """`$12.345678`: exact."""
    from dragoman.policy.administration import format_usd

    text = format_usd(nano)
    return f"-${text[1:]}" if text.startswith("-") else f"${text}"


def show_time(unix_s: float) -> str:
    return datetime.fromtimestamp(unix_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def show_time_or_none(unix_s: float | None) -> str | None:
    return None if unix_s is None else show_time(unix_s)


def none_if_empty(given: list[str] | None) -> tuple[str, ...] | None:
    """Of an option that may come several times: `none` empties the list, nothing leaves it open."""
    if not given:
        return None
    return () if given == ["none"] else tuple(given)


def confirm(question: str, *, yes: bool, refusal: str) -> None:
    """Ask the person at the terminal; where nobody is there, say `refusal` and that --yes is for that."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise Failure(f"{refusal}; add --yes to do it without being asked", exit_code=2)
    if not typer.confirm(question, err=True):
        raise Failure("nothing was changed")


# --- Answers ------------------------------------------------------------------------------------


def print_table(
    headings: Sequence[str], rows: Iterable[Sequence[str | None]], *, to_stderr: bool = False
) -> None:
    """One line a row; headings that begin with `>` stand over numbers, at the right."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in headings:
        table.add_column(
            heading.removeprefix(">"),
            overflow="fold",
            justify="right" if heading.startswith(">") else "left",
        )
    for row in rows:
        table.add_row(*(cell or "" for cell in row))
    (err() if to_stderr else out()).print(table)


def print_fields(fields: Iterable[tuple[str, str | None]]) -> None:
    """A name and its value on each line."""
    console = out()
    for name, value in fields:
        console.print(f"{name:20} {value or '–'}")


def tell(message: str) -> None:
    """For the person at the terminal, beside the answer."""
    typer.echo(message, err=True)
