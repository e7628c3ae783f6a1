"""SQL text, compiled by `python -m dragoman.stores.statements`: do not edit."""

SQLITE_SESSIONS_OF_USER = """\
SELECT DISTINCT interactions.session_id FROM interaction_terms CROSS JOIN interactions ON interactions.position = interaction_terms.position WHERE interaction_terms.term = :term AND interaction_terms.position > :after AND interactions.account_id = :account_id AND interactions.end_user = :user
"""
SQLITE_INTERACTIONS_OF_USER = """\
SELECT interactions.* FROM interaction_terms CROSS JOIN interactions ON interactions.position = interaction_terms.position WHERE interaction_terms.term = :term AND interaction_terms.position > :after AND interactions.account_id = :account_id AND interactions.end_user = :user ORDER BY interaction_terms.position LIMIT :most
"""
SQLITE_INTERACTIONS_OF_SESSION = """\
SELECT interactions.* FROM interaction_terms CROSS JOIN interactions ON interactions.position = interaction_terms.position WHERE interaction_terms.term = :term AND interaction_terms.position > :after AND interactions.account_id = :account_id AND interactions.session_id = :session_id AND interactions.end_user IS NULL ORDER BY interaction_terms.position LIMIT :most
"""
SQLITE_DELETE_FEEDBACK = """\
DELETE FROM feedback WHERE end_user = :user AND project_id IN (SELECT id FROM projects WHERE account_id = :account_id)
"""
SQLITE_DELETE_COMPARISONS = """\
DELETE FROM comparisons WHERE end_user = :user AND project_id IN (SELECT id FROM projects WHERE account_id = :account_id)
"""
SQLITE_DELETE_OUTCOMES = """\
DELETE FROM outcomes WHERE end_user = :user AND project_id IN (SELECT id FROM projects WHERE account_id = :account_id)
"""
SQLITE_DELETE_OUTCOMES_OF_SESSIONS = """\
DELETE FROM outcomes WHERE session_id IN (SELECT value FROM json_each(:sessions)) AND end_user IS NULL AND project_id IN (SELECT id FROM projects WHERE account_id = :account_id)
"""
SQLITE_CAMPAIGNS_OF_ACCOUNT = """\
SELECT id FROM campaigns WHERE project_id IN (SELECT id FROM projects WHERE account_id = :account_id)
"""
SQLITE_FORGET_UNITS = """\
UPDATE campaign_units SET unit = 'erased:' || lower(hex(randomblob(16))) WHERE campaign_id = :campaign_id AND unit IN (SELECT value FROM json_each(:units))
"""
SQLITE_PAIR_UNITS = """\
SELECT DISTINCT unit FROM campaign_pair_units WHERE campaign_id = :campaign_id
"""
SQLITE_FORGET_PAIR_UNIT = """\
UPDATE campaign_pair_units SET unit = :erased WHERE campaign_id = :campaign_id AND unit = :unit
"""
SQLITE_USAGE_OF_ACCOUNT = """\
SELECT sequence, started_s, request_id, end_user, session_id, labels IS NOT NULL FROM usage_records INDEXED BY ix_usage_records_account WHERE account_id = :account_id AND (started_s, sequence) > (:after_s, :after) ORDER BY started_s, sequence LIMIT :most
"""
SQLITE_FORGET_USAGE = """\
UPDATE usage_records SET end_user = NULL, session_id = NULL, labels = NULL, tags = NULL WHERE sequence IN (SELECT value FROM json_each(:sequences))
"""
SQLITE_DELETE_ANSWERS = """\
DELETE FROM idempotency WHERE worker_id IS NULL AND request_id IN (SELECT value FROM json_each(:request_ids))
"""
