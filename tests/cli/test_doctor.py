"""`dragoman doctor`: each fault is found, named with its remedy, and nothing is changed or spent."""

from __future__ import annotations

import os
import socket
import sqlite3
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import pytest
from tests.cli.conftest import Ran, Run
from tests.conftest import SCRIPTED_SECRET, Served
from tests.scripted_provider import ScriptedProvider

from dragoman.cli import checks
from dragoman.cli.doctor import Finding
from dragoman.config import Config, load_config
from dragoman.engine.model_files import PACKAGED_NAME, models_dir
from dragoman.stores import open_store

Load = Callable[..., Config]


@pytest.fixture
def load(tmp_path: Path, data_dir: Path) -> Load:
    def load(text: str = "", **environ: str) -> Config:
        path = tmp_path / "settings.toml"
        path.write_text(text)
        return load_config(path, {"data_dir": str(data_dir)}, environ)

    return load


def provider_toml(provider: ScriptedProvider, secret: str = "env:UPSTREAM") -> str:
    return f"""
        embedded_model = false
        port = 0
        [[providers]]
        name = "office"
        wire = "openai"
        base_url = "{provider.base_url}"
        api_key = "{secret}"
        [[providers.models]]
        id = "big"
    """


def findings(ran: Ran) -> dict[str, str]:
    return {finding["check"]: finding["verdict"] for finding in ran.json["findings"]}


def test_a_sound_installation_has_no_fault(
    dragoman: Run, provider: ScriptedProvider, tmp_path: Path, data_dir: Path
) -> None:
    provider.accepted_keys = {"good"}
    (tmp_path / "s.toml").write_text(provider_toml(provider))
    arguments = ("doctor", "--config", str(tmp_path / "s.toml"))
    ran = dragoman(*arguments, "--json", env={"UPSTREAM": "good"})
    assert ran.code == 0
    assert ran.json["ok"] is True
    assert findings(ran) == dict.fromkeys(
        [
            *("python", "packages", "native parts", "configuration", "data directory", "database"),
            *("keys", "embedded model", "port", "provider office"),
        ],
        "ok",
    )
    assert not data_dir.exists()
    assert "All is well." in dragoman(*arguments, env={"UPSTREAM": "good"}).out


def test_a_providers_key_is_tried_and_nothing_is_spent(
    dragoman: Run, provider: ScriptedProvider, tmp_path: Path
) -> None:
    provider.accepted_keys = {"good"}
    (tmp_path / "s.toml").write_text(provider_toml(provider))
    ran = dragoman("doctor", "--config", str(tmp_path / "s.toml"), env={"UPSTREAM": "bad-key-9"})
    assert ran.code == 1
    assert "✗ provider office is reached, and refuses our key" in ran.out
    assert "→ check the key at env:UPSTREAM" in ran.out
    assert "1 fault, 0 warnings." in ran.out
    assert "bad-key-9" not in ran.out + ran.err
    assert {request.method for request in provider.requests} == {"GET"}


def test_a_bad_configuration_is_a_fault_among_the_rest(dragoman: Run, tmp_path: Path) -> None:
    (tmp_path / "bad.toml").write_text("prot = 1")
    ran = dragoman("doctor", "--json", "--config", str(tmp_path / "bad.toml"))
    assert ran.code == 1
    fault = ran.json["findings"][-1]
    assert fault["check"] == "configuration"
    assert "did you mean port?" in fault["message"]
    assert findings(ran)["native parts"] == "ok"


def test_every_fault_says_how_to_mend_it(load: Load, data_dir: Path, tmp_path: Path) -> None:
    data_dir.mkdir()
    (data_dir / "dragoman.db").write_bytes(b"x" * 4096)
    config = load(
        "[[local_models]]\nid = 'a'\npath = 'gone.gguf'\n"
        "[[providers]]\nname = 'x'\nwire = 'openai'\nbase_url = 'http://127.0.0.1:9/v1'\n"
        "[[providers.models]]\nid = 'm'\n"
    )
    found = [
        checks.data_dir(config),
        checks.database(config),
        *checks.local_models(config),
        *checks.over_the_network(config),
    ]
    faults = [finding for finding in found if finding.verdict == "fault"]
    assert [finding.check for finding in faults] == ["database", "model a", "provider x"]
    assert all(finding.remedy for finding in faults)


# --- One thing at a time ------------------------------------------------------------------------


def test_a_data_directory_that_others_can_read_is_warned_of(load: Load, data_dir: Path) -> None:
    data_dir.mkdir(mode=0o755)
    data_dir.chmod(0o755)
    finding = checks.data_dir(load())
    assert (finding.verdict, finding.remedy) == ("warning", f"run: chmod 700 {data_dir}")
    data_dir.chmod(0o700)
    assert checks.data_dir(load()).verdict == "ok"


def test_a_data_directory_that_is_a_file_is_a_fault(load: Load, data_dir: Path) -> None:
    data_dir.write_text("")
    assert checks.data_dir(load()).verdict == "fault"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_data_directory_that_cannot_be_made_is_a_fault(
    load: Load, data_dir: Path, tmp_path: Path
) -> None:
    config = load()
    tmp_path.chmod(0o500)
    try:
        assert checks.data_dir(config).verdict == "fault"
    finally:
        tmp_path.chmod(0o700)


def test_a_newer_database_is_a_fault(load: Load, data_dir: Path) -> None:
    open_store(data_dir).close()
    assert checks.database(load()).verdict == "ok"
    connection = sqlite3.connect(data_dir / "dragoman.db")
    with connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    finding = checks.database(load())
    assert finding.verdict == "fault"
    assert "upgrade dragoman" in str(finding.remedy)


def test_no_valid_key_is_warned_of(load: Load, dragoman: Run) -> None:
    assert checks.keys(load()).message == "the first start makes one"
    made = dragoman("keys", "create", "laptop", "--json").json
    assert checks.keys(load()) == Finding("keys", "ok", "1 valid")
    dragoman("keys", "revoke", made["id"])
    finding = checks.keys(load())
    assert (finding.verdict, finding.remedy) == ("warning", "run: dragoman keys create NAME")


def test_a_damaged_packaged_model_is_a_fault(load: Load, data_dir: Path) -> None:
    (finding,) = checks.local_models(load())
    assert (finding.verdict, finding.remedy) == ("warning", "run: dragoman models install")
    models_dir(data_dir).mkdir(parents=True)
    (models_dir(data_dir) / PACKAGED_NAME).write_bytes(b"GGUF, and then something else")
    (finding,) = checks.local_models(load())
    assert finding.verdict == "fault"
    assert "its SHA-256 differs" in finding.message
    assert finding.remedy == "remove it and run: dragoman models install"


def test_a_model_file_that_is_no_gguf_is_a_fault(load: Load, tmp_path: Path) -> None:
    (tmp_path / "m.gguf").write_bytes(b"<!DOCTYPE html>")
    (finding,) = checks.local_models(load("[[local_models]]\nid = 'a'\npath = 'm.gguf'\n"))
    assert (finding.verdict, finding.message) == ("fault", f"{tmp_path}/m.gguf is not a GGUF file")


def test_a_running_server_of_ours_is_no_fault(load: Load, gateway: Served) -> None:
    port = gateway.url.rpartition(":")[2]
    (finding,) = checks.over_the_network(load(f"port = {port}"))
    assert finding.verdict == "ok"
    assert f"runs on 127.0.0.1:{port}: ok" in finding.message


def test_another_program_on_the_port_is_a_fault(load: Load, provider: ScriptedProvider) -> None:
    (finding,) = checks.over_the_network(load(f"port = {provider.port}"))
    assert finding.verdict == "fault"
    assert "another program listens" in finding.message


def test_a_silent_program_on_the_port_does_not_hang_it(
    load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick = checks.HEALTH_TIMEOUTS.__class__(
        connect_s=0.2, first_byte_s=0.2, idle_s=0.2, total_s=0.2
    )
    monkeypatch.setattr(checks, "HEALTH_TIMEOUTS", quick)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        (finding,) = checks.over_the_network(load(f"port = {silent.getsockname()[1]}"))
    assert finding.verdict == "fault"


def test_a_missing_secret_is_named_by_its_reference(load: Load, provider: ScriptedProvider) -> None:
    _, finding = checks.over_the_network(load(provider_toml(provider, "env:NOT_SET_ANYWHERE")))
    assert finding.verdict == "fault"
    assert "NOT_SET_ANYWHERE is not set" in finding.message
    assert provider.requests == []


def test_a_provider_without_models_is_warned_of(load: Load) -> None:
    text = "[[providers]]\nname = 'x'\nwire = 'openai'\nbase_url = 'http://127.0.0.1:9/v1'\n"
    _, finding = checks.over_the_network(load(text))
    assert (finding.verdict, finding.message) == ("warning", "it has no models")


def test_a_missing_package_is_named_with_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    wanted = [
        "msgspec>=1",
        "no-such-package[extra]>=2 ; python_version > '3'",
        "x ; extra == 'test'",
    ]
    monkeypatch.setattr(metadata, "requires", lambda _name: wanted)
    (finding,) = checks.packages()
    assert finding.message == "missing: no-such-package"
    assert str(finding.remedy).endswith("-m pip install no-such-package")


def test_native_parts_that_kill_or_fail_are_told_apart(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "kills.py").write_text("import os, signal; os.kill(os.getpid(), signal.SIGILL)")
    (tmp_path / "fails.py").write_text("raise ImportError('libgomp.so.1 is missing')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(checks, "_NATIVE_PARTS", ("msgspec", "kills", "fails"))
    kills, fails = checks.native_parts()
    assert (kills.check, kills.message) == ("kills", "importing it kills the process (signal 4)")
    assert "libgomp.so.1 is missing" in fails.message
    assert "--force-reinstall" in str(fails.remedy)


def test_scripted_secret_is_not_told(dragoman: Run, gateway: Served) -> None:
    config = str(gateway.log_path.parent / "dragoman.toml")
    ran = dragoman("doctor", "--config", config, env={"SCRIPTED_SECRET": SCRIPTED_SECRET})
    assert SCRIPTED_SECRET not in ran.out + ran.err
    assert "provider unreachable cannot be reached" in ran.out
