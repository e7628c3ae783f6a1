"""`dragoman projects`, `dragoman templates` and `dragoman metrics`."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest
from tests.cli.conftest import Run

PROVIDER = """
[[providers]]
name = "office"
wire = "openai"
base_url = "https://office.example.com/v1"
[[providers.models]]
id = "gpt"
aliases = ["big"]
"""


@pytest.fixture(autouse=True)
def provider(tmp_path: Path) -> None:
    (tmp_path / "dragoman.toml").write_text(PROVIDER)


def test_a_project_is_made_shown_changed_and_archived(dragoman: Run) -> None:
    assert "projects create KEY" in dragoman("projects", "list").err
    made = dragoman("projects", "create", "support", "-m", "local", "-m", "smart=big", "--json")
    assert made.code == 0, made.err
    assert [(m["key"], m["model"], m["is_default"]) for m in made.json["models"]] == [
        ("local", "smollm2-135m-instruct", True),
        ("smart", "gpt", False),
    ]
    changed = dragoman(
        *("projects", "change", "support", "--name", "Help", "--default-model", "smart"),
        *("--keep-days", "30", "--redact", "email", "--redact", "pattern:A[0-9]+"),
        *("--public-requests", "10"),
    )
    assert changed.code == 0, changed.err
    lines = changed.out.splitlines()
    assert 'name = "Help"  # API' in lines
    assert "content.keep_days = 30  # API" in lines
    assert (
        'content.redact = [{"kind":"email"},{"kind":"pattern","pattern":"A[0-9]+"}]  # API' in lines
    )
    assert "public.requests_per_minute = 10  # API" in lines
    again = dragoman(
        *("projects", "change", "support", "--private", "--keep-days", "none", "--redact", "none"),
        *("--no-store", "--json"),
    ).json
    assert (again["is_public"], again["is_stored"], again["default_model"]) == (
        False,
        False,
        "smart",
    )
    assert again["values"].keys() & {"content.keep_days", "content.redact"} == set()
    assert (
        "undo: dragoman projects restore support" in dragoman("projects", "archive", "support").out
    )
    assert dragoman("projects", "list", "--json").json == []
    assert "archived" in dragoman("projects", "list", "--all").out
    assert dragoman("projects", "restore", "support").code == 0
    (listed,) = dragoman("projects", "list", "--json").json
    assert (listed["key"], listed["name"], listed["is_from_file"]) == ("support", "Help", False)
    assert dragoman("projects", "show", listed["id"], "--json").json["key"] == "support"


def test_the_origin_of_each_value_is_told(dragoman: Run, tmp_path: Path) -> None:
    path = tmp_path / "dragoman.toml"
    path.write_text(PROVIDER + "[[projects]]\nkey = 'p'\n[[projects.models]]\nmodel = 'gpt'\n")
    dragoman("config", "apply")
    dragoman("projects", "attach", "p", "--key", "gpt", "--max-ttft-ms", "900")
    lines = dragoman("projects", "show", "p").out.splitlines()
    assert 'models.gpt.model = "gpt"  # file' in lines
    assert "models.gpt.max_ttft_ms = 900  # API" in lines
    values = dragoman("projects", "show", "p", "--json").json["values"]
    assert values["models.gpt.max_ttft_ms"] == {"value": 900, "origin": "API"}


def test_the_same_wish_makes_one_project(dragoman: Run) -> None:
    wish = ("projects", "create", "support", "-m", "local", "--token", "t", "--json")
    assert dragoman(*wish).json["id"] == dragoman(*wish).json["id"]
    assert dragoman("projects", "create", "support").code == 1


def test_a_model_is_attached_changed_and_detached(dragoman: Run, tmp_path: Path) -> None:
    dragoman("projects", "create", "support", "-m", "local")
    (tmp_path / "greeting.txt").write_text("Be {{tone}}.\n")
    dragoman("templates", "add", "support", "greeting", "greeting.txt")
    dragoman("tools", "add", "files", "--", "serve-files")
    attached = dragoman(
        *("projects", "attach", "support", "big", "--key", "smart", "--temperature", "0.25"),
        *("--template", "greeting", "--tool", "files", "--tool-off", "files/write"),
        *("--tool-rounds", "3", "--json"),
    )
    assert attached.code == 0, attached.err
    model = attached.json
    assert (model["model"], model["template"]) == ("gpt", "greeting")
    assert model["sampling"]["temperature"] == 0.25
    assert (model["tool_bounds"]["rounds"], model["tool_bounds"]["call_s"]) == (3, 20.0)
    changed = dragoman(
        *("projects", "attach", "support", "--key", "smart", "--seed", "7", "--free", "template"),
        "--json",
    ).json
    assert changed["sampling"] == {**model["sampling"], "seed": 7}
    assert changed["template"] is None
    assert changed["tools"] == model["tools"]
    assert (
        "Changed; requests name it support/smart."
        in dragoman("projects", "attach", "support", "--key", "smart", "--free", "tools").err
    )
    assert dragoman("projects", "detach", "support", "local").code == 1
    left = dragoman("projects", "detach", "support", "smart", "--json").json
    assert [each["key"] for each in left["models"]] == ["local"]


def test_rights_are_listed_set_and_taken_back(dragoman: Run) -> None:
    dragoman("accounts", "create", "acme")
    dragoman("accounts", "members", "add", "acme", "ann@example.com", "--role", "viewer")
    dragoman("projects", "create", "support", "--account", "acme", "-m", "local")
    (row,) = dragoman("projects", "rights", "support", "--json").json
    assert (row["email"], row["right"], row["is_own"]) == ("ann@example.com", "view", False)
    set_right = dragoman("projects", "rights", "support", "ANN@example.com", "edit")
    assert set_right.out.splitlines()[1].split() == ["ann@example.com", "viewer", "edit", "project"]
    (row,) = dragoman("projects", "rights", "support", "ann@example.com", "none", "--json").json
    assert (row["right"], row["is_own"]) == ("view", False)


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("projects", "show", "none"), 1, "project 'none' does not exist"),
        (("projects", "create", "Support"), 2, "key"),
        (("projects", "create", "local"), 1, "'local' is an id or alias of the model"),
        (("projects", "create", "p", "-m", "nothing"), 2, "there is no model 'nothing'"),
        (("projects", "change", "support", "--redact", "names"), 2, "--redact is 'names'; use email,"),
        (("projects", "change", "support", "--redact", "pattern:("), 2, "content.redact[0]"),
        (("projects", "change", "support", "--keep-days", "x"), 2, "write a number, or none"),
        (("projects", "change", "support", "--public-tokens", "1", "--private"), 2, "give one"),
        (("projects", "attach", "support"), 2, "name a model, or the --key"),
        (("projects", "attach", "support", "--key", "x"), 2, "no model has the key 'x'"),
        (("projects", "attach", "support", "local", "--free", "x"), 2, "--free is 'x'; use temperature"),
        (("projects", "attach", "support", "local", "--temperature", "3"), 2, "temperature"),
        (("projects", "rights", "support", "a@b"), 2, "say which right"),
        (("projects", "rights", "support", "a@b", "view"), 2, "is no member of the project's account"),
        (("templates", "add", "support", "x", "gone.txt"), 2, "gone.txt cannot be read: No such file"),
        (("templates", "preview", "support", "x", "--argument", "y"), 2, "write NAME=VALUE"),
        (("templates", "preview", "support", "x", "--arguments", "[1]"), 2, "is no JSON object"),
        (("templates", "show", "support", "x"), 1, "has no template 'x'"),
        (("metrics", "change", "support", "x"), 2, "--name or --description"),
        (("metrics", "change", "support", "cost", "--name", "x"), 1, "is built in"),
        (("metrics", "add", "support", "tokens", "--kind", "scalar"), 1, "built-in metric"),
    ],
)  # fmt: skip
def test_refusals_name_what_is_wrong(
    dragoman: Run, arguments: tuple[str, ...], code: int, words: str
) -> None:
    dragoman("projects", "create", "support", "-m", "local")
    ran = dragoman(*arguments)
    assert (ran.code, ran.out) == (code, "")
    assert words in ran.err


# --- Templates ----------------------------------------------------------------------------------


def test_versions_of_a_template_are_added_activated_and_rolled_back(
    dragoman: Run, tmp_path: Path
) -> None:
    dragoman("projects", "create", "support")
    file = tmp_path / "t.txt"
    file.write_text("Be {{tone}}.\n")
    added = dragoman("templates", "add", "support", "greeting", "t.txt", "--default", "tone=kind")
    assert added.out == "Version 1 of greeting is active.\n"
    file.write_text("Be {{tone}} to {{user.name}}.")
    assert dragoman("templates", "add", "support", "greeting", "t.txt", "--no-activate").out == (
        "Version 2 of greeting is there, and not active.\n"
    )
    shown = dragoman("templates", "show", "support", "greeting")
    assert (shown.out, 'argument tone: "kind"' in shown.err) == ("Be {{tone}}.\n", True)
    assert dragoman("templates", "activate", "support", "greeting", "2").code == 0
    assert dragoman("templates", "show", "support", "greeting").out.startswith("Be {{tone}} to")
    assert (
        "has this text already" in dragoman("templates", "add", "support", "greeting", "t.txt").err
    )
    assert dragoman("templates", "rollback", "support", "greeting").out == (
        "Version 1 of greeting is active.\n"
    )
    assert dragoman("templates", "rollback", "support", "greeting").code == 1
    (row,) = dragoman("templates", "list", "support", "--json").json
    assert [(v["version"], v["is_active"]) for v in row["versions"]] == [(1, True), (2, False)]
    assert row["versions"][0]["arguments"][0]["default"] == "kind"
    assert dragoman("templates", "delete", "support", "greeting").code == 0
    assert dragoman("templates", "list", "support", "--json").json == []


def test_a_template_comes_from_standard_input(
    dragoman: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    dragoman("projects", "create", "support")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"Hi {{a}}.\n")))
    assert dragoman("templates", "add", "support", "hi", "-").code == 0
    assert dragoman("templates", "show", "support", "hi").out == "Hi {{a}}.\n"


def test_a_preview_names_what_is_missing(dragoman: Run, tmp_path: Path) -> None:
    dragoman("projects", "create", "support")
    (tmp_path / "t.txt").write_text("Be {{tone}} to {{user.name}}: {{facts}}.")
    dragoman("templates", "add", "support", "t", "t.txt")
    preview = ("templates", "preview", "support", "t", "--argument", "tone={{facts}}")
    missing = dragoman(*preview, "--argument", "facts=[1, 2]")
    assert missing.code == 1
    assert missing.out == "Be {{facts}} to {{user.name}}: [1,2].\n"
    assert "missing: user.name" in missing.err
    whole = dragoman(*preview, "--arguments", '{"user": {"name": "Ann"}, "facts": true}')
    assert (whole.code, whole.out) == (0, "Be {{facts}} to Ann: true.\n")
    (tmp_path / "draft.txt").write_text("Only {{tone}}.")
    assert dragoman(*preview, "--file", "draft.txt").out == "Only {{facts}}.\n"


# --- Metrics ------------------------------------------------------------------------------------


def test_metrics_are_made_listed_changed_and_deleted(dragoman: Run) -> None:
    dragoman("projects", "create", "support")
    added = dragoman("metrics", "add", "support", "edits", "--kind", "scalar", "--better", "lower")
    assert "scalar, lower is better" in added.out
    changed = dragoman(
        *("metrics", "change", "support", "edits", "--name", "Edits", "--description", "By hand"),
        "--json",
    ).json
    assert (changed["name"], changed["description"]) == ("Edits", "By hand")
    rows = dragoman("metrics", "list", "support", "--json").json
    assert [row["key"] for row in rows if not row["is_built_in"]] == ["edits"]
    assert {"first_token_ms", "cost"} <= {row["key"] for row in rows if row["is_built_in"]}
    assert "by feedback" in dragoman("metrics", "list", "support").out
    assert dragoman("metrics", "delete", "support", "edits").code == 0
    assert dragoman("metrics", "delete", "support", "edits").code == 1
