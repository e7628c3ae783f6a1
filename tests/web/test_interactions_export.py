"""Files are sent at their reader's pace, few at a time, and what nobody reads is closed."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from dragoman.errors import Overloaded, RateLimited, StoreUnavailable
from dragoman.records.account import AccountId
from dragoman.web.call import Call
from dragoman.web.in_flight import InFlight
from dragoman.web.interactions_export import MAX_OF_ONE, MAX_RUNNING, Exports

ACME = AccountId("acct_acme")


class Reader:
    """A client that takes pieces as it likes, and may go."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []
        self.may_take = asyncio.Event()
        self.may_take.set()
        self.gone = asyncio.Event()
        self.was_sent = asyncio.Event()
        self.call = Call({"method": "GET", "path": "/", "headers": []}, self._receive, self._send, "r")  # fmt: skip

    async def _receive(self) -> dict[str, Any]:
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Any) -> None:
        self.was_sent.set()
        await self.may_take.wait()
        self.messages.append(message)

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.messages)

    @property
    def has_end(self) -> bool:
        return bool(self.messages) and self.messages[-1].get("more_body") is False


class Pieces:
    """As many as are taken; tells how many were, and when it was closed."""

    def __init__(self, most: int = 1_000_000) -> None:
        self.taken = 0
        self.closed = threading.Event()
        self._most = most

    def __call__(self) -> Iterator[bytes]:
        try:
            while self.taken < self._most:
                self.taken += 1
                yield b"%d\n" % self.taken
        finally:
            self.closed.set()


@pytest.fixture
async def exports() -> AsyncIterator[Exports]:
    exports = Exports(InFlight())
    yield exports
    exports.close()


async def test_all_pieces_come_in_order(exports: Exports) -> None:
    reader = Reader()
    await exports.send(reader.call, ACME, Pieces(3))
    assert (reader.body, reader.has_end) == (b"1\n2\n3\n", True)


async def test_what_is_not_taken_is_not_read(exports: Exports) -> None:
    reader, pieces = Reader(), Pieces()
    reader.may_take.clear()
    sending = asyncio.create_task(exports.send(reader.call, ACME, pieces))
    await reader.was_sent.wait()
    for _ in range(100):
        await asyncio.sleep(0)
    assert pieces.taken == 1
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    assert await asyncio.to_thread(pieces.closed.wait, 10)


async def test_a_client_that_goes_ends_it(exports: Exports) -> None:
    reader, pieces = Reader(), Pieces()
    sending = asyncio.create_task(exports.send(reader.call, ACME, pieces))
    await reader.was_sent.wait()
    reader.gone.set()
    await asyncio.wait_for(sending, 10)
    assert not reader.has_end
    assert await asyncio.to_thread(pieces.closed.wait, 10)


async def test_few_run_at_a_time(exports: Exports) -> None:
    def begin(account_id: AccountId) -> asyncio.Task[None]:
        reader = Reader()
        reader.may_take.clear()
        return asyncio.create_task(exports.send(reader.call, account_id, Pieces()))

    running = [begin(ACME) for _ in range(MAX_OF_ONE)]
    await asyncio.sleep(0)
    with pytest.raises(RateLimited, match="wait for one of them"):
        await exports.send(Reader().call, ACME, Pieces())
    running += [begin(AccountId(f"acct_{n}")) for n in range(MAX_RUNNING - MAX_OF_ONE)]
    await asyncio.sleep(0)
    with pytest.raises(Overloaded):
        await exports.send(Reader().call, AccountId("acct_last"), Pieces())
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)
    reader = Reader()
    await exports.send(reader.call, ACME, Pieces(1))
    assert reader.has_end


async def test_a_failure_before_the_first_piece_is_told(exports: Exports) -> None:
    def fail() -> Iterator[bytes]:
        raise StoreUnavailable

    reader = Reader()
    with pytest.raises(StoreUnavailable):
        await exports.send(reader.call, ACME, fail)
    assert reader.messages == []


async def test_a_failure_later_cuts_the_file_off(exports: Exports) -> None:
    def fail() -> Iterator[bytes]:
        yield b"1\n"
        raise StoreUnavailable

    reader = Reader()
    with pytest.raises(StoreUnavailable):
        await exports.send(reader.call, ACME, fail)
    assert (reader.body, reader.has_end) == (b"1\n", False)
