"""First come, first served, and nobody beyond the bound."""

from __future__ import annotations

import asyncio

import pytest

from dragoman.engine.slots import Slots
from dragoman.errors import InvalidRequest, Overloaded


class FakeClock:
    def __init__(self) -> None:
        self.at_s = 0.0

    def now_s(self) -> float:
        return self.at_s


async def test_a_freed_slot_goes_to_whoever_waited_longest() -> None:
    slots = Slots(1, 4, FakeClock().now_s)
    (first,) = slots.take(1)
    await first.wait()
    order: list[int] = []

    async def wait_for_turn(number: int) -> None:
        (ticket,) = slots.take(1)
        await ticket.wait()
        order.append(number)
        ticket.release()

    waiting = [asyncio.create_task(wait_for_turn(i)) for i in range(3)]
    await asyncio.sleep(0)
    assert slots.waiting == 3
    first.release()
    await asyncio.gather(*waiting)
    assert order == [0, 1, 2]
    assert slots.in_use == 0


async def test_a_full_queue_refuses_and_says_when_to_come_back() -> None:
    clock = FakeClock()
    slots = Slots(1, 1, clock.now_s)
    (running,) = slots.take(1)
    await running.wait()
    slots.take(1)
    with pytest.raises(Overloaded) as refused:
        slots.take(1)
    assert refused.value.retry_after_s is not None
    assert 1 <= refused.value.retry_after_s <= 60


async def test_tickets_are_all_taken_or_none() -> None:
    slots = Slots(2, 1, FakeClock().now_s)
    slots.take(1)
    with pytest.raises(Overloaded):
        slots.take(3)
    assert (slots.in_use, slots.waiting) == (1, 0)
    slots.take(2)
    assert (slots.in_use, slots.waiting) == (2, 1)


async def test_more_choices_than_could_ever_run_are_the_clients_fault() -> None:
    with pytest.raises(InvalidRequest, match="at most 3"):
        Slots(2, 1, FakeClock().now_s).take(4)


async def test_a_waiter_that_gives_up_leaves_the_queue() -> None:
    slots = Slots(1, 2, FakeClock().now_s)
    (running,) = slots.take(1)
    await running.wait()
    (leaving,) = slots.take(1)
    (staying,) = slots.take(1)
    task = asyncio.create_task(leaving.wait())
    await asyncio.sleep(0)
    task.cancel()
    leaving.release()
    running.release()
    await staying.wait()
    assert (slots.in_use, slots.waiting) == (1, 0)


async def test_releasing_twice_frees_one_slot() -> None:
    slots = Slots(2, 0, FakeClock().now_s)
    one, _ = slots.take(2)
    one.release()
    one.release()
    assert slots.in_use == 1
