"""Conversations that were answered elsewhere, told of with their feedback: all of them are kept, or none.

Told again, under the same completion id or the same `Idempotency-Key`, they are answered the same; where other
words come under an id that is taken, that is a conflict.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

import msgspec

from dragoman.errors import ClientError, Conflict, InvalidRequest, UnknownEntity
from dragoman.policy.administration.desk import named
from dragoman.policy.campaigns.assignment import arm_for, unit_of
from dragoman.policy.feedback import FeedbackDesk, FeedbackStore, Remark, metric_named
from dragoman.policy.interactions.imported import (
    Conversation,
    Entered,
    Teller,
    interaction_of,
    is_same,
    model_of,
)
from dragoman.policy.routing import ModelDirectory
from dragoman.records.campaign import Score
from dragoman.records.feedback import Feedback
from dragoman.records.interaction import Interaction
from dragoman.records.project import Project

MAX_NAMED_FAULTS = 10


class Import(msgspec.Struct, frozen=True, kw_only=True):
    project: Project
    told: Conversation
    remarks: tuple[Remark, ...] = ()
    line: int | None = None
    """Where it stands in a file: faults are told by it."""


class Imported(msgspec.Struct, frozen=True, kw_only=True):
    completion_id: str
    session_id: str
    feedback_ids: tuple[str, ...]


class _Ready(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be written; nothing, where it is kept already."""

    imported: Imported
    interaction: Interaction | None
    feedback: tuple[tuple[Feedback, Score | None], ...] = ()


class Importer:
    """For threads that may wait."""

    def __init__(self, store: FeedbackStore, directory: ModelDirectory, desk: FeedbackDesk) -> None:
        self._store = store
        self._directory = directory
        self._desk = desk

    def add(
        self, imports: Sequence[Import], teller: Teller, token: str | None = None
    ) -> list[Imported]:
        """Their ids, in the same order. `token`: the `Idempotency-Key` of all of them together.

        Raises `UnknownEntity`, `InvalidRequest` or `Conflict`: of several lines, with each that is at fault.
        """
        with suppress(Conflict):
            return self._write(self._prepared(imports, teller, token))
        # Someone else was faster with one of the ids: now it is known whether in the same words.
        return self._write(self._prepared(imports, teller, token))

    def _write(self, ready: Sequence[_Ready]) -> list[Imported]:
        scores: list[Score | None] = []
        with self._store.atomically():
            for each in ready:
                if each.interaction is None:
                    continue
                self._store.add_interaction(each.interaction)
                for feedback, score in each.feedback:
                    self._store.add_feedback(feedback, score)
                    scores.append(score)
        self._desk.tell(*scores)
        return [each.imported for each in ready]

    def _prepared(
        self, imports: Sequence[Import], teller: Teller, token: str | None
    ) -> list[_Ready]:
        faults: list[tuple[int, ClientError]] = []
        ready: list[_Ready] = []
        seen: set[str] = set()
        for index, each in enumerate(imports):
            try:
                one = self._ready(each, teller, token, index)
                if one.imported.completion_id in seen:
                    raise InvalidRequest(
                        f"completion_id '{one.imported.completion_id}' is given twice",
                        param="completion_id",
                    )
                seen.add(one.imported.completion_id)
                ready.append(one)
            except (InvalidRequest, UnknownEntity, Conflict) as fault:
                if each.line is None:
                    raise
                faults.append((each.line, fault))
        if faults:
            raise faults_of_lines(faults)
        return ready

    def _ready(self, each: Import, teller: Teller, token: str | None, index: int) -> _Ready:
        told, project, ids = each.told, each.project, self._desk.ids
        completion_id = told.completion_id or ids.draw(
            token, "completion", teller.account_id, str(index)
        )
        session_id = told.session_id or ids.derive("session", completion_id)
        interaction = interaction_of(
            told,
            project,
            teller,
            self._directory,
            completion_id=completion_id,
            session_id=session_id,
            entered=self._entered(told, project, completion_id),
        )
        feedback = tuple(
            self._desk.judged(
                ids.derive("feedback", completion_id, str(place)),
                interaction,
                project,
                metric_named(self._store, project, remark.metric),
                remark,
                interaction.created_s,
                f"feedbacks[{place}].value",
            )
            for place, remark in enumerate(each.remarks)
        )
        imported = Imported(
            completion_id=completion_id,
            session_id=session_id,
            feedback_ids=tuple(said.id for said, _ in feedback),
        )
        # A new random id is nobody's.
        if (told.completion_id is not None or token is not None) and self._is_kept(
            told, interaction, [said for said, _ in feedback]
        ):
            return _Ready(imported=imported, interaction=None)
        return _Ready(imported=imported, interaction=interaction, feedback=feedback)

    def _is_kept(
        self, told: Conversation, interaction: Interaction, feedback: Sequence[Feedback]
    ) -> bool:
        """Whether the same was told before. Raises `Conflict` where something else was, under its id."""
        kept = self._store.find_interaction(interaction.completion_id)
        if kept is None:
            return False
        is_dated = told.created_s is not None
        if is_same(interaction, kept.interaction, is_dated=is_dated) and _has(
            kept.feedback, feedback
        ):
            return True
        if told.completion_id is None:
            raise Conflict("The Idempotency-Key was used for something else; use another.")
        raise Conflict(
            f"completion_id '{told.completion_id}' is that of another interaction; send it with another,"
            " or leave it out",
            param="completion_id",
        )

    def _entered(self, told: Conversation, project: Project, completion_id: str) -> Entered | None:
        if told.campaign is None:
            return None
        campaign = named(self._store.list_campaigns(project.id), told.campaign)
        if campaign is None:
            raise UnknownEntity(
                f"campaign '{told.campaign[:64]}' does not exist in the project '{project.key}'",
                entity="ab_campaign",
                param="ab_campaign",
            )
        if not campaign.is_active:
            raise InvalidRequest(
                f"ab_campaign: the campaign '{campaign.key}' has ended ({campaign.status}), and counts"
                " nothing any more; leave it out",
                param="ab_campaign",
            )
        unit = unit_of(told.session_id, told.user, completion_id)
        attached = model_of(told.model, project, self._directory)[0]
        arm = None if attached is None else arm_for(campaign, unit, attached)
        if arm is None:
            arms = ", ".join(dict.fromkeys(f"'{arm.model}'" for arm in campaign.arms))
            raise InvalidRequest(
                f"model_service must be that of an arm of the campaign '{campaign.key}': {arms}",
                param="model_service",
            )
        return Entered(campaign.id, unit, arm)


def _has(kept: Sequence[Feedback], said: Sequence[Feedback]) -> bool:
    by_id = {feedback.id: feedback for feedback in kept}
    return all(
        feedback.id in by_id
        and msgspec.structs.replace(feedback, created_s=by_id[feedback.id].created_s)
        == by_id[feedback.id]
        for feedback in said
    )


def faults_of_lines(faults: Sequence[tuple[int, ClientError]]) -> ClientError:
    """One refusal that tells of each line."""
    words = [f"line {line}: {fault.message}" for line, fault in faults[:MAX_NAMED_FAULTS]]
    if len(faults) > MAX_NAMED_FAULTS:
        words.append(f"and {len(faults) - MAX_NAMED_FAULTS} lines more")
    line, first = faults[0]
    param = f"lines[{line}]" if first.param is None else f"lines[{line}].{first.param}"
    kind = Conflict if all(isinstance(fault, Conflict) for _, fault in faults) else InvalidRequest
    return kind(f"Nothing was imported. {'; '.join(words)}"[:4000], param=param)
