"""What is asked about usage: every answer is the one that a plain list of the records gives."""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.stores.kept_usage import DAY_S, keep, sample

from dragoman.errors import InvalidRequest
from dragoman.records.usage_query import EVERYTHING, GROUPINGS, UsageFilter, UsageSums
from dragoman.records.usage_record import Attempt, UsageRecord
from dragoman.stores import Store, open_store
from dragoman.stores.connection import DATABASE_NAME


@pytest.fixture(scope="module")
def records() -> list[UsageRecord]:
    """240 requests of six days, in the order in which they ended: not quite that in which they came."""
    return [
        sample(
            number,
            account=f"acct_{number % 3}",
            key=f"key_{number % 5}",
            project=("a", "b", None)[number % 3],
            model=("m", "n", "o", None)[number % 4],
            status=("ok", "ok", "failed", "client_gone", "refused")[number % 5],
            started_s=20_000 * DAY_S + number * 2100.5 - (50_000 if number % 17 == 0 else 0),
            cost=number * 7,
            labels=(("team", "xyz"[number % 3]), ("tier", "1")) if number % 4 else (),
            session_id=f"s{number % 7}",
            user=f"u{number % 6}" if number % 2 else None,
        )
        for number in range(1, 241)
    ]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, records: list[UsageRecord]) -> Iterator[Store]:
    path = tmp_path_factory.mktemp("usage")
    store = open_store(path)
    connection = sqlite3.connect(path / DATABASE_NAME)
    keep(connection, records)
    connection.close()
    yield store
    store.close()


moments = st.one_of(
    st.none(),
    st.integers(19_999, 20_007).map(lambda day: day * DAY_S),
    st.floats(19_999 * DAY_S, 20_008 * DAY_S),
)
filters = st.builds(
    UsageFilter,
    account_id=st.sampled_from([None, None, "acct_0", "acct_1", "acct_9"]),
    key_id=st.sampled_from([None, None, "key_0", "key_4"]),
    project=st.sampled_from([None, None, "a", ""]),
    model=st.sampled_from([None, None, "m", ""]),
    dialect=st.sampled_from([None, None, None, "openai", "studio"]),
    status=st.sampled_from([None, None, "ok", "failed"]),
    label=st.sampled_from([None, None, ("team", "x"), ("tier", "1"), ("team", "")]),
    session_id=st.sampled_from([None, None, None, "s3"]),
    user=st.sampled_from([None, None, None, "u1"]),
    from_s=moments,
    to_s=moments,
)
groupings = st.lists(
    st.sampled_from([*GROUPINGS, "label:team", "label:tier", "label:none"]), max_size=2, unique=True
)
quick = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def matches(record: UsageRecord, asked: UsageFilter) -> bool:
    wanted = {
        "account_id": asked.account_id,
        "key_id": asked.key_id,
        "project": asked.project,
        "model": asked.model,
        "dialect": asked.dialect,
        "status": asked.status,
        "session_id": asked.session_id,
        "user": asked.user,
    }
    return (
        all(value is None or getattr(record, name) == value for name, value in wanted.items())
        and (asked.label is None or asked.label in record.labels)
        and (asked.from_s is None or record.started_s >= asked.from_s)
        and (asked.to_s is None or record.started_s < asked.to_s)
    )


def group_of(record: UsageRecord, by: list[str]) -> tuple[str | None, ...]:
    values: dict[str, str | None] = {
        "day": datetime.fromtimestamp(record.started_s, UTC).date().isoformat(),
        "account": record.account_id,
        "key": record.key_id,
        "project": record.project,
        "model": record.model,
        "status": record.status,
    }
    values |= {f"label:{name}": value for name, value in record.labels}
    return tuple(values.get(name) for name in by)


def add(sums: UsageSums, record: UsageRecord) -> UsageSums:
    usage = record.usage
    more = (
        1,
        usage.input_tokens,
        usage.cached_input_tokens,
        usage.cache_write_tokens,
        usage.output_tokens,
        usage.reasoning_tokens,
        record.cost_nano_usd,
        int(usage.is_estimated),
    )
    kept = msgspec.structs.astuple(sums)
    names = UsageSums.__struct_fields__
    return UsageSums(**{name: a + b for name, a, b in zip(names, kept, more, strict=True)})


@quick
@given(filters, groupings)
def test_sums_are_those_of_the_records(
    store: Store, records: list[UsageRecord], asked: UsageFilter, by: list[str]
) -> None:
    expected: defaultdict[tuple[str | None, ...], UsageSums] = defaultdict(UsageSums)
    for record in records:
        if matches(record, asked):
            key = group_of(record, by)
            expected[key] = add(expected[key], record)
    if not by:
        expected.setdefault((), UsageSums())
    answer = store.usage_groups(asked, by)
    assert {group.by: group.sums for group in answer.groups} == expected
    assert len(answer.groups) == len(expected)
    assert not answer.is_cut


@quick
@given(filters, st.integers(1, 50))
def test_pages_hold_every_record_once_newest_first(
    store: Store, records: list[UsageRecord], asked: UsageFilter, limit: int
) -> None:
    expected = [record for record in records if matches(record, asked)]
    expected.sort(key=lambda record: (record.started_s, int(record.request_id[4:])), reverse=True)
    found: list[UsageRecord] = []
    before = None
    for _ in range(300):
        page = store.list_usage(asked, before=before, limit=limit)
        assert len(page.records) <= limit
        found += [kept.record for kept in page.records]
        before = page.before
        if before is None:
            break
    assert found == expected


@quick
@given(filters)
def test_an_export_holds_every_record_once_oldest_first(
    store: Store, records: list[UsageRecord], asked: UsageFilter
) -> None:
    expected = [record for record in records if matches(record, asked)]
    expected.sort(key=lambda record: (record.started_s, int(record.request_id[4:])))
    found = [kept.record for chunk in store.export_usage(asked) for kept in chunk]
    assert found == expected


def test_pages_that_find_little_look_only_so_far(
    store: Store, records: list[UsageRecord], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dragoman.stores.usage.SCANNED_FOR_A_PAGE", 10)
    asked = UsageFilter(session_id="s3")
    pages, before = [], None
    while True:
        page = store.list_usage(asked, before=before, limit=5)
        pages.append(page)
        before = page.before
        if before is None:
            break
    assert len(pages) == 25
    found = [kept.record.request_id for page in pages for kept in page.records]
    assert sorted(found) == sorted(
        record.request_id for record in records if record.session_id == "s3"
    )


def test_a_record_is_found_as_it_was_kept(tmp_path: Path) -> None:
    record = msgspec.structs.replace(
        sample(1, labels=(("näme ☃", "a 'quoted' \"value\""),), user="u" * 500),
        tags=("a", "b"),
        attempts=(
            Attempt(model="x", provider="p", total_ms=3.5, error="provider_failed"),
            Attempt(model="m", provider="q", total_ms=1.0),
        ),
        queued_ms=0.25,
        first_token_ms=9.75,
        error="provider_garbled",
    )
    store = open_store(tmp_path)
    connection = sqlite3.connect(tmp_path / DATABASE_NAME)
    keep(connection, [record])
    connection.close()
    assert store.find_usage("req_1") == record
    assert store.find_usage("req_2") is None
    assert store.list_usage(EVERYTHING).records[0].record == record
    store.close()


def test_a_label_with_quotes_in_its_name_is_found_and_grouped(tmp_path: Path) -> None:
    name = 'a"b.c[0]'
    store = open_store(tmp_path)
    connection = sqlite3.connect(tmp_path / DATABASE_NAME)
    keep(connection, [sample(1, labels=((name, "1"),)), sample(2, labels=(("a", "1"),))])
    connection.close()
    asked = UsageFilter(label=(name, "1"), user=None)
    assert [kept.record.request_id for kept in store.list_usage(asked).records] == ["req_1"]
    for dialect in (None, "openai"):
        by_label = store.usage_groups(UsageFilter(dialect=dialect), [f"label:{name}"])
        assert [(group.by, group.sums.requests) for group in by_label.groups] == [
            ((None,), 1),
            (("1",), 1),
        ]
    store.close()


@pytest.mark.parametrize(
    "by", [["hour"], ["label:"], ["day", "day"], ["day", "model", "key"], ["1; DROP TABLE keys"]]
)
def test_other_groupings_are_refused(store: Store, by: list[str]) -> None:
    with pytest.raises(InvalidRequest, match="group_by"):
        store.usage_groups(EVERYTHING, by)


@pytest.mark.parametrize("moment_s", [float("inf"), -float("inf"), 1e300])
def test_moments_far_away_are_as_good_as_none(store: Store, moment_s: float) -> None:
    asked = UsageFilter(from_s=-abs(moment_s), to_s=abs(moment_s))
    assert len(store.list_usage(asked, limit=1000).records) == 240
    assert store.usage_groups(asked, []) == store.usage_groups(EVERYTHING, [])


def test_what_is_no_time_is_refused(store: Store) -> None:
    with pytest.raises(InvalidRequest, match="to_s"):
        store.list_usage(UsageFilter(to_s=float("nan")))


@pytest.mark.parametrize("before", [-1, 0, 10**30, 5_000])
def test_a_cursor_that_is_none_ends_the_pages(store: Store, before: int) -> None:
    assert store.list_usage(EVERYTHING, before=before).records == ()


def test_more_groups_than_can_be_answered_are_cut(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dragoman.stores.usage.MAX_GROUPS", 3)
    answer = store.usage_groups(EVERYTHING, ["day"])
    assert len(answer.groups) == 3
    assert answer.is_cut
