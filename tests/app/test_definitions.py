"""What a start makes of the settings file's projects, and what it says of them."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from dragoman.app.definitions import apply_at_start, apply_definitions, configured_models
from dragoman.config import Config, load_config
from dragoman.policy.administration import (
    Administration,
    AttachedModelWish,
    CampaignWish,
    ProjectChange,
    ProjectWish,
)
from dragoman.policy.administration.project_wishes import ArmWish
from dragoman.stores import Store, open_store

FILE = """
[[projects]]
key = "support"
[[projects.models]]
key = "fast"
model = "local"
template = "greeting"
[[projects.templates]]
key = "greeting"
text = "Keep this to yourself."
[[tool_servers]]
key = "files"
kind = "mcp_stdio"
command = ["serve-files"]
"""


class Clock:
    def unix_s(self) -> float:
        return 1_700_000_000.0

    def monotonic_s(self) -> float:
        return 0.0


def load(tmp_path: Path, text: str) -> Config:
    path = tmp_path / "dragoman.toml"
    path.write_text(f'data_dir = "data"\n{text}')
    return load_config(path, {}, {})


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = open_store(tmp_path / "data")
    yield store
    store.close()


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    # The server's own logger hands nothing on once a server was set up in this process.
    logging.getLogger("dragoman").propagate = True
    caplog.set_level(logging.INFO, "dragoman")
    return caplog


def office(config: Config, store: Store) -> Administration:
    return Administration(store, Clock(), "cli:tester", directory=configured_models(config))


def test_a_start_makes_what_the_file_says_and_a_second_changes_nothing(
    tmp_path: Path, store: Store, said: pytest.LogCaptureFixture
) -> None:
    config = load(tmp_path, FILE)
    apply_at_start(config, Clock())
    assert said.messages == ["made as the settings file says: tool_servers.files, projects.support"]
    assert [project.key for project in store.list_projects()] == ["support"]
    (event, *_) = [
        each for _, each in office(config, store).audit() if each.action == "project.create"
    ]
    assert event.actor == f"file:{tmp_path}/dragoman.toml"
    said.clear()
    generation = store.generation()
    apply_definitions(config, store, Clock())
    assert (said.messages, store.generation()) == ([], generation)


def test_what_was_changed_since_is_kept_and_told_without_its_words(
    tmp_path: Path, store: Store, said: pytest.LogCaptureFixture
) -> None:
    config = load(tmp_path, FILE)
    apply_definitions(config, store, Clock())
    office(config, store).projects.change("support", ProjectChange(name="Help"))
    said.clear()
    newer = load(tmp_path, FILE.replace("yourself", "us"))
    apply_definitions(newer, store, Clock())
    made, kept = said.records
    assert (made.levelname, kept.levelname) == ("INFO", "WARNING")
    assert made.getMessage().endswith(": projects.support.templates.greeting.text")
    assert "kept, because others changed it" in kept.getMessage()
    assert "projects.support.name" in kept.getMessage()
    assert "dragoman config apply --overwrite" in kept.getMessage()
    assert "Keep this" not in said.text
    assert store.list_projects()[0].name == "Help"


def test_what_is_gone_from_the_file_is_told(
    tmp_path: Path, store: Store, said: pytest.LogCaptureFixture
) -> None:
    apply_definitions(load(tmp_path, FILE), store, Clock())
    said.clear()
    apply_definitions(load(tmp_path, ""), store, Clock())
    (message,) = said.messages
    assert "tool_servers.files, projects.support" in message
    assert "dragoman projects archive" in message


def test_what_cannot_be_applied_is_an_error_and_not_the_servers_end(
    tmp_path: Path, store: Store, said: pytest.LogCaptureFixture
) -> None:
    text = FILE.replace("[[projects.models]]", 'account_id = "acct_none"\n[[projects.models]]')
    apply_definitions(load(tmp_path, text), store, Clock())
    (error,) = [record for record in said.records if record.levelname == "ERROR"]
    assert error.getMessage().startswith("projects.support is not as the settings file says: ")
    assert "acct_none" in error.getMessage()
    assert [server.key for server in store.list_tool_servers()] == ["files"]


def test_a_model_that_takes_a_projects_name_is_told(
    tmp_path: Path, store: Store, said: pytest.LogCaptureFixture
) -> None:
    office(load(tmp_path, ""), store).projects.create(ProjectWish(key="gpt"))
    provider = '[[providers]]\nname = "p"\nwire = "openai"\nbase_url = "https://p.example/v1"\n'
    config = load(tmp_path, provider + '[[providers.models]]\nid = "big"\naliases = ["gpt"]\n')
    apply_definitions(config, store, Clock())
    (message,) = said.messages
    assert "requests that name 'gpt' mean the model 'big'" in message


def test_campaigns_that_count_nothing_are_told(
    tmp_path: Path, store: Store, said: pytest.LogCaptureFixture
) -> None:
    models = tuple(AttachedModelWish(model="local", key=key) for key in ("a", "b"))
    desk = office(load(tmp_path, ""), store)
    desk.projects.create(ProjectWish(key="shop", models=models))
    arms = (ArmWish(model="a"), ArmWish(model="b"))
    desk.campaigns.create("shop", CampaignWish(key="tone", metric="errors", arms=arms))
    apply_definitions(load(tmp_path, ""), store, Clock())
    assert said.messages == []
    apply_definitions(load(tmp_path, "accounting = false"), store, Clock())
    (message,) = said.messages
    assert message.startswith("nothing is counted for the campaigns tone: ")


def test_nothing_is_said_or_loaded_where_there_is_nothing(
    tmp_path: Path, store: Store, said: pytest.LogCaptureFixture
) -> None:
    apply_definitions(load(tmp_path, ""), store, Clock())
    assert said.messages == []
