"""Secrets are referred to, never written down: `env:NAME` or `file:PATH`."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from dragoman.config.paths import absolute_path, working_directory
from dragoman.config.settings import ConfigError

MAX_SECRET_BYTES = 64 * 1024
BOOTSTRAP_VARIABLE = "DRAGOMAN_BOOTSTRAP_KEY"

_VARIABLE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")


class SecretUnavailable(ConfigError, LookupError):
    """A reference is sound, and what it refers to is missing, empty or unreadable."""


def is_reference(value: str) -> bool:
    """Whether `value` has the form of a reference to a secret."""
    kind, _, where = value.partition(":")
    if kind == "env":
        return _VARIABLE_NAME.match(where) is not None
    return kind == "file" and bool(where) and "\0" not in where


def resolve_secret(reference: str, environ: Mapping[str, str] | None = None) -> str:
    """The secret that `env:NAME` or `file:PATH` refers to, without surrounding white space.

    Raises `SecretUnavailable`, whose message names the reference and never its content. Reads the
    file each time, so that a rotated secret is found.
    """
    if not is_reference(reference):
        # The text may be the secret itself: it must not be shown.
        raise SecretUnavailable("a secret is given in plain text; write env:NAME or file:PATH")
    kind, _, where = reference.partition(":")
    if kind == "env":
        secret = (os.environ if environ is None else environ).get(where, "").strip()
        if not secret:
            raise SecretUnavailable(f"the environment variable {where} is not set; export it")
    else:
        secret = _read_secret_file(_secret_path(where))
    if not secret.isprintable():
        raise SecretUnavailable(f"the secret at {reference} has line breaks or control characters")
    return secret


def _secret_path(where: str) -> Path:
    try:
        return absolute_path(where, working_directory())
    except ConfigError as error:
        raise SecretUnavailable(str(error)) from None


def _read_secret_file(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_SECRET_BYTES + 1)
    except OSError as error:
        raise SecretUnavailable(
            f"the secret file {path} cannot be read: {error.strerror}"
        ) from None
    if len(content) > MAX_SECRET_BYTES:
        raise SecretUnavailable(f"the secret file {path} is over {MAX_SECRET_BYTES} bytes long")
    try:
        secret = content.decode().strip()
    except UnicodeDecodeError:
        raise SecretUnavailable(f"the secret file {path} is not text in UTF-8") from None
    if not secret:
        raise SecretUnavailable(f"the secret file {path} is empty")
    return secret


def read_bootstrap_key(environ: Mapping[str, str] | None = None) -> str | None:
    """The first key's value, where the operator chose one; it is no part of `Config`, so that
    nothing that shows a `Config` can show it."""
    return (os.environ if environ is None else environ).get(BOOTSTRAP_VARIABLE) or None
