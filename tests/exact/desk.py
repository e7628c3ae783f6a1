"""Projects with server-side tools: the tools' server is a `ScriptedProvider` too, so that a tool can hang.

The model calls `desk__look`; what it is told is what the tools' server has for it.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
from tests.exact.payer import Payer
from tests.policy.project_books import attached, project
from tests.scripted_provider import Call, Script, ScriptedProvider, Tokens

from dragoman.records.project import AttachedTool, Project, ToolBounds
from dragoman.records.tool_server import HttpTool, ToolServer
from dragoman.stores import Store
from dragoman.stores.connection import DATABASE_NAME

STUDIO = "/api/v1/chat/completions"
FOUND = Script(body=b'"found"')
LOOK = Call("desk__look", ('{"where": "here"}',))
_PARAMETERS = msgspec.Raw(b'{"type":"object","properties":{"where":{"type":"string"}}}')


def tool_server(tools: ScriptedProvider) -> ToolServer:
    tools.default = FOUND
    return ToolServer(
        key="desk",
        kind="http",
        url=tools.url,
        allow_private=True,
        tools=(HttpTool(name="look", path="/look", parameters=_PARAMETERS),),
    )


def open_project(store: Store, payer: Payer, model: str = "priced", **fields: Any) -> Project:
    """One of the payer's, whose model has the tools. `fields` are of the attached model."""
    bounds = fields.pop("bounds", {})
    values = {"tools": (AttachedTool("desk"),), "tool_bounds": ToolBounds(**bounds), **fields}
    made = project(payer.account.name.replace(" ", ""), attached(model, **values))
    made = msgspec.structs.replace(made, account_id=payer.account.id)
    store.add_project(made)
    return made


def question(made: Project, **fields: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": "Where is it?"}]
    return {"model": made.key, "messages": messages, "use_tools": True, **fields}


def look(input_tokens: int, output_tokens: int, **fields: Any) -> Script:
    """A round in which the model asks for the tool."""
    return Script(calls=(LOOK,), usage=Tokens(input_tokens, output_tokens), **fields)


def say(text: str, input_tokens: int, output_tokens: int, **fields: Any) -> Script:
    """The round that is shown."""
    return Script(text=text, usage=Tokens(input_tokens, output_tokens), **fields)


class Kept(msgspec.Struct, frozen=True):
    """One request, as its record and its interactions have it at one moment."""

    request_id: str
    status: str
    error: str | None
    input_tokens: int
    output_tokens: int
    cost: int
    hold: int
    interactions: list[tuple[str, str, int]]
    """Completion id, status and cost of each."""


def kept(data_dir: Path, payer: Payer) -> list[Kept]:
    """What the payer asked, oldest first: read in one transaction."""
    with closing(sqlite3.connect(f"file:{data_dir / DATABASE_NAME}?mode=ro", uri=True)) as database:
        database.execute("BEGIN")
        records = database.execute(
            "SELECT request_id, status, error, input_tokens, output_tokens, cost, hold"
            " FROM usage_records WHERE account_id = ? ORDER BY started_s",
            [payer.account.id],
        ).fetchall()
        rows = database.execute(
            "SELECT request_id, completion_id, status, cost FROM interactions WHERE account_id = ?",
            [payer.account.id],
        ).fetchall()
    found = []
    for record in records:
        values: list[Any] = [*record, [tuple(row[1:]) for row in rows if row[0] == record[0]]]
        found.append(Kept(*values))
    return found
