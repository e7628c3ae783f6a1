"""How long a provider asks us to wait, as its headers say it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from email.utils import mktime_tz, parsedate_tz

MAX_RETRY_AFTER_S = 3600.0


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """How long the provider asks us to wait; a date counts from its own `date`: we read no clock.

    Source: RFC 9110, 10.2.3, and OpenAI's `retry-after-ms`.
    """
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return min(milliseconds / 1000, MAX_RETRY_AFTER_S)
    given = headers.get("retry-after")
    if given is None:
        return None
    seconds = _number(given)
    if seconds is None:
        then, now = parsedate_tz(given[:64]), parsedate_tz(headers.get("date", "")[:64])
        if then is None or now is None:
            return None
        try:
            seconds = max(mktime_tz(then) - mktime_tz(now), 0.0)
        except (ValueError, OverflowError):
            return None
    return min(seconds, MAX_RETRY_AFTER_S)


def _number(text: str | None) -> float | None:
    return (
        float(text) if text and re.fullmatch(r"\s*\d{1,9}(\.\d{1,9})?\s*", text, re.ASCII) else None
    )
