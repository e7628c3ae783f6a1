"""Interactions, as administrators see, export and delete them: of every project, archived ones too."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from dragoman.errors import InvalidRequest, UnknownEntity
from dragoman.policy.administration.desk import Desk, checked
from dragoman.policy.interactions.exports import ExportLayout, export_pieces
from dragoman.policy.interactions.questions import InteractionQuestion, filter_of
from dragoman.policy.interactions.rows import InteractionRow, Names, interaction_row, names_of
from dragoman.records.interaction_query import Erasure, InteractionFilter, KeptInteraction

MAX_USER_CHARS = 1000
_DIGEST_BYTES = 8


class InteractionRows(msgspec.Struct, frozen=True, kw_only=True):
    rows: tuple[InteractionRow, ...]
    """The newest first. A page may have fewer than were asked for and still not be the last."""
    before: str | None
    """What to ask for the next page with; `None`: this was the last."""


class InteractionAdministration:
    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def page(
        self,
        question: InteractionQuestion,
        *,
        account_id: str | None = None,
        before: str | None = None,
        limit: int = 100,
        with_content: bool = True,
    ) -> InteractionRows:
        """Raises `InvalidRequest`, or `UnknownEntity` where the question names what does not exist."""
        page = self._desk.store.list_interactions(
            self._filter(question, account_id),
            before=before,
            limit=limit,
            with_content=with_content,
        )
        names = self._names()
        return InteractionRows(
            rows=tuple(interaction_row(kept, names) for kept in page.interactions),
            before=page.before,
        )

    def find(self, completion_id: str) -> InteractionRow:
        """Raises `UnknownEntity`."""
        return interaction_row(self._kept(completion_id), self._names())

    def export(
        self,
        question: InteractionQuestion,
        layout: ExportLayout,
        *,
        account_id: str | None = None,
    ) -> Iterator[bytes]:
        """All that match as JSON lines, the oldest first, in pieces. Raises as `page` does, before the first
        piece is asked for."""
        asked = self._filter(question, account_id)
        chunks = self._desk.store.export_interactions(asked)
        return export_pieces(chunks, layout, self._names())

    def delete(self, completion_id: str) -> None:
        """With its feedback and comparisons; what it was charged stays. Raises `UnknownEntity`."""
        with self._desk.store.atomically():
            kept = self._kept(completion_id)
            interaction = kept.interaction
            self._desk.store.delete_interaction(interaction.completion_id)
            self._desk.note(
                "interaction.delete",
                interaction.completion_id,
                {
                    "project": interaction.project_id,
                    "account": interaction.account_id,
                    "created_s": interaction.created_s,
                },
            )

    def erase_user(self, account_id: str, user: str) -> Erasure:
        """Delete all that is kept of the account's user, wherever it is. What was counted and charged stays,
        and names nobody. Again: nothing more. Raises `UnknownEntity` or `InvalidRequest`."""
        account = self._desk.account(account_id)
        if not user or len(user) > MAX_USER_CHARS:
            raise InvalidRequest(
                f"user must have 1 to {MAX_USER_CHARS} characters, exactly as requests sent it",
                param="user",
            )
        # No transaction of ours: at its end what was deleted is made unreadable in the files, too.
        erasure = self._desk.store.erase_user(account.id, user)
        # By the digest those who know the user can find the event, and nobody finds the user.
        digest = self._desk.derive("erasure", account.id, user)[:_DIGEST_BYTES].hex()
        self._desk.note("user.erase", account.id, {"user_digest": digest, "erased": erasure})
        return erasure

    # --- Steps ---

    def _kept(self, completion_id: str) -> KeptInteraction:
        kept = self._desk.store.find_interaction(completion_id.lower())
        if kept is None:
            raise UnknownEntity(
                f"interaction {completion_id[:64]!r} does not exist, or no longer",
                entity="interaction",
                param="completion_id",
            )
        return kept

    def _filter(self, question: InteractionQuestion, account_id: str | None) -> InteractionFilter:
        question = checked(question)
        account = None if account_id is None else self._desk.account(account_id).id
        projects = [
            project
            for project in self._desk.store.list_projects()
            if account is None or project.account_id == account
        ]
        model = question.model
        asked = filter_of(
            question,
            self._desk.store,
            projects,
            account_id=account,
            model_id=None if model is None else self._desk.model_named(model),
        )
        if question.project is None:
            # All of them: also of what is no project any more.
            asked = msgspec.structs.replace(asked, project_ids=None)
        return asked

    def _names(self) -> Names:
        store = self._desk.store
        return names_of(store.list_projects(), store.list_metrics())
