"""`dragoman interactions`."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest
from tests.cli.conftest import Run
from tests.cli.terminal import Terminal

ONE = "00000000-0000-4000-8000-000000000001"


def line(number: int, **fields: object) -> str:
    return json.dumps(
        {
            "messages": [{"role": "user", "content": f'Where is "parcel {number}"?'}],
            "completion": f"On its way, number {number}.",
            "completion_id": f"00000000-0000-4000-8000-{number:012d}",
            "user": "user-7",
            "labels": {"team": "north"},
            **fields,
        }
    )


@pytest.fixture(autouse=True)
def project(dragoman: Run) -> None:
    dragoman("projects", "create", "support", "-m", "local")
    dragoman("metrics", "add", "support", "helpful", "--kind", "bool")


@pytest.fixture
def kept(dragoman: Run, tmp_path: Path) -> None:
    lines = [line(1, feedbacks=[{"metric": "helpful", "value": True}]), line(2, user="user-8")]
    (tmp_path / "old.jsonl").write_text("\n".join(lines))
    ran = dragoman("interactions", "import", "support", "old.jsonl")
    assert ran.err == "Imported 2 interactions with 1 feedbacks.\n"


@pytest.mark.usefixtures("kept")
def test_interactions_are_listed_filtered_and_shown(dragoman: Run) -> None:
    out = dragoman("interactions", "list").out
    assert "On its way, number 1." in out
    page = dragoman("interactions", "list", "--user", "user-7", "--json").json
    assert [row["completion_id"] for row in page["interactions"]] == [ONE]
    assert page["next"] is None
    assert page["interactions"][0]["feedback"][0]["metric"] == "helpful"
    for given in (
        *(("--metric", "helpful"), ("--label", "team:north", "--user", "user-7")),
        *(("--from", "-1d", "--limit", "1000", "--user", "user-7"),),
    ):
        found = dragoman("interactions", "list", *given, "--json").json["interactions"]
        assert [row["completion_id"] for row in found] == [ONE]
    assert "There are no such" in dragoman("interactions", "list", "--label", "team:south").err
    shown = dragoman("interactions", "show", ONE)
    assert "user-7" in shown.out
    assert 'Where is \\\\\\"parcel 1' in shown.out or 'Where is \\"parcel 1' in shown.out
    assert dragoman("interactions", "show", ONE, "--json").json["source"] == "import"


def test_pages_go_on_where_the_last_one_ended(dragoman: Run, tmp_path: Path) -> None:
    (tmp_path / "many.jsonl").write_text("\n".join(line(n) for n in range(1, 6)))
    dragoman("interactions", "import", "support", "many.jsonl")
    seen: list[str] = []
    before: list[str] = []
    while True:
        page = dragoman("interactions", "list", "--limit", "2", "--json", *before).json
        seen += [row["completion_id"] for row in page["interactions"]]
        if page["next"] is None:
            break
        before = ["--before", page["next"]]
    assert len(seen) == len(set(seen)) == 5


@pytest.mark.usefixtures("kept")
def test_an_export_can_be_imported_again(dragoman: Run, tmp_path: Path) -> None:
    chat = dragoman("interactions", "export", "--project", "support")
    conversations = [json.loads(text) for text in chat.out.splitlines()]
    assert [c["messages"][-1]["content"] for c in conversations] == [
        "On its way, number 1.",
        "On its way, number 2.",
    ]
    told = dragoman("interactions", "export", "--output", "out.jsonl")
    assert told.err.endswith("Wrote 2 interactions to out.jsonl.\n")
    full = dragoman(
        *("interactions", "export", "--format", "full", "--output", "full.jsonl", "--json")
    )
    assert full.json == {"file": "full.jsonl", "interactions": 2}
    assert json.loads((tmp_path / "full.jsonl").read_text().splitlines()[0])["user"] == "user-7"
    dragoman("projects", "create", "other", "-m", "local")
    again = dragoman("interactions", "import", "other", "out.jsonl", "--json")
    assert again.json == {"interactions": 2, "feedback": 0}
    assert len(dragoman("interactions", "list", "-p", "other", "--json").json["interactions"]) == 2


def test_lines_come_from_standard_input_in_batches(
    dragoman: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = "\n".join(line(n) for n in range(1, 1002))
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(lines.encode())))
    assert dragoman("interactions", "import", "support", "-", "--json").json["interactions"] == 1001


def test_a_fault_names_its_line_and_what_was_before_it_stays(dragoman: Run, tmp_path: Path) -> None:
    lines = [line(n) for n in range(1, 600)]
    lines[550] = '{"messages": 1}'
    (tmp_path / "bad.jsonl").write_text("\n".join(lines))
    ran = dragoman("interactions", "import", "support", "bad.jsonl")
    assert ran.code == 1
    assert "Counted from line 501 on: " in ran.err
    assert "51" in ran.err
    found = dragoman("interactions", "list", "--limit", "1000", "--json").json["interactions"]
    assert len(found) == 500
    # Mended and imported again, nothing is there twice.
    lines[550] = line(551)
    (tmp_path / "bad.jsonl").write_text("\n".join(lines))
    assert dragoman("interactions", "import", "support", "bad.jsonl").code == 0
    found = dragoman("interactions", "list", "--limit", "1000", "--json").json["interactions"]
    assert len(found) == 599


@pytest.mark.usefixtures("kept")
def test_one_interaction_is_deleted(dragoman: Run) -> None:
    wrong = dragoman("interactions", "delete", ONE, "00000000-0000-4000-8000-000000000009")
    assert wrong.code == 1
    assert dragoman("interactions", "show", ONE).code == 0
    assert dragoman("interactions", "delete", ONE, ONE).out == f"Deleted {ONE}.\n"
    assert dragoman("interactions", "show", ONE).code == 1


@pytest.mark.usefixtures("kept")
def test_a_user_is_erased_only_when_that_is_sure(
    dragoman: Run, environment: dict[str, str], tmp_path: Path
) -> None:
    refused = dragoman("interactions", "erase-user", "user-7")
    assert (refused.code, "add --yes" in refused.err) == (2, True)
    with Terminal(["interactions", "erase-user", "user-7"], environment, tmp_path) as terminal:
        terminal.read_until("for good? [y/N]")
        terminal.enter("n\n")
        terminal.read_until("nothing was changed")
        assert terminal.process.wait(30) == 1
    assert dragoman("interactions", "show", ONE).code == 0
    erased = dragoman("interactions", "erase-user", "user-7", "--yes", "--json").json
    assert (erased["interactions"], erased["feedback"]) == (1, 1)
    assert dragoman("interactions", "show", ONE).code == 1
    again = dragoman("interactions", "erase-user", "user-7", "--yes")
    assert ["interactions", "0"] in [row.split() for row in again.out.splitlines()]


def test_what_clients_wrote_does_not_steer_the_terminal(dragoman: Run, tmp_path: Path) -> None:
    (tmp_path / "odd.jsonl").write_text(
        line(1, completion="red \x1b[31m\nalert", user="user\x1b[2J")
    )
    assert dragoman("interactions", "import", "support", "odd.jsonl").code == 0
    for arguments in (("list",), ("show", ONE)):
        ran = dragoman("interactions", *arguments)
        assert "alert" in ran.out
        assert "\x1b" not in ran.out


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("list", "--project", "none"), 1, "project 'none' does not exist"),
        (("list", "--status", "fine"), 2, "status"),
        (("list", "--from", "yesterday"), 2, "--from is 'yesterday'"),
        (("list", "--label", ":x"), 2, "label"),
        (("list", "--before", "x"), 2, "before"),
        (("show", "x"), 1, "interaction 'x' does not exist"),
        (("export", "--json"), 2, "name it with --output"),
        (("export", "--output", "no/such/folder/x"), 1, "cannot be written"),
        (("import", "none", "x.jsonl"), 1, "project 'none' does not exist"),
        (("import", "support", "x.jsonl"), 2, "x.jsonl cannot be read: No such file"),
        (("import", "support", "other.jsonl"), 1, "is of project 'other'"),
        (("erase-user", "x", "--account", "none", "--yes"), 1, "there is no account 'none'"),
    ],
)
def test_refusals_name_what_is_wrong(
    dragoman: Run, tmp_path: Path, arguments: tuple[str, ...], code: int, words: str
) -> None:
    (tmp_path / "other.jsonl").write_text(line(1, project="other"))
    ran = dragoman("interactions", *arguments)
    assert (ran.code, ran.out) == (code, "")
    assert words in ran.err
