"""What every store promises of scores: each unit counts once, as long as its campaign is active."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
from msgspec.structs import replace
from tests.stores.campaign_rows import (
    CAMPAIGN,
    make_campaign,
    score,
    with_project,
)

from dragoman.errors import InvalidRequest
from dragoman.records.campaign import (
    ArmTally,
    CampaignId,
    PairScore,
    PairTally,
    Sums,
    Tally,
)
from dragoman.stores import Store
from dragoman.stores.scores import count_pair_score

OpenAgain = Callable[[], Store]


@pytest.fixture
def store(open_again: OpenAgain) -> Store:
    return with_project(open_again())


def test_the_first_score_of_a_unit_is_apart_from_its_later_ones(store: Store) -> None:
    store.add_campaign(CAMPAIGN)
    for unit, arm, value in (
        ("user:1", "A", 1.0),
        ("user:2", "A", 3.0),
        ("user:1", "A", 100.0),
        ("user:3", "B", -2.0),
        ("user:1", "A", 200.0),
    ):
        assert score(store, unit, arm, value)
    assert store.tally(CAMPAIGN.id) == Tally(
        arms=(
            ArmTally(arm="A", scores=Sums(2, 2.0, 2.0), later_scores=Sums(2, 150.0, 5000.0)),
            ArmTally(arm="B", scores=Sums(1, -2.0, 0.0)),
        )
    )


def test_nothing_is_counted_once_a_campaign_has_ended(store: Store) -> None:
    pair = PairScore(campaign_id=CAMPAIGN.id, unit="u", first="A", second="B", result=1)
    assert not score(store, "user:1", "A", 1.0)
    store.add_campaign(CAMPAIGN)
    assert score(store, "user:1", "A", 1.0)
    assert count_pair_score(store._database, pair)
    before = store.tally(CAMPAIGN.id)
    store.replace_campaign(replace(CAMPAIGN, status="CANCELLED", ended_s=2.0))
    assert not score(store, "user:1", "A", 1.0)
    assert not score(store, "user:2", "A", 1.0)
    assert not count_pair_score(store._database, replace(pair, unit="v"))
    assert store.tally(CAMPAIGN.id) == before


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1e151])
def test_a_value_that_no_sum_can_hold_is_refused(store: Store, value: float) -> None:
    store.add_campaign(CAMPAIGN)
    with pytest.raises(InvalidRequest, match="value"):
        score(store, "user:1", "A", value)
    for unit, largest in (("user:1", 1e150), ("user:2", -1e150)):
        assert score(store, unit, "A", largest)
    assert store.tally(CAMPAIGN.id).arms[0].scores.n == 2


def test_a_score_stands_or_falls_with_what_it_comes_from(store: Store) -> None:
    store.add_campaign(CAMPAIGN)

    def fail() -> None:
        with store.atomically():
            score(store, "user:1", "A", 1.0)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert store.tally(CAMPAIGN.id) == Tally()
    score(store, "user:1", "A", 2.0)
    assert store.tally(CAMPAIGN.id).arms[0].scores == Sums(1, 2.0, 0.0)


def test_a_tally_has_what_its_own_transaction_counted(store: Store) -> None:
    store.add_campaign(CAMPAIGN)
    with store.atomically():
        score(store, "user:1", "A", 2.0)
        assert store.tally(CAMPAIGN.id).arms[0].scores == Sums(1, 2.0, 0.0)
        score(store, "user:2", "A", 4.0)
    assert store.tally(CAMPAIGN.id).arms[0].scores == Sums(2, 3.0, 2.0)


def test_each_unit_compares_a_pair_of_arms_once(store: Store) -> None:
    store.add_campaign(make_campaign(1, kind="comparison"))
    for unit, first, second, result in (
        ("user:1", "A", "B", 1),
        ("user:2", "A", "B", -1),
        ("user:3", "A", "B", 0),
        ("user:4", "A", "B", 1),
        ("user:1", "A", "B", -1),
        ("user:1", "A", "C", -1),
        ("user:1", "A", "C", 0),
    ):
        pair = PairScore(
            campaign_id=CampaignId("c1"),
            unit=unit,
            first=first,
            second=second,
            result=result,  # type: ignore[arg-type]  # of a loop over tuples
        )
        assert count_pair_score(store._database, pair)
    assert store.tally(CampaignId("c1")) == Tally(
        pairs=(
            PairTally(first="A", second="B", wins=2, losses=1, ties=1, later=1),
            PairTally(first="A", second="C", losses=1, later=1),
        )
    )


def test_a_tally_is_of_one_moment(store: Store, open_again: OpenAgain) -> None:
    store.add_campaign(CAMPAIGN)
    reader = open_again()
    has_ended = threading.Event()
    found: list[Tally] = []

    def read() -> None:
        while not has_ended.is_set():
            found.append(reader.tally(CAMPAIGN.id))

    thread = threading.Thread(target=read)
    thread.start()
    for number in range(50):
        pair = PairScore(
            campaign_id=CAMPAIGN.id, unit=f"user:{number}", first="A", second="B", result=1
        )
        with store.atomically():
            score(store, pair.unit, "A", 1.0)
            count_pair_score(store._database, pair)
    has_ended.set()
    thread.join()
    both = [(tally.arms, tally.pairs) for tally in found]
    assert all(
        sum(arm.scores.n for arm in arms) == sum(pair.wins for pair in pairs)
        for arms, pairs in both
    )
