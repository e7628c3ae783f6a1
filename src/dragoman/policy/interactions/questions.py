"""Questions about interactions, in the words of those who ask: checked, and turned into the store's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Protocol

import msgspec
from msgspec import Meta

from dragoman.errors import InvalidRequest, UnknownEntity
from dragoman.policy.administration.desk import named
from dragoman.policy.administration.wishes import Moment
from dragoman.ports import CampaignRepository, MetricRepository
from dragoman.ports.interactions import InteractionRepository
from dragoman.records.account import AccountId
from dragoman.records.campaign import CampaignId
from dragoman.records.interaction import InteractionSource
from dragoman.records.interaction_query import InteractionFilter
from dragoman.records.metric import BUILT_IN_METRICS, Metric, MetricId
from dragoman.records.project import Project
from dragoman.records.usage_record import UsageStatus

Asked = Annotated[str, Meta(min_length=1, max_length=500)]
Label = Annotated[str, Meta(min_length=1, max_length=1025)]


class InteractionQuestion(msgspec.Struct, frozen=True, kw_only=True):
    """Each field that is given has to hold."""

    project: Asked | None = None
    """Id or key."""
    completion_id: Asked | None = None
    request_id: Asked | None = None
    model: Asked | None = None
    """Id or alias of the model that answered, or key of the project's model."""
    session_id: Asked | None = None
    user: Asked | None = None
    labels: Annotated[tuple[Label, ...], Meta(max_length=16)] = ()
    """`NAME:VALUE`, or `NAME` for any value. All of them."""
    tags: Annotated[tuple[Asked, ...], Meta(max_length=16)] = ()
    """All of them."""
    campaign: Asked | None = None
    """Id or key."""
    arm: Asked | None = None
    status: UsageStatus | None = None
    source: InteractionSource | None = None
    metric: Asked | None = None
    """Id or key of a metric that it has feedback of."""
    search: Asked | None = None
    """Words that all occur in it; `"in quotes"`: a phrase."""
    from_at: Moment | None = None
    """Made at that moment or later."""
    to_at: Moment | None = None
    """Made before that moment."""


class QuestionStore(InteractionRepository, MetricRepository, CampaignRepository, Protocol):
    """Interactions, and what they are named by."""


def filter_of(
    question: InteractionQuestion,
    store: QuestionStore,
    projects: Sequence[Project],
    *,
    account_id: AccountId | None = None,
    model_id: str | None = None,
) -> InteractionFilter:
    """What `question` asks for, within `projects`: those that whoever asks may see.

    `model_id`: the id of the model that requests mean by `question.model`, if they mean any. Raises
    `InvalidRequest` or `UnknownEntity`.
    """
    start, end = question.from_at, question.to_at
    if start is not None and end is not None and start >= end:
        raise InvalidRequest("from must be before to", param="from")
    if question.project is not None:
        projects = (_project(question.project, projects),)
    metric = question.metric
    model = question.model
    if model_id is not None and not any(
        attached.key == model for project in projects for attached in project.models
    ):
        model = model_id
    return InteractionFilter(
        account_id=account_id,
        project_ids=tuple(project.id for project in projects),
        completion_id=_lower(question.completion_id),
        request_id=question.request_id,
        model=model,
        session_id=_lower(question.session_id),
        user=question.user,
        labels=tuple(map(_label, question.labels)),
        tags=question.tags,
        campaign_id=_campaign(question.campaign, store, projects),
        arm=question.arm,
        status=question.status,
        source=question.source,
        metric=None if metric is None else _metric(metric, store, projects),
        text=question.search,
        from_s=None if start is None else start.timestamp(),
        to_s=None if end is None else end.timestamp(),
    )


def _project(name: str, projects: Sequence[Project]) -> Project:
    project = named(projects, name)
    if project is None:
        raise UnknownEntity(
            f"project {name[:64]!r} does not exist", entity="project", param="project"
        )
    return project


def _metric(name: str, store: MetricRepository, projects: Sequence[Project]) -> MetricId:
    if any(name == built_in.key for built_in in BUILT_IN_METRICS):
        raise InvalidRequest(
            f"metric {name!r} is measured with every completion; ask for one that takes feedback",
            param="metric",
        )
    keys = {project.id: project.key for project in projects}
    metrics = [metric for metric in _metrics(store, projects) if metric.project_id in keys]
    for metric in metrics:
        if metric.id == name:
            return metric.id
    alike = [metric for metric in metrics if metric.key == name]
    if not alike:
        raise UnknownEntity(f"metric {name[:64]!r} does not exist", entity="metric", param="metric")
    if len(alike) > 1:
        _refuse_ambiguous("metric", name, [keys[m.project_id] for m in alike if m.project_id])
    return alike[0].id


def _metrics(store: MetricRepository, projects: Sequence[Project]) -> list[Metric]:
    return store.list_metrics(projects[0].id if len(projects) == 1 else None)


def _campaign(
    name: str | None, store: CampaignRepository, projects: Sequence[Project]
) -> CampaignId | None:
    if name is None:
        return None
    keys = {project.id: project.key for project in projects}
    kept = store.list_campaigns(projects[0].id if len(projects) == 1 else None)
    campaigns = [campaign for campaign in kept if campaign.project_id in keys]
    for campaign in campaigns:
        if campaign.id == name:
            return campaign.id
    alike = [campaign for campaign in campaigns if campaign.key == name]
    if not alike:
        raise UnknownEntity(
            f"campaign {name[:64]!r} does not exist", entity="ab_campaign", param="campaign"
        )
    if len(alike) > 1:
        _refuse_ambiguous("campaign", name, [keys[campaign.project_id] for campaign in alike])
    return alike[0].id


def _refuse_ambiguous(kind: str, name: str, projects: Sequence[str]) -> None:
    raise InvalidRequest(
        f"there is a {kind} {name[:64]!r} in each of the projects {', '.join(projects[:8])};"
        " name the project too",
        param=kind,
    )


def _label(text: str) -> tuple[str, str | None]:
    name, colon, value = text.partition(":")
    if not name:
        raise InvalidRequest("label must be written as NAME:VALUE, or NAME", param="label")
    return name, value if colon else None


def _lower(uuid: str | None) -> str | None:
    """UUIDs are kept in lower case."""
    return None if uuid is None else uuid.lower()
