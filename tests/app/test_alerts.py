"""Alerts out of a real store to a real receiver, over real sockets."""

from __future__ import annotations

import asyncio
import json
import logging
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path

import msgspec
import pytest
import trustme
from tests.http_client.raw_server import Line, serve, with_length

from dragoman.app.alerts import LOCK_FILE, AlertDelivery, Outbox, Rules, start_alerts
from dragoman.chat import NanoUSD
from dragoman.config import load_config
from dragoman.errors import StoreUnavailable
from dragoman.http_client import HttpClient, HttpSettings
from dragoman.policy.alerts import LAST_ATTEMPT_S, sign, webhook_secret
from dragoman.records.account import Account, AccountId, Alerts
from dragoman.records.alert import Alert
from dragoman.records.hold import HoldAsk, Quote, WorstRate
from dragoman.records.key import KeyId
from dragoman.records.price import MILLION
from dragoman.records.usage_record import UsageRecord
from dragoman.stores import Store, open_store
from dragoman.stores.ledger import open_ledger

NOW_S = 1_800_000_000.0
ACCOUNT = AccountId("acct_00000000000000000001")
SECRET = b"s" * 32
PAYLOAD = msgspec.Raw(b'{"kind":"balance_below","balance_nano_usd":4}')


class Clock:
    def __init__(self) -> None:
        self.now_s = NOW_S

    def monotonic_s(self) -> float:
        return self.now_s

    def unix_s(self) -> float:
        return self.now_s


class Receiver:
    """Answers each call with the next of `statuses`, then with 200."""

    def __init__(self) -> None:
        self.statuses: list[int] = []
        self.calls: list[tuple[dict[str, str], bytes]] = []
        self.called = asyncio.Event()

    async def __call__(self, line: Line) -> None:
        with suppress(asyncio.IncompleteReadError):
            while True:
                head, body = await line.request()
                pairs = (one.partition(": ") for one in head.split("\r\n")[1:] if one)
                self.calls.append(({name.lower(): value for name, _, value in pairs}, body))
                self.called.set()
                status = self.statuses.pop(0) if self.statuses else 200
                await line.send(
                    b"HTTP/1.1 %d Said\r\n" % status + with_length(b"").partition(b"\r\n")[2]
                )


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = open_store(tmp_path / "data")
    yield store
    store.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def receiver() -> Receiver:
    return Receiver()


@pytest.fixture
async def url(receiver: Receiver) -> AsyncIterator[str]:
    async with serve(receiver) as server:
        yield server.url("/hook")


@pytest.fixture
async def client() -> AsyncIterator[HttpClient]:
    client = HttpClient()
    yield client
    await client.aclose()


def add_account(store: Store, url: str | None) -> None:
    store.add_account(
        Account(
            id=ACCOUNT,
            name="Payer",
            alerts=Alerts(webhook_url=url, balance_below_nano_usd=(NanoUSD(5),)),
            created_s=NOW_S,
        )
    )


def add_alert(store: Store, occasion: str = "balance_below:5") -> None:
    assert store.add_alert(ACCOUNT, occasion, PAYLOAD, NOW_S)


def delivery(store: Outbox, client: HttpClient, clock: Clock) -> AlertDelivery:
    rules = Rules(server_secret=SECRET, allow_private=True)
    return AlertDelivery(store, client, clock, rules, chance=lambda: 0.0)


async def test_an_alert_arrives_once_signed_and_whole(
    store: Store, client: HttpClient, clock: Clock, receiver: Receiver, url: str
) -> None:
    add_account(store, url)
    add_alert(store)
    sending = delivery(store, client, clock)
    assert await sending.deliver_due() == 1
    clock.now_s += 2 * LAST_ATTEMPT_S
    assert await sending.deliver_due() == 0
    ((headers, body),) = receiver.calls
    told = json.loads(body)
    assert told == {
        "id": headers["dragoman-delivery"],
        "kind": "balance_below",
        "balance_nano_usd": 4,
    }
    secret = webhook_secret(SECRET, ACCOUNT)
    assert headers["dragoman-signature"] == sign(secret, body, int(NOW_S))
    assert headers["content-type"] == "application/json"
    assert store.next_alert_s() is None


async def test_a_charge_that_takes_a_balance_below_its_threshold_is_told(
    store: Store, client: HttpClient, clock: Clock, receiver: Receiver, url: str, tmp_path: Path
) -> None:
    add_account(store, url)
    store.post_money(ACCOUNT, NanoUSD(10), "top_up", "top-up-1", at_s=NOW_S)
    (account,) = [one for one in store.list_accounts() if one.id == ACCOUNT]
    record = UsageRecord(
        request_id="req-1",
        account_id=ACCOUNT,
        key_id=KeyId("key_1"),
        dialect="openai",
        started_s=NOW_S,
        status="interrupted",
    )
    quote = Quote(rates=(WorstRate(8 * MILLION, 0),), asked_output_tokens=1)
    ledger = open_ledger(tmp_path / "data", clock, workers=1)
    hold = await ledger.hold(HoldAsk(account=account, quote=quote, intent=record))
    ended = msgspec.structs.replace(record, status="ok", cost_nano_usd=NanoUSD(6))
    await ledger.settle(hold, ended)
    await ledger.aclose()
    assert await delivery(store, client, clock).deliver_due() == 1
    ((headers, body),) = receiver.calls
    assert json.loads(body) == {
        "id": headers["dragoman-delivery"],
        "kind": "balance_below",
        "account_id": ACCOUNT,
        "account_name": "Payer",
        "at_s": NOW_S,
        "threshold_nano_usd": 5,
        "balance_nano_usd": 4,
    }


async def test_what_fails_is_tried_again_with_the_same_id_until_it_arrives(
    store: Store, client: HttpClient, clock: Clock, receiver: Receiver, url: str
) -> None:
    receiver.statuses = [500, 302, 404]
    add_account(store, url)
    add_alert(store)
    sending = delivery(store, client, clock)
    pauses = []
    while (due_s := store.next_alert_s()) is not None:
        pauses.append(due_s - clock.now_s)
        clock.now_s = due_s
        assert await sending.deliver_due() == 1
    assert pauses == [0.0, 10.0, 20.0, 40.0]
    assert len({headers["dragoman-delivery"] for headers, _ in receiver.calls}) == 1
    assert len({headers["dragoman-signature"] for headers, _ in receiver.calls}) == 4
    assert len({body for _, body in receiver.calls}) == 1


async def test_a_receiver_that_is_gone_for_a_day_is_given_up(
    store: Store, client: HttpClient, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    async with serve(Receiver()) as server:
        gone = server.url("/secret-path")
    add_account(store, gone)
    add_alert(store)
    sending = delivery(store, client, clock)
    attempts = 0
    while (due_s := store.next_alert_s()) is not None:
        clock.now_s = due_s
        attempts += await sending.deliver_due()
    assert clock.now_s == NOW_S + LAST_ATTEMPT_S
    assert 25 <= attempts <= 40
    assert "is given up" in caplog.text
    assert "secret-path" not in caplog.text


async def test_one_bad_webhook_holds_no_other_up(
    store: Store, client: HttpClient, clock: Clock, receiver: Receiver, url: str
) -> None:
    add_account(store, url)
    bad = AccountId("acct_bad")
    store.add_account(
        Account(id=bad, name="Bad", alerts=Alerts(webhook_url="http://\r\nHost: x"), created_s=1.0)
    )
    store.add_alert(bad, "one", PAYLOAD, NOW_S)
    store.add_alert(AccountId("acct_missing"), "one", PAYLOAD, NOW_S)
    add_alert(store)
    assert await delivery(store, client, clock).deliver_due() == 3
    assert len(receiver.calls) == 1
    assert store.next_alert_s() is None


async def test_private_networks_are_refused_unless_they_are_allowed(
    store: Store, clock: Clock, receiver: Receiver, url: str
) -> None:
    add_account(store, url.replace("http://", "https://"))
    add_alert(store)
    client = HttpClient(HttpSettings(public_only=True))
    sending = AlertDelivery(store, client, clock, Rules(server_secret=SECRET))
    await sending.deliver_due()
    (waiting,) = store.due_alerts(NOW_S + LAST_ATTEMPT_S)
    assert waiting.last_error == "127.0.0.1 is not on the public Internet"
    assert receiver.calls == []
    await client.aclose()


async def test_a_receiver_that_cannot_prove_its_name_is_told_nothing(
    store: Store, client: HttpClient, clock: Clock, receiver: Receiver
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("localhost").configure_cert(context)
    async with serve(receiver, tls=context) as server:
        add_account(store, server.url("/", scheme="https", host="localhost"))
        add_alert(store)
        await delivery(store, client, clock).deliver_due()
    (waiting,) = store.due_alerts(NOW_S + LAST_ATTEMPT_S)
    assert waiting.last_error is not None
    assert "its certificate is refused" in waiting.last_error
    assert receiver.calls == []


async def test_a_webhook_that_answers_without_end_is_cut_off(
    store: Store, client: HttpClient, clock: Clock
) -> None:
    async def endless(line: Line) -> None:
        await line.request()
        await line.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        with suppress(OSError):
            while True:
                await line.send(b"1000\r\n" + b"x" * 4096 + b"\r\n")

    async with serve(endless) as server:
        add_account(store, server.url("/"))
        add_alert(store)
        await delivery(store, client, clock).deliver_due()
        # It said 200: what else it says is nobody's business.
        assert store.next_alert_s() is None
        async with asyncio.timeout(10):
            await server.all_closed.wait()


async def test_a_store_that_fails_is_asked_again(
    store: Store, client: HttpClient, clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dragoman.app.alerts.POLL_S", 0.0)
    recovered = asyncio.Event()

    class Shaky:
        failures = 2

        def due_alerts(self, now_s: float, limit: int = 100) -> list[Alert]:
            if self.failures:
                self.failures -= 1
                raise StoreUnavailable
            recovered.set()
            return store.due_alerts(now_s, limit)

        def __getattr__(self, name: str) -> object:
            return getattr(store, name)

    running = asyncio.create_task(delivery(Shaky(), client, clock).run(tmp_path / "lock"))  # type: ignore[arg-type] # the rest is the store's
    async with asyncio.timeout(10):
        await recovered.wait()
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running


async def test_one_process_sends_and_another_takes_over(
    store: Store,
    client: HttpClient,
    clock: Clock,
    receiver: Receiver,
    url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("dragoman.app.alerts.POLL_S", 0.001)
    add_account(store, url)
    lock = tmp_path / LOCK_FILE
    first = asyncio.create_task(delivery(store, client, clock).run(lock))
    second = asyncio.create_task(delivery(store, client, clock).run(lock))
    add_alert(store)
    async with asyncio.timeout(10):
        await receiver.called.wait()
    assert len(receiver.calls) == 1
    first.cancel()
    with suppress(asyncio.CancelledError):
        await first
    receiver.called.clear()
    add_alert(store, "month:202611:80")
    async with asyncio.timeout(10):
        await receiver.called.wait()
    assert len(receiver.calls) == 2
    second.cancel()
    with suppress(asyncio.CancelledError):
        await second


async def test_a_server_sends_with_its_own_settings(
    store: Store, receiver: Receiver, url: str, tmp_path: Path
) -> None:
    file = tmp_path / "dragoman.toml"
    file.write_text("webhook_allow_private = true\n")
    config = load_config(file, {"data_dir": str(tmp_path / "data")}, {})
    add_account(store, url)
    add_alert(store)
    stop = start_alerts(config, store, Clock())
    async with asyncio.timeout(10):
        await receiver.called.wait()
    ((headers, body),) = receiver.calls
    secret = webhook_secret(store.server_secret("alerts"), ACCOUNT)
    assert headers["dragoman-signature"] == sign(secret, body, int(NOW_S))
    await stop()


async def test_a_fault_of_ours_is_in_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    logged: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    monkeypatch.setattr(
        logging.getLogger("dragoman.alerts"), "error", lambda text, **_: logged.set_result(text)
    )

    class Faulty:
        def server_secret(self, name: str) -> bytes:
            raise AssertionError(name)

    file = tmp_path / "dragoman.toml"
    file.write_text("")
    config = load_config(file, {"data_dir": str(tmp_path)}, {})
    stop = start_alerts(config, Faulty(), Clock())  # type: ignore[arg-type] # it gets no further
    async with asyncio.timeout(10):
        assert "no more alerts are sent" in await logged
    await stop()
