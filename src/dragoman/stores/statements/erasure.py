"""How all that is kept of one user is found and deleted, or made nobody's."""

# The pieces that statements share are constants of this file.
# ruff: noqa: S608

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import text
from sqlalchemy.sql import ClauseElement

_OF_ACCOUNT = "project_id IN (SELECT id FROM projects WHERE account_id = :account_id)"
_CANDIDATES = (
    " FROM interaction_terms CROSS JOIN interactions"
    " ON interactions.position = interaction_terms.position"
    " WHERE interaction_terms.term = :term AND interaction_terms.position > :after"
    " AND interactions.account_id = :account_id"
)

STATEMENTS: Mapping[str, ClauseElement] = {
    "SESSIONS_OF_USER": text(
        "SELECT DISTINCT interactions.session_id"
        + _CANDIDATES
        + " AND interactions.end_user = :user"
    ),
    "INTERACTIONS_OF_USER": text(
        "SELECT interactions.*" + _CANDIDATES + " AND interactions.end_user = :user"
        " ORDER BY interaction_terms.position LIMIT :most"
    ),
    "INTERACTIONS_OF_SESSION": text(
        "SELECT interactions.*" + _CANDIDATES + " AND interactions.session_id = :session_id"
        " AND interactions.end_user IS NULL ORDER BY interaction_terms.position LIMIT :most"
    ),
    "DELETE_FEEDBACK": text(f"DELETE FROM feedback WHERE end_user = :user AND {_OF_ACCOUNT}"),
    "DELETE_COMPARISONS": text(f"DELETE FROM comparisons WHERE end_user = :user AND {_OF_ACCOUNT}"),
    "DELETE_OUTCOMES": text(f"DELETE FROM outcomes WHERE end_user = :user AND {_OF_ACCOUNT}"),
    "DELETE_OUTCOMES_OF_SESSIONS": text(
        "DELETE FROM outcomes WHERE session_id IN (SELECT value FROM json_each(:sessions))"
        f" AND end_user IS NULL AND {_OF_ACCOUNT}"
    ),
    # Units keep what they have counted, under a name that says nothing.
    "CAMPAIGNS_OF_ACCOUNT": text(f"SELECT id FROM campaigns WHERE {_OF_ACCOUNT}"),
    "FORGET_UNITS": text(
        "UPDATE campaign_units SET unit = 'erased:' || lower(hex(randomblob(16)))"
        " WHERE campaign_id = :campaign_id AND unit IN (SELECT value FROM json_each(:units))"
    ),
    "PAIR_UNITS": text(
        "SELECT DISTINCT unit FROM campaign_pair_units WHERE campaign_id = :campaign_id"
    ),
    "FORGET_PAIR_UNIT": text(
        "UPDATE campaign_pair_units SET unit = :erased"
        " WHERE campaign_id = :campaign_id AND unit = :unit"
    ),
    # Usage.
    "USAGE_OF_ACCOUNT": text(
        "SELECT sequence, started_s, request_id, end_user, session_id, labels IS NOT NULL"
        " FROM usage_records INDEXED BY ix_usage_records_account"
        " WHERE account_id = :account_id AND (started_s, sequence) > (:after_s, :after)"
        " ORDER BY started_s, sequence LIMIT :most"
    ),
    "FORGET_USAGE": text(
        "UPDATE usage_records SET end_user = NULL, session_id = NULL, labels = NULL, tags = NULL"
        " WHERE sequence IN (SELECT value FROM json_each(:sequences))"
    ),
    # One that is still running has nothing to be forgotten yet, and may run once only.
    "DELETE_ANSWERS": text(
        "DELETE FROM idempotency WHERE worker_id IS NULL"
        " AND request_id IN (SELECT value FROM json_each(:request_ids))"
    ),
}
