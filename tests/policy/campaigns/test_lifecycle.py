from __future__ import annotations

import pytest
from msgspec.structs import replace
from tests.policy.campaigns.simulated import BOOL

from dragoman.chat import Sampling
from dragoman.errors import Conflict, InvalidRequest
from dragoman.policy.administration.project_wishes import (
    ArmWish,
    CampaignChange,
    CampaignWish,
    GuardrailWish,
    SamplingWish,
)
from dragoman.policy.campaigns.lifecycle import Ground, begin, cancel, change
from dragoman.records.account import DEFAULT_ACCOUNT
from dragoman.records.campaign import Arm, Campaign, CampaignId, CampaignKind, Guardrail
from dragoman.records.metric import BUILT_IN_METRICS, Metric
from dragoman.records.project import AttachedModel, Project, ProjectId
from dragoman.records.template import Template, TemplateId, TemplateVersion

PROJECT = Project(
    id=ProjectId("proj_1"),
    key="support",
    name="Support",
    account_id=DEFAULT_ACCOUNT,
    models=(
        AttachedModel(key="small", model="m1"),
        AttachedModel(key="large", model="m2", template="greeting"),
    ),
)
TEMPLATE = Template(
    id=TemplateId("tmpl_1"),
    project_id=PROJECT.id,
    key="greeting",
    active_version=1,
    versions=(TemplateVersion(version=1, text="Hi"), TemplateVersion(version=2, text="Hello")),
)
GROUND = Ground(project=PROJECT, metric=BOOL, templates=(TEMPLATE,))
WISH = CampaignWish(
    key="tone", metric="liked", arms=(ArmWish(model="small"), ArmWish(model="large"))
)


def begun(wish: CampaignWish = WISH, ground: Ground = GROUND) -> Campaign:
    return begin(wish, ground, CampaignId("c"), 5.0)


def test_a_campaign_begins_as_it_was_wished() -> None:
    wish = CampaignWish(
        key="tone",
        name=" Tone ",
        metric="liked",
        kind="comparison",
        arms=(
            ArmWish(model="large", template_version=1),
            ArmWish(model="large", template_version=2, key="warm"),
            ArmWish(model="large", sampling=SamplingWish(temperature=0.5)),
        ),
        traffic_split=0.3,
        auto_deploy=True,
        alpha=0.01,
        guard_alpha=0.02,
        min_scores=50,
        mixture_variance=0.02,
        guardrails=(GuardrailWish(measure="cost", margin=0.01),),
    )
    assert begun(wish) == Campaign(
        id=CampaignId("c"),
        project_id=PROJECT.id,
        key="tone",
        name="Tone",
        metric_id=BOOL.id,
        kind="comparison",
        arms=(
            Arm(key="A", model="large", template_version=1),
            Arm(key="warm", model="large", template_version=2),
            Arm(key="C", model="large", sampling=Sampling(temperature=0.5)),
        ),
        traffic_split=0.3,
        auto_deploy=True,
        alpha=0.01,
        guard_alpha=0.02,
        min_scores=50,
        mixture_variance=0.02,
        guardrails=(Guardrail(measure="cost", margin=0.01),),
        created_s=5.0,
    )


@pytest.mark.parametrize(
    ("arms", "param", "words"),
    [
        ((ArmWish(model="huge"), ArmWish(model="small")), "arms[0].model", "it has small, large"),
        (
            (ArmWish(model="small", key="B"), ArmWish(model="large")),
            "arms[1].key",
            "the key of arms[0]",
        ),
        (
            (ArmWish(model="small", template_version=1), ArmWish(model="large")),
            "arms[0].template_version",
            "has no template",
        ),
        (
            (ArmWish(model="small"), ArmWish(model="large", template_version=3)),
            "arms[1].template_version",
            "its newest is 2",
        ),
    ],
)
def test_arms_that_cannot_be_are_named(arms: tuple[ArmWish, ...], param: str, words: str) -> None:
    with pytest.raises(InvalidRequest) as told:
        begun(replace(WISH, arms=arms))
    assert told.value.param == param
    assert words in told.value.message


def test_a_measure_is_guarded_once() -> None:
    guardrails = (
        GuardrailWish(measure="cost", margin=0.01),
        GuardrailWish(measure="errors", margin=0.01),
        GuardrailWish(measure="cost", margin=0.02),
    )
    with pytest.raises(InvalidRequest) as told:
        begun(replace(WISH, guardrails=guardrails))
    assert told.value.param == "guardrails[2].measure"


def test_what_is_measured_is_compared_by_its_values_alone() -> None:
    ground = replace(GROUND, metric=BUILT_IN_METRICS[0])
    assert begun(ground=ground).metric_id == "first_token_ms"
    with pytest.raises(InvalidRequest, match="kind 'direct'"):
        begun(replace(WISH, kind="comparison"), ground)


def test_one_is_active_at_a_time_and_keys_are_used_once() -> None:
    other = replace(begun(), key="other")
    with pytest.raises(Conflict, match="active campaign, 'other'"):
        begun(ground=replace(GROUND, campaigns=(other,)))
    ended = replace(other, status="DONE")
    assert begun(ground=replace(GROUND, campaigns=(ended,))).status == "WARMUP"
    with pytest.raises(Conflict) as told:
        begun(ground=replace(GROUND, campaigns=(replace(ended, key="tone"),)))
    assert told.value.param == "key"


def test_only_what_was_asked_for_changes_and_only_while_it_runs() -> None:
    campaign = begun()
    assert change(campaign, CampaignChange()) == campaign
    changed = change(campaign, CampaignChange(name="New", traffic_split=0.1, auto_deploy=True))
    assert changed == replace(campaign, name="New", traffic_split=0.1, auto_deploy=True)
    with pytest.raises(Conflict, match="has ended"):
        change(replace(campaign, status="CANCELLED"), CampaignChange(name="New"))


def test_it_is_cancelled_once_and_never_after_its_end() -> None:
    cancelled = cancel(begun(), 9.0)
    assert (cancelled.status, cancelled.ended_s, cancelled.winner) == ("CANCELLED", 9.0, None)
    assert cancel(cancelled, 10.0) == cancelled
    with pytest.raises(Conflict, match="B is better"):
        cancel(replace(begun(), status="DONE", end_reason="B is better"), 9.0)


def test_arms_may_be_the_same_to_check_the_set_up() -> None:
    arms = (ArmWish(model="small"), ArmWish(model="small"), ArmWish(model="large"))
    assert [(arm.key, arm.model) for arm in begun(replace(WISH, arms=arms)).arms] == [
        *(("A", "small"), ("B", "small")),
        ("C", "large"),
    ]


@pytest.mark.parametrize(
    ("metric", "kind", "least"),
    [
        (BOOL, "direct", 30),
        (BOOL, "comparison", 30),
        (replace(BOOL, kind="scalar"), "direct", 100),
        (replace(BOOL, kind="scalar"), "comparison", 30),
        *((metric, "direct", 300) for metric in BUILT_IN_METRICS if metric.kind == "scalar"),
    ],
)
def test_scores_on_a_scale_have_to_be_more_before_anything_is_tested(
    metric: Metric, kind: CampaignKind, least: int
) -> None:
    ground = replace(GROUND, metric=metric)
    assert begun(replace(WISH, kind=kind), ground).min_scores == least
    assert begun(replace(WISH, kind=kind, min_scores=7), ground).min_scores == 7
