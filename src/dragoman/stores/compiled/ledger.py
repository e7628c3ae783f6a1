"""SQL text, compiled by `python -m dragoman.stores.statements`: do not edit."""

SQLITE_BALANCE = """\
SELECT balances.free, balances.is_exact, balances.month, balances.month_spent FROM balances WHERE balances.account_id = :account_id
"""
SQLITE_ADD_BALANCE = """\
INSERT INTO balances (account_id, free, is_exact, month, month_spent) VALUES (:account_id, 0, 1, 0, 0)
"""
SQLITE_PUT_BALANCE = """\
UPDATE balances SET free=:free, is_exact=:is_exact, month=:month, month_spent=:month_spent WHERE balances.account_id = :of_account
"""
SQLITE_LEASES = """\
SELECT leases.worker_id, leases.amount FROM leases WHERE leases.account_id = :account_id
"""
SQLITE_PUT_LEASE = """\
INSERT INTO leases (worker_id, account_id, amount) VALUES (:worker_id, :account_id, :amount) ON CONFLICT (worker_id, account_id) DO UPDATE SET amount = excluded.amount
"""
SQLITE_LEASES_OF_WORKER = """\
SELECT leases.worker_id, leases.account_id, leases.amount FROM leases WHERE leases.worker_id = :worker_id OR leases.worker_id = :house_id
"""
SQLITE_DROP_LEASES = """\
DELETE FROM leases WHERE leases.worker_id = :worker_id OR leases.worker_id = :house_id
"""
SQLITE_RETURN_TO_FREE = """\
UPDATE balances SET free=(balances.free + :amount) WHERE balances.account_id = :of_account
"""
SQLITE_CHARGED_BETWEEN = """\
SELECT coalesce(sum(usage_records.cost), 0) AS coalesce_1 FROM usage_records WHERE usage_records.account_id = :account_id AND usage_records.started_s >= :from_s AND usage_records.started_s < :to_s
"""
SQLITE_ADD_ENTRY = """\
INSERT INTO ledger (posted_s, kind, account_id, amount, from_book, to_book, idempotency_key, request_id, note) VALUES (:posted_s, :kind, :account_id, :amount, :from_book, :to_book, :idempotency_key, :request_id, :note)
"""
SQLITE_ADD_RECORD = """\
INSERT INTO usage_records (request_id, account_id, key_id, project, dialect, model_asked, model, provider, is_stream, input_tokens, cached_input_tokens, cache_write_tokens, output_tokens, reasoning_tokens, is_estimated, cost, hold, price_id, started_s, queued_ms, first_token_ms, total_ms, status, finish_reason, http_status, error, session_id, end_user, labels, tags, attempts) VALUES (:request_id, :account_id, :key_id, :project, :dialect, :model_asked, :model, :provider, :is_stream, :input_tokens, :cached_input_tokens, :cache_write_tokens, :output_tokens, :reasoning_tokens, :is_estimated, :cost, :hold, :price_id, :started_s, :queued_ms, :first_token_ms, :total_ms, :status, :finish_reason, :http_status, :error, :session_id, :end_user, :labels, :tags, :attempts)
"""
SQLITE_FIND_RECORD = """\
SELECT usage_records.status, usage_records.cost, usage_records.hold FROM usage_records WHERE usage_records.request_id = :request_id
"""
SQLITE_ADD_DAY = """\
INSERT INTO usage_days (day, account_id, key_id, project, model, status, requests, input_tokens, cached_input_tokens, cache_write_tokens, output_tokens, reasoning_tokens, cost, estimated) VALUES (:day, :account_id, :key_id, :project, :model, :status, :requests, :input_tokens, :cached_input_tokens, :cache_write_tokens, :output_tokens, :reasoning_tokens, :cost, :estimated) ON CONFLICT (day, model, account_id, key_id, project, status) DO UPDATE SET requests = (usage_days.requests + excluded.requests), input_tokens = (usage_days.input_tokens + excluded.input_tokens), cached_input_tokens = (usage_days.cached_input_tokens + excluded.cached_input_tokens), cache_write_tokens = (usage_days.cache_write_tokens + excluded.cache_write_tokens), output_tokens = (usage_days.output_tokens + excluded.output_tokens), reasoning_tokens = (usage_days.reasoning_tokens + excluded.reasoning_tokens), cost = (usage_days.cost + excluded.cost), estimated = (usage_days.estimated + excluded.estimated)
"""
SQLITE_ADD_LABEL = """\
INSERT INTO usage_labels (day, account_id, label, value, requests, input_tokens, cached_input_tokens, cache_write_tokens, output_tokens, reasoning_tokens, cost, estimated) VALUES (:day, :account_id, :label, :value, :requests, :input_tokens, :cached_input_tokens, :cache_write_tokens, :output_tokens, :reasoning_tokens, :cost, :estimated) ON CONFLICT (day, account_id, label, value) DO UPDATE SET requests = (usage_labels.requests + excluded.requests), input_tokens = (usage_labels.input_tokens + excluded.input_tokens), cached_input_tokens = (usage_labels.cached_input_tokens + excluded.cached_input_tokens), cache_write_tokens = (usage_labels.cache_write_tokens + excluded.cache_write_tokens), output_tokens = (usage_labels.output_tokens + excluded.output_tokens), reasoning_tokens = (usage_labels.reasoning_tokens + excluded.reasoning_tokens), cost = (usage_labels.cost + excluded.cost), estimated = (usage_labels.estimated + excluded.estimated)
"""
SQLITE_ADD_WORKER = """\
INSERT INTO workers (id, started_s, host, pid) VALUES (:id, :started_s, :host, :pid)
"""
SQLITE_TOUCH_WORKER = """\
UPDATE workers SET pid=workers.pid WHERE workers.id = :worker_id
"""
SQLITE_DROP_WORKER = """\
DELETE FROM workers WHERE workers.id = :worker_id
"""
SQLITE_LIST_WORKERS = """\
SELECT workers.id, workers.pid FROM workers
"""
SQLITE_TOUCH_KEY = """\
UPDATE keys SET last_used_s=:at_s WHERE keys.id = :key_id AND coalesce(keys.last_used_s, 0) < :at_s
"""
SQLITE_FIND_CLAIM = """\
SELECT idempotency.body_hash, idempotency.request_id, idempotency.worker_id, idempotency.answer FROM idempotency WHERE idempotency.key_id = :key_id AND idempotency.idempotency_key = :idempotency_key AND idempotency.expires_s > :now_s
"""
SQLITE_ADD_CLAIM = """\
INSERT OR REPLACE INTO idempotency (key_id, idempotency_key, body_hash, request_id, worker_id, answer, expires_s) VALUES (:key_id, :idempotency_key, :body_hash, :request_id, :worker_id, :answer, :expires_s)
"""
SQLITE_KEEP_ANSWER = """\
UPDATE idempotency SET worker_id=NULL, answer=:kept_answer WHERE idempotency.key_id = :key_id AND idempotency.idempotency_key = :idempotency_key AND idempotency.request_id = :request_id
"""
SQLITE_DROP_CLAIM = """\
DELETE FROM idempotency WHERE idempotency.key_id = :key_id AND idempotency.idempotency_key = :idempotency_key AND idempotency.request_id = :request_id
"""
SQLITE_DROP_CLAIMS_OF_WORKER = """\
DELETE FROM idempotency WHERE idempotency.worker_id = :worker_id
"""
SQLITE_COUNT_CLAIMS = """\
SELECT count(*) AS count_1, coalesce(sum(length(idempotency.answer)), 0) AS coalesce_1 FROM idempotency WHERE idempotency.key_id = :key_id
"""
SQLITE_DROP_EXPIRED_CLAIMS = """\
DELETE FROM idempotency WHERE idempotency.expires_s <= :now_s
"""
SQLITE_DROP_ALERT = """\
DELETE FROM alerts WHERE alerts.account_id = :account_id AND alerts.occasion = :occasion
"""
SQLITE_ADD_ALERT = """\
INSERT OR IGNORE INTO alerts (account_id, occasion, payload, created_s, attempts, next_attempt_s, delivered_s, last_error) VALUES (:account_id, :occasion, :payload, :created_s, :attempts, :next_attempt_s, :delivered_s, :last_error)
"""
