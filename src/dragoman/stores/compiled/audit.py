"""SQL text, compiled by `python -m dragoman.stores.statements`: do not edit."""

SQLITE_ADD_EVENT = """\
INSERT INTO audit_events (at_s, actor, action, subject, detail) VALUES (:at_s, :actor, :action, :subject, :detail)
"""
SQLITE_LIST_EVENTS = """\
SELECT audit_events.sequence, audit_events.at_s, audit_events.actor, audit_events.action, audit_events.subject, audit_events.detail FROM audit_events WHERE audit_events.sequence < :before ORDER BY audit_events.sequence DESC LIMIT :limit OFFSET 0
"""
SQLITE_LIST_EVENTS_OF = """\
SELECT audit_events.sequence, audit_events.at_s, audit_events.actor, audit_events.action, audit_events.subject, audit_events.detail FROM audit_events WHERE audit_events.sequence < :before AND audit_events.subject = :subject ORDER BY audit_events.sequence DESC LIMIT :limit OFFSET 0
"""
