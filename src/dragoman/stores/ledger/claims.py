"""Idempotency keys, within a write transaction: one request runs, the others are told."""

from __future__ import annotations

import sqlite3

from dragoman.errors import Conflict
from dragoman.records.idempotency import Claim, KeptAnswer
from dragoman.stores.compiled import ledger as sql

MOST_ANSWER_BYTES = 4 * 1024 * 1024
"""A longer answer is not kept: that it was given is."""
MOST_CLAIMS = 10_000
MOST_ANSWERS_BYTES = 1 << 30
"""Of one key, at once. Counted at every 64th of its claims, which is as far as it can go beyond."""
_COUNT_EVERY = 64
_MOST_COUNTED_KEYS = 10_000


class Claims:
    def __init__(self, worker_id: str) -> None:
        self._worker_id = worker_id
        self._uncounted: dict[str, int] = {}

    def take(self, connection: sqlite3.Connection, claim: Claim, now_s: float) -> KeptAnswer | None:
        """`None`: the claim is taken. Raises `Conflict`."""
        name = {"key_id": claim.key_id, "idempotency_key": claim.idempotency_key}
        found = connection.execute(sql.SQLITE_FIND_CLAIM, {**name, "now_s": now_s}).fetchone()
        if found is None:
            self._check_room(connection, claim, now_s)
            values = {
                **name,
                "body_hash": claim.body_hash,
                "request_id": claim.request_id,
                "worker_id": self._worker_id,
                "answer": None,
                "expires_s": claim.expires_s,
            }
            connection.execute(sql.SQLITE_ADD_CLAIM, values)
            return None
        body_hash, request_id, worker_id, answer = found
        if bytes(body_hash) != claim.body_hash:
            raise Conflict(
                "This Idempotency-Key was used with another request; use a new key for each request."
            )
        if worker_id is not None:
            raise Conflict(
                "A request with this Idempotency-Key is still running; ask again when it is done.",
                retry_after_s=1,
            )
        return KeptAnswer(request_id=request_id, answer=answer)

    def keep_answer(
        self, connection: sqlite3.Connection, claim: Claim, answer: bytes | None
    ) -> None:
        kept = answer if answer is not None and len(answer) <= MOST_ANSWER_BYTES else None
        connection.execute(sql.SQLITE_KEEP_ANSWER, {**_own(claim), "kept_answer": kept})

    def give_up(self, connection: sqlite3.Connection, claim: Claim) -> None:
        connection.execute(sql.SQLITE_DROP_CLAIM, _own(claim))

    def _check_room(self, connection: sqlite3.Connection, claim: Claim, now_s: float) -> None:
        uncounted = self._uncounted.get(claim.key_id)
        if uncounted is not None and uncounted < _COUNT_EVERY:
            self._uncounted[claim.key_id] = uncounted + 1
            return
        connection.execute(sql.SQLITE_DROP_EXPIRED_CLAIMS, {"now_s": now_s})
        count, size = connection.execute(
            sql.SQLITE_COUNT_CLAIMS, {"key_id": claim.key_id}
        ).fetchone()
        if count >= MOST_CLAIMS or size >= MOST_ANSWERS_BYTES:
            self._uncounted.pop(claim.key_id, None)
            raise Conflict(
                f"The key {claim.key_id} has too many Idempotency-Keys that have not expired yet"
                f" ({count}); send requests without one, or wait until they expire."
            )
        if len(self._uncounted) >= _MOST_COUNTED_KEYS:
            self._uncounted.clear()
        self._uncounted[claim.key_id] = 1


def _own(claim: Claim) -> dict[str, str]:
    return {
        "key_id": claim.key_id,
        "idempotency_key": claim.idempotency_key,
        "request_id": claim.request_id,
    }
