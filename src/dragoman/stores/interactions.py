"""Interactions: kept, found, exported, and their words made findable and forgotten."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator, Sequence

import msgspec

from dragoman.errors import InvalidRequest
from dragoman.records.feedback import Feedback
from dragoman.records.interaction import Interaction
from dragoman.records.interaction_query import (
    InteractionFilter,
    InteractionPage,
    KeptInteraction,
)
from dragoman.records.project import ProjectId
from dragoman.stores.compiled import interactions as sql
from dragoman.stores.compiled import server_values
from dragoman.stores.database import Area, Row, Values
from dragoman.stores.interaction_positions import AFTER_ALL, first_position
from dragoman.stores.interaction_rows import content_of, feedback_of, interaction_of
from dragoman.stores.interaction_sql import (
    Choice,
    Order,
    choose,
    match_question,
    reads_words,
    walk_question,
)
from dragoman.stores.interaction_terms import words_term
from dragoman.stores.interaction_words import indexed_words
from dragoman.stores.interaction_writing import (
    add_interactions,
    delete_interaction,
    delete_words,
)
from dragoman.stores.paging import page_size

SCANNED_FOR_A_PAGE = 20_000
"""Candidates that are looked at, where that takes an index."""
READ_FOR_A_PAGE = 4_000
"""The same, where it takes their words."""
PAGE_BYTES = 16 << 20
"""Of words on one page, less the last one's."""
EXPORT_CHUNK = 500
INDEXED_BYTES = 8 << 20
"""Of words that one transaction makes findable, less the last one's."""
_BATCH = 2_000
_CURSOR = re.compile("[0-9a-f]{1,16}")
_INDEXED_NAME = "interaction_words"


class InteractionArea(Area):
    def add_interaction(self, interaction: Interaction) -> None:
        taken = (
            f"There is an interaction with the completion id '{interaction.completion_id}' already."
        )
        if not abs(interaction.created_s) < float("inf"):
            raise InvalidRequest("created_s must be a time", param="created_s")
        with self._database.writing(taken) as connection:
            try:
                add_interactions(connection, [interaction])
            except UnicodeDecodeError as error:
                raise InvalidRequest(
                    "The conversation cannot be stored: its JSON is not valid UTF-8."
                ) from error

    def find_interaction(self, completion_id: str) -> KeptInteraction | None:
        with self._database.reading() as connection:
            row = connection.execute(
                sql.SQLITE_FIND_INTERACTION, {"completion_id": completion_id}
            ).fetchone()
            return None if row is None else _kept(connection, [row], with_content=True)[0]

    def list_interactions(
        self,
        asked: InteractionFilter,
        *,
        before: str | None = None,
        limit: int = 100,
        with_content: bool = True,
    ) -> InteractionPage:
        limit = page_size(limit)
        choice = choose(asked)
        if before is not None:
            choice.before = min(choice.before, _position(before))
        with self._database.reading() as connection:
            if asked.completion_id is not None:
                rows, last = _named(connection, choice, asked.completion_id), None
            else:
                rows, last = _walk(connection, choice, "DESC", limit)
            interactions = _kept(connection, rows, with_content=with_content)
        if len(interactions) < len(rows):
            last = rows[len(interactions) - 1][1]
        return InteractionPage(tuple(interactions), None if last is None else f"{last:x}")

    def export_interactions(self, asked: InteractionFilter) -> Iterator[list[KeptInteraction]]:
        """As of the beginning; each chunk is a question of its own, so that nothing stays open for as
        long as somebody takes to read them."""
        choice = choose(asked)
        with self._database.reading() as connection:
            found = connection.execute(sql.SQLITE_LAST_SEQUENCE).fetchone()
        choice.conditions.append(sql.SQLITE_UP_TO.strip())
        choice.values["last"] = 0 if found is None else found[0]
        while True:
            with self._database.reading() as connection:
                rows, last = _walk(connection, choice, "ASC", EXPORT_CHUNK)
                chunk = _kept(connection, rows, with_content=True)
            if len(chunk) < len(rows):
                last = rows[len(chunk) - 1][1]
            if chunk:
                yield chunk
            if last is None:
                return
            choice.after = last

    def index_texts(self, limit: int = 500) -> int:
        """Words are added in the order in which interactions were; a mark says how far."""
        database = self._database
        mark = database.rows(sql.SQLITE_LAST_INDEXED, {})
        after = int(mark[0][0]) if mark else 0
        # What takes time is done before the write lock is taken.
        with database.reading() as connection:
            found = _within_bytes(connection, after, limit)
        if not found:
            return 0
        words = [(sequence, position, indexed_words(text)) for sequence, position, text in found]
        with database.transaction():
            now = database.rows(sql.SQLITE_LAST_INDEXED, {})
            if (int(now[0][0]) if now else 0) != after:
                # Another process did the same meanwhile.
                return 0
            for sequence, position, text in words:
                # What was deleted meanwhile must not come back.
                if database.rows(sql.SQLITE_READ_CONTENT, {"sequence": sequence}):
                    database.change(sql.SQLITE_ADD_WORDS, {"position": position, "words": text})
            database.change(
                server_values.SQLITE_PUT_VALUE,
                {"name": _INDEXED_NAME, "value": str(words[-1][0]).encode()},
            )
        return len(words)

    def delete_interaction(self, completion_id: str) -> bool:
        with self._database.writing() as connection:
            row = connection.execute(
                sql.SQLITE_FIND_INTERACTION, {"completion_id": completion_id}
            ).fetchone()
            if row is None:
                return False
            delete_interaction(connection, row)
        return True

    def delete_old_content(self, project_id: ProjectId, before_s: float, limit: int = 1000) -> int:
        values: Values = {
            "term": words_term(project_id),
            "before": first_position(before_s),
            "most": limit,
        }
        with self._database.writing() as connection:
            old = connection.execute(sql.SQLITE_OLD_CONTENTS, values).fetchall()
            for sequence, position in old:
                delete_words(connection, project_id, sequence, position)
        return len(old)


def _position(before: str) -> int:
    """Raises `InvalidRequest` for what no page has named."""
    position = int(before, 16) if _CURSOR.fullmatch(before) else -1
    if not 0 <= position <= AFTER_ALL:
        raise InvalidRequest(
            "before names no page; give what the page before it said", param="before"
        )
    return position


def _named(connection: sqlite3.Connection, choice: Choice, completion_id: str) -> list[Row]:
    found = connection.execute(
        sql.SQLITE_FIND_POSITION, {"completion_id": completion_id}
    ).fetchone()
    if found is None or choice.is_vain or not choice.after < found[0] < choice.before:
        return []
    text, values = match_question(choice)
    return connection.execute(text, {**values, "positions": f"[{found[0]}]"}).fetchall()


def _walk(
    connection: sqlite3.Connection, choice: Choice, order: Order, limit: int
) -> tuple[list[Row], int | None]:
    """Rows in order, and where to go on; `None`: there are no more."""
    if choice.is_vain or not _choose_source(connection, choice):
        return [], None
    most = READ_FOR_A_PAGE if reads_words(choice) else SCANNED_FOR_A_PAGE
    text, values = match_question(choice)
    candidates = connection.execute(*walk_question(choice, order))
    found: list[Row] = []
    looked_at, batch, is_end = 0, limit + 1, False
    last = choice.before
    while len(found) <= limit and looked_at < most and not is_end:
        size = min(batch, most - looked_at)
        positions = [row[0] for row in candidates.fetchmany(size)]
        is_end = len(positions) < size
        if positions:
            last = positions[-1]
            values["positions"] = msgspec.json.encode(positions).decode()
            rows = connection.execute(text, values).fetchall()
            found += sorted(rows, key=_position_of, reverse=order == "DESC")
            looked_at += len(positions)
        batch = min(2 * batch, _BATCH)
    candidates.close()
    if len(found) > limit:
        return found[:limit], found[limit - 1][1]
    return found, None if is_end else last


def _position_of(row: Row) -> int:
    return int(row[1])


def _choose_source(connection: sqlite3.Connection, choice: Choice) -> bool:
    """Find the shortest list of candidates, without reading much of any; whether there can be any."""
    least = SCANNED_FOR_A_PAGE
    choice.source, choice.term = "all", None
    bounds: dict[str, int] = {"after": choice.after, "before": choice.before}
    for term in choice.terms:
        values = {**bounds, "term": term, "most": least}
        count = connection.execute(sql.SQLITE_COUNT_TERM, values).fetchone()[0]
        if count == 0:
            return False
        if count < least or choice.term is None:
            choice.source, choice.term, least = "term", term, count
    if choice.words is not None and least > READ_FOR_A_PAGE:
        choice.source, choice.term = "words", None
    return True


def _kept(
    connection: sqlite3.Connection, rows: Sequence[Row], *, with_content: bool
) -> list[KeptInteraction]:
    """Fewer than the rows, where they have too many words for one page."""
    interactions: list[tuple[int, Interaction]] = []
    size = 0
    for row in rows:
        if size > PAGE_BYTES:
            break
        interaction = interaction_of(row)
        if with_content:
            text = _content_text(connection, row[0])
            if text is not None:
                size += len(text)
                interaction = msgspec.structs.replace(interaction, content=content_of(text))
        interactions.append((row[0], interaction))
    feedback = _feedback(connection, [each.completion_id for _, each in interactions])
    return [
        KeptInteraction(sequence, each, tuple(feedback.get(each.completion_id, ())))
        for sequence, each in interactions
    ]


def _feedback(
    connection: sqlite3.Connection, completion_ids: list[str]
) -> dict[str, list[Feedback]]:
    found: dict[str, list[Feedback]] = {}
    listed = {"completion_ids": msgspec.json.encode(completion_ids).decode()}
    for row in connection.execute(sql.SQLITE_FEEDBACK_OF, listed):
        each = feedback_of(row)
        found.setdefault(each.completion_id, []).append(each)
    return found


def _content_text(connection: sqlite3.Connection, sequence: int) -> str | None:
    row = connection.execute(sql.SQLITE_READ_CONTENT, {"sequence": sequence}).fetchone()
    return None if row is None else str(row[0])


def _within_bytes(
    connection: sqlite3.Connection, after: int, limit: int
) -> list[tuple[int, int, str]]:
    found: list[tuple[int, int, str]] = []
    size = 0
    for sequence, position, text in connection.execute(
        sql.SQLITE_NEXT_CONTENTS, {"after": after, "most": limit}
    ):
        found.append((sequence, position, text))
        size += len(text)
        if size > INDEXED_BYTES:
            break
    return found
