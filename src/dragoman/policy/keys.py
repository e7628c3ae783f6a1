"""Clients' keys: how they are made, and how a presented one is recognised.

A secret has 190 bits of randomness and is kept only as its SHA-256. The ring holds every hash in
memory: recognising a key is one hash and one look-up, which does no I/O and whose time tells nothing
of any secret. It is loaded anew when the repository's generation has moved, so a key that any
process revokes is refused at the next request.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import string

from dragoman.errors import Conflict, Unauthenticated
from dragoman.ports import Clock, KeyRepository
from dragoman.records.account import Account
from dragoman.records.key import Key, KeyId
from dragoman.records.principal import Principal

SECRET_PREFIX = "drg_sk_"  # noqa: S105 - the part that is no secret
MIN_CHOSEN_CHARS = 16
MAX_SECRET_CHARS = 256
MAX_NAME_CHARS = 200
BOOTSTRAP_NAME = "bootstrap"

# The generation tells of every change at once. Should a process die between its commit and telling,
# or the data directory not be shared memory (a network file system), this bounds the delay.
MAX_AGE_S = 30.0

_ALPHANUMERIC = string.ascii_letters + string.digits
_LOWER_ALPHANUMERIC = string.ascii_lowercase + string.digits


class UnusableKey(ValueError):
    """A name or chosen secret that a key cannot have; the message holds no secret."""


def mint_key(name: str, created_s: float, *, secret: str | None = None) -> tuple[str, Key]:
    """A secret, to be shown once, and the key to keep of it; `secret` is a value chosen elsewhere.

    Raises `UnusableKey`.
    """
    name = name.strip()
    if not name or len(name) > MAX_NAME_CHARS or not name.isprintable():
        raise UnusableKey(
            f"the name of a key must have 1 to {MAX_NAME_CHARS} characters, all of them printable"
        )
    if secret is None:
        secret = SECRET_PREFIX + _draw(_ALPHANUMERIC, 32)
        hint = f"{SECRET_PREFIX}…{secret[-4:]}"
    else:
        _check_chosen(secret)
        hint = f"…{secret[-4:]}"
    key_id = KeyId("key_" + _draw(_LOWER_ALPHANUMERIC, 20))
    return secret, Key(
        id=key_id, name=name, hash=hash_secret(secret), hint=hint, created_s=created_s
    )


def hash_secret(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()


def bootstrap_key(
    repository: KeyRepository, created_s: float, chosen: str | None = None
) -> str | None:
    """See to it that a first start leaves a key to call with.

    Returns a secret to show, once, when one was drawn. A `chosen` one is added unless it is there
    already, and is never returned: who chose it knows it. Raises `UnusableKey`.
    """
    kept = repository.list_keys()
    if chosen is None:
        if kept:
            return None
        secret, key = mint_key(BOOTSTRAP_NAME, created_s)
        repository.add_key(key)
        return secret
    secret, key = mint_key(BOOTSTRAP_NAME, created_s, secret=chosen)
    for other in kept:
        if other.hash != key.hash:
            continue
        if other.revoked_s is not None:
            raise UnusableKey("the chosen first key was revoked; choose another value")
        return None
    try:
        repository.add_key(key)
    except Conflict:
        # Another process that starts with the same value was faster.
        return None
    return None


class KeyRing:
    """Every key that is valid, by the hash of its secret. Belongs to one event loop.

    The caller keeps it fresh: `if ring.is_stale(): await ring.refresh()`.
    """

    __slots__ = ("_clock", "_generation", "_loaded_s", "_principals", "_refreshing", "_repository")

    def __init__(self, repository: KeyRepository, clock: Clock) -> None:
        self._repository = repository
        self._clock = clock
        self._principals: dict[bytes, Principal] = {}
        self._generation: int | None = None
        self._loaded_s = 0.0
        self._refreshing = asyncio.Lock()

    def is_stale(self) -> bool:
        """Whether keys have changed, in any process, since they were loaded. No I/O."""
        return (
            self._generation != self._repository.generation()
            or self._clock.monotonic_s() - self._loaded_s > MAX_AGE_S
        )

    async def refresh(self) -> None:
        """Load the keys, in a thread; callers who come meanwhile share one load.

        Raises what the repository raises; the ring then stays stale.
        """
        async with self._refreshing:
            if self.is_stale():
                # Read before the keys: a change during the load makes the ring stale again.
                generation = self._repository.generation()
                started_s = self._clock.monotonic_s()
                keys = await asyncio.to_thread(self._repository.list_keys)
                self._principals = {
                    key.hash: Principal(
                        key_id=key.id,
                        name=key.name,
                        account=Account(id=key.account_id, name=key.account_id),
                    )
                    for key in keys
                    if key.revoked_s is None
                }
                self._generation = generation
                self._loaded_s = started_s

    def authenticate(self, secret: str) -> Principal:
        """Who presents `secret`. Raises `Unauthenticated`, in the same words for every cause."""
        if len(secret) <= MAX_SECRET_CHARS:
            principal = self._principals.get(hash_secret(secret))
            if principal is not None:
                return principal
        raise Unauthenticated

    def __len__(self) -> int:
        return len(self._principals)


def _check_chosen(secret: str) -> None:
    if not MIN_CHOSEN_CHARS <= len(secret) <= MAX_SECRET_CHARS:
        raise UnusableKey(
            f"a chosen key must have {MIN_CHOSEN_CHARS} to {MAX_SECRET_CHARS} characters, "
            f"not {len(secret)}"
        )
    if not secret.isascii() or not secret.isprintable() or " " in secret:
        raise UnusableKey("a chosen key must be of printable ASCII characters without spaces")


def _draw(alphabet: str, count: int) -> str:
    return "".join(secrets.choice(alphabet) for _ in range(count))
