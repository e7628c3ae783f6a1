"""What every administrator's operation shares: the store, the time, who acts, and the audit log."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import uuid
from collections.abc import Sequence
from typing import Protocol, TypeVar

import msgspec

from dragoman.errors import Conflict, InvalidRequest, UnknownEntity
from dragoman.policy.administration.complaints import told_of
from dragoman.policy.routing import ModelDirectory
from dragoman.ports import Clock
from dragoman.ports.administration import AdministrationStore
from dragoman.records.account import Account, Member
from dragoman.records.audit_event import AuditEvent
from dragoman.records.campaign import Campaign
from dragoman.records.metric import Metric
from dragoman.records.project import Project

MAX_NAME_CHARS = 200
MAX_TOKEN_CHARS = 200
MAX_LIST = 256
"""The most names in a list of models, networks and the like."""

Wish = TypeVar("Wish", bound=msgspec.Struct)
Keyed = TypeVar("Keyed", bound="_Keyed")
Made = TypeVar("Made", Account, Member, Project, Metric, Campaign)

_LOWER_ALPHANUMERIC = "abcdefghijklmnopqrstuvwxyz0123456789"
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)
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
        allows_commands: bool = True,
        keeps_interactions: bool = True,
    ) -> None:
        self.allows_plain_webhooks = allows_plain_webhooks
        self.allows_commands = allows_commands
        self.keeps_interactions = keeps_interactions
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

    def project(self, name: str, *, for_change: bool = False) -> Project:
        """The project of that id or key. Raises `UnknownEntity`, or `Conflict` where it is to be changed and
        is archived."""
        project = named(self.store.list_projects(), name)
        if project is None:
            raise UnknownEntity(
                f"project {name[:64]!r} does not exist", entity="project", param="project"
            )
        if for_change and project.archived_s is not None:
            raise Conflict(
                f"project '{project.key}' is archived; restore it first", param="project"
            )
        return project

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

    def model_named(self, name: str) -> str | None:
        """The id of the model that requests mean by `name`, if there is one."""
        model = None if self._directory is None else self._directory.resolve(name)
        return None if model is None else model.id

    def answering_model(self, name: str) -> str:
        """The id that records have for `name`: also of models that are no more."""
        return self.model_named(name) or name

    def id_for(self, prefix: str, kind: str, token: str | None) -> str:
        """An id for what is to be made: a new one, or the one that the wish with this token always has."""
        if token is None:
            return draw_id(prefix)
        return draw_id(prefix, self.derive(kind, token_checked(token, "Idempotency-Key")))

    def uuid_for(self, kind: str, token: str | None) -> str:
        """The same, as a UUID."""
        if token is None:
            return str(uuid.uuid4())
        noise = self.derive(kind, token_checked(token, "Idempotency-Key"))
        return str(uuid.UUID(bytes=noise[:16], version=4))

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


class _Keyed(Protocol):
    @property
    def id(self) -> str: ...

    @property
    def key(self) -> str: ...


def named(things: Sequence[Keyed], name: str) -> Keyed | None:
    """The one of that id, or else of that key."""
    for thing in things:
        if thing.id == name:
            return thing
    return next((thing for thing in things if thing.key == name), None)


def named_of(
    project: Project, things: Sequence[Keyed], name: str, noun: str, *, entity: str | None = None
) -> Keyed:
    """One of what the project has. Raises `UnknownEntity`; `entity`: where that is not `noun`."""
    found = named(things, name)
    if found is not None:
        return found
    known = ", ".join(thing.key for thing in things[:20]) or "none yet"
    raise UnknownEntity(
        f"project '{project.key}' has no {noun} {name[:64]!r}; it has {known}",
        entity=entity or noun,
        param=noun,
    )


def same_or_conflict(wished: Made, kept: Made) -> Made:
    """What the same `Idempotency-Key` made before, if it was wished for in the same words."""
    if msgspec.structs.replace(wished, created_s=kept.created_s) != kept:
        raise Conflict(
            f"Idempotency-Key: it was used for {kept.id}, which is not, or no longer, what is asked for"
        )
    return kept


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
        # JSON has text alone; what a command line was given may be other bytes.
        msgspec.json.encode(wish)
        return msgspec.convert(msgspec.to_builtins(wish), type(wish))
    except UnicodeEncodeError:
        raise InvalidRequest("what was given is no text in UTF-8") from None
    except RecursionError:
        raise InvalidRequest("what was given is nested too deeply") from None
    except msgspec.ValidationError as error:
        raise invalid(str(error)) from None


def invalid(words: str) -> InvalidRequest:
    """msgspec's complaint, told with the field first: ``Expected `str` - at `$.a.b` ``."""
    text, _, place = words.rpartition(" - at `$")
    param = place.rstrip("`").lstrip(".") or None if text else None
    return InvalidRequest(told_of(param, text or words), param=param)


def refuse_id_as_key(key: str) -> None:
    """Raises `InvalidRequest` for a key that would be taken for the id of something else."""
    if _UUID.fullmatch(key):
        raise InvalidRequest("key has the form of an id, a UUID; choose another", param="key")


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
