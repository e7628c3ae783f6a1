"""Interactions, as administrators see, export, delete and erase them."""

from __future__ import annotations

import msgspec
import pytest
from tests.policy.administration.conftest import actions, refused

from dragoman.chat import Usage
from dragoman.errors import InvalidRequest, UnknownEntity
from dragoman.policy.administration import (
    AccountWish,
    Administration,
    AttachedModelWish,
    ProjectWish,
)
from dragoman.policy.interactions.questions import InteractionQuestion
from dragoman.records.account import DEFAULT_ACCOUNT
from dragoman.records.interaction import Interaction, InteractionContent
from dragoman.records.project import Project
from dragoman.stores import Store

IDS = tuple(f"6f9f2c1e-0000-4000-8000-00000000000{n}" for n in range(1, 6))


@pytest.fixture
def shop(administration: Administration) -> Project:
    models = (AttachedModelWish(model="small"),)
    return administration.projects.create(ProjectWish(key="shop", models=models))[0]


def keep(store: Store, project: Project, number: int, user: str | None = None) -> Interaction:
    words = msgspec.json.encode([{"role": "user", "content": f"question {number}"}])
    answer = msgspec.json.encode({"role": "assistant", "content": f"answer {number}"})
    interaction = Interaction(
        completion_id=IDS[number],
        request_id=f"req_{number}",
        project_id=project.id,
        account_id=project.account_id,
        created_s=1_700_000_000.0 + number,
        session_id=IDS[0],
        user=user,
        attached="small",
        model="small",
        labels=(("team", "a"),),
        usage=Usage(input_tokens=3, output_tokens=4),
        content=InteractionContent(
            messages=msgspec.Raw(words), completion=msgspec.Raw(answer), system_prompt="Be brief."
        ),
    )
    store.add_interaction(interaction)
    return interaction


def test_interactions_come_in_pages_newest_first(
    store: Store, administration: Administration, shop: Project
) -> None:
    for number in range(5):
        keep(store, shop, number)
    first = administration.interactions.page(InteractionQuestion(), limit=3)
    assert [row.completion_id for row in first.rows] == list(IDS[:1:-1])
    assert first.before is not None
    second = administration.interactions.page(
        InteractionQuestion(project="shop"), limit=3, before=first.before, with_content=False
    )
    assert [row.completion_id for row in second.rows] == list(IDS[1::-1])
    assert [row.has_content for row in second.rows] == [False, False]
    row = first.rows[0]
    assert (row.project, row.input_tokens, row.labels) == ("shop", 3, {"team": "a"})
    assert msgspec.json.decode(row.completion or b"") == {
        "role": "assistant",
        "content": "answer 4",
    }


def test_questions_are_by_name_and_within_an_account(
    store: Store, administration: Administration, shop: Project
) -> None:
    account, _ = administration.accounts.create(AccountWish(name="other"))
    theirs, _ = administration.projects.create(ProjectWish(key="theirs", account_id=account.id))
    keep(store, shop, 1, user="ann")
    keep(store, theirs, 2)

    def found(account_id: str | None = None, **fields: object) -> list[str]:
        question = msgspec.structs.replace(InteractionQuestion(), **fields)
        page = administration.interactions.page(question, account_id=account_id)
        return [row.completion_id for row in page.rows]

    assert found() == [IDS[2], IDS[1]]
    assert found(account.id) == [IDS[2]]
    assert found(project="shop", user="ann", labels=("team:a",)) == [IDS[1]]
    assert found(model="s") == [IDS[2], IDS[1]]
    assert found(status="failed") == []
    for fields, account_id in (
        ({"project": "none"}, None),
        ({"project": "shop"}, account.id),
        ({}, "acct_none"),
        ({"metric": "none"}, None),
        ({"campaign": "none"}, None),
    ):
        with pytest.raises(UnknownEntity):
            found(account_id, **fields)
    with pytest.raises(InvalidRequest) as error:
        found(user="x" * 600)
    assert refused(error) == "user"


def test_one_interaction_is_found_and_deleted(
    store: Store, administration: Administration, shop: Project
) -> None:
    keep(store, shop, 1)
    assert administration.interactions.find(IDS[1].upper()).completion_id == IDS[1]
    administration.interactions.delete(IDS[1])
    for gone in (administration.interactions.find, administration.interactions.delete):
        with pytest.raises(UnknownEntity, match="does not exist"):
            gone(IDS[1])
    event = administration.audit()[0][1]
    assert (event.action, event.subject) == ("interaction.delete", IDS[1])
    assert b"question" not in bytes(event.detail)


def test_an_archived_projects_interactions_are_still_there(
    store: Store, administration: Administration, shop: Project
) -> None:
    keep(store, shop, 1)
    administration.projects.archive("shop")
    question = InteractionQuestion(project="shop")
    assert len(administration.interactions.page(question).rows) == 1


def test_an_export_is_what_fine_tuning_reads(
    store: Store, administration: Administration, shop: Project
) -> None:
    for number in range(3):
        keep(store, shop, number)
    lines = b"".join(administration.interactions.export(InteractionQuestion(), "chat")).splitlines()
    assert len(lines) == 3
    assert msgspec.json.decode(lines[0]) == {
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "question 0"},
            {"role": "assistant", "content": "answer 0"},
        ]
    }
    full = b"".join(administration.interactions.export(InteractionQuestion(), "full")).splitlines()
    assert msgspec.json.decode(full[2])["completion_id"] == IDS[2]
    with pytest.raises(UnknownEntity):
        administration.interactions.export(InteractionQuestion(project="none"), "chat")


def test_a_user_is_erased_and_named_nowhere(
    store: Store, administration: Administration, shop: Project
) -> None:
    keep(store, shop, 1, user="ann@x.org")
    keep(store, shop, 2, user="bob@x.org")
    erasure = administration.interactions.erase_user(DEFAULT_ACCOUNT, "ann@x.org")
    assert erasure.interactions == 1
    again = administration.interactions.erase_user(DEFAULT_ACCOUNT, "ann@x.org")
    assert again.interactions == 0
    page = administration.interactions.page(InteractionQuestion())
    assert [row.user for row in page.rows] == ["bob@x.org"]
    assert actions(administration)[-2:] == ["user.erase", "user.erase"]
    told = [msgspec.json.decode(event.detail) for _, event in administration.audit(limit=2)]
    # Who knows the user can tell that it was the same one; the log itself names nobody.
    assert told[0]["user_digest"] == told[1]["user_digest"]
    assert "ann" not in str(told)
    administration.interactions.erase_user(DEFAULT_ACCOUNT, "bob@x.org")
    other = msgspec.json.decode(administration.audit(limit=1)[0][1].detail)
    assert other["user_digest"] != told[0]["user_digest"]


@pytest.mark.parametrize(("account", "user"), [("acct_none", "ann"), (DEFAULT_ACCOUNT, "")])
def test_nobody_is_erased_by_mistake(
    administration: Administration, account: str, user: str
) -> None:
    with pytest.raises((UnknownEntity, InvalidRequest)):
        administration.interactions.erase_user(account, user)
    assert actions(administration) == []
