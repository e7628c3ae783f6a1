"""Deletes all that is kept of one user, wherever it is.

What has no user's name, but is of a session in which only this user has one, is the user's too. Sums stay:
of usage, and of campaigns, whose units lose their names. The order lets a call that was cut off be made
again: nothing that others are found by goes before them.

In short transactions, so that requests are settled meanwhile. Deleted content is overwritten
(`secure_delete`), the index of words is rewritten, and at the end the write-ahead log is emptied.
"""

from __future__ import annotations

import logging
import secrets
import time
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

import msgspec

from dragoman.records.account import AccountId
from dragoman.records.interaction_query import Erasure
from dragoman.stores.compiled import erasure as sql
from dragoman.stores.compiled import interactions as interactions_sql
from dragoman.stores.connection import BUSY_TIMEOUT_S
from dragoman.stores.database import Area, Row, Value, Values
from dragoman.stores.erased_labels import mark_erased_labels
from dragoman.stores.interaction_positions import BEFORE_ALL
from dragoman.stores.interaction_terms import session_term, user_term
from dragoman.stores.interaction_writing import delete_interaction
from dragoman.stores.usage_archives import ARCHIVE_DIR, Person, erase_from_archives

_log = logging.getLogger("dragoman.stores")

CHUNK = 100
USAGE_CHUNK = 20_000
UPDATED_AT_ONCE = 500
MERGED_PAGES = 250
"""Of one step in which the index of words is rewritten: about 50 ms."""
PAUSE_S = 0.01
"""Between transactions, so that others come in."""
CHECKPOINT_TRIES = 50
_DAY_S = 86_400


class _Usage(NamedTuple):
    sequence: int
    started_s: float
    request_id: str
    user: str | None
    session_id: str | None
    has_labels: bool


class ErasureArea(Area):
    def erase_user(self, account_id: AccountId, user: str) -> Erasure:
        counts: Counter[str] = Counter()
        person = Person(account_id, user, self._sessions(account_id, user))
        usage = self._usage_of(person)
        counts["kept_answers"] = self._delete_answers(usage)
        counts["usage_records"] = self._forget_usage(account_id, usage)
        counts["archives"] = erase_from_archives(self._database.directory / ARCHIVE_DIR, person)
        self._erase_opinions(person, counts)
        units = self._erase_interactions(person, counts)
        self._forget_units(person, units)
        if counts["interactions"]:
            self._rewrite_words()
        self._empty_log()
        return Erasure(**counts)

    # --- What is meant ---

    def _sessions(self, account_id: AccountId, user: str) -> frozenset[str]:
        values: Values = {
            "term": user_term(user),
            "after": BEFORE_ALL,
            "account_id": account_id,
            "user": user,
        }
        with self._database.reading() as connection:
            rows = connection.execute(sql.SQLITE_SESSIONS_OF_USER, values).fetchall()
        found = {str(row[0]) for row in rows}
        for each in self._usage(account_id):
            if each.user == user and each.session_id is not None:
                found.add(each.session_id)
        return frozenset(found)

    def _usage(self, account_id: AccountId) -> Iterator[_Usage]:
        after: tuple[float, int] = (float("-inf"), 0)
        while True:
            values = {
                "account_id": account_id,
                "after_s": after[0],
                "after": after[1],
                "most": USAGE_CHUNK,
            }
            with self._database.reading() as connection:
                rows = connection.execute(sql.SQLITE_USAGE_OF_ACCOUNT, values).fetchall()
            yield from map(_Usage._make, rows)
            if len(rows) < USAGE_CHUNK:
                return
            after = (rows[-1][1], rows[-1][0])

    def _usage_of(self, person: Person) -> list[_Usage]:
        """Those that are found by a session first: without the others nobody would know of it."""
        found = [
            each
            for each in self._usage(AccountId(person.account_id))
            if person.is_meant(each.user, each.session_id)
        ]
        return sorted(found, key=lambda each: each.user is not None)

    # --- Usage ---

    def _delete_answers(self, usage: Sequence[_Usage]) -> int:
        deleted = 0
        for chunk in _chunks(usage, USAGE_CHUNK):
            listed = msgspec.json.encode([each.request_id for each in chunk]).decode()
            deleted += self._database.change(sql.SQLITE_DELETE_ANSWERS, {"request_ids": listed})
        return deleted

    def _forget_usage(self, account_id: AccountId, usage: Sequence[_Usage]) -> int:
        for chunk in _chunks(usage, UPDATED_AT_ONCE):
            listed = msgspec.json.encode([each.sequence for each in chunk]).decode()
            days = {int(each.started_s // _DAY_S) for each in chunk if each.has_labels}
            with self._database.writing() as connection:
                connection.execute(sql.SQLITE_FORGET_USAGE, {"sequences": listed})
                mark_erased_labels(connection, account_id, days)
            time.sleep(PAUSE_S)
        return len(usage)

    # --- Interactions and what is said of them ---

    def _erase_opinions(self, person: Person, counts: Counter[str]) -> None:
        whose = {"user": person.user, "account_id": person.account_id}
        change = self._database.change
        counts["feedback"] += change(sql.SQLITE_DELETE_FEEDBACK, whose)
        counts["comparisons"] += change(sql.SQLITE_DELETE_COMPARISONS, whose)
        sessions = {
            "account_id": person.account_id,
            "sessions": msgspec.json.encode(sorted(person.sessions)).decode(),
        }
        counts["outcomes"] += change(sql.SQLITE_DELETE_OUTCOMES_OF_SESSIONS, sessions)
        counts["outcomes"] += change(sql.SQLITE_DELETE_OUTCOMES, whose)

    def _erase_interactions(self, person: Person, counts: Counter[str]) -> set[str]:
        """Returns the units that they counted for."""
        units: set[str] = set()
        of_account: dict[str, Value] = {"account_id": person.account_id}
        for session_id in sorted(person.sessions):
            named = {**of_account, "term": session_term(session_id), "session_id": session_id}
            self._delete_all(sql.SQLITE_INTERACTIONS_OF_SESSION, named, counts, units)
        named = {**of_account, "term": user_term(person.user), "user": person.user}
        self._delete_all(sql.SQLITE_INTERACTIONS_OF_USER, named, counts, units)
        return units

    def _delete_all(
        self, question: str, named: Values, counts: Counter[str], units: set[str]
    ) -> None:
        after = BEFORE_ALL
        while True:
            with self._database.writing() as connection:
                values = {**named, "after": after, "most": CHUNK}
                rows: list[Row] = connection.execute(question, values).fetchall()
                for row in rows:
                    feedback, comparisons = delete_interaction(connection, row)
                    counts.update(interactions=1, feedback=feedback, comparisons=comparisons)
                    if row[_UNIT] is not None:
                        units.add(row[_UNIT])
            if len(rows) < CHUNK:
                return
            after = rows[-1][1]
            time.sleep(PAUSE_S)

    def _forget_units(self, person: Person, units: Collection[str]) -> None:
        names = {f"user:{person.user}", *units}
        names.update(f"session:{session_id}" for session_id in person.sessions)
        listed = msgspec.json.encode(sorted(names)).decode()
        of_account = {"account_id": person.account_id}
        with self._database.writing() as connection:
            for (campaign_id,) in connection.execute(
                sql.SQLITE_CAMPAIGNS_OF_ACCOUNT, of_account
            ).fetchall():
                campaign = {"campaign_id": campaign_id}
                connection.execute(sql.SQLITE_FORGET_UNITS, {**campaign, "units": listed})
                for (unit,) in connection.execute(sql.SQLITE_PAIR_UNITS, campaign).fetchall():
                    if _names_any(unit, names):
                        erased = f"erased:{secrets.token_hex(16)}"
                        values = {**campaign, "unit": unit, "erased": erased}
                        connection.execute(sql.SQLITE_FORGET_PAIR_UNIT, values)

    # --- Really gone ---

    def _rewrite_words(self) -> None:
        """Step by step: what was deleted from the index stays in its older pages until they are merged."""
        pages = -MERGED_PAGES
        while True:
            with self._database.writing() as connection:
                before = connection.total_changes
                connection.execute(interactions_sql.SQLITE_MERGE_WORDS, {"pages": pages})
                # As SQLite documents it: fewer than two changes, and there was nothing left to merge.
                is_done = connection.total_changes - before < 2 and pages > 0
            if is_done:
                return
            pages = MERGED_PAGES
            time.sleep(PAUSE_S)

    def _empty_log(self) -> None:
        """A reader may be in the way, and waiting for it would keep writers waiting, too: so ask often."""
        for _ in range(CHECKPOINT_TRIES):
            self._database.rows("PRAGMA busy_timeout=20", {})
            try:
                is_busy = self._database.rows("PRAGMA wal_checkpoint(TRUNCATE)", {})[0][0]
            finally:
                self._database.rows(f"PRAGMA busy_timeout={int(BUSY_TIMEOUT_S * 1000)}", {})
            if not is_busy:
                return
            time.sleep(PAUSE_S * 10)
        _log.warning(
            "what was erased is deleted, and stays readable in the database's write-ahead log until"
            " that is emptied: when the server is stopped, at the latest"
        )


_UNIT = 18
"""Where a row of the table has it."""


def _names_any(unit: str, names: Collection[str]) -> bool:
    """A unit of two has both their names, with `|` between them, which may be in a name, too."""
    if unit in names:
        return True
    at = unit.find("|")
    while at >= 0:
        if unit[:at] in names or unit[at + 1 :] in names:
            return True
        at = unit.find("|", at + 1)
    return False


def _chunks(usage: Sequence[_Usage], size: int) -> Iterator[Sequence[_Usage]]:
    for at in range(0, len(usage), size):
        yield usage[at : at + size]
