"""Tool servers: who runs tools for models, and what may be sent there.

They are the administrators' alone. A command that this machine runs, and secrets of this machine, are for
those who have its shell: the settings file and the command line (`Desk.allows_commands`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, parse_qsl, urlsplit

import msgspec

from dragoman.errors import Conflict, Forbidden, InvalidRequest, UnknownEntity
from dragoman.policy.administration.desk import Desk, checked
from dragoman.policy.administration.project_wishes import HttpToolWish, ToolServerWish
from dragoman.policy.administration.references import (
    REMOTE_VARIABLE_PREFIX,
    is_open_to_remote,
    is_reference,
    looks_secret,
)
from dragoman.records.tool_server import HttpTool, ToolServer

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_SERVERS = 256
MAX_PAIRS = 64
MAX_SCHEMA_BYTES = 65_536
MAX_SCHEMA_DEPTH = 64

_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}", re.ASCII)
_VARIABLE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}", re.ASCII)
# Whoever sends the request decides on these.
_OUR_HEADERS = frozenset(
    {
        "accept",
        "accept-encoding",
        "connection",
        "content-length",
        "content-type",
        "expect",
        "host",
        "keep-alive",
        "mcp-protocol-version",
        "mcp-session-id",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
_PATH = re.compile(r"(/[A-Za-z0-9._~!$&'()*+,;=:@%-]*)*", re.ASCII)


class ToolServerAdministration:
    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def list_all(self) -> list[ToolServer]:
        return self._desk.store.list_tool_servers()

    def find(self, key: str) -> ToolServer:
        """Raises `UnknownEntity`."""
        servers = self._desk.store.list_tool_servers()
        for server in servers:
            if server.key == key:
                return server
        known = ", ".join(server.key for server in servers[:20]) or "none yet"
        raise UnknownEntity(
            f"tool server {key[:64]!r} does not exist; there are {known}",
            entity="tool_server",
            param="tool_server",
        )

    def put(
        self, wish: ToolServerWish, *, applied: msgspec.Raw | None = None
    ) -> tuple[ToolServer, bool]:
        """Make the server, or write the one with this key anew; whether it is new.

        `applied`: what the settings file says of it, where that is who asks. Holds from the next request on.
        Raises `InvalidRequest`, `Forbidden` where only the shell may, or `Conflict` where a project uses a
        tool that would be no more.
        """
        wish = checked(wish)
        with self._desk.store.atomically():
            servers = self._desk.store.list_tool_servers()
            before = next((s for s in servers if s.key == wish.key), None)
            self._refuse_remote(wish, before)
            server = self._built(wish, before)
            if applied is None and before is not None:
                applied = before.applied
            server = msgspec.structs.replace(server, applied=applied)
            if before is None and len(servers) >= MAX_SERVERS:
                raise Conflict(f"there may be at most {MAX_SERVERS} tool servers")
            if before is not None:
                self._refuse_lost_tools(before, server)
            self._write(before, server)
        return server, before is None

    def set_enabled(self, key: str, *, is_enabled: bool) -> ToolServer:
        """Offer its tools, or offer them to nobody. Doing it twice changes nothing. Raises
        `UnknownEntity`."""
        with self._desk.store.atomically():
            before = self.find(key)
            if (before.disabled_s is None) == is_enabled:
                return before
            server = msgspec.structs.replace(
                before, disabled_s=None if is_enabled else self._desk.now_s()
            )
            self._desk.store.put_tool_server(server)
            self._desk.note("tool_server.enable" if is_enabled else "tool_server.disable", key, {})
        return server

    def release(self, key: str) -> ToolServer:
        """Let it be as if it had never come from the settings file. Doing it twice changes nothing. Raises
        `UnknownEntity`."""
        with self._desk.store.atomically():
            before = self.find(key)
            if before.applied is None:
                return before
            server = msgspec.structs.replace(before, applied=None)
            self._desk.store.put_tool_server(server)
            self._desk.note("tool_server.release", key, {})
        return server

    def delete(self, key: str) -> None:
        """Raises `UnknownEntity`, or `Conflict` while a project uses it."""
        with self._desk.store.atomically():
            server = self.find(key)
            for project, model, _ in self._uses(server.key):
                raise Conflict(
                    f"model {model!r} of project '{project}' uses tool server '{key}'; take it from"
                    " the model first, or disable the server"
                )
            self._desk.store.delete_tool_server(server.key)
            self._desk.note("tool_server.delete", server.key, {"kind": server.kind})

    # --- Steps ---

    def _uses(self, key: str) -> Iterable[tuple[str, str, str]]:
        """Project, model and tool of whatever names the server."""
        for project in self._desk.store.list_projects():
            for model in project.models:
                for tool in model.tools:
                    if tool.id.partition("/")[0] == key:
                        yield project.key, model.key, tool.id

    def _refuse_lost_tools(self, before: ToolServer, after: ToolServer) -> None:
        if after.kind != "http":
            return
        names = {tool.name for tool in after.tools}
        for project, model, tool in self._uses(before.key):
            name = tool.partition("/")[2]
            if name and name not in names:
                raise Conflict(
                    f"tools: model {model!r} of project '{project}' uses '{tool}'; take it from the model"
                    " first",
                    param="tools",
                )

    def _refuse_remote(self, wish: ToolServerWish, before: ToolServer | None) -> None:
        """What an admin key alone does not give: this machine's programs and secrets."""
        if self._desk.allows_commands:
            return
        if wish.kind == "mcp_stdio" or (before is not None and before.kind == "mcp_stdio"):
            raise Forbidden(
                "kind: a server that is a command of this machine is set up in the settings file, or by"
                " 'dragoman tools add' there",
                param="kind",
            )
        kept = {} if before is None else dict(before.headers)
        is_same_place = before is not None and before.url == wish.url
        for name, value in wish.headers.items():
            if is_reference(value) and not is_open_to_remote(value):
                # One that was set up on the machine may stay, but not go elsewhere.
                if is_same_place and kept.get(name) == value:
                    continue
                raise Forbidden(
                    f"headers.{name[:100]}: here only variables may be referred to whose names begin with"
                    f" {REMOTE_VARIABLE_PREFIX}, like env:{REMOTE_VARIABLE_PREFIX}SEARCH_AUTHORIZATION;"
                    " others, and files, in the settings file, or by 'dragoman tools add' on the machine",
                    param=f"headers.{name[:100]}",
                )

    def _built(self, wish: ToolServerWish, before: ToolServer | None) -> ToolServer:
        """Raises `InvalidRequest`."""
        _check_shape(wish)
        now_s = self._desk.now_s()
        disabled_s = None
        if not wish.is_enabled:
            disabled_s = now_s if before is None or before.disabled_s is None else before.disabled_s
        return ToolServer(
            key=wish.key,
            kind=wish.kind,
            url=wish.url,
            command=wish.command,
            environment=_pairs(wish.environment, "environment", _VARIABLE_NAME),
            headers=_headers(wish.headers),
            tools=tuple(_tool(tool, f"tools[{i}]") for i, tool in enumerate(wish.tools)),
            allow_private=wish.allow_private,
            created_s=now_s if before is None else before.created_s,
            disabled_s=disabled_s,
        )

    def _write(self, before: ToolServer | None, server: ToolServer) -> None:
        if server == before:
            return
        self._desk.store.put_tool_server(server)
        if before is None:
            self._desk.note("tool_server.create", server.key, _told(server))
        elif msgspec.structs.replace(before, applied=server.applied) != server:
            self._desk.note("tool_server.change", server.key, _told(server))


def server_wish(server: ToolServer) -> ToolServerWish:
    """The wish that makes exactly this."""
    return ToolServerWish(
        key=server.key,
        kind=server.kind,
        url=server.url,
        command=server.command,
        environment=dict(server.environment),
        headers=dict(server.headers),
        tools=tuple(
            HttpToolWish(
                name=tool.name,
                description=tool.description,
                parameters=msgspec.json.decode(tool.parameters),
                path=tool.path,
                method=tool.method,
            )
            for tool in server.tools
        ),
        allow_private=server.allow_private,
        is_enabled=server.disabled_s is None,
    )


def check_tool_server(wish: ToolServerWish) -> None:
    """All that can be told of it without the store. Raises `InvalidRequest`."""
    _check_shape(wish)
    _pairs(wish.environment, "environment", _VARIABLE_NAME)
    _headers(wish.headers)
    for index, tool in enumerate(wish.tools):
        _tool(tool, f"tools[{index}]")


def _check_shape(wish: ToolServerWish) -> None:
    """What goes with which kind."""
    is_command = wish.kind == "mcp_stdio"
    if is_command and not (wish.command and wish.command[0].strip()):
        raise InvalidRequest(
            "command is missing; give the program and its arguments", param="command"
        )
    if not is_command and wish.url is None:
        raise InvalidRequest("url is missing; say where the server listens", param="url")
    misplaced = {
        "url": is_command and wish.url is not None,
        "headers": is_command and bool(wish.headers),
        "command": not is_command and bool(wish.command),
        "environment": not is_command and bool(wish.environment),
        "tools": wish.kind != "http" and bool(wish.tools),
    }
    for field, is_misplaced in misplaced.items():
        if is_misplaced:
            raise InvalidRequest(
                f"{field} does not go with kind '{wish.kind}'; leave it out", param=field
            )
    if any("\0" in part for part in wish.command):
        raise InvalidRequest("command must hold no null characters", param="command")
    if wish.kind == "http":
        _check_tools(wish)
    if wish.url is not None:
        _check_url(wish)


def _check_tools(wish: ToolServerWish) -> None:
    if not wish.tools:
        raise InvalidRequest("tools is missing; a server of kind 'http' lists them", param="tools")
    names = [tool.name for tool in wish.tools]
    for index, name in enumerate(names):
        if name in names[:index]:
            param = f"tools[{index}].name"
            raise InvalidRequest(f"{param}: {name!r} is there twice", param=param)


def _check_url(wish: ToolServerWish) -> None:
    """Messages repeat nothing of it: it may hold a password."""
    from dragoman.http_client.public_addresses import (  # noqa: PLC0415 - loads sockets and TLS
        is_named_public,
    )

    parts = _split(wish.url or "")
    if parts is None:
        raise InvalidRequest(
            "url must be an address like 'https://tools.example.com/mcp', without a user name,"
            " password or fragment; secrets go into headers, by reference",
            param="url",
        )
    if parts.query and wish.kind == "http":
        raise InvalidRequest("url must have no query: a tool's path is added to it", param="url")
    for name, value in parse_qsl(parts.query, keep_blank_values=True):
        if looks_secret(name, value):
            raise InvalidRequest(
                "url looks as if it held a secret; put it into a header, by reference", param="url"
            )
    if wish.allow_private:
        return
    if parts.scheme != "https":
        raise InvalidRequest(
            "url must begin with https://, unless allow_private is true", param="url"
        )
    if not is_named_public((parts.hostname or "").rstrip(".")):
        raise InvalidRequest(
            "url leads to this machine or a private network; where that is meant, set allow_private",
            param="url",
        )


def _split(url: str) -> SplitResult | None:
    """`None`: it is no address that can be asked."""
    if not url.isascii() or not url.isprintable() or " " in url or "\\" in url or "#" in url:
        return None
    try:
        parts = urlsplit(url)
        is_usable = (
            parts.scheme in ("https", "http")
            and bool(parts.hostname)
            and parts.username is None
            and parts.password is None
            and (parts.port is None or parts.port > 0)
        )
    except ValueError:
        return None
    return parts if is_usable else None


def _headers(headers: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    pairs = _pairs(headers, "headers", _HEADER_NAME)
    lower = [name.lower() for name, _ in pairs]
    for index, name in enumerate(lower):
        param = f"headers.{pairs[index][0]}"
        if name in _OUR_HEADERS:
            raise InvalidRequest(f"{param} is set by this server; leave it out", param=param)
        if name in lower[:index]:
            raise InvalidRequest(f"{param} is there twice", param=param)
    return pairs


def _pairs(
    values: Mapping[str, str], field: str, names: re.Pattern[str]
) -> tuple[tuple[str, str], ...]:
    """Messages repeat no value: it may be a secret."""
    if len(values) > MAX_PAIRS:
        raise InvalidRequest(f"{field} may have at most {MAX_PAIRS} entries", param=field)
    for name, value in values.items():
        param = f"{field}.{name[:100]}"
        if names.fullmatch(name) is None:
            raise InvalidRequest(f"{field}: {name[:100]!r} is no name for one", param=field)
        if not all(c.isprintable() or c == "\t" for c in value) or not value.isascii():
            raise InvalidRequest(f"{param} must be of printable ASCII characters", param=param)
        if looks_secret(name, value) and not is_reference(value):
            raise InvalidRequest(
                f"{param} looks like a secret in plain text; write env:NAME or file:PATH, where the whole"
                " value is kept",
                param=param,
            )
        if value.startswith(("env:", "file:")) and not is_reference(value):
            raise InvalidRequest(
                f"{param} is no reference; write env:NAME or file:PATH", param=param
            )
    return tuple(values.items())


def _tool(wish: HttpToolWish, where: str) -> HttpTool:
    if _PATH.fullmatch(wish.path) is None or ".." in wish.path.split("/"):
        raise InvalidRequest(
            f"{where}.path must begin with '/' and lead nowhere else: no '..', query or fragment",
            param=f"{where}.path",
        )
    encoded = msgspec.json.encode(wish.parameters)
    if len(encoded) > MAX_SCHEMA_BYTES:
        raise InvalidRequest(
            f"{where}.parameters may have at most {MAX_SCHEMA_BYTES} bytes as JSON",
            param=f"{where}.parameters",
        )
    _check_schema(wish.parameters, f"{where}.parameters")
    return HttpTool(
        name=wish.name,
        description=wish.description,
        parameters=msgspec.Raw(encoded),
        path=wish.path,
        method=wish.method,
    )


def _check_schema(schema: dict[str, object], param: str) -> None:
    import jsonschema_rs  # noqa: PLC0415 - few need it

    if schema.get("type") != "object":
        raise InvalidRequest(
            f'{param}.type must be "object": a tool\'s arguments have names', param=f"{param}.type"
        )
    _check_nesting(schema, param)
    try:
        is_schema = jsonschema_rs.meta.is_valid(schema)
    except (ValueError, jsonschema_rs.ReferencingError):
        is_schema = False
    if not is_schema:
        raise InvalidRequest(f"{param} is no JSON Schema", param=param)


def _check_nesting(value: object, param: str, depth: int = 0) -> None:
    """What refers to elsewhere would have to be fetched."""
    if depth > MAX_SCHEMA_DEPTH:
        raise InvalidRequest(f"{param} is nested too deeply", param=param)
    match value:
        case dict():
            for name in ("$ref", "$dynamicRef", "$recursiveRef"):
                reference = value.get(name)
                if isinstance(reference, str) and not reference.startswith("#"):
                    raise InvalidRequest(
                        f"{param}: {name} must begin with '#'; a schema stands on its own",
                        param=param,
                    )
            for item in value.values():
                _check_nesting(item, param, depth + 1)
        case list():
            for item in value:
                _check_nesting(item, param, depth + 1)
        case _:
            pass


def _told(server: ToolServer) -> dict[str, object]:
    """For the audit log: of values nothing, and of a command its program."""
    host = None if server.url is None else urlsplit(server.url).netloc
    return {
        "kind": server.kind,
        "host": host,
        "program": server.command[0] if server.command else None,
        "environment": [name for name, _ in server.environment],
        "headers": [name for name, _ in server.headers],
        "tools": [tool.name for tool in server.tools],
        "allow_private": server.allow_private,
        "is_enabled": server.disabled_s is None,
    }
