"""Metrics: what they are called, and what of them cannot change."""

from __future__ import annotations

import pytest
from tests.policy.administration.conftest import actions, refused

from dragoman.errors import Conflict, InvalidRequest, UnknownEntity
from dragoman.policy.administration import (
    Administration,
    MetricChange,
    MetricWish,
    ProjectWish,
)
from dragoman.records.metric import BUILT_IN_METRICS


@pytest.fixture(autouse=True)
def shop(administration: Administration) -> None:
    for key in ("shop", "other"):
        administration.projects.create(ProjectWish(key=key))


def test_a_metric_is_found_by_id_and_key(administration: Administration) -> None:
    wish = MetricWish(key="helpful", kind="bool", description="Was it?")
    metric, is_new = administration.metrics.create("shop", wish, token="t")
    assert is_new
    assert (metric.name, metric.better) == ("helpful", "higher_is_better")
    assert administration.metrics.create("shop", wish, token="t") == (metric, False)
    assert administration.metrics.find("shop", "helpful") == metric
    assert administration.metrics.find("shop", metric.id) == metric
    assert administration.metrics.list_all("shop") == [metric, *BUILT_IN_METRICS]
    with pytest.raises(UnknownEntity, match="it has first_token_ms"):
        administration.metrics.find("other", "helpful")
    assert actions(administration)[2:] == ["metric.create"]


def test_built_in_metrics_are_everybodys_and_stay(administration: Administration) -> None:
    assert administration.metrics.find("shop", "cost").project_id is None
    with pytest.raises(Conflict, match="a built-in metric") as error:
        administration.metrics.create("shop", MetricWish(key="cost", kind="scalar"))
    assert refused(error) == "key"
    for change in (
        lambda: administration.metrics.change("shop", "cost", MetricChange(name="x")),
        lambda: administration.metrics.delete("shop", "cost"),
    ):
        with pytest.raises(Conflict, match="'cost' is built in"):
            change()


def test_a_key_is_unique_in_its_project(administration: Administration) -> None:
    wish = MetricWish(key="helpful", kind="bool")
    metric, _ = administration.metrics.create("shop", wish)
    administration.metrics.create("other", wish)
    with pytest.raises(Conflict, match=metric.id) as error:
        administration.metrics.create("shop", wish)
    assert refused(error) == "key"
    with pytest.raises(InvalidRequest, match="a UUID"):
        administration.metrics.create("other", MetricWish(key=metric.id, kind="bool"))


def test_only_its_words_change(administration: Administration) -> None:
    administration.metrics.create("shop", MetricWish(key="helpful", kind="bool"))
    changed = administration.metrics.change(
        "shop", "helpful", MetricChange(name="Helpfulness", description="In 1 of 2.")
    )
    assert (changed.name, changed.description) == ("Helpfulness", "In 1 of 2.")
    emptied = administration.metrics.change("shop", "helpful", MetricChange(description=None))
    assert (emptied.name, emptied.description) == ("Helpfulness", None)
    with pytest.raises(InvalidRequest) as error:
        administration.metrics.change("shop", "helpful", MetricChange(name=" "))
    assert refused(error) == "name"


def test_a_metric_is_deleted(administration: Administration) -> None:
    administration.metrics.create("shop", MetricWish(key="helpful", kind="bool"))
    administration.metrics.delete("shop", "helpful")
    assert administration.metrics.list_all("shop") == list(BUILT_IN_METRICS)
    with pytest.raises(UnknownEntity):
        administration.metrics.delete("shop", "helpful")
