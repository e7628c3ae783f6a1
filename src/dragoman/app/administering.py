"""The admin API, wired to this process's store and books."""

from __future__ import annotations

from dragoman import __version__
from dragoman.app.bookkeeping import OpenBooks
from dragoman.app.process import url_of
from dragoman.config import Config
from dragoman.dialects.openai import OPENAI
from dragoman.policy.routing import ModelDirectory
from dragoman.ports import Clock, ToolBox
from dragoman.stores import Store
from dragoman.web.admin.gate import Gate
from dragoman.web.admin.mount import PREFIX, AdminParts, AdminRoute
from dragoman.web.completions import Route


def admin_routes(
    config: Config,
    gate: Gate,
    store: Store,
    opened: OpenBooks,
    directory: ModelDirectory,
    clock: Clock,
    tools: ToolBox,
) -> dict[str, Route]:
    """By prefix."""
    parts = AdminParts(
        store=store,
        clock=clock,
        directory=directory,
        prices=opened.books.prices,
        version=__version__,
        server_url=url_of(config.host, config.port),
        allows_plain_webhooks=config.webhook_allow_private,
        keeps_interactions=config.accounting,
        tool_box=tools,
    )
    return {PREFIX: AdminRoute(OPENAI, gate, parts)}
