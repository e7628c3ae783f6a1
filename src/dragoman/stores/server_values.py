"""What the server keeps for itself: secrets that sign, marks of its own work."""

from __future__ import annotations

import secrets

from dragoman.stores.compiled import server_values as sql
from dragoman.stores.database import Area

SECRET_BYTES = 32


class ServerValueArea(Area):
    def server_value(self, name: str) -> bytes | None:
        rows = self._database.rows(sql.SQLITE_READ_VALUE, {"name": name})
        return bytes(rows[0][0]) if rows else None

    def put_server_value(self, name: str, value: bytes) -> None:
        self._database.change(sql.SQLITE_PUT_VALUE, {"name": name, "value": value})

    def server_secret(self, name: str) -> bytes:
        """32 random bytes, drawn when they are first asked for: the same in every process ever after."""
        kept = self.server_value(name)
        if kept is not None:
            return kept
        with self._database.transaction():
            drawn = secrets.token_bytes(SECRET_BYTES)
            self._database.change(sql.SQLITE_ADD_VALUE, {"name": name, "value": drawn})
            kept = self.server_value(name)
        assert kept is not None
        return kept
