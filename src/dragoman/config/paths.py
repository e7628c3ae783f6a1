"""Paths as people write them: with `~`, and relative to something."""

from __future__ import annotations

from pathlib import Path

from dragoman.config.settings import ConfigError


def absolute_path(text: str, base: Path) -> Path:
    """`text` as a path, `~` expanded, taken from `base` where it is relative."""
    try:
        path = Path(text).expanduser()
    except RuntimeError:
        raise ConfigError(f"{text} names a home directory that does not exist") from None
    return path if path.is_absolute() else base / path


def working_directory() -> Path:
    try:
        return Path.cwd()
    except FileNotFoundError:
        raise ConfigError("the working directory no longer exists; go to another") from None
