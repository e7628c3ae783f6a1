"""A real MCP server, made with the SDK: `python mcp_program.py stdio`, or `http`, which prints its port."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from pathlib import Path
from typing import Any

import uvicorn
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp_types import AudioContent, ImageContent, TextContent

server = MCPServer("tests")
_meeting: asyncio.Queue[asyncio.Event] = asyncio.Queue()


@server.tool()
def add(a: int, b: int) -> str:
    """Add two numbers."""
    return str(a + b)


@server.tool()
async def meet(who: str) -> str:
    """Answers once two of its calls run at the same time."""
    if _meeting.empty():
        event = asyncio.Event()
        _meeting.put_nowait(event)
        await event.wait()
    else:
        _meeting.get_nowait().set()
    return f"met: {who}"


@server.tool()
async def hang(mark: str) -> str:
    """Never answers; leaves `mark` when it begins and `mark`.left when it is cancelled."""
    Path(mark).touch()  # noqa: ASYNC240 - takes no time
    try:
        await asyncio.Event().wait()
    finally:
        Path(mark + ".left").touch()  # noqa: ASYNC240
    return ""


@server.tool()
def fail(why: str) -> str:
    raise ToolError(why)


@server.tool()
def big(size: int) -> str:
    return "x" * size


@server.tool()
def picture() -> list[Any]:
    return [
        TextContent(type="text", text="see:"),
        ImageContent(type="image", data="aGVsbG8=", mime_type="image/png"),
        AudioContent(type="audio", data="aGVsbG8=", mime_type="audio/wav"),
    ]


@server.tool()
def die() -> str:
    os._exit(3)


@server.tool()
def environment() -> str:
    return ",".join(sorted(os.environ))


@server.tool()
def pids() -> str:
    return f"{os.getpid()},{os.getppid()}"


@server.tool()
async def grow(ctx: Context[Any]) -> str:
    """The server has a tool more from now on."""

    @server.tool(name="grown")
    def grown() -> str:
        return "grown"

    await ctx.session.send_tool_list_changed()
    return "done"


def main() -> None:
    if sys.argv[1] == "stdio":
        server.run("stdio")
        return
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    # Whoever is told the port may come before the server is ready.
    listener.listen()
    print(listener.getsockname()[1], flush=True)
    config = uvicorn.Config(server.streamable_http_app(), log_level="error")
    uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main()
