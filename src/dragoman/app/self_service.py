"""The routes at which callers ask about themselves."""

from __future__ import annotations

from contextlib import AsyncExitStack

from dragoman.app.bookkeeping import OpenBooks
from dragoman.dialects.openai import OPENAI
from dragoman.dialects.studio import STUDIO
from dragoman.policy.routing import ModelDirectory
from dragoman.ports import Clock
from dragoman.stores import Store
from dragoman.web.accounts import CreditsRoute, KeyRoute, Readers, UsageRoute
from dragoman.web.completions import Route
from dragoman.web.door import Door


def self_service_routes(
    door: Door,
    store: Store,
    opened: OpenBooks,
    directory: ModelDirectory,
    clock: Clock,
    closing: AsyncExitStack,
) -> dict[str, Route]:
    """By path. `closing` ends their threads."""
    readers = Readers()
    closing.callback(readers.close)
    return {
        "/v1/credits": CreditsRoute(OPENAI, door, store, readers, clock),
        "/v1/key": KeyRoute(OPENAI, door, opened.books.limiter),
        "/api/v1/usage": UsageRoute(STUDIO, door, store, readers, directory),
    }
