"""SQL text, compiled by `python -m dragoman.stores.statements`: do not edit."""

SQLITE_BALANCES = """\
SELECT account_id, free, month, month_spent FROM balances
"""
SQLITE_LEASES = """\
SELECT account_id, sum(CASE WHEN worker_id LIKE '%.house' THEN 0 ELSE amount END), sum(CASE WHEN worker_id LIKE '%.house' THEN amount ELSE 0 END), min(amount) FROM leases GROUP BY account_id
"""
SQLITE_LEDGER = """\
SELECT account_id, sum(CASE WHEN to_book = 'free' THEN amount ELSE 0 END) - sum(CASE WHEN from_book = 'free' THEN amount ELSE 0 END), sum(CASE WHEN to_book = 'held' AND from_book <> 'house' THEN amount ELSE 0 END) - sum(CASE WHEN from_book = 'held' AND to_book <> 'house' THEN amount ELSE 0 END), sum(CASE WHEN to_book = 'held' AND from_book = 'house' THEN amount ELSE 0 END) - sum(CASE WHEN from_book = 'held' AND to_book = 'house' THEN amount ELSE 0 END), sum(CASE WHEN kind IN ('settlement', 'grant') THEN amount ELSE 0 END), sum(kind IN ('settlement', 'grant')) FROM ledger GROUP BY account_id
"""
SQLITE_MISPLACED = """\
SELECT account_id, sequence, kind, from_book, to_book FROM ledger WHERE kind || ' ' || from_book || ' ' || to_book NOT IN ('top_up outside free', 'refund revenue free', 'adjustment house free', 'adjustment free house', 'hold free held', 'hold house held', 'release held free', 'release held house', 'settlement held revenue', 'grant house revenue', 'overrun overrun revenue') LIMIT :most
"""
SQLITE_UNKNOWN_ACCOUNTS = """\
SELECT account_id FROM balances WHERE account_id NOT IN (SELECT id FROM accounts)
"""
SQLITE_WITHOUT_BALANCE = """\
SELECT id FROM accounts WHERE id NOT IN (SELECT account_id FROM balances)
"""
SQLITE_CHARGED_BY_DAYS = """\
SELECT account_id, sum(cost) FROM usage_days GROUP BY account_id
"""
SQLITE_ZONES = """\
SELECT id, time_zone FROM accounts
"""
SQLITE_COUNT_CHARGED = """\
SELECT count(*) FROM usage_records WHERE cost <> 0
"""
SQLITE_CHARGED_OTHERWISE = """\
SELECT record.account_id, record.request_id, record.cost, entry.amount FROM usage_records AS record LEFT JOIN ledger AS entry ON entry.idempotency_key = 'settlement:' || record.request_id WHERE record.cost <> 0 AND (entry.amount IS NULL OR entry.amount <> record.cost OR entry.account_id <> record.account_id) LIMIT :most
"""
SQLITE_CHARGED_WITHOUT_RECORD = """\
SELECT account_id, request_id, amount FROM ledger WHERE kind IN ('settlement', 'grant') AND posted_s >= :cutoff_s AND NOT EXISTS (SELECT 1 FROM usage_records WHERE usage_records.request_id = ledger.request_id AND usage_records.cost <> 0) LIMIT :most
"""
SQLITE_KEPT_DAYS = """\
SELECT DISTINCT day FROM usage_days WHERE day >= :from_day
"""
SQLITE_NEXT_STARTED = """\
SELECT min(started_s) FROM usage_records WHERE started_s >= :from_s
"""
SQLITE_DAY_OF_RECORDS = """\
SELECT account_id, key_id, coalesce(project, ''), coalesce(model, ''), status, count(*), sum(input_tokens), sum(cached_input_tokens), sum(cache_write_tokens), sum(output_tokens), sum(reasoning_tokens), sum(cost), sum(is_estimated) FROM usage_records INDEXED BY ix_usage_records_started WHERE started_s >= :from_s AND started_s < :to_s GROUP BY account_id, key_id, coalesce(project, ''), coalesce(model, ''), status
"""
SQLITE_DAY_OF_SUMS = """\
SELECT account_id, key_id, project, model, status, requests, input_tokens, cached_input_tokens, cache_write_tokens, output_tokens, reasoning_tokens, cost, estimated FROM usage_days WHERE day = :day
"""
SQLITE_LABELS_OF_RECORDS = """\
SELECT account_id, substr(label.key, 1, 200), substr(label.value, 1, 500), count(*), sum(input_tokens), sum(cached_input_tokens), sum(cache_write_tokens), sum(output_tokens), sum(reasoning_tokens), sum(cost), sum(is_estimated) FROM usage_records INDEXED BY ix_usage_records_started, json_each(usage_records.labels) AS label WHERE started_s >= :from_s AND started_s < :to_s AND labels IS NOT NULL GROUP BY account_id, substr(label.key, 1, 200), substr(label.value, 1, 500)
"""
SQLITE_LABELS_OF_SUMS = """\
SELECT account_id, label, value, requests, input_tokens, cached_input_tokens, cache_write_tokens, output_tokens, reasoning_tokens, cost, estimated FROM usage_labels WHERE day = :day
"""
SQLITE_CHARGED_BETWEEN = """\
SELECT coalesce(sum(cost), 0) FROM usage_records WHERE account_id = :account_id AND started_s >= :from_s AND started_s < :to_s
"""
