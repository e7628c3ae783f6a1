"""Any order of top-ups, holds, settlements, crashes and restarts leaves every sum right."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import hypothesis.strategies as st
from hypothesis import HealthCheck, settings
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule
from tests.stores.ledger.desk import Desk, crash, differences, ended

from dragoman.errors import InsufficientCredits
from dragoman.records.account import Account
from dragoman.records.hold import Hold, HoldAsk
from dragoman.records.usage_record import CHARGED, UsageStatus
from dragoman.stores.ledger.jobs import HoldJob, SettleJob
from dragoman.stores.ledger.till import Till

TILLS = 3
Open = tuple[int, int, HoldAsk, Hold]
"""Till, its life, ask, hold."""


class LedgerMachine(RuleBasedStateMachine):
    opens = Bundle("opens")

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.desk = Desk(self.folder / "data", workers=TILLS, slice_nano_usd=50)
        self.accounts = [
            self.desk.account("prepaid"),
            self.desk.account("limited", monthly_limit_nano_usd=3_000),
            self.desk.account("house", is_prepaid=False, monthly_limit_nano_usd=2_000),
            self.desk.account("unbounded", is_prepaid=False),
        ]
        self.tills: list[Till] = [self.desk.till() for _ in range(TILLS)]
        self.lives = [0] * TILLS
        self.topped_up = dict.fromkeys((account.id for account in self.accounts), 0)
        self.charged = dict(self.topped_up)
        self.ended: set[str] = set()
        self.begun: set[str] = set()

    @rule(which=st.integers(0, 1), amount=st.integers(1, 4_000))
    def top_up(self, which: int, amount: int) -> None:
        account = self.accounts[which]
        self.desk.top_up(account, amount)
        self.topped_up[account.id] += amount

    @rule(
        target=opens,
        till=st.integers(0, TILLS - 1),
        which=st.integers(0, 3),
        amount=st.integers(0, 900),
    )
    def hold(self, till: int, which: int, amount: int) -> Open | None:
        account = self.accounts[which]
        ask = self.desk.ask(account, amount)
        try:
            hold = self.desk.hold(self.tills[till], ask)
        except InsufficientCredits:
            return None
        assert hold.amount == (0 if account is self.accounts[3] else amount)
        self.begun.add(ask.intent.request_id)
        return till, self.lives[till], ask, hold

    @rule(
        opened=consumes(opens),
        cost=st.integers(0, 1_200),
        status=st.sampled_from(["ok", "client_gone", "failed"]),
    )
    def settle(self, opened: Open | None, cost: int, status: UsageStatus) -> None:
        if opened is None or self.lives[opened[0]] != opened[1]:
            return
        till, _, ask, hold = opened
        kept = self.desk.settle(self.tills[till], ask, hold, cost, status)
        assert 0 <= kept.cost_nano_usd <= (cost if status in CHARGED else 0)
        assert kept.cost_nano_usd >= min(cost, hold.amount) or status not in CHARGED
        self.charged[ask.account.id] += kept.cost_nano_usd
        self.ended.add(ask.intent.request_id)

    @rule(
        first=consumes(opens),
        second=consumes(opens),
        amount=st.integers(0, 900),
        which=st.integers(0, 3),
    )
    def settle_and_hold_together(
        self, first: Open | None, second: Open | None, amount: int, which: int
    ) -> None:
        for till in range(TILLS):
            jobs: list[SettleJob] = []
            for opened in (first, second):
                if opened is not None and opened[:2] == (till, self.lives[till]):
                    job = self.tills[till].close_hold(opened[3], ended(opened[2], 100))
                    assert job is not None
                    jobs.append(job)
            wish = HoldJob(self.desk.ask(self.accounts[which], amount))
            self.tills[till].perform([*jobs, wish])
            for job in jobs:
                assert job.kept is not None
                self.tills[till].clear(job)
                self.charged[job.account.id] += job.kept.cost_nano_usd
                self.ended.add(job.kept.request_id)
            if wish.error is None:
                # Whoever asked has gone.
                self.tills[till].perform([SettleJob(self.accounts[which], wish.amount, None, None)])

    @rule(till=st.integers(0, TILLS - 1))
    def answer_epochs(self, till: int) -> None:
        self.desk.answer_epochs(self.tills[till])

    @rule(seconds=st.sampled_from([0.1, 2.0, 86_400.0 * 10]))
    def wait(self, seconds: float) -> None:
        self.desk.clock.now_s += seconds

    @rule(till=st.integers(0, TILLS - 1))
    def crash_and_start_again(self, till: int) -> None:
        crash(self.tills[till])
        self.lives[till] += 1
        self.tills[till] = self.desk.till()
        self.ended |= {record.request_id for record in self.tills[till].interrupted}

    @rule(till=st.integers(0, TILLS - 1))
    def stop_and_start_again(self, till: int) -> None:
        self.tills[till].close()
        self.lives[till] += 1
        self.tills[till] = self.desk.till()
        self.ended |= {record.request_id for record in self.tills[till].interrupted}

    @invariant()
    def every_sum_is_right(self) -> None:
        assert differences(self.desk.data_dir) == []
        for account in self.accounts[:2]:
            balance = self.desk.store.balance(account.id, self.desk.clock.now_s)
            left = self.topped_up[account.id] - self.charged[account.id]
            assert balance.total_nano_usd == left >= 0
        for account in self.accounts[1:3]:
            self.limit_binds(account)

    def limit_binds(self, account: Account) -> None:
        spent, leased = self.desk.rows(
            "SELECT month_spent, coalesce((SELECT sum(amount) FROM leases"
            " WHERE leases.account_id = balances.account_id), 0) FROM balances WHERE account_id = ?",
            account.id,
        )[0]
        assert isinstance(spent, int)
        assert isinstance(leased, int)
        assert account.monthly_limit_nano_usd is not None
        assert spent <= account.monthly_limit_nano_usd

    def teardown(self) -> None:
        for till in self.tills:
            crash(till)
        last = self.desk.till()
        self.ended |= {record.request_id for record in last.interrupted}
        assert self.ended == self.begun
        rows = self.desk.rows("SELECT request_id FROM usage_records")
        assert sorted(str(row[0]) for row in rows) == sorted(self.begun)
        assert self.desk.rows("SELECT * FROM leases") == []
        last.close()
        assert self.desk.rows("SELECT * FROM workers") == []
        assert differences(self.desk.data_dir) == []
        assert self.desk.store.verify() == []
        self.desk.store.close()
        shutil.rmtree(self.folder)


LedgerMachine.TestCase.settings = settings(
    max_examples=12,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
TestLedger = LedgerMachine.TestCase
