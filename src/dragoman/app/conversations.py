"""The routes at which clients tell of conversations, judge them and look for them."""

from __future__ import annotations

from contextlib import AsyncExitStack

import msgspec

from dragoman.dialects.studio import STUDIO
from dragoman.policy.campaigns.clerk import Clerk
from dragoman.policy.feedback import FeedbackDesk
from dragoman.policy.interactions.imports import Importer
from dragoman.policy.projects import ProjectBook
from dragoman.policy.routing import ModelDirectory
from dragoman.ports import Clock
from dragoman.stores import Store
from dragoman.web.accounts import Readers
from dragoman.web.completions import Route
from dragoman.web.door import Door
from dragoman.web.feedback import (
    FeedbackRoute,
    keep_comparison,
    keep_feedback,
    keep_outcome,
)
from dragoman.web.in_flight import InFlight
from dragoman.web.interactions import Callers, InteractionRoute, InteractionsRoute
from dragoman.web.interactions_export import Exports

# Every answer may bring feedback, and each is done in a millisecond.
MAX_REMARKS_IN_ALL = 512
MAX_REMARKS_OF_ONE = 128


class Parts(msgspec.Struct, frozen=True, kw_only=True):
    """What the routes are made of."""

    door: Door
    book: ProjectBook
    store: Store
    directory: ModelDirectory
    clock: Clock
    max_body_bytes: int
    body_timeout_s: float
    in_flight: InFlight


def conversation_routes(parts: Parts, closing: AsyncExitStack) -> dict[str, Route]:
    """By path. `closing` ends their threads."""
    store = parts.store
    callers = Callers(
        parts.door,
        parts.book,
        parts.clock,
        max_body_bytes=parts.max_body_bytes,
        body_timeout_s=parts.body_timeout_s,
    )
    # Whoever scores looks: a campaign that has come to its end ends at once.
    desk = FeedbackDesk(store, parts.directory, Clerk(store, parts.clock).look)
    readers = Readers()
    closing.callback(readers.close)
    writers = Readers(in_all=MAX_REMARKS_IN_ALL, of_one=MAX_REMARKS_OF_ONE)
    closing.callback(writers.close)
    exports = Exports(parts.in_flight)
    closing.callback(exports.close)
    importer = Importer(store, parts.directory, desk)
    prefix = "/api/v1/interactions/"
    return {
        "/api/v1/interactions": InteractionsRoute(
            STUDIO, callers, store, importer, parts.directory, readers, exports
        ),
        prefix: InteractionRoute(STUDIO, callers, store, readers, prefix),
        "/api/v1/feedback": FeedbackRoute(STUDIO, callers, desk, writers, keep_feedback),
        "/api/v1/comparison": FeedbackRoute(STUDIO, callers, desk, writers, keep_comparison),
        "/api/v1/outcome": FeedbackRoute(STUDIO, callers, desk, writers, keep_outcome),
    }
