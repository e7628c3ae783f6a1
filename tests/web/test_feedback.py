"""Feedback, comparisons and outcomes: what they take, whom they believe, and what they count for."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.web.conversing import HOSTILE_UUID, Place, interaction, open_place, some_uuid


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    async with open_place(tmp_path) as place:
        yield place


async def feedback_of(place: Place, completion_id: str) -> list[dict[str, Any]]:
    row = await place.call("GET", f"/interactions/{completion_id}")
    found: list[dict[str, Any]] = row["feedback"]
    return found


# --- Feedback ---


@pytest.mark.parametrize(
    ("metric", "value", "kept"),
    [
        ("helpful", True, 1.0),
        ("helpful", False, 0.0),
        ("helpful", 1, 1.0),
        ("helpful", 0, 0.0),
        ("helpful", 1.0, 1.0),
        ("score", 0.25, 0.25),
        ("score", -3, -3.0),
        ("score", 1e99, 1e99),
    ],
)
async def test_a_value_is_kept_with_its_completion(
    place: Place, metric: str, value: object, kept: float
) -> None:
    completion_id = await place.told()
    body = {
        "completion_id": completion_id.upper(),
        "metric": metric,
        "value": value,
        "reason": "because",
        "details": "more",
        "user_id": HOSTILE_UUID,
        "project": "support",
    }
    added = await place.call("POST", "/feedback", body)
    (row,) = await feedback_of(place, completion_id)
    assert row["feedback_id"] == added["feedback_id"]
    assert (row["metric"], row["value"], row["user"]) == (metric, kept, HOSTILE_UUID)
    assert (row["reason"], row["details"]) == ("because", "more")


async def test_a_metric_may_be_named_by_its_id(place: Place) -> None:
    completion_id = await place.told()
    metric = place.metric("quick")
    body = {"completion_id": completion_id, "metric": metric, "value": 1, "user": "ada"}
    await place.call("POST", "/feedback", body)
    (row,) = await feedback_of(place, completion_id)
    assert (row["metric"], row["metric_id"], row["user"]) == ("quick", metric, "ada")


@pytest.mark.parametrize(
    ("metric", "value", "said"),
    [
        ("helpful", 2, "2 does not fit the metric 'helpful'"),
        ("helpful", 0.5, "use 0, 1, true or false"),
        ("helpful", "true", "'true' does not fit"),
        ("helpful", None, "null"),
        ("helpful", [1], "a list or an object"),
        ("score", True, "true does not fit the metric 'score'"),
        ("score", "5", "'5'"),
        ("score", {}, "a list or an object"),
        ("score", 1e101, "1e+101"),
        ("score", 10**400, "of that size"),
    ],
)
async def test_a_value_that_does_not_fit_is_named_with_what_does(
    place: Place, metric: str, value: object, said: str
) -> None:
    completion_id = await place.told()
    body = {"completion_id": completion_id, "metric": metric, "value": value}
    param, message = await place.refusal(400, "POST", "/feedback", body)
    assert (param, said in message) == ("value", True), message
    assert await feedback_of(place, completion_id) == []


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"completion_id": "7"}, "completion_id"),
        ({"completion_id": None}, "completion_id"),
        ({"metric": ""}, "metric"),
        ({"metric": "cost"}, "metric"),
        ({"reason": "x" * 10_001}, "reason"),
        ({"user": "a", "user_id": "b"}, "user_id"),
        ({"created_at": "soon"}, "created_at"),
    ],
)
async def test_what_breaks_a_rule_is_refused_by_name(
    place: Place, fields: dict[str, Any], param: str
) -> None:
    body = {"completion_id": await place.told(), "metric": "helpful", "value": 1, **fields}
    assert (await place.refusal(400, "POST", "/feedback", body))[0] == param


async def test_a_number_that_json_has_no_room_for_is_refused(place: Place) -> None:
    body = b'{"completion_id":"%s","metric":"score","value":1e999}' % HOSTILE_UUID.encode()
    assert (await place.ask("POST", "/feedback", content=body)).status_code == 400
    answer = await place.ask("POST", "/feedback", content=body.replace(b"1e999", b"NaN"))
    assert answer.json()["error"]["code"] == "malformed_body"


async def test_metrics_are_those_of_the_completions_project(place: Place) -> None:
    place.project("sales")
    other = place.metric("upsold", project="sales")
    completion_id = await place.told()
    for metric in ("upsold", other, "nothing"):
        body = {"completion_id": completion_id, "metric": metric, "value": 1}
        param, message = await place.refusal(404, "POST", "/feedback", body)
        assert param == "metric"
        assert message.startswith("EntityNotFound: metric")
        assert "'helpful'" in message


async def test_only_completions_that_the_key_may_see_exist(place: Place) -> None:
    place.project("sales")
    completion_id = await place.told()
    other = place.key(account_id=place.account("other"))
    body = {"completion_id": completion_id, "metric": "helpful", "value": 1}
    messages = set()
    for key in (other, place.scoped_key("sales"), place.key(project="sales")):
        param, message = await place.refusal(404, "POST", "/feedback", body, key=key)
        assert param == "completion_id"
        messages.add(message.replace(completion_id, "X"))
    unknown: dict[str, Any] = {**body, "completion_id": some_uuid()}
    _, message = await place.refusal(404, "POST", "/feedback", unknown)
    assert messages == {message.replace(unknown["completion_id"], "X")}
    _, message = await place.refusal(404, "POST", "/feedback", {**body, "project": "sales"})
    assert "completion" in message
    await place.refusal(404, "POST", "/feedback", {**body, "project": "none"})
    await place.refusal(403, "POST", "/feedback", {**body, "project": "support"}, key=other)
    assert await feedback_of(place, completion_id) == []


async def test_feedback_that_is_sent_again_is_kept_once(place: Place) -> None:
    completion_id = await place.told()
    body = {"completion_id": completion_id, "metric": "helpful", "value": 1}
    sent = {"headers": {"idempotency-key": "k"}}
    first = await place.call("POST", "/feedback", body, **sent)
    place.clock.now_s += 5
    assert await place.call("POST", "/feedback", body, **sent) == first
    assert len(await feedback_of(place, completion_id)) == 1
    await place.refusal(409, "POST", "/feedback", {**body, "value": 0}, **sent)
    elsewhere = {**body, "completion_id": await place.told()}
    await place.refusal(409, "POST", "/feedback", elsewhere, **sent)
    assert (await place.call("POST", "/feedback", body))["feedback_id"] != first["feedback_id"]
    param, _ = await place.refusal(
        400, "POST", "/feedback", body, headers={"idempotency-key": "x" * 300}
    )
    assert param == "Idempotency-Key"


async def test_feedback_counts_in_the_campaign_of_its_completion(place: Place) -> None:
    campaign = place.campaign("test", "helpful")
    inside = await place.told(ab_campaign="test", model_service="claude", user="ada")
    outside = await place.told(model_service="claude", user="bob")
    for completion_id, metric, value in (
        (inside, "helpful", True),
        (inside, "helpful", False),
        (inside, "score", 3),
        (outside, "helpful", True),
    ):
        body = {"completion_id": completion_id, "metric": metric, "value": value}
        await place.call("POST", "/feedback", body)
    tally = {arm.arm: arm for arm in place.store.tally(campaign).arms}
    assert (tally["B"].scores.n, tally["B"].scores.mean) == (1, 1.0)
    assert tally["B"].later_scores.n == 1
    assert "A" not in tally or tally["A"].scores.n == 0


async def test_feedback_is_what_ends_a_campaign(place: Place) -> None:
    campaign = place.campaign("test", "helpful")
    for number in range(400):
        model, value = (("fast", number % 20 == 0), ("claude", number % 20 != 0))[number % 2]
        await place.told(
            ab_campaign="test",
            model_service=model,
            user=f"user {number}",
            feedbacks=[{"metric": "helpful", "value": value}],
        )
        if not place.administration.campaigns.find("support", "test").is_active:
            break
    ended = place.administration.campaigns.find("support", campaign)
    assert (ended.status, ended.winner) == ("DONE", "B")


# --- Comparisons ---


async def test_two_completions_are_compared(place: Place) -> None:
    one, other = await place.told(), await place.told()
    for tied in (None, "good", "bad"):
        body = {
            "metric": "helpful",
            "preferred_completion": one,
            "other_completion": other,
            "tied": tied,
            "project": "support",
            "user_id": HOSTILE_UUID,
        }
        added = await place.call("POST", "/comparison", body)
        newest = place.store.list_comparisons(place.kept(one).project_id)[0]
        assert (newest.id, newest.tied, newest.user) == (added["comparison_id"], tied, HOSTILE_UUID)
        assert (newest.preferred_id, newest.other_id) == (one, other)


def of_texts(**fields: Any) -> dict[str, Any]:
    return {
        "metric": "helpful",
        "project": "support",
        "messages": [{"role": "user", "content": "Which?"}],
        "preferred_completion": {"text": "This.", "model": "fast"},
        "other_completion": {"text": "That.", "model": "elsewhere-1"},
        **fields,
    }


async def test_texts_that_are_compared_become_interactions(place: Place) -> None:
    sent = {"headers": {"idempotency-key": "k"}}
    added = await place.call("POST", "/comparison", of_texts(), **sent)
    assert await place.call("POST", "/comparison", of_texts(), **sent) == added
    rows = (await place.call("GET", "/interactions"))["data"]
    assert sorted((row["completion"]["content"], row["model"]) for row in rows) == [
        ("That.", "elsewhere-1"),
        ("This.", "gpt"),
    ]
    assert {row["source"] for row in rows} == {"import"}
    assert len({row["session_id"] for row in rows}) == 1
    (kept,) = place.store.list_comparisons(place.kept(rows[0]["completion_id"]).project_id)
    assert place.kept(kept.preferred_id).attached == "fast"
    await place.refusal(409, "POST", "/comparison", of_texts(tied="bad"), **sent)


async def test_a_text_may_be_compared_with_a_completion(place: Place) -> None:
    kept = await place.told()
    await place.call("POST", "/comparison", of_texts(other_completion=kept))
    assert len((await place.call("GET", "/interactions"))["data"]) == 2


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"messages": None}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "user"}, {"role": "no"}]}, "messages[1].role"),
        ({"preferred_completion": "7"}, "preferred_completion"),
        ({"other_completion": {"text": "x"}}, "other_completion.model"),
        ({"other_completion": {"text": "x", "model": ""}}, "other_completion.model"),
        ({"tied": "ugly"}, "tied"),
        ({"project": None}, "project"),
        ({"metric": None}, "metric"),
        ({"metric": "tokens"}, "metric"),
    ],
)
async def test_comparisons_that_cannot_be_are_refused_by_name(
    place: Place, fields: dict[str, Any], param: str
) -> None:
    assert (await place.refusal(400, "POST", "/comparison", of_texts(**fields)))[0] == param
    assert (await place.call("GET", "/interactions"))["data"] == []


async def test_a_completion_is_not_compared_with_itself_or_with_strangers(place: Place) -> None:
    place.project("sales")
    one = await place.told()
    body = of_texts(preferred_completion=one, other_completion=one.upper(), messages=None)
    assert (await place.refusal(400, "POST", "/comparison", body))[0] == "other_completion"
    elsewhere = await place.told(project="sales")
    for stranger in (elsewhere, some_uuid()):
        body = of_texts(preferred_completion=one, other_completion=stranger, messages=None)
        param, message = await place.refusal(404, "POST", "/comparison", body)
        assert (param, "EntityNotFound: completion" in message) == ("other_completion", True)
    other = place.key(account_id=place.account("other"))
    await place.refusal(403, "POST", "/comparison", of_texts(), key=other)


async def test_a_comparison_that_fails_leaves_no_texts_behind(place: Place) -> None:
    body = of_texts(other_completion=some_uuid())
    await place.refusal(404, "POST", "/comparison", body)
    assert (await place.call("GET", "/interactions"))["data"] == []


async def test_a_comparison_counts_in_its_campaign(place: Place) -> None:
    campaign = place.campaign("test", "helpful", "comparison")
    one = await place.told(ab_campaign="test", model_service="fast")
    other = await place.told(ab_campaign="test", model_service="claude")
    body = of_texts(preferred_completion=other, other_completion=one, user_id="ada")
    await place.call("POST", "/comparison", body)
    await place.call("POST", "/comparison", {**body, "tied": "good", "user_id": "bob"})
    (pair,) = place.store.tally(campaign).pairs
    assert (pair.first, pair.second) == ("A", "B")
    assert (pair.wins, pair.losses, pair.ties) == (0, 1, 1)


# --- Outcomes ---


async def test_a_session_has_an_outcome(place: Place) -> None:
    session = some_uuid()
    completion_id = await place.told(session_id=session)
    body = {
        "project_id": "support",
        "metric": "score",
        "value": 7,
        "session_id": session,
        "user_id": HOSTILE_UUID,
    }
    sent = {"headers": {"idempotency-key": "k"}}
    added = await place.call("POST", "/outcome", body, **sent)
    assert await place.call("POST", "/outcome", body, **sent) == added
    (kept,) = place.store.list_outcomes(place.kept(completion_id).project_id, session_id=session)
    assert (kept.id, kept.value, kept.user) == (added["outcome_id"], 7.0, HOSTILE_UUID)
    await place.refusal(409, "POST", "/outcome", {**body, "value": 8}, **sent)


async def test_an_outcome_needs_a_session_of_the_project(place: Place) -> None:
    place.project("sales")
    place.metric("score", project="sales", kind="scalar")
    session = some_uuid()
    await place.told(session_id=session)
    body = {"project_id": "sales", "metric": "score", "value": 7, "session_id": session}
    param, message = await place.refusal(404, "POST", "/outcome", body)
    assert (param, message.startswith("EntityNotFound: session")) == ("session_id", True)
    for fields, param in (
        ({"session_id": "7"}, "session_id"),
        ({"project_id": None}, "project_id"),
        ({"project_id": "support", "value": True}, "value"),
        ({"project_id": "support", "project": "sales"}, "project_id"),
    ):
        assert (await place.refusal(400, "POST", "/outcome", {**body, **fields}))[0] == param


# --- All of them ---


async def test_keys_and_methods_are_checked_first(place: Place) -> None:
    for path in ("/feedback", "/comparison", "/outcome"):
        assert (await place.ask("POST", path, {}, key="wrong")).status_code == 401
        assert (await place.ask("GET", path)).status_code == 405
        assert (await place.ask("POST", path, content=b"[")).status_code == 400
        answer = await place.ask("POST", path, content=b"x" * ((1 << 20) + 1))
        assert answer.status_code == 413


async def test_archived_projects_take_feedback_but_nothing_new(place: Place) -> None:
    completion_id = await place.told()
    place.administration.projects.archive("support")
    body = {"completion_id": completion_id, "metric": "helpful", "value": 1}
    await place.call("POST", "/feedback", body)
    await place.refusal(404, "POST", "/comparison", of_texts())
    await place.refusal(404, "POST", "/interactions", interaction())
