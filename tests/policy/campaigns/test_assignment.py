from __future__ import annotations

import math
import subprocess
import sys
import time
from collections import Counter

import msgspec
import pytest

from dragoman.policy.campaigns.assignment import arm_for, assign, unit_of
from dragoman.records.campaign import Arm, Campaign, CampaignId
from dragoman.records.metric import MetricId
from dragoman.records.project import ProjectId

UNITS = [f"user:{number}" for number in range(100_000)]
FIRST = "0b9e7c0e-51a5-4b8b-a4d7-8f0c1d6f2a31"
SECOND = "5d0f6a86-1c0d-4f0a-9d5c-0f6c0ab7a0de"


def campaign(
    split: float = 1.0,
    models: tuple[str, ...] = ("small", "large"),
    campaign_id: str = FIRST,
) -> Campaign:
    return Campaign(
        id=CampaignId(campaign_id),
        project_id=ProjectId("proj_1"),
        key="tone",
        name="tone",
        metric_id=MetricId("m"),
        kind="direct",
        arms=tuple(Arm(key="ABCDEFGH"[at], model=model) for at, model in enumerate(models)),
        traffic_split=split,
    )


def within(count: int, of: int, share: float) -> bool:
    """Whether a fair draw comes this far from its share less than once in 15,000 times."""
    return abs(count - of * share) <= 4 * math.sqrt(of * share * (1 - share))


@pytest.mark.parametrize(("split", "arms"), [(0.01, 2), (0.5, 3), (0.93, 8)])
def test_units_enter_by_the_split_and_fall_on_the_arms_equally(split: float, arms: int) -> None:
    one = campaign(split, tuple(f"m{number}" for number in range(arms)))
    met = Counter(assign(one, unit) for unit in UNITS)
    entered = len(UNITS) - met.pop(None, 0)
    assert within(entered, len(UNITS), split)
    assert len(met) == arms
    assert all(within(count, entered, 1 / arms) for count in met.values())


def test_entering_says_nothing_about_the_arm() -> None:
    half = campaign(0.5)
    inside = [arm_for(half, unit) for unit in UNITS if assign(half, unit) is not None]
    outside = [arm_for(half, unit) for unit in UNITS if assign(half, unit) is None]
    assert within(inside.count("A"), len(inside), 0.5)
    assert within(outside.count("A"), len(outside), 0.5)


def test_a_split_of_one_lets_everybody_in_and_one_of_nought_nobody() -> None:
    everybody, nobody = campaign(1.0), campaign(0.0)
    assert all(assign(everybody, unit) is not None for unit in UNITS)
    assert all(assign(nobody, unit) is None for unit in UNITS)


def test_a_changed_split_moves_only_the_units_that_it_must() -> None:
    few, many = campaign(0.2), campaign(0.5)
    moved = Counter[tuple[bool, bool]]()
    for unit in UNITS:
        before, after = assign(few, unit), assign(many, unit)
        if before is not None:
            assert after == before
        moved[before is not None, after is not None] += 1
    assert moved[True, False] == 0
    assert within(moved[False, True], len(UNITS), 0.3)


def test_one_campaigns_arms_say_nothing_about_anothers() -> None:
    one, other = campaign(), campaign(campaign_id=SECOND)
    pairs = Counter((assign(one, unit), assign(other, unit)) for unit in UNITS)
    assert len(pairs) == 4
    assert all(within(count, len(UNITS), 0.25) for count in pairs.values())
    half, other_half = campaign(0.5), campaign(0.5, campaign_id=SECOND)
    both = sum(
        assign(half, unit) is not None and assign(other_half, unit) is not None for unit in UNITS
    )
    assert within(both, len(UNITS), 0.25)


def test_another_process_finds_the_same_arm() -> None:
    mine = [assign(campaign(0.7), unit) for unit in UNITS[:500]]
    program = (
        "import msgspec, sys\n"
        "from dragoman.policy.campaigns.assignment import assign\n"
        "from dragoman.records.campaign import Campaign\n"
        "one = msgspec.json.decode(sys.stdin.buffer.read(), type=Campaign)\n"
        "found = [assign(one, f'user:{n}') for n in range(500)]\n"
        "print(msgspec.json.encode(found).decode())\n"
    )
    for seed in ("0", "4242"):
        done = subprocess.run(
            [sys.executable, "-c", program],
            input=msgspec.json.encode(campaign(0.7)),
            env={"PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
        )
        assert msgspec.json.decode(done.stdout) == mine


def test_assignments_are_those_of_earlier_releases() -> None:
    # A running campaign keeps its units' arms when the server is updated: these never change.
    three = campaign(0.6, ("a", "b", "c"))
    found = [assign(three, f"session:{number}") for number in range(12)]
    assert found == FIXED


FIXED = ["A", None, "C", None, "A", "C", "A", None, None, "A", None, "B"]


def test_a_named_model_takes_an_arm_that_has_it_equally_where_there_are_several() -> None:
    one = campaign(0.0, ("small", "large", "small", "huge"))
    met = Counter(arm_for(one, unit, "small") for unit in UNITS)
    assert set(met) == {"A", "C"}
    assert within(met["A"], len(UNITS), 0.5)
    assert {arm_for(one, unit, "large") for unit in UNITS} == {"B"}
    assert arm_for(one, "user:1", "unknown") is None


def test_a_named_model_leaves_a_unit_in_its_arm_where_that_has_the_model() -> None:
    one = campaign(1.0, ("small", "large", "small", "huge"))
    for unit in UNITS[:5000]:
        own = assign(one, unit)
        assert arm_for(one, unit) == own
        if own in ("A", "C"):
            assert arm_for(one, unit, "small") == own


def test_a_unit_is_the_session_else_the_user_else_the_request() -> None:
    assert unit_of("s", "u", "r") == "session:s"
    assert unit_of(None, "u", "r") == "user:u"
    assert unit_of(None, None, "r") == "request:r"


@pytest.mark.parametrize("odd", ["", "x" * 1_000_000, "\ud800", "日本\x00", "session:s"])
def test_any_string_is_a_user(odd: str) -> None:
    unit = unit_of(None, odd, "r")
    assert len(unit) <= 250
    assert unit != unit_of(None, odd + "x", "r")
    assert unit != unit_of(odd, None, "r")
    assert assign(campaign(), unit) in ("A", "B")


def test_an_assignment_takes_a_few_microseconds() -> None:
    one = campaign(0.5)
    units = UNITS[:2000]
    times = []
    for _ in range(7):
        begun = time.process_time()
        for unit in units:
            assign(one, unit)
        times.append(time.process_time() - begun)
    # Three on an idle machine.
    assert min(times) / len(units) < 10e-6
