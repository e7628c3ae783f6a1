"""One write transaction: a batch of jobs of many requests, and all that follows from them.

Settlements come first, because what they give back may be held by what comes after. Rows are collected,
and written together at the end. Nothing in memory is changed for good before the commit, except that
slices are taken out of purses; `roll_back` puts them back.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterable, Sequence

import msgspec

from dragoman.chat import NanoUSD
from dragoman.errors import Conflict, InsufficientCredits
from dragoman.records.account import Account, AccountId
from dragoman.records.interaction import Interaction
from dragoman.records.usage_record import CHARGED, UsageRecord
from dragoman.stores.appending import Appending, positional
from dragoman.stores.compiled import ledger as sql
from dragoman.stores.interaction_writing import add_interactions
from dragoman.stores.ledger import alerts
from dragoman.stores.ledger.account_book import AccountBook
from dragoman.stores.ledger.conversations import kept_interactions
from dragoman.stores.ledger.jobs import (
    ClaimJob,
    GiveUpJob,
    HoldJob,
    Job,
    NoteJob,
    RecallJob,
    ReturnJob,
    SettleJob,
    TouchJob,
)
from dragoman.stores.ledger.purse import Backing, Purse, backing_of
from dragoman.stores.ledger.purses import Purses
from dragoman.stores.ledger.rows import Rollups, Row, record_row
from dragoman.stores.ledger.worker import Worker
from dragoman.stores.months import Month

_log = logging.getLogger("dragoman.ledger")

_ADD_RECORDS = Appending(sql.SQLITE_ADD_RECORD)
_ADD_ENTRIES = Appending(sql.SQLITE_ADD_ENTRY)
_ADD_DAY = positional(sql.SQLITE_ADD_DAY)
_ADD_LABEL = positional(sql.SQLITE_ADD_LABEL)
_ADD_ALERT = positional(sql.SQLITE_ADD_ALERT)
_BALANCE = positional(sql.SQLITE_BALANCE)
_PUT_BALANCE = positional(sql.SQLITE_PUT_BALANCE)
_LEASES = positional(sql.SQLITE_LEASES)
_PUT_LEASE = positional(sql.SQLITE_PUT_LEASE)

_BOOKS = ("free", "house")
"""What stands behind a hold, by `Backing`."""


class Transaction:
    def __init__(
        self,
        connection: sqlite3.Connection,
        worker: Worker,
        purses: Purses,
        number: int,
        now_s: float,
    ) -> None:
        """`number` is this worker's own, and new; `now_s` is since the epoch."""
        self._connection = connection
        self._worker = worker
        self._purses = purses
        self._number = number
        self._now_s = now_s
        self._books: dict[AccountId, AccountBook] = {}
        self._taken: list[tuple[Purse, int]] = []
        self._entries: list[Row] = []
        self._records: list[Row] = []
        self._rollups = Rollups()
        self._interactions: list[Interaction] = []
        self._must_return: set[int] = set()

    def perform(self, jobs: Sequence[Job], *, may_repeat: bool) -> None:
        """Do `jobs`, up to the commit, and fill in how each ended. Raises `sqlite3.Error`.

        Unless `may_repeat`, a request that has a record already is an `sqlite3.IntegrityError`:
        looking for each one beforehand would cost every request for what never happens.
        """
        holds: list[HoldJob] = []
        others: list[Job] = []
        for job in jobs:
            if isinstance(job, SettleJob):
                self._settle(job, may_repeat)
            elif isinstance(job, HoldJob):
                holds.append(job)
            else:
                others.append(job)
        for job in others:
            if isinstance(job, NoteJob):
                self._note(job.record, may_repeat)
            elif isinstance(job, (ClaimJob, GiveUpJob)):
                self._claim(job)
            elif isinstance(job, RecallJob):
                job.kept = self._find(job.record)
            elif isinstance(job, ReturnJob):
                self._return(job.purse)
            elif isinstance(job, TouchJob):
                values = {"key_id": job.key_id, "at_s": job.at_s}
                self._connection.execute(sql.SQLITE_TOUCH_KEY, values)
        for hold in holds:
            self._hold(hold)
        self._write()

    def roll_back(self) -> None:
        """The transaction came to nothing: purses have their slices again."""
        self._purses.put_back(self._taken, self._touched_purses())

    def committed(self, monotonic_s: float) -> None:
        """Purses have what was leased for them."""
        self._purses.receive(self._touched_purses(), monotonic_s)

    # --- Jobs ---

    def _settle(self, job: SettleJob, may_repeat: bool) -> None:
        record, held = job.record, job.held
        repeated = None
        if record is not None and may_repeat:
            repeated = self._find(record)
        is_charged = record is not None and repeated is None and record.status in CHARGED
        wanted = max(0, record.cost_nano_usd) if record is not None and is_charged else 0
        charge, backing = 0, backing_of(job.account)
        if held or wanted:
            started_s = record.started_s if record is not None else self._now_s
            charge = self._charge(job, wanted, self._month(job.account, started_s))
        if repeated is not None:
            job.kept = repeated
        elif record is not None:
            if charge:
                self._post_charge(record, backing, charge)
            if wanted > charge:
                self._post_overrun(record, wanted - charge)
                self._tell(alerts.overrun(job.account, record, wanted - charge, self._now_s))
            if charge != record.cost_nano_usd:
                record = msgspec.structs.replace(record, cost_nano_usd=NanoUSD(charge))
            job.kept = record
            self._records.append(record_row(record, charge, held))
            self._rollups.add(record, charge)
            if job.keep is not None:
                self._interactions += kept_interactions(job, job.keep, record)
        if job.claim is not None and repeated is None:
            claims = self._worker.claims
            if record is not None and record.status == "ok":
                claims.keep_answer(self._connection, job.claim, job.answer)
            else:
                claims.give_up(self._connection, job.claim)

    def _charge(self, job: SettleJob, wanted: int, month: Month) -> int:
        account = job.account
        purse = self._purse(account, backing_of(account))
        book = self._book(account)
        if wanted > job.held:
            # What this process has leased is the account's balance, too.
            self._empty(book, purse)
        return book.settle(purse, job.held, wanted, month)

    def _hold(self, job: HoldJob) -> None:
        job.reset()
        ask = job.ask
        if ask is None:
            self._connection.execute(sql.SQLITE_TOUCH_WORKER, {"worker_id": self._worker.id})
            return
        account = ask.account
        purse = self._purse(account, backing_of(account))
        purse.account = account
        book = self._book(account)
        book.account = account
        self._empty(book, purse)
        month = self._month(account, ask.intent.started_s)
        try:
            job.amount, job.max_output_tokens = book.hold(purse.backing, ask.quote, month)
        except InsufficientCredits as error:
            job.error = error
            job.is_contended = self._worker.is_leased_by_others(
                purse.word
            ) and book.others_could_help(purse.backing, ask.quote, month)
            if job.is_contended:
                self._must_return.add(purse.word)

    def _note(self, record: UsageRecord, may_repeat: bool) -> None:
        if may_repeat and self._find(record) is not None:
            return
        # Nothing was held for it, and nothing is charged.
        self._records.append(record_row(record, 0, 0))
        self._rollups.add(record, 0)

    def _claim(self, job: ClaimJob | GiveUpJob) -> None:
        claims = self._worker.claims
        if isinstance(job, GiveUpJob):
            claims.give_up(self._connection, job.claim)
            return
        job.kept = job.error = None
        try:
            job.kept = claims.take(self._connection, job.claim, self._now_s)
        except Conflict as conflict:
            job.error = conflict

    def _return(self, purse: Purse) -> None:
        book = self._book(purse.account)
        book.purses[purse.backing] = purse
        self._empty(book, purse)

    def _find(self, record: UsageRecord) -> UsageRecord | None:
        found = self._connection.execute(
            sql.SQLITE_FIND_RECORD, {"request_id": record.request_id}
        ).fetchone()
        if found is None:
            return None
        status, cost, hold = found
        _log.warning("request %s was settled already: its second end is ignored", record.request_id)
        return msgspec.structs.replace(
            record, status=status, cost_nano_usd=cost, hold_nano_usd=hold
        )

    # --- Accounts ---

    def _book(self, account: Account) -> AccountBook:
        book = self._books.get(account.id)
        if book is None:
            book = self._books[account.id] = self._read_book(account)
        return book

    def _read_book(self, account: Account) -> AccountBook:
        connection, account_id = self._connection, account.id
        balance = connection.execute(_BALANCE, (account_id,)).fetchone()
        if balance is None:
            connection.execute(sql.SQLITE_ADD_BALANCE, {"account_id": account_id})
            balance = (0, 1, 0, 0)
        own, others, own_ids = [0, 0], 0, self._worker.lease_ids
        for worker_id, amount in connection.execute(_LEASES, (account_id,)):
            if worker_id in own_ids:
                own[own_ids.index(worker_id)] = amount
            else:
                others += amount
        free, is_exact, month, month_spent = balance

        def charged_in(month: Month) -> int:
            values = {"account_id": account_id, "from_s": month.from_s, "to_s": month.to_s}
            found = connection.execute(sql.SQLITE_CHARGED_BETWEEN, values).fetchone()
            return int(found[0])

        return AccountBook(
            account, (free, bool(is_exact), month, month_spent), own, others, charged_in
        )

    def _purse(self, account: Account, backing: Backing) -> Purse:
        """The purse, entered in its account's book; emptied where others asked for what is in it."""
        purse = self._purses.get_or_make(account, backing)
        book = self._book(purse.account)
        if backing not in book.purses:
            book.purses[backing] = purse
            if purse.unspent and self._worker.epoch(purse.word) != purse.seen:
                self._empty(book, purse)
        return purse

    def _empty(self, book: AccountBook, purse: Purse) -> None:
        taken = self._purses.take_all(purse)
        if taken:
            self._taken.append((purse, taken))
        if purse.arriving or taken:
            book.give(purse.backing, purse.arriving + taken)
            purse.arriving = 0

    def _month(self, account: Account, at_s: float) -> Month:
        return self._worker.calendar.month(account.time_zone, at_s)

    def _touched_purses(self) -> list[Purse]:
        return [purse for book in self._books.values() for purse in book.purses.values()]

    # --- Rows ---

    def _post_charge(self, record: UsageRecord, backing: Backing, charge: int) -> None:
        kind, source = ("settlement", "held") if backing is Backing.FREE else ("grant", "house")
        self._entries.append(
            (
                self._now_s,
                kind,
                record.account_id,
                charge,
                source,
                "revenue",
                f"settlement:{record.request_id}",
                record.request_id,
                None,
            )
        )

    def _post_overrun(self, record: UsageRecord, amount: int) -> None:
        _log.warning(
            "request %s cost %d nano-USD more than its hold and account %s could pay",
            record.request_id,
            amount,
            record.account_id,
        )
        self._entries.append(
            (
                self._now_s,
                "overrun",
                record.account_id,
                amount,
                "overrun",
                "revenue",
                f"overrun:{record.request_id}",
                record.request_id,
                None,
            )
        )

    def _write(self) -> None:
        connection = self._connection
        for account_id, book in self._books.items():
            self._write_book(account_id, book)
        _ADD_ENTRIES.add(connection, self._entries)
        if self._records:
            _ADD_RECORDS.add(connection, self._records)
            connection.executemany(_ADD_DAY, self._rollups.days())
            labels = self._rollups.labels()
            if labels:
                connection.executemany(_ADD_LABEL, labels)
        if self._interactions:
            add_interactions(connection, self._interactions)
        # Under the write lock, which every process that leases holds in its turn.
        for word in self._must_return:
            self._worker.raise_epoch(word)
        self._purses.announce(self._touched_purses())

    def _write_book(self, account_id: AccountId, book: AccountBook) -> None:
        connection, worker = self._connection, self._worker
        words = {purse.word for purse in book.purses.values()}
        if book.finish(worker.slice_nano_usd, worker.workers):
            self._must_return |= words
        connection.execute(
            _PUT_BALANCE, (book.free, book.is_exact, book.month, book.month_spent, account_id)
        )
        for backing, net in enumerate(book.net):
            source = _BOOKS[backing]
            if book.own[backing] != book.own_before[backing]:
                lease = (worker.lease_ids[backing], account_id, book.own[backing])
                connection.execute(_PUT_LEASE, lease)
            if net > 0:
                self._post_move("hold", account_id, net, source, "held")
            elif net < 0:
                self._post_move("release", account_id, -net, "held", source)
        self._tell(alerts.crossed(book, self._now_s))

    def _post_move(
        self, kind: str, account_id: AccountId, amount: int, source: str, target: str
    ) -> None:
        key = f"{kind}:{self._worker.id}:{self._number}:{account_id}:{source}:{target}"
        self._entries.append(
            (self._now_s, kind, account_id, amount, source, target, key, None, None)
        )

    def _tell(self, occasions: Iterable[alerts.Occasion]) -> None:
        for occasion in occasions:
            if occasion.is_told_anew:
                self._connection.execute(
                    sql.SQLITE_DROP_ALERT,
                    {"account_id": occasion.account_id, "occasion": occasion.name},
                )
            self._connection.execute(_ADD_ALERT, occasion.row(self._now_s))
