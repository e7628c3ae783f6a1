"""The admin API's routes of interactions, and the erasure of a user."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import msgspec
import pytest
from tests.policy.administration.test_interactions import IDS, keep
from tests.web.admin.conftest import Office

from dragoman.policy.administration import AttachedModelWish, ProjectWish
from dragoman.records.project import Project


@pytest.fixture
def shop(office: Office) -> Project:
    wish = ProjectWish(key="shop", models=(AttachedModelWish(model="small"),))
    return office.administration.projects.create(wish)[0]


async def listed(office: Office, query: str = "") -> list[Any]:
    return list((await office.json("GET", f"/interactions{query}"))["data"])


async def test_interactions_are_listed_in_pages(office: Office, shop: Project) -> None:
    for number in range(5):
        keep(office.store, shop, number)
    first = await office.json("GET", "/interactions?limit=3&content=false")
    assert [row["completion_id"] for row in first["data"]] == list(IDS[:1:-1])
    assert first["data"][0]["messages"] is None
    rest = await office.json("GET", f"/interactions?limit=3&cursor={first['next_cursor']}")
    assert [row["completion_id"] for row in rest["data"]] == list(IDS[1::-1])
    assert rest["next_cursor"] is None
    assert rest["data"][0]["messages"] == [{"role": "user", "content": "question 1"}]


async def test_filters_hold_all_together(office: Office, shop: Project) -> None:
    keep(office.store, shop, 1, user="ann")
    keep(office.store, shop, 2, user="bob")
    assert len(await listed(office, "?project=shop&label=team:a&label=team")) == 2
    assert len(await listed(office, "?user=bob&model=small&source=completion&status=ok")) == 1
    assert await listed(office, "?label=team:a&label=other") == []
    assert await listed(office, "?tag=x&tag=y") == []
    assert len(await listed(office, "?from=2023-11-14T22:13:22Z")) == 1
    for query, status, param in (
        ("?project=none", 404, "project"),
        ("?account_id=acct_none", 404, "account_id"),
        ("?usr=bob", 400, "usr"),
        ("?user=a&user=b", 400, "user"),
        ("?from=2023-11-14T22:13:22", 400, "from"),
        ("?status=fine", 400, "status"),
        ("?label=:x", 400, "label"),
        ("?cursor=nonsense", 400, "cursor"),
        ("?limit=0", 400, "limit"),
    ):
        error = (await office.call("GET", f"/interactions{query}", expect=status)).json()["error"]
        assert error["param"] == param, error


async def test_one_is_shown_and_deleted(office: Office, shop: Project) -> None:
    keep(office.store, shop, 1)
    row = await office.json("GET", f"/interactions/{IDS[1]}")
    assert (row["project"], row["system_prompt"]) == ("shop", "Be brief.")
    await office.call("DELETE", f"/interactions/{IDS[1]}", expect=204)
    await office.call("GET", f"/interactions/{IDS[1]}", expect=404)
    await office.call("DELETE", f"/interactions/{IDS[1]}", expect=404)


async def test_all_are_exported_as_lines(office: Office, shop: Project) -> None:
    for number in range(3):
        keep(office.store, shop, number)
    chat = await office.call("GET", "/interactions/export", expect=200)
    assert chat.headers["content-type"].startswith("application/jsonl")
    lines = [msgspec.json.decode(line) for line in chat.content.splitlines()]
    assert [line["messages"][-1]["content"] for line in lines] == [f"answer {n}" for n in range(3)]
    full = await office.call("GET", "/interactions/export?format=full&user=nobody", expect=200)
    assert full.content == b""
    await office.call("GET", "/interactions/export?project=none", expect=404)
    await office.call("GET", "/interactions/export?format=csv", expect=400)


@pytest.mark.parametrize("user", ["ann@x.org", "a/b", "a/", "/a", "a//b", "ä €", "100%", "..x"])
async def test_exactly_the_user_who_is_named_is_erased(
    office: Office, shop: Project, user: str
) -> None:
    others = [name for name in ("a", "a/b", "ann@x.org") if name != user]
    for number, name in enumerate([user, *others]):
        keep(office.store, shop, number, user=name)
    path = f"/accounts/acct_default/users/{quote(user, safe='')}"
    assert (await office.json("DELETE", path))["interactions"] == 1
    assert {row["user"] for row in await listed(office)} == set(others)
    assert (await office.json("DELETE", path))["interactions"] == 0


async def test_an_erasure_names_an_account(office: Office) -> None:
    await office.call("DELETE", "/accounts/acct_none/users/ann", expect=404)
