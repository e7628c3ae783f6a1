"""Who is let in, how long an answer may get, and what clients are told of it."""

from __future__ import annotations

import math
import random
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dragoman.errors import RateLimited
from dragoman.policy.limits import (
    LONGEST_ANSWER_TOKENS,
    Admission,
    Limiter,
    TokenAsk,
    duration,
    output_room,
)
from dragoman.records.account import Account, AccountId
from dragoman.records.key import KeyId
from dragoman.records.limits import NO_LIMITS, Limits
from dragoman.records.principal import Principal
from dragoman.stores.windows import WindowTable


class SetClock:
    """Time that moves when it is told to."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def monotonic_s(self) -> float:
        return self.now_s

    def unix_s(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
def limiter(tmp_path: Path, clock: SetClock) -> Iterator[Limiter]:
    table = WindowTable(tmp_path / "limits", clock)
    yield Limiter(table, clock)
    table.close()


def principal(
    *, account: Limits = NO_LIMITS, key: Limits = NO_LIMITS, key_id: str = "key_a"
) -> Principal:
    return Principal(
        key_id=KeyId(key_id),
        name="a key",
        account=Account(id=AccountId("acct_a"), name="an account"),
        account_limits=account,
        key_limits=key,
    )


def refusal(limiter: Limiter, who: Principal) -> RateLimited:
    with pytest.raises(RateLimited) as raised:
        limiter.admit(who)
    return raised.value


# --- Being let in ---


def test_refusal_says_whose_limit_it_is_and_when_to_ask_again(
    limiter: Limiter, clock: SetClock
) -> None:
    who = principal(account=Limits(requests_per_minute=5), key=Limits(requests_per_minute=1))
    limiter.admit(who)
    clock.now_s += 18.5
    error = refusal(limiter, who)
    assert error.message == (
        "Rate limit exceeded: this key may use 1 request in any 60 seconds. Try again in 42 s."
    )
    assert error.retry_after_s == 41.5
    assert error.status == 429


def test_account_is_limited_over_all_of_its_keys(limiter: Limiter) -> None:
    shared = Limits(requests_per_minute=2)
    limiter.admit(principal(account=shared, key_id="key_a"))
    limiter.admit(principal(account=shared, key_id="key_b"))
    assert "this account may use 2 requests" in refusal(limiter, principal(account=shared)).message


def test_full_token_window_refuses_before_the_body_is_read(limiter: Limiter) -> None:
    who = principal(account=Limits(tokens_per_minute=100))
    limiter.reserve(limiter.admit(who), 100)
    assert refusal(limiter, who).message == (
        "Rate limit exceeded: this account may use 100 tokens in any 60 seconds. Try again in 60 s."
    )


def test_requests_at_once_are_freed_by_finishing_once_or_often(limiter: Limiter) -> None:
    who = principal(key=Limits(concurrent_requests=1))
    running = limiter.admit(who)
    error = refusal(limiter, who)
    assert error.retry_after_s == 1
    assert error.message == (
        "Rate limit exceeded: this key may use 1 request at once, and 1 request of it still run."
        " Wait for one to end."
    )
    limiter.finish(running, 0)
    limiter.finish(running, 0)
    limiter.admit(who)
    refusal(limiter, who)


def test_limit_of_nothing_names_no_time(limiter: Limiter) -> None:
    error = refusal(limiter, principal(key=Limits(requests_per_minute=0)))
    assert error.retry_after_s is None


def test_principal_without_limits_is_not_counted(limiter: Limiter) -> None:
    who = principal()
    admission = limiter.admit(who)
    assert limiter.token_room(admission) is None
    assert limiter.fit(admission, TokenAsk(input_tokens=5)) is None
    limiter.reserve(admission, 10)
    limiter.finish(admission, 3)
    assert admission.headers() == []
    assert limiter.peek(who).headers == []


def test_limits_that_change_hold_from_the_next_request(limiter: Limiter) -> None:
    limiter.admit(principal(key=Limits(requests_per_minute=1)))
    raised = principal(key=Limits(requests_per_minute=2))
    limiter.admit(raised)
    refusal(limiter, raised)


# --- Tokens ---


def test_reservation_is_set_right_at_the_end(limiter: Limiter) -> None:
    who = principal(account=Limits(tokens_per_minute=100), key=Limits(tokens_per_minute=90))
    admission = limiter.admit(who)
    assert limiter.token_room(admission) == 90
    limiter.reserve(admission, 70)
    assert limiter.token_room(admission) == 90
    assert limiter.token_room(limiter.admit(who)) == 20
    limiter.finish(admission, 10)
    assert limiter.token_room(limiter.admit(who)) == 80
    assert limiter.peek(who).account.tokens == 10


def test_refused_reservation_counts_as_if_the_request_had_never_come(
    limiter: Limiter, clock: SetClock
) -> None:
    who = principal(account=Limits(tokens_per_minute=100, requests_per_minute=2))
    limiter.reserve(limiter.admit(who), 60)
    clock.now_s += 20
    for _ in range(5):
        late = limiter.admit(who)
        with pytest.raises(RateLimited) as raised:
            limiter.fit(late, TokenAsk(input_tokens=11, asked_output_tokens=30))
        limiter.finish(late, 0)
    assert raised.value.message == (
        "Rate limit exceeded: this account may use 100 tokens in any 60 seconds, of which 40 are left,"
        " and this request may use 41 tokens (11 for the prompt, the rest by its maximum). Try again in"
        " 40 s, or lower the maximum."
    )
    assert raised.value.retry_after_s == 40
    status = limiter.peek(who).account
    assert (status.requests, status.tokens, status.running) == (1, 60, 1)


def test_what_can_never_fit_is_told_the_largest_maximum(limiter: Limiter) -> None:
    who = principal(key=Limits(tokens_per_minute=100))
    with pytest.raises(RateLimited) as raised:
        limiter.fit(
            limiter.admit(who), TokenAsk(input_tokens=10, choices=2, asked_output_tokens=46)
        )
    assert raised.value.retry_after_s is None
    assert raised.value.message == (
        "Rate limit exceeded: this key may use 100 tokens in any 60 seconds, and this request may use"
        " 102 tokens (10 for the prompt, the rest by its maximum), so it can never be let in. The"
        " largest maximum that fits is 45."
    )
    assert (
        limiter.fit(
            limiter.admit(who), TokenAsk(input_tokens=10, choices=2, asked_output_tokens=45)
        )
        == 45
    )


def test_prompt_that_can_never_fit_is_told_so(limiter: Limiter) -> None:
    who = principal(key=Limits(tokens_per_minute=100))
    with pytest.raises(RateLimited, match=r"needs 106 tokens at least.*Shorten the messages"):
        limiter.fit(limiter.admit(who), TokenAsk(input_tokens=90))
    with pytest.raises(RateLimited, match="Shorten the messages"):
        limiter.fit(limiter.admit(who), TokenAsk(input_tokens=101, asked_output_tokens=1))


@pytest.mark.parametrize(
    ("left", "ask", "room"),
    [
        # A quarter of what is left, less the prompt, shared by the choices.
        (40_000, TokenAsk(input_tokens=1000), 9000),
        (40_000, TokenAsk(input_tokens=1000, choices=2), 4500),
        (40_000, TokenAsk(input_tokens=1000, output_bound=500), 500),
        # All of it where a quarter is under 1,024 tokens.
        (8095, TokenAsk(input_tokens=1000), 7095),
        (8096, TokenAsk(input_tokens=1000), 1024),
        (1016, TokenAsk(input_tokens=1000), 16),
        (1015, TokenAsk(input_tokens=1000), None),
        # A model whose longest answer is shorter than what is worth beginning elsewhere.
        (1015, TokenAsk(input_tokens=1000, output_bound=8), 8),
        # The client's own maximum is all or nothing.
        (1010, TokenAsk(input_tokens=1000, asked_output_tokens=10), 10),
        (1009, TokenAsk(input_tokens=1000, asked_output_tokens=10), None),
        (1 << 40, TokenAsk(input_tokens=1000), LONGEST_ANSWER_TOKENS),
    ],
)
def test_room_for_an_answer(left: int, ask: TokenAsk, room: int | None) -> None:
    assert output_room(left, ask) == room


def test_limit_is_sent_only_where_it_cuts(limiter: Limiter) -> None:
    wide = principal(account=Limits(tokens_per_minute=10**10))
    assert limiter.fit(limiter.admit(wide), TokenAsk(input_tokens=10)) is None
    assert limiter.fit(limiter.admit(wide), TokenAsk(input_tokens=10, output_bound=4096)) is None
    narrow = principal(key=Limits(tokens_per_minute=2000))
    assert limiter.fit(limiter.admit(narrow), TokenAsk(input_tokens=10, output_bound=4096)) == 1990


def test_room_is_looked_at_again_where_others_came_meanwhile(
    tmp_path: Path, clock: SetClock
) -> None:
    path = tmp_path / "limits"
    tables = [WindowTable(path, clock, worker=index, workers=2) for index in range(2)]
    here, there = [Limiter(table, clock) for table in tables]
    who = principal(account=Limits(tokens_per_minute=3000))
    mine = here.admit(who)
    other = there.admit(who)
    there.reserve(other, 2000)
    # Seen from here there still were 3,000 left.
    assert here.fit(mine, TokenAsk(input_tokens=100)) == 900
    here.finish(mine, 0)
    mine = here.admit(who)
    there.finish(other, 0)
    assert here.fit(mine, TokenAsk(input_tokens=100)) in (900, 2900)
    for table in tables:
        table.close()


# --- Exactness ---

_STEPS_S = [0.0, 0.25, 0.5, 1.0, 3.0, 13.0, 30.0, 59.75, 60.0]


@settings(max_examples=80, deadline=None)
@given(st.randoms(use_true_random=False))
def test_no_window_ever_holds_more_and_waiting_as_told_lets_in(chance: random.Random) -> None:
    clock = SetClock()
    account = Limits(requests_per_minute=chance.randrange(1, 8), tokens_per_minute=200)
    key = Limits(requests_per_minute=chance.randrange(1, 8), tokens_per_minute=150)
    who = principal(account=account, key=key)
    counted: list[tuple[float, int]] = []
    running: list[tuple[Admission, int, int]] = []
    with tempfile.TemporaryDirectory() as folder:
        table = WindowTable(Path(folder) / "limits", clock)
        limiter = Limiter(table, clock)
        for _ in range(50):
            clock.now_s += chance.choice(_STEPS_S)
            if running and chance.random() < 0.3:
                admission, index, reserved = running.pop()
                actual = chance.randrange(reserved + 1)
                limiter.finish(admission, actual)
                counted[index] = (counted[index][0], actual)
            tokens = chance.randrange(1, 150)
            admission = _wait_and_ask(limiter, who, tokens, clock)
            counted.append((clock.now_s, tokens))
            running.append((admission, len(counted) - 1, tokens))
            # Windows that begin with a request are the fullest.
            since = [entry for entry in counted if entry[0] > clock.now_s - 60]
            assert len(since) <= min(account.requests_per_minute or 0, key.requests_per_minute or 0)
            assert sum(tokens for _, tokens in since) <= 150
        table.close()


def _wait_and_ask(limiter: Limiter, who: Principal, tokens: int, clock: SetClock) -> Admission:
    """As a client does that waits for as many whole seconds as it is told, once for each reason."""
    try:
        admission = limiter.admit(who)
    except RateLimited as error:
        clock.now_s += math.ceil(error.retry_after_s or 0)
        admission = limiter.admit(who)
    try:
        limiter.reserve(admission, tokens)
    except RateLimited as error:
        clock.now_s += math.ceil(error.retry_after_s or 0)
        admission = limiter.admit(who)
        limiter.reserve(admission, tokens)
    return admission


# --- What clients are told ---


def test_headers_are_of_the_subject_that_binds_most(limiter: Limiter) -> None:
    who = principal(
        account=Limits(requests_per_minute=100, tokens_per_minute=500),
        key=Limits(requests_per_minute=60, tokens_per_minute=9000),
    )
    admission = limiter.admit(who)
    limiter.reserve(admission, 200)
    assert admission.headers() == [
        (b"x-ratelimit-limit", b"60"),
        (b"x-ratelimit-limit-requests", b"60"),
        (b"x-ratelimit-remaining", b"59"),
        (b"x-ratelimit-remaining-requests", b"59"),
        (b"x-ratelimit-reset-requests", b"1m0s"),
        (b"x-ratelimit-limit-tokens", b"500"),
        (b"x-ratelimit-remaining-tokens", b"300"),
        (b"x-ratelimit-reset-tokens", b"1m0s"),
    ]


def test_headers_follow_the_settlement(limiter: Limiter) -> None:
    admission = limiter.admit(principal(account=Limits(tokens_per_minute=500)))
    limiter.reserve(admission, 200)
    limiter.finish(admission, 20)
    assert (b"x-ratelimit-remaining-tokens", b"480") in admission.headers()
    assert not any(name.endswith(b"requests") for name, _ in admission.headers())


def test_a_look_counts_nothing_and_tells_both(limiter: Limiter, clock: SetClock) -> None:
    account, key = Limits(requests_per_minute=10), Limits(tokens_per_minute=500)
    who = principal(account=account, key=key)
    assert limiter.peek(who).account.resets_s == 0
    admission = limiter.admit(who)
    limiter.reserve(admission, 300)
    clock.now_s += 15
    for _ in range(3):
        status = limiter.peek(who)
    assert (status.account.limits, status.key.limits) == (account, key)
    assert (status.account.requests, status.account.running) == (1, 1)
    assert (status.key.tokens, status.key.resets_s) == (300, 45.0)
    assert (b"x-ratelimit-remaining", b"9") in status.headers
    assert (b"x-ratelimit-reset-requests", b"45s") in status.headers


@pytest.mark.parametrize(
    ("seconds", "written"),
    [
        (0.0, b"0ms"),
        (0.0001, b"1ms"),
        (0.12, b"120ms"),
        (1.0, b"1s"),
        (1.25, b"1.25s"),
        (59.9996, b"1m0s"),
        (60.0, b"1m0s"),
        (360.0, b"6m0s"),
        (61.5, b"1m1.5s"),
    ],
)
def test_durations_are_written_as_openai_does(seconds: float, written: bytes) -> None:
    assert duration(seconds) == written
