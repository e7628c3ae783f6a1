"""SQL text, compiled by `python -m dragoman.stores.statements`: do not edit."""

SQLITE_LIST_CAMPAIGNS = """\
SELECT campaigns.id, campaigns.project_id, campaigns."key", campaigns.name, campaigns.metric_id, campaigns.kind, campaigns.arms, campaigns.traffic_split, campaigns.auto_deploy, campaigns.alpha, campaigns.guard_alpha, campaigns.min_scores, campaigns.mixture_variance, campaigns.guardrails, campaigns.status, campaigns.created_s, campaigns.ended_s, campaigns.end_reason, campaigns.winner, campaigns.deployed_s, campaigns.least_p FROM campaigns ORDER BY campaigns.created_s DESC, campaigns.id DESC
"""
SQLITE_LIST_CAMPAIGNS_OF = """\
SELECT campaigns.id, campaigns.project_id, campaigns."key", campaigns.name, campaigns.metric_id, campaigns.kind, campaigns.arms, campaigns.traffic_split, campaigns.auto_deploy, campaigns.alpha, campaigns.guard_alpha, campaigns.min_scores, campaigns.mixture_variance, campaigns.guardrails, campaigns.status, campaigns.created_s, campaigns.ended_s, campaigns.end_reason, campaigns.winner, campaigns.deployed_s, campaigns.least_p FROM campaigns WHERE campaigns.project_id = :project_id ORDER BY campaigns.created_s DESC, campaigns.id DESC
"""
SQLITE_LIST_ACTIVE = """\
SELECT campaigns.id, campaigns.project_id, campaigns."key", campaigns.name, campaigns.metric_id, campaigns.kind, campaigns.arms, campaigns.traffic_split, campaigns.auto_deploy, campaigns.alpha, campaigns.guard_alpha, campaigns.min_scores, campaigns.mixture_variance, campaigns.guardrails, campaigns.status, campaigns.created_s, campaigns.ended_s, campaigns.end_reason, campaigns.winner, campaigns.deployed_s, campaigns.least_p FROM campaigns WHERE status IN ('WARMUP', 'IN_PROGRESS') ORDER BY campaigns.created_s DESC, campaigns.id DESC
"""
SQLITE_ACTIVE_OF = """\
SELECT campaigns."key" FROM campaigns WHERE campaigns.project_id = :project_id AND status IN ('WARMUP', 'IN_PROGRESS')
"""
SQLITE_ADD_CAMPAIGN = """\
INSERT INTO campaigns (id, project_id, "key", name, metric_id, kind, arms, traffic_split, auto_deploy, alpha, guard_alpha, min_scores, mixture_variance, guardrails, status, created_s, ended_s, end_reason, winner, deployed_s, least_p) VALUES (:id, :project_id, :key, :name, :metric_id, :kind, :arms, :traffic_split, :auto_deploy, :alpha, :guard_alpha, :min_scores, :mixture_variance, :guardrails, :status, :created_s, :ended_s, :end_reason, :winner, :deployed_s, :least_p)
"""
SQLITE_READ_PROGRESS = """\
SELECT campaigns.status, campaigns.least_p FROM campaigns WHERE campaigns.id = :campaign_id
"""
SQLITE_REPLACE_CAMPAIGN = """\
UPDATE campaigns SET name=:name, traffic_split=:traffic_split, auto_deploy=:auto_deploy, status=:status, ended_s=:ended_s, end_reason=:end_reason, winner=:winner, deployed_s=:deployed_s, least_p=:least_p WHERE campaigns.id = :campaign_id AND status IN ('WARMUP', 'IN_PROGRESS')
"""
SQLITE_LIST_NEW = """\
SELECT interactions.sequence, interactions.choice, interactions.source, interactions.campaign_id, interactions.unit, interactions.arm, interactions.served_arm, interactions.entered_by, interactions.status, interactions.model, interactions.input_tokens, interactions.output_tokens, interactions.cost, interactions.first_token_ms, interactions.total_ms FROM interactions WHERE interactions.campaign_id IS NOT NULL AND interactions.sequence > :mark ORDER BY interactions.sequence LIMIT :limit OFFSET 0
"""
SQLITE_NOTE_LEAST_P = """\
UPDATE campaigns SET least_p=:least_p WHERE campaigns.id = :campaign_id
"""
