"""Pages that are walked by sequence number, newest first."""

from __future__ import annotations

MAX_PAGE = 1000
_AFTER_ALL = (1 << 63) - 1


def first_before(before: int | None) -> int:
    """A cursor that the database can hold; `None`: from the newest on."""
    return _AFTER_ALL if before is None else max(0, min(before, _AFTER_ALL))


def page_size(limit: int) -> int:
    return max(1, min(limit, MAX_PAGE))
