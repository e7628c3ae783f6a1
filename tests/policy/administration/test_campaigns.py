"""Campaigns: begun, changed, cancelled and reported by administrators."""

from __future__ import annotations

import msgspec
import pytest
from tests.policy.administration.conftest import SetClock, actions, refused

from dragoman.errors import Conflict, InvalidRequest, UnknownEntity
from dragoman.policy.administration import (
    Administration,
    AttachedModelWish,
    CampaignChange,
    CampaignWish,
    MetricWish,
    ProjectWish,
    TemplateVersionWish,
    TemplateWish,
)
from dragoman.policy.administration.project_wishes import ArmWish, GuardrailWish, SamplingWish
from dragoman.records.campaign import Arm, Guardrail
from dragoman.records.metric import Metric

WISH = CampaignWish(
    key="which",
    metric="helpful",
    arms=(ArmWish(model="small"), ArmWish(model="large")),
    traffic_split=0.5,
    guardrails=(GuardrailWish(measure="errors", margin=0.05),),
)


@pytest.fixture(autouse=True)
def metric(administration: Administration) -> Metric:
    for key in ("shop", "other"):
        models = tuple(AttachedModelWish(model=name) for name in ("small", "large"))
        administration.projects.create(ProjectWish(key=key, models=models))
    return administration.metrics.create("shop", MetricWish(key="helpful", kind="bool"))[0]


def test_a_campaign_begins_at_once(administration: Administration, metric: Metric) -> None:
    campaign, is_new = administration.campaigns.create("shop", WISH, token="t")
    assert is_new
    assert campaign.arms == (Arm(key="A", model="small"), Arm(key="B", model="large"))
    assert campaign.guardrails == (Guardrail(measure="errors", margin=0.05),)
    assert (campaign.metric_id, campaign.status, campaign.name) == (metric.id, "WARMUP", "which")
    assert administration.campaigns.find("shop", "which") == campaign
    assert administration.campaigns.find("shop", campaign.id) == campaign
    assert administration.campaigns.list_all() == [campaign]
    assert administration.campaigns.list_all("other") == []
    assert administration.campaigns.create("shop", WISH, token="t") == (campaign, False)
    with pytest.raises(UnknownEntity, match="no campaign 'none'; it has which"):
        administration.campaigns.find("shop", "none")
    assert actions(administration)[-1] == "campaign.create"


def test_the_same_token_stands_for_the_same_wish(administration: Administration) -> None:
    campaign, _ = administration.campaigns.create("shop", WISH, token="t")
    other = msgspec.structs.replace(WISH, traffic_split=0.25)
    with pytest.raises(Conflict, match=campaign.id):
        administration.campaigns.create("shop", other, token="t")
    cancelled = administration.campaigns.cancel("shop", "which")
    assert administration.campaigns.create("shop", WISH, token="t") == (cancelled, False)


@pytest.mark.parametrize(
    ("change", "param", "words"),
    [
        ({"metric": "none"}, "metric", "has no metric 'none'"),
        ({"arms": (ArmWish(model="small"), ArmWish(model="none"))}, "arms[1].model", "no model"),
        (
            {"arms": (ArmWish(model="small"), ArmWish(model="large", template_version=1))},
            "arms[1].template_version",
            "has no template",
        ),
        ({"name": "a\nb"}, "name", "printable"),
        ({"key": "6f9f2c1e-0000-4000-8000-000000000001"}, "key", "UUID"),
        ({"metric": "cost", "kind": "comparison"}, "metric", "nobody compares by it"),
        ({"arms": (ArmWish(model="small"),)}, "arms", "at least 2"),
        ({"alpha": 0.9}, "alpha", "0.5"),
    ],
)
def test_what_breaks_a_rule_is_refused(
    administration: Administration, change: dict[str, object], param: str, words: str
) -> None:
    with pytest.raises((InvalidRequest, UnknownEntity), match=words) as error:
        administration.campaigns.create("shop", msgspec.structs.replace(WISH, **change))
    assert refused(error) == param
    assert administration.campaigns.list_all() == []


def test_one_campaign_runs_at_a_time(administration: Administration) -> None:
    administration.campaigns.create("shop", WISH)
    with pytest.raises(Conflict, match="has had a campaign 'which'"):
        administration.campaigns.create("shop", WISH)
    second = msgspec.structs.replace(WISH, key="second")
    with pytest.raises(Conflict, match="has an active campaign, 'which'"):
        administration.campaigns.create("shop", second)
    administration.campaigns.cancel("shop", "which")
    assert administration.campaigns.create("shop", second)[1]


def test_arms_may_differ_by_version_and_sampling(administration: Administration) -> None:
    administration.templates.create("shop", TemplateWish(key="t", text="One"))
    administration.templates.add_version("shop", "t", TemplateVersionWish(text="Two"))
    administration.projects.put_model(
        "shop", "small", AttachedModelWish(model="small", template="t")
    )
    arms = (
        ArmWish(model="small", template_version=1, key="old"),
        ArmWish(model="small", template_version=2, key="new"),
        ArmWish(model="small", template_version=2, sampling=SamplingWish(temperature=0)),
    )
    campaign, _ = administration.campaigns.create("shop", msgspec.structs.replace(WISH, arms=arms))
    assert [arm.key for arm in campaign.arms] == ["old", "new", "C"]


def test_what_may_change_changes_and_a_cancelled_one_stays(
    administration: Administration, clock: SetClock
) -> None:
    before, _ = administration.campaigns.create("shop", WISH)
    after = administration.campaigns.change(
        "shop", "which", CampaignChange(traffic_split=0.1, auto_deploy=True, name="Which?")
    )
    assert after == msgspec.structs.replace(
        before, traffic_split=0.1, auto_deploy=True, name="Which?"
    )
    detail = msgspec.json.decode(administration.audit()[0][1].detail)
    assert detail == {"traffic_split": 0.1, "auto_deploy": True, "name": "Which?"}
    clock.now_s += 5
    cancelled = administration.campaigns.cancel("shop", "which")
    assert (cancelled.status, cancelled.ended_s) == ("CANCELLED", clock.now_s)
    assert administration.campaigns.cancel("shop", "which") == cancelled
    with pytest.raises(Conflict, match="has ended"):
        administration.campaigns.change("shop", "which", CampaignChange(traffic_split=1))
    assert actions(administration)[-3:] == ["campaign.create", "campaign.change", "campaign.cancel"]


def test_a_metric_with_a_campaign_is_not_deleted(administration: Administration) -> None:
    administration.campaigns.create("shop", WISH)
    with pytest.raises(Conflict):
        administration.metrics.delete("shop", "helpful")
    assert administration.metrics.find("shop", "helpful").key == "helpful"


def test_a_report_says_that_it_is_too_early(administration: Administration) -> None:
    campaign, _ = administration.campaigns.create("shop", WISH)
    report = administration.campaigns.report("shop", "which")
    assert report.campaign_id == campaign.id
    assert (report.metric, report.status) == ("helpful", "WARMUP")
    assert [(arm.key, arm.scores, arm.scores_needed) for arm in report.arms] == [
        ("A", 0, 30),
        ("B", 0, 30),
    ]
