"""Fixtures that several areas share: real servers in real processes."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import settings
from tests.scripted_provider import ScriptedProvider
from tests.server_process import KEY, ServerProcess

from dragoman.engine.model_files import install_model, models_dir

REPOSITORY = Path(__file__).parent.parent
MODEL_CACHE = REPOSITORY / ".venv" / "share" / "dragoman"
"""Outlives a test run, so that the model is fetched once for all of them."""

SCRIPTED_SECRET = "upstream-secret-7f3a9c"

# Machines that run tests in parallel are too uneven for a deadline on each example.
settings.register_profile("dragoman", deadline=None)
settings.load_profile("dragoman")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of the embedded model come first: they are the slowest, and share one engine."""
    items.sort(key=lambda item: item.get_closest_marker("engine") is None)


@dataclass(frozen=True)
class Served:
    """A running server as a client sees it."""

    url: str
    key: str
    log_path: Path
    pid: int

    @property
    def headers(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.key}"}

    @property
    def log(self) -> str:
        return self.log_path.read_text(errors="replace")


def share_model(data_dir: Path) -> None:
    """Let the server of `data_dir` find the model in the cache of all test runs."""
    install_model(MODEL_CACHE)
    data_dir.mkdir(parents=True, exist_ok=True)
    if not models_dir(data_dir).exists():
        models_dir(data_dir).symlink_to(models_dir(MODEL_CACHE), target_is_directory=True)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def documented_project() -> str:
    """The settings of the project that the documents' examples ask for."""
    text = (REPOSITORY / "docs" / "projects.md").read_text()
    return text.partition("```toml\n")[2].partition("```")[0]


@pytest.fixture(scope="session")
def engine_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server with the embedded model: one for all test processes, ended by the last that uses it."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base
    state_path, lock_path = shared / "engine-server.json", shared / "engine-server.lock"
    with _locked(lock_path):
        if state_path.exists():
            state = json.loads(state_path.read_text())
        else:
            data_dir = shared / "engine-server"
            share_model(data_dir)
            server = ServerProcess(data_dir, f'log_format = "json"\n{documented_project()}').start()
            state = {"url": server.url, "pid": server.pid, "log": str(server.log_path), "users": 0}
        state["users"] += 1
        state_path.write_text(json.dumps(state))
    yield Served(state["url"], KEY, Path(state["log"]), state["pid"])
    with _locked(lock_path):
        state = json.loads(state_path.read_text())
        state["users"] -= 1
        if state["users"]:
            state_path.write_text(json.dumps(state))
        else:
            state_path.unlink()
            _end(state["pid"])


def _end(pid: int) -> None:
    """SIGTERM, and SIGKILL if that does not help; the process may be another test process's child."""
    os.kill(pid, signal.SIGTERM)
    for _ in range(100):
        time.sleep(0.1)
        try:
            if os.waitpid(pid, os.WNOHANG)[0]:
                return
        except ChildProcessError:
            if not Path(f"/proc/{pid}").exists():
                return
    os.kill(pid, signal.SIGKILL)


@pytest.fixture(scope="session")
def _scripted_provider() -> Iterator[ScriptedProvider]:
    with ScriptedProvider() as provider:
        yield provider


@pytest.fixture
def provider(_scripted_provider: ScriptedProvider) -> Iterator[ScriptedProvider]:
    """The provider behind `gateway`, following no script yet."""
    _scripted_provider.reset()
    yield _scripted_provider
    _scripted_provider.reset()


def gateway_config(provider: ScriptedProvider) -> str:
    return f"""
embedded_model = false
default_model = "gpt"
log_format = "json"
header_hold_s = 1.0
cors_origins = ["https://app.example.com"]
max_body_bytes = 2000000

[[providers]]
name = "scripted-openai"
wire = "openai"
base_url = "{provider.base_url}"
api_key = "env:SCRIPTED_SECRET"
max_stops = 4
forwards = ["forwarded_field"]
timeouts = {{ connect_s = 2.0, first_byte_s = 30.0, idle_s = 3.0, total_s = 60.0 }}

[[providers.models]]
id = "gpt"
aliases = ["gpt-alias"]

[[providers.models]]
id = "gpt-text-only"
lacks = ["images", "seed"]

[[providers.models]]
id = "gpt-backed"
fallbacks = ["claude"]

[[providers]]
name = "scripted-thinker"
wire = "openai"
base_url = "{provider.base_url}"
api_key = "env:SCRIPTED_SECRET"
forwards = ["reasoning_content"]

[[providers.models]]
id = "thinker"

[[providers]]
name = "scripted-anthropic"
wire = "anthropic"
base_url = "{provider.base_url}"
api_key = "env:SCRIPTED_SECRET"
timeouts = {{ connect_s = 2.0, first_byte_s = 30.0, idle_s = 3.0, total_s = 60.0 }}

[[providers.models]]
id = "claude"
max_output_tokens = 4096

[[providers]]
name = "unreachable"
wire = "openai"
base_url = "http://127.0.0.1:9/v1"

[[providers.models]]
id = "nowhere"

[[providers.models]]
id = "nowhere-backed"
fallbacks = ["gpt"]
"""


@pytest.fixture(scope="session")
def gateway(
    _scripted_provider: ScriptedProvider, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    """A server before the scripted provider, in both upstream formats; `provider` scripts it."""
    process = ServerProcess(
        tmp_path_factory.mktemp("gateway") / "data",
        gateway_config(_scripted_provider),
        environment={"SCRIPTED_SECRET": SCRIPTED_SECRET},
    )
    with process as server:
        yield Served(server.url, server.key, server.log_path, server.pid)
