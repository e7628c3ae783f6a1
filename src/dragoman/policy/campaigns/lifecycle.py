"""How campaigns begin, are changed and are cancelled; how they end by themselves is the clerk's business."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from msgspec import UnsetType

from dragoman.chat import Sampling
from dragoman.errors import Conflict, InvalidRequest
from dragoman.policy.administration.project_wishes import ArmWish, CampaignChange, CampaignWish
from dragoman.records.campaign import Arm, Campaign, CampaignId, Guardrail
from dragoman.records.metric import Metric
from dragoman.records.project import AttachedModel, Project
from dragoman.records.template import Template

DEFAULT_ARM_KEYS = "ABCDEFGH"
LEAST_SCORES = 30
LEAST_SCALAR_SCORES = 100
LEAST_MEASURED_SCORES = 300
"""Where one score in many exceeds the rest by far, as times and costs do, means settle later. Of 300 campaigns
whose arms had equal means and lognormal scores of different spread (σ 0.5 and 1.5), 23 % ended falsely with 30,
16 % with 100, 7 % with 300 (σ 0.5 and 1: 8, 6, 3 %). Measures come with every request, so that 300 are soon there."""


class Ground(msgspec.Struct, frozen=True, kw_only=True):
    """What a campaign begins on."""

    project: Project
    metric: Metric
    """The one that the wish names."""
    templates: Sequence[Template] = ()
    """The project's."""
    campaigns: Sequence[Campaign] = ()
    """All that the project has had."""


def begin(wish: CampaignWish, ground: Ground, campaign_id: CampaignId, now_s: float) -> Campaign:
    """Raises `InvalidRequest`, or `Conflict` where the key was used or another campaign is active."""
    _refuse_taken(wish, ground)
    if wish.kind == "comparison" and ground.metric.is_built_in:
        raise InvalidRequest(
            f"metric: '{ground.metric.key}' is measured, and nobody compares by it; take a metric of the"
            " project, or kind 'direct'",
            param="metric",
        )
    return Campaign(
        id=campaign_id,
        project_id=ground.project.id,
        key=wish.key,
        name=wish.key if wish.name is None else wish.name.strip() or wish.key,
        metric_id=ground.metric.id,
        kind=wish.kind,
        arms=_arms(wish.arms, ground),
        traffic_split=wish.traffic_split,
        auto_deploy=wish.auto_deploy,
        alpha=wish.alpha,
        guard_alpha=wish.guard_alpha,
        min_scores=_least_scores(wish, ground.metric)
        if wish.min_scores is None
        else wish.min_scores,
        mixture_variance=wish.mixture_variance,
        guardrails=_guardrails(wish),
        created_s=now_s,
    )


def change(campaign: Campaign, wish: CampaignChange) -> Campaign:
    """Raises `Conflict` where it has ended."""
    if not campaign.is_active:
        raise Conflict(
            f"campaign '{campaign.key}' has ended ({campaign.status}); begin another one",
            param="campaign",
        )
    changed = campaign
    if not isinstance(wish.name, UnsetType):
        changed = msgspec.structs.replace(changed, name=wish.name.strip() or campaign.key)
    if not isinstance(wish.traffic_split, UnsetType):
        changed = msgspec.structs.replace(changed, traffic_split=wish.traffic_split)
    if not isinstance(wish.auto_deploy, UnsetType):
        changed = msgspec.structs.replace(changed, auto_deploy=wish.auto_deploy)
    return changed


def cancel(campaign: Campaign, now_s: float) -> Campaign:
    """The same where it was cancelled before. Raises `Conflict` where it ended by itself."""
    if campaign.status == "CANCELLED":
        return campaign
    if not campaign.is_active:
        raise Conflict(
            f"campaign '{campaign.key}' ended by itself, and its result stands: {campaign.end_reason}",
            param="campaign",
        )
    return msgspec.structs.replace(
        campaign, status="CANCELLED", ended_s=now_s, end_reason="It was cancelled."
    )


def _refuse_taken(wish: CampaignWish, ground: Ground) -> None:
    for other in ground.campaigns:
        if other.key == wish.key:
            raise Conflict(
                f"key: project '{ground.project.key}' has had a campaign '{wish.key}'; choose another key",
                param="key",
            )
    for other in ground.campaigns:
        if other.is_active:
            raise Conflict(
                f"project '{ground.project.key}' has an active campaign, '{other.key}', and can have one at a"
                " time; cancel it, or wait until it ends"
            )


def _least_scores(wish: CampaignWish, metric: Metric) -> int:
    # Preferences are three values, whatever the metric takes.
    if wish.kind == "comparison" or metric.kind == "bool":
        return LEAST_SCORES
    return LEAST_MEASURED_SCORES if metric.is_built_in else LEAST_SCALAR_SCORES


def _arms(wishes: Sequence[ArmWish], ground: Ground) -> tuple[Arm, ...]:
    arms: list[Arm] = []
    for index, wish in enumerate(wishes):
        path = f"arms[{index}]"
        arm = Arm(
            key=DEFAULT_ARM_KEYS[index] if wish.key is None else wish.key,
            model=_attached(wish, ground, path).key,
            template_version=wish.template_version,
            sampling=msgspec.convert(wish.sampling, Sampling, from_attributes=True),
        )
        for place, other in enumerate(arms):
            if other.key == arm.key:
                raise InvalidRequest(
                    f"{path}.key: '{arm.key}' is the key of arms[{place}], too; give each its own",
                    param=f"{path}.key",
                )
        arms.append(arm)
    return tuple(arms)


def _attached(wish: ArmWish, ground: Ground, path: str) -> AttachedModel:
    project = ground.project
    attached = next((each for each in project.models if each.key == wish.model), None)
    if attached is None:
        known = ", ".join(each.key for each in project.models[:20]) or "none yet"
        raise InvalidRequest(
            f"{path}.model: project '{project.key}' has no model {wish.model[:100]!r}; it has {known}",
            param=f"{path}.model",
        )
    if wish.template_version is not None:
        _require_version(attached, wish.template_version, ground, path)
    return attached


def _require_version(attached: AttachedModel, version: int, ground: Ground, path: str) -> None:
    param = f"{path}.template_version"
    template = next((each for each in ground.templates if each.key == attached.template), None)
    if template is None:
        raise InvalidRequest(
            f"{param}: the model '{attached.key}' of project '{ground.project.key}' has no template; give"
            " it one, or leave this out",
            param=param,
        )
    if template.version(version) is None:
        raise InvalidRequest(
            f"{param}: template '{template.key}' has no version {version}; its newest is"
            f" {template.versions[-1].version}",
            param=param,
        )


def _guardrails(wish: CampaignWish) -> tuple[Guardrail, ...]:
    guardrails: list[Guardrail] = []
    for index, each in enumerate(wish.guardrails):
        if any(other.measure == each.measure for other in guardrails):
            raise InvalidRequest(
                f"guardrails[{index}].measure: '{each.measure}' is guarded already; give one margin for it",
                param=f"guardrails[{index}].measure",
            )
        guardrails.append(Guardrail(measure=each.measure, margin=each.margin))
    return tuple(guardrails)
