"""Builds questions about interactions out of compiled pieces.

A page is found in two steps. Candidates are positions, in the order of pages, from one list: the shortest
of those that the filter names, the index of words, or all. Each batch of candidates is then compared with
the whole filter. So the work for a page is bounded by how many candidates are looked at, whatever is asked.
"""

from __future__ import annotations

import math
from typing import Literal

import msgspec

from dragoman.errors import InvalidRequest
from dragoman.records.interaction_query import InteractionFilter
from dragoman.stores.compiled import interactions as sql
from dragoman.stores.database import Value
from dragoman.stores.interaction_positions import (
    AFTER_ALL,
    BEFORE_ALL,
    first_position,
    last_position,
)
from dragoman.stores.interaction_terms import terms_asked
from dragoman.stores.interaction_words import WordsAsked, words_asked

MAX_LABELS_AND_TAGS = 32

Source = Literal["all", "term", "words"]
Order = Literal["ASC", "DESC"]
_WALKS: dict[Source, str] = {
    "all": sql.SQLITE_WALK_ALL,
    "term": sql.SQLITE_WALK_TERM,
    "words": sql.SQLITE_WALK_WORDS,
}


class Choice(msgspec.Struct):
    """Which interactions are meant, in terms of SQL."""

    terms: list[int]
    words: WordsAsked | None
    conditions: list[str]
    """What a row has to fulfil, all of it."""
    values: dict[str, Value]
    after: int = BEFORE_ALL
    before: int = AFTER_ALL
    """Positions between which they are, exclusive."""
    source: Source = "all"
    term: int | None = None
    """The one that candidates come from."""

    @property
    def is_vain(self) -> bool:
        """No interaction can be meant."""
        return (self.words is not None and not self.words.words) or self.before <= self.after + 1


def choose(asked: InteractionFilter) -> Choice:
    """Raises `InvalidRequest` for times that are none, and for more than can be asked at once."""
    if len(asked.labels) + len(asked.tags) > MAX_LABELS_AND_TAGS:
        raise InvalidRequest(
            f"the filter names more than {MAX_LABELS_AND_TAGS} labels and tags; name fewer",
            param="labels",
        )
    words = None if asked.text is None else words_asked(asked.text)
    choice = Choice(terms_asked(asked), words, [], {})
    for value, name, condition in (
        (asked.account_id, "account_id", sql.SQLITE_IS_OF_ACCOUNT),
        (asked.completion_id, "completion_id", sql.SQLITE_IS_COMPLETION),
        (asked.request_id, "request_id", sql.SQLITE_IS_OF_REQUEST),
        (asked.model, "model", sql.SQLITE_IS_OF_MODEL),
        (asked.session_id, "session_id", sql.SQLITE_IS_OF_SESSION),
        (asked.user, "user", sql.SQLITE_IS_OF_USER),
        (asked.campaign_id, "campaign_id", sql.SQLITE_IS_OF_CAMPAIGN),
        (asked.arm, "arm", sql.SQLITE_IS_OF_ARM),
        (asked.status, "status", sql.SQLITE_HAS_STATUS),
        (asked.source, "source", sql.SQLITE_HAS_SOURCE),
        (asked.metric, "metric", sql.SQLITE_HAS_METRIC),
    ):
        if value is not None:
            _restrict(choice, condition, **{name: value})
    if asked.project_ids is not None:
        listed = msgspec.json.encode(asked.project_ids).decode()
        _restrict(choice, sql.SQLITE_IS_OF_PROJECTS, project_ids=listed)
        if not asked.project_ids:
            choice.before = choice.after
    _restrict_labels(choice, asked)
    _restrict_times(choice, asked)
    return choice


def _restrict(choice: Choice, condition: str, **values: Value) -> None:
    choice.conditions.append(condition.strip())
    choice.values.update(values)


def _restrict_labels(choice: Choice, asked: InteractionFilter) -> None:
    for number, (name, value) in enumerate(asked.labels):
        text = (
            "EXISTS (SELECT 1 FROM json_each(interactions.labels) AS label"  # noqa: S608 - a number
            f" WHERE label.key = :label_{number}"
        )
        _restrict(choice, text + ")", **{f"label_{number}": name})
        if value is not None:
            choice.conditions[-1] = f"{text} AND label.value = :value_{number})"
            choice.values[f"value_{number}"] = value
    for number, tag in enumerate(asked.tags):
        _restrict(
            choice,
            "EXISTS (SELECT 1 FROM json_each(interactions.tags) AS tag"  # noqa: S608 - a number
            f" WHERE tag.value = :tag_{number})",
            **{f"tag_{number}": tag},
        )


def _restrict_times(choice: Choice, asked: InteractionFilter) -> None:
    for moment_s, name in ((asked.from_s, "from_s"), (asked.to_s, "to_s")):
        if moment_s is not None and math.isnan(moment_s):
            raise InvalidRequest(f"{name} must be a time", param=name)
    if asked.from_s is not None:
        _restrict(choice, sql.SQLITE_SINCE, from_s=asked.from_s)
        choice.after = max(choice.after, first_position(asked.from_s) - 1)
    if asked.to_s is not None:
        _restrict(choice, sql.SQLITE_UNTIL, to_s=asked.to_s)
        choice.before = min(choice.before, last_position(asked.to_s))


def walk_question(choice: Choice, order: Order) -> tuple[str, dict[str, Value]]:
    """Candidates' positions, in order."""
    values: dict[str, Value] = {"after": choice.after, "before": choice.before}
    if choice.source == "term":
        values["term"] = choice.term
    elif choice.source == "words" and choice.words is not None:
        values["words"] = choice.words.match
    column = {"all": "interactions.position", "term": "interaction_terms.position"}.get(
        choice.source, "rowid"
    )
    return f"{_WALKS[choice.source].strip()} ORDER BY {column} {order}", values


def match_question(choice: Choice) -> tuple[str, dict[str, Value]]:
    """Those of the candidates `:positions` that are meant: whole rows, in any order."""
    values = dict(choice.values)
    conditions = list(choice.conditions)
    probes = []
    for number, term in enumerate(choice.terms):
        if term != choice.term:
            # An index alone tells, before the row is looked up.
            probes.append(
                "EXISTS (SELECT 1 FROM interaction_terms WHERE"  # noqa: S608 - a number
                f" term = :term_{number} AND position = candidate.value)"
            )
            values[f"term_{number}"] = term
    if reads_words(choice) and choice.words is not None:
        pieces = choice.words.phrases if choice.source == "words" else choice.words.words
        for number, piece in enumerate(dict.fromkeys([*pieces, *choice.words.phrases])):
            conditions.append(
                "EXISTS (SELECT 1 FROM interaction_words AS indexed"  # noqa: S608 - a number
                " WHERE indexed.rowid = interactions.position"
                f" AND instr(' ' || indexed.words || ' ', :piece_{number}) > 0)"
            )
            values[f"piece_{number}"] = f" {piece} "
    where = " AND ".join([*probes, *conditions]) or "1"
    text = (
        "SELECT interactions.* FROM json_each(:positions) AS candidate"  # noqa: S608 - pieces of ours
        f" CROSS JOIN interactions ON interactions.position = candidate.value WHERE {where}"
    )
    return text, values


def reads_words(choice: Choice) -> bool:
    """Whether each candidate's words have to be read: the index knows of no phrases."""
    if choice.words is None:
        return False
    return choice.source != "words" or bool(choice.words.phrases)
