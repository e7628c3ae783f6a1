"""A conversation that was answered elsewhere, made into an interaction of a project."""

from __future__ import annotations

import hmac
import math
import uuid
from datetime import UTC, datetime

import msgspec

from dragoman.chat import Message, Part, Tool
from dragoman.errors import InvalidRequest
from dragoman.policy.interactions.redaction import redact
from dragoman.policy.interactions.transcript import (
    MAX_CONTENT_BYTES,
    encode_answer,
    encode_messages,
    encode_tools,
)
from dragoman.policy.routing import ModelDirectory
from dragoman.ports.administration import ServerSecrets
from dragoman.records.account import AccountId
from dragoman.records.campaign import CampaignId
from dragoman.records.interaction import Interaction, InteractionContent
from dragoman.records.key import KeyId
from dragoman.records.project import ContentRules, Project

MAX_AHEAD_S = 24 * 3600.0
"""How far a clock elsewhere may be ahead of ours."""
_EARLIEST_S = 0.0
_MILLISECONDS_FROM = 1e11
"""Larger numbers are milliseconds: as seconds, this is the year 5138."""
_SECRET = "conversations"  # noqa: S105 - the name of one


class Conversation(msgspec.Struct, frozen=True, kw_only=True):
    """What someone tells of."""

    messages: tuple[Message, ...]
    completion: tuple[Part, ...]
    """What the assistant answered."""
    model: str | None = None
    """As it is told: the key of a model of the project, the id or alias of another, or any name."""
    completion_id: str | None = None
    session_id: str | None = None
    user: str | None = None
    created_s: float | None = None
    campaign: str | None = None
    """Id or key."""
    labels: tuple[tuple[str, str], ...] = ()
    tags: tuple[str, ...] = ()
    tools: tuple[Tool, ...] = ()


class Teller(msgspec.Struct, frozen=True, kw_only=True):
    """Who tells of it."""

    account_id: AccountId
    key_id: KeyId | None
    now_s: float


class Entered(msgspec.Struct, frozen=True):
    """That it counts in a campaign."""

    campaign_id: CampaignId
    unit: str
    arm: str


class Ids:
    """Ids that nobody can tell beforehand, and that are the same for the same names: so that whoever tells again
    what they told already is answered the same."""

    def __init__(self, secrets: ServerSecrets) -> None:
        self._secrets = secrets
        self._secret: bytes | None = None

    def derive(self, *names: str) -> str:
        """A UUID."""
        if self._secret is None:
            self._secret = self._secrets.server_secret(_SECRET)
        encoded = [name.encode("utf-8", "surrogatepass") for name in names]
        message = b"".join(b"%d:%s" % (len(name), name) for name in encoded)
        digest = hmac.digest(self._secret, message, "sha256")
        return str(uuid.UUID(bytes=digest[:16], version=4))

    def draw(self, token: str | None, *names: str) -> str:
        """A new UUID; with `token`, the one that it always has."""
        return str(uuid.uuid4()) if token is None else self.derive(token, *names)


def interaction_of(
    told: Conversation,
    project: Project,
    teller: Teller,
    directory: ModelDirectory,
    *,
    completion_id: str,
    session_id: str,
    entered: Entered | None = None,
) -> Interaction:
    attached, model = model_of(told.model, project, directory)
    return Interaction(
        completion_id=completion_id,
        source="import",
        project_id=project.id,
        account_id=teller.account_id,
        key_id=teller.key_id,
        created_s=teller.now_s if told.created_s is None else told.created_s,
        session_id=session_id,
        user=told.user,
        attached=attached,
        model=model,
        labels=told.labels,
        tags=told.tags,
        campaign_id=None if entered is None else entered.campaign_id,
        unit=None if entered is None else entered.unit,
        arm=None if entered is None else entered.arm,
        served_arm=None if entered is None else entered.arm,
        entered_by=None if entered is None else "request",
        content=_content(told, project.content),
    )


def model_of(
    name: str | None, project: Project, directory: ModelDirectory
) -> tuple[str | None, str | None]:
    """Key of the project's model, and id of the model. A name that nobody knows here is kept as it is told."""
    if name is None:
        return None, None
    name = name.removeprefix(f"{project.key}/")
    attached = project.attached(name)
    known = directory.resolve(name if attached is None else attached.model)
    if attached is not None:
        return attached.key, attached.model if known is None else known.id
    return None, name if known is None else known.id


def _content(told: Conversation, rules: ContentRules) -> InteractionContent | None:
    if not rules.is_stored:
        return None
    messages = encode_messages(told.messages)
    completion = encode_answer(told.completion)
    if len(bytes(messages)) > MAX_CONTENT_BYTES:
        messages = encode_messages(told.messages, with_data=False)
    size = len(bytes(messages)) + len(bytes(completion))
    if size > MAX_CONTENT_BYTES:
        raise InvalidRequest(
            f"messages and completion have {size} bytes, and {MAX_CONTENT_BYTES} are kept at most;"
            " leave out what is not needed",
            param="messages",
        )
    content = InteractionContent(
        messages=messages, completion=completion, tools=encode_tools(told.tools)
    )
    return redact(content, rules.redact)


def is_same(wished: Interaction, kept: Interaction, *, is_dated: bool) -> bool:
    """Whether `kept` is what the same words made before. `is_dated`: they say when it was made."""
    alike = msgspec.structs.replace(
        wished,
        key_id=kept.key_id,
        created_s=wished.created_s if is_dated else kept.created_s,
    )
    return msgspec.json.encode(alike) == msgspec.json.encode(kept)


def moment_s(value: str | float | None, param: str, now_s: float) -> float | None:
    """RFC 3339, or a number of seconds or milliseconds since the epoch. Raises `InvalidRequest`."""
    if value is None:
        return None
    seconds = _seconds(value)
    if seconds is None or not math.isfinite(seconds):
        raise InvalidRequest(
            f"{param} {_shown(value)} is no moment; write 2026-11-22T18:00:00Z, or seconds or"
            " milliseconds since the epoch",
            param=param,
        )
    if not _EARLIEST_S <= seconds <= now_s + MAX_AHEAD_S:
        raise InvalidRequest(
            f"{param} {_shown(value)} lies {'before 1970' if seconds < 0 else 'in the future'}",
            param=param,
        )
    return seconds


def _shown(value: str | float) -> str:
    if isinstance(value, str):
        return repr(value[:40])
    # Python does not write out integers of thousands of digits.
    return f"{value:.12g}" if -1e300 < value < 1e300 else "of that size"


def _seconds(value: str | float) -> float | None:
    try:
        if isinstance(value, str):
            text = value.strip()
            digits = text.replace(".", "", 1)
            if not (digits.isascii() and digits.isdecimal()):
                moment = datetime.fromisoformat(text)
                return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
        # JSON's integers have any length.
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number / 1000 if number >= _MILLISECONDS_FROM else number
