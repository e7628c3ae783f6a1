"""Keys: how they are made and replaced, and how a presented one is recognised.

A secret has 190 bits of randomness and is kept only as its SHA-256. The ring holds every hash in
memory, with all that is known of its owner: recognising a key is one hash and one look-up, which does
no I/O and whose time tells nothing of any secret. It is loaded anew before the next request when the
repository's generation has moved, so a key that any process of the machine revokes is refused at
once; and now and then beside the requests, for changes that nobody told of.
"""

from __future__ import annotations

import hashlib
import logging
import math
import secrets
import string
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, Protocol

import msgspec

from dragoman.errors import Conflict, Forbidden, Unauthenticated
from dragoman.policy.networks import Network, is_within, parse_network
from dragoman.policy.snapshots import Snapshot
from dragoman.ports import AccountRepository, Clock, KeyRepository
from dragoman.ports.administration import Atomic
from dragoman.ports.repositories import AuditRepository
from dragoman.records.account import Account, Plan
from dragoman.records.audit_event import AuditEvent
from dragoman.records.key import Key, KeyId
from dragoman.records.limits import NO_LIMITS, Limits
from dragoman.records.principal import Principal

_log = logging.getLogger("dragoman.keys")

SECRET_PREFIX = "drg_sk_"  # noqa: S105 - the part that is no secret
ADMIN_SECRET_PREFIX = "drg_admin_"  # noqa: S105 - the part that is no secret
MIN_CHOSEN_CHARS = 16
MAX_SECRET_CHARS = 256
MAX_NAME_CHARS = 200
MAX_GRACE_S = 366 * 86400
BOOTSTRAP_NAME = "bootstrap"

_ALPHANUMERIC = string.ascii_letters + string.digits
_LOWER_ALPHANUMERIC = string.ascii_lowercase + string.digits


class UnusableKey(ValueError):
    """A name or chosen secret that a key cannot have; the message holds no secret."""


KeyKind = Literal["client", "admin"]
_PREFIXES: dict[KeyKind, str] = {"client": SECRET_PREFIX, "admin": ADMIN_SECRET_PREFIX}


def draw_secret(kind: KeyKind = "client") -> str:
    return _PREFIXES[kind] + _draw(_ALPHANUMERIC, 32)


def mint_key(
    name: str, created_s: float, *, secret: str | None = None, kind: KeyKind = "client"
) -> tuple[str, Key]:
    """A secret, to be shown once, and the key to keep of it; `secret` is a value chosen elsewhere.

    Raises `UnusableKey`.
    """
    name = check_name(name)
    if secret is None:
        secret = draw_secret(kind)
    else:
        _check_chosen(secret)
    key_id = KeyId("key_" + _draw(_LOWER_ALPHANUMERIC, 20))
    return secret, Key(
        id=key_id,
        name=name,
        hash=hash_secret(secret),
        hint=_hint(secret),
        created_s=created_s,
        kind=kind,
    )


def rotate_key(
    old: Key, now_s: float, grace_s: float, *, secret: str | None = None
) -> tuple[str, Key, Key]:
    """A new secret, the key to keep of it, and what becomes of `old`.

    The successor may do all that `old` may. `old` ends when the grace does, or earlier where it would
    have ended earlier. Raises `UnusableKey` where it has ended already, or the grace is below 0.
    """
    if old.revoked_s is not None or (old.expires_s is not None and old.expires_s <= now_s):
        raise UnusableKey("a key that was revoked or has expired cannot be rotated; make a new one")
    if not 0 <= grace_s <= MAX_GRACE_S:
        raise UnusableKey(f"the grace of a rotation is from 0 to {MAX_GRACE_S} seconds")
    secret, fresh = mint_key(old.name, now_s, secret=secret, kind=old.kind)
    successor = msgspec.structs.replace(
        old,
        id=fresh.id,
        hash=fresh.hash,
        hint=fresh.hint,
        created_s=now_s,
        last_used_s=None,
        replaces=old.id,
        creation_token=None,
    )
    ends_s = now_s + grace_s
    if old.expires_s is not None:
        ends_s = min(ends_s, old.expires_s)
    return secret, successor, msgspec.structs.replace(old, expires_s=ends_s)


def check_name(name: str) -> str:
    """The name without space around it. Raises `UnusableKey`."""
    name = name.strip()
    if not name or len(name) > MAX_NAME_CHARS or not name.isprintable():
        raise UnusableKey(
            f"the name of a key must have 1 to {MAX_NAME_CHARS} characters, all of them printable"
        )
    return name


def hash_secret(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()


class FirstKeyStore(KeyRepository, AuditRepository, Atomic, Protocol):
    """Keys, and the log that tells who made them."""


def bootstrap_key(
    repository: FirstKeyStore, created_s: float, chosen: str | None = None
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
        _add_first_key(repository, key)
        return secret
    secret, key = mint_key(BOOTSTRAP_NAME, created_s, secret=chosen)
    for other in kept:
        if other.hash != key.hash:
            continue
        if other.revoked_s is not None:
            raise UnusableKey("the chosen first key was revoked; choose another value")
        return None
    try:
        _add_first_key(repository, key)
    except Conflict:
        # Another process that starts with the same value was faster.
        return None
    return None


def _add_first_key(repository: FirstKeyStore, key: Key) -> None:
    with repository.atomically():
        repository.add_key(key)
        repository.add_event(
            AuditEvent(
                at_s=key.created_s,
                actor="server",
                action="key.create",
                subject=key.id,
                detail=msgspec.Raw(msgspec.json.encode({"name": key.name, "hint": key.hint})),
            )
        )


class CallerRepository(KeyRepository, AccountRepository, Protocol):
    """Keys, and whose they are."""


class _Kept(msgspec.Struct, frozen=True):
    """What the repository has, as it was read."""

    keys: tuple[Key, ...]
    accounts: tuple[Account, ...]
    plans: tuple[Plan, ...]


class _Caller(msgspec.Struct, frozen=True):
    """A key that is not revoked, ready to be recognised."""

    principal: Principal
    kind: KeyKind
    expires_s: float
    is_suspended: bool


class _Known(msgspec.Struct, frozen=True, kw_only=True):
    kept: _Kept | None
    callers: Mapping[bytes, _Caller]
    """By the hash of their secret."""
    networks: Mapping[KeyId, tuple[Network, ...]]


_NOTHING_KNOWN = _Known(kept=None, callers={}, networks={})


class KeyRing:
    """Every key that is not revoked, by the hash of its secret. Belongs to one event loop.

    Before it is asked: `if ring.is_stale(): await ring.refresh()`.
    """

    __slots__ = ("_default_limits", "_repository", "_snapshot", "is_stale", "loaded", "refresh")

    def __init__(
        self, repository: CallerRepository, clock: Clock, *, default_limits: Limits = NO_LIMITS
    ) -> None:
        """`default_limits` hold for accounts whose plan says nothing else."""
        self._repository = repository
        self._default_limits = default_limits
        self._snapshot = Snapshot("keys", repository, clock, self._read, _NOTHING_KNOWN)
        # Asked at every request: no call of ours around the snapshot's.
        self.is_stale = self._snapshot.is_stale
        self.refresh = self._snapshot.refresh
        self.loaded = self._snapshot.loaded

    def _read(self, known: _Known) -> _Known:
        """Everything anew; what is known already where nothing is different."""
        repository = self._repository
        # Accounts after keys and plans after accounts: what one of them names is there.
        keys = tuple(
            msgspec.structs.replace(key, last_used_s=None) for key in repository.list_keys()
        )
        kept = _Kept(keys, tuple(repository.list_accounts()), tuple(repository.list_plans()))
        if kept == known.kept:
            return known
        valid = [key for key in kept.keys if key.revoked_s is None]
        return _Known(
            kept=kept,
            callers=_callers(valid, kept.accounts, kept.plans, self._default_limits),
            networks={
                key.id: _usable_networks(key.scopes.networks)
                for key in valid
                if key.scopes.networks is not None
            },
        )

    def authenticate(self, secret: str, now_s: float) -> Principal:
        """Who presents a client key's `secret`.

        Raises `Unauthenticated`, in the same words for every cause, or `Forbidden` where the key is
        sound and yet may not ask for completions.
        """
        caller = self._find(secret, now_s)
        if caller.is_suspended:
            raise Forbidden(
                "The account of this key is suspended; ask the operator of this server to resume it."
            )
        if caller.kind != "client":
            raise Forbidden(
                "This is an admin key, which serves under /admin alone; use a client key here."
            )
        return caller.principal

    def require_network(self, principal: Principal, address: str | None) -> None:
        """Raises `Forbidden` where the key may not be used from `address`; `None`: it is not known."""
        if principal.scopes.networks is None:
            return
        if address is None or not is_within(
            address, self._snapshot.value.networks.get(principal.key_id, ())
        ):
            raise Forbidden(
                f"This key may not be used from {address or 'an unknown address'}: it is bound to"
                " networks. Use it from there, or have its networks changed."
            )

    def authenticate_admin(self, secret: str, now_s: float) -> Principal:
        """Who presents an admin key's `secret`. Raises as `authenticate` does."""
        caller = self._find(secret, now_s)
        if caller.kind != "admin":
            raise Forbidden(
                "This is a client key, which administers nothing; use an admin key here."
            )
        return caller.principal

    def _find(self, secret: str, now_s: float) -> _Caller:
        if len(secret) <= MAX_SECRET_CHARS:
            caller = self._snapshot.value.callers.get(hash_secret(secret))
            if caller is not None and now_s < caller.expires_s:
                return caller
        raise Unauthenticated

    def __len__(self) -> int:
        return len(self._snapshot.value.callers)


def _callers(
    keys: Iterable[Key], accounts: Sequence[Account], plans: Sequence[Plan], defaults: Limits
) -> dict[bytes, _Caller]:
    account_of = {account.id: account for account in accounts}
    plan_of = {plan.id: plan for plan in plans}
    found: dict[bytes, _Caller] = {}
    for key in keys:
        account = account_of.get(key.account_id)
        if account is None:
            # A request of nobody's could not be accounted for.
            continue
        plan = None if account.plan_id is None else plan_of.get(account.plan_id)
        found[key.hash] = _Caller(
            principal=principal_of(key, account, plan, defaults),
            kind=key.kind,
            expires_s=math.inf if key.expires_s is None else key.expires_s,
            is_suspended=account.suspended_s is not None,
        )
    return found


def principal_of(key: Key, account: Account, plan: Plan | None, defaults: Limits) -> Principal:
    """Who presents `key`: `plan` is the account's; `defaults` are the limits of accounts whose plan says nothing."""
    return Principal(
        key_id=key.id,
        name=key.name,
        account=account,
        project=key.project,
        expires_s=key.expires_s,
        scopes=key.scopes,
        models=_allowed_models(key, plan),
        key_limits=key.limits,
        account_limits=defaults if plan is None else _limits_of(plan, defaults),
    )


def _allowed_models(key: Key, plan: Plan | None) -> frozenset[str] | None:
    allowed = None if key.scopes.models is None else frozenset(key.scopes.models)
    if plan is None or plan.models is None:
        return allowed
    return frozenset(plan.models) if allowed is None else allowed & frozenset(plan.models)


def _limits_of(plan: Plan, defaults: Limits) -> Limits:
    own = plan.limits

    def either(mine: int | None, default: int | None) -> int | None:
        return default if mine is None else mine

    return Limits(
        requests_per_minute=either(own.requests_per_minute, defaults.requests_per_minute),
        tokens_per_minute=either(own.tokens_per_minute, defaults.tokens_per_minute),
        concurrent_requests=either(own.concurrent_requests, defaults.concurrent_requests),
    )


def _usable_networks(texts: Iterable[str]) -> tuple[Network, ...]:
    """What cannot be read lets nobody in."""
    usable = []
    for text in texts:
        try:
            usable.append(parse_network(text))
        except ValueError as error:
            _log.warning("a key's network is not usable: %s", error)
    return tuple(usable)


# --- Secrets ------------------------------------------------------------------------------------


def _hint(secret: str) -> str:
    prefix = next((known for known in _PREFIXES.values() if secret.startswith(known)), "")
    return f"{prefix}…{secret[-4:]}"


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
