"""What is asked of the table of keys."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import bindparam, insert, select, update
from sqlalchemy.sql import ClauseElement

from dragoman.stores.schema import keys

CHANGEABLE = tuple(column.name for column in keys.columns if column.name not in ("id", "hash"))

STATEMENTS: Mapping[str, ClauseElement] = {
    "LIST_KEYS": select(keys).order_by(keys.c.created_s, keys.c.id),
    "ADD_KEY": insert(keys),
    "REVOKE_KEY": (
        update(keys)
        .where(keys.c.id == bindparam("key_id"), keys.c.revoked_s.is_(None))
        .values(revoked_s=bindparam("at_s"))
    ),
    "REPLACE_KEY": (
        update(keys)
        .where(keys.c.id == bindparam("key_id"))
        .values({name: bindparam(name) for name in CHANGEABLE})
    ),
    "TOUCH_KEY": (
        update(keys).where(keys.c.id == bindparam("key_id")).values(last_used_s=bindparam("at_s"))
    ),
}
