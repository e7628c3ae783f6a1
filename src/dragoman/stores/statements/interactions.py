"""How interactions are kept, found and deleted.

Filters may come in any combination, so conditions are pieces, from which `stores/interaction_sql.py` builds
questions: one that a parameter could switch off would keep the database from using an index.
"""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import bindparam, delete, func, insert, or_, select, text
from sqlalchemy.sql import ClauseElement

from dragoman.stores.schema import (
    feedback,
    interaction_contents,
    interaction_terms,
    interactions,
)

_columns = interactions.c
_term = interaction_terms.c

STATEMENTS: Mapping[str, ClauseElement] = {
    # Keeping. A number that was given once is given to no other row, so the greatest does not tell.
    "LAST_SEQUENCE": text("SELECT seq FROM sqlite_sequence WHERE name = 'interactions'"),
    "LAST_POSITION": select(func.max(_columns.position)).where(
        _columns.position >= bindparam("from_position"),
        _columns.position < bindparam("to_position"),
    ),
    "ADD_INTERACTION": insert(interactions).values(
        {column.name: bindparam(column.name) for column in interactions.columns}
    ),
    "ADD_CONTENT": insert(interaction_contents).values(
        sequence=bindparam("sequence"), content=bindparam("content")
    ),
    "ADD_TERM": insert(interaction_terms)
    .prefix_with("OR IGNORE", dialect="sqlite")
    .values(term=bindparam("term"), position=bindparam("position")),
    # Reading.
    "FIND_INTERACTION": select(interactions).where(
        _columns.completion_id == bindparam("completion_id")
    ),
    "FIND_POSITION": select(_columns.position).where(
        _columns.completion_id == bindparam("completion_id")
    ),
    "READ_CONTENT": select(interaction_contents.c.content).where(
        interaction_contents.c.sequence == bindparam("sequence")
    ),
    "FEEDBACK_OF": select(feedback)
    .where(feedback.c.completion_id.in_(text("SELECT value FROM json_each(:completion_ids)")))
    .order_by(feedback.c.sequence),
    "COUNT_TERM": text(
        "SELECT count(*) FROM (SELECT 1 FROM interaction_terms WHERE term = :term"
        " AND position > :after AND position < :before LIMIT :most)"
    ),
    # Where candidates come from, in both orders.
    "WALK_ALL": select(_columns.position).where(
        _columns.position > bindparam("after"), _columns.position < bindparam("before")
    ),
    "WALK_TERM": select(_term.position).where(
        _term.term == bindparam("term"),
        _term.position > bindparam("after"),
        _term.position < bindparam("before"),
    ),
    "WALK_WORDS": text(
        "SELECT rowid AS position FROM interaction_words WHERE interaction_words MATCH :words"
        " AND rowid > :after AND rowid < :before"
    ),
    # Conditions.
    "IS_OF_ACCOUNT": _columns.account_id == bindparam("account_id"),
    "IS_OF_PROJECTS": text(
        "interactions.project_id IN (SELECT value FROM json_each(:project_ids))"
    ),
    "IS_COMPLETION": _columns.completion_id == bindparam("completion_id"),
    "IS_OF_REQUEST": _columns.request_id == bindparam("request_id"),
    "IS_OF_MODEL": or_(
        _columns.model == bindparam("model"), _columns.attached == bindparam("model")
    ).self_group(),
    "IS_OF_SESSION": _columns.session_id == bindparam("session_id"),
    "IS_OF_USER": _columns.end_user == bindparam("user"),
    "IS_OF_NOBODY": _columns.end_user.is_(None),
    "IS_OF_CAMPAIGN": _columns.campaign_id == bindparam("campaign_id"),
    "IS_OF_ARM": _columns.arm == bindparam("arm"),
    "HAS_STATUS": _columns.status == bindparam("status"),
    "HAS_SOURCE": _columns.source == bindparam("source"),
    "SINCE": _columns.created_s >= bindparam("from_s"),
    "UNTIL": _columns.created_s < bindparam("to_s"),
    "UP_TO": _columns.sequence <= bindparam("last"),
    "HAS_METRIC": text(
        "EXISTS (SELECT 1 FROM feedback WHERE feedback.completion_id = interactions.completion_id"
        " AND feedback.metric_id = :metric)"
    ),
    # Words.
    "LAST_INDEXED": text("SELECT value FROM server_values WHERE name = 'interaction_words'"),
    "NEXT_CONTENTS": text(
        "SELECT interactions.sequence, interactions.position, interaction_contents.content"
        " FROM interaction_contents CROSS JOIN interactions"
        " ON interactions.sequence = interaction_contents.sequence"
        " WHERE interaction_contents.sequence > :after ORDER BY interaction_contents.sequence"
        " LIMIT :most"
    ),
    "ADD_WORDS": text("INSERT INTO interaction_words (rowid, words) VALUES (:position, :words)"),
    "DELETE_WORDS": text("DELETE FROM interaction_words WHERE rowid = :position"),
    # A step that rewrites some pages of the index, so that what was deleted from it is gone.
    "MERGE_WORDS": text(
        "INSERT INTO interaction_words (interaction_words, rank) VALUES ('merge', :pages)"
    ),
    # Deleting.
    "DELETE_INTERACTION": delete(interactions).where(_columns.sequence == bindparam("sequence")),
    "DELETE_CONTENT": delete(interaction_contents).where(
        interaction_contents.c.sequence == bindparam("sequence")
    ),
    "DELETE_TERM": delete(interaction_terms).where(
        _term.term == bindparam("term"), _term.position == bindparam("position")
    ),
    "DELETE_FEEDBACK_OF": delete(feedback).where(
        feedback.c.completion_id == bindparam("completion_id")
    ),
    "DELETE_COMPARISONS_OF": text(
        "DELETE FROM comparisons WHERE preferred_id = :completion_id OR other_id = :completion_id"
    ),
    "METRICS_OF": select(feedback.c.metric_id)
    .where(feedback.c.completion_id == bindparam("completion_id"))
    .distinct(),
    "OLD_CONTENTS": text(
        "SELECT interactions.sequence, interactions.position FROM interaction_terms"
        " CROSS JOIN interactions ON interactions.position = interaction_terms.position"
        " WHERE interaction_terms.term = :term AND interaction_terms.position < :before"
        " ORDER BY interaction_terms.position LIMIT :most"
    ),
}
