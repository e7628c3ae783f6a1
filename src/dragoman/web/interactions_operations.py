"""What the interface description says of conversations and feedback, with examples that can be sent."""

from __future__ import annotations

from typing import Any

import msgspec

from dragoman import errors
from dragoman.chat import NanoUSD, Usage
from dragoman.policy.interactions.exports import chat_line, full_line
from dragoman.policy.interactions.rows import Names, interaction_row
from dragoman.ports import Dialect, Example
from dragoman.records.account import AccountId
from dragoman.records.feedback import Feedback
from dragoman.records.interaction import Interaction, InteractionContent
from dragoman.records.interaction_query import KeptInteraction
from dragoman.records.metric import MetricId
from dragoman.records.project import ProjectId
from dragoman.web.feedback import (
    ComparisonAdded,
    ComparisonIn,
    FeedbackAdded,
    FeedbackIn,
    OutcomeAdded,
    OutcomeIn,
)
from dragoman.web.interactions import PARAMETERS, InteractionDeleted, InteractionsPage
from dragoman.web.interactions_wire import MAX_LINES, InteractionAdded, InteractionIn, LinesAdded
from dragoman.web.openapi import (
    Answer,
    Content,
    Operation,
    PathParameter,
    QueryParameter,
    error_answers,
)

FAMILY = "conversations"

_COMPLETION = "76d1fab3-214c-47ef-bb04-16270639bf89"
_OTHER = "0d6f2c1e-6a43-4f0b-9d1e-2b7c8a9e4f10"
_SESSION = "3c90c3cc-0d44-4b50-8888-8dd25736052a"
_FEEDBACK = "5f0c6a52-7b1d-4a86-8f0e-1c2d3e4f5a6b"
_CREATED_S = 1_767_225_600.0
_PROJECT, _METRIC = ProjectId("proj_0123456789abcdefghij"), MetricId(_FEEDBACK)
_QUESTION = {"role": "user", "content": "Where is my parcel?"}
_ANSWER = {"role": "assistant", "content": "It is on its way."}

_IDEMPOTENCY_KEY = (
    "Idempotency-Key",
    "Your own name for this request, of 1 to 255 characters: sent again with the same key, it is"
    " answered with the same ids, and nothing is kept twice. With another body: 409.",
)
_NO_PROJECT = errors.UnknownEntity(
    "project 'a-project' does not exist", entity="project", param="project"
)
_NO_METRIC = errors.UnknownEntity(
    "metric 'a-metric' is none of the project 'support', which has 'helpful'",
    entity="metric",
    param="metric",
)
_NO_COMPLETION = errors.UnknownEntity(
    f"completion '{_OTHER}' is not known", entity="completion", param="completion_id"
)
_BEFORE = (
    errors.Unauthenticated(),
    errors.Forbidden("This key may not use the project 'support': its scopes do not list it."),
    errors.RateLimited(retry_after_s=1),
    errors.StoreUnavailable(retry_after_s=1),
)
_BODY = (
    errors.MalformedBody(),
    errors.BodyTooLarge(),
    errors.Conflict("The Idempotency-Key was used for something else; use another."),
    *_BEFORE,
)


def conversation_operations(dialect: Dialect) -> list[Operation]:
    """`dialect` tells of their errors."""
    return [
        _list(dialect),
        _add(dialect),
        _one(dialect),
        _delete(dialect),
        _feedback(dialect),
        _comparison(dialect),
        _outcome(dialect),
    ]


def _kept() -> KeptInteraction:
    content = InteractionContent(
        messages=msgspec.Raw(msgspec.json.encode([_QUESTION])),
        completion=msgspec.Raw(msgspec.json.encode(_ANSWER)),
    )
    interaction = Interaction(
        completion_id=_COMPLETION,
        request_id="req_69b0c1d20123456789abcdef",
        project_id=_PROJECT,
        account_id=AccountId("acct_default"),
        created_s=_CREATED_S,
        session_id=_SESSION,
        user="ada",
        attached="fast",
        model="smollm2-135m-instruct",
        labels=(("team", "support"),),
        tags=("parcel",),
        finish_reason="stop",
        usage=Usage(input_tokens=14, output_tokens=8),
        cost_nano_usd=NanoUSD(1_500),
        first_token_ms=31.5,
        total_ms=182.0,
        content=content,
    )
    feedback = Feedback(
        id=_FEEDBACK,
        project_id=_PROJECT,
        completion_id=_COMPLETION,
        metric_id=_METRIC,
        value=1.0,
        reason="It was right.",
        created_s=_CREATED_S + 60,
    )
    return KeptInteraction(1, interaction, (feedback,))


_NAMES = Names({_PROJECT: "support"}, {_METRIC: "helpful"})


def _shown(value: Any) -> Any:
    return msgspec.json.decode(msgspec.json.encode(value))


def _success(description: str, type_: Any, example: Any) -> Answer:
    content = Content(type=type_, examples=(("answer", _shown(example)),))
    return Answer(status=200, description=description, contents=(content,))


def _list(dialect: Dialect) -> Operation:
    kept = _kept()
    row = interaction_row(kept, _NAMES)
    page = InteractionsPage(data=(row,), has_more=True, next_cursor="65c3e5a0c6800001")
    lines = ((chat_line(kept) or b"") + b"\n").decode()
    return Operation(
        method="get",
        path="/api/v1/interactions",
        id="interactions",
        family=FAMILY,
        summary="Conversations of the projects that the key may use: a page, or all as a file",
        description="Every parameter that is given has to hold. With `format=jsonl`, or"
        " `Accept: application/jsonl`, everything that matches comes as one file, the oldest first, in"
        " the form that fine-tuning tools read: one conversation a line, the rendered system prompt"
        " first, the answer last; of those that were answered and whose words are kept.",
        query_parameters=tuple(
            QueryParameter(name, description) for name, description in PARAMETERS.items()
        ),
        answers=(
            Answer(
                status=200,
                description="A page; or a file.",
                contents=(
                    Content(type=InteractionsPage, examples=(("page", _shown(page)),)),
                    Content(
                        media_type="application/jsonl",
                        examples=(
                            ("jsonl", lines),
                            ("jsonl-full", full_line(kept, _NAMES).decode() + "\n"),
                        ),
                    ),
                ),
            ),
            *error_answers(
                dialect,
                (
                    errors.InvalidRequest("'x' is not a parameter here", param="x"),
                    _NO_PROJECT,
                    *_BEFORE,
                ),
            ),
        ),
    )


def _add(dialect: Dialect) -> Operation:
    body = {
        "project": "support",
        "model_service": "fast",
        "messages": [_QUESTION],
        "completion": _ANSWER["content"],
    }
    added = InteractionAdded(
        completion_id=_COMPLETION, session_id=_SESSION, feedback_ids=(_FEEDBACK,)
    )
    return Operation(
        method="post",
        path="/api/v1/interactions",
        id="add_interaction",
        family=FAMILY,
        summary="Tell of a conversation that was answered elsewhere",
        description="The project's rules hold for it: what is redacted, and whether words are kept at all."
        f"\n\nWith `Content-Type: application/jsonl` the body is a file of up to {MAX_LINES} of them, one a"
        " line: all are kept, or none, and a refusal names each line at fault. `?project=` names the"
        " project of lines that name none, so that a file for fine-tuning can be read in as it is.",
        query_parameters=(
            QueryParameter("project", "Of what names none in the body: a project's id or key."),
        ),
        request_headers=(_IDEMPOTENCY_KEY,),
        request=InteractionIn,
        examples=(
            Example(name="plain", summary="A question and its answer", body=body),
            Example(
                name="full",
                summary="With what was said of it",
                body={
                    **body,
                    "completion_id": _COMPLETION,
                    "session_id": _SESSION,
                    "user": "0b0c8a0e-9a5e-4b8e-8a57-2f2f7d1b3c22",
                    "created_at": "2026-01-01T00:00:00Z",
                    "labels": {"team": "support"},
                    "tags": ["parcel"],
                    "feedbacks": [{"metric": "helpful", "value": True, "reason": "It was right."}],
                },
            ),
        ),
        answers=(
            Answer(
                status=200,
                description="Its ids; of a file, those of each line.",
                contents=(
                    Content(
                        type=InteractionAdded | LinesAdded, examples=(("answer", _shown(added)),)
                    ),
                ),
            ),
            *error_answers(
                dialect,
                (
                    errors.InvalidRequest("completion is required", param="completion"),
                    _NO_PROJECT,
                    *_BODY,
                ),
            ),
        ),
    )


def _one(dialect: Dialect) -> Operation:
    row = interaction_row(_kept(), _NAMES)
    return Operation(
        method="get",
        path="/api/v1/interactions/{completion_id}",
        id="interaction",
        family=FAMILY,
        summary="One conversation, with what was said of it",
        path_parameters=(PathParameter("completion_id", "Its completion id.", _COMPLETION),),
        answers=(
            _success("The interaction.", type(row), row),
            *error_answers(dialect, (_NO_COMPLETION, *_BEFORE)),
        ),
    )


def _delete(dialect: Dialect) -> Operation:
    gone = InteractionDeleted(completion_id=_COMPLETION)
    return Operation(
        method="delete",
        path="/api/v1/interactions/{completion_id}",
        id="delete_interaction",
        family=FAMILY,
        summary="Delete one conversation, with what was said of it",
        description="What it cost stays in the books. That it was deleted, and by which key, is on record.",
        path_parameters=(PathParameter("completion_id", "Its completion id.", _COMPLETION),),
        answers=(
            _success("It is gone.", InteractionDeleted, gone),
            *error_answers(dialect, (_NO_COMPLETION, *_BEFORE)),
        ),
    )


def _feedback(dialect: Dialect) -> Operation:
    return Operation(
        method="post",
        path="/api/v1/feedback",
        id="add_feedback",
        family=FAMILY,
        summary="Give a completion a value",
        description="Counts in the campaign that the completion was made in, if its metric is this one.",
        request_headers=(_IDEMPOTENCY_KEY,),
        request=FeedbackIn,
        examples=(
            Example(
                name="thumb",
                summary="A thumb up",
                body={
                    "completion_id": _COMPLETION,
                    "metric": "helpful",
                    "value": True,
                    "reason": "It was right.",
                },
            ),
        ),
        answers=(
            _success("It is kept.", FeedbackAdded, FeedbackAdded(_FEEDBACK)),
            *error_answers(
                dialect,
                (
                    errors.InvalidRequest(
                        "value 2 does not fit the metric 'helpful', which is of kind bool: use 0, 1,"
                        " true or false",
                        param="value",
                    ),
                    _NO_COMPLETION,
                    _NO_METRIC,
                    *_BODY,
                ),
            ),
        ),
    )


def _comparison(dialect: Dialect) -> Operation:
    named = {"project": "support", "metric": "helpful"}
    return Operation(
        method="post",
        path="/api/v1/comparison",
        id="add_comparison",
        family=FAMILY,
        summary="Prefer one completion to another",
        request_headers=(_IDEMPOTENCY_KEY,),
        request=ComparisonIn,
        examples=(
            Example(
                name="completions",
                summary="Two completions of the project",
                body={
                    **named,
                    "preferred_completion": _COMPLETION,
                    "other_completion": _OTHER,
                },
            ),
            Example(
                name="texts",
                summary="Two texts, which are kept as interactions; both are good",
                body={
                    **named,
                    "messages": [_QUESTION],
                    "preferred_completion": {"text": "It is on its way.", "model": "fast"},
                    "other_completion": {"text": "It comes tomorrow.", "model": "wise"},
                    "tied": "good",
                },
            ),
        ),
        answers=(
            _success("It is kept.", ComparisonAdded, ComparisonAdded(_FEEDBACK)),
            *error_answers(
                dialect,
                (
                    errors.InvalidRequest(
                        "other_completion is the same completion as preferred_completion; compare two",
                        param="other_completion",
                    ),
                    _NO_COMPLETION,
                    _NO_METRIC,
                    *_BODY,
                ),
            ),
        ),
    )


def _outcome(dialect: Dialect) -> Operation:
    return Operation(
        method="post",
        path="/api/v1/outcome",
        id="add_outcome",
        family=FAMILY,
        summary="Give a whole session a value",
        request_headers=(_IDEMPOTENCY_KEY,),
        request=OutcomeIn,
        examples=(
            Example(
                name="solved",
                summary="The case was solved",
                body={
                    "project_id": "support",
                    "metric": "helpful",
                    "value": 1,
                    "session_id": _SESSION,
                },
            ),
        ),
        answers=(
            _success("It is kept.", OutcomeAdded, OutcomeAdded(_FEEDBACK)),
            *error_answers(
                dialect,
                (
                    errors.InvalidRequest("session_id '7' is not a UUID", param="session_id"),
                    errors.UnknownEntity(
                        f"session '{_SESSION}' has no interactions in the project 'support'",
                        entity="session",
                        param="session_id",
                    ),
                    _NO_METRIC,
                    *_BODY,
                ),
            ),
        ),
    )
