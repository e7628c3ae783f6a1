"""Questions to the database are asked few at a time, and what is told of an account is exact."""

from __future__ import annotations

import asyncio
import threading

import pytest

from dragoman.chat import NanoUSD
from dragoman.errors import Overloaded, RateLimited
from dragoman.records.account import Account, AccountId
from dragoman.records.ledger_entry import Balance
from dragoman.web.accounts import MAX_ASKED, MAX_ASKED_OF_ONE, Readers, credits_of

ACME = AccountId("acct_acme")


async def test_one_account_asks_few_questions_at_once() -> None:
    readers, gate = Readers(), threading.Event()
    waiting = [asyncio.create_task(readers.ask(ACME, gate.wait)) for _ in range(MAX_ASKED_OF_ONE)]
    await asyncio.sleep(0)
    with pytest.raises(RateLimited, match="wait for one of them"):
        await readers.ask(ACME, gate.wait)
    other = asyncio.create_task(readers.ask(AccountId("acct_other"), lambda: 7))
    await asyncio.sleep(0)
    gate.set()
    assert await asyncio.gather(*waiting) == [True] * MAX_ASKED_OF_ONE
    assert await other == 7
    assert await readers.ask(ACME, lambda: 8) == 8
    readers.close()


async def test_all_together_ask_no_more_than_can_be_answered() -> None:
    readers, gate = Readers(), threading.Event()
    waiting = [
        asyncio.create_task(readers.ask(AccountId(f"acct_{number}"), gate.wait))
        for number in range(MAX_ASKED)
    ]
    await asyncio.sleep(0)
    with pytest.raises(Overloaded):
        await readers.ask(ACME, gate.wait)
    gate.set()
    await asyncio.gather(*waiting)
    assert await readers.ask(ACME, lambda: 8) == 8
    readers.close()


async def test_how_many_may_ask_is_for_whoever_makes_the_threads_to_say() -> None:
    readers, gate = Readers(1, in_all=3, of_one=2), threading.Event()
    waiting = [asyncio.create_task(readers.ask(ACME, gate.wait)) for _ in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(RateLimited, match="2 such questions"):
        await readers.ask(ACME, gate.wait)
    waiting.append(asyncio.create_task(readers.ask(AccountId("acct_b"), gate.wait)))
    await asyncio.sleep(0)
    with pytest.raises(Overloaded):
        await readers.ask(AccountId("acct_c"), gate.wait)
    gate.set()
    assert await asyncio.gather(*waiting) == [True] * 3
    readers.close()


async def test_who_leaves_frees_a_place_only_when_the_thread_is_free() -> None:
    readers, gate, begun = Readers(), threading.Event(), threading.Event()

    def answer() -> bool:
        begun.set()
        return gate.wait()

    left = asyncio.create_task(readers.ask(ACME, answer))
    await asyncio.to_thread(begun.wait)
    left.cancel()
    with pytest.raises(asyncio.CancelledError):
        await left
    staying = [
        asyncio.create_task(readers.ask(ACME, gate.wait)) for _ in range(MAX_ASKED_OF_ONE - 1)
    ]
    await asyncio.sleep(0)
    with pytest.raises(RateLimited):
        await readers.ask(ACME, gate.wait)
    gate.set()
    await asyncio.gather(*staying)
    readers.close()


async def test_a_question_that_fails_frees_its_place() -> None:
    readers = Readers()

    def fail() -> None:
        raise Overloaded

    for _ in range(3 * MAX_ASKED_OF_ONE):
        with pytest.raises(Overloaded):
            await readers.ask(ACME, fail)
    readers.close()


@pytest.mark.parametrize(
    ("month", "time_zone", "resets_at"),
    [
        (202611, "UTC", "2026-12-01T00:00:00+00:00"),
        (202612, "UTC", "2027-01-01T00:00:00+00:00"),
        (202603, "Europe/Vienna", "2026-04-01T00:00:00+02:00"),
        (202610, "Europe/Vienna", "2026-11-01T00:00:00+01:00"),
    ],
)
def test_a_month_begins_in_the_accounts_time_zone(
    month: int, time_zone: str, resets_at: str
) -> None:
    account = Account(id=ACME, name="acme", time_zone=time_zone)
    told = credits_of(account, balance(month=month))
    assert told.month.resets_at.isoformat() == resets_at
    assert told.month.month == f"{month // 100}-{month % 100:02}"
    assert (told.month.limit, told.month.left) == (None, None)


def test_what_is_left_of_a_month_is_never_below_nothing() -> None:
    account = Account(id=ACME, name="acme", monthly_limit_nano_usd=NanoUSD(5))
    assert credits_of(account, balance(spent=3)).month.left_nano_usd == 2
    assert credits_of(account, balance(spent=9)).month.left == "0.00"


def balance(*, month: int = 202611, spent: int = 0) -> Balance:
    return Balance(
        account_id=ACME,
        free_nano_usd=NanoUSD(1),
        held_nano_usd=NanoUSD(2),
        month=month,
        month_spent_nano_usd=NanoUSD(spent),
    )
