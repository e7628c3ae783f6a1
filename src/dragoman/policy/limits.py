"""Who may ask how often, for how much, and how many times at once.

A request is counted with its account and with its key, or with neither. It is let in (`admit`) before its
body is read; what it may use at most is set aside (`fit` or `reserve`) once that is known, and set right
(`finish`) by whatever door it leaves. A request that is refused by a limit counts as if it had never come.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from dragoman.errors import RateLimited
from dragoman.ports import Clock
from dragoman.ports.limits import UNLIMITED, WINDOW_S, Full, Standing, Subject, Windows
from dragoman.records.hold import LEAST_ANSWER_TOKENS, SHORT_ANSWER_TOKENS
from dragoman.records.limits import NO_LIMITS, Limits
from dragoman.records.principal import Principal

Headers = list[tuple[bytes, bytes]]

BUSY_WAIT_S = 1.0
"""When to ask again where too many requests run: nobody can tell when one of them ends."""
LONGEST_ANSWER_TOKENS = 1 << 17
"""What is set aside for each choice where nobody knows how long it can get. No model is known to write
more; if one does, that is counted at the end."""
_TRIES = 3
_REMEMBERED = 20_000
_WHOLE_WINDOW = b"1m0s"


class TokenAsk(msgspec.Struct, frozen=True, kw_only=True):
    """How large a request may get, over all of its targets."""

    input_tokens: int
    choices: int = 1
    asked_output_tokens: int | None = None
    """The client's own maximum, for each choice."""
    output_bound: int | None = None
    """The most that any target can produce for each choice, where that is known."""

    def tokens(self, output_tokens: int) -> int:
        return self.input_tokens + self.choices * output_tokens

    @property
    def most_tokens(self) -> int:
        asked = self.asked_output_tokens
        return self.tokens(self.longest_output_tokens if asked is None else asked)

    @property
    def longest_output_tokens(self) -> int:
        return LONGEST_ANSWER_TOKENS if self.output_bound is None else self.output_bound

    @property
    def least_output_tokens(self) -> int:
        if self.asked_output_tokens is not None:
            return self.asked_output_tokens
        return min(LEAST_ANSWER_TOKENS, self.longest_output_tokens)

    @property
    def least_tokens(self) -> int:
        """What there must be room for, that the request is worth beginning."""
        return self.tokens(self.least_output_tokens)

    def is_whole(self, output_tokens: int) -> bool:
        """Whether an answer of that length is as long as it could be without any limit of ours."""
        return self.asked_output_tokens is None and output_tokens >= self.longest_output_tokens


def output_room(left: int, ask: TokenAsk) -> int | None:
    """How long each choice of an answer may get where `left` tokens are left of the window.

    The client's own maximum, or else what a quarter of `left` has room for; all of it, where that is
    little. `None`: there is no room for an answer worth beginning.
    """
    prompt, choices, asked = ask.input_tokens, ask.choices, ask.asked_output_tokens
    if asked is not None:
        return asked if prompt + choices * asked <= left else None
    longest = ask.longest_output_tokens
    room = (left // 4 - prompt) // choices
    if room < SHORT_ANSWER_TOKENS:
        room = (left - prompt) // choices
        if room < LEAST_ANSWER_TOKENS and room < longest:
            return None
    return room if room < longest else longest


class _Limited(msgspec.Struct, frozen=True):
    """A principal's subjects that have limits, and what is said to them."""

    principal: Principal
    subjects: tuple[Subject, ...]
    owners: tuple[Literal["account", "key"], ...]
    request_headers: tuple[Headers, ...]
    """For each subject, those that never change: empty where it has no such limit."""
    token_headers: tuple[Headers, ...]
    is_token_limited: bool


class Admission:
    """A request that was let in. `finish` it."""

    __slots__ = ("is_finished", "limited", "reserved", "standings")

    def __init__(self, limited: _Limited, standings: tuple[Standing, ...]) -> None:
        self.limited = limited
        self.standings = standings
        self.reserved = 0
        self.is_finished = False

    def headers(self) -> Headers:
        """What clients are told of their limits, after this request: names are lower-case."""
        return _headers(self.limited, self.standings, _WHOLE_WINDOW)


class SubjectStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One subject's limits, and what it has used of them in the last 60 seconds."""

    owner: Literal["account", "key"]
    limits: Limits
    requests: int = 0
    tokens: int = 0
    running: int = 0
    resets_s: float = 0.0
    """How long until nothing of it counts any more, if it asks no more."""


class LimitStatus(msgspec.Struct, frozen=True, kw_only=True):
    """Where a principal stands. A subject without limits is not counted, and so shows no use."""

    account: SubjectStatus
    key: SubjectStatus
    headers: Headers


class Limiter:
    """Belongs to one event loop."""

    def __init__(self, windows: Windows, clock: Clock) -> None:
        self._windows = windows
        self._clock = clock
        self._known: dict[str, _Limited] = {}

    def admit(self, principal: Principal) -> Admission:
        """Count a request that has just come. Raises `RateLimited`, with nothing counted."""
        limited = self._known.get(principal.key_id)
        if limited is None or limited.principal is not principal:
            limited = self._remember(principal)
        if not limited.subjects:
            return Admission(limited, ())
        standings = self._windows.enter(limited.subjects)
        if type(standings) is Full:
            raise _refusal(limited, standings)
        return Admission(limited, standings)  # type: ignore[arg-type]

    def token_room(self, admission: Admission) -> int | None:
        """How many tokens may still be reserved, as of the last change; `None`: any number."""
        limited = admission.limited
        if not limited.is_token_limited:
            return None
        least = UNLIMITED
        for index, subject in enumerate(limited.subjects):
            left = subject.tokens - admission.standings[index].tokens
            least = left if left < least else least
        return max(0, least + admission.reserved)

    def reserve(self, admission: Admission, tokens: int) -> None:
        """Set so many tokens aside, in place of what was.

        Raises `RateLimited` where there is no room; then nothing of the request counts any more.
        """
        ask = TokenAsk(input_tokens=tokens, asked_output_tokens=0)
        full = self._reserve(admission, tokens)
        if full is not None:
            self._withdraw(admission)
            raise _no_room(admission.limited, full, ask)

    def fit(self, admission: Admission, ask: TokenAsk) -> int | None:
        """Set aside what `ask` may use, and return the limit of each choice's output.

        `None`: no limit has to be sent. Raises as `reserve` does.
        """
        asked = ask.asked_output_tokens
        if not admission.limited.is_token_limited:
            return asked
        if asked is not None:
            full = self._reserve(admission, ask.tokens(asked))
            if full is None:
                return asked
            self._withdraw(admission)
            raise _no_room(admission.limited, full, ask)
        return self._fit_longest(admission, ask)

    def _fit_longest(self, admission: Admission, ask: TokenAsk) -> int | None:
        """Where the client names no maximum: what the window has room for becomes one."""
        room = self.token_room(admission)
        assert room is not None
        for _ in range(_TRIES):
            limit = output_room(room, ask)
            wanted = ask.least_tokens if limit is None else ask.tokens(limit)
            full = self._reserve(admission, wanted)
            if full is None and limit is not None:
                return None if ask.is_whole(limit) else limit
            if full is not None and wanted == ask.least_tokens:
                break
            # Others came or went since the room was looked at.
            room = self.token_room(admission) if full is None else _left(admission, full)
            assert room is not None
        full = self._reserve(admission, ask.least_tokens)
        if full is None:
            return ask.least_output_tokens
        self._withdraw(admission)
        raise _no_room(admission.limited, full, ask)

    def _reserve(self, admission: Admission, tokens: int) -> Full | None:
        if not admission.standings or admission.is_finished:
            return None
        result = self._windows.reserve(
            admission.limited.subjects, admission.standings, admission.reserved, tokens
        )
        if type(result) is Full:
            admission.reserved = 0
            return result
        admission.standings = result  # type: ignore[assignment]
        admission.reserved = tokens
        return None

    def finish(self, admission: Admission, actual_tokens: int) -> None:
        """The request is over, and used so many tokens. Again: nothing happens."""
        self._leave(admission, actual_tokens, is_withdrawn=False)

    def _withdraw(self, admission: Admission) -> None:
        self._leave(admission, 0, is_withdrawn=True)

    def _leave(self, admission: Admission, tokens: int, *, is_withdrawn: bool) -> None:
        if admission.is_finished:
            return
        admission.is_finished = True
        if admission.standings:
            admission.standings = self._windows.leave(
                admission.limited.subjects,
                admission.standings,
                admission.reserved,
                tokens,
                is_withdrawn=is_withdrawn,
            )

    def peek(self, principal: Principal) -> LimitStatus:
        """Where it stands, with nothing counted."""
        limited = self._known.get(principal.key_id)
        if limited is None or limited.principal is not principal:
            limited = self._remember(principal)
        now = self._clock.monotonic_s()
        standings = tuple([self._windows.look(subject) for subject in limited.subjects])
        found = {
            owner: SubjectStatus(
                owner=owner,
                limits=_limits_of(principal, owner),
                requests=standing.requests,
                tokens=standing.tokens,
                running=standing.running,
                resets_s=max(0.0, standing.entered_s + WINDOW_S - now),
            )
            for owner, standing in zip(limited.owners, standings, strict=True)
        }
        resets_s = max([status.resets_s for status in found.values()], default=0.0)
        return LimitStatus(
            account=found.get("account") or SubjectStatus(owner="account", limits=NO_LIMITS),
            key=found.get("key") or SubjectStatus(owner="key", limits=NO_LIMITS),
            headers=_headers(limited, standings, duration(resets_s)),
        )

    def _remember(self, principal: Principal) -> _Limited:
        if len(self._known) >= _REMEMBERED:
            self._known.clear()
        subjects, owners = [], []
        named: tuple[tuple[Literal["account", "key"], str], ...] = (
            ("account", principal.account.id),
            ("key", principal.key_id),
        )
        for owner, name in named:
            limits = _limits_of(principal, owner)
            if limits == NO_LIMITS:
                continue
            owners.append(owner)
            subjects.append(
                Subject(
                    name=name,
                    requests=_or_unlimited(limits.requests_per_minute),
                    tokens=_or_unlimited(limits.tokens_per_minute),
                    running=_or_unlimited(limits.concurrent_requests),
                )
            )
        limited = _Limited(
            principal,
            tuple(subjects),
            tuple(owners),
            tuple([_fixed_request_headers(subject) for subject in subjects]),
            tuple([_fixed_token_headers(subject) for subject in subjects]),
            any(subject.tokens < UNLIMITED for subject in subjects),
        )
        self._known[principal.key_id] = limited
        return limited


def _limits_of(principal: Principal, owner: Literal["account", "key"]) -> Limits:
    return principal.account_limits if owner == "account" else principal.key_limits


def _or_unlimited(bound: int | None) -> int:
    return UNLIMITED if bound is None else bound


# --- Headers ---


def _fixed_request_headers(subject: Subject) -> Headers:
    if subject.requests >= UNLIMITED:
        return []
    limit = b"%d" % subject.requests
    return [(b"x-ratelimit-limit", limit), (b"x-ratelimit-limit-requests", limit)]


def _fixed_token_headers(subject: Subject) -> Headers:
    if subject.tokens >= UNLIMITED:
        return []
    return [(b"x-ratelimit-limit-tokens", b"%d" % subject.tokens)]


def _headers(limited: _Limited, standings: tuple[Standing, ...], reset: bytes) -> Headers:
    """Of requests and of tokens each, those of the subject that has the fewest left."""
    requests_left = tokens_left = UNLIMITED
    request_headers: Headers = []
    token_headers: Headers = []
    for index, subject in enumerate(limited.subjects):
        standing = standings[index]
        left = subject.requests - standing.requests
        if left < requests_left and limited.request_headers[index]:
            requests_left, request_headers = left, limited.request_headers[index]
        left = subject.tokens - standing.tokens
        if left < tokens_left and limited.token_headers[index]:
            tokens_left, token_headers = left, limited.token_headers[index]
    headers = []
    if request_headers:
        remaining = b"%d" % max(0, requests_left)
        headers = [
            *request_headers,
            (b"x-ratelimit-remaining", remaining),
            (b"x-ratelimit-remaining-requests", remaining),
            (b"x-ratelimit-reset-requests", reset),
        ]
    if token_headers:
        headers += (
            *token_headers,
            (b"x-ratelimit-remaining-tokens", b"%d" % max(0, tokens_left)),
            (b"x-ratelimit-reset-tokens", reset),
        )
    return headers


def duration(seconds: float) -> bytes:
    """As OpenAI writes it: `6m0s`, `1.2s`, `120ms`; rounded up to a millisecond."""
    ms = -int(-seconds * 1000 // 1)
    if ms < 1000:
        return b"%dms" % ms
    minutes, ms = divmod(ms, 60_000)
    whole = f"{ms / 1000:.3f}".rstrip("0").rstrip(".")
    return (f"{minutes}m{whole}s" if minutes else f"{whole}s").encode()


# --- Refusals ---


def _left(admission: Admission, full: Full) -> int:
    return max(0, admission.limited.subjects[full.subject].tokens - full.used)


def _refusal(limited: _Limited, full: Full) -> RateLimited:
    """A request that was not let in."""
    subject, owner = limited.subjects[full.subject], limited.owners[full.subject]
    if full.measure == "requests":
        limit = f"{_count(subject.requests, 'request')} in any 60 seconds"
    elif full.measure == "tokens":
        limit = f"{_count(subject.tokens, 'token')} in any 60 seconds"
    else:
        limit = f"{_count(subject.running, 'request')} at once"
    message = f"Rate limit exceeded: this {owner} may use {limit}"
    if full.measure == "running":
        return RateLimited(
            f"{message}, and {_count(full.used, 'request')} of it still run. Wait for one to end.",
            retry_after_s=BUSY_WAIT_S,
        )
    if full.wait_s is None:
        return RateLimited(f"{message}.")
    return RateLimited(
        f"{message}. Try again in {_seconds(full.wait_s)}.", retry_after_s=full.wait_s
    )


def _no_room(limited: _Limited, full: Full, ask: TokenAsk) -> RateLimited:
    """A request whose tokens do not fit."""
    subject, owner = limited.subjects[full.subject], limited.owners[full.subject]
    needs = _count(ask.least_tokens, "token")
    limit = f"this {owner} may use {_count(subject.tokens, 'token')} in any 60 seconds"
    if full.wait_s is not None:
        left = max(0, subject.tokens - full.used)
        return RateLimited(
            f"Rate limit exceeded: {limit}, of which {left} are left, and this request may use {needs}"
            f"{_of_them(ask)}. Try again in {_seconds(full.wait_s)}"
            f"{', or lower the maximum' if ask.asked_output_tokens else ''}.",
            retry_after_s=full.wait_s,
        )
    largest = (subject.tokens - ask.input_tokens) // ask.choices
    if ask.asked_output_tokens and largest > 0:
        return RateLimited(
            f"Rate limit exceeded: {limit}, and this request may use {needs}{_of_them(ask)}, so it can"
            f" never be let in. The largest maximum that fits is {largest}.",
            param="max_tokens",
        )
    return RateLimited(
        f"Rate limit exceeded: {limit}, and this request needs {needs} at least, so it can never be let"
        " in. Shorten the messages."
    )


def _of_them(ask: TokenAsk) -> str:
    if not ask.asked_output_tokens:
        return ""
    return f" ({ask.input_tokens} for the prompt, the rest by its maximum)"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _seconds(wait_s: float) -> str:
    return f"{max(1, -int(-wait_s // 1))} s"
