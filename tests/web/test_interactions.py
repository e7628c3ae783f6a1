"""Conversations are told of, found, taken away and deleted by those who may, and by nobody else."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.stores.kept_interactions import content, sample
from tests.web.conversing import HOSTILE_UUID, NOW_S, Place, interaction, open_place, some_uuid

from dragoman.policy.administration.project_wishes import ContentWish, ProjectChange, RedactionWish


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    async with open_place(tmp_path) as place:
        yield place


def lines_of(*bodies: dict[str, Any]) -> bytes:
    return b"\n".join(json.dumps(body).encode() for body in bodies)


LINES = {"content-type": "application/jsonl; charset=utf-8"}

# --- Telling ---


async def test_everything_that_is_told_is_kept(place: Place) -> None:
    session, completion = some_uuid(), some_uuid()
    added = await place.call(
        "POST",
        "/interactions",
        {
            "project": "support",
            "model_service": "claude",
            "messages": [
                {"role": "system", "content": "Be kind."},
                {
                    "role": "user",
                    "content": [
                        {"type": "text", "text": "What is this?"},
                        {"type": "image_url", "image_url": "data:image/png;base64,QUJD"},
                    ],
                    "name": "ada",
                    "completion_id": some_uuid(),
                    "metadata": {"n": 1},
                },
            ],
            "completion": "A parcel.",
            "feedbacks": [
                {"metric": "helpful", "value": True, "reason": "short", "details": "and right"},
                {"metric": "score", "value": 0.5, "created_at": "2026-01-02T03:04:05Z"},
            ],
            "user": HOSTILE_UUID,
            "session_id": session,
            "completion_id": completion,
            "created_at": "2026-11-22T18:00:00+01:00",
            "labels": {"team": "a"},
            "metadata": {"team": "b", "run": "7"},
            "tags": ["x", "y"],
            "tools": [{"type": "function", "function": {"name": "look"}}],
        },
    )
    assert (added["completion_id"], added["session_id"]) == (completion, session)
    assert len(set(added["feedback_ids"])) == 2
    row = await place.call("GET", f"/interactions/{completion.upper()}")
    assert row["created_at"] == "2026-11-22T17:00:00Z"
    assert (row["project"], row["source"], row["status"]) == ("support", "import", "ok")
    assert (row["attached_model"], row["model"], row["user"]) == ("claude", "claude", HOSTILE_UUID)
    assert (row["labels"], row["tags"]) == ({"team": "a", "run": "7"}, ["x", "y"])
    assert row["messages"][1]["content"][1] == {
        "type": "image_url",
        "image_url": {"url": "data:image/png;base64,QUJD"},
    }
    assert row["messages"][1]["metadata"] == {"n": 1}
    assert row["completion"] == {"role": "assistant", "content": "A parcel."}
    assert row["tools"][0]["function"]["name"] == "look"
    assert [
        (each["metric"], each["value"], each["reason"], each["details"], each["created_at"])
        for each in row["feedback"]
    ] == [
        ("helpful", 1.0, "short", "and right", "2026-11-22T17:00:00Z"),
        ("score", 0.5, None, None, "2026-01-02T03:04:05Z"),
    ]


@pytest.mark.parametrize(
    ("model", "attached", "known"),
    [
        ("fast", "fast", "gpt"),
        ("support/fast", "fast", "gpt"),
        ("gpt-alias", None, "gpt"),
        ("someone-elses-model", None, "someone-elses-model"),
        (None, None, None),
    ],
)
async def test_models_are_named_as_they_are_told(
    place: Place, model: str | None, attached: str | None, known: str | None
) -> None:
    kept = place.kept(await place.told(model_service=model))
    assert (kept.attached, kept.model) == (attached, known)


@pytest.mark.parametrize(
    ("told", "seconds"),
    [
        ("2026-11-22T18:00:00Z", 1795370400.0),
        ("2026-11-22T18:00:00", 1795370400.0),
        ("2026-11-22", 1795305600.0),
        ("1795370400", 1795370400.0),
        (1795370400123, 1795370400.123),
        ("1795370400123", 1795370400.123),
        (1795370400.5, 1795370400.5),
        (None, NOW_S),
    ],
)
async def test_moments_are_taken_in_every_usual_form(
    place: Place, told: object, seconds: float
) -> None:
    assert place.kept(await place.told(created_at=told)).created_s == seconds


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "ghost", "content": "x"}]}, "messages[0].role"),
        ({"messages": None}, "messages"),
        ({"completion": None}, "completion"),
        ({"completion": 7}, "completion"),
        ({"project": None}, "project"),
        ({"project": ""}, "project"),
        ({"completion_id": "7"}, "completion_id"),
        ({"session_id": "7"}, "session_id"),
        ({"user": ""}, "user"),
        ({"user": "x" * 5000}, "user"),
        ({"created_at": "yesterday"}, "created_at"),
        ({"created_at": "1950-01-01"}, "created_at"),
        ({"created_at": NOW_S + 1e6}, "created_at"),
        ({"created_at": 10**400}, "created_at"),
        ({"created_at": True}, "created_at"),
        ({"labels": {"a": 1}}, "labels.a"),
        ({"tags": ["x" * 600]}, "tags"),
        ({"model_service": ""}, "model_service"),
        ({"tools": [{"type": "function"}]}, "tools[0].function"),
        ({"feedbacks": [{"value": 1}]}, "feedbacks[0].metric"),
        ({"feedbacks": [{"metric": "helpful"}]}, "feedbacks[0].value"),
        ({"feedbacks": [{"metric": "helpful", "value": 2}]}, "feedbacks[0].value"),
        ({"feedbacks": [{"metric": "cost", "value": 2}]}, "metric"),
        ({"feedbacks": [{"metric": "helpful", "value": 1}] * 65}, "feedbacks"),
    ],
)
async def test_what_breaks_a_rule_is_refused_by_name(
    place: Place, fields: dict[str, Any], param: str
) -> None:
    assert (await place.refusal(400, "POST", "/interactions", interaction(**fields)))[0] == param
    assert (await place.call("GET", "/interactions"))["data"] == []


async def test_unknown_things_are_named_as_the_vendors_client_expects(place: Place) -> None:
    for fields, said in (
        ({"project": "none"}, "EntityNotFound: project"),
        ({"ab_campaign": "none"}, "EntityNotFound: ab_campaign"),
        ({"feedbacks": [{"metric": "none", "value": 1}]}, "EntityNotFound: metric"),
    ):
        _, message = await place.refusal(404, "POST", "/interactions", interaction(**fields))
        assert message.startswith(said)
    place.administration.projects.archive("support")
    _, message = await place.refusal(404, "POST", "/interactions", interaction())
    assert "archived" in message


async def test_a_body_is_json_of_bounded_size(tmp_path: Path) -> None:
    async with open_place(tmp_path, max_body_bytes=500) as place:
        answer = await place.ask("POST", "/interactions", content=b"{")
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "malformed_body")
        answer = await place.ask("POST", "/interactions", content=b"x" * 501)
        assert answer.status_code == 413


async def test_fields_that_nobody_knows_are_ignored_and_named(place: Place) -> None:
    answer = await place.ask("POST", "/interactions", interaction(colour="red"))
    assert (answer.status_code, answer.headers["x-dragoman-ignored"]) == (200, "colour")


async def test_the_last_message_may_be_the_answer(place: Place) -> None:
    messages = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}]
    kept = place.kept(await place.told(messages=messages, completion=None))
    assert kept.content is not None
    assert kept.content.completion is not None
    assert msgspec.json.decode(kept.content.messages) == messages[:1]
    assert msgspec.json.decode(kept.content.completion) == messages[1]
    param, _ = await place.refusal(
        400, "POST", "/interactions", interaction(messages=messages[1:], completion=None)
    )
    assert param == "messages"


async def test_rules_of_the_project_hold_for_what_is_told(place: Place) -> None:
    redact = ContentWish(redact=(RedactionWish(kind="email"),))
    place.administration.projects.change("support", ProjectChange(content=redact))
    completion_id = await place.told(
        text="I am a@b.example",
        completion="Hello a@b.example",
        feedbacks=[{"metric": "helpful", "value": 1, "reason": "for a@b.example"}],
    )
    row = await place.call("GET", f"/interactions/{completion_id}")
    assert "a@b.example" not in json.dumps(row)
    assert row["feedback"][0]["reason"] == "for [email]"
    off = ContentWish(is_stored=False)
    place.administration.projects.change("support", ProjectChange(content=off))
    row = await place.call("GET", f"/interactions/{await place.told()}")
    assert (row["has_content"], row["messages"], row["completion"]) == (False, None, None)


# --- Telling again ---


async def test_the_same_id_with_the_same_words_is_kept_once(place: Place) -> None:
    body = interaction(
        completion_id=some_uuid(), feedbacks=[{"metric": "helpful", "value": 1}], tags=["a"]
    )
    first = await place.call("POST", "/interactions", body)
    place.clock.now_s += 60
    assert await place.call("POST", "/interactions", body) == first
    assert len((await place.call("GET", "/interactions"))["data"]) == 1
    changes: tuple[dict[str, Any], ...] = (
        {"completion": "Other."},
        {"tags": []},
        {"session_id": some_uuid()},
        {"feedbacks": [{"metric": "helpful", "value": 0}]},
        {"created_at": NOW_S - 5},
    )
    for changed in changes:
        param, _ = await place.refusal(409, "POST", "/interactions", {**body, **changed})
        assert param == "completion_id"


async def test_an_idempotency_key_makes_the_same_ids(place: Place) -> None:
    sent = {"headers": {"idempotency-key": "one"}}
    body = interaction(feedbacks=[{"metric": "score", "value": 3}])
    first = await place.call("POST", "/interactions", body, **sent)
    assert await place.call("POST", "/interactions", body, **sent) == first
    assert len((await place.call("GET", "/interactions"))["data"]) == 1
    await place.refusal(409, "POST", "/interactions", interaction("Other?"), **sent)
    other = place.key(account_id=place.account("other"))
    place.project("theirs", account_id="acct_other")
    theirs = await place.call(
        "POST", "/interactions", interaction(project="theirs"), key=other, **sent
    )
    assert theirs["completion_id"] != first["completion_id"]


async def test_who_sends_the_same_twice_at_once_is_answered_twice_the_same(place: Place) -> None:
    body = interaction(completion_id=some_uuid())
    answers = await asyncio.gather(*(place.call("POST", "/interactions", body) for _ in range(4)))
    assert answers == [answers[0]] * 4


async def test_an_id_of_another_account_is_taken_and_says_no_more(place: Place) -> None:
    other = place.key(account_id=place.account("other"))
    place.project("theirs", account_id="acct_other")
    body = interaction(completion_id=some_uuid())
    await place.call("POST", "/interactions", body)
    _, message = await place.refusal(
        409, "POST", "/interactions", {**body, "project": "theirs"}, key=other
    )
    assert "support" not in message


# --- Lines ---


async def test_lines_are_all_imported(place: Place) -> None:
    body = lines_of(interaction("one"), interaction("two", project=None)) + b"\n\n  \n"
    answer = await place.ask("POST", "/interactions?project=support", content=body, headers=LINES)
    assert answer.status_code == 200, answer.text
    data = answer.json()["data"]
    assert [each["line"] for each in data] == [1, 2]
    row = await place.call("GET", f"/interactions/{data[1]['completion_id']}")
    assert row["messages"][0]["content"] == "two"


async def test_of_lines_at_fault_nothing_is_imported_and_each_is_named(place: Place) -> None:
    same = some_uuid()
    body = lines_of(
        interaction("fine"),
        interaction(labels={"a": 1}),
        interaction(completion_id=same),
    )
    answer = await place.ask(
        "POST", "/interactions", content=body + b"\n{\n" + b"[]", headers=LINES
    )
    error = answer.json()["error"]
    assert (answer.status_code, error["param"]) == (400, "lines[2].labels.a")
    assert "line 2: " in error["message"]
    assert "line 4: " in error["message"]
    assert "line 5: " in error["message"]
    body = lines_of(
        interaction("fine"),
        interaction(feedbacks=[{"metric": "none", "value": 1}]),
        interaction(completion_id=same),
        interaction(completion_id=same),
    )
    answer = await place.ask("POST", "/interactions", content=body, headers=LINES)
    error = answer.json()["error"]
    assert (answer.status_code, error["param"]) == (400, "lines[2].metric")
    assert "line 4: completion_id" in error["message"]
    assert (await place.call("GET", "/interactions"))["data"] == []


@pytest.mark.parametrize("body", [b"", b"\n \n", b"{}\n" * 1001, b"\n" * 500_000])
async def test_lines_are_of_bounded_number(place: Place, body: bytes) -> None:
    answer = await place.ask("POST", "/interactions", content=body, headers=LINES)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"].startswith("lines")


async def test_a_line_that_is_taken_is_a_conflict(place: Place) -> None:
    same = some_uuid()
    await place.told(completion_id=same)
    body = lines_of(interaction("fine"), interaction("other", completion_id=same))
    answer = await place.ask("POST", "/interactions", content=body, headers=LINES)
    assert (answer.status_code, answer.json()["error"]["param"]) == (409, "lines[2].completion_id")
    assert len((await place.call("GET", "/interactions"))["data"]) == 1


# --- Finding ---


async def test_each_filter_finds_what_it_names(place: Place) -> None:
    session = some_uuid()
    wanted = await place.told(
        text="the blue parcel",
        model_service="fast",
        session_id=session,
        user="ada",
        labels={"team": "a:b", "x": "1"},
        tags=["red", "big"],
        created_at=NOW_S - 100,
        feedbacks=[{"metric": "score", "value": 2}],
    )
    await place.told(text="a green letter", model_service="claude", labels={"team": "c"})
    while place.store.index_texts():
        pass
    for query in (
        f"completion_id={wanted}",
        f"session={session}",
        f"session_id={session.upper()}",
        "model=fast",
        "model=gpt",
        "model=gpt-alias",
        "user=ada",
        "label=team:a:b",
        "label=x",
        "label=team&label=x:1",
        "tag=red&tag=big",
        "metric=score",
        "search=parcel+blue",
        'search="blue+parcel"',
        f"to={int(NOW_S) - 50}",
        f"from={int(NOW_S) - 101}&to={int(NOW_S) - 99}",
        "project=support&user=ada&source=import&status=ok",
    ):
        page = await place.call("GET", f"/interactions?{query}")
        assert [row["completion_id"] for row in page["data"]] == [wanted], query
    for query in (
        "user=bob",
        "label=team:a",
        "tag=red&tag=small",
        "search=green+parcel",
        "model=x",
    ):
        assert (await place.call("GET", f"/interactions?{query}"))["data"] == [], query


async def test_pages_follow_one_another(place: Place) -> None:
    told = [await place.told(text=f"number {n}", created_at=NOW_S - n) for n in range(5)]
    found: list[str] = []
    query = "/interactions?limit=2&content=false"
    page = await place.call("GET", query)
    while True:
        found += [row["completion_id"] for row in page["data"]]
        assert all(row["messages"] is None for row in page["data"])
        assert page["has_more"] == (page["next_cursor"] is not None)
        if page["next_cursor"] is None:
            break
        page = await place.call("GET", f"{query}&cursor={page['next_cursor']}")
    assert found == told


async def test_a_question_that_is_too_long_is_told_how_long_it_may_be(place: Place) -> None:
    for query, said in (
        ("search=" + "a" * 600, "search must have at most 500 characters"),
        ("tag=" + "&tag=".join("abcdefghijklmnopqrs"), "tag must have at most 16 entries"),
    ):
        assert (await place.refusal(400, "GET", f"/interactions?{query}"))[1] == said


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("colour=red", "colour"),
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("cursor=nonsense!", "cursor"),
        ("cursor=" + "f" * 300, "cursor"),
        ("status=fine", "status"),
        ("source=dream", "source"),
        ("from=tomorrow", "from"),
        ("from=0001-01-01T00:00:00%2B23:59", "from"),
        ("to=9999-12-31T23:59:59-23:59", "to"),
        ("from=2026-01-02&to=2026-01-01", "from"),
        ("label=:x", "label"),
        ("label=" + "&label=".join("abcdefghijklmnopqrs"), "label"),
        ("session=a&session_id=b", "session_id"),
        ("user=a&user=b", "user"),
        ("content=perhaps", "content"),
        ("format=xml", "format"),
        ("format=jsonl&limit=3", "limit"),
        ("metric=cost", "metric"),
    ],
)
async def test_questions_that_cannot_be_meant_are_refused(
    place: Place, query: str, param: str
) -> None:
    assert (await place.refusal(400, "GET", f"/interactions?{query}"))[0] == param


async def test_unknown_names_in_questions_are_told(place: Place) -> None:
    for query, entity in (
        ("project=x", "project"),
        ("metric=x", "metric"),
        ("campaign=x", "ab_campaign"),
    ):
        _, message = await place.refusal(404, "GET", f"/interactions?{query}")
        assert message.startswith(f"EntityNotFound: {entity}")


async def test_a_name_that_several_projects_have_needs_the_project(place: Place) -> None:
    place.project("sales")
    place.metric("helpful", project="sales")
    param, message = await place.refusal(400, "GET", "/interactions?metric=helpful")
    assert (param, "support" in message, "sales" in message) == ("metric", True, True)
    await place.told(feedbacks=[{"metric": "helpful", "value": 1}])
    page = await place.call("GET", "/interactions?metric=helpful&project=support")
    assert len(page["data"]) == 1


# --- Who may ---


async def test_keys_see_what_their_account_and_scopes_allow(place: Place) -> None:
    place.project("sales")
    mine = await place.told()
    other = place.key(account_id=place.account("other"))
    selling, bound = place.scoped_key("sales"), place.key(project="sales")
    for key in (other, selling, bound):
        assert (await place.call("GET", "/interactions", key=key))["data"] == []
        for method in ("GET", "DELETE"):
            _, message = await place.refusal(404, method, f"/interactions/{mine}", key=key)
            assert message.startswith("EntityNotFound: completion")
        answer = await place.ask("GET", "/interactions?format=jsonl", key=key)
        assert (answer.status_code, answer.content) == (200, b"")
        field, message = await place.refusal(403, "POST", "/interactions", interaction(), key=key)
        assert field == "project"
        assert "support" in message
    added = await place.call("POST", "/interactions", interaction(project=None), key=bound)
    assert (await place.call("GET", f"/interactions/{added['completion_id']}", key=selling))[
        "project"
    ] == "sales"
    assert (await place.ask("GET", "/interactions", key="wrong")).status_code == 401
    assert (await place.ask("PUT", "/interactions")).status_code == 405


async def test_what_an_archived_project_has_is_still_seen(place: Place) -> None:
    completion_id = await place.told()
    place.administration.projects.archive("support")
    assert (await place.call("GET", f"/interactions/{completion_id}"))["project"] == "support"


async def test_one_interaction_is_deleted_and_it_is_on_record(place: Place) -> None:
    completion_id = await place.told(feedbacks=[{"metric": "helpful", "value": 1}])
    other = await place.told()
    gone = await place.call("DELETE", f"/interactions/{completion_id}")
    assert gone == {
        "object": "interaction.deleted",
        "completion_id": completion_id,
        "deleted": True,
    }
    for method in ("GET", "DELETE"):
        await place.refusal(404, method, f"/interactions/{completion_id}")
    assert [row["completion_id"] for row in (await place.call("GET", "/interactions"))["data"]] == [
        other
    ]
    ((_, event),) = place.store.list_events(subject=completion_id)
    assert (event.action, event.actor[:4]) == ("interaction.delete", "key_")


async def test_paths_below_an_interaction_do_not_exist(place: Place) -> None:
    assert (await place.ask("GET", "/interactions/a/b")).status_code == 404


# --- Files ---


def lines(answer: Any) -> list[Any]:
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("application/jsonl")
    return [json.loads(line) for line in answer.content.splitlines()]


async def test_a_file_for_fine_tuning_has_conversations_and_nothing_else(place: Place) -> None:
    project = place.store.list_projects()[0]
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    messages = [
        {"role": "user", "content": "hi", "completion_id": some_uuid(), "metadata": {"a": 1}}
    ]
    whole = content("x")
    rich = msgspec.structs.replace(
        whole,
        messages=msgspec.Raw(json.dumps(messages).encode()),
        completion=msgspec.Raw(
            json.dumps(
                {
                    "role": "assistant",
                    "content": None,
                    "tool_calls": [call],
                    "reasoning_content": "hm",
                }
            ).encode()
        ),
        system_prompt="Be kind.",
        tools=msgspec.Raw(b'[{"type":"function","function":{"name":"f"}}]'),
    )
    changes: tuple[dict[str, Any], ...] = (
        {"content": rich},
        {"content": content("two", answer="second")},
        {"content": None},
        {"content": content("three", answer=None)},
        {"content": content("four"), "status": "failed"},
    )
    for number, changed in enumerate(changes):
        place.store.add_interaction(sample(number, project_id=project.id, **changed))
    answer = await place.ask("GET", "/interactions?format=jsonl")
    assert lines(answer) == [
        {
            "messages": [
                {"role": "system", "content": "Be kind."},
                {"role": "user", "content": "hi"},
                {"role": "assistant", "content": None, "tool_calls": [call]},
            ],
            "tools": [{"type": "function", "function": {"name": "f"}}],
        },
        {
            "messages": [
                {"role": "user", "content": "two"},
                {"role": "assistant", "content": "second"},
            ]
        },
    ]
    accepted = await place.ask("GET", "/interactions", headers={"accept": "application/jsonl"})
    assert accepted.content == answer.content
    full = lines(await place.ask("GET", "/interactions?format=jsonl-full"))
    assert [row["status"] for row in full] == ["ok", "ok", "ok", "ok", "failed"]
    page = await place.call("GET", "/interactions")
    assert full == page["data"][::-1]


async def test_a_file_can_be_read_in_again(place: Place) -> None:
    await place.told(text="one")
    await place.told(text="two", completion="zwei")
    body = (await place.ask("GET", "/interactions?format=jsonl")).content
    again = await place.ask("POST", "/interactions?project=support", content=body, headers=LINES)
    assert again.status_code == 200, again.text
    twice = (await place.ask("GET", "/interactions?format=jsonl")).content
    assert sorted(twice.splitlines()) == sorted(body.splitlines() * 2)


async def test_a_file_has_what_the_filter_names(place: Place) -> None:
    await place.told(text="one", tags=["a"])
    await place.told(text="two", tags=["b"])
    found = lines(await place.ask("GET", "/interactions?format=jsonl&tag=b"))
    assert [line["messages"][0]["content"] for line in found] == ["two"]


async def test_large_files_come_whole(place: Place) -> None:
    project = place.store.list_projects()[0]
    with place.store.atomically():
        for number in range(1200):
            words = content(f"{number} " + "x" * 1000)
            place.store.add_interaction(sample(number, project_id=project.id, content=words))
    found = lines(await place.ask("GET", "/interactions?format=jsonl"))
    numbers = [int(line["messages"][0]["content"].split(" ")[0]) for line in found]
    assert numbers == list(range(1200))


async def test_a_file_may_be_asked_for_without_its_body(place: Place) -> None:
    await place.told()
    answer = await place.ask("HEAD", "/interactions?format=jsonl")
    assert lines(answer) == []


async def test_an_export_of_nothing_is_an_empty_file(place: Place) -> None:
    assert lines(await place.ask("GET", "/interactions?format=jsonl")) == []


# --- Campaigns ---


async def test_what_is_told_into_a_campaign_counts_for_its_models_arm(place: Place) -> None:
    campaign = place.campaign("test", "score")
    completion_id = await place.told(
        ab_campaign="test",
        model_service="claude",
        user="ada",
        feedbacks=[{"metric": "score", "value": 4}, {"metric": "helpful", "value": 1}],
    )
    kept = place.kept(completion_id)
    assert (kept.campaign_id, kept.arm, kept.served_arm) == (campaign, "B", "B")
    assert (kept.unit, kept.entered_by) == ("user:ada", "request")
    tally = {arm.arm: arm for arm in place.store.tally(campaign).arms}
    assert (tally["B"].scores.n, tally["B"].scores.mean) == (1, 4.0)
    page = await place.call("GET", "/interactions?campaign=test&arm=B")
    assert [row["completion_id"] for row in page["data"]] == [completion_id]


async def test_only_a_running_campaign_and_a_model_of_an_arm_count(place: Place) -> None:
    place.campaign("test", "score")
    for model in ("gpt", "stranger", None):
        param, message = await place.refusal(
            400, "POST", "/interactions", interaction(ab_campaign="test", model_service=model)
        )
        assert (param, "'fast'" in message) == ("model_service", True)
    place.administration.campaigns.cancel("support", "test")
    param, _ = await place.refusal(400, "POST", "/interactions", interaction(ab_campaign="test"))
    assert param == "ab_campaign"
