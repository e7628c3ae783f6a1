"""Metrics: what a project's completions are judged by."""

from __future__ import annotations

import msgspec
from msgspec import UnsetType

from dragoman.errors import Conflict, UnknownEntity
from dragoman.policy.administration.desk import (
    Desk,
    checked,
    named,
    refuse_id_as_key,
    same_or_conflict,
    text_checked,
)
from dragoman.policy.administration.project_wishes import MetricChange, MetricWish
from dragoman.records.metric import BUILT_IN_METRICS, Metric, MetricId
from dragoman.records.project import Project

MAX_METRICS = 256


class MetricAdministration:
    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def list_all(self, project: str) -> list[Metric]:
        """The project's own, then the built-in ones. Raises `UnknownEntity`."""
        owner = self._desk.project(project)
        return [*self._desk.store.list_metrics(owner.id), *BUILT_IN_METRICS]

    def find(self, project: str, metric: str) -> Metric:
        """By id or key. Raises `UnknownEntity`."""
        owner = self._desk.project(project)
        return metric_named(metric, owner, self._desk.store.list_metrics(owner.id))

    def create(
        self, project: str, wish: MetricWish, *, token: str | None = None
    ) -> tuple[Metric, bool]:
        """The metric, and whether it is new: the same wish with the same `token` makes one only.

        Raises `UnknownEntity`, `InvalidRequest`, or `Conflict` where the key is taken.
        """
        wish = checked(wish)
        with self._desk.store.atomically():
            owner = self._desk.project(project, for_change=True)
            metric = self._built(owner, wish, self._desk.uuid_for(f"metric:{owner.id}", token))
            metrics = self._desk.store.list_metrics(owner.id)
            for other in metrics:
                if token is not None and other.id == metric.id:
                    return same_or_conflict(metric, other), False
            self._add(owner, metric, metrics)
        return metric, True

    def change(self, project: str, metric: str, change: MetricChange) -> Metric:
        """Raises `UnknownEntity` or `InvalidRequest`; `Conflict` for a built-in one."""
        change = checked(change)
        with self._desk.store.atomically():
            owner = self._desk.project(project, for_change=True)
            before = self._own(owner, metric)
            after = before
            if not isinstance(change.name, UnsetType):
                after = msgspec.structs.replace(after, name=text_checked(change.name, "name"))
            if not isinstance(change.description, UnsetType):
                after = msgspec.structs.replace(after, description=change.description)
            self._replace(owner, before, after)
        return after

    def delete(self, project: str, metric: str) -> None:
        """Raises `UnknownEntity`, or `Conflict` while there is feedback of it, or a campaign."""
        with self._desk.store.atomically():
            owner = self._desk.project(project, for_change=True)
            metric_kept = self._own(owner, metric)
            self._desk.store.delete_metric(metric_kept.id)
            self._desk.note(
                "metric.delete", metric_kept.id, {"project": owner.id, "key": metric_kept.key}
            )

    # --- Steps that definitions share ---

    def put(self, owner: Project, wish: MetricWish) -> bool:
        """Make the metric, or give it the wish's name and description; whether anything changed.

        Raises `Conflict` where there is one of another kind.
        """
        metrics = self._desk.store.list_metrics(owner.id)
        wanted = self._built(owner, wish, self._desk.uuid_for("metric", None))
        before = next((m for m in metrics if m.key == wish.key), None)
        if before is None:
            self._add(owner, wanted, metrics)
            return True
        if (before.kind, before.better) != (wanted.kind, wanted.better):
            raise Conflict(
                f"metric '{before.key}' of project '{owner.key}' is {before.kind}, {before.better}; that"
                " cannot change, since what was said of it would mean something else. Define another"
                " metric.",
                param="metrics",
            )
        after = msgspec.structs.replace(before, name=wanted.name, description=wanted.description)
        self._replace(owner, before, after)
        return after != before

    # --- Steps ---

    def _own(self, project: Project, metric: str) -> Metric:
        found = metric_named(metric, project, self._desk.store.list_metrics(project.id))
        if found.is_built_in:
            raise Conflict(f"metric '{found.key}' is built in; it stays as it is", param="metric")
        return found

    def _built(self, owner: Project, wish: MetricWish, metric_id: str) -> Metric:
        refuse_id_as_key(wish.key)
        return Metric(
            id=MetricId(metric_id),
            project_id=owner.id,
            key=wish.key,
            name=text_checked(wish.key if wish.name is None else wish.name, "name"),
            kind=wish.kind,
            better=wish.better,
            description=wish.description,
            created_s=self._desk.now_s(),
        )

    def _add(self, owner: Project, metric: Metric, metrics: list[Metric]) -> None:
        for other in (*metrics, *BUILT_IN_METRICS):
            if other.key == metric.key:
                which = "a built-in metric" if other.is_built_in else f"metric {other.id}"
                raise Conflict(
                    f"key: {which} of project '{owner.key}' has the key '{metric.key}'; choose another",
                    param="key",
                )
        if len(metrics) >= MAX_METRICS:
            raise Conflict(f"a project may have at most {MAX_METRICS} metrics")
        self._desk.store.add_metric(metric)
        self._desk.note(
            "metric.create",
            metric.id,
            {
                "project": owner.id,
                "key": metric.key,
                "name": metric.name,
                "kind": metric.kind,
                "better": metric.better,
            },
        )

    def _replace(self, owner: Project, before: Metric, after: Metric) -> None:
        if after != before:
            self._desk.store.replace_metric(after)
            self._desk.note(
                "metric.change",
                after.id,
                {"project": owner.id, "key": after.key, "name": after.name},
            )


def metric_named(name: str, project: Project, own: list[Metric]) -> Metric:
    """By id or key, of the project's `own` or of the built-in ones. Raises `UnknownEntity`."""
    metrics = (*own, *BUILT_IN_METRICS)
    found = named(metrics, name)
    if found is not None:
        return found
    raise UnknownEntity(
        f"project '{project.key}' has no metric {name[:64]!r}; it has"
        f" {', '.join(each.key for each in metrics[:20])}",
        entity="metric",
        param="metric",
    )
