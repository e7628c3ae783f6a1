"""`/admin/v1/tool-servers`."""

from __future__ import annotations

import asyncio

from litestar import Controller, delete, get, post, put
from litestar.datastructures import State
from litestar.params import JSONBody

from dragoman.errors import Conflict, InvalidRequest
from dragoman.policy.administration import ToolServerWish
from dragoman.ports import ToolBox
from dragoman.web.admin.parameters import ForActor, Id, Limit, TextCursor
from dragoman.web.admin.project_views import (
    ServerToolView,
    ToolServerView,
    server_tool_view,
    tool_server_view,
)
from dragoman.web.admin.views import Page, slice_after

ASKING_S = 10.0
"""How long a tool server is asked what it has."""


class ToolServers(Controller):
    path = "/tool-servers"
    tags = ("tool-servers",)

    @get(sync_to_thread=True, summary="Who runs tools, by key")
    def list_tool_servers(
        self, administration: ForActor, cursor: TextCursor = None, limit: Limit = 100
    ) -> Page[ToolServerView]:
        return slice_after(
            administration.tool_servers.list_all(),
            tool_server_view,
            order=lambda server: server.key,
            after=cursor,
            limit=limit,
        )

    @get("/{server:str}", sync_to_thread=True, summary="A tool server, by its key")
    def show_tool_server(self, administration: ForActor, server: Id) -> ToolServerView:
        return tool_server_view(administration.tool_servers.find(server))

    @put(
        "/{server:str}",
        sync_to_thread=True,
        summary="Make a tool server, or write it anew; commands only on the machine itself",
    )
    def put_tool_server(
        self, administration: ForActor, server: Id, data: JSONBody[ToolServerWish]
    ) -> ToolServerView:
        if data.key != server:
            raise InvalidRequest("key: the path names another one; give the same", param="key")
        return tool_server_view(administration.tool_servers.put(data)[0])

    @delete(
        "/{server:str}",
        sync_to_thread=True,
        summary="Delete a tool server that no project uses",
    )
    def delete_tool_server(self, administration: ForActor, server: Id) -> None:
        administration.tool_servers.delete(server)

    @post(
        "/{server:str}/disable",
        sync_to_thread=True,
        status_code=200,
        summary="Offer a server's tools to nobody from now on",
    )
    def disable_tool_server(self, administration: ForActor, server: Id) -> ToolServerView:
        return tool_server_view(administration.tool_servers.set_enabled(server, is_enabled=False))

    @post(
        "/{server:str}/enable",
        sync_to_thread=True,
        status_code=200,
        summary="Offer a server's tools again",
    )
    def enable_tool_server(self, administration: ForActor, server: Id) -> ToolServerView:
        return tool_server_view(administration.tool_servers.set_enabled(server, is_enabled=True))

    @get("/{server:str}/tools", summary="Ask a tool server what it has")
    async def list_server_tools(
        self, administration: ForActor, server: Id, state: State
    ) -> Page[ServerToolView]:
        kept = await asyncio.to_thread(administration.tool_servers.find, server)
        box: ToolBox | None = state.parts.tool_box
        if box is None:
            raise Conflict("this process runs no tools; ask the one that serves completions")
        if kept.disabled_s is not None:
            raise Conflict(f"tool server '{kept.key}' is disabled; enable it first")
        tools = await box.offered([kept.key], timeout_s=ASKING_S)
        return Page(data=tuple(server_tool_view(tool) for tool in tools))
