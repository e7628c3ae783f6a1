"""Adds interactions and deletes them, within a transaction that is open."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from dragoman.records.interaction import Interaction
from dragoman.records.metric import MetricId
from dragoman.records.project import ProjectId
from dragoman.stores.appending import Appending, Value, positional
from dragoman.stores.compiled import interactions as sql
from dragoman.stores.database import Row
from dragoman.stores.interaction_positions import Positions
from dragoman.stores.interaction_rows import content_text, interaction_of, interaction_row
from dragoman.stores.interaction_terms import metric_term, terms_of, words_term

_ADD_INTERACTIONS = Appending(sql.SQLITE_ADD_INTERACTION)
_ADD_CONTENTS = Appending(sql.SQLITE_ADD_CONTENT)
_ADD_TERMS = Appending(sql.SQLITE_ADD_TERM)
_DELETE_TERM = positional(sql.SQLITE_DELETE_TERM)


def add_interactions(connection: sqlite3.Connection, interactions: Sequence[Interaction]) -> None:
    """Raises `sqlite3.Error` or `ValueError` (`UnicodeError` among them), with any number added."""
    positions = Positions(connection)
    found = connection.execute(sql.SQLITE_LAST_SEQUENCE).fetchone()
    sequence = 0 if found is None else int(found[0])
    rows: list[tuple[Value, ...]] = []
    contents: list[tuple[Value, ...]] = []
    terms: list[tuple[int, int]] = []
    for interaction in interactions:
        sequence += 1
        position = positions.take(interaction.created_s)
        rows.append(interaction_row(interaction, sequence, position))
        terms += [(term, position) for term in terms_of(interaction)]
        if interaction.content is not None:
            contents.append((sequence, content_text(interaction.content)))
    _ADD_INTERACTIONS.add(connection, rows)
    _ADD_CONTENTS.add(connection, contents)
    _ADD_TERMS.add(connection, terms)


def add_metric(connection: sqlite3.Connection, completion_id: str, metric_id: MetricId) -> None:
    """Let the completion be found by feedback of the metric. Raises `sqlite3.Error`."""
    found = connection.execute(
        sql.SQLITE_FIND_POSITION, {"completion_id": completion_id}
    ).fetchone()
    if found is not None:
        _ADD_TERMS.add(connection, [(metric_term(metric_id), found[0])])


def delete_words(
    connection: sqlite3.Connection, project_id: ProjectId, sequence: int, position: int
) -> None:
    """Raises `sqlite3.Error`."""
    connection.execute(sql.SQLITE_DELETE_WORDS, {"position": position})
    connection.execute(sql.SQLITE_DELETE_CONTENT, {"sequence": sequence})
    connection.execute(_DELETE_TERM, (words_term(project_id), position))


def delete_interaction(connection: sqlite3.Connection, row: Row) -> tuple[int, int]:
    """With its words and all that is said of it; how many pieces of feedback, and how many comparisons.

    Raises `sqlite3.Error`.
    """
    sequence, position = row[0], row[1]
    interaction = interaction_of(row)
    named = {"completion_id": interaction.completion_id}
    terms = terms_of(interaction)
    for (metric_id,) in connection.execute(sql.SQLITE_METRICS_OF, named).fetchall():
        terms.append(metric_term(metric_id))
    connection.executemany(_DELETE_TERM, [(term, position) for term in terms])
    delete_words(connection, interaction.project_id, sequence, position)
    feedback = connection.execute(sql.SQLITE_DELETE_FEEDBACK_OF, named).rowcount
    comparisons = connection.execute(sql.SQLITE_DELETE_COMPARISONS_OF, named).rowcount
    connection.execute(sql.SQLITE_DELETE_INTERACTION, {"sequence": sequence})
    return feedback, comparisons
