"""What people and programs say of completions and sessions, and the scores that come of it."""

from __future__ import annotations

import math

from dragoman.errors import InvalidRequest
from dragoman.records.campaign import PairScore, Score
from dragoman.records.feedback import Comparison, Feedback, Outcome
from dragoman.records.project import ProjectId
from dragoman.stores.compiled import feedback as sql
from dragoman.stores.database import Area, Row, Value
from dragoman.stores.interaction_writing import add_metric
from dragoman.stores.paging import page_size
from dragoman.stores.scores import count_pair_score, count_score


class FeedbackArea(Area):
    def add_feedback(self, feedback: Feedback, score: Score | None = None) -> None:
        """Raises `Conflict` where there is feedback with that id."""
        _check(feedback.value)
        taken = f"There is feedback with the id '{feedback.id}' already."
        with self._database.writing(taken) as connection:
            connection.execute(
                sql.SQLITE_ADD_FEEDBACK,
                {
                    "id": feedback.id,
                    "project_id": feedback.project_id,
                    "completion_id": feedback.completion_id,
                    "metric_id": feedback.metric_id,
                    "value": feedback.value,
                    "reason": feedback.reason,
                    "details": feedback.details,
                    "end_user": feedback.user,
                    "created_s": feedback.created_s,
                },
            )
            add_metric(connection, feedback.completion_id, feedback.metric_id)
            if score is not None:
                count_score(self._database, score)

    def add_comparison(self, comparison: Comparison, score: PairScore | None = None) -> None:
        """Raises `Conflict` where there is one with that id."""
        values: dict[str, Value] = {
            "id": comparison.id,
            "project_id": comparison.project_id,
            "metric_id": comparison.metric_id,
            "preferred_id": comparison.preferred_id,
            "other_id": comparison.other_id,
            "tied": comparison.tied,
            "end_user": comparison.user,
            "created_s": comparison.created_s,
        }
        taken = f"There is a comparison with the id '{comparison.id}' already."
        with self._database.transaction():
            self._database.change(sql.SQLITE_ADD_COMPARISON, values, taken=taken)
            if score is not None:
                count_pair_score(self._database, score)

    def add_outcome(self, outcome: Outcome) -> None:
        """Raises `Conflict` where there is one with that id."""
        _check(outcome.value)
        values: dict[str, Value] = {
            "id": outcome.id,
            "project_id": outcome.project_id,
            "session_id": outcome.session_id,
            "metric_id": outcome.metric_id,
            "value": outcome.value,
            "end_user": outcome.user,
            "created_s": outcome.created_s,
        }
        taken = f"There is an outcome with the id '{outcome.id}' already."
        self._database.change(sql.SQLITE_ADD_OUTCOME, values, taken=taken)

    def list_outcomes(
        self, project_id: ProjectId, *, session_id: str | None = None, limit: int = 100
    ) -> list[Outcome]:
        text = sql.SQLITE_LIST_OUTCOMES if session_id is None else sql.SQLITE_LIST_OUTCOMES_OF
        values = {"project_id": project_id, "session_id": session_id}
        with self._database.reading() as connection:
            return [
                _outcome(row)
                for row in connection.execute(text, values).fetchmany(page_size(limit))
            ]

    def list_comparisons(
        self, project_id: ProjectId, *, completion_id: str | None = None, limit: int = 100
    ) -> list[Comparison]:
        is_all = completion_id is None
        text = sql.SQLITE_LIST_COMPARISONS if is_all else sql.SQLITE_LIST_COMPARISONS_OF
        values = {"project_id": project_id, "completion_id": completion_id}
        with self._database.reading() as connection:
            rows = connection.execute(text, values).fetchmany(page_size(limit))
        return [_comparison(row) for row in rows]


def _check(value: float) -> None:
    if not math.isfinite(value):
        raise InvalidRequest("value must be a finite number", param="value")


def _comparison(row: Row) -> Comparison:
    _, id_, project_id, metric_id, preferred_id, other_id, tied, user, created_s = row
    return Comparison(
        id=id_,
        project_id=project_id,
        metric_id=metric_id,
        preferred_id=preferred_id,
        other_id=other_id,
        tied=tied,
        user=user,
        created_s=created_s,
    )


def _outcome(row: Row) -> Outcome:
    _, id_, project_id, session_id, metric_id, value, user, created_s = row
    return Outcome(
        id=id_,
        project_id=project_id,
        session_id=session_id,
        metric_id=metric_id,
        value=value,
        user=user,
        created_s=created_s,
    )
