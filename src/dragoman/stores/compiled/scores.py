"""SQL text, compiled by `python -m dragoman.stores.statements`: do not edit."""

SQLITE_FIND_ACTIVE = """\
SELECT campaigns.metric_id, campaigns.kind FROM campaigns WHERE campaigns.id = :campaign_id AND status IN ('WARMUP', 'IN_PROGRESS')
"""
SQLITE_READ_ARM = """\
SELECT campaign_arms.arm, campaign_arms.units, campaign_arms.requests, campaign_arms.fallbacks, campaign_arms.scores_n, campaign_arms.scores_mean, campaign_arms.scores_m2, campaign_arms.later_n, campaign_arms.later_mean, campaign_arms.later_m2 FROM campaign_arms WHERE campaign_arms.campaign_id = :campaign_id AND campaign_arms.arm = :arm
"""
SQLITE_LIST_ARMS = """\
SELECT campaign_arms.arm, campaign_arms.units, campaign_arms.requests, campaign_arms.fallbacks, campaign_arms.scores_n, campaign_arms.scores_mean, campaign_arms.scores_m2, campaign_arms.later_n, campaign_arms.later_mean, campaign_arms.later_m2 FROM campaign_arms WHERE campaign_arms.campaign_id = :campaign_id ORDER BY campaign_arms.arm
"""
SQLITE_PUT_ARM = """\
INSERT INTO campaign_arms (campaign_id, arm, units, requests, fallbacks, scores_n, scores_mean, scores_m2, later_n, later_mean, later_m2) VALUES (:campaign_id, :arm, :units, :requests, :fallbacks, :scores_n, :scores_mean, :scores_m2, :later_n, :later_mean, :later_m2) ON CONFLICT (campaign_id, arm) DO UPDATE SET units = excluded.units, requests = excluded.requests, fallbacks = excluded.fallbacks, scores_n = excluded.scores_n, scores_mean = excluded.scores_mean, scores_m2 = excluded.scores_m2, later_n = excluded.later_n, later_mean = excluded.later_mean, later_m2 = excluded.later_m2
"""
SQLITE_LIST_GUARDS = """\
SELECT campaign_guards.arm, campaign_guards.measure, campaign_guards.n, campaign_guards.mean, campaign_guards.m2 FROM campaign_guards WHERE campaign_guards.campaign_id = :campaign_id ORDER BY campaign_guards.arm, campaign_guards.measure
"""
SQLITE_PUT_GUARD = """\
INSERT INTO campaign_guards (campaign_id, arm, measure, n, mean, m2) VALUES (:campaign_id, :arm, :measure, :n, :mean, :m2) ON CONFLICT (campaign_id, arm, measure) DO UPDATE SET n = excluded.n, mean = excluded.mean, m2 = excluded.m2
"""
SQLITE_LIST_PAIRS = """\
SELECT campaign_pairs.first_arm, campaign_pairs.second_arm, campaign_pairs.wins, campaign_pairs.losses, campaign_pairs.ties, campaign_pairs.later FROM campaign_pairs WHERE campaign_pairs.campaign_id = :campaign_id ORDER BY campaign_pairs.first_arm, campaign_pairs.second_arm
"""
SQLITE_COUNT_PAIR = """\
INSERT INTO campaign_pairs (campaign_id, first_arm, second_arm, wins, losses, ties, later) VALUES (:campaign_id, :first_arm, :second_arm, :wins, :losses, :ties, :later) ON CONFLICT (campaign_id, first_arm, second_arm) DO UPDATE SET wins = (campaign_pairs.wins + excluded.wins), losses = (campaign_pairs.losses + excluded.losses), ties = (campaign_pairs.ties + excluded.ties), later = (campaign_pairs.later + excluded.later)
"""
SQLITE_SCORE_UNIT = """\
INSERT INTO campaign_units (campaign_id, unit, is_entered, is_scored, has_errors, has_cost, has_first_token_ms) VALUES (:campaign_id, :unit, :is_entered, :is_scored, :has_errors, :has_cost, :has_first_token_ms) ON CONFLICT (campaign_id, unit) DO UPDATE SET is_scored = 1 WHERE campaign_units.is_scored = 0
"""
SQLITE_SCORE_PAIR_UNIT = """\
INSERT INTO campaign_pair_units (campaign_id, unit, first_arm, second_arm) VALUES (:campaign_id, :unit, :first_arm, :second_arm) ON CONFLICT DO NOTHING
"""
SQLITE_READ_UNIT = """\
SELECT campaign_units.is_entered, campaign_units.is_scored, campaign_units.has_errors, campaign_units.has_cost, campaign_units.has_first_token_ms FROM campaign_units WHERE campaign_units.campaign_id = :campaign_id AND campaign_units.unit = :unit
"""
SQLITE_PUT_UNIT = """\
INSERT INTO campaign_units (campaign_id, unit, is_entered, is_scored, has_errors, has_cost, has_first_token_ms) VALUES (:campaign_id, :unit, :is_entered, :is_scored, :has_errors, :has_cost, :has_first_token_ms) ON CONFLICT (campaign_id, unit) DO UPDATE SET is_entered = excluded.is_entered, is_scored = excluded.is_scored, has_errors = excluded.has_errors, has_cost = excluded.has_cost, has_first_token_ms = excluded.has_first_token_ms
"""
