"""The Protocols of conversations that are kept, and what is said of them; for callers that may wait.

Completions answered here come in through `Accounting.settle`, in the transaction that charges for them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from dragoman.records.account import AccountId
from dragoman.records.campaign import PairScore, Score
from dragoman.records.feedback import Comparison, Feedback, Outcome
from dragoman.records.interaction import Interaction
from dragoman.records.interaction_query import (
    Erasure,
    InteractionFilter,
    InteractionPage,
    KeptInteraction,
)
from dragoman.records.project import ProjectId


class InteractionRepository(Protocol):
    def add_interaction(self, interaction: Interaction) -> None:
        """Raises `Conflict` where there is one with that completion id."""
        ...

    def find_interaction(self, completion_id: str) -> KeptInteraction | None: ...

    def list_interactions(
        self,
        asked: InteractionFilter,
        *,
        before: str | None = None,
        limit: int = 100,
        with_content: bool = True,
    ) -> InteractionPage: ...

    def export_interactions(self, asked: InteractionFilter) -> Iterator[list[KeptInteraction]]:
        """All of them, the oldest first, in chunks between which it may be left."""
        ...

    def index_texts(self, limit: int = 500) -> int:
        """Make interactions that are not yet findable by their words so; returns how many."""
        ...

    def delete_interaction(self, completion_id: str) -> bool:
        """With its feedback and comparisons; whether there was one."""
        ...

    def delete_old_content(self, project_id: ProjectId, before_s: float, limit: int = 1000) -> int:
        """Delete the words of interactions made earlier; returns of how many."""
        ...

    def erase_user(self, account_id: AccountId, user: str) -> Erasure:
        """Delete all that is kept of the account's user, wherever it is; again: nothing."""
        ...


class FeedbackRepository(Protocol):
    """A score is counted in the same transaction, where its campaign is still active: as its unit's first,
    or as a later one."""

    def add_feedback(self, feedback: Feedback, score: Score | None = None) -> None: ...

    def add_comparison(self, comparison: Comparison, score: PairScore | None = None) -> None: ...

    def add_outcome(self, outcome: Outcome) -> None: ...

    def list_outcomes(
        self, project_id: ProjectId, *, session_id: str | None = None, limit: int = 100
    ) -> list[Outcome]:
        """Newest first."""
        ...

    def list_comparisons(
        self, project_id: ProjectId, *, completion_id: str | None = None, limit: int = 100
    ) -> list[Comparison]:
        """Newest first."""
        ...
