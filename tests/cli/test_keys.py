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
    assert set(made) == {"id", "name", "hint", "created", "secret"}
    (listed,) = dragoman("keys", "list", "--json").json
    assert listed == {name: value for name, value in made.items() if name != "secret"}
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", listed["created"])


def test_a_list_has_one_line_a_key(dragoman: Run) -> None:
    dragoman("keys", "create", "a name [bold]with[/bold] brackets")
    dragoman("keys", "create", "x" * 150)
    lines = dragoman("keys", "list").out.splitlines()
    assert len(lines) == 3
    assert lines[0].split() == ["ID", "NAME", "SECRET", "CREATED"]
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
