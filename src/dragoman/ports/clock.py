"""Time, as a Protocol."""

from __future__ import annotations

from typing import Protocol


class Clock(Protocol):
    """Time, injected so that tests need no sleeping."""

    def monotonic_s(self) -> float: ...

    def unix_s(self) -> float: ...
