"""What `dragoman doctor` looks at: each function looks at one thing and changes nothing."""

from __future__ import annotations

import asyncio
import errno
import os
import re
import socket
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import msgspec

from dragoman.cli.doctor import Finding
from dragoman.cli.terminal import local_url
from dragoman.config import Config, ConfiguredProvider, resolve_secret
from dragoman.engine.model_files import (
    PACKAGED_NAME,
    PACKAGED_SHA256,
    file_sha256,
    installed_model,
)
from dragoman.errors import DragomanError
from dragoman.http_client import Endpoint, HttpClient, HttpClientError, HttpRequest, HttpSettings
from dragoman.providers.http import HttpProvider
from dragoman.records.local_model import LocalModel
from dragoman.records.provider import Timeouts
from dragoman.stores import StoreFailed, inspect_schema, open_store

OLDEST_PYTHON = (3, 11)
IMPORT_TIMEOUT_S = 60
PROVIDER_TIMEOUT_S = 20
HEALTH_TIMEOUTS = Timeouts(connect_s=2.0, first_byte_s=5.0, idle_s=5.0, total_s=5.0)
GGUF_MAGIC = b"GGUF"

# Each is imported in a process of its own: one built for another processor kills its process.
_NATIVE_PARTS = ("msgspec", "httptools", "uvloop", "numpy", "jsonschema_rs", "xllamacpp")


def python_version() -> Finding:
    found = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info < OLDEST_PYTHON:
        return Finding("python", "fault", f"{found} is too old", "install Python 3.11 or newer")
    return Finding("python", "ok", found)


def packages() -> list[Finding]:
    """Whether everything that the installed package asks for is there."""
    try:
        wanted = metadata.requires("dragoman") or []
    except metadata.PackageNotFoundError:
        return [
            Finding("packages", "fault", "dragoman is not installed", "run: pip install dragoman")
        ]
    names = [re.split(r"[^A-Za-z0-9._-]", line)[0] for line in wanted if "extra ==" not in line]
    missing = []
    for name in names:
        try:
            metadata.distribution(name)
        except metadata.PackageNotFoundError:
            missing.append(name)
    if missing:
        return [
            Finding(
                "packages",
                "fault",
                f"missing: {', '.join(missing)}",
                f"run: {sys.executable} -m pip install {' '.join(missing)}",
            )
        ]
    return [Finding("packages", "ok", f"all {len(names)} are installed")]


def native_parts() -> list[Finding]:
    """Whether the compiled parts run on this processor and system."""
    broken = []
    running = [
        (
            name,
            subprocess.Popen(
                [sys.executable, "-c", f"import {name}"],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
            ),
        )
        for name in _NATIVE_PARTS
    ]
    for name, process in running:
        try:
            _, stderr = process.communicate(timeout=IMPORT_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            broken.append(Finding(name, "fault", "importing it never ends", _reinstall(name)))
            continue
        if process.returncode < 0:
            message = f"importing it kills the process (signal {-process.returncode})"
            broken.append(Finding(name, "fault", message, _reinstall(name)))
        elif process.returncode:
            lines = stderr.decode(errors="replace").strip().splitlines() or [
                "it cannot be imported"
            ]
            broken.append(Finding(name, "fault", lines[-1][:300], _reinstall(name)))
    return broken or [Finding("native parts", "ok", f"{', '.join(_NATIVE_PARTS)} load")]


def _reinstall(name: str) -> str:
    return f"run: {sys.executable} -m pip install --force-reinstall --no-deps {name}"


# --- The data directory -------------------------------------------------------------------------


def data_dir(config: Config) -> Finding:
    path = config.data_dir
    if not path.exists():
        parent = next(folder for folder in path.parents if folder.exists())
        if not os.access(parent, os.W_OK | os.X_OK):
            return Finding(
                "data directory",
                "fault",
                f"{path} does not exist, and {parent} is not writable",
                "make it, owned by this user, or set data_dir to another directory",
            )
        return Finding("data directory", "ok", f"{path} will be made at the first start")
    if not path.is_dir() or not os.access(path, os.R_OK | os.W_OK | os.X_OK):
        return Finding(
            "data directory",
            "fault",
            f"{path} is not a directory that this user can write to",
            f"run: chown {os.getuid()} {path}, or set data_dir to another directory",
        )
    if path.stat().st_mode & 0o077:
        return Finding(
            "data directory",
            "warning",
            f"{path} is open to other users of this machine",
            f"run: chmod 700 {path}",
        )
    return Finding("data directory", "ok", f"{path}, private and writable")


def database(config: Config) -> Finding:
    match inspect_schema(config.data_dir):
        case "absent":
            return Finding("database", "ok", "will be made at the first start")
        case "current":
            return Finding("database", "ok", "its schema is the newest")
        case "old":
            return Finding(
                "database", "ok", "its schema will be brought up to date at the next start"
            )
        case "newer":
            return Finding(
                "database",
                "fault",
                "it was made by a newer dragoman",
                "upgrade dragoman, or set data_dir to another directory",
            )
        case "unreadable":
            return Finding(
                "database",
                "fault",
                f"the database in {config.data_dir} cannot be read",
                "make it readable for this user, or put a sound copy in its place",
            )


def keys(config: Config) -> Finding:
    if inspect_schema(config.data_dir) != "current":
        return Finding("keys", "ok", "the first start makes one")
    try:
        store = open_store(config.data_dir)
    except StoreFailed as error:
        return Finding("keys", "fault", error.detail or error.message, "see the database above")
    try:
        kept = store.list_keys()
    finally:
        store.close()
    valid = sum(key.revoked_s is None for key in kept)
    if kept and not valid:
        return Finding("keys", "warning", "every key is revoked", "run: dragoman keys create NAME")
    return Finding("keys", "ok", f"{valid} valid" if kept else "the first start makes one")


# --- Models -------------------------------------------------------------------------------------


def local_models(config: Config) -> list[Finding]:
    if not config.local_models:
        return [Finding("embedded model", "ok", "switched off")]
    return [_local_model(model, config.data_dir) for model in config.local_models]


def _local_model(model: LocalModel, data_dir: Path) -> Finding:
    check = f"model {model.id}"
    path = installed_model(data_dir) if model.path is None else Path(model.path)
    if path is None:
        return Finding(
            check,
            "warning",
            "not installed; the first start fetches it (98 MB)",
            "run: dragoman models install",
        )
    try:
        with path.open("rb") as file:
            magic = file.read(len(GGUF_MAGIC))
    except OSError as error:
        return Finding(
            check, "fault", f"{path} cannot be read: {error.strerror}", "correct its path or rights"
        )
    remedy = (
        "remove it and run: dragoman models install" if model.path is None else "use a GGUF file"
    )
    if magic != GGUF_MAGIC:
        return Finding(check, "fault", f"{path} is not a GGUF file", remedy)
    if path.name == PACKAGED_NAME and model.path is None and file_sha256(path) != PACKAGED_SHA256:
        return Finding(check, "fault", f"{path} is damaged: its SHA-256 differs", remedy)
    return Finding(check, "ok", f"{path} ({path.stat().st_size // 2**20} MiB)")


# --- The network --------------------------------------------------------------------------------


def over_the_network(config: Config) -> list[Finding]:
    """The port, and every provider: asked only what costs nothing."""
    return asyncio.run(_over_the_network(config))


async def _over_the_network(config: Config) -> list[Finding]:
    client = HttpClient(HttpSettings(proxy=config.proxies))
    try:
        return await asyncio.gather(
            _port(config, client),
            *(_provider(configured, client) for configured in config.providers),
        )
    finally:
        await client.aclose()


class _Health(msgspec.Struct):
    status: str
    version: str


async def _port(config: Config, client: HttpClient) -> Finding:
    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((config.host, config.port))
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return await _who_listens(config, client)
        return Finding(
            "port",
            "fault",
            f"cannot listen on {config.host}:{config.port}: {error.strerror or error}",
            "set host to an address of this machine, and port to a number above 1023",
        )
    return Finding("port", "ok", f"{config.host}:{config.port} is free")


async def _who_listens(config: Config, client: HttpClient) -> Finding:
    endpoint = Endpoint("GET", f"{local_url(config)}/healthz")
    try:
        response = await client.send(
            HttpRequest(endpoint, timeouts=HEALTH_TIMEOUTS, max_body_bytes=64 * 1024)
        )
        try:
            health = msgspec.json.decode(await response.read(), type=_Health)
        finally:
            response.close()
    except (HttpClientError, msgspec.DecodeError, UnicodeError):
        return Finding(
            "port",
            "fault",
            f"another program listens on {config.host}:{config.port}",
            "stop it, or set another port",
        )
    return Finding(
        "port",
        "ok",
        f"dragoman {health.version} runs on {config.host}:{config.port}: {health.status}",
    )


async def _provider(configured: ConfiguredProvider, client: HttpClient) -> Finding:
    row = configured.row
    check = f"provider {row.name}"
    if not configured.models:
        return Finding(
            check, "warning", "it has no models", "add [[providers.models]] with an id below it"
        )
    remedy = f"check base_url ({row.base_url}), the network and the proxy"
    provider = HttpProvider(row, client, resolve_secret)
    try:
        async with asyncio.timeout(PROVIDER_TIMEOUT_S):
            health = await provider.check()
    except TimeoutError:
        return Finding(check, "fault", f"no answer within {PROVIDER_TIMEOUT_S} s", remedy)
    except DragomanError as error:
        return Finding(check, "fault", error.detail or error.message, remedy)
    finally:
        await provider.aclose()
    if not health.ok:
        return Finding(check, "fault", health.message, health.remedy or remedy)
    return Finding(check, "ok", health.message)
