"""What is asked of the table of tool servers."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import bindparam, delete, select
from sqlalchemy.sql import ClauseElement

from dragoman.stores.schema import tool_servers
from dragoman.stores.statements.upserts import put_row

STATEMENTS: Mapping[str, ClauseElement] = {
    "LIST_SERVERS": select(tool_servers).order_by(tool_servers.c.key),
    "PUT_SERVER": put_row(tool_servers),
    "DELETE_SERVER": delete(tool_servers).where(tool_servers.c.key == bindparam("key")),
}
