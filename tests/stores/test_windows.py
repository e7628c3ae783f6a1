"""Windows are exact: against a plain list, over processes, after a crash, a restart and a full disk."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dragoman.errors import StoreUnavailable
from dragoman.ports.limits import Full, Standing, Subject
from dragoman.stores import window_slots
from dragoman.stores.window_slots import DIRTY, HEAD, RING_ENTRIES, TAIL
from dragoman.stores.windows import EXACT_ENTRIES, GRAIN_S, WindowTable


class SetClock:
    """Time that moves when it is told to."""

    def __init__(self, now_s: float = 1000.0) -> None:
        self.now_s = now_s

    def monotonic_s(self) -> float:
        return self.now_s

    def unix_s(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
def table(tmp_path: Path, clock: SetClock) -> Iterator[WindowTable]:
    table = WindowTable(tmp_path / "limits", clock)
    yield table
    table.close()


def subject(
    name: str = "key_a", *, requests: int = 1 << 60, tokens: int = 1 << 60, running: int = 1 << 60
) -> Subject:
    return Subject(name=name, requests=requests, tokens=tokens, running=running)


def let_in(table: WindowTable, *subjects: Subject) -> tuple[Standing, ...]:
    standings = table.enter(subjects)
    assert not isinstance(standings, Full)
    return standings


def set_aside(
    table: WindowTable,
    subjects: tuple[Subject, ...],
    standings: tuple[Standing, ...],
    tokens: int,
) -> tuple[Standing, ...]:
    reserved = table.reserve(subjects, standings, 0, tokens)
    assert not isinstance(reserved, Full)
    return reserved


def refused(table: WindowTable, *subjects: Subject) -> Full:
    full = table.enter(subjects)
    assert isinstance(full, Full)
    return full


# --- Requests ---


def test_request_counts_for_exactly_sixty_seconds(table: WindowTable, clock: SetClock) -> None:
    one = subject(requests=1)
    let_in(table, one)
    clock.now_s += 59.999
    assert refused(table, one).wait_s == pytest.approx(0.001)
    clock.now_s = 1060.0
    let_in(table, one)


def test_wait_is_until_the_request_that_is_in_the_way_has_left(
    table: WindowTable, clock: SetClock
) -> None:
    two = subject(requests=2)
    let_in(table, two)
    clock.now_s += 10
    let_in(table, two)
    clock.now_s += 5
    full = refused(table, two)
    assert (full.measure, full.used, full.wait_s) == ("requests", 2, 45.0)
    # A limit that was lowered meanwhile.
    assert refused(table, subject(requests=1)).wait_s == 55.0
    assert refused(table, subject(requests=0)).wait_s is None


def test_request_is_counted_with_all_subjects_or_with_none(table: WindowTable) -> None:
    account, key = subject("acct_a"), subject("key_a", requests=1)
    let_in(table, account, key)
    full = refused(table, account, key)
    assert full.subject == 1
    assert table.look(account).requests == 1
    assert table.look(account).running == 1


def test_of_several_reasons_the_one_that_lasts_longest_is_told(
    table: WindowTable, clock: SetClock
) -> None:
    account, key = subject("acct_a", requests=1, running=1), subject("key_a", requests=1)
    let_in(table, account)
    clock.now_s += 30
    let_in(table, key)
    full = refused(table, account, key)
    assert (full.subject, full.wait_s) == (1, 60.0)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 9),
    st.lists(st.sampled_from([0.0, 0.125, 1.0, 7.5, 29.75, 30.0, 59.875, 60.0, 61.0]), max_size=60),
)
def test_requests_are_let_in_as_a_plain_list_would_have_it(limit: int, steps: list[float]) -> None:
    clock = SetClock()
    with tempfile.TemporaryDirectory() as folder:
        table = WindowTable(Path(folder) / "limits", clock)
        model: deque[float] = deque()
        for step in steps:
            clock.now_s += step
            while model and model[0] <= clock.now_s - 60:
                model.popleft()
            result = table.enter((subject(requests=limit),))
            if len(model) < limit:
                assert not isinstance(result, Full)
                model.append(clock.now_s)
            else:
                assert isinstance(result, Full)
                assert result.wait_s == model[0] + 60 - clock.now_s
        table.close()


# --- Tokens ---


def test_tokens_are_reserved_within_the_limit_and_set_right_at_the_end(table: WindowTable) -> None:
    hundred = (subject(tokens=100),)
    first = set_aside(table, hundred, let_in(table, *hundred), 80)
    second = let_in(table, *hundred)
    full = table.reserve(hundred, second, 0, 21)
    assert full == Full(0, "tokens", 80, 60.0)
    assert table.leave(hundred, first, 80, 30)[0].tokens == 30
    assert not isinstance(table.reserve(hundred, second, 0, 70), Full)
    assert refused(table, *hundred).measure == "tokens"


def test_failed_reservation_leaves_none_and_needs_none_of_its_own_room(
    table: WindowTable, clock: SetClock
) -> None:
    hundred = (subject(tokens=100),)
    mine = set_aside(table, hundred, let_in(table, *hundred), 60)
    clock.now_s += 0.5
    other = let_in(table, *hundred)
    assert not isinstance(table.reserve(hundred, other, 0, 40), Full)
    full = table.reserve(hundred, mine, 60, 61)
    assert full == Full(0, "tokens", 40, 60.0)
    assert table.look(*hundred).tokens == 40
    assert table.reserve(hundred, mine, 0, 101) == Full(0, "tokens", 40, None)


def test_request_that_left_the_window_changes_nothing_any_more(
    table: WindowTable, clock: SetClock
) -> None:
    who = (subject(),)
    mine = set_aside(table, who, let_in(table, *who), 50)
    clock.now_s += 61
    assert table.look(*who).running == 1
    assert table.leave(who, mine, 50, 7)[0] == Standing(0, 0, 0, 0, 0, 1000.0)


def test_tokens_of_a_slow_body_count_from_when_they_can_be_used(
    table: WindowTable, clock: SetClock
) -> None:
    who = (subject(tokens=100),)
    mine = let_in(table, *who)
    clock.now_s += 59
    mine = set_aside(table, who, mine, 100)
    clock.now_s += 1
    full = refused(table, *who)
    assert (full.measure, full.wait_s) == ("tokens", 59.0)
    assert table.leave(who, mine, 100, 40)[0].tokens == 40
    assert table.look(*who).requests == 0


def test_withdrawn_request_counts_as_if_it_had_never_come(table: WindowTable) -> None:
    one = (subject(requests=1, tokens=10, running=1),)
    mine = set_aside(table, one, let_in(table, *one), 10)
    table.leave(one, mine, 10, 0, is_withdrawn=True)
    let_in(table, *one)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 60), st.randoms(use_true_random=False))
def test_tokens_are_what_a_plain_list_would_have(limit: int, chance: random.Random) -> None:
    clock = SetClock()
    with tempfile.TemporaryDirectory() as folder:
        table = WindowTable(Path(folder) / "limits", clock)
        who = (subject(tokens=limit),)
        model: list[list[float]] = []
        open_: list[tuple[tuple[Standing, ...], list[float]]] = []
        for _ in range(60):
            clock.now_s += chance.choice([0.0, 0.25, 5.0, 20.0, 45.0])
            used = sum(tokens for at, tokens in model if at > clock.now_s - 60)
            if open_ and chance.random() < 0.4:
                standings, entry = open_.pop(chance.randrange(len(open_)))
                actual = chance.randrange(int(entry[1]) + 1)
                table.leave(who, standings, int(entry[1]), actual)
                entry[1] = actual
                continue
            result = table.enter(who)
            assert isinstance(result, Full) == (used >= limit)
            if isinstance(result, Full):
                continue
            tokens = chance.randrange(1, 30)
            reserved = table.reserve(who, result, 0, tokens)
            assert isinstance(reserved, Full) == (used + tokens > limit)
            if isinstance(reserved, Full):
                table.leave(who, result, 0, 0, is_withdrawn=True)
                continue
            entry = [clock.now_s, tokens]
            model.append(entry)
            open_.append((reserved, entry))
        table.close()


# --- Requests at once ---


def test_running_requests_are_bounded_and_freed_when_they_leave(table: WindowTable) -> None:
    two = (subject(running=2),)
    first, _ = let_in(table, *two), let_in(table, *two)
    assert refused(table, *two) == Full(0, "running", 2, None)
    table.leave(two, first, 0, 0)
    let_in(table, *two)


def test_what_a_dead_worker_ran_runs_no_longer(tmp_path: Path, clock: SetClock) -> None:
    mine = WindowTable(tmp_path / "limits", clock, worker=0, workers=2)
    other = WindowTable(tmp_path / "limits", clock, worker=1, workers=2)
    two = subject(running=2)
    let_in(mine, two)
    let_in(other, two)
    refused(mine, two)
    mine.clear_worker(1)
    let_in(mine, two)
    assert mine.look(two).running == 2
    mine.clear_all_workers()
    assert mine.look(two) == Standing(3, 0, 0, 2, 2, 1000.0)
    mine.close()
    other.close()


def test_leaving_after_having_been_cleared_frees_nothing_twice(table: WindowTable) -> None:
    who = (subject(),)
    mine = let_in(table, *who)
    table.clear_worker(0)
    assert table.leave(who, mine, 0, 0)[0].running == 0


# --- Rates beyond the ring ---


def test_any_rate_fits_and_is_never_let_beyond_its_limit(
    table: WindowTable, clock: SetClock
) -> None:
    limit = 20_000
    who = subject(requests=limit)
    let_in_at: deque[float] = deque()
    late = 0
    for _ in range(60_000):
        clock.now_s += 1 / 512
        while let_in_at and let_in_at[0] <= clock.now_s - 60:
            let_in_at.popleft()
        result = table.enter((who,))
        if not isinstance(result, Full):
            let_in_at.append(clock.now_s)
            assert len(let_in_at) <= limit
        elif len(let_in_at) < limit:
            # Refused where a plain list would not: only for so long as a grain is.
            assert result.wait_s is not None
            assert result.wait_s <= GRAIN_S
            late += 1
    assert 0 < late < 2000


def test_ring_never_overflows_however_exact_and_merged_entries_alternate(
    table: WindowTable, clock: SetClock
) -> None:
    who = subject()
    total = 0
    for burst, step in ((EXACT_ENTRIES, 0.001), (1000, GRAIN_S), (3000, 0.0001), (1200, 0.06)):
        for _ in range(burst):
            clock.now_s += step
            standing = let_in(table, who)[0]
            total += 1
    assert standing.requests <= total
    slots = table._slots
    slot = slots.take((who,))[0]
    assert slots.words[slot + HEAD] - slots.words[slot + TAIL] <= RING_ENTRIES


def test_merged_request_is_corrected_by_its_own_number(table: WindowTable, clock: SetClock) -> None:
    who = (subject(),)
    for _ in range(EXACT_ENTRIES):
        let_in(table, *who)
    first, second = let_in(table, *who), let_in(table, *who)
    reserved = table.reserve(who, first, 0, 10)
    assert not isinstance(reserved, Full)
    assert not isinstance(table.reserve(who, second, 0, 5), Full)
    assert table.leave(who, reserved, 10, 1)[0].tokens == 6


# --- Crashes, restarts, disks ---


def test_sums_are_recomputed_after_a_death_in_mid_update(tmp_path: Path, clock: SetClock) -> None:
    path = tmp_path / "limits"
    dying = WindowTable(path, clock)
    who = (subject(requests=3),)
    standings = let_in(dying, *who)
    assert not isinstance(dying.reserve(who, standings, 0, 9), Full)
    slot = dying._slots.take(who)[0]
    words = dying._slots.words
    # It has linked its entry, and dies before the sums are written.
    words[slot + DIRTY] = 1
    words[slot + HEAD] = dying._append(slot, words[slot + HEAD], 0, clock.now_s, 1, 4) + 1
    heir = WindowTable(path, clock, worker=1, workers=2)
    standing = heir.look(*who)
    assert (standing.requests, standing.tokens, standing.running) == (2, 13, 1)
    heir.close()
    dying.close()


def test_windows_outlive_a_restart_and_nothing_runs_after_it(
    tmp_path: Path, clock: SetClock
) -> None:
    path = tmp_path / "limits"
    one = subject(requests=1, running=1)
    killed = WindowTable(path, clock)
    let_in(killed, one)
    restarted = WindowTable(path, clock)
    assert refused(restarted, one).measure == "requests"
    clock.now_s += 60
    let_in(restarted, one)
    restarted.close()
    killed.close()


def test_file_of_an_earlier_boot_is_emptied(tmp_path: Path) -> None:
    path = tmp_path / "limits"
    one = subject(requests=1)
    before = WindowTable(path, SetClock(5000.0), boot="first")
    let_in(before, one)
    before.close()
    after = WindowTable(path, SetClock(3.0), boot="second")
    let_in(after, one)
    refused(after, one)
    after.close()


def test_times_that_are_yet_to_come_are_dropped(tmp_path: Path) -> None:
    path = tmp_path / "limits"
    one = subject(requests=1)
    before = WindowTable(path, SetClock(5000.0), boot="same")
    let_in(before, one)
    before.close()
    after = WindowTable(path, SetClock(3.0), boot="same")
    let_in(after, one)
    after.close()


@pytest.mark.parametrize("junk", [b"", b"x", b"\xff" * 200_000])
def test_any_file_is_taken_over(tmp_path: Path, clock: SetClock, junk: bytes) -> None:
    path = tmp_path / "limits"
    path.write_bytes(junk)
    table = WindowTable(path, clock)
    let_in(table, subject(requests=1))
    refused(table, subject(requests=1))
    table.close()


def test_idle_subject_makes_room_for_another(
    tmp_path: Path, clock: SetClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(window_slots, "MAX_SUBJECTS", 8)
    mine = WindowTable(tmp_path / "limits", clock, worker=0, workers=2)
    other = WindowTable(tmp_path / "limits", clock, worker=1, workers=2)
    for index in range(8):
        let_in(other, subject(f"key_{index}"))
    with pytest.raises(StoreUnavailable):
        let_in(mine, subject("key_new"))
    clock.now_s += 60
    other.clear_all_workers()
    let_in(mine, subject("key_new"))
    # The other process learns that the slot is no longer where it was.
    for index in range(7):
        let_in(other, subject(f"key_{index}"))
    assert mine.look(subject("key_new")).requests == 1
    assert other.look(subject("key_0")).requests == 1
    with pytest.raises(StoreUnavailable):
        let_in(other, subject("key_7"))
    mine.close()
    other.close()


def test_full_disk_is_an_error_and_no_crash(
    tmp_path: Path, clock: SetClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = WindowTable(tmp_path / "limits", clock)

    def is_full(file: int, offset: int, length: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", is_full)
    with pytest.raises(StoreUnavailable):
        let_in(table, subject())
    with pytest.raises(StoreUnavailable):
        WindowTable(tmp_path / "other", clock)
    table.close()


def test_file_takes_little_space(tmp_path: Path, table: WindowTable) -> None:
    let_in(table, subject())
    assert os.stat(tmp_path / "limits").st_blocks * 512 < 1 << 20


# --- Several processes ---

_COUNTING = """
import sys, time
from pathlib import Path
from dragoman.ports.limits import Full, Subject
from dragoman.stores.windows import WindowTable

class MachineClock:
    def monotonic_s(self):
        return time.monotonic()
    def unix_s(self):
        return time.time()

path, worker, rounds, limit = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
table = WindowTable(path, MachineClock(), worker=worker, workers=2)
who = (Subject(name="acct_a", requests=limit), Subject(name="key_a"))
print("ready", flush=True)
sys.stdin.readline()
done = 0
for _ in range(rounds):
    standings = table.enter(who)
    if isinstance(standings, Full):
        continue
    done += 1
    standings = table.reserve(who, standings, 0, 7)
    table.leave(who, standings, 7, 3)
print(done, flush=True)
"""


def _count_in_two_processes(path: Path, rounds: int, limit: int) -> int:
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", _COUNTING, str(path), str(worker), str(rounds), str(limit)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for worker in range(2)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    return sum(int(process.communicate(timeout=60)[0]) for process in processes)


class MachineClock:
    def monotonic_s(self) -> float:
        return time.monotonic()

    def unix_s(self) -> float:
        return 0.0


def test_two_processes_lose_no_count(tmp_path: Path) -> None:
    rounds = 5_000
    assert _count_in_two_processes(tmp_path / "limits", rounds, 1 << 60) == 2 * rounds
    table = WindowTable(tmp_path / "limits", MachineClock(), worker=2, workers=3)
    for name in ("acct_a", "key_a"):
        standing = table.look(subject(name))
        assert (standing.requests, standing.tokens, standing.running) == (
            2 * rounds,
            2 * rounds * 3,
            0,
        )
    table.close()


def test_two_processes_let_in_exactly_the_limit(tmp_path: Path) -> None:
    assert _count_in_two_processes(tmp_path / "limits", 1000, 700) == 700
