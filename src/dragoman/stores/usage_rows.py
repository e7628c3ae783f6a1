"""Usage records as they come back from the table."""

from __future__ import annotations

import msgspec

from dragoman.chat import Usage
from dragoman.records.usage_query import KeptUsage
from dragoman.records.usage_record import Attempt, UsageRecord
from dragoman.stores.database import Row

_labels = msgspec.json.Decoder(dict[str, str])
_tags = msgspec.json.Decoder(tuple[str, ...])
_attempts = msgspec.json.Decoder(tuple[Attempt, ...])


def kept_usage(row: Row) -> KeptUsage:
    """From a whole row, in the order of the table's columns."""
    (sequence, request_id, account_id, key_id, project, dialect, model_asked, model) = row[:8]
    (provider, is_stream, input_, cached, written, output, reasoning, is_estimated) = row[8:16]
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
        usage=Usage(
            input_tokens=input_,
            output_tokens=output,
            cached_input_tokens=cached,
            cache_write_tokens=written,
            reasoning_tokens=reasoning,
            is_estimated=bool(is_estimated),
        ),
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
        labels=() if labels is None else tuple(_labels.decode(labels).items()),
        tags=() if tags is None else _tags.decode(tags),
        attempts=() if attempts is None else _attempts.decode(attempts),
    )
    return KeptUsage(sequence, record)
