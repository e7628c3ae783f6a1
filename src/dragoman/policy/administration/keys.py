"""Keys: made, changed, replaced and revoked, and never twice for one wish."""

from __future__ import annotations

import hmac
import string
from datetime import datetime

import msgspec
from msgspec import UnsetType

from dragoman.errors import Conflict, InvalidRequest, UnknownEntity
from dragoman.policy.administration.accounts import limits_of
from dragoman.policy.administration.desk import (
    Desk,
    checked,
    names_checked,
    spell,
    text_checked,
    token_checked,
)
from dragoman.policy.administration.wishes import KeyChange, KeyWish, RotationWish, ScopesWish
from dragoman.policy.keys import (
    ADMIN_SECRET_PREFIX,
    SECRET_PREFIX,
    UnusableKey,
    draw_secret,
    hash_secret,
    mint_key,
    rotate_key,
)
from dragoman.policy.networks import parse_network
from dragoman.records.account import AccountId
from dragoman.records.key import Key, Scopes

REPEAT_WITHIN_S = 24 * 3600.0
"""For how long the same wish is answered with the same secret."""

_ALPHANUMERIC = string.ascii_letters + string.digits


class KeyMade(msgspec.Struct, frozen=True, kw_only=True):
    key: Key
    secret: str
    """To be shown now: nothing but its hash is kept."""
    is_new: bool
    """False where the same wish came before."""
    replaced: Key | None = None
    """Of a rotation: the old key, with the moment that it ends at."""


class KeyAdministration:
    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def list_all(
        self,
        account_id: str | None = None,
        *,
        kind: str | None = None,
        with_revoked: bool = False,
    ) -> list[Key]:
        """Oldest first. Raises `UnknownEntity` where there is no such account."""
        if account_id is not None:
            self._desk.account(account_id)
        return [
            key
            for key in self._desk.store.list_keys()
            if (account_id is None or key.account_id == account_id)
            and (kind is None or key.kind == kind)
            and (with_revoked or key.revoked_s is None)
        ]

    def find(self, key_id: str) -> Key:
        """Raises `UnknownEntity`."""
        for key in self._desk.store.list_keys():
            if key.id == key_id:
                return key
        raise UnknownEntity(f"key {key_id[:60]!r} does not exist", entity="key", param="key_id")

    def create(self, wish: KeyWish) -> KeyMade:
        """Raises `InvalidRequest`, or `Conflict` where its token stands for another wish, or one of long ago."""
        wish = checked(wish)
        secret = self._secret(wish, ("create",))
        with self._desk.store.atomically():
            account = self._account(wish.account_id)
            again = self._made_before(account, wish.creation_token, secret)
            if again is not None:
                return again
            key = self._minted(wish, account, secret)
            self._desk.store.add_key(key)
            self._desk.note("key.create", key.id, _told(key))
        return KeyMade(key=key, secret=secret, is_new=True)

    def change(self, key_id: str, change: KeyChange) -> Key:
        """Holds from the key's next request on. Raises `UnknownEntity`, `InvalidRequest` or `Conflict`."""
        change = checked(change)
        with self._desk.store.atomically():
            key = self.find(key_id)
            if key.revoked_s is not None:
                raise Conflict(f"key {key.id} was revoked; make a new one")
            changed = self._changed(key, change)
            if changed != key:
                self._desk.store.replace_key(changed)
                before, after = _told(key), _told(changed)
                self._desk.note(
                    "key.change",
                    key.id,
                    {name: value for name, value in after.items() if before.get(name) != value},
                )
        return changed

    def rotate(self, key_id: str, wish: RotationWish) -> KeyMade:
        """Make the key's successor, which works at once; the key ends when the grace does, to the instant.

        Raises `UnknownEntity`, or `Conflict` where it was rotated before, revoked, or has expired.
        """
        wish = checked(wish)
        with self._desk.store.atomically():
            key = self.find(key_id)
            secret = self._secret(wish, ("rotate", key.id, key.account_id), kind=key.kind)
            again = self._made_before(key.account_id, wish.creation_token, secret)
            if again is not None:
                return msgspec.structs.replace(again, replaced=key)
            self._refuse_second_rotation(key)
            try:
                _, successor, ending = rotate_key(
                    key, self._desk.now_s(), wish.grace_s, secret=secret
                )
            except UnusableKey as error:
                raise Conflict(str(error)) from None
            successor = msgspec.structs.replace(successor, creation_token=wish.creation_token)
            self._desk.store.add_key(successor)
            self._desk.store.replace_key(ending)
            self._desk.note(
                "key.rotate", key.id, {"successor": successor.id, "grace_s": wish.grace_s}
            )
        return KeyMade(key=successor, secret=secret, is_new=True, replaced=ending)

    def revoke(self, key_id: str) -> Key:
        """Refuse it from its next request on, for good. Doing it twice changes nothing."""
        with self._desk.store.atomically():
            key = self.find(key_id)
            now_s = self._desk.now_s()
            if self._desk.store.revoke_key(key.id, now_s):
                self._desk.note("key.revoke", key.id, {"name": key.name, "hint": key.hint})
                return msgspec.structs.replace(key, revoked_s=now_s)
        return key

    # --- Steps ---

    def _secret(
        self, wish: KeyWish | RotationWish, about: tuple[str, ...], *, kind: str | None = None
    ) -> str:
        """Of the wish, where it has a token: the same wish has the same secret, and another wish another."""
        if kind is None:
            assert isinstance(wish, KeyWish)
            kind = wish.kind
        if wish.creation_token is None:
            return draw_secret("admin" if kind == "admin" else "client")
        token_checked(wish.creation_token, "creation_token")
        words = msgspec.json.encode(wish, order="deterministic").decode()
        prefix = ADMIN_SECRET_PREFIX if kind == "admin" else SECRET_PREFIX
        return prefix + spell(_ALPHANUMERIC, 32, self._desk.derive("key", *about, words))

    def _made_before(self, account_id: AccountId, token: str | None, secret: str) -> KeyMade | None:
        """The key that the same wish made. Raises `Conflict` where the token was for something else."""
        if token is None:
            return None
        kept = next(
            (
                key
                for key in self._desk.store.list_keys()
                if key.creation_token == token and key.account_id == account_id
            ),
            None,
        )
        if kept is None:
            return None
        if not hmac.compare_digest(kept.hash, hash_secret(secret)):
            raise Conflict(
                f"creation_token: it was used for key {kept.id}, for another wish; use a new token",
                param="creation_token",
            )
        if kept.revoked_s is not None:
            raise Conflict(
                f"creation_token: it was used for key {kept.id}, which was revoked; use a new token",
                param="creation_token",
            )
        if self._desk.now_s() - kept.created_s > REPEAT_WITHIN_S:
            raise Conflict(
                f"creation_token: it was used for key {kept.id} more than 24 hours ago, and the secret"
                " is not shown again; use a new token",
                param="creation_token",
            )
        return KeyMade(key=kept, secret=secret, is_new=False)

    def _minted(self, wish: KeyWish, account: AccountId, secret: str) -> Key:
        if wish.kind == "admin" and (
            wish.project is not None
            or wish.limits != type(wish.limits)()
            or wish.scopes.models is not None
            or wish.scopes.projects is not None
            or wish.scopes.dialects is not None
        ):
            raise InvalidRequest(
                "an admin key asks for no completions: of scopes and limits it can have networks alone",
                param="scopes",
            )
        now_s = self._desk.now_s()
        _, key = mint_key(text_checked(wish.name, "name"), now_s, secret=secret, kind=wish.kind)
        return msgspec.structs.replace(
            key,
            account_id=account,
            project=None if wish.project is None else text_checked(wish.project, "project"),
            expires_s=self._expiry(wish, now_s),
            scopes=self._scopes(wish.scopes),
            limits=limits_of(wish.limits),
            creation_token=wish.creation_token,
        )

    def _expiry(self, wish: KeyWish, now_s: float) -> float | None:
        if wish.expires_in_s is None:
            return None if wish.expires_at is None else _later(wish.expires_at, now_s)
        if wish.expires_at is not None:
            raise InvalidRequest(
                "expires_at and expires_in_s were both given; give one of them",
                param="expires_in_s",
            )
        return now_s + wish.expires_in_s

    def _scopes(self, wish: ScopesWish) -> Scopes:
        networks = None
        if wish.networks is not None:
            networks = tuple(
                _network(text, f"scopes.networks[{index}]")
                for index, text in enumerate(wish.networks)
            )
        return Scopes(
            models=self._desk.models(wish.models, "scopes.models"),
            projects=None
            if wish.projects is None
            else names_checked(wish.projects, "scopes.projects"),
            dialects=None if wish.dialects is None else tuple(dict.fromkeys(wish.dialects)),
            networks=networks,
        )

    def _changed(self, key: Key, change: KeyChange) -> Key:
        changed = key
        if not isinstance(change.name, UnsetType):
            changed = msgspec.structs.replace(changed, name=text_checked(change.name, "name"))
        if not isinstance(change.project, UnsetType):
            project = None if change.project is None else text_checked(change.project, "project")
            changed = msgspec.structs.replace(changed, project=project)
        if not isinstance(change.expires_at, UnsetType):
            at = change.expires_at
            expires_s = None if at is None else _later(at, self._desk.now_s())
            changed = msgspec.structs.replace(changed, expires_s=expires_s)
        if not isinstance(change.scopes, UnsetType):
            changed = msgspec.structs.replace(changed, scopes=self._scopes(change.scopes))
        if not isinstance(change.limits, UnsetType):
            changed = msgspec.structs.replace(changed, limits=limits_of(change.limits))
        return changed

    def _refuse_second_rotation(self, key: Key) -> None:
        """So that a repeated call, or two people, do not leave a chain of keys behind."""
        for other in self._desk.store.list_keys():
            if other.replaces == key.id and other.revoked_s is None:
                raise Conflict(f"key {key.id} was rotated already: {other.id} replaces it")

    def _account(self, account_id: str) -> AccountId:
        try:
            return self._desk.account(account_id).id
        except UnknownEntity as error:
            raise InvalidRequest(f"account_id: {error.message}", param="account_id") from None


def _later(moment: datetime, now_s: float) -> float:
    at_s = moment.timestamp()
    if at_s <= now_s:
        raise InvalidRequest(
            "expires_at is not in the future; to end a key now, revoke it", param="expires_at"
        )
    return at_s


def _network(text: str, param: str) -> str:
    try:
        return str(parse_network(text))
    except ValueError as error:
        raise InvalidRequest(f"{param}: {error}", param=param) from None


def _told(key: Key) -> dict[str, object]:
    """For the audit log: no hash, and no token."""
    told: dict[str, object] = msgspec.to_builtins(
        msgspec.structs.replace(key, hash=b"", creation_token=None)
    )
    for name in ("hash", "creation_token", "last_used_s"):
        del told[name]
    return told
