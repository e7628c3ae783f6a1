from __future__ import annotations

import msgspec
import pytest
from msgspec.structs import replace
from tests.policy.campaigns.simulated import BOOL, campaign_of, sums_of

from dragoman.policy.campaigns.judging import judge
from dragoman.policy.campaigns.reporting import CampaignReport, report
from dragoman.policy.campaigns.wording import amount, between, by_chance
from dragoman.records.campaign import ArmTally, Campaign, Guardrail, PairTally, Sums, Tally
from dragoman.records.metric import BUILT_IN_METRICS, Metric


def told(campaign: Campaign, tally: Tally, metric: Metric = BOOL) -> CampaignReport:
    return report(campaign, judge(campaign, tally, metric), metric)


def coins(good: int, bad: int) -> Sums:
    return sums_of([1.0] * good + [0.0] * bad)


def arms(*counted: ArmTally) -> Tally:
    return Tally(arms=counted)


# --- Words ---


def test_a_certain_difference_is_told_with_its_bounds_and_how_sure_it_is() -> None:
    tally = arms(
        ArmTally(arm="A", scores=coins(900, 1100)), ArmTally(arm="B", scores=coins(1050, 950))
    )
    found = told(campaign_of(), tally)
    assert found.headline == (
        "B is better than A by 0.02 to 0.13; would be seen by chance in under 1 of 5,000 campaigns,"
        " however often one looks."
    )
    assert found.pairs[0].better == "B"
    assert found.words == (found.headline,)


def test_what_is_missing_is_told_while_it_is_too_early() -> None:
    tally = arms(ArmTally(arm="A", scores=coins(6, 6)), ArmTally(arm="B", scores=coins(30, 1000)))
    found = told(campaign_of(), tally)
    assert found.headline == "Too early: A has 12 of 30 scores."
    assert found.pairs[0].words == "Too early to compare A and B."
    assert (found.pairs[0].p, found.pairs[0].low, found.pairs[0].difference) == (None, None, None)
    comparison = campaign_of(kind="comparison")
    assert told(comparison, Tally()).headline == "Too early: A and B were compared 0 of 30 times."


def test_an_open_question_is_told_with_what_it_may_come_to() -> None:
    tally = arms(ArmTally(arm="A", scores=coins(50, 50)), ArmTally(arm="B", scores=coins(55, 45)))
    found = told(campaign_of(), tally)
    assert found.headline == "No arm is certainly better than every other one yet."
    assert found.words[0] == (
        "No certain difference between A and B yet: A may be better by up to 0.18, or worse by up to 0.28."
    )
    lower = told(campaign_of(), tally, replace(BOOL, better="lower_is_better"))
    assert "A may be better by up to 0.28, or worse by up to 0.18." in lower.words[0]


def test_measured_metrics_are_told_with_their_unit_and_direction() -> None:
    metric = BUILT_IN_METRICS[0]
    campaign = replace(campaign_of(), metric_id=metric.id)
    tally = arms(
        ArmTally(arm="A", scores=sums_of([480.0, 520.0] * 100)),
        ArmTally(arm="B", scores=sums_of([380.0, 420.0] * 100)),
    )
    assert told(campaign, tally, metric).headline.startswith(
        "B is better than A by 83 to 117 ms (a lower first_token_ms is better); "
    )


def test_preferences_are_told_with_their_counts() -> None:
    campaign = campaign_of(kind="comparison")
    tally = Tally(pairs=(PairTally(first="A", second="B", wins=30, losses=90, ties=12, later=3),))
    found = told(campaign, tally)
    assert found.headline.startswith("B is preferred to A by 0.1")
    assert "(30 for A, 90 for B, 12 for neither)" in found.headline
    assert "3 later comparisons of A and B are not tested" in found.words[-1]
    pair = found.pairs[0]
    assert (pair.wins, pair.losses, pair.ties, pair.later, pair.scores) == (30, 90, 12, 3, 132)


def test_equal_scores_are_told_as_such() -> None:
    tally = arms(
        ArmTally(arm="A", scores=sums_of([4.0] * 50)), ArmTally(arm="B", scores=sums_of([4.0] * 50))
    )
    found = told(campaign_of(), tally, replace(BOOL, kind="scalar"))
    assert "nothing is known" in found.words[0]


def test_a_wrong_sample_ratio_is_the_first_thing_told() -> None:
    tally = arms(
        ArmTally(arm="A", units=1650, scores=coins(50, 50)),
        ArmTally(arm="B", units=1350, scores=coins(50, 50)),
    )
    found = told(campaign_of(), tally)
    assert found.sample_ratio.is_off
    assert found.words[0] == found.sample_ratio.warning
    assert "(A 1,650, B 1,350)" in found.words[0]
    assert "Do not trust" in found.words[0]
    fair = told(campaign_of(), arms(ArmTally(arm="A", units=1520), ArmTally(arm="B", units=1480)))
    assert fair.sample_ratio.warning is None


def test_guardrails_tell_what_is_worse_by_how_much_and_what_is_borne() -> None:
    campaign = campaign_of(guardrails=(Guardrail(measure="errors", margin=0.05),))
    tally = arms(
        ArmTally(arm="A", guards={"errors": coins(10, 490)}),
        ArmTally(arm="B", guards={"errors": coins(150, 350)}),
    )
    found = told(campaign, tally)
    assert found.words[0].startswith("B has certainly more errors than A: by 0.2")
    assert found.words[0].endswith(" of requests, where 0.05 is borne.")
    assert found.guardrails[0].worse == "B"


def test_later_scores_and_fallbacks_are_shown() -> None:
    tally = arms(
        ArmTally(
            arm="A",
            requests=300,
            fallbacks=12,
            scores=coins(50, 50),
            later_scores=Sums(40, 0.5, 10.0),
        ),
        ArmTally(arm="B", scores=coins(50, 50)),
    )
    found = told(campaign_of(), tally)
    assert (found.arms[0].later_scores, found.arms[0].later_mean) == (40, 0.5)
    assert (found.arms[1].later_scores, found.arms[1].later_mean) == (0, None)
    assert found.words[1].startswith("12 of 300 requests of A were answered by another model")
    assert found.words[2].startswith("40 later scores of A, with a mean of 0.5, are shown")


def test_an_ended_campaign_tells_why_it_ended() -> None:
    ended = replace(campaign_of(), status="DONE", winner="B", end_reason="B is better.")
    found = told(ended, Tally())
    assert (found.headline, found.winner, found.status) == ("B is better.", "B", "DONE")


def test_a_report_is_json() -> None:
    tally = arms(ArmTally(arm="A", scores=coins(50, 50)), ArmTally(arm="B", scores=coins(0, 50)))
    found = told(campaign_of(), tally)
    assert msgspec.json.decode(msgspec.json.encode(found), type=CampaignReport) == found


# --- Numbers ---


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [
        (0.0437, 0.1084, "0.04 to 0.11"),
        (-0.1084, -0.0437, "0.04 to 0.11"),
        (0.0004, 0.07, "0.0004 to 0.0701"),
        (123.4, 345.6, "123 to 346"),
        (1234.5, 34567.8, "1,234 to 34,568"),
        (0.5, 1.0, "0.5 to 1.0"),
        (1e-12, 2e-12, "1e-12 to 2e-12"),
        (1e20, 3e20, "1e+20 to 3e+20"),
    ],
)
def test_bounds_are_rounded_outwards_and_the_lesser_not_to_nought(
    low: float, high: float, words: str
) -> None:
    assert between(low, high) == words


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (0.0, "0"),
        (0.75, "0.75"),
        (0.05, "0.05"),
        (100.0, "100"),
        (1234.56, "1,235"),
        (0.00012345, "0.00012"),
        (-0.25, "-0.25"),
        (1e30, "1e+30"),
    ],
)
def test_amounts_have_two_figures_or_are_whole(value: float, words: str) -> None:
    assert amount(value) == words


@pytest.mark.parametrize(
    ("p", "campaigns"),
    [(0.05, "20"), (0.0499, "20"), (0.0099, "100"), (0.003, "200"), (0.0, "1,000,000")],
)
def test_p_values_are_told_as_one_of_so_many_campaigns(p: float, campaigns: str) -> None:
    assert by_chance(p) == (
        f"would be seen by chance in under 1 of {campaigns} campaigns, however often one looks"
    )


def test_arms_that_are_the_same_are_told_of() -> None:
    alike = campaign_of(3)
    first, _, last = alike.arms
    campaign = replace(alike, arms=(first, replace(first, key="B"), last))
    words = told(campaign, arms()).words
    assert words[0] == (
        "A and B are the same, to check the set-up: if one of them is called better, it is chance, or"
        " something treats their units differently."
    )
    assert not [each for each in told(alike, arms()).words if "the same" in each]
    won = arms(
        ArmTally(arm="A", scores=coins(900, 1100)), ArmTally(arm="B", scores=coins(1050, 950))
    )
    two = replace(campaign, arms=campaign.arms[:2])
    assert told(two, won).headline.endswith("treats their units differently.")
