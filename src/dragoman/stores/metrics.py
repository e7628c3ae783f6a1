"""Metrics of projects; the built-in ones are in no table."""

from __future__ import annotations

from msgspec.structs import asdict

from dragoman.errors import Conflict, UnknownEntity
from dragoman.records.metric import Metric, MetricId
from dragoman.records.project import ProjectId
from dragoman.stores.compiled import metrics as sql
from dragoman.stores.database import Area, Row


class MetricArea(Area):
    def list_metrics(self, project_id: ProjectId | None = None) -> list[Metric]:
        """Oldest first."""
        if project_id is None:
            rows = self._database.rows(sql.SQLITE_LIST_METRICS, {})
        else:
            rows = self._database.rows(sql.SQLITE_LIST_METRICS_OF, {"project_id": project_id})
        return [_metric(row) for row in rows]

    def add_metric(self, metric: Metric) -> None:
        """Raises `UnknownEntity` where its project does not exist."""
        self._database.change(
            sql.SQLITE_ADD_METRIC,
            asdict(metric),
            taken=_taken(metric),
            missing=f"project '{metric.project_id}' does not exist",
        )
        self._database.announce()

    def replace_metric(self, metric: Metric) -> None:
        changed = self._database.change(
            sql.SQLITE_REPLACE_METRIC,
            {"metric_id": metric.id, **asdict(metric)},
            taken=_taken(metric),
            missing=f"project '{metric.project_id}' does not exist",
        )
        if not changed:
            raise UnknownEntity(f"metric '{metric.id}' does not exist", entity="metric")
        self._database.announce()

    def delete_metric(self, metric_id: MetricId) -> None:
        metric = {"metric_id": metric_id}
        with self._database.transaction():
            campaigns = self._database.rows(sql.SQLITE_CAMPAIGNS_OF_METRIC, metric)
            if campaigns:
                raise Conflict(
                    f"The campaign '{campaigns[0][0]}' is about the metric; it has to stay."
                )
            if self._database.rows(sql.SQLITE_FEEDBACK_OF_METRIC, metric):
                raise Conflict("There is feedback of the metric; it has to stay.")
            if not self._database.change(sql.SQLITE_DELETE_METRIC, metric):
                raise UnknownEntity(f"metric '{metric_id}' does not exist", entity="metric")
            self._database.announce()


def _taken(metric: Metric) -> str:
    return f"The project has a metric with the key '{metric.key}' already."


def _metric(row: Row) -> Metric:
    return Metric(**dict(zip(Metric.__struct_fields__, row, strict=True)))
