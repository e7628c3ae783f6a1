"""Rows of what was asked of a project, and of what it answered."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from tests.policy.project_books import attached, campaign, project

from dragoman.chat import (
    ChatRequest,
    ChatResponse,
    Choice,
    Image,
    Message,
    RequestContext,
    Text,
    Usage,
)
from dragoman.policy.interactions.keeping import Conversation
from dragoman.policy.interactions.transcript import MAX_CONTENT_BYTES
from dragoman.policy.projects import Entry, Route
from dragoman.records.account import AccountId
from dragoman.records.campaign import Arm
from dragoman.records.interaction import Interaction
from dragoman.records.key import KeyId
from dragoman.records.model import Model
from dragoman.records.project import ContentRules, RedactionRule
from dragoman.records.tool_server import ToolCallRecord
from dragoman.records.usage_record import UsageRecord

SHOP = project(
    "shop", attached("fast", "gpt"), attached("slow", "claude"), attached("gone", "llama")
)
SPRING = campaign(
    Arm(key="A", model="fast"), Arm(key="B", model="slow"), Arm(key="C", model="nowhere")
)
RECORD = UsageRecord(
    request_id="req_1",
    account_id=AccountId("acct_a"),
    key_id=KeyId("key_1"),
    dialect="studio",
    model="gpt",
    usage=Usage(input_tokens=2, output_tokens=1),
    started_s=5.0,
    status="ok",
    finish_reason="stop",
)


def route(**fields: Any) -> Route:
    values: dict[str, Any] = {
        "project": SHOP,
        "attached": SHOP.models[0],
        "model": Model(id="gpt", provider="p", upstream_name="gpt"),
        **fields,
    }
    return Route(**values)


def request(*messages: Message, **fields: Any) -> ChatRequest:
    return ChatRequest(
        dialect="openai",
        target="shop",
        messages=messages or (Message("user", (Text("hi"),)),),
        **fields,
    )


def rows(
    asked: ChatRequest, answer: str = "hello", by: Route | None = None, **record: Any
) -> tuple[Interaction, ...]:
    conversation = Conversation(by or route(), asked)
    conversation.completion_ids = ("c1", "c2")
    conversation.session_id = "s"
    choice = Choice(parts=(Text(answer),), finish_reason="stop")
    conversation.take(ChatResponse(choices=(choice,), usage=RECORD.usage))
    return conversation.keep()(msgspec.structs.replace(RECORD, **record))


def messages_of(row: Interaction) -> Any:
    assert row.content is not None
    return json.loads(bytes(row.content.messages))


@pytest.mark.parametrize(
    ("arm", "attached_key", "model", "answered", "served"),
    [
        ("A", "fast", "gpt", "gpt", "A"),
        ("A", "fast", "gpt", "claude", "B"),
        ("A", "fast", "gpt", "llama", None),
        ("A", "fast", "gpt", None, None),
        ("B", "slow", "claude", "gpt", "A"),
        # The arm's model is not attached any more: the default one answered.
        ("C", "gone", "llama", "llama", None),
        ("C", "fast", "gpt", "gpt", "A"),
    ],
)
def test_the_arm_that_answered_is_kept_beside_the_one_that_was_meant(
    arm: str, attached_key: str, model: str, answered: str | None, served: str | None
) -> None:
    meant = SPRING.arm(arm)
    chosen = SHOP.attached(attached_key)
    assert meant is not None
    assert chosen is not None
    by = route(
        attached=chosen,
        model=Model(id=model, provider="p", upstream_name=model),
        entry=Entry(campaign=SPRING, unit="user:u", arm=meant, by="split"),
    )
    (row,) = rows(request(), by=by, model=answered)
    assert (row.arm, row.served_arm, row.unit) == (arm, served, "user:u")
    assert (row.campaign_id, row.entered_by) == (SPRING.id, "split")


def test_outside_a_campaign_there_is_no_arm() -> None:
    (row,) = rows(request())
    assert (row.campaign_id, row.arm, row.served_arm, row.unit) == (None, None, None, None)


def test_metadata_of_other_dialects_is_kept_as_labels_as_far_as_it_is_short() -> None:
    given = {"a": "1", "b": "x" * 513, "c" * 513: "2", "d": "3"}
    context = RequestContext(metadata=msgspec.Raw(json.dumps(given).encode()))
    (row,) = rows(request(context=context))
    assert row.labels == (("a", "1"), ("d", "3"))
    many = {str(number): "x" for number in range(100)}
    context = RequestContext(metadata=msgspec.Raw(json.dumps(many).encode()))
    assert len(rows(request(context=context))[0].labels) == 64
    for odd in (b"[1]", b'{"a":1}', b"\xff"):
        context = RequestContext(metadata=msgspec.Raw(odd))
        assert rows(request(context=context))[0].labels == ()
    assert rows(request(context=context), labels=(("own", "1"),))[0].labels == (("own", "1"),)


def test_the_user_is_kept_whole_so_that_it_can_be_forgotten() -> None:
    (row,) = rows(request(context=RequestContext(user="u" * 1000)), user="u" * 200)
    assert row.user == "u" * 1000


def test_of_a_large_conversation_images_are_described_and_of_a_larger_one_nothing_is_kept() -> None:
    image = Image(data="A" * MAX_CONTENT_BYTES, media_type="image/png")
    (row,) = rows(request(Message("user", (image, Text("what?")))))
    assert messages_of(row)[0]["content"] == [
        {"type": "text", "text": f"[image image/png, {MAX_CONTENT_BYTES} characters, not kept]"},
        {"type": "text", "text": "what?"},
    ]
    (row,) = rows(request(Message("user", (Text("x" * MAX_CONTENT_BYTES),))))
    assert row.content is None
    (row,) = rows(request(system_prompt="y" * (MAX_CONTENT_BYTES - 10)))
    assert row.content is None


def test_calls_of_server_side_tools_are_kept_and_redacted() -> None:
    shop = msgspec.structs.replace(
        SHOP, content=ContentRules(redact=(RedactionRule(kind="email"),))
    )
    conversation = Conversation(route(project=shop), request())
    conversation.completion_ids = ("c1",)
    conversation.begin()
    conversation.tool_calls.append(
        ToolCallRecord(round=1, tool="t/look", arguments='{"who":"a@b.example"}', result="found")
    )
    (row,) = conversation.keep()(RECORD)
    assert row.content is not None
    (call,) = row.content.tool_calls
    assert (call.arguments, call.result) == ('{"who":"[email]"}', "found")
    assert row.content.completion is None


def test_what_is_kept_does_not_hold_the_body_in_memory() -> None:
    body = b'{"system_prompt_args": {"a": 1}}'
    wire = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    context = RequestContext(system_prompt_args=wire["system_prompt_args"])
    (row,) = rows(request(context=context))
    assert row.content is not None
    assert bytes(row.content.arguments or b"") == b'{"a": 1}'
    assert row.content.arguments is not wire["system_prompt_args"]
