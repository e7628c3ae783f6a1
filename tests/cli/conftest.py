"""Ways to run `dragoman` as a shell would."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest

from dragoman.__main__ import main


@dataclass(frozen=True)
class Ran:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.out)


Run = Callable[..., Ran]


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def environment(tmp_path: Path, data_dir: Path) -> dict[str, str]:
    """Nothing of ours but a data directory; no settings file is found."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("DRAGOMAN_")}
    return kept | {
        "DRAGOMAN_DATA_DIR": str(data_dir),
        "XDG_CONFIG_HOME": str(tmp_path / "no-config"),
        "HOME": str(tmp_path),
        "COLUMNS": "100",
    }


@pytest.fixture
def dragoman(
    environment: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Run:
    """Runs a command in this process: fast, and all of it but the interpreter's start."""

    def run(*arguments: str, env: Mapping[str, str] | None = None) -> Ran:
        monkeypatch.chdir(tmp_path)
        for name in [name for name in os.environ if name.startswith("DRAGOMAN_")]:
            monkeypatch.delenv(name)
        for name, value in (environment | dict(env or {})).items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(sys, "argv", ["dragoman", *arguments])
        capsys.readouterr()
        code = 0
        try:
            main()
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else 0
        said = capsys.readouterr()
        return Ran(code, said.out, said.err)

    return run


@pytest.fixture
def shell(environment: dict[str, str], tmp_path: Path) -> Run:
    """Runs a command in a process of its own."""

    def run(
        *arguments: str,
        env: Mapping[str, str] | None = None,
        stdin: str = "",
        timeout_s: float = 60,
    ) -> Ran:
        done = subprocess.run(
            [sys.executable, "-m", "dragoman", *arguments],
            env=environment | dict(env or {}),
            cwd=tmp_path,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
        return Ran(done.returncode, done.stdout, done.stderr)

    return run
