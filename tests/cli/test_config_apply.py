"""`dragoman config diff` and `dragoman config apply`: the file's projects, and what others made of them."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.cli.conftest import Run
from tests.cli.terminal import Terminal

FILE = """
[[projects]]
key = "support"
[[projects.models]]
key = "fast"
model = "local"
max_ttft_ms = 500
template = "greeting"
[[projects.templates]]
key = "greeting"
text = "Be {{tone}}, please."
[[tool_servers]]
key = "files"
kind = "mcp_stdio"
command = ["serve-files"]
environment = { FILES_TOKEN = "env:FILES_TOKEN", LANG = "C" }
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "dragoman.toml"
    path.write_text(FILE)
    return path


def test_a_file_is_compared_applied_and_then_all_is_the_same(dragoman: Run, file: Path) -> None:
    before = dragoman("config", "diff")
    assert before.code == 1
    assert [line.split()[0] for line in before.out.splitlines()] == [
        *("PATH", "tool_servers.files", "projects.support"),
    ]
    dry = dragoman("config", "apply", "--dry-run", "--json")
    assert dry.code == 0
    assert dry.json["is_dry_run"] is True
    assert [row["state"] for row in dry.json["changed"]] == ["only_file", "only_file"]
    assert dragoman("projects", "list", "--json").json == []
    done = dragoman("config", "apply")
    assert (done.code, "2 values changed, 0 values kept" in done.err) == (0, True)
    after = dragoman("config", "diff")
    assert (after.code, after.out, after.err) == (0, "", "Everything is as the file says.\n")
    assert dragoman("config", "diff", "--json").json == []


def test_a_value_that_was_changed_since_is_kept_until_it_is_overwritten(
    dragoman: Run, file: Path
) -> None:
    dragoman("config", "apply")
    dragoman("projects", "change", "support", "--name", "Help")
    file.write_text(FILE.replace("500", "700"))
    (first, second) = dragoman("config", "diff", "--json").json
    assert first == {
        "path": "projects.support.name",
        "file": "support",
        "current": "Help",
        "state": "api_changed",
        "current_from": "API",
    }
    assert (second["path"], second["file"], second["current"], second["current_from"]) == (
        "projects.support.models.fast.max_ttft_ms",
        *(700, 500, "file"),
    )
    applied = dragoman("config", "apply", "--json").json
    assert [row["path"] for row in applied["changed"]] == [second["path"]]
    assert [row["path"] for row in applied["kept"]] == [first["path"]]
    # Nobody is there to be asked.
    refused = dragoman("config", "apply", "--overwrite")
    assert (refused.code, "add --yes" in refused.err) == (2, True)
    assert dragoman("projects", "show", "support", "--json").json["name"] == "Help"
    assert dragoman("config", "apply", "--overwrite", "--yes").code == 0
    assert dragoman("config", "diff").code == 0
    assert dragoman("projects", "show", "support", "--json").json["name"] == "support"


def test_overwriting_is_asked_about_at_a_terminal(
    dragoman: Run, file: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    dragoman("config", "apply")
    dragoman("projects", "change", "support", "--name", "Help")
    with Terminal(["config", "apply", "--overwrite"], environment, tmp_path) as terminal:
        seen = terminal.read_until("[y/N]")
        assert "projects.support.name" in seen
        terminal.enter("n\n")
        terminal.read_until("nothing was changed")
        assert terminal.process.wait(30) == 1
    assert dragoman("config", "diff").code == 1


def test_what_is_gone_from_the_file_is_told_and_stays(dragoman: Run, file: Path) -> None:
    dragoman("config", "apply")
    file.write_text("")
    ran = dragoman("config", "apply", "--overwrite", "--yes", "--json")
    assert [(row["path"], row["state"]) for row in ran.json["kept"]] == [
        ("tool_servers.files", "only_api"),
        ("projects.support", "only_api"),
    ]
    assert [row["key"] for row in dragoman("projects", "list", "--json").json] == ["support"]
    dragoman("projects", "archive", "support")
    dragoman("tools", "remove", "files")
    assert dragoman("config", "diff").code == 0


def test_what_is_gone_from_the_file_can_be_kept_without_it(dragoman: Run, file: Path) -> None:
    dragoman("config", "apply")
    refused = dragoman("config", "release", "projects.support")
    assert (refused.code, "is in the file; take it out" in refused.err) == (2, True)
    assert dragoman("config", "release", "support").code == 2
    file.write_text("")
    assert dragoman("config", "diff").code == 1
    ran = dragoman("config", "release", "projects.support", "tool_servers.files")
    assert ran.out == "Released projects.support.\nReleased tool_servers.files.\n"
    assert dragoman("config", "diff").code == 0
    shown = dragoman("projects", "show", "support", "--json").json
    assert (shown["is_from_file"], shown["archived"]) == (False, None)
    assert {each["origin"] for each in shown["values"].values()} == {"API"}
    assert dragoman("config", "release", "projects.none").code == 1


def test_what_cannot_be_applied_is_named_and_the_rest_is(dragoman: Run, file: Path) -> None:
    file.write_text(FILE + '[[projects]]\nkey = "other"\naccount_id = "acct_none"\n')
    ran = dragoman("config", "apply")
    assert ran.code == 1
    assert "projects.other was left as it is: account_id: account 'acct_none' does not" in ran.err
    assert [row["key"] for row in dragoman("projects", "list", "--json").json] == ["support"]


def test_values_that_may_be_secret_are_not_shown(dragoman: Run, file: Path) -> None:
    dragoman("config", "apply")
    file.write_text(FILE.replace('"C"', '"hush-hush"'))
    ran = dragoman("config", "diff")
    assert "tool_servers.files.environment.LANG" in ran.out
    assert "hush-hush" not in ran.out + ran.err
