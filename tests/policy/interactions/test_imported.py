"""Ids that come again, moments in every form, and which values a metric takes."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dragoman.errors import ClientError, Conflict, InvalidRequest
from dragoman.policy.feedback import MAX_VALUE, value_of
from dragoman.policy.interactions.imported import MAX_AHEAD_S, Ids, moment_s
from dragoman.policy.interactions.imports import MAX_NAMED_FAULTS, faults_of_lines
from dragoman.records.metric import Metric, MetricId, MetricKind
from dragoman.records.project import ProjectId

NOW_S = 1_800_000_000.0


class Secrets:
    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def server_secret(self, name: str) -> bytes:
        return self._secret


def metric(kind: MetricKind) -> Metric:
    return Metric(id=MetricId("m"), project_id=ProjectId("p"), key="m", name="m", kind=kind)


def outcome(attempt: Callable[[], float | None]) -> float | InvalidRequest | None:
    try:
        return attempt()
    except InvalidRequest as refusal:
        return refusal


def test_the_same_names_have_the_same_id_and_no_others() -> None:
    ids, again = Ids(Secrets(b"s" * 32)), Ids(Secrets(b"s" * 32))
    assert ids.derive("a", "bc") == again.derive("a", "bc")
    found = {ids.derive(*names) for names in (("a", "bc"), ("ab", "c"), ("abc",), ("a", "b", "c"))}
    assert len(found) == 4
    assert all(str(uuid.UUID(each)) == each for each in found)
    assert Ids(Secrets(b"t" * 32)).derive("a", "bc") not in found


def test_without_a_token_every_id_is_new() -> None:
    ids = Ids(Secrets(b"s" * 32))
    assert ids.draw(None, "x") != ids.draw(None, "x")
    assert ids.draw("t", "x") == ids.draw("t", "x")


@given(st.datetimes(datetime(1970, 1, 2), datetime(2027, 1, 1)))  # noqa: DTZ001 - of no zone
def test_a_moment_is_the_same_in_every_form(moment: datetime) -> None:
    moment = moment.replace(microsecond=0, tzinfo=UTC)
    seconds = moment.timestamp()
    for form in (
        moment.isoformat(),
        moment.isoformat().replace("+00:00", "Z"),
        moment.replace(tzinfo=None).isoformat(),
        seconds,
        str(int(seconds)),
    ):
        assert moment_s(form, "created_at", NOW_S) == seconds
    if seconds > 1e9:
        assert moment_s(seconds * 1000, "created_at", NOW_S) == seconds


@example(10**400)
@example(10**5000)
@given(st.text() | st.floats() | st.integers())
def test_what_is_no_moment_is_refused_by_name(value: str | float) -> None:
    told = outcome(lambda: moment_s(value, "created_at", NOW_S))
    if isinstance(told, InvalidRequest):
        assert told.param == "created_at"
    else:
        assert told is not None
        assert 0 <= told <= NOW_S + MAX_AHEAD_S


@given(st.booleans() | st.floats() | st.integers() | st.text() | st.none() | st.lists(st.none()))
def test_a_value_is_a_finite_number_or_refused(value: object) -> None:
    kinds: tuple[MetricKind, ...] = ("bool", "scalar")
    for kind in kinds:
        told = outcome(partial(value_of, metric(kind), value))
        if isinstance(told, InvalidRequest):
            assert told.param == "value"
            assert len(told.message) < 250
        else:
            assert type(told) is float
            assert isinstance(value, int | float)
            assert told == float(value)
            assert -MAX_VALUE <= told <= MAX_VALUE
            assert kind == "scalar" or told in (0.0, 1.0)


def test_a_refusal_of_many_lines_stays_short() -> None:
    faults: list[tuple[int, ClientError]] = [
        (line, InvalidRequest("x" * 300, param="tags")) for line in range(1, 1001)
    ]
    told = faults_of_lines(faults)
    assert (told.status, told.param) == (400, "lines[1].tags")
    assert f"and {1000 - MAX_NAMED_FAULTS} lines more" in told.message
    assert len(told.message) <= 4000


@pytest.mark.parametrize(("others", "status"), [([], 409), ([(2, InvalidRequest("y"))], 400)])
def test_only_conflicts_are_a_conflict(others: list[tuple[int, ClientError]], status: int) -> None:
    assert faults_of_lines([(1, Conflict("x")), *others]).status == status
