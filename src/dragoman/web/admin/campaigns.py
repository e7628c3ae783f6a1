"""`/admin/v1/projects/{project}/campaigns` and their reports."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import msgspec
from litestar import Controller, Response, get, patch, post
from litestar.params import JSONBody

from dragoman.policy.administration import Administration, CampaignChange, CampaignWish
from dragoman.policy.campaigns.reporting import CampaignReport
from dragoman.records.campaign import Campaign, CampaignKind, CampaignStatus, GuardMeasure
from dragoman.records.metric import MetricId
from dragoman.web.admin.parameters import (
    Cursor,
    ForActor,
    Id,
    IdempotencyKey,
    Limit,
    before,
    made,
)
from dragoman.web.admin.project_views import SamplingView
from dragoman.web.admin.views import Page, maybe_moment, moment, slice_of


class ArmView(msgspec.Struct, frozen=True, kw_only=True):
    key: str
    model: str
    """Key of the project's model."""
    template_version: int | None
    """Null: whichever is active."""
    sampling: SamplingView


class GuardrailView(msgspec.Struct, frozen=True, kw_only=True):
    measure: GuardMeasure
    margin: float
    """How much worse an arm may be: a share of requests, US dollars, milliseconds."""


class CampaignView(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    key: str
    name: str
    project_id: str
    metric: str
    """Its key."""
    metric_id: str
    kind: CampaignKind
    arms: tuple[ArmView, ...]
    traffic_split: float
    auto_deploy: bool
    alpha: float
    guard_alpha: float
    min_scores: int
    mixture_variance: float
    guardrails: tuple[GuardrailView, ...]
    status: CampaignStatus
    created_at: datetime
    ended_at: datetime | None
    end_reason: str | None
    winner: str | None
    """An arm's key."""
    deployed_at: datetime | None
    """When the winner became the project's default."""


class Campaigns(Controller):
    path = "/projects/{project:str}/campaigns"
    tags = ("campaigns",)

    @get(sync_to_thread=True, summary="A project's campaigns, newest first")
    def list_campaigns(
        self, administration: ForActor, project: Id, cursor: Cursor = None, limit: Limit = 100
    ) -> Page[CampaignView]:
        campaigns = administration.campaigns.list_all(project)
        keys = administration.campaigns.metric_keys(*campaigns)
        return slice_of(
            campaigns,
            lambda campaign: campaign_view(campaign, keys),
            start=before(cursor),
            limit=limit,
        )

    @post(sync_to_thread=True, summary="Begin a campaign")
    def create_campaign(
        self,
        administration: ForActor,
        project: Id,
        data: JSONBody[CampaignWish],
        idempotency_key: IdempotencyKey = None,
    ) -> Response[CampaignView]:
        campaign, is_new = administration.campaigns.create(project, data, token=idempotency_key)
        return made(_view(administration, campaign), is_new=is_new)

    @get("/{campaign:str}", sync_to_thread=True, summary="A campaign, by id or key")
    def show_campaign(self, administration: ForActor, project: Id, campaign: Id) -> CampaignView:
        return _view(administration, administration.campaigns.find(project, campaign))

    @patch("/{campaign:str}", sync_to_thread=True, summary="Change a campaign that runs")
    def change_campaign(
        self, administration: ForActor, project: Id, campaign: Id, data: JSONBody[CampaignChange]
    ) -> CampaignView:
        return _view(administration, administration.campaigns.change(project, campaign, data))

    @post(
        "/{campaign:str}/cancel",
        sync_to_thread=True,
        status_code=200,
        summary="End a campaign without a winner",
    )
    def cancel_campaign(self, administration: ForActor, project: Id, campaign: Id) -> CampaignView:
        return _view(administration, administration.campaigns.cancel(project, campaign))

    @get(
        "/{campaign:str}/report",
        sync_to_thread=True,
        summary="What comes of a campaign, in numbers and in words; look as often as you like",
    )
    def report_campaign(
        self, administration: ForActor, project: Id, campaign: Id
    ) -> CampaignReport:
        return administration.campaigns.report(project, campaign)


def _view(administration: Administration, campaign: Campaign) -> CampaignView:
    return campaign_view(campaign, administration.campaigns.metric_keys(campaign))


def campaign_view(campaign: Campaign, metrics: Mapping[MetricId, str]) -> CampaignView:
    """`metrics` are keys."""
    return CampaignView(
        id=campaign.id,
        key=campaign.key,
        name=campaign.name,
        project_id=campaign.project_id,
        metric=metrics.get(campaign.metric_id, campaign.metric_id),
        metric_id=campaign.metric_id,
        kind=campaign.kind,
        arms=tuple(msgspec.convert(arm, ArmView, from_attributes=True) for arm in campaign.arms),
        traffic_split=campaign.traffic_split,
        auto_deploy=campaign.auto_deploy,
        alpha=campaign.alpha,
        guard_alpha=campaign.guard_alpha,
        min_scores=campaign.min_scores,
        mixture_variance=campaign.mixture_variance,
        guardrails=tuple(
            GuardrailView(measure=each.measure, margin=each.margin) for each in campaign.guardrails
        ),
        status=campaign.status,
        created_at=moment(campaign.created_s),
        ended_at=maybe_moment(campaign.ended_s),
        end_reason=campaign.end_reason,
        winner=campaign.winner,
        deployed_at=maybe_moment(campaign.deployed_s),
    )
