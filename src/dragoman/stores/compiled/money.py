"""SQL text, compiled by `python -m dragoman.stores.statements`: do not edit."""

SQLITE_ADD_ENTRY = """\
INSERT INTO ledger (posted_s, kind, account_id, amount, from_book, to_book, idempotency_key, request_id, note) VALUES (:posted_s, :kind, :account_id, :amount, :from_book, :to_book, :idempotency_key, :request_id, :note)
"""
SQLITE_FIND_ENTRY = """\
SELECT ledger.sequence, ledger.posted_s, ledger.kind, ledger.account_id, ledger.amount, ledger.from_book, ledger.to_book, ledger.idempotency_key, ledger.request_id, ledger.note FROM ledger WHERE ledger.idempotency_key = :idempotency_key
"""
SQLITE_LIST_ENTRIES = """\
SELECT ledger.sequence, ledger.posted_s, ledger.kind, ledger.account_id, ledger.amount, ledger.from_book, ledger.to_book, ledger.idempotency_key, ledger.request_id, ledger.note FROM ledger WHERE ledger.sequence < :before ORDER BY ledger.sequence DESC LIMIT :limit OFFSET 0
"""
SQLITE_LIST_ENTRIES_OF = """\
SELECT ledger.sequence, ledger.posted_s, ledger.kind, ledger.account_id, ledger.amount, ledger.from_book, ledger.to_book, ledger.idempotency_key, ledger.request_id, ledger.note FROM ledger WHERE ledger.sequence < :before AND ledger.account_id = :account_id ORDER BY ledger.sequence DESC LIMIT :limit OFFSET 0
"""
SQLITE_READ_BALANCE = """\
SELECT balances.free, (SELECT coalesce(sum(leases.amount), 0) AS coalesce_1 FROM leases WHERE leases.account_id = balances.account_id AND leases.worker_id NOT LIKE '%.house') AS anon_1, balances.month, balances.month_spent FROM balances WHERE balances.account_id = :account_id
"""
SQLITE_READ_TIME_ZONE = """\
SELECT accounts.time_zone FROM accounts WHERE accounts.id = :account_id
"""
SQLITE_COUNT_MONTH = """\
UPDATE balances SET month_spent=(SELECT coalesce(sum(usage_records.cost), 0) AS coalesce_1 FROM usage_records WHERE usage_records.account_id = :account AND usage_records.started_s >= :from_s AND usage_records.started_s < :to_s) WHERE balances.account_id = :account
"""
SQLITE_MOVE_FREE = """\
UPDATE balances SET free=(balances.free + :change) WHERE balances.account_id = :account
"""
