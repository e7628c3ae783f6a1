from __future__ import annotations

from typing import Literal

import pytest
from msgspec.structs import replace
from tests.policy.campaigns.simulated import BOOL, SCALAR, campaign_of

from dragoman.policy.campaigns.scoring import pair_score_for, score_for
from dragoman.records.account import DEFAULT_ACCOUNT
from dragoman.records.campaign import PairScore, Score
from dragoman.records.feedback import Comparison, Tie
from dragoman.records.interaction import Interaction
from dragoman.records.metric import MetricId
from dragoman.records.project import ProjectId

DIRECT = campaign_of(3)
COMPARED = campaign_of(3, kind="comparison")


def interaction(arm: str | None, unit: str | None = "session:s", **fields: object) -> Interaction:
    made = Interaction(
        completion_id=f"completion-{arm}-{unit}",
        project_id=ProjectId("proj_1"),
        account_id=DEFAULT_ACCOUNT,
        created_s=1.0,
        session_id="s",
        campaign_id=DIRECT.id,
        unit=unit,
        arm=arm,
        served_arm=arm,
    )
    return replace(made, **fields)


def comparison(user: str | None = None, tied: Tie | None = None) -> Comparison:
    return Comparison(
        id="1",
        project_id=ProjectId("proj_1"),
        metric_id=BOOL.id,
        preferred_id="p",
        other_id="o",
        tied=tied,
        user=user,
        created_s=1.0,
    )


def test_feedback_scores_for_the_arm_that_was_meant_whichever_answered() -> None:
    found = score_for(DIRECT, interaction("B", served_arm=None), BOOL, 1.0)
    assert found == Score(campaign_id=DIRECT.id, unit="session:s", arm="B", value=1.0)


@pytest.mark.parametrize(
    "made",
    [
        interaction("B", campaign_id=None),
        interaction("B", campaign_id="another"),
        interaction(None),
        interaction("B", None),
        interaction("Z"),
    ],
)
def test_only_the_campaigns_own_interactions_score(made: Interaction) -> None:
    assert score_for(DIRECT, made, BOOL, 1.0) is None
    assert pair_score_for(COMPARED, made, interaction("A"), comparison()) is None
    assert pair_score_for(COMPARED, interaction("A"), made, comparison()) is None


def test_only_the_campaigns_metric_and_kind_count_while_it_is_active() -> None:
    other = replace(SCALAR, id=MetricId("other"))
    ended = replace(DIRECT, status="DONE")
    assert score_for(DIRECT, interaction("A"), other, 1.0) is None
    assert score_for(ended, interaction("A"), BOOL, 1.0) is None
    assert score_for(COMPARED, interaction("A"), BOOL, 1.0) is None
    pair = interaction("A"), interaction("B")
    assert pair_score_for(DIRECT, *pair, comparison()) is None
    assert pair_score_for(replace(COMPARED, status="CANCELLED"), *pair, comparison()) is None
    foreign = replace(comparison(), metric_id=MetricId("other"))
    assert pair_score_for(COMPARED, *pair, foreign) is None


@pytest.mark.parametrize(
    ("preferred", "other", "tied", "first", "second", "result"),
    [
        ("A", "B", None, "A", "B", 1),
        ("B", "A", None, "A", "B", -1),
        ("C", "B", None, "B", "C", -1),
        ("A", "C", "good", "A", "C", 0),
        ("C", "A", "bad", "A", "C", 0),
    ],
)
def test_preferences_are_told_in_the_arms_order(
    preferred: str,
    other: str,
    tied: Tie | None,
    first: str,
    second: str,
    result: Literal[1, 0, -1],
) -> None:
    found = pair_score_for(
        COMPARED, interaction(preferred), interaction(other), comparison("u", tied)
    )
    assert found == PairScore(
        campaign_id=COMPARED.id, unit="user:u", first=first, second=second, result=result
    )


def test_completions_of_one_arm_are_no_comparison_of_arms() -> None:
    assert (
        pair_score_for(COMPARED, interaction("A"), interaction("A", "user:2"), comparison()) is None
    )


def test_who_compared_is_the_unit_else_what_was_compared() -> None:
    def unit(user: str | None, one: str, other: str) -> str | None:
        found = pair_score_for(
            COMPARED, interaction("A", one), interaction("B", other), comparison(user)
        )
        return None if found is None else found.unit

    assert unit("u", "session:1", "session:2") == "user:u"
    assert unit(None, "session:1", "session:1") == "session:1"
    # Whichever is preferred, and however often: these two were compared.
    assert unit(None, "session:1", "session:2") == unit(None, "session:2", "session:1")
    assert unit(None, "session:1", "session:2") != unit(None, "session:1", "session:3")
