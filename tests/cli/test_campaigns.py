"""`dragoman campaigns`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest
from tests.cli.conftest import Run

from dragoman.policy.campaigns.clerk import Clerk
from dragoman.records.campaign import Campaign, Score
from dragoman.records.feedback import Feedback
from dragoman.records.interaction import Interaction
from dragoman.stores import Store, open_store

PROVIDER = """
[[providers]]
name = "office"
wire = "openai"
base_url = "https://office.example.com/v1"
[[providers.models]]
id = "gpt"
"""


class Clock:
    def unix_s(self) -> float:
        return 1_800_000_000.0

    def monotonic_s(self) -> float:
        return 0.0


@pytest.fixture(autouse=True)
def project(dragoman: Run, tmp_path: Path) -> None:
    (tmp_path / "dragoman.toml").write_text(PROVIDER)
    dragoman("projects", "create", "support", "-m", "fast=local", "-m", "smart=gpt")
    dragoman("metrics", "add", "support", "helpful", "--kind", "bool")


@pytest.fixture
def store(data_dir: Path, project: None) -> Iterator[Store]:
    store = open_store(data_dir)
    yield store
    store.close()


CREATE = (
    *("campaigns", "create", "support", "tone", "--metric", "helpful"),
    *("--arm", "fast", "--arm", "smart"),
)


def score(store: Store, campaign: Campaign, arm: str, number: int, value: float) -> None:
    """As if feedback came of a user of its own."""
    completion_id = str(UUID(int=number))
    store.add_interaction(
        Interaction(
            completion_id=completion_id,
            project_id=campaign.project_id,
            account_id=store.list_projects()[0].account_id,
            created_s=1_700_000_000.0,
            session_id=str(UUID(int=number)),
            campaign_id=campaign.id,
            unit=f"user:{number}",
            arm=arm,
            served_arm=arm,
            entered_by="split",
        )
    )
    feedback = Feedback(
        id=completion_id,
        project_id=campaign.project_id,
        completion_id=completion_id,
        metric_id=campaign.metric_id,
        value=value,
        created_s=1_700_000_000.0,
    )
    unit = Score(campaign_id=campaign.id, unit=f"user:{number}", arm=arm, value=value)
    store.add_feedback(feedback, unit)


def test_a_campaign_is_begun_shown_changed_and_cancelled(dragoman: Run) -> None:
    assert "campaigns create" in dragoman("campaigns", "list").err
    begun = dragoman(
        *(*CREATE, "--split", "0.5", "--guard", "errors=0.02", "--min-scores", "20", "--json")
    )
    assert begun.code == 0, begun.err
    row = begun.json
    assert [(arm["key"], arm["model"]) for arm in row["arms"]] == [("A", "fast"), ("B", "smart")]
    assert (row["status"], row["traffic_split"], row["guardrails"], row["min_scores"]) == (
        *("WARMUP", 0.5),
        *({"errors": 0.02}, 20),
    )
    assert dragoman("campaigns", "show", "support", "tone", "--json").json == row
    assert row["metric"] == "helpful"
    shown = dragoman("campaigns", "show", "support", "tone").out
    assert ["metric", "helpful"] in [line.split() for line in shown.splitlines()]
    changed = dragoman("campaigns", "change", "support", "tone", "--split", "0.8", "--auto-deploy")
    assert ["traffic", "split", "0.8"] in [line.split() for line in changed.out.splitlines()]
    second = dragoman(*CREATE[:3], "other", *CREATE[4:])
    assert second.code == 1
    assert dragoman("campaigns", "cancel", "support", "tone").out.startswith("Cancelled tone (")
    (listed,) = dragoman("campaigns", "list", "--json").json
    assert (listed["project"], listed["status"]) == ("support", "CANCELLED")
    assert "CANCELLED" in dragoman("campaigns", "list", "support").out


def test_arms_are_models_versions_and_sampling(dragoman: Run, tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_text("one")
    dragoman("templates", "add", "support", "greeting", "t.txt")
    (tmp_path / "t.txt").write_text("two")
    dragoman("templates", "add", "support", "greeting", "t.txt")
    dragoman("projects", "attach", "support", "--key", "fast", "--template", "greeting")
    begun = dragoman(
        *("campaigns", "create", "support", "tone", "--metric", "helpful", "--json"),
        *("--arm", "old=fast@1", "--arm", "new=fast@2,temperature=0.25,top_k=4", "--arm", "smart"),
    )
    assert begun.code == 0, begun.err
    arms = [
        (a["key"], a["model"], a["template_version"], a["sampling"]) for a in begun.json["arms"]
    ]
    assert arms[:2] == [
        ("old", "fast", 1, {}),
        ("new", "fast", 2, {"temperature": 0.25, "top_k": 4}),
    ]
    assert arms[2][1:] == ("smart", None, {})


def test_a_report_speaks_plainly(dragoman: Run, store: Store) -> None:
    dragoman(*CREATE)
    early = dragoman("campaigns", "report", "support", "tone")
    assert early.code == 0, early.err
    assert "Too early" in early.out
    (campaign,) = store.list_campaigns()
    with store.atomically():
        for number in range(120):
            # One fails each tenth time, the other one each second.
            score(store, campaign, "A", 2 * number, float(number % 10 != 0))
            score(store, campaign, "B", 2 * number + 1, float(number % 2))
    Clerk(store, Clock()).report(campaign.id)
    ran = dragoman("campaigns", "report", "support", "tone")
    assert ran.code == 0, ran.err
    assert ran.out.count("A is better than B") == 1
    words = [line.split() for line in ran.out.splitlines()]
    assert ["A", "fast"] in [line[:2] for line in words]
    assert ["A", "–", "B"] in [line[:3] for line in words]
    report = dragoman("campaigns", "report", "support", "tone", "--json").json
    assert [arm["scores"] for arm in report["arms"]] == [120, 120]
    (pair,) = report["pairs"]
    assert pair["low"] > 0
    assert pair["better"] == "A"


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("campaigns", "show", "support", "none"), 1, "has no campaign 'none'"),
        (("campaigns", "report", "none", "x"), 1, "project 'none' does not exist"),
        ((*CREATE, "--arm", "x="), 2, "--arm is 'x='; write MODEL"),
        ((*CREATE, "--arm", "fast,warmth=1"), 2, "--arm sets 'warmth'; use temperature"),
        ((*CREATE, "--arm", "fast,seed=x"), 2, "write a number"),
        ((*CREATE, "--arm", "fast,temperature=9"), 2, "temperature"),
        ((*CREATE, "--arm", "none"), 2, "none"),
        ((*CREATE, "--guard", "speed=1"), 2, "--guard is 'speed=1'; write MEASURE=MARGIN"),
        ((*CREATE, "--guard", "cost"), 2, "write a number"),
        ((*CREATE, "--split", "2"), 2, "traffic_split"),
        (CREATE[:8], 2, "arms"),
        ((*CREATE, "--kind", "comparison", "--metric", "cost"), 2, "metric"),
    ],
)
def test_refusals_name_what_is_wrong(
    dragoman: Run, arguments: tuple[str, ...], code: int, words: str
) -> None:
    ran = dragoman(*arguments)
    assert (ran.code, ran.out) == (code, "")
    assert words in ran.err


def test_no_campaign_begins_where_nothing_would_be_counted(dragoman: Run, tmp_path: Path) -> None:
    (tmp_path / "dragoman.toml").write_text("accounting = false\n" + PROVIDER)
    refused = dragoman(*CREATE)
    assert refused.code == 1
    assert "nothing is kept of completions while accounting = false" in refused.err
    (tmp_path / "dragoman.toml").write_text(PROVIDER)
    assert dragoman(*CREATE).code == 0
