"""What a store raises."""

from __future__ import annotations

from dragoman.errors import Internal


class StoreFailed(Internal):
    """The database cannot be used. `detail` tells the operator why, and what to do."""

    code = "store_failed"

    def __init__(self, detail: str) -> None:
        super().__init__(detail=detail)
