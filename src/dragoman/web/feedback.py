"""What clients say of completions: a value of one, a preference between two, a value of a whole session.

`/comparison` and `/outcome` are Adaptive Engine's; `/feedback` is ours, because theirs is GraphQL.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal

import msgspec

from dragoman.chat import Text
from dragoman.dialects.chat_completions_wire import about
from dragoman.dialects.fields import BodyDecoder
from dragoman.dialects.studio import StudioMessage, decode_studio_messages, decode_uuid
from dragoman.errors import InvalidRequest
from dragoman.policy.feedback import Compared, FeedbackDesk, Preference, Verdict
from dragoman.policy.idempotency import read_key
from dragoman.policy.interactions.imported import Conversation
from dragoman.ports import Dialect
from dragoman.web.accounts import Readers
from dragoman.web.call import Call
from dragoman.web.completions import Route
from dragoman.web.interactions import Caller, Callers, ignored_header
from dragoman.web.interactions_wire import RemarkIn, remark_of, required_name, user_checked
from dragoman.web.query import read_values

_HEADERS = ((b"content-type", b"application/json"), (b"cache-control", b"no-store"))


class FeedbackIn(RemarkIn, kw_only=True, forbid_unknown_fields=True):
    """A value of one completion."""

    completion_id: Annotated[str, about("The completion that is judged.", format="uuid")]
    user_id: Annotated[str | None, about("Who judges.")] = None
    user: Annotated[str | None, about("The same under another name.")] = None
    project: Annotated[
        str | None, about("The project's id or key: that the completion is of it.")
    ] = None


class CompletionText(msgspec.Struct):
    """A completion that was made elsewhere."""

    text: str
    model: Annotated[str, about("As `model_service` of an interaction.")]


class ComparisonIn(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """One completion is preferred to another, of the same project."""

    metric: Annotated[str, about("A metric's id or key.")]
    preferred_completion: Annotated[str | CompletionText, about("A completion's id; or its text.")]
    other_completion: Annotated[str | CompletionText, about("A completion's id; or its text.")]
    messages: Annotated[
        list[StudioMessage] | None,
        about("What the texts answer: they are kept as interactions. Not used with ids."),
    ] = None
    tied: Annotated[
        Literal["good", "bad"] | None, about("Neither is preferred: both are good, or both bad.")
    ] = None
    project: Annotated[
        str | None, about("Its id or key. Default: the project that the key is bound to.")
    ] = None
    user_id: Annotated[str | None, about("Who compares.")] = None


class OutcomeIn(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A value of a whole session."""

    metric: Annotated[str, about("A metric's id or key.")]
    value: Annotated[
        Any, about("Of a `bool` metric: 0, 1, true or false. Of a `scalar` one: a number.")
    ]
    session_id: Annotated[str, about("The session that is judged.", format="uuid")]
    project_id: Annotated[
        str | None, about("The project's id or key. Default: the one that the key is bound to.")
    ] = None
    project: Annotated[str | None, about("The same under another name.")] = None
    user_id: Annotated[str | None, about("Who judges.")] = None


class FeedbackAdded(msgspec.Struct, frozen=True):
    feedback_id: Annotated[str, about("Names it.", format="uuid")]


class ComparisonAdded(msgspec.Struct, frozen=True):
    comparison_id: Annotated[str, about("Names it.", format="uuid")]


class OutcomeAdded(msgspec.Struct, frozen=True):
    outcome_id: Annotated[str, about("Names it.", format="uuid")]


_feedback = BodyDecoder(FeedbackIn)
_comparison = BodyDecoder(ComparisonIn)
_outcome = BodyDecoder(OutcomeIn)

Answered = tuple[msgspec.Struct, list[str]]
"""What is answered, and the names of fields that nobody knows."""
Keep = Callable[[FeedbackDesk, bytes, Caller, str | None], Answered]
"""Keeps what a body says; the last is its `Idempotency-Key`."""


class FeedbackRoute(Route):
    """`POST` what is to be kept, get its id."""

    def __init__(
        self, dialect: Dialect, callers: Callers, desk: FeedbackDesk, readers: Readers, keep: Keep
    ) -> None:
        super().__init__(dialect)
        self._callers = callers
        self._desk = desk
        self._readers = readers
        self._keep = keep

    async def answer(self, call: Call) -> None:
        caller = await self._callers.authenticate(call)
        read_values(call.scope.get("query_string", b""), ())
        token = read_key(call.headers)
        body = await self._callers.read_body(call)
        answer, ignored = await self._readers.ask(
            caller.account_id, lambda: self._keep(self._desk, body, caller, token)
        )
        await call.send_whole(
            200, [*_HEADERS, *ignored_header(ignored)], msgspec.json.encode(answer)
        )


def keep_feedback(desk: FeedbackDesk, body: bytes, caller: Caller, token: str | None) -> Answered:
    wire, unknown = _feedback.decode(body)
    completion_id = _uuid(wire.completion_id, "completion_id")
    remark = remark_of(wire, "", caller.now_s)
    user = _one_user(wire.user_id, wire.user)
    projects = caller.visible() if wire.project is None else [caller.known_project(wire.project)]
    feedback_id = desk.add_feedback(
        completion_id,
        msgspec.structs.replace(remark, user=user),
        projects,
        caller.teller,
        token,
    )
    return FeedbackAdded(feedback_id), [name for name, _ in unknown]


def keep_comparison(desk: FeedbackDesk, body: bytes, caller: Caller, token: str | None) -> Answered:
    wire, unknown = _comparison.decode(body)
    metric = required_name(wire.metric, "metric")
    preferred = _side(wire, wire.preferred_completion, "preferred_completion")
    other = _side(wire, wire.other_completion, "other_completion")
    said = Preference(
        metric=metric,
        preferred=preferred,
        other=other,
        tied=wire.tied,
        user=user_checked(wire.user_id, "user_id"),
    )
    tells = preferred.told is not None or other.told is not None
    project = caller.project(wire.project) if tells else caller.known_project(wire.project)
    comparison_id = desk.add_comparison(said, project, caller.teller, token)
    return ComparisonAdded(comparison_id), [name for name, _ in unknown]


def keep_outcome(desk: FeedbackDesk, body: bytes, caller: Caller, token: str | None) -> Answered:
    wire, unknown = _outcome.decode(body)
    said = Verdict(
        metric=required_name(wire.metric, "metric"),
        value=wire.value,
        session_id=_uuid(wire.session_id, "session_id"),
        user=user_checked(wire.user_id, "user_id"),
    )
    if wire.project is not None and wire.project_id not in (None, wire.project):
        raise InvalidRequest(
            "project and project_id name the same thing differently; give one", param="project_id"
        )
    name = wire.project if wire.project_id is None else wire.project_id
    project = caller.known_project(name, "project_id")
    outcome_id = desk.add_outcome(said, project, caller.teller, token)
    return OutcomeAdded(outcome_id), [name for name, _ in unknown]


def _side(wire: ComparisonIn, side: str | CompletionText, param: str) -> Compared:
    if isinstance(side, str):
        return Compared(completion_id=_uuid(side, param))
    if not wire.messages:
        raise InvalidRequest(
            f"messages is required where {param} is a text: what it answers", param="messages"
        )
    return Compared(
        told=Conversation(
            messages=decode_studio_messages(wire.messages),
            completion=(Text(side.text),),
            model=required_name(side.model, f"{param}.model"),
            user=user_checked(wire.user_id, "user_id"),
        )
    )


def _uuid(text: str, param: str) -> str:
    return decode_uuid(param, text) or ""


def _one_user(user_id: str | None, user: str | None) -> str | None:
    if user_id is not None and user is not None and user_id != user:
        raise InvalidRequest("user and user_id are the same; give one", param="user_id")
    return user_checked(user) if user_id is None else user_checked(user_id, "user_id")
