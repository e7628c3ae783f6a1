"""Servers that run tools."""

from __future__ import annotations

from dragoman.errors import UnknownEntity
from dragoman.records.tool_server import HttpTool, ToolServer
from dragoman.stores.compiled import tool_servers as sql
from dragoman.stores.database import Area, Row, Value
from dragoman.stores.json_column import JsonColumn, raw_text, raw_value

_words = JsonColumn(tuple[str, ...])
_pairs = JsonColumn(tuple[tuple[str, str], ...])
_tools = JsonColumn(tuple[HttpTool, ...])


class ToolServerArea(Area):
    def list_tool_servers(self) -> list[ToolServer]:
        """By key."""
        return [_server(row) for row in self._database.rows(sql.SQLITE_LIST_SERVERS, {})]

    def put_tool_server(self, server: ToolServer) -> None:
        values: dict[str, Value] = {
            "key": server.key,
            "kind": server.kind,
            "url": server.url,
            "command": _words.text(server.command),
            "environment": _pairs.text(server.environment),
            "headers": _pairs.text(server.headers),
            "tools": _tools.text(server.tools),
            "allow_private": server.allow_private,
            "applied": raw_text(server.applied),
            "created_s": server.created_s,
            "disabled_s": server.disabled_s,
        }
        self._database.change(sql.SQLITE_PUT_SERVER, values)
        self._database.announce()

    def delete_tool_server(self, key: str) -> None:
        if not self._database.change(sql.SQLITE_DELETE_SERVER, {"key": key}):
            raise UnknownEntity(f"tool server '{key}' does not exist", entity="tool_server")
        self._database.announce()


def _server(row: Row) -> ToolServer:
    key, kind, url, command, environment, headers, tools, allow_private = row[:8]
    applied, created_s, disabled_s = row[8:]
    return ToolServer(
        key=key,
        kind=kind,
        url=url,
        command=_words.value(command),
        environment=_pairs.value(environment),
        headers=_pairs.value(headers),
        tools=_tools.value(tools),
        allow_private=bool(allow_private),
        applied=raw_value(applied),
        created_s=created_s,
        disabled_s=disabled_s,
    )
