"""What every administrator's operation shares: the store, the time, who acts, and the audit log."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from typing import TypeVar

import msgspec

from dragoman.errors import InvalidRequest, UnknownEntity
from dragoman.policy.routing import ModelDirectory
from dragoman.ports import Clock
from dragoman.ports.administration import AdministrationStore
from dragoman.records.account import Account
from dragoman.records.audit_event import AuditEvent

MAX_NAME_CHARS = 200
MAX_TOKEN_CHARS = 200
MAX_LIST = 256
"""The most names in a list of models, networks and the like."""

Wish = TypeVar("Wish", bound=msgspec.Struct)

_LOWER_ALPHANUMERIC = "abcdefghijklmnopqrstuvwxyz0123456789"
_CREATION_SECRET = "creation"  # noqa: S105 - the name of one


class Desk:
    """Made for one actor; its parts are shared by every operation."""

    def __init__(
        self,
        store: AdministrationStore,
        clock: Clock,
        actor: str,
        directory: ModelDirectory | None = None,
        *,
        allows_plain_webhooks: bool = True,
    ) -> None:
        self.allows_plain_webhooks = allows_plain_webhooks
        self.store = store
        self.clock = clock
        self.actor = actor[:200]
        self._directory = directory

    def now_s(self) -> float:
        return self.clock.unix_s()

    def note(self, action: str, subject: str, detail: object) -> None:
        """Add a line to the audit log. `detail` becomes JSON, and holds no secret."""
        self.store.add_event(
            AuditEvent(
                at_s=self.now_s(),
                actor=self.actor,
                action=action,
                subject=subject,
                detail=msgspec.Raw(msgspec.json.encode(detail)),
            )
        )

    def account(self, account_id: str) -> Account:
        """Raises `UnknownEntity`."""
        for account in self.store.list_accounts():
            if account.id == account_id:
                return account
        raise UnknownEntity(
            f"account {account_id[:60]!r} does not exist", entity="account", param="account_id"
        )

    def models(self, names: tuple[str, ...] | None, param: str) -> tuple[str, ...] | None:
        """The ids of the models that `names` (ids or aliases) mean. Raises `InvalidRequest`."""
        if names is None:
            return None
        return tuple(
            dict.fromkeys(
                self.model(name, f"{param}[{index}]")
                for index, name in enumerate(names_checked(names, param))
            )
        )

    def model(self, name: str, param: str) -> str:
        """A model's id. Where no directory is known, any name passes for one."""
        if self._directory is None:
            return name
        model = self._directory.resolve(name)
        if model is None:
            raise InvalidRequest(
                f"{param}: there is no model {name[:100]!r}; GET /v1/models lists them", param=param
            )
        return model.id

    def answering_model(self, name: str) -> str:
        """The id that records have for `name`: also of models that are no more."""
        model = None if self._directory is None else self._directory.resolve(name)
        return name if model is None else model.id

    def derive(self, *parts: str) -> bytes:
        """64 bytes that are the same for the same parts, and that nobody else can tell.

        So that a wish that comes again is answered the same, secret included, while of the secret
        nothing but its hash is kept.
        """
        message = b"".join(
            b"%d:%s" % (len(encoded), encoded)
            for encoded in (part.encode("utf-8", "surrogatepass") for part in parts)
        )
        return hmac.digest(self.store.server_secret(_CREATION_SECRET), message, hashlib.sha512)


def draw_id(prefix: str, noise: bytes | None = None) -> str:
    """`prefix` and 20 lower-case letters and digits, out of 64 random bytes."""
    return prefix + spell(_LOWER_ALPHANUMERIC, 20, noise)


def spell(alphabet: str, count: int, noise: bytes | None = None) -> str:
    """`count` characters out of 64 random bytes, which is enough for each to be as likely."""
    number = int.from_bytes(secrets.token_bytes(64) if noise is None else noise, "big")
    characters = []
    for _ in range(count):
        number, index = divmod(number, len(alphabet))
        characters.append(alphabet[index])
    return "".join(characters)


def checked(wish: Wish) -> Wish:
    """`wish` with the bounds of its type applied, wherever it came from. Raises `InvalidRequest`."""
    try:
        return msgspec.convert(msgspec.to_builtins(wish), type(wish))
    except msgspec.ValidationError as error:
        raise invalid(str(error)) from None


def invalid(words: str) -> InvalidRequest:
    """msgspec's complaint, told with the field first: ``Expected `str` - at `$.a.b` ``."""
    text, _, place = words.rpartition(" - at `$")
    if not text:
        return InvalidRequest(words)
    param = place.rstrip("`").lstrip(".") or None
    return InvalidRequest(text if param is None else f"{param}: {text}", param=param)


def text_checked(value: str, param: str, *, most: int = MAX_NAME_CHARS) -> str:
    """`value` without blanks around it. Raises `InvalidRequest` where nothing, or too much, is left."""
    value = value.strip()
    if not value or len(value) > most or not value.isprintable():
        raise InvalidRequest(
            f"{param} must have 1 to {most} characters, all of them printable", param=param
        )
    return value


def token_checked(value: str, param: str, *, most: int = MAX_TOKEN_CHARS) -> str:
    """An idempotency key or creation token. Raises `InvalidRequest`."""
    if not 1 <= len(value) <= most or not value.isascii() or not value.isprintable():
        raise InvalidRequest(
            f"{param} must have 1 to {most} printable ASCII characters", param=param
        )
    return value


def names_checked(names: tuple[str, ...], param: str) -> tuple[str, ...]:
    if len(names) > MAX_LIST:
        raise InvalidRequest(f"{param} may list at most {MAX_LIST} names", param=param)
    return tuple(text_checked(name, f"{param}[{index}]") for index, name in enumerate(names))
