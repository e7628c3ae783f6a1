"""A client's wish that a request, sent again, be answered and charged once."""

from __future__ import annotations

import msgspec

from dragoman.records.key import KeyId


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """This request's right to be the one that runs under a client's `Idempotency-Key`."""

    key_id: KeyId
    idempotency_key: str
    body_hash: bytes
    """SHA-256 of path and body."""
    request_id: str
    expires_s: float


class KeptAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What the request that ran was answered."""

    request_id: str
    answer: bytes | None
    """As the pipeline wrote it; `None`: it was too long to be kept."""
