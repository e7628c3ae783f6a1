"""How much may be asked for in any 60 seconds, and at once."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

Bound = Annotated[int, Meta(ge=0, le=1 << 40)]


class Limits(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`None`: not limited here. Windows slide: they are the last 60 seconds at any moment."""

    requests_per_minute: Bound | None = None
    tokens_per_minute: Bound | None = None
    """Input and output together."""
    concurrent_requests: Bound | None = None


NO_LIMITS = Limits()
