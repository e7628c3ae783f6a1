"""SQL text, compiled by `python -m dragoman.stores.statements`: do not edit."""

SQLITE_ADD_ALERT = """\
INSERT INTO alerts (account_id, occasion, payload, created_s, attempts, next_attempt_s, delivered_s, last_error) VALUES (:account_id, :occasion, :payload, :created_s, :attempts, :next_attempt_s, :delivered_s, :last_error) ON CONFLICT DO NOTHING
"""
SQLITE_LIST_DUE = """\
SELECT alerts.sequence, alerts.account_id, alerts.occasion, alerts.payload, alerts.created_s, alerts.attempts, alerts.next_attempt_s, alerts.delivered_s, alerts.last_error FROM alerts WHERE alerts.delivered_s IS NULL AND (alerts.next_attempt_s <= :now_s OR alerts.next_attempt_s IS NULL AND alerts.attempts = 0) ORDER BY alerts.sequence LIMIT :limit OFFSET 0
"""
SQLITE_NEXT_DUE = """\
SELECT min(coalesce(alerts.next_attempt_s, alerts.created_s)) AS min_1 FROM alerts WHERE alerts.delivered_s IS NULL AND (alerts.next_attempt_s IS NOT NULL OR alerts.next_attempt_s IS NULL AND alerts.attempts = 0)
"""
SQLITE_DELIVERED = """\
UPDATE alerts SET attempts=(alerts.attempts + 1), next_attempt_s=NULL, delivered_s=:at_s, last_error=NULL WHERE alerts.sequence = :alert
"""
SQLITE_FAILED = """\
UPDATE alerts SET attempts=(alerts.attempts + 1), next_attempt_s=:retry_s, last_error=:reason WHERE alerts.sequence = :alert
"""
