"""An interaction as it is shown and exported: by every API and command in the same words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import msgspec
from msgspec import Raw

from dragoman.policy.administration.amounts import format_usd
from dragoman.records.feedback import Feedback
from dragoman.records.interaction import (
    EnteredBy,
    InteractionContent,
    InteractionSource,
)
from dragoman.records.interaction_query import KeptInteraction
from dragoman.records.metric import BUILT_IN_METRICS, Metric
from dragoman.records.project import Project
from dragoman.records.tool_server import ToolCallRecord
from dragoman.records.usage_record import UsageStatus


class FeedbackRow(msgspec.Struct, frozen=True, kw_only=True):
    feedback_id: str
    metric: str
    """The metric's key; its id where the metric is gone."""
    metric_id: str
    value: float
    """0 or 1 of a `bool` metric."""
    reason: str | None
    details: str | None
    user: str | None
    created_at: datetime


class InteractionRow(msgspec.Struct, frozen=True, kw_only=True):
    """One completion. Of a request for several choices there is one for each; the first has the usage, cost and
    times of the request."""

    completion_id: str
    request_id: str | None
    """Null: it was imported."""
    choice: int
    source: InteractionSource
    project: str
    """The project's key."""
    project_id: str
    created_at: datetime
    session_id: str
    user: str | None
    attached_model: str | None
    """Key of the project's model that was asked."""
    model: str | None
    """Id of the model that answered; a fallback's, where one did."""
    template_id: str | None
    template_version: int | None
    labels: dict[str, str]
    tags: tuple[str, ...]
    campaign_id: str | None
    unit: str | None
    """What the campaign's arm was chosen for."""
    arm: str | None
    """The arm that was meant."""
    served_arm: str | None
    """The arm whose model answered; null where a fallback did that is no arm's."""
    entered_by: EnteredBy | None
    status: UsageStatus
    error: str | None
    finish_reason: str | None
    input_tokens: int
    cached_input_tokens: int
    cache_write_tokens: int
    output_tokens: int
    reasoning_tokens: int
    cost: str
    cost_nano_usd: int
    first_token_ms: float | None
    total_ms: float | None
    has_content: bool
    """Whether the words were kept, and are kept still. False too where they were not asked for."""
    messages: Raw | None
    """What the client sent: a list of messages in OpenAI's form."""
    completion: Raw | None
    """The assistant's message."""
    system_prompt: str | None
    """As rendered from the template."""
    system_prompt_args: Raw | None
    """What it was rendered with."""
    tools: Raw | None
    """The functions that the client offered."""
    tool_calls: tuple[ToolCallRecord, ...]
    """Calls of server-side tools."""
    feedback: tuple[FeedbackRow, ...]
    """Oldest first."""


class Names(msgspec.Struct, frozen=True):
    """The keys of projects and metrics, by id."""

    projects: Mapping[str, str]
    metrics: Mapping[str, str]


def names_of(projects: Sequence[Project], metrics: Sequence[Metric]) -> Names:
    return Names(
        {project.id: project.key for project in projects},
        {metric.id: metric.key for metric in (*BUILT_IN_METRICS, *metrics)},
    )


_NO_WORDS = InteractionContent(messages=Raw(b"null"))


def interaction_row(kept: KeptInteraction, names: Names) -> InteractionRow:
    interaction = kept.interaction
    usage, content = interaction.usage, interaction.content
    words = _NO_WORDS if content is None else content
    return InteractionRow(
        completion_id=interaction.completion_id,
        request_id=interaction.request_id,
        choice=interaction.choice,
        source=interaction.source,
        project=names.projects.get(interaction.project_id, interaction.project_id),
        project_id=interaction.project_id,
        created_at=datetime.fromtimestamp(interaction.created_s, UTC),
        session_id=interaction.session_id,
        user=interaction.user,
        attached_model=interaction.attached,
        model=interaction.model,
        template_id=interaction.template_id,
        template_version=interaction.template_version,
        labels=dict(interaction.labels),
        tags=interaction.tags,
        campaign_id=interaction.campaign_id,
        unit=interaction.unit,
        arm=interaction.arm,
        served_arm=interaction.served_arm,
        entered_by=interaction.entered_by,
        status=interaction.status,
        error=interaction.error,
        finish_reason=interaction.finish_reason,
        input_tokens=usage.input_tokens,
        cached_input_tokens=usage.cached_input_tokens,
        cache_write_tokens=usage.cache_write_tokens,
        output_tokens=usage.output_tokens,
        reasoning_tokens=usage.reasoning_tokens,
        cost=format_usd(interaction.cost_nano_usd),
        cost_nano_usd=interaction.cost_nano_usd,
        first_token_ms=interaction.first_token_ms,
        total_ms=interaction.total_ms,
        has_content=content is not None,
        messages=words.messages,
        completion=words.completion,
        system_prompt=words.system_prompt,
        system_prompt_args=words.arguments,
        tools=words.tools,
        tool_calls=words.tool_calls,
        feedback=tuple(feedback_row(each, names) for each in kept.feedback),
    )


def feedback_row(feedback: Feedback, names: Names) -> FeedbackRow:
    return FeedbackRow(
        feedback_id=feedback.id,
        metric=names.metrics.get(feedback.metric_id, feedback.metric_id),
        metric_id=feedback.metric_id,
        value=feedback.value,
        reason=feedback.reason,
        details=feedback.details,
        user=feedback.user,
        created_at=datetime.fromtimestamp(feedback.created_s, UTC),
    )
