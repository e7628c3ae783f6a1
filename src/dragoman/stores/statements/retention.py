"""How old usage records are found and deleted."""

# The pieces that statements share are constants of this file.
# ruff: noqa: S608

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import text
from sqlalchemy.sql import ClauseElement

# The numbers of a chunk come as one JSON list: what is deleted is exactly what was read before.
_CHUNK = "sequence IN (SELECT value FROM json_each(:sequences))"

STATEMENTS: Mapping[str, ClauseElement] = {
    "OLDEST": text(
        "SELECT sequence FROM usage_records INDEXED BY ix_usage_records_started"
        " WHERE started_s < :cutoff_s ORDER BY started_s, sequence LIMIT :chunk"
    ),
    "READ_CHUNK": text(f"SELECT * FROM usage_records WHERE {_CHUNK} ORDER BY sequence"),
    "COUNT_CHARGED": text(f"SELECT count(*) FROM usage_records WHERE cost <> 0 AND {_CHUNK}"),
    "DELETE_CHUNK": text(f"DELETE FROM usage_records WHERE {_CHUNK}"),
}
