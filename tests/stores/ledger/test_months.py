"""Monthly limits."""

from __future__ import annotations

import pytest
from tests.stores.ledger.desk import Desk, crash
from tests.stores.test_months import VIENNA, vienna

from dragoman.errors import InsufficientCredits
from dragoman.stores.ledger.account_book import dollars


@pytest.mark.parametrize(
    ("amount", "text"), [(0, "$0.00"), (12_500_000_000, "$12.50"), (1, "$0.000000001")]
)
def test_amounts_are_exact(amount: int, text: str) -> None:
    assert dollars(amount) == text


@pytest.mark.parametrize("is_prepaid", [True, False])
def test_limit_binds_to_the_last_nano_usd_and_starts_anew_on_time(
    desk: Desk, is_prepaid: bool
) -> None:
    account = desk.account(
        "a",
        top_up=1_000_000 if is_prepaid else 0,
        is_prepaid=is_prepaid,
        monthly_limit_nano_usd=1_000,
        time_zone=VIENNA,
    )
    till = desk.till()
    boundary = vienna(2026, 11, 1)
    desk.clock.now_s = boundary - 1
    ask = desk.ask(account, 900)
    desk.settle(till, ask, desk.hold(till, ask), 900)
    with pytest.raises(
        InsufficientCredits, match=r"monthly limit of \$0.000001 .* 1 November 2026"
    ):
        desk.hold(till, desk.ask(account, 101))
    last = desk.ask(account, 100)
    held = desk.hold(till, last)
    desk.clock.now_s = boundary - 0.001
    with pytest.raises(InsufficientCredits):
        desk.hold(till, desk.ask(account, 1))
    desk.clock.now_s = boundary
    # What is still held may be charged, and counts until it is known to belong to the old month.
    new = desk.ask(account, 900)
    new_hold = desk.hold(till, new)
    desk.settle(till, last, held, 100)
    desk.settle(till, new, new_hold, 900)
    assert desk.row("SELECT month, month_spent FROM balances WHERE account_id = ?", account.id) == (
        202611,
        900,
    )
    final = desk.ask(account, 100)
    desk.settle(till, final, desk.hold(till, final), 100)
    with pytest.raises(InsufficientCredits, match="1 December 2026"):
        desk.hold(till, desk.ask(account, 1))
    till.close()


def test_request_of_the_old_month_is_checked_against_the_old_month(desk: Desk) -> None:
    account = desk.account("a", top_up=10_000, monthly_limit_nano_usd=1_000, time_zone=VIENNA)
    till = desk.till()
    boundary = vienna(2026, 11, 1)
    desk.clock.now_s = boundary - 10
    ask = desk.ask(account, 800)
    desk.settle(till, ask, desk.hold(till, ask), 800)
    desk.clock.now_s = boundary
    ask = desk.ask(account, 1)
    desk.settle(till, ask, desk.hold(till, ask), 1)
    with pytest.raises(InsufficientCredits):
        desk.hold(till, desk.ask(account, 201, started_s=boundary - 0.001))
    late = desk.ask(account, 200, started_s=boundary - 0.001)
    desk.settle(till, late, desk.hold(till, late), 200)
    assert desk.value("SELECT month_spent FROM balances WHERE account_id = ?", account.id) == 1
    till.close()


def test_slices_stay_within_the_limit(desk: Desk) -> None:
    account = desk.account("a", top_up=10_000_000, monthly_limit_nano_usd=100_000)
    tills = [desk.till(), desk.till()]
    spent = 0
    for number in range(400):
        till = tills[number % 2]
        ask = desk.ask(account, 500)
        try:
            hold = desk.hold(till, ask)
        except InsufficientCredits:
            for other in tills:
                desk.answer_epochs(other)
            continue
        spent += desk.settle(till, ask, hold, 500).cost_nano_usd
    assert spent == 100_000
    for till in tills:
        crash(till)
    desk.till().close()
