"""`/admin/v1/projects/{project}/metrics`."""

from __future__ import annotations

from litestar import Controller, Response, delete, get, patch, post
from litestar.params import JSONBody

from dragoman.policy.administration import MetricChange, MetricWish
from dragoman.web.admin.parameters import (
    ForActor,
    Id,
    IdempotencyKey,
    Limit,
    TextCursor,
    made,
)
from dragoman.web.admin.project_views import MetricView, metric_view
from dragoman.web.admin.views import Page, slice_after


class Metrics(Controller):
    path = "/projects/{project:str}/metrics"
    tags = ("metrics",)

    @get(sync_to_thread=True, summary="A project's metrics, then the built-in ones, by key")
    def list_metrics(
        self, administration: ForActor, project: Id, cursor: TextCursor = None, limit: Limit = 100
    ) -> Page[MetricView]:
        return slice_after(
            administration.metrics.list_all(project),
            metric_view,
            order=lambda metric: f"{'b' if metric.is_built_in else 'a'}.{metric.key}",
            after=cursor,
            limit=limit,
        )

    @post(sync_to_thread=True, summary="Make a metric")
    def create_metric(
        self,
        administration: ForActor,
        project: Id,
        data: JSONBody[MetricWish],
        idempotency_key: IdempotencyKey = None,
    ) -> Response[MetricView]:
        metric, is_new = administration.metrics.create(project, data, token=idempotency_key)
        return made(metric_view(metric), is_new=is_new)

    @get("/{metric:str}", sync_to_thread=True, summary="A metric, by id or key")
    def show_metric(self, administration: ForActor, project: Id, metric: Id) -> MetricView:
        return metric_view(administration.metrics.find(project, metric))

    @patch("/{metric:str}", sync_to_thread=True, summary="Call or describe a metric otherwise")
    def change_metric(
        self, administration: ForActor, project: Id, metric: Id, data: JSONBody[MetricChange]
    ) -> MetricView:
        return metric_view(administration.metrics.change(project, metric, data))

    @delete(
        "/{metric:str}",
        sync_to_thread=True,
        summary="Delete a metric that has no feedback and no campaign",
    )
    def delete_metric(self, administration: ForActor, project: Id, metric: Id) -> None:
        administration.metrics.delete(project, metric)
