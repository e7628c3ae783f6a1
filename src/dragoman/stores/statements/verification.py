"""What the books are recomputed with. Plain SQL: these are reports, each over whole tables."""

# The pieces that statements share are constants of this file.
# ruff: noqa: S608

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import text
from sqlalchemy.sql import ClauseElement

# A day is found by whole seconds: a quotient of floats may be rounded up to the next day.
_SUMS = (
    "count(*), sum(input_tokens), sum(cached_input_tokens), sum(cache_write_tokens),"
    " sum(output_tokens), sum(reasoning_tokens), sum(cost), sum(is_estimated)"
)
_KEPT_SUMS = (
    "requests, input_tokens, cached_input_tokens, cache_write_tokens, output_tokens,"
    " reasoning_tokens, cost, estimated"
)
_CHARGE = "kind IN ('settlement', 'grant')"
# What each kind of entry moves, from which book to which.
_ROUTES = (
    "'top_up outside free', 'refund revenue free', 'adjustment house free', 'adjustment free house',"
    " 'hold free held', 'hold house held', 'release held free', 'release held house',"
    " 'settlement held revenue', 'grant house revenue', 'overrun overrun revenue'"
)

STATEMENTS: Mapping[str, ClauseElement] = {
    # What is leased of a free balance, and what of the house's money, has rows of its own.
    "BALANCES": text("SELECT account_id, free, month, month_spent FROM balances"),
    "LEASES": text(
        "SELECT account_id,"
        " sum(CASE WHEN worker_id LIKE '%.house' THEN 0 ELSE amount END),"
        " sum(CASE WHEN worker_id LIKE '%.house' THEN amount ELSE 0 END),"
        " min(amount) FROM leases GROUP BY account_id"
    ),
    "LEDGER": text(
        "SELECT account_id,"
        " sum(CASE WHEN to_book = 'free' THEN amount ELSE 0 END)"
        " - sum(CASE WHEN from_book = 'free' THEN amount ELSE 0 END),"
        " sum(CASE WHEN to_book = 'held' AND from_book <> 'house' THEN amount ELSE 0 END)"
        " - sum(CASE WHEN from_book = 'held' AND to_book <> 'house' THEN amount ELSE 0 END),"
        " sum(CASE WHEN to_book = 'held' AND from_book = 'house' THEN amount ELSE 0 END)"
        " - sum(CASE WHEN from_book = 'held' AND to_book = 'house' THEN amount ELSE 0 END),"
        f" sum(CASE WHEN {_CHARGE} THEN amount ELSE 0 END),"
        f" sum({_CHARGE})"
        " FROM ledger GROUP BY account_id"
    ),
    "MISPLACED": text(
        "SELECT account_id, sequence, kind, from_book, to_book FROM ledger"
        f" WHERE kind || ' ' || from_book || ' ' || to_book NOT IN ({_ROUTES}) LIMIT :most"
    ),
    "UNKNOWN_ACCOUNTS": text(
        "SELECT account_id FROM balances WHERE account_id NOT IN (SELECT id FROM accounts)"
    ),
    "WITHOUT_BALANCE": text(
        "SELECT id FROM accounts WHERE id NOT IN (SELECT account_id FROM balances)"
    ),
    "CHARGED_BY_DAYS": text("SELECT account_id, sum(cost) FROM usage_days GROUP BY account_id"),
    "ZONES": text("SELECT id, time_zone FROM accounts"),
    # Each record and its charge.
    "COUNT_CHARGED": text("SELECT count(*) FROM usage_records WHERE cost <> 0"),
    "CHARGED_OTHERWISE": text(
        "SELECT record.account_id, record.request_id, record.cost, entry.amount"
        " FROM usage_records AS record LEFT JOIN ledger AS entry"
        " ON entry.idempotency_key = 'settlement:' || record.request_id"
        " WHERE record.cost <> 0 AND (entry.amount IS NULL OR entry.amount <> record.cost"
        " OR entry.account_id <> record.account_id) LIMIT :most"
    ),
    "CHARGED_WITHOUT_RECORD": text(
        "SELECT account_id, request_id, amount FROM ledger"
        f" WHERE {_CHARGE} AND posted_s >= :cutoff_s AND NOT EXISTS"
        " (SELECT 1 FROM usage_records WHERE usage_records.request_id = ledger.request_id"
        " AND usage_records.cost <> 0)"
        " LIMIT :most"
    ),
    # Days.
    "KEPT_DAYS": text("SELECT DISTINCT day FROM usage_days WHERE day >= :from_day"),
    "NEXT_STARTED": text("SELECT min(started_s) FROM usage_records WHERE started_s >= :from_s"),
    "DAY_OF_RECORDS": text(
        "SELECT account_id, key_id, coalesce(project, ''), coalesce(model, ''), status,"
        f" {_SUMS} FROM usage_records INDEXED BY ix_usage_records_started"
        " WHERE started_s >= :from_s AND started_s < :to_s"
        " GROUP BY account_id, key_id, coalesce(project, ''), coalesce(model, ''), status"
    ),
    "DAY_OF_SUMS": text(
        f"SELECT account_id, key_id, project, model, status, {_KEPT_SUMS}"
        " FROM usage_days WHERE day = :day"
    ),
    "LABELS_OF_RECORDS": text(
        "SELECT account_id, substr(label.key, 1, 200), substr(label.value, 1, 500),"
        f" {_SUMS} FROM usage_records INDEXED BY ix_usage_records_started,"
        " json_each(usage_records.labels) AS label"
        " WHERE started_s >= :from_s AND started_s < :to_s AND labels IS NOT NULL"
        " GROUP BY account_id, substr(label.key, 1, 200), substr(label.value, 1, 500)"
    ),
    "LABELS_OF_SUMS": text(
        f"SELECT account_id, label, value, {_KEPT_SUMS} FROM usage_labels WHERE day = :day"
    ),
    "CHARGED_BETWEEN": text(
        "SELECT coalesce(sum(cost), 0) FROM usage_records WHERE account_id = :account_id"
        " AND started_s >= :from_s AND started_s < :to_s"
    ),
}
