"""SQL text, compiled by `python -m dragoman.stores.statements`: do not edit."""

SQLITE_LAST_SEQUENCE = """\
SELECT seq FROM sqlite_sequence WHERE name = 'interactions'
"""
SQLITE_LAST_POSITION = """\
SELECT max(interactions.position) AS max_1 FROM interactions WHERE interactions.position >= :from_position AND interactions.position < :to_position
"""
SQLITE_ADD_INTERACTION = """\
INSERT INTO interactions (sequence, position, completion_id, request_id, choice, source, project_id, account_id, key_id, created_s, session_id, end_user, attached, model, template_id, template_version, labels, tags, campaign_id, unit, arm, served_arm, entered_by, status, error, finish_reason, input_tokens, cached_input_tokens, cache_write_tokens, output_tokens, reasoning_tokens, is_estimated, cost, first_token_ms, total_ms) VALUES (:sequence, :position, :completion_id, :request_id, :choice, :source, :project_id, :account_id, :key_id, :created_s, :session_id, :end_user, :attached, :model, :template_id, :template_version, :labels, :tags, :campaign_id, :unit, :arm, :served_arm, :entered_by, :status, :error, :finish_reason, :input_tokens, :cached_input_tokens, :cache_write_tokens, :output_tokens, :reasoning_tokens, :is_estimated, :cost, :first_token_ms, :total_ms)
"""
SQLITE_ADD_CONTENT = """\
INSERT INTO interaction_contents (sequence, content) VALUES (:sequence, :content)
"""
SQLITE_ADD_TERM = """\
INSERT OR IGNORE INTO interaction_terms (term, position) VALUES (:term, :position)
"""
SQLITE_FIND_INTERACTION = """\
SELECT interactions.sequence, interactions.position, interactions.completion_id, interactions.request_id, interactions.choice, interactions.source, interactions.project_id, interactions.account_id, interactions.key_id, interactions.created_s, interactions.session_id, interactions.end_user, interactions.attached, interactions.model, interactions.template_id, interactions.template_version, interactions.labels, interactions.tags, interactions.campaign_id, interactions.unit, interactions.arm, interactions.served_arm, interactions.entered_by, interactions.status, interactions.error, interactions.finish_reason, interactions.input_tokens, interactions.cached_input_tokens, interactions.cache_write_tokens, interactions.output_tokens, interactions.reasoning_tokens, interactions.is_estimated, interactions.cost, interactions.first_token_ms, interactions.total_ms FROM interactions WHERE interactions.completion_id = :completion_id
"""
SQLITE_FIND_POSITION = """\
SELECT interactions.position FROM interactions WHERE interactions.completion_id = :completion_id
"""
SQLITE_READ_CONTENT = """\
SELECT interaction_contents.content FROM interaction_contents WHERE interaction_contents.sequence = :sequence
"""
SQLITE_FEEDBACK_OF = """\
SELECT feedback.sequence, feedback.id, feedback.project_id, feedback.completion_id, feedback.metric_id, feedback.value, feedback.reason, feedback.details, feedback.end_user, feedback.created_s FROM feedback WHERE feedback.completion_id IN (SELECT value FROM json_each(:completion_ids)) ORDER BY feedback.sequence
"""
SQLITE_COUNT_TERM = """\
SELECT count(*) FROM (SELECT 1 FROM interaction_terms WHERE term = :term AND position > :after AND position < :before LIMIT :most)
"""
SQLITE_WALK_ALL = """\
SELECT interactions.position FROM interactions WHERE interactions.position > :after AND interactions.position < :before
"""
SQLITE_WALK_TERM = """\
SELECT interaction_terms.position FROM interaction_terms WHERE interaction_terms.term = :term AND interaction_terms.position > :after AND interaction_terms.position < :before
"""
SQLITE_WALK_WORDS = """\
SELECT rowid AS position FROM interaction_words WHERE interaction_words MATCH :words AND rowid > :after AND rowid < :before
"""
SQLITE_IS_OF_ACCOUNT = """\
interactions.account_id = :account_id
"""
SQLITE_IS_OF_PROJECTS = """\
interactions.project_id IN (SELECT value FROM json_each(:project_ids))
"""
SQLITE_IS_COMPLETION = """\
interactions.completion_id = :completion_id
"""
SQLITE_IS_OF_REQUEST = """\
interactions.request_id = :request_id
"""
SQLITE_IS_OF_MODEL = """\
(interactions.model = :model OR interactions.attached = :model)
"""
SQLITE_IS_OF_SESSION = """\
interactions.session_id = :session_id
"""
SQLITE_IS_OF_USER = """\
interactions.end_user = :user
"""
SQLITE_IS_OF_NOBODY = """\
interactions.end_user IS NULL
"""
SQLITE_IS_OF_CAMPAIGN = """\
interactions.campaign_id = :campaign_id
"""
SQLITE_IS_OF_ARM = """\
interactions.arm = :arm
"""
SQLITE_HAS_STATUS = """\
interactions.status = :status
"""
SQLITE_HAS_SOURCE = """\
interactions.source = :source
"""
SQLITE_SINCE = """\
interactions.created_s >= :from_s
"""
SQLITE_UNTIL = """\
interactions.created_s < :to_s
"""
SQLITE_UP_TO = """\
interactions.sequence <= :last
"""
SQLITE_HAS_METRIC = """\
EXISTS (SELECT 1 FROM feedback WHERE feedback.completion_id = interactions.completion_id AND feedback.metric_id = :metric)
"""
SQLITE_LAST_INDEXED = """\
SELECT value FROM server_values WHERE name = 'interaction_words'
"""
SQLITE_NEXT_CONTENTS = """\
SELECT interactions.sequence, interactions.position, interaction_contents.content FROM interaction_contents CROSS JOIN interactions ON interactions.sequence = interaction_contents.sequence WHERE interaction_contents.sequence > :after ORDER BY interaction_contents.sequence LIMIT :most
"""
SQLITE_ADD_WORDS = """\
INSERT INTO interaction_words (rowid, words) VALUES (:position, :words)
"""
SQLITE_DELETE_WORDS = """\
DELETE FROM interaction_words WHERE rowid = :position
"""
SQLITE_MERGE_WORDS = """\
INSERT INTO interaction_words (interaction_words, rank) VALUES ('merge', :pages)
"""
SQLITE_DELETE_INTERACTION = """\
DELETE FROM interactions WHERE interactions.sequence = :sequence
"""
SQLITE_DELETE_CONTENT = """\
DELETE FROM interaction_contents WHERE interaction_contents.sequence = :sequence
"""
SQLITE_DELETE_TERM = """\
DELETE FROM interaction_terms WHERE interaction_terms.term = :term AND interaction_terms.position = :position
"""
SQLITE_DELETE_FEEDBACK_OF = """\
DELETE FROM feedback WHERE feedback.completion_id = :completion_id
"""
SQLITE_DELETE_COMPARISONS_OF = """\
DELETE FROM comparisons WHERE preferred_id = :completion_id OR other_id = :completion_id
"""
SQLITE_METRICS_OF = """\
SELECT DISTINCT feedback.metric_id FROM feedback WHERE feedback.completion_id = :completion_id
"""
SQLITE_OLD_CONTENTS = """\
SELECT interactions.sequence, interactions.position FROM interaction_terms CROSS JOIN interactions ON interactions.position = interaction_terms.position WHERE interaction_terms.term = :term AND interaction_terms.position < :before ORDER BY interaction_terms.position LIMIT :most
"""
