"""Packages for tests of Node clients: installed once, beside the virtual environment."""

from __future__ import annotations

import fcntl
import shutil
import subprocess
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent.parent / ".venv" / "share" / "node"
PACKAGES = ("openai@6", "ai@6", "@ai-sdk/openai-compatible@2")
INSTALL_TIMEOUT_S = 110


def node_modules() -> Path:
    """The folder that Node resolves imports from; skips the test where npm is absent."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("npm is not installed")
    FOLDER.mkdir(parents=True, exist_ok=True)
    modules = FOLDER / "node_modules"
    # One npm at a time: parallel test processes share the folder.
    with (FOLDER / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        names = {package: package.rpartition("@")[0] for package in PACKAGES}
        if any(not (modules / name / "package.json").exists() for name in names.values()):
            subprocess.run(
                [npm, "install", "--prefix", str(FOLDER), "--no-audit", "--no-fund", *names],
                check=True,
                capture_output=True,
                timeout=INSTALL_TIMEOUT_S,
            )
    return modules
