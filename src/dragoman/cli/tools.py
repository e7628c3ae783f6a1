"""`dragoman tools`: the servers whose tools models of projects may use."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from dragoman.cli.administering import (
    opened_administration,
    print_fields,
    print_table,
    show_time,
    tell,
)
from dragoman.cli.terminal import (
    ConfigOption,
    DataDirOption,
    Failure,
    JsonOption,
    print_json,
    read_config,
    warn,
)

if TYPE_CHECKING:
    from dragoman.config import Config
    from dragoman.policy.administration.project_wishes import HttpToolWish
    from dragoman.records.tool_server import ServerTool, ToolServer

tools_app = typer.Typer(
    help="Set up and test the servers whose tools models of projects may use.",
    no_args_is_help=True,
    epilog="Example: dragoman tools add search --url https://tools.example.com/mcp",
)

MAX_TEXT_CHARS = 100
MAX_TOOLS_FILE_BYTES = 16 << 20

ServerArgument = Annotated[str, typer.Argument(metavar="SERVER", help="The server's key.")]


class ServerRow(msgspec.Struct, frozen=True, kw_only=True):
    """A tool server as `--json` shows it: values of headers and variables only where they are references."""

    key: str
    kind: str
    url: str | None
    command: tuple[str, ...]
    environment: dict[str, str | None]
    headers: dict[str, str | None]
    tools: tuple[str, ...]
    """Of kind `http`; MCP servers say themselves what they have: see `test`."""
    allow_private: bool
    is_enabled: bool
    is_from_file: bool
    created: str


class ToolRow(msgspec.Struct, frozen=True, kw_only=True):
    """What `test --json` shows of each tool."""

    id: str
    function: str
    """As the model calls it."""
    description: str | None
    parameters: msgspec.Raw | None


@tools_app.command("list", epilog="Example: dragoman tools list")
def list_servers(
    as_json: JsonOption = False, config: ConfigOption = None, data_dir: DataDirOption = None
) -> None:
    """List tool servers."""
    with opened_administration(config, data_dir) as (office, _):
        rows = [_row(each) for each in office.tool_servers.list_all()]
    if as_json:
        print_json(rows)
    elif rows:
        print_table(
            ("KEY", "KIND", "WHERE", "TOOLS", "FROM", "STATE"),
            (
                (
                    *(row.key, row.kind, row.url or " ".join(row.command)),
                    ", ".join(row.tools) if row.kind == "http" else "its own",
                    "file" if row.is_from_file else "API",
                    "enabled" if row.is_enabled else "disabled",
                )
                for row in rows
            ),
        )
    else:
        tell("There are none; add one with: dragoman tools add KEY --url URL")


@tools_app.command(epilog="Example: dragoman tools show search")
def show(
    server: ServerArgument,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """Show how a tool server is set up."""
    with opened_administration(config, data_dir) as (office, _):
        _print(_row(office.tool_servers.find(server)), as_json=as_json)


@tools_app.command(
    epilog="Examples: dragoman tools add search --url https://tools.example.com/mcp --header"
    " authorization=env:SEARCH_AUTHORIZATION; dragoman tools add files -- mcp-server-files /srv/files;"
    " dragoman tools add orders --url https://orders.example.com --tools tools.json"
)
def add(
    key: Annotated[str, typer.Argument(help="What projects' models name it by.")],
    command: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="-- PROGRAM ARG...", help="An MCP server that is a program of this machine."
        ),
    ] = None,
    url: Annotated[
        str | None, typer.Option("--url", help="An MCP server over HTTP; with --tools, plain HTTP.")
    ] = None,
    tools: Annotated[
        Path | None,
        typer.Option(
            "--tools",
            metavar="FILE",
            dir_okay=False,
            help="A JSON list of tools: name, description, parameters (a JSON Schema), path, method.",
        ),
    ] = None,
    header: Annotated[
        list[str] | None,
        typer.Option(
            "--header",
            metavar="NAME=VALUE",
            help="Sent with every request; a secret by reference, as env:NAME or file:PATH; may be repeated.",
        ),
    ] = None,
    variable: Annotated[
        list[str] | None,
        typer.Option(
            "--env",
            metavar="NAME=VALUE",
            help="A variable of the program; a secret by reference; may be repeated.",
        ),
    ] = None,
    allow_private: Annotated[
        bool,
        typer.Option(
            "--allow-private", help="Its address may be of this machine or a private network."
        ),
    ] = False,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """Set up a tool server, or set up the one with this key anew."""
    from dragoman.policy.administration import ToolServerWish

    wish = ToolServerWish(
        key=key,
        kind="mcp_stdio" if command else "mcp_http" if tools is None else "http",
        url=url,
        command=tuple(command or ()),
        environment=_pairs(variable, "--env"),
        headers=_pairs(header, "--header"),
        tools=() if tools is None else _read_tools(tools),
        allow_private=allow_private,
    )
    with opened_administration(config, data_dir) as (office, _):
        made, is_new = office.tool_servers.put(wish)
    _print(_row(made), as_json=as_json)
    if not as_json:
        tell(
            f"{'Added' if is_new else 'Changed'}. Try it: dragoman tools test {made.key};"
            f" give it to a model: dragoman projects attach PROJECT MODEL --tool {made.key}"
        )


@tools_app.command(epilog="Example: dragoman tools remove search")
def remove(
    server: ServerArgument, config: ConfigOption = None, data_dir: DataDirOption = None
) -> None:
    """Remove a tool server that no model of a project uses."""
    with opened_administration(config, data_dir) as (office, _):
        office.tool_servers.delete(server)
    typer.echo(f"Removed {server}.")


@tools_app.command(epilog="Example: dragoman tools disable search")
def disable(
    server: ServerArgument, config: ConfigOption = None, data_dir: DataDirOption = None
) -> None:
    """Offer a server's tools to nobody, from the next request on."""
    with opened_administration(config, data_dir) as (office, _):
        done = office.tool_servers.set_enabled(server, is_enabled=False)
    typer.echo(f"Disabled {done.key}; undo: dragoman tools enable {done.key}")


@tools_app.command(epilog="Example: dragoman tools enable search")
def enable(
    server: ServerArgument, config: ConfigOption = None, data_dir: DataDirOption = None
) -> None:
    """Offer a disabled server's tools again."""
    with opened_administration(config, data_dir) as (office, _):
        done = office.tool_servers.set_enabled(server, is_enabled=True)
    typer.echo(f"Enabled {done.key}.")


@tools_app.command("test", epilog="Example: dragoman tools test search")
def try_out(
    server: ServerArgument,
    timeout: Annotated[
        float, typer.Option("--timeout", min=0.1, max=600, help="Seconds to wait for its list.")
    ] = 45.0,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """Ask a tool server for its tools, from this process, and show them as models are told of them.

    A program is started for it; a disabled server is asked, too.
    """
    import asyncio

    settings = read_config(config, data_dir=data_dir)
    with opened_administration(config, data_dir) as (office, _):
        found = office.tool_servers.find(server)
    with _heard("dragoman.tools") as complaints:
        tools = asyncio.run(_ask(settings, found, timeout))
    if not tools:
        raise Failure(complaints[-1] if complaints else f"{found.key} lists none in {timeout:g} s")
    for complaint in complaints:
        warn(complaint)
    if as_json:
        print_json([_tool_row(each) for each in tools])
        return
    print_table(
        ("TOOL", "AS THE MODEL CALLS IT", "DESCRIPTION"),
        ((each.id, each.function.name, _one_line(each.function.description)) for each in tools),
    )


async def _ask(settings: Config, server: ToolServer, timeout_s: float) -> list[ServerTool]:
    from contextlib import AsyncExitStack

    from dragoman.app.tooling import open_tool_box

    servers = {server.key: msgspec.structs.replace(server, disabled_s=None)}
    async with AsyncExitStack() as closing:
        box = open_tool_box(settings, lambda: servers, closing)
        return await box.offered([server.key], timeout_s=timeout_s)


@contextmanager
def _heard(logger_name: str) -> Iterator[list[str]]:
    """What is said to the log meanwhile, which here is said to a person."""
    import logging

    heard: list[str] = []

    class Ear(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            heard.append(record.getMessage())

    logger, ear = logging.getLogger(logger_name), Ear(logging.WARNING)
    propagated = logger.propagate
    logger.addHandler(ear)
    logger.propagate = False
    try:
        yield heard
    finally:
        logger.removeHandler(ear)
        logger.propagate = propagated


# --- What is wished for -------------------------------------------------------------------------


def _pairs(texts: list[str] | None, option: str) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for text in texts or ():
        name, separator, value = text.partition("=")
        if not name or not separator:
            # Not shown: it may be a secret.
            raise Failure(f"{option} must be written as NAME=VALUE", exit_code=2)
        pairs[name] = value
    return pairs


def _read_tools(file: Path) -> tuple[HttpToolWish, ...]:
    from dragoman.policy.administration.desk import invalid
    from dragoman.policy.administration.project_wishes import HttpToolWish

    try:
        with file.open("rb") as stream:
            content = stream.read(MAX_TOOLS_FILE_BYTES + 1)
    except OSError as error:
        raise Failure(f"{file} cannot be read: {error.strerror}", exit_code=2) from None
    if len(content) > MAX_TOOLS_FILE_BYTES:
        raise Failure(f"{file} has more than {MAX_TOOLS_FILE_BYTES} bytes", exit_code=2)
    try:
        return msgspec.json.decode(content, type=tuple[HttpToolWish, ...])
    except msgspec.ValidationError as error:
        raise Failure(f"{file}: {invalid(str(error)).message}", exit_code=2) from None
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise Failure(f"{file} is no JSON: {error}", exit_code=2) from None


# --- What is told -------------------------------------------------------------------------------


def _row(server: ToolServer) -> ServerRow:
    return ServerRow(
        key=server.key,
        kind=server.kind,
        url=server.url,
        command=server.command,
        environment=_shown(server.environment),
        headers=_shown(server.headers),
        tools=tuple(tool.name for tool in server.tools),
        allow_private=server.allow_private,
        is_enabled=server.disabled_s is None,
        is_from_file=server.applied is not None,
        created=show_time(server.created_s),
    )


def _shown(pairs: tuple[tuple[str, str], ...]) -> dict[str, str | None]:
    return {name: value if value.startswith(("env:", "file:")) else None for name, value in pairs}


def _tool_row(tool: ServerTool) -> ToolRow:
    return ToolRow(
        id=tool.id,
        function=tool.function.name,
        description=tool.function.description,
        parameters=tool.function.parameters,
    )


def _one_line(text: str | None) -> str | None:
    """What a server says of itself is not for the terminal to obey."""
    if text is None:
        return None
    plain = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return plain if len(plain) <= MAX_TEXT_CHARS else plain[: MAX_TEXT_CHARS - 1] + "…"


def _print(row: ServerRow, *, as_json: bool) -> None:
    if as_json:
        print_json(row)
        return
    print_fields(
        (
            ("key", row.key),
            ("kind", row.kind),
            ("url", row.url),
            ("command", " ".join(row.command)),
            ("variables", _names(row.environment)),
            ("headers", _names(row.headers)),
            ("tools", ", ".join(row.tools)),
            ("private networks", "allowed" if row.allow_private else "refused"),
            ("state", "enabled" if row.is_enabled else "disabled"),
            ("from", "file" if row.is_from_file else "API"),
            ("created", row.created),
        )
    )


def _names(pairs: dict[str, str | None]) -> str:
    return ", ".join(f"{name} ({value or 'set'})" for name, value in pairs.items())
