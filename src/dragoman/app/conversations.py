"""The routes at which clients tell of conversations, judge them and look for them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AsyncExitStack

import msgspec

from dragoman.dialects.studio import STUDIO
from dragoman.policy.feedback import FeedbackDesk
from dragoman.policy.interactions.imports import Importer
from dragoman.policy.projects import ProjectBook
from dragoman.policy.routing import ModelDirectory
from dragoman.ports import Clock
from dragoman.records.campaign import CampaignId
from dragoman.web.accounts import Readers
from dragoman.web.completions import Route, WebLimits
from dragoman.web.door import Door
from dragoman.web.feedback import (
    FeedbackRoute,
    keep_comparison,
    keep_feedback,
    keep_outcome,
)
from dragoman.web.in_flight import InFlight
from dragoman.web.interactions import Callers, InteractionRoute, InteractionsRoute, InteractionStore
from dragoman.web.interactions_export import Exports

# Every answer may bring feedback, and each is done in a millisecond.
MAX_REMARKS_IN_ALL = 512
MAX_REMARKS_OF_ONE = 128


class Parts(msgspec.Struct, frozen=True, kw_only=True):
    """What the routes are made of."""

    door: Door
    book: ProjectBook
    store: InteractionStore
    directory: ModelDirectory
    clock: Clock
    limits: WebLimits
    in_flight: InFlight
    look: Callable[[CampaignId], object] | None = None
    """Told, in a thread, of campaigns that have more scores."""


def conversation_routes(parts: Parts, closing: AsyncExitStack) -> dict[str, Route]:
    """By path. `closing` ends their threads."""
    store = parts.store
    callers = Callers(parts.door, parts.book, parts.clock, parts.limits)
    desk = FeedbackDesk(store, parts.directory, parts.look)
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
