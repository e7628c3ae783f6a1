"""The books of one serving process: who may ask how often, what it costs, and what is kept of it."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

from dragoman.app.alerts import start_alerts
from dragoman.app.housekeeping import start_housekeeping
from dragoman.app.prices import open_price_book
from dragoman.app.process import LIMITS_FILE
from dragoman.app.retention import start_retention
from dragoman.config import Config
from dragoman.pipeline import Books
from dragoman.policy.charging import Unaccounted
from dragoman.policy.limits import Limiter
from dragoman.ports import Clock
from dragoman.ports.limits import Windows
from dragoman.stores import Store
from dragoman.stores.ledger import SqliteLedger, open_ledger
from dragoman.stores.windows import WindowTable


class OpenBooks:
    """The books, and what of them others than the pipeline use."""

    def __init__(self, books: Books, ledger: SqliteLedger, windows: Windows) -> None:
        self.books = books
        self.ledger = ledger
        self.windows = windows


async def open_books(
    config: Config, store: Store, clock: Clock, worker: int, closing: AsyncExitStack
) -> OpenBooks:
    """`worker` is this process's index; `closing` writes down what is left to write, and closes them."""
    windows = WindowTable(
        config.data_dir / LIMITS_FILE, clock, worker=worker, workers=config.workers
    )
    closing.callback(windows.close)
    if config.workers == 1:
        # A server of several processes may have died here before.
        windows.clear_all_workers()
    ledger = open_ledger(config.data_dir, clock, workers=config.workers)
    closing.push_async_callback(ledger.aclose)
    ledger.start(asyncio.get_running_loop())
    # Every process may try to send alerts, and to do the housekeeping: one at a time does.
    closing.push_async_callback(start_alerts(config, store, clock))
    closing.push_async_callback(start_housekeeping(store, clock, config.data_dir))
    if config.usage_retention_days and worker == 0:
        closing.push_async_callback(
            start_retention(store, clock, config.data_dir, config.usage_retention_days)
        )
    books = Books(
        accounting=ledger if config.accounting else Unaccounted(),
        limiter=Limiter(windows, clock),
        # No request is let in before its price is known.
        prices=await open_price_book(config, store, clock),
    )
    return OpenBooks(books, ledger, windows)
