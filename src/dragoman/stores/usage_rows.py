"""Usage records as they come back from the table."""

from __future__ import annotations

import msgspec

from dragoman.records.usage_query import KeptUsage
from dragoman.records.usage_record import Attempt, UsageRecord
from dragoman.stores.database import Row
from dragoman.stores.json_column import labels_of, tags_of
from dragoman.stores.token_counts import usage_of

_attempts = msgspec.json.Decoder(tuple[Attempt, ...])


def kept_usage(row: Row) -> KeptUsage:
    """From a whole row, in the order of the table's columns."""
    (sequence, request_id, account_id, key_id, project, dialect, model_asked, model) = row[:8]
    (provider, is_stream) = row[8:10]
    (cost, hold, price_id, started_s, queued_ms, first_token_ms, total_ms, status) = row[16:24]
    (finish_reason, http_status, error, session_id, user, labels, tags, attempts) = row[24:]
    record = UsageRecord(
        request_id=request_id,
        account_id=account_id,
        key_id=key_id,
        project=project,
        dialect=dialect,
        model_asked=model_asked,
        model=model,
        provider=provider,
        is_stream=bool(is_stream),
        usage=usage_of(row[10:16]),
        cost_nano_usd=cost,
        hold_nano_usd=hold,
        price_id=price_id,
        started_s=started_s,
        queued_ms=queued_ms,
        first_token_ms=first_token_ms,
        total_ms=total_ms,
        status=status,
        finish_reason=finish_reason,
        http_status=http_status,
        error=error,
        session_id=session_id,
        user=user,
        labels=labels_of(labels),
        tags=tags_of(tags),
        attempts=() if attempts is None else _attempts.decode(attempts),
    )
    return KeptUsage(sequence, record)
