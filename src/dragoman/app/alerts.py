"""Sends the alerts that wait in the outbox, from one of the processes of a data directory.

Who holds the lock sends; the kernel frees it when that process dies, and another takes over. An attempt that
was cut off in between is made again: receivers see the same id twice, never none.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

import msgspec

from dragoman.config import Config
from dragoman.errors import DragomanError
from dragoman.http_client import Endpoint, HttpClient, HttpClientError, HttpRequest, HttpSettings
from dragoman.policy.alerts import SECRET_NAME, UndeliverableAlert, prepare, retry_s
from dragoman.ports import Clock
from dragoman.ports.alerts import AlertOutbox
from dragoman.records.account import Account, AccountId
from dragoman.records.alert import Alert
from dragoman.records.provider import Timeouts
from dragoman.stores.private_files import lock_now

LOCK_FILE = "alerts.lock"
POLL_S = 2.0
"""Alerts are written by any process: so long may one wait for its first attempt."""
BATCH = 32
PARALLEL = 8
MAX_ANSWER_BYTES = 64 * 1024
# Of each step, and of the whole attempt.
TIMEOUT_S = 10.0
TIMEOUTS = Timeouts(
    connect_s=TIMEOUT_S, first_byte_s=TIMEOUT_S, idle_s=TIMEOUT_S, total_s=TIMEOUT_S
)

_log = logging.getLogger("dragoman.alerts")


class Outbox(AlertOutbox, Protocol):
    """What is asked of the store."""

    def list_accounts(self) -> list[Account]: ...


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    server_secret: bytes
    allow_private: bool = False
    """Whether a webhook may go to private networks and without TLS. Also a setting of the client."""

    def __repr__(self) -> str:
        return f"Rules(allow_private={self.allow_private})"


class AlertDelivery:
    """Belongs to one event loop. `client` refuses what is not public, unless that is allowed."""

    def __init__(
        self,
        outbox: Outbox,
        client: HttpClient,
        clock: Clock,
        rules: Rules,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._outbox = outbox
        self._client = client
        self._clock = clock
        self._rules = rules
        self._chance = chance

    async def run(self, lock: Path) -> None:
        """Until it is cancelled: wait for `lock`, then send what falls due.

        A store that fails is asked again; so nothing but cancellation ends it.
        """
        held: int | None = None
        try:
            while True:
                if held is None:
                    held = _try_lock(lock)
                if held is not None:
                    await self._look()
                await asyncio.sleep(POLL_S)
        finally:
            if held is not None:
                os.close(held)

    async def _look(self) -> None:
        try:
            while await self.deliver_due() == BATCH:
                pass
        except* DragomanError as group:
            _log.warning("alerts cannot be read or noted now: %s", group.exceptions[0])

    async def deliver_due(self) -> int:
        """Try once what is due, up to `BATCH`; returns how many that were. Raises what the store does."""
        due = await asyncio.to_thread(self._outbox.due_alerts, self._clock.unix_s(), BATCH)
        if not due:
            return 0
        accounts = {
            account.id: account for account in await asyncio.to_thread(self._outbox.list_accounts)
        }
        gate = asyncio.Semaphore(PARALLEL)

        async def one(alert: Alert) -> None:
            async with gate:
                await self._deliver(alert, accounts)

        async with asyncio.TaskGroup() as group:
            for alert in due:
                group.create_task(one(alert))
        return len(due)

    async def _deliver(self, alert: Alert, accounts: Mapping[AccountId, Account]) -> None:
        account = accounts.get(alert.account_id)
        url = account.alerts.webhook_url if account is not None else None
        try:
            reason = await self._send(alert, url)
        except UndeliverableAlert as error:
            await self._give_up(alert, str(error))
            return
        now_s = self._clock.unix_s()
        if reason is None:
            await asyncio.to_thread(self._outbox.note_delivery, alert.sequence, now_s)
            return
        again_s = retry_s(alert, now_s, self._chance())
        if again_s is None:
            await self._give_up(alert, reason)
            return
        await asyncio.to_thread(self._outbox.note_failed_delivery, alert.sequence, reason, again_s)

    async def _send(self, alert: Alert, url: str | None) -> str | None:
        """What went wrong, if anything did; never more of the webhook's address than its host."""
        rules = self._rules
        delivery = prepare(
            alert,
            url,
            rules.server_secret,
            self._clock.unix_s(),
            allow_private=rules.allow_private,
        )
        try:
            endpoint = Endpoint("POST", delivery.url, delivery.headers)
        except ValueError as error:
            raise UndeliverableAlert(f"the webhook cannot be called: {error}") from error
        request = HttpRequest(
            endpoint, delivery.body, timeouts=TIMEOUTS, max_body_bytes=MAX_ANSWER_BYTES
        )
        try:
            response = await self._client.send(request)
        except HttpClientError as error:
            return str(error)
        # Nobody reads the answer's body: a short one leaves the connection in use.
        response.release()
        if 200 <= response.status < 300:
            return None
        return f"{urlsplit(delivery.url).hostname} answered {response.status}"

    async def _give_up(self, alert: Alert, reason: str) -> None:
        _log.warning(
            "the alert %s of account %s is given up: %s",
            alert.occasion,
            alert.account_id,
            reason,
        )
        await asyncio.to_thread(self._outbox.note_failed_delivery, alert.sequence, reason, None)


def _try_lock(path: Path) -> int | None:
    """The open lock file, held until it is closed; `None`: another process holds it, or it cannot be had."""
    try:
        return lock_now(path)
    except OSError as error:
        _log.warning("alerts are not sent: %s: %s", path, error.strerror)
        return None


class AlertStore(Outbox, Protocol):
    def server_secret(self, name: str) -> bytes: ...


def start_alerts(config: Config, store: AlertStore, clock: Clock) -> Callable[[], Awaitable[None]]:
    """Send alerts in the background; what it returns ends that, before the store is closed."""
    task = asyncio.create_task(deliver_alerts(config, store, clock))
    task.add_done_callback(_tell_of_fault)

    async def stop() -> None:
        task.cancel()
        await asyncio.wait([task])

    return stop


def _tell_of_fault(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (fault := task.exception()) is not None:
        _log.error("no more alerts are sent by this process", exc_info=fault)


async def deliver_alerts(config: Config, store: AlertStore, clock: Clock) -> None:
    """Send alerts until it is cancelled; every process that serves may run it."""
    while True:
        try:
            secret = await asyncio.to_thread(store.server_secret, SECRET_NAME)
            break
        except DragomanError as error:
            _log.warning("alerts cannot be signed now: %s", error)
        await asyncio.sleep(POLL_S)
    # A client of its own: providers may well be on private networks.
    settings = HttpSettings(proxy=config.proxies, public_only=not config.webhook_allow_private)
    client = HttpClient(settings)
    rules = Rules(server_secret=secret, allow_private=config.webhook_allow_private)
    try:
        await AlertDelivery(store, client, clock, rules).run(config.data_dir / LOCK_FILE)
    finally:
        await client.aclose()
