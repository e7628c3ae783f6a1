"""SQL text, compiled by `python -m dragoman.stores.statements`: do not edit."""

SQLITE_RECORDS = """\
SELECT usage_records.sequence, usage_records.request_id, usage_records.account_id, usage_records.key_id, usage_records.project, usage_records.dialect, usage_records.model_asked, usage_records.model, usage_records.provider, usage_records.is_stream, usage_records.input_tokens, usage_records.cached_input_tokens, usage_records.cache_write_tokens, usage_records.output_tokens, usage_records.reasoning_tokens, usage_records.is_estimated, usage_records.cost, usage_records.hold, usage_records.price_id, usage_records.started_s, usage_records.queued_ms, usage_records.first_token_ms, usage_records.total_ms, usage_records.status, usage_records.finish_reason, usage_records.http_status, usage_records.error, usage_records.session_id, usage_records.end_user, usage_records.labels, usage_records.tags, usage_records.attempts FROM usage_records
"""
SQLITE_FIND_RECORD = """\
SELECT usage_records.sequence, usage_records.request_id, usage_records.account_id, usage_records.key_id, usage_records.project, usage_records.dialect, usage_records.model_asked, usage_records.model, usage_records.provider, usage_records.is_stream, usage_records.input_tokens, usage_records.cached_input_tokens, usage_records.cache_write_tokens, usage_records.output_tokens, usage_records.reasoning_tokens, usage_records.is_estimated, usage_records.cost, usage_records.hold, usage_records.price_id, usage_records.started_s, usage_records.queued_ms, usage_records.first_token_ms, usage_records.total_ms, usage_records.status, usage_records.finish_reason, usage_records.http_status, usage_records.error, usage_records.session_id, usage_records.end_user, usage_records.labels, usage_records.tags, usage_records.attempts FROM usage_records WHERE usage_records.request_id = :request_id
"""
SQLITE_STARTED = """\
SELECT usage_records.started_s FROM usage_records WHERE usage_records.sequence = :sequence
"""
SQLITE_LAST_SEQUENCE = """\
SELECT coalesce(max(usage_records.sequence), 0) AS coalesce_1 FROM usage_records
"""
SQLITE_IS_OF_ACCOUNT = """\
usage_records.account_id = :account_id
"""
SQLITE_IS_OF_KEY = """\
usage_records.key_id = :key_id
"""
SQLITE_IS_OF_PROJECT = """\
usage_records.project = :project
"""
SQLITE_IS_OF_MODEL = """\
usage_records.model = :model
"""
SQLITE_IS_OF_DIALECT = """\
usage_records.dialect = :dialect
"""
SQLITE_HAS_STATUS = """\
usage_records.status = :status
"""
SQLITE_IS_OF_SESSION = """\
usage_records.session_id = :session_id
"""
SQLITE_IS_OF_USER = """\
usage_records.end_user = :user
"""
SQLITE_HAS_LABEL = """\
EXISTS (SELECT 1 FROM json_each(usage_records.labels) AS label WHERE label.key = :label_name AND label.value = :label_value)
"""
SQLITE_SINCE = """\
usage_records.started_s >= :from_s
"""
SQLITE_UNTIL = """\
usage_records.started_s < :to_s
"""
SQLITE_BEFORE = """\
(usage_records.started_s, usage_records.sequence) < (:before_s, :before)
"""
SQLITE_NOT_BEFORE = """\
(usage_records.started_s, usage_records.sequence) >= (:floor_s, :floor)
"""
SQLITE_AFTER = """\
(usage_records.started_s, usage_records.sequence) > (:after_s, :after)
"""
SQLITE_UP_TO = """\
usage_records.sequence <= :last
"""
SQLITE_DAY_IS_OF_ACCOUNT = """\
usage_days.account_id = :account_id
"""
SQLITE_DAY_IS_OF_KEY = """\
usage_days.key_id = :key_id
"""
SQLITE_DAY_IS_OF_PROJECT = """\
usage_days.project = :project
"""
SQLITE_DAY_IS_OF_MODEL = """\
usage_days.model = :model
"""
SQLITE_DAY_HAS_STATUS = """\
usage_days.status = :status
"""
SQLITE_DAY_SINCE = """\
usage_days.day >= :from_day
"""
SQLITE_DAY_UNTIL = """\
usage_days.day < :to_day
"""
SQLITE_LABEL_IS_OF_ACCOUNT = """\
usage_labels.account_id = :account_id
"""
SQLITE_LABEL_HAS_NAME = """\
usage_labels.label = :label_name
"""
SQLITE_LABEL_HAS_VALUE = """\
usage_labels.value = :label_value
"""
SQLITE_LABEL_SINCE = """\
usage_labels.day >= :from_day
"""
SQLITE_LABEL_UNTIL = """\
usage_labels.day < :to_day
"""
