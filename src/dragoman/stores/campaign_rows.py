"""Campaigns as they stand in the table."""

from __future__ import annotations

from dragoman.records.campaign import Arm, Campaign, Guardrail
from dragoman.stores.database import Row, Value
from dragoman.stores.json_column import JsonColumn

_arms = JsonColumn(tuple[Arm, ...])
_guardrails = JsonColumn(tuple[Guardrail, ...])
_least_p = JsonColumn(tuple[tuple[str, float], ...])

least_p_text = _least_p.text
least_p_value = _least_p.value


def campaign_values(campaign: Campaign) -> dict[str, Value]:
    """Every column."""
    return {
        "id": campaign.id,
        "project_id": campaign.project_id,
        "key": campaign.key,
        "name": campaign.name,
        "metric_id": campaign.metric_id,
        "kind": campaign.kind,
        "arms": _arms.text(campaign.arms),
        "traffic_split": campaign.traffic_split,
        "auto_deploy": campaign.auto_deploy,
        "alpha": campaign.alpha,
        "guard_alpha": campaign.guard_alpha,
        "min_scores": campaign.min_scores,
        "mixture_variance": campaign.mixture_variance,
        "guardrails": _guardrails.text(campaign.guardrails),
        "status": campaign.status,
        "created_s": campaign.created_s,
        "ended_s": campaign.ended_s,
        "end_reason": campaign.end_reason,
        "winner": campaign.winner,
        "deployed_s": campaign.deployed_s,
        "least_p": _least_p.text(campaign.least_p),
    }


def kept_campaign(row: Row) -> Campaign:
    """From a whole row, in the order of the table's columns."""
    id_, project_id, key, name, metric_id, kind, arms, traffic_split, auto_deploy = row[:9]
    alpha, guard_alpha, min_scores, mixture_variance, guardrails, status = row[9:15]
    created_s, ended_s, end_reason, winner, deployed_s, least_p = row[15:]
    return Campaign(
        id=id_,
        project_id=project_id,
        key=key,
        name=name,
        metric_id=metric_id,
        kind=kind,
        arms=_arms.value(arms),
        traffic_split=traffic_split,
        auto_deploy=bool(auto_deploy),
        alpha=alpha,
        guard_alpha=guard_alpha,
        min_scores=min_scores,
        mixture_variance=mixture_variance,
        guardrails=_guardrails.value(guardrails),
        status=status,
        created_s=created_s,
        ended_s=ended_s,
        end_reason=end_reason,
        winner=winner,
        deployed_s=deployed_s,
        least_p=_least_p.value(least_p),
    )
