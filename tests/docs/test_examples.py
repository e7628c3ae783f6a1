"""Every example of the documents runs as it stands, with address and key replaced."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import REPOSITORY, Served, share_model
from tests.docs.fences import ADDRESS, Fence, fences
from tests.node_packages import node_modules

from dragoman.config import load_config

RUN_TIMEOUT_S = 110

# Refusals become failures of the command, which curl alone does not report.
_STRICT_CURL = 'curl() { command curl --fail-with-body -sS "$@"; }\n'


def with_key(served: Served) -> dict[str, str]:
    return os.environ | {"DRAGOMAN_API_KEY": served.key, "DRAGOMAN_URL": served.url}


def admin_key(served: Served) -> str:
    """An administrator's key of the server: the same one for every example."""
    command = [sys.executable, "-m", "dragoman", "keys", "create", "documents", "--admin"]
    data_dir = served.log_path.parent
    arguments = ["--token", "documents", "--data-dir", str(data_dir), "--json"]
    done = run([*command, *arguments], os.environ | {"DRAGOMAN_CONFIG": ""}, data_dir)
    assert done.returncode == 0, done.stderr
    secret = json.loads(done.stdout)["secret"]
    assert isinstance(secret, str)
    return secret


def run(
    command: list[str], environment: dict[str, str], folder: Path
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        check=False,
        capture_output=True,
        text=True,
        timeout=RUN_TIMEOUT_S,
        env=environment,
        cwd=folder,
        stdin=subprocess.DEVNULL,
    )


def test_every_block_is_of_a_kind_that_is_tested() -> None:
    tested = {"bash", "sh", "console", "python", "js", "toml"}
    pictures = {"", "mermaid", "text"}
    for fence in fences():
        assert fence.language in tested | pictures, str(fence)
    for language in tested:
        assert fences(language), f"no example is in {language}"


# --- curl ---------------------------------------------------------------------------------------


@pytest.mark.engine
@pytest.mark.parametrize("fence", fences("bash"), ids=str)
def test_curl(fence: Fence, engine_server: Served, tmp_path: Path) -> None:
    command = fence.at(engine_server.url)
    environment = with_key(engine_server)
    if "ADMIN_KEY" in command:
        environment |= {"ADMIN_KEY": admin_key(engine_server)}
    done = run(["bash", "-ec", _STRICT_CURL + command], environment, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    if "ADMIN_KEY" in command or "/interactions" in command:
        for line in done.stdout.splitlines():
            assert isinstance(json.loads(line), dict), line
        return
    check_answer(fence.text, done.stdout)
    check_words(fence, done.stdout)


def check_words(fence: Fence, output: str) -> None:
    """The model's answer is there; without chance in it, it is the right one."""
    assert len(output.strip()) > 3
    if re.search(r"capital of France.*temperature\W*0|temperature\W*0.*France", fence.text, re.S):
        assert "Paris" in output, output


def check_answer(command: str, output: str) -> None:
    """What the command prints is an answer of its dialect, and shows what the document says of it."""
    path = re.search(re.escape(ADDRESS) + r"(\S+)", command)
    body = re.search(r"-d '(.*)'", command, re.DOTALL)
    assert path is not None, command
    assert body is not None, command
    asked: dict[str, Any] = json.loads(body[1])
    if not asked.get("stream"):
        _CHECKS[path[1]](asked, json.loads(output))
    elif "X-Stream-Format: text" in command:
        assert output.strip()
        assert "data:" not in output
    elif "chat/completions" in path[1]:
        *chunks, last = [line[6:] for line in output.splitlines() if line.startswith("data: ")]
        assert last == "[DONE]"
        ending = json.loads(chunks[-1])
        assert ending["usage"]["completion_tokens"] > 0
        assert (ending["choices"] == []) == ("stream_options" in asked)
    else:
        assert output.startswith("event: message_start\n")
        assert output.rstrip().split("\n\n")[-1].startswith("event: message_stop\n")


def _check_chat(asked: dict[str, Any], answer: dict[str, Any]) -> None:
    choice = answer["choices"][0]
    if asked.get("tool_choice") == "required":
        assert choice["finish_reason"] == "tool_calls"
        call = choice["message"]["tool_calls"][0]["function"]
        assert call["name"] == asked["tools"][0]["function"]["name"]
        assert set(json.loads(call["arguments"])) == {"city"}
    elif "response_format" in asked and choice["finish_reason"] == "stop":
        assert set(json.loads(choice["message"]["content"])) == {"city", "country"}
    else:
        assert choice["message"]["content"]
    if "session_id" in asked:
        assert answer["session_id"] == asked["session_id"]


def _check_message(asked: dict[str, Any], answer: dict[str, Any]) -> None:
    assert answer["type"] == "message"
    assert answer["content"][0]["text"]
    assert answer["usage"]["output_tokens"] <= asked["max_tokens"]


def _check_count(asked: dict[str, Any], answer: dict[str, Any]) -> None:
    assert answer["input_tokens"] > 0


_CHECKS: dict[str, Callable[[dict[str, Any], dict[str, Any]], None]] = {
    "/v1/chat/completions": _check_chat,
    "/api/v1/chat/completions": _check_chat,
    "/api/v1/completions": _check_message,
    "/v1/messages": _check_message,
    "/v1/messages/count_tokens": _check_count,
}


# --- Clients ------------------------------------------------------------------------------------


@pytest.mark.engine
@pytest.mark.parametrize("fence", fences("python"), ids=str)
def test_python(
    fence: Fence,
    engine_server: Served,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("DRAGOMAN_API_KEY", engine_server.key)
    # In this process, because importing the vendors' packages takes longer than the request.
    exec(compile(fence.at(engine_server.url), str(fence), "exec"), {"__name__": "__main__"})
    check_words(fence, capsys.readouterr().out)


@pytest.mark.engine
@pytest.mark.parametrize("fence", fences("js"), ids=str)
def test_node(fence: Fence, engine_server: Served, tmp_path: Path) -> None:
    (tmp_path / "node_modules").symlink_to(node_modules(), target_is_directory=True)
    (tmp_path / "example.mjs").write_text(fence.at(engine_server.url))
    done = run(["node", "example.mjs"], with_key(engine_server), tmp_path)
    assert done.returncode == 0, done.stderr
    check_words(fence, done.stdout)


# --- Settings and commands ----------------------------------------------------------------------


@pytest.mark.parametrize("fence", fences("toml"), ids=str)
def test_settings(fence: Fence, tmp_path: Path) -> None:
    file = tmp_path / "dragoman.toml"
    file.write_text(fence.text)
    config = load_config(file, environ={"HOME": str(tmp_path)})
    unencrypted = "its key is sent to"
    assert not [warning for warning in config.warnings if unencrypted in warning]


@pytest.mark.engine
@pytest.mark.parametrize("fence", fences("console"), ids=str)
def test_commands(fence: Fence, engine_server: Served, tmp_path: Path) -> None:
    share_model(tmp_path / "data")
    environment = with_key(engine_server) | {
        "DRAGOMAN_DATA_DIR": str(tmp_path / "data"),
        "DRAGOMAN_PORT": "0",
        "DRAGOMAN_CONFIG": "",
    }
    commands = [line for line in fence.text.splitlines() if line.startswith("$ dragoman ")]
    assert commands
    for line in commands:
        arguments = shlex.split(line.removeprefix("$ dragoman "), comments=True)
        if arguments == ["serve"]:
            continue  # what `engine_server` is
        done = run([sys.executable, "-m", "dragoman", *arguments], environment, tmp_path)
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
        assert done.stdout.strip() or done.stderr.strip(), line


@pytest.mark.parametrize("fence", fences("sh"), ids=str)
def test_set_up(fence: Fence) -> None:
    """What builds, installs or serves is looked at rather than run: other tests stand on it."""
    checked = subprocess.run(
        ["bash", "-n"], input=fence.text, capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stderr
    targets = re.findall(r"^([a-z]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE)
    for line in fence.text.splitlines():
        words = shlex.split(line, comments=True)
        match words:
            case []:
                pass
            case ["make", target, *_]:
                assert target in targets, line
            case ["export", assignment]:
                assert re.fullmatch(r"DRAGOMAN_[A-Z_]+=.+", assignment), line
            case ["pip", "install", "."]:
                assert (REPOSITORY / "pyproject.toml").exists()
            case ["dragoman", *arguments]:
                check_options(["-m", "dragoman"], arguments)
            case [".venv/bin/python", "-m", "bench", *arguments]:
                check_options(["-m", "bench"], arguments)
            case _:
                pytest.fail(f"{fence}: nothing checks {line!r}")


def check_options(module: list[str], arguments: list[str]) -> None:
    commands = [word for word in arguments[:1] if not word.startswith("-")]
    wide = os.environ | {"COLUMNS": "200", "NO_COLOR": "1"}
    shown = run([sys.executable, *module, *commands, "--help"], wide, REPOSITORY)
    assert shown.returncode == 0, shown.stderr
    for option in [word for word in arguments if word.startswith("--")]:
        assert re.search(rf"{option}\b", shown.stdout), f"{module} {commands} {option}"
