"""What people and programs say of completions: checked against the metric, kept, and counted in campaigns.

A completion is named by its id alone. One that is not the caller's to see does not exist, whatever the reason.
Whoever sends the same `Idempotency-Key` again is answered with the same ids, and nothing is kept twice.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Protocol, TypeVar

import msgspec

from dragoman.errors import Conflict, DragomanError, InvalidRequest, UnknownEntity
from dragoman.policy.administration.desk import named
from dragoman.policy.campaigns.scoring import pair_score_for, score_for
from dragoman.policy.interactions.imported import Conversation, Ids, Teller, interaction_of
from dragoman.policy.interactions.redaction import redact_text
from dragoman.policy.routing import ModelDirectory
from dragoman.ports import (
    CampaignRepository,
    FeedbackRepository,
    InteractionRepository,
    MetricRepository,
)
from dragoman.ports.administration import Atomic, ServerSecrets
from dragoman.records.campaign import Campaign, CampaignId, PairScore, Score
from dragoman.records.feedback import Comparison, Feedback, Outcome, Tie
from dragoman.records.interaction import Interaction
from dragoman.records.interaction_query import InteractionFilter, KeptInteraction
from dragoman.records.metric import BUILT_IN_METRICS, Metric
from dragoman.records.project import Project

MAX_VALUE = 1e100
"""Squares of values are summed, and have to stay finite."""
MAX_NAMED = 10

Look = Callable[[CampaignId], object]
"""Told of each campaign that has another score."""


class FeedbackStore(
    FeedbackRepository,
    InteractionRepository,
    MetricRepository,
    CampaignRepository,
    ServerSecrets,
    Atomic,
    Protocol,
):
    """Conversations, and all that is said and counted of them."""


class Remark(msgspec.Struct, frozen=True, kw_only=True):
    """A value of one completion, as it is told."""

    metric: str
    """Id or key."""
    value: object
    reason: str | None = None
    details: str | None = None
    user: str | None = None
    created_s: float | None = None


class Compared(msgspec.Struct, frozen=True, kw_only=True):
    """One side of a comparison: a completion that is kept, or one that is told."""

    completion_id: str | None = None
    told: Conversation | None = None


class Preference(msgspec.Struct, frozen=True, kw_only=True):
    metric: str
    preferred: Compared
    other: Compared
    tied: Tie | None = None
    user: str | None = None


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """A value of a whole session, as it is told."""

    metric: str
    value: object
    session_id: str
    user: str | None = None


Said = TypeVar("Said", Feedback, Comparison, Outcome)


class FeedbackDesk:
    """For threads that may wait."""

    def __init__(
        self, store: FeedbackStore, directory: ModelDirectory, look: Look | None = None
    ) -> None:
        self._store = store
        self._directory = directory
        self._look = look
        self.ids = Ids(store)

    def add_feedback(
        self,
        completion_id: str,
        remark: Remark,
        projects: Sequence[Project],
        teller: Teller,
        token: str | None = None,
    ) -> str:
        """The feedback's id. `projects`: those whose completions the teller may judge.

        Raises `UnknownEntity`, `InvalidRequest`, or `Conflict` where `token` stood for something else.
        """
        kept, project = self._find(completion_id, projects, "completion_id")
        metric = metric_named(self._store, project, remark.metric)
        feedback_id = self.ids.draw(token, "feedback", teller.account_id)
        feedback, score = self.judged(
            feedback_id, kept.interaction, project, metric, remark, teller.now_s
        )
        try:
            self._store.add_feedback(feedback, score)
        except Conflict:
            again = self._find(completion_id, projects, "completion_id")[0].feedback
            _same_or_conflict(token, feedback, again)
        else:
            self.tell(score)
        return feedback_id

    def judged(
        self,
        feedback_id: str,
        interaction: Interaction,
        project: Project,
        metric: Metric,
        remark: Remark,
        now_s: float,
        param: str = "value",
    ) -> tuple[Feedback, Score | None]:
        """What is kept of a remark, and what it counts for."""
        value = value_of(metric, remark.value, param)
        rules = project.content.redact
        feedback = Feedback(
            id=feedback_id,
            project_id=project.id,
            completion_id=interaction.completion_id,
            metric_id=metric.id,
            value=value,
            reason=None if remark.reason is None else redact_text(remark.reason, rules),
            details=None if remark.details is None else redact_text(remark.details, rules),
            user=remark.user,
            created_s=now_s if remark.created_s is None else remark.created_s,
        )
        campaign = self._active_campaign(interaction)
        if campaign is None:
            return feedback, None
        return feedback, score_for(campaign, interaction, metric, value)

    def tell(self, *scores: Score | PairScore | None) -> None:
        """Have campaigns judged that have more scores now."""
        if self._look is None:
            return
        for campaign_id in {score.campaign_id for score in scores if score is not None}:
            # The scores are kept, and every campaign is looked at every second in any case.
            with suppress(DragomanError):
                self._look(campaign_id)

    def add_comparison(
        self, said: Preference, project: Project, teller: Teller, token: str | None = None
    ) -> str:
        """The comparison's id. Completions that are told become interactions, in the same transaction."""
        metric = metric_named(self._store, project, said.metric)
        comparison_id = self.ids.draw(token, "comparison", teller.account_id)
        session_id = self.ids.derive("session", comparison_id)
        told: list[Interaction] = []

        def side(compared: Compared, name: str) -> Interaction:
            if compared.told is None:
                return self._find(compared.completion_id or "", (project,), name)[0].interaction
            made = interaction_of(
                compared.told,
                project,
                teller,
                self._directory,
                completion_id=self.ids.derive(name, comparison_id),
                session_id=session_id,
            )
            told.append(made)
            return made

        preferred = side(said.preferred, "preferred_completion")
        other = side(said.other, "other_completion")
        if preferred.completion_id == other.completion_id:
            raise InvalidRequest(
                "other_completion is the same completion as preferred_completion; compare two",
                param="other_completion",
            )
        comparison = Comparison(
            id=comparison_id,
            project_id=project.id,
            metric_id=metric.id,
            preferred_id=preferred.completion_id,
            other_id=other.completion_id,
            tied=said.tied,
            user=said.user,
            created_s=teller.now_s,
        )
        campaign = self._active_campaign(preferred)
        score = None if campaign is None else pair_score_for(campaign, preferred, other, comparison)
        try:
            with self._store.atomically():
                for interaction in told:
                    self._store.add_interaction(interaction)
                self._store.add_comparison(comparison, score)
        except Conflict:
            _same_or_conflict(
                token,
                comparison,
                self._store.list_comparisons(project.id, completion_id=comparison.preferred_id),
            )
        else:
            self.tell(score)
        return comparison_id

    def add_outcome(
        self, said: Verdict, project: Project, teller: Teller, token: str | None = None
    ) -> str:
        """The outcome's id."""
        metric = metric_named(self._store, project, said.metric)
        value = value_of(metric, said.value)
        asked = InteractionFilter(project_ids=(project.id,), session_id=said.session_id)
        page = self._store.list_interactions(asked, limit=1, with_content=False)
        if not page.interactions:
            raise UnknownEntity(
                f"session '{said.session_id[:64]}' has no interactions in the project '{project.key}'",
                entity="session",
                param="session_id",
            )
        outcome = Outcome(
            id=self.ids.draw(token, "outcome", teller.account_id),
            project_id=project.id,
            session_id=said.session_id,
            metric_id=metric.id,
            value=value,
            user=said.user,
            created_s=teller.now_s,
        )
        try:
            self._store.add_outcome(outcome)
        except Conflict:
            kept = self._store.list_outcomes(project.id, session_id=said.session_id)
            _same_or_conflict(token, outcome, kept)
        return outcome.id

    def _find(
        self, completion_id: str, projects: Sequence[Project], param: str
    ) -> tuple[KeptInteraction, Project]:
        asked = InteractionFilter(
            project_ids=tuple(project.id for project in projects), completion_id=completion_id
        )
        # The words are not asked for: they may be many.
        page = self._store.list_interactions(asked, limit=1, with_content=False)
        for kept in page.interactions:
            for project in projects:
                if project.id == kept.interaction.project_id:
                    return kept, project
        raise UnknownEntity(
            f"completion '{completion_id[:64]}' is not known, or is none of the project's",
            entity="completion",
            param=param,
        )

    def _active_campaign(self, interaction: Interaction) -> Campaign | None:
        if interaction.campaign_id is None:
            return None
        for campaign in self._store.active_campaigns():
            if campaign.id == interaction.campaign_id:
                return campaign
        return None


def metric_named(store: MetricRepository, project: Project, name: str) -> Metric:
    """The project's metric of that id or key. Raises `UnknownEntity`, or `InvalidRequest` for a built-in one."""
    if any(name == built_in.key for built_in in BUILT_IN_METRICS):
        raise InvalidRequest(
            f"metric '{name}' is measured with every completion, and takes no feedback; use one of the"
            " project's own",
            param="metric",
        )
    metrics = store.list_metrics(project.id)
    metric = named(metrics, name)
    if metric is not None:
        return metric
    keys = ", ".join(f"'{metric.key}'" for metric in metrics[:MAX_NAMED]) or "none"
    more = ", …" if len(metrics) > MAX_NAMED else ""
    raise UnknownEntity(
        f"metric '{name[:64]}' is none of the project '{project.key}', which has {keys}{more}",
        entity="metric",
        param="metric",
    )


def value_of(metric: Metric, value: object, param: str = "value") -> float:
    """Raises `InvalidRequest` where the metric takes no such value."""
    match metric.kind:
        case "bool":
            # `True == 1`, in JSON's sense as in Python's.
            if isinstance(value, bool | int | float) and value in (0, 1):
                return float(value)
            takes = "0, 1, true or false"
        case "scalar":
            if (
                isinstance(value, int | float)
                and not isinstance(value, bool)
                and -MAX_VALUE <= value <= MAX_VALUE
            ):
                return float(value)
            takes = f"a number from {-MAX_VALUE:g} to {MAX_VALUE:g}"
    raise InvalidRequest(
        f"{param} {_shown(value)} does not fit the metric '{metric.key}', which is of kind"
        f" {metric.kind}: use {takes}",
        param=param,
    )


def _shown(value: object) -> str:
    match value:
        case bool() | None:
            return {True: "true", False: "false", None: "null"}[value]
        case float() if not math.isfinite(value):
            return "that is not finite"
        case int() | float():
            return f"{value:.12g}" if -1e300 < value < 1e300 else "of that size"
        case str():
            return f"'{value[:40]}'"
        case _:
            return "that is a list or an object"


def _same_or_conflict(token: str | None, said: Said, kept: Sequence[Said]) -> None:
    """Whether the same words were said before, under the same token. Raises `Conflict` where others were."""
    for each in kept:
        if each.id == said.id and msgspec.structs.replace(said, created_s=each.created_s) == each:
            return
    if token is None:
        raise Conflict("The same id is taken already; send it again.")
    raise Conflict("The Idempotency-Key was used for something else; use another.")
