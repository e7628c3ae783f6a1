"""`dragoman keys`."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tests.cli.conftest import Run

from dragoman.policy.keys import hash_secret
from dragoman.stores import open_store


def test_a_created_key_is_told_once_and_kept_hashed(dragoman: Run, data_dir: Path) -> None:
    ran = dragoman("keys", "create", "laptop")
    assert ran.code == 0
    secret = ran.out.strip()
    assert re.fullmatch(r"drg_sk_[A-Za-z0-9]{32}", secret)
    assert "not shown again" in ran.err
    store = open_store(data_dir)
    (key,) = store.list_keys()
    assert (key.name, key.hash) == ("laptop", hash_secret(secret))
    assert secret.encode() not in b"".join(path.read_bytes() for path in data_dir.iterdir())
    store.close()
    assert secret not in dragoman("keys", "list", "--all").out
    assert secret not in dragoman("keys", "list", "--json").out


def test_a_script_gets_json(dragoman: Run) -> None:
    made = dragoman("keys", "create", "ci", "--json").json
    assert set(made) == {"id", "name", "hint", "created", "account", "kind", "secret"}
    (listed,) = dragoman("keys", "list", "--json").json
    assert listed == {name: value for name, value in made.items() if name != "secret"}
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", listed["created"])


def test_a_list_has_one_line_a_key(dragoman: Run) -> None:
    dragoman("keys", "create", "a name [bold]with[/bold] brackets")
    dragoman("keys", "create", "x" * 150)
    lines = dragoman("keys", "list").out.splitlines()
    assert len(lines) == 3
    assert lines[0].split() == [
        "ID",
        "NAME",
        "SECRET",
        "ACCOUNT",
        "CREATED",
        "EXPIRES",
        "LAST",
        "USED",
    ]
    assert "a name [bold]with[/bold] brackets" in lines[1]


def test_an_empty_list_says_what_to_do(dragoman: Run) -> None:
    ran = dragoman("keys", "list")
    assert (ran.code, ran.out) == (0, "")
    assert "dragoman keys create NAME" in ran.err
    assert dragoman("keys", "list", "--json").json == []


@pytest.mark.parametrize("by", ["id", "name"])
def test_a_key_is_revoked_by_id_or_name(dragoman: Run, by: str) -> None:
    made = dragoman("keys", "create", "laptop", "--json").json
    ran = dragoman("keys", "revoke", made[by])
    assert (ran.code, ran.out) == (0, f"Revoked {made['id']} (laptop).\n")
    assert dragoman("keys", "list", "--json").json == []
    (kept,) = dragoman("keys", "list", "--all", "--json").json
    assert kept["revoked"] >= kept["created"]


def test_revoking_twice_or_in_vain_fails_with_1(dragoman: Run) -> None:
    made = dragoman("keys", "create", "laptop", "--json").json
    dragoman("keys", "revoke", made["id"])
    again = dragoman("keys", "revoke", made["id"])
    assert again.code == 1
    assert f"{made['id']} was revoked already, on 20" in again.err
    vain = dragoman("keys", "revoke", "nobody")
    assert vain.code == 1
    assert "there is no key 'nobody'; see: dragoman keys list" in vain.err


def test_a_name_that_two_keys_have_revokes_neither(dragoman: Run) -> None:
    ids = [dragoman("keys", "create", "twin", "--json").json["id"] for _ in range(2)]
    ran = dragoman("keys", "revoke", "twin")
    assert ran.code == 1
    assert all(key_id in ran.err for key_id in ids)
    assert len(dragoman("keys", "list", "--json").json) == 2


def test_one_wrong_name_among_several_revokes_none(dragoman: Run) -> None:
    made = dragoman("keys", "create", "laptop", "--json").json
    assert dragoman("keys", "revoke", made["id"], "nobody").code == 1
    assert len(dragoman("keys", "list", "--json").json) == 1


def test_an_unusable_name_ends_with_2(dragoman: Run) -> None:
    ran = dragoman("keys", "create", "\x1b[31mred")
    assert ran.code == 2
    assert "1 to 200 characters, all of them printable" in ran.err


def test_keys_are_kept_in_the_named_directory(dragoman: Run, tmp_path: Path) -> None:
    dragoman("keys", "create", "laptop", "--data-dir", str(tmp_path / "other"))
    assert dragoman("keys", "list", "--json").json == []
    assert len(dragoman("keys", "list", "--json", "--data-dir", str(tmp_path / "other")).json) == 1


def test_a_key_has_an_account_bounds_and_an_end(dragoman: Run) -> None:
    dragoman("accounts", "create", "acme")
    bounds = ("--model", "local", "--dialect", "openai", "--network", "10.1.2.3/8")
    limits = ("--requests-per-minute", "5", "--concurrent-requests", "2")
    made = dragoman(
        *("keys", "create", "app", "-a", "acme", "--project", "p", "--expires", "2099-01-01"),
        *(*bounds, *limits, "--json"),
    ).json
    assert made["account"].startswith("acct_")
    assert (made["project"], made["expires"]) == ("p", "2099-01-01T00:00:00Z")
    assert made["models"] == ["smollm2-135m-instruct"]  # an alias stands for its model
    assert (made["dialects"], made["networks"]) == (["openai"], ["10.0.0.0/8"])
    assert (made["requests_per_minute"], made["concurrent_requests"]) == (5, 2)
    shown = dragoman("keys", "show", "app", "--json").json
    assert shown == {name: value for name, value in made.items() if name != "secret"}
    assert [key["id"] for key in dragoman("keys", "list", "-a", "acme", "--json").json] == [
        made["id"]
    ]
    assert dragoman("keys", "list", "-a", "default", "--json").json == []


def test_what_is_not_named_stays_as_it_is(dragoman: Run) -> None:
    bounds = ("--model", "local", "--network", "10.0.0.0/8", "--requests-per-minute", "5")
    dragoman("keys", "create", "app", *bounds, "--project", "p", "--expires", "30d")
    changed = dragoman("keys", "change", "app", "--tokens-per-minute", "9", "--json").json
    assert (changed["requests_per_minute"], changed["tokens_per_minute"]) == (5, 9)
    assert (changed["networks"], changed["project"]) == (["10.0.0.0/8"], "p")
    lifted = ("--free", "networks", "--free", "requests-per-minute", "--free", "project")
    changed = dragoman(
        "keys", "change", "app", *lifted, "--expires", "never", "--name", "web", "--json"
    ).json
    assert not {"networks", "requests_per_minute", "project", "expires"} & set(changed)
    assert (changed["name"], changed["models"]) == ("web", ["smollm2-135m-instruct"])
    changed = dragoman("keys", "change", "web", "--model", "none", "--json").json
    assert changed["models"] == []


def test_a_rotated_key_works_for_its_grace_beside_its_successor(
    dragoman: Run, data_dir: Path
) -> None:
    made = dragoman("keys", "create", "app", "--model", "local", "--json").json
    ran = dragoman("keys", "rotate", "app", "--grace", "24h")
    assert f"It replaces {made['id']}, which works until" in ran.err
    store = open_store(data_dir)
    old, new = store.list_keys()
    store.close()
    assert (new.replaces, new.hash, new.scopes) == (
        old.id,
        hash_secret(ran.out.strip()),
        old.scopes,
    )
    assert old.expires_s is not None
    assert old.expires_s - new.created_s == pytest.approx(24 * 3600)
    again = dragoman("keys", "rotate", old.id)
    assert again.code == 1
    assert f"{new.id} replaces it" in again.err


def test_the_same_wish_makes_one_key(dragoman: Run) -> None:
    first = dragoman("keys", "create", "ci", "--token", "deploy-7")
    again = dragoman("keys", "create", "ci", "--token", "deploy-7")
    assert again.out == first.out
    assert "which the same wish made before" in again.err
    other = dragoman("keys", "create", "other", "--token", "deploy-7")
    assert other.code == 1
    assert "for another wish" in other.err


def test_an_admin_key_is_of_its_own_kind(dragoman: Run) -> None:
    made = dragoman("keys", "create", "ops", "--admin", "--json").json
    assert made["secret"].startswith("drg_admin_")
    assert made["kind"] == "admin"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("create", "x", "--model", "gpt-9"), "there is no model 'gpt-9'"),
        (("create", "x", "--dialect", "klingon"), "--dialect is 'klingon'; use openai, studio"),
        (("create", "x", "--network", "10.0.0.0/99"), "write it like 10.0.0.0/8"),
        (("create", "x", "--expires", "soon"), "--expires is 'soon'; write a day or a moment"),
        (("create", "x", "--expires", "2001-01-01"), "not in the future"),
        (("create", "x", "--expires", "-1d"), "not in the future"),
        (("change", "app", "--free", "beer"), "--free is 'beer'; use models, projects, dialects"),
        (("rotate", "app", "--grace", "1 day"), "--grace is '1 day'; write a number and one of"),
    ],
)
def test_what_cannot_be_meant_ends_with_2_and_a_remedy(
    dragoman: Run, arguments: tuple[str, ...], words: str
) -> None:
    dragoman("keys", "create", "app")
    ran = dragoman("keys", *arguments)
    assert (ran.code, ran.out) == (2, "")
    assert words in ran.err
    assert len(dragoman("keys", "list", "--json").json) == 1


def test_a_key_is_bound_to_projects_and_freed_of_them(dragoman: Run) -> None:
    wish = ("keys", "create", "app", "--only-project", "support", "--only-project", "sales")
    made = dragoman(*wish, "--json").json
    assert made["projects"] == ["support", "sales"]
    changed = dragoman("keys", "change", "app", "--only-project", "support", "--json").json
    assert changed["projects"] == ["support"]
    kept = dragoman("keys", "change", "app", "--dialect", "studio", "--json").json
    assert (kept["projects"], kept["dialects"]) == (["support"], ["studio"])
    freed = dragoman("keys", "change", "app", "--free", "projects", "--json").json
    assert "projects" not in freed
    assert freed["dialects"] == ["studio"]
