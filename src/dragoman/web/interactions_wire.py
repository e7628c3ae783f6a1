"""Bodies in which clients tell of conversations: Adaptive Engine's, with some fields of ours.

Field names are those of `adaptive-sdk` 0.13. Beyond them: `completion_id` (so that it may be sent again safely),
`tags`, `tools`, `metadata` as another name of `labels`; and where `completion` is left out, the last message is
it, so that files for fine-tuning can be read in again.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Annotated, Any

import msgspec

from dragoman.chat import Message, Part, Text, Tool
from dragoman.dialects.chat_completions import check_user, decode_tool
from dragoman.dialects.chat_completions_wire import ToolIn, about
from dragoman.dialects.fields import BodyDecoder
from dragoman.dialects.studio import (
    LabelsIn,
    MetadataIn,
    StudioMessage,
    TagsIn,
    decode_labels,
    decode_studio_messages,
    decode_tags,
    decode_uuid,
)
from dragoman.errors import ClientError, InvalidRequest, UnknownEntity
from dragoman.policy.feedback import Remark
from dragoman.policy.interactions.imported import Conversation, moment_s
from dragoman.policy.interactions.imports import Import, faults_of_lines
from dragoman.records.project import Project

MAX_LINES = 1000
MAX_REMARKS = 64
MAX_NAME_CHARS = 200
MAX_WORDS_CHARS = 10_000
"""Of a reason, and of details."""

FindProject = Callable[[str | None], Project]
"""By id or key; `None`: the one that the key is bound to. Raises `UnknownEntity`, `Forbidden` or
`InvalidRequest`."""


class RemarkIn(msgspec.Struct):
    metric: Annotated[str, about("A metric's id or key.")]
    value: Annotated[
        Any, about("Of a `bool` metric: 0, 1, true or false. Of a `scalar` one: a number.")
    ]
    reason: Annotated[str | None, about("Why.")] = None
    details: Annotated[str | None, about("More words.")] = None
    created_at: Annotated[
        str | int | float | None,
        about("As that of an interaction. Default: now; of an import, when that was made."),
    ] = None


class InteractionIn(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A conversation that was answered elsewhere."""

    project: Annotated[
        str | None, about("Its id or key. Default: the project that the key is bound to.")
    ] = None
    messages: Annotated[
        list[StudioMessage], about("The conversation before the answer.", minItems=1)
    ]
    completion: Annotated[
        str | None, about("The answer. Default: the last message, which is the assistant's then.")
    ] = None
    model_service: Annotated[
        str | None,
        about(
            "What answered: the key of a model of the project, the id or alias of another model of"
            " this server, or any name."
        ),
    ] = None
    feedbacks: Annotated[list[RemarkIn] | None, about("What was said of it.")] = None
    user: Annotated[str | None, about("Who asked.")] = None
    session_id: Annotated[
        str | None, about("Groups interactions. Default: a new one.", format="uuid")
    ] = None
    created_at: Annotated[
        str | int | float | None,
        about("RFC 3339, or seconds or milliseconds since the epoch. Default: now."),
    ] = None
    ab_campaign: Annotated[
        str | None,
        about(
            "An active campaign's id or key: feedback then counts for the arm whose model"
            " `model_service` is."
        ),
    ] = None
    labels: LabelsIn = None
    metadata: MetadataIn = None
    tags: TagsIn = None
    completion_id: Annotated[
        str | None,
        about(
            "Your own id for it. The same words with the same id are kept once, and answered the"
            " same; other words are a conflict.",
            format="uuid",
        ),
    ] = None
    tools: Annotated[list[ToolIn] | None, about("The functions that were offered.")] = None


class InteractionAdded(msgspec.Struct, frozen=True, kw_only=True):
    completion_id: Annotated[str, about("Names it, in feedback say.", format="uuid")]
    session_id: Annotated[str, about("As given, or new.", format="uuid")]
    feedback_ids: Annotated[tuple[str, ...], about("In the order of `feedbacks`.")]


class LineAdded(InteractionAdded, frozen=True, kw_only=True):
    line: int
    """Of the body, counted from 1."""


class LinesAdded(msgspec.Struct, frozen=True, kw_only=True):
    """All lines, or none: where one is at fault nothing is imported, and the refusal names each of them."""

    object: str = "list"
    data: tuple[LineAdded, ...]


_body = BodyDecoder(InteractionIn)


def decode_interaction(body: bytes, find: FindProject, now_s: float) -> tuple[Import, list[str]]:
    """What is told, and the names of fields that nobody knows."""
    wire, unknown = _body.decode(body)
    return _import_of(wire, find, now_s, None), [name for name, _ in unknown]


def decode_lines(body: bytes, find: FindProject, now_s: float) -> tuple[list[Import], list[str]]:
    """The same of a body of JSON lines; those that are empty are passed over."""
    imports: list[Import] = []
    faults: list[tuple[int, ClientError]] = []
    ignored: dict[str, None] = {}
    count = 0
    # Not split at once: a body of nothing but line breaks would take sixty times its size.
    for number, line in enumerate(io.BytesIO(body), 1):
        if line.strip():
            count += 1
        elif number <= 2 * MAX_LINES:
            continue
        if count > MAX_LINES or number > 2 * MAX_LINES:
            raise InvalidRequest(
                f"the body has more than {MAX_LINES} lines; send them in several requests",
                param=f"lines[{number}]",
            )
        try:
            wire, unknown = _body.decode(line)
            imports.append(_import_of(wire, find, now_s, number))
            ignored |= dict.fromkeys(name for name, _ in unknown)
        except (InvalidRequest, UnknownEntity) as fault:
            faults.append((number, fault))
    if faults:
        raise faults_of_lines(faults)
    if not imports:
        raise InvalidRequest("the body has no lines; write one JSON object on each", param="lines")
    return imports, list(ignored)


def _import_of(wire: InteractionIn, find: FindProject, now_s: float, line: int | None) -> Import:
    messages = decode_studio_messages(wire.messages)
    messages, completion = _answer_of(messages, wire.completion)
    created_s = moment_s(wire.created_at, "created_at", now_s)
    remarks = wire.feedbacks or []
    if len(remarks) > MAX_REMARKS:
        raise InvalidRequest(f"feedbacks must be at most {MAX_REMARKS}", param="feedbacks")
    told = Conversation(
        messages=messages,
        completion=completion,
        model=name_checked(wire.model_service, "model_service"),
        completion_id=decode_uuid("completion_id", wire.completion_id),
        session_id=decode_uuid("session_id", wire.session_id),
        user=user_checked(wire.user),
        created_s=created_s,
        campaign=name_checked(wire.ab_campaign, "ab_campaign"),
        labels=decode_labels(wire.labels, wire.metadata),
        tags=decode_tags(wire.tags or []),
        tools=_tools(wire.tools or []),
    )
    return Import(
        project=find(wire.project),
        told=told,
        remarks=tuple(
            remark_of(remark, f"feedbacks[{index}].", now_s) for index, remark in enumerate(remarks)
        ),
        line=line,
    )


def _answer_of(
    messages: tuple[Message, ...], completion: str | None
) -> tuple[tuple[Message, ...], tuple[Part, ...]]:
    if completion is not None:
        return messages, (Text(completion),)
    last = messages[-1]
    if last.role != "assistant":
        raise InvalidRequest(
            "completion is required, unless the last message is the assistant's", param="completion"
        )
    if len(messages) == 1:
        raise InvalidRequest(
            "messages must hold a message before the assistant's", param="messages"
        )
    return messages[:-1], last.parts


def _tools(wire: list[ToolIn]) -> tuple[Tool, ...]:
    return tuple(decode_tool(f"tools[{index}]", tool) for index, tool in enumerate(wire))


def remark_of(wire: RemarkIn, prefix: str, now_s: float) -> Remark:
    """`prefix`: of the paths of its fields."""
    return Remark(
        metric=required_name(wire.metric, f"{prefix}metric"),
        value=wire.value,
        reason=words_checked(wire.reason, f"{prefix}reason"),
        details=words_checked(wire.details, f"{prefix}details"),
        created_s=moment_s(wire.created_at, f"{prefix}created_at", now_s),
    )


def user_checked(user: str | None, param: str = "user") -> str | None:
    if user is None:
        return None
    if not user:
        raise InvalidRequest(f"{param} must not be empty", param=param)
    check_user(user)
    return user


def name_checked(name: str | None, param: str) -> str | None:
    return None if name is None else required_name(name, param)


def required_name(name: str, param: str) -> str:
    if not 0 < len(name) <= MAX_NAME_CHARS:
        raise InvalidRequest(f"{param} must have 1 to {MAX_NAME_CHARS} characters", param=param)
    return name


def words_checked(words: str | None, param: str) -> str | None:
    if words is not None and len(words) > MAX_WORDS_CHARS:
        raise InvalidRequest(f"{param} must have at most {MAX_WORDS_CHARS} characters", param=param)
    return words
