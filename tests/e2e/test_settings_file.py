"""A project of the settings file: served, changed over the admin API, told apart, and made the file's again."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.scripted_provider import Script, ScriptedProvider
from tests.server_process import ServerProcess

PROJECT = """
[[projects]]
key = "support"
[[projects.models]]
key = "fast"
model = "g"
template = "greeting"
sampling = { temperature = 0.25 }
[[projects.templates]]
key = "greeting"
text_file = "greeting.txt"
[[projects.templates.arguments]]
name = "tone"
default = "kind"
"""


def configured(provider: ScriptedProvider, *, workers: int = 1) -> str:
    return f"""
embedded_model = false
workers = {workers}
[[providers]]
name = "scripted"
wire = "openai"
base_url = "{provider.base_url}"
[[providers.models]]
id = "gpt"
aliases = ["g"]
{PROJECT}"""


class House:
    """A server of a settings file, and the command line beside it."""

    def __init__(self, server: ServerProcess) -> None:
        self.server = server
        self.file = server.data_dir / "dragoman.toml"
        secret = self.run("keys", "create", "root", "--admin", "--json")["secret"]
        self.admin = httpx.Client(
            base_url=f"{server.url}/admin/v1",
            headers={"authorization": f"Bearer {secret}"},
            timeout=30,
        )

    def run(self, *arguments: str, code: int = 0) -> Any:
        done = subprocess.run(
            [
                *(sys.executable, "-m", "dragoman", *arguments),
                *("--config", str(self.file), "--data-dir", str(self.server.data_dir)),
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == code, done.stderr
        return json.loads(done.stdout) if "--json" in arguments else done.stdout

    def ask(self) -> None:
        answer = httpx.post(
            f"{self.server.url}/v1/chat/completions",
            headers={"authorization": f"Bearer {self.server.key}"},
            json={"model": "support", "messages": [{"role": "user", "content": "hi"}]},
            timeout=30,
        )
        assert answer.status_code == 200, answer.text


def test_a_project_of_the_file_is_served_changed_compared_and_applied_again(
    tmp_path: Path, provider: ScriptedProvider
) -> None:
    data_dir = tmp_path / "data"
    data_dir.mkdir()
    (data_dir / "greeting.txt").write_text("Be {{tone}}.\n")
    with ServerProcess(data_dir, configured(provider)) as server:
        house = House(server)
        assert "made as the settings file says: projects.support" in server.log

        def sent() -> dict[str, Any]:
            provider.reset()
            provider.enqueue(Script(text="Hello"))
            house.ask()
            (request,) = provider.requests
            return dict(request.body)

        first = sent()
        assert first["messages"][0] == {"role": "system", "content": "Be kind."}
        assert (first["model"], first["temperature"]) == ("gpt", 0.25)

        # Others change one value; the file changes another two.
        changed = house.admin.put(
            "/projects/support/models/fast",
            json={"model": "gpt", "template": "greeting", "sampling": {"temperature": 0.75}},
        )
        assert changed.status_code == 200, changed.text
        (data_dir / "greeting.txt").write_text("Be brief.\n")
        house.file.write_text(
            house.file.read_text()
            .replace('\n[[projects.templates.arguments]]\nname = "tone"\ndefault = "kind"\n', "\n")
            .replace("[[projects.models]]", 'name = "Support"\n[[projects.models]]')
        )
        states = {
            row["path"].removeprefix("projects.support."): row["state"]
            for row in house.run("config", "diff", "--json", code=1)
        }
        assert states == {
            "name": "file_changed",
            "models.fast.sampling.temperature": "api_changed",
            "templates.greeting.text": "file_changed",
            "templates.greeting.arguments.tone.default": "file_changed",
        }
        assert sent()["messages"][0]["content"] == "Be kind."

        house.run("config", "apply")
        second = sent()
        assert second["messages"][0]["content"] == "Be brief."
        assert second["temperature"] == 0.75

        house.run("config", "apply", "--overwrite", "--yes")
        assert sent()["temperature"] == 0.25
        house.run("config", "diff")

        house.admin.patch("/projects/support", json={"name": "Help"})

    # A start keeps what others changed, and says so.
    server = ServerProcess(data_dir, house.file.read_text())
    with server:
        assert house.run("projects", "show", "support", "--json")["name"] == "Help"
        assert "kept, because others changed it" in server.log
        assert "projects.support.name" in server.log
        assert "Be brief" not in server.log
    house.admin.close()


@pytest.mark.parametrize("workers", [2])
def test_several_processes_apply_the_file_once(
    tmp_path: Path, provider: ScriptedProvider, workers: int
) -> None:
    data_dir = tmp_path / "data"
    data_dir.mkdir()
    (data_dir / "greeting.txt").write_text("Be {{tone}}.")
    with ServerProcess(data_dir, configured(provider, workers=workers)) as server:
        assert server.log.count("made as the settings file says") == 1
        provider.enqueue(Script(text="Hello"))
        House(server).ask()


def test_a_file_that_names_what_is_not_there_starts_no_server(
    tmp_path: Path, provider: ScriptedProvider
) -> None:
    text = configured(provider).replace('"greeting.txt"', '"gone.txt"')
    server = ServerProcess(tmp_path / "data", text)
    with pytest.raises(AssertionError, match=r"templates\[0\]\.text_file: .*gone\.txt cannot be"):
        server.start()
