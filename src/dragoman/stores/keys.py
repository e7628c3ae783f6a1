"""Keys."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from dragoman.errors import UnknownEntity
from dragoman.records.key import Key, KeyId, Scopes
from dragoman.records.limits import Limits
from dragoman.stores.compiled import keys as sql
from dragoman.stores.database import Area, Row, Value, Values

_TAKEN = "There is such a key already."


class KeyArea(Area):
    def list_keys(self) -> list[Key]:
        return [_key(row) for row in self._database.rows(sql.SQLITE_LIST_KEYS, {})]

    def add_key(self, key: Key) -> None:
        """Raises `Conflict` where there is such an id, hash or creation token already, revoked or not."""
        values = {"id": key.id, "hash": key.hash, **_values(key)}
        self._database.change(sql.SQLITE_ADD_KEY, values, taken=_TAKEN)
        self._database.announce()

    def replace_key(self, key: Key) -> None:
        values = {"key_id": key.id, **_values(key)}
        if not self._database.change(sql.SQLITE_REPLACE_KEY, values, taken=_TAKEN):
            raise UnknownEntity(f"key '{key.id}' does not exist", entity="key")
        self._database.announce()

    def revoke_key(self, key_id: KeyId, revoked_s: float) -> bool:
        changed = self._database.change(
            sql.SQLITE_REVOKE_KEY, {"key_id": key_id, "at_s": revoked_s}
        )
        # Also when nothing changed: an earlier revocation may have died before it told anyone.
        self._database.announce()
        return changed == 1

    def touch_keys(self, used: Sequence[tuple[KeyId, float]]) -> None:
        values: list[Values] = [{"key_id": key_id, "at_s": at_s} for key_id, at_s in used]
        self._database.change_many(sql.SQLITE_TOUCH_KEY, values)


def _values(key: Key) -> dict[str, Value]:
    """Every column but the id and the hash."""
    return {
        "name": key.name,
        "hint": key.hint,
        "created_s": key.created_s,
        "revoked_s": key.revoked_s,
        "kind": key.kind,
        "account_id": key.account_id,
        "project": key.project,
        "expires_s": key.expires_s,
        "last_used_s": key.last_used_s,
        "scopes": msgspec.json.encode(key.scopes).decode(),
        "requests_per_minute": key.limits.requests_per_minute,
        "tokens_per_minute": key.limits.tokens_per_minute,
        "concurrent_requests": key.limits.concurrent_requests,
        "replaces": key.replaces,
        "creation_token": key.creation_token,
    }


def _key(row: Row) -> Key:
    (id_, name, hash_, hint, created_s, revoked_s, kind, account_id, project, expires_s) = row[:10]
    (last_used_s, scopes, requests, tokens, concurrent, replaces, creation_token) = row[10:]
    return Key(
        id=id_,
        name=name,
        hash=hash_,
        hint=hint,
        created_s=created_s,
        revoked_s=revoked_s,
        kind=kind,
        account_id=account_id,
        project=project,
        expires_s=expires_s,
        last_used_s=last_used_s,
        scopes=msgspec.json.decode(scopes, type=Scopes),
        limits=Limits(
            requests_per_minute=requests,
            tokens_per_minute=tokens,
            concurrent_requests=concurrent,
        ),
        replaces=replaces,
        creation_token=creation_token,
    )
