"""Holds and settlements, one transaction at a time."""

from __future__ import annotations

import asyncio

import msgspec
import pytest
from tests.stores.ledger.desk import Desk, crash, ended

from dragoman.chat import NanoUSD
from dragoman.errors import InsufficientCredits
from dragoman.records.account import Alerts
from dragoman.records.hold import Quote, WorstRate
from dragoman.records.price import MILLION
from dragoman.records.usage_record import UsageStatus
from dragoman.stores.ledger.jobs import HoldJob, RecallJob


def test_hold_is_taken_and_the_rest_comes_back(desk: Desk) -> None:
    account, till = desk.account("a", top_up=5_000), desk.till()
    ask = desk.ask(account, 700)
    hold = desk.hold(till, ask)
    assert (hold.amount, desk.free(account)) == (700, 4_300)
    assert desk.settle(till, ask, hold, 250).cost_nano_usd == 250
    assert desk.free(account) == 4_750
    till.close()


def test_hold_that_does_not_fit_takes_nothing(desk: Desk) -> None:
    account, till = desk.account("a", top_up=5_000), desk.till()
    with pytest.raises(InsufficientCredits):
        desk.hold(till, desk.ask(account, 5_001))
    assert desk.free(account) == 5_000
    assert till.open_holds == 0
    till.close()


def test_exactly_as_many_holds_as_the_balance_covers(desk: Desk) -> None:
    account = desk.account("a", top_up=10_000)
    tills = [desk.till(), desk.till()]
    granted = 0
    for number in range(40):
        try:
            desk.hold(tills[number % 2], desk.ask(account, 999))
            granted += 1
        except InsufficientCredits:
            pass
    assert granted == 10
    for till in tills:
        crash(till)
    desk.till().close()


def test_refused_hold_leaves_the_others_of_its_batch_alone(desk: Desk) -> None:
    account, till = desk.account("a", top_up=1_000), desk.till()
    jobs = [HoldJob(desk.ask(account, amount)) for amount in (600, 600, 300)]
    till.perform(jobs)
    assert [job.error is None for job in jobs] == [True, False, True]
    assert desk.free(account) == 100
    crash(till)
    desk.till().close()


def test_rich_account_is_held_from_a_slice_in_memory(desk: Desk) -> None:
    account, till = desk.account("a", top_up=1_000_000), desk.till()
    desk.hold(till, desk.ask(account, 100))
    free = desk.free(account)
    assert free == 1_000_000 - 100 - desk.slice_nano_usd
    for _ in range(10):
        assert till.hold_unasked(desk.ask(account, 100), desk.clock.now_s) is not None
    assert desk.free(account) == free
    assert till.hold_unasked(desk.ask(account, 100), desk.clock.now_s) is None
    crash(till)
    desk.till().close()


def test_slice_is_returned_when_another_process_is_short(desk: Desk) -> None:
    account = desk.account("a", top_up=100_000)
    rich, poor = desk.till(), desk.till()
    desk.hold(rich, desk.ask(account, 1))
    job = HoldJob(desk.ask(account, 99_500))
    poor.perform([job])
    assert job.error is not None
    assert job.is_contended
    assert rich.hold_unasked(desk.ask(account, 1), desk.clock.now_s) is None
    desk.answer_epochs(rich)
    again = HoldJob(job.ask)
    poor.perform([again])
    assert again.error is None
    for till in (rich, poor):
        crash(till)
    desk.till().close()


def test_who_is_short_does_not_wait_for_holds_of_others(desk: Desk) -> None:
    account = desk.account("a", top_up=1_000)
    first, second = desk.till(), desk.till()
    desk.hold(first, desk.ask(account, 900))
    job = HoldJob(desk.ask(account, 200))
    second.perform([job])
    assert job.error is not None
    assert not job.is_contended
    for till in (first, second):
        crash(till)
    desk.till().close()


def test_who_asks_for_more_than_there_is_does_not_wait_for_slices(desk: Desk) -> None:
    account = desk.account("a", top_up=100_000)
    rich, poor = desk.till(), desk.till()
    desk.hold(rich, desk.ask(account, 1))
    job = HoldJob(desk.ask(account, 100_001))
    poor.perform([job])
    assert job.error is not None
    assert not job.is_contended
    assert rich.hold_unasked(desk.ask(account, 1), desk.clock.now_s) is not None
    for till in (rich, poor):
        crash(till)
    desk.till().close()


def test_slice_goes_back_when_nobody_uses_it(desk: Desk) -> None:
    account, till = desk.account("a", top_up=1_000_000), desk.till()
    ask = desk.ask(account, 100)
    desk.settle(till, ask, desk.hold(till, ask), 100)
    levels = []
    for waited_s in (0, 0.5, 2):
        desk.clock.now_s += waited_s
        desk.answer_epochs(till)
        levels.append(till.has_slices)
    assert levels == [True, True, False]
    assert desk.free(account) == 999_900
    till.close()


@pytest.mark.parametrize("status", ["failed", "interrupted", "refused", "replayed"])
def test_only_answers_are_charged(desk: Desk, status: UsageStatus) -> None:
    account, till = desk.account("a", top_up=1_000), desk.till()
    ask = desk.ask(account, 500)
    kept = desk.settle(till, ask, desk.hold(till, ask), 400, status)
    assert (kept.status, kept.cost_nano_usd) == (status, 0)
    assert desk.free(account) == 1_000
    till.close()


def test_client_that_left_is_charged(desk: Desk) -> None:
    account, till = desk.account("a", top_up=1_000), desk.till()
    ask = desk.ask(account, 500)
    assert desk.settle(till, ask, desk.hold(till, ask), 400, "client_gone").cost_nano_usd == 400
    assert desk.free(account) == 600
    till.close()


def test_cost_beyond_the_hold_is_taken_from_the_balance_and_then_nobody_pays(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    account, till = desk.account("a", top_up=1_000), desk.till()
    ask = desk.ask(account, 500)
    kept = desk.settle(till, ask, desk.hold(till, ask), 1_234)
    assert kept.cost_nano_usd == 1_000
    assert desk.free(account) == 0
    assert desk.row("SELECT amount, to_book FROM ledger WHERE kind = 'overrun'") == (234, "revenue")
    assert ask.intent.request_id in caplog.text
    till.close()


def test_who_wants_alerts_is_told_of_what_nobody_pays(desk: Desk) -> None:
    hook = Alerts(webhook_url="https://example.com/alerts")
    account, till = desk.account("a", top_up=1_000, alerts=hook), desk.till()
    ask = desk.ask(account, 500)
    desk.settle(till, ask, desk.hold(till, ask), 1_234)
    assert desk.value("SELECT occasion FROM alerts") == f"overrun:{ask.intent.request_id}"
    told = msgspec.json.decode(str(desk.value("SELECT payload FROM alerts")))
    assert (told["kind"], told["request_id"]) == ("overrun", ask.intent.request_id)
    assert told["unpaid_nano_usd"] == 234
    till.close()


def test_cost_beyond_the_hold_may_come_from_the_slice(desk: Desk) -> None:
    account, till = desk.account("a", top_up=100_000), desk.till()
    ask = desk.ask(account, 500)
    assert desk.settle(till, ask, desk.hold(till, ask), 100_000).cost_nano_usd == 100_000
    assert desk.value("SELECT count(*) FROM ledger WHERE kind = 'overrun'") == 0
    till.close()


async def test_second_settlement_is_ignored(desk: Desk) -> None:
    account, till = desk.account("a", top_up=1_000), desk.till()
    ask = desk.ask(account, 500)
    hold = desk.hold(till, ask)
    desk.settle(till, ask, hold, 100)
    assert till.close_hold(hold, ended(ask, 400)) is None
    recall = RecallJob(ended(ask, 400), asyncio.get_running_loop().create_future())
    till.perform([recall])
    assert recall.kept is not None
    assert recall.kept.cost_nano_usd == 100
    assert desk.free(account) == 900
    till.close()


def test_two_holds_of_one_request_are_charged_once(desk: Desk) -> None:
    account, till = desk.account("a", top_up=1_000), desk.till()
    ask = desk.ask(account, 300)
    first, second = desk.hold(till, ask), desk.hold(till, ask)
    desk.settle(till, ask, first, 100)
    job = till.close_hold(second, ended(ask, 300))
    assert job is not None
    till.perform([job], may_repeat=True)
    assert job.kept is not None
    assert job.kept.cost_nano_usd == 100
    till.clear(job)
    assert desk.free(account) == 900
    till.close()


def test_account_that_is_not_prepaid_needs_no_balance(desk: Desk) -> None:
    account, till = desk.account("a", is_prepaid=False), desk.till()
    ask = desk.ask(account, 500)
    hold = till.hold_unasked(ask, desk.clock.now_s)
    assert hold is not None
    assert hold.amount == 0
    assert desk.settle(till, ask, hold, 500).cost_nano_usd == 500
    assert desk.row("SELECT kind, from_book, to_book, amount FROM ledger") == (
        "grant",
        "house",
        "revenue",
        500,
    )
    till.close()


def test_what_costs_nothing_is_held_without_a_balance(desk: Desk) -> None:
    account, till = desk.account("a"), desk.till()
    ask = desk.ask(account, 0)
    hold = till.hold_unasked(ask, desk.clock.now_s)
    assert hold is not None
    assert desk.settle(till, ask, hold, 0).cost_nano_usd == 0
    assert desk.value("SELECT count(*) FROM ledger") == 0
    till.close()


def test_balance_decides_how_long_an_answer_may_get(desk: Desk) -> None:
    account, till = desk.account("a", top_up=100_000), desk.till()
    quote = Quote(rates=(WorstRate(0, 10 * MILLION),), output_bound=100_000)
    hold = desk.hold(till, desk.ask(account, 0, quote=quote))
    assert (hold.max_output_tokens, hold.amount) == (2_500, 25_000)
    crash(till)
    desk.till().close()


def test_account_that_turns_not_prepaid_keeps_its_own_money(desk: Desk) -> None:
    account, till = desk.account("a", top_up=5_000), desk.till()
    ask = desk.ask(account, 1_000)
    hold = desk.hold(till, ask)
    limited = desk.account("b", is_prepaid=False, monthly_limit_nano_usd=5_000)
    changed = ask.account.__class__(
        id=account.id,
        name="a",
        is_prepaid=False,
        monthly_limit_nano_usd=limited.monthly_limit_nano_usd,
    )
    second = desk.ask(changed, 2_000)
    held_by_house = desk.hold(till, second)
    crash(till)
    again = desk.till()
    assert desk.free(account) == 5_000
    assert (hold.amount, held_by_house.amount) == (1_000, 2_000)
    again.close()


def test_crossed_thresholds_are_told(desk: Desk) -> None:
    account = desk.account(
        "a",
        top_up=1_000,
        monthly_limit_nano_usd=1_000,
        alerts=Alerts(balance_below_nano_usd=(NanoUSD(500), NanoUSD(100)), month_percent=(50, 80)),
    )
    till = desk.till()

    def spend(cost: int) -> None:
        ask = desk.ask(account, cost)
        desk.settle(till, ask, desk.hold(till, ask), cost)

    def occasions() -> list[object]:
        return [row[0] for row in desk.rows("SELECT occasion FROM alerts ORDER BY sequence")]

    spend(400)
    assert occasions() == []
    spend(101)
    assert occasions() == ["balance_below:500", "month:202609:50"]
    spend(200)
    assert len(occasions()) == 2
    spend(150)
    assert occasions()[2:] == ["month:202609:80"]
    till.close()


def test_balance_that_falls_again_is_told_again(desk: Desk) -> None:
    account = desk.account("a", top_up=1_000, alerts=Alerts(balance_below_nano_usd=(NanoUSD(500),)))
    till = desk.till()
    sequences = []
    for _ in range(2):
        ask = desk.ask(account, 600)
        desk.settle(till, ask, desk.hold(till, ask), 600)
        sequences.append(desk.value("SELECT sequence FROM alerts"))
        desk.top_up(account, 600)
    assert sequences[0] != sequences[1]
    till.close()


def test_sums_by_day_and_label_are_kept_with_the_record(desk: Desk) -> None:
    account, till = desk.account("a", top_up=1_000), desk.till()
    for _ in range(3):
        ask = desk.ask(account, 100, labels=(("team", "search"),))
        desk.settle(till, ask, desk.hold(till, ask), 50)
    assert desk.rows("SELECT requests, input_tokens, cost, status FROM usage_days") == [
        (3, 21, 150, "ok")
    ]
    assert desk.rows("SELECT label, value, requests, output_tokens FROM usage_labels") == [
        ("team", "search", 3, 9)
    ]
    till.close()
