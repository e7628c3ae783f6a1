"""A user is erased: nothing that was kept of them is left in any file, and sums stay."""

from __future__ import annotations

import fcntl
import gzip
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from tests.stores.kept_interactions import PROJECT, completion_id, content, sample
from tests.stores.kept_usage import DAY_S, keep
from tests.stores.kept_usage import sample as usage_sample

from dragoman.errors import StoreUnavailable
from dragoman.records.account import DEFAULT_ACCOUNT, AccountId
from dragoman.records.campaign import Arm, Campaign, CampaignId, PairScore, Score
from dragoman.records.feedback import Comparison, Feedback, Outcome
from dragoman.records.interaction_query import Erasure, InteractionFilter
from dragoman.records.metric import MetricId
from dragoman.records.project import Project
from dragoman.records.usage_query import EVERYTHING
from dragoman.records.usage_record import UsageRecord
from dragoman.stores import Store, StoreFailed, open_store
from dragoman.stores.connection import DATABASE_NAME
from dragoman.stores.usage_archives import ARCHIVE_DIR

BOB = "bob-0451@example.com"
SECRETS = (BOB, "xylophonist", "zanzibar", "quetzalcoatl", "kaleidoscope", "session-bob", "wombat")
"""Words that stand for Bob alone."""


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def store(data_dir: Path) -> Iterator[Store]:
    store = open_store(data_dir)
    store.add_project(Project(id=PROJECT, key="shop", name="Shop", account_id=DEFAULT_ACCOUNT))
    yield store
    store.close()


def campaign(kind: str) -> Campaign:
    return Campaign(
        id=CampaignId(kind),
        project_id=PROJECT,
        key=kind,
        name=kind,
        metric_id=MetricId("metric-1"),
        kind="direct" if kind == "direct" else "comparison",
        arms=(Arm(key="A", model="fast"), Arm(key="B", model="slow")),
    )


def fill(store: Store, data_dir: Path) -> None:
    """Bob, once without his name but in his session; Ann; and a stranger of another account."""
    store.add_interaction(
        sample(1, user=BOB, session_id="session-bob", content=content("my xylophonist plays"))
    )
    store.add_interaction(
        sample(2, user=None, session_id="session-bob", content=content("in zanzibar, he said"))
    )
    store.add_interaction(sample(3, user="ann", content=content("xylophones are loud")))
    store.add_interaction(
        sample(4, user=BOB, account_id=AccountId("acct_other"), content=content("another one"))
    )
    store.index_texts()
    usage = [
        usage_sample(1, user=BOB, session_id="session-bob", labels=(("pet", "wombat"),)),
        usage_sample(2, session_id="session-bob"),
        usage_sample(3, user="ann", session_id="s", labels=(("pet", "cat"),)),
    ]
    connection = sqlite3.connect(data_dir / DATABASE_NAME)
    keep(connection, usage)
    with connection:
        # Sums stay, and with them the values of labels.
        connection.execute("UPDATE usage_labels SET value = 'x' WHERE value = 'wombat'")
        for number in (1, 3):
            connection.execute(
                "INSERT INTO idempotency VALUES ('key_a', ?, x'00', ?, NULL, ?, 1e12)",
                (
                    f"again-{number}",
                    f"req_{number}",
                    b"about quetzalcoatl" if number == 1 else b"-",
                ),
            )
    connection.close()


def opinions(store: Store) -> None:
    for number, (about, user) in enumerate([(1, "ann"), (3, BOB), (3, "ann")]):
        store.add_feedback(
            Feedback(
                id=f"feedback-{number}",
                project_id=PROJECT,
                completion_id=completion_id(about),
                metric_id=MetricId("metric-1"),
                value=1.0,
                reason="kaleidoscope" if BOB in (user, about) or about == 1 else "good",
                user=user,
                created_s=1.0,
            )
        )
    for number, (preferred, other) in enumerate([(1, 3), (3, 5)]):
        store.add_comparison(
            Comparison(
                id=f"comparison-{number}",
                project_id=PROJECT,
                metric_id=MetricId("metric-1"),
                preferred_id=completion_id(preferred),
                other_id=completion_id(other),
                created_s=1.0,
            )
        )
    for number, (session_id, whose) in enumerate([("session-bob", None), ("s", BOB), ("s", "ann")]):
        store.add_outcome(
            Outcome(
                id=f"outcome-{number}",
                project_id=PROJECT,
                session_id=session_id,
                metric_id=MetricId("metric-1"),
                value=1.0,
                user=whose,
                created_s=1.0,
            )
        )


def files(data_dir: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(data_dir.rglob("*")) if path.is_file())


def test_nothing_of_the_user_is_left_in_any_file(store: Store, data_dir: Path) -> None:
    fill(store, data_dir)
    opinions(store)
    before = files(data_dir)
    assert all(secret.encode() in before for secret in SECRETS if secret != "wombat")
    # The other account's user of that name is somebody else.
    store.delete_interaction(completion_id(4))
    assert store.erase_user(DEFAULT_ACCOUNT, BOB) == Erasure(
        interactions=2,
        feedback=2,
        comparisons=1,
        outcomes=2,
        usage_records=2,
        kept_answers=1,
    )
    after = files(data_dir)
    assert [secret for secret in SECRETS if secret.encode() in after] == []
    assert b"xylophones" in after
    assert store.erase_user(DEFAULT_ACCOUNT, BOB) == Erasure()


def test_others_and_sums_stay(store: Store, data_dir: Path) -> None:
    fill(store, data_dir)
    opinions(store)
    sums = store.usage_groups(EVERYTHING, ["day", "label:pet"])
    store.erase_user(DEFAULT_ACCOUNT, BOB)
    left = store.list_interactions(InteractionFilter()).interactions
    assert [each.interaction.completion_id for each in left] == [completion_id(4), completion_id(3)]
    assert [each.id for each in left[1].feedback] == ["feedback-2"]
    assert [each.id for each in store.list_outcomes(PROJECT)] == ["outcome-2"]
    assert [each.id for each in store.list_comparisons(PROJECT)] == ["comparison-1"]
    assert [each.interaction.user for each in left] == [BOB, "ann"]
    assert store.list_interactions(InteractionFilter(text="xylophonist")).interactions == ()
    found = store.list_interactions(InteractionFilter(text="xylophones")).interactions
    assert [each.interaction.user for each in found] == ["ann"]
    assert store.usage_groups(EVERYTHING, ["day", "label:pet"]) == sums
    records = [each.record for chunk in store.export_usage(EVERYTHING) for each in chunk]
    assert [(each.user, each.session_id, each.labels) for each in records] == [
        (None, None, ()),
        (None, None, ()),
        ("ann", "s", (("pet", "cat"),)),
    ]


def test_the_books_verify_after_labels_were_erased_and_a_loss_is_still_found(
    store: Store, data_dir: Path
) -> None:
    connection = sqlite3.connect(data_dir / DATABASE_NAME)
    labelled = [
        usage_sample(number, user=BOB if number % 2 else "ann", labels=(("pet", "dog"),), cost=2)
        for number in range(6)
    ]
    keep(connection, labelled)
    store.erase_user(DEFAULT_ACCOUNT, BOB)
    assert store.verify() == []
    with connection:
        connection.execute("UPDATE usage_labels SET requests = 2")
    assert len(store.verify()) == 1
    connection.close()


def test_units_of_campaigns_lose_their_names_and_count_on(store: Store) -> None:
    for kind in ("direct", "comparison"):
        store.add_campaign(campaign(kind))
        bob, ann = f"user:{BOB}", "user:ann"
        if kind == "direct":
            for each in (bob, ann, "session:session-bob"):
                store.add_feedback(
                    Feedback(
                        id=each,
                        project_id=PROJECT,
                        completion_id=completion_id(1),
                        metric_id=MetricId("metric-1"),
                        value=1.0,
                        created_s=1.0,
                    ),
                    Score(campaign_id=CampaignId(kind), unit=each, arm="A", value=1.0),
                )
        else:
            for number, unit in enumerate(
                (bob, ann, f"{bob}|{ann}", f"request:1|{bob}", f"{bob}by")
            ):
                store.add_comparison(
                    Comparison(
                        id=str(number),
                        project_id=PROJECT,
                        metric_id=MetricId("metric-1"),
                        preferred_id=completion_id(8),
                        other_id=completion_id(9),
                        created_s=1.0,
                    ),
                    PairScore(
                        campaign_id=CampaignId(kind), unit=unit, first="A", second="B", result=1
                    ),
                )
        store.replace_campaign(msgspec.structs.replace(campaign(kind), status="CANCELLED"))
    store.add_interaction(sample(1, user=BOB, session_id="session-bob"))
    tallies = [store.tally(CampaignId(kind)) for kind in ("direct", "comparison")]
    store.erase_user(DEFAULT_ACCOUNT, BOB)
    assert [store.tally(CampaignId(kind)) for kind in ("direct", "comparison")] == tallies
    units = store._database.rows("SELECT unit FROM campaign_units", {})
    pairs = store._database.rows("SELECT unit FROM campaign_pair_units", {})
    assert {unit for (unit,) in units if not unit.startswith("erased:")} == {"user:ann"}
    assert {unit for (unit,) in pairs if not unit.startswith("erased:")} == {
        "user:ann",
        f"user:{BOB}by",
    }


def archive(data_dir: Path, name: str, records: list[UsageRecord]) -> Path:
    path = data_dir / ARCHIVE_DIR / name
    path.parent.mkdir(exist_ok=True)
    lines = [msgspec.json.encode(record) + b"\n" for record in records]
    path.write_bytes(gzip.compress(b"".join(lines[:1])) + gzip.compress(b"".join(lines[1:])))
    return path


def test_archives_that_name_the_user_are_written_anew(store: Store, data_dir: Path) -> None:
    store.add_interaction(sample(1, user=BOB, session_id="session-bob"))
    records = [
        usage_sample(1, user=BOB, labels=(("pet", "wombat"),), cost=3),
        usage_sample(2, session_id="session-bob"),
        usage_sample(3, user="ann", labels=(("pet", "cat"),)),
        usage_sample(4, user=BOB, account="acct_other"),
    ]
    named = archive(data_dir, "usage-until-1.jsonl.gz", records)
    other = archive(data_dir, "usage-until-2.jsonl.gz", records[2:])
    untouched = other.stat().st_ino
    # A crash cut the last member off: what is in it is in the database still.
    named.write_bytes(named.read_bytes() + gzip.compress(msgspec.json.encode(records[0]))[:-9])
    assert store.erase_user(DEFAULT_ACCOUNT, BOB).archives == 1
    lines = gzip.decompress(named.read_bytes()).splitlines()
    nobodys = {"user": None, "session_id": None, "labels": ()}
    assert [msgspec.json.decode(line, type=UsageRecord) for line in lines] == [
        msgspec.structs.replace(records[0], **nobodys),
        msgspec.structs.replace(records[1], **nobodys),
        *records[2:],
    ]
    assert named.stat().st_mode & 0o777 == 0o600
    assert other.stat().st_ino == untouched
    assert store.erase_user(DEFAULT_ACCOUNT, BOB).archives == 0


def test_an_archive_that_is_being_written_is_waited_for_and_told_of(
    store: Store, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dragoman.stores.usage_archives.WAIT_S", 0.0)
    path = archive(data_dir, "usage-until-1.jsonl.gz", [usage_sample(1, user=BOB)])
    file = os.open(path, os.O_RDWR)
    fcntl.flock(file, fcntl.LOCK_EX)
    with pytest.raises(StoreUnavailable, match="erase the user again"):
        store.erase_user(DEFAULT_ACCOUNT, BOB)
    os.close(file)
    assert store.erase_user(DEFAULT_ACCOUNT, BOB).archives == 1


def test_a_damaged_archive_is_named(store: Store, data_dir: Path) -> None:
    path = archive(data_dir, "usage-until-1.jsonl.gz", [usage_sample(1, user="ann")])
    path.write_bytes(path.read_bytes() + b"garbage behind it")
    with pytest.raises(StoreFailed) as caught:
        store.erase_user(DEFAULT_ACCOUNT, BOB)
    assert str(path) in str(caught.value.detail)


def test_what_is_moved_into_an_archive_meanwhile_is_erased_there(
    store: Store, data_dir: Path
) -> None:
    connection = sqlite3.connect(data_dir / DATABASE_NAME)
    keep(connection, [usage_sample(number, user=BOB) for number in range(3)])
    connection.close()
    path = data_dir / ARCHIVE_DIR / "usage-until-1.jsonl.gz"
    path.parent.mkdir()
    store.delete_usage_before(DAY_S, archive=path, pause_s=0.0)
    assert BOB.encode() in gzip.decompress(path.read_bytes())
    assert store.erase_user(DEFAULT_ACCOUNT, BOB).archives == 1
    assert BOB.encode() not in gzip.decompress(path.read_bytes())


def test_a_long_list_is_erased_in_many_transactions(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dragoman.stores.erasure.CHUNK", 3)
    monkeypatch.setattr("dragoman.stores.erasure.USAGE_CHUNK", 4)
    monkeypatch.setattr("dragoman.stores.erasure.UPDATED_AT_ONCE", 2)
    monkeypatch.setattr("dragoman.stores.erasure.PAUSE_S", 0.0)
    connection = sqlite3.connect(store._database.directory / DATABASE_NAME)
    keep(connection, [usage_sample(n, user=BOB if n % 2 else None) for n in range(11)])
    connection.close()
    for number in range(20):
        store.add_interaction(sample(number, user=BOB if number % 2 else "ann"))
    erased = store.erase_user(DEFAULT_ACCOUNT, BOB)
    assert (erased.interactions, erased.usage_records) == (10, 5)
    left = store.list_interactions(InteractionFilter()).interactions
    assert {each.interaction.user for each in left} == {"ann"}
