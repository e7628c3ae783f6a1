"""Reads the settings file and the environment into a `Config`."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec

from dragoman.config.check import (
    check_table,
    convert_text,
    is_list_of_sections,
    section_of,
    suggest,
)
from dragoman.config.models import (
    check_model_names,
    choose_default_model,
    place_local_models,
    read_prices,
    refuse_own_address,
    resolve_providers,
    warn_of_open_secrets,
)
from dragoman.config.paths import absolute_path, working_directory
from dragoman.config.settings import Config, ConfigError, Settings
from dragoman.http_client.settings import ProxySettings
from dragoman.policy.administration.project_wishes import ProjectDefinition, ToolServerWish
from dragoman.policy.networks import parse_network
from dragoman.records.limits import Limits

ENVIRONMENT_PREFIX = "DRAGOMAN_"
FILE_NAME = "dragoman.toml"
MAX_FILE_BYTES = 1024 * 1024
MAX_DEPTH = 64

# Variables with our prefix that are no settings: the file's own place, and what `chat` and the
# first start read.
_OTHER_VARIABLES = frozenset({"CONFIG", "BOOTSTRAP_KEY", "URL", "API_KEY"})
_EVERY_ADDRESS = frozenset({"0.0.0.0", "::", "*"})  # noqa: S104 - named in order to warn


def load_config(
    path: Path | None = None,
    overrides: Mapping[str, str] | None = None,
    environ: Mapping[str, str] | None = None,
) -> Config:
    """Read everything that can be set; `overrides` (the command line's) beat the environment.

    `path` names the file; otherwise it is `$DRAGOMAN_CONFIG`, or `dragoman.toml` in the working
    directory or the user's configuration directory, if there is one. Raises `ConfigError`.
    """
    environ = os.environ if environ is None else environ
    file = _find_file(path, environ)
    base = file.parent if file is not None else working_directory()
    table: dict[str, Any] = {}
    if file is not None:
        try:
            table = _read_table(file)
            check_table(table, Settings)
            if "data_dir" in table:
                table["data_dir"] = str(absolute_path(table["data_dir"], base))
        except ConfigError as error:
            raise ConfigError(f"{file}: {error}") from None
    origins = {name: str(file) for name in table}
    warnings = _apply_environment(table, environ, origins)
    for name, text in (overrides or {}).items():
        flag = f"--{name.replace('_', '-')}"
        table[name] = convert_text(flag, text, _scalar_settings()[name])
        origins[name] = flag
    try:
        settings = msgspec.convert(table, Settings)
        config = _complete(settings, table, file, base, environ)
    except ConfigError as error:
        raise ConfigError(f"{file}: {error}" if file is not None else str(error)) from None
    if config.prices:
        origins["prices"] = str(file)
    if config.host in _EVERY_ADDRESS:
        warnings.append(
            f"host is {config.host}: everyone who can reach this machine can reach the server; "
            "put a proxy with TLS before it, or use 127.0.0.1"
        )
    warnings += warn_of_open_secrets(config.providers)
    if not config.accounting:
        warnings.append("accounting is off: what is used is neither recorded nor charged")
    return msgspec.structs.replace(config, origins=tuple(origins.items()), warnings=tuple(warnings))


def _complete(
    settings: Settings,
    table: dict[str, Any],
    file: Path | None,
    base: Path,
    environ: Mapping[str, str],
) -> Config:
    if settings.local_models and not settings.embedded_model:
        raise ConfigError("local_models are given, and embedded_model is false; remove one of both")
    _check_origins(settings.cors_origins)
    _check_networks(settings.trusted_proxies)
    local_models = place_local_models(settings, base)
    providers = resolve_providers(settings.providers, table.get("providers", []), base)
    refuse_own_address(providers, settings.host, settings.port)
    model_names = check_model_names(local_models, providers)
    projects, tool_servers = _read_projects(settings, model_names, base)
    return Config(
        host=settings.host,
        port=settings.port,
        data_dir=_place_data_dir(settings.data_dir, environ),
        default_model=choose_default_model(settings.default_model, local_models, providers),
        cors_origins=settings.cors_origins,
        trusted_proxies=settings.trusted_proxies,
        max_body_bytes=settings.max_body_bytes,
        max_choices=settings.max_choices,
        workers=settings.workers,
        limits=Limits(
            requests_per_minute=settings.requests_per_minute,
            tokens_per_minute=settings.tokens_per_minute,
            concurrent_requests=settings.concurrent_requests,
        ),
        accounting=settings.accounting,
        usage_retention_days=settings.usage_retention_days,
        webhook_allow_private=settings.webhook_allow_private,
        header_hold_s=settings.header_hold_s,
        shutdown_grace_s=settings.shutdown_grace_s,
        log_level=settings.log_level,
        log_format=settings.log_format,
        local_models=local_models,
        providers=providers,
        prices=read_prices(settings),
        projects=projects,
        tool_servers=tool_servers,
        proxies=read_proxies(environ),
        path=file,
        origins=(),
        warnings=(),
    )


def _read_projects(
    settings: Settings, model_names: Mapping[str, str], base: Path
) -> tuple[tuple[ProjectDefinition, ...], tuple[ToolServerWish, ...]]:
    if not settings.projects and not settings.tool_servers:
        return (), ()
    from dragoman.config.projects import (  # noqa: PLC0415 - most files have none
        read_projects,
        read_tool_servers,
    )

    tool_servers = read_tool_servers(settings.tool_servers, base)
    return read_projects(settings.projects, tool_servers, model_names, base), tool_servers


# --- The file -----------------------------------------------------------------------------------


def _find_file(path: Path | None, environ: Mapping[str, str]) -> Path | None:
    if path is None and environ.get("DRAGOMAN_CONFIG"):
        path = Path(environ["DRAGOMAN_CONFIG"])
    if path is not None:
        return absolute_path(str(path), working_directory())
    home = environ.get("XDG_CONFIG_HOME") or "~/.config"
    here = working_directory()
    for candidate in (here / FILE_NAME, absolute_path(home, here) / "dragoman" / FILE_NAME):
        if candidate.is_file():
            return candidate
    return None


def _read_table(file: Path) -> dict[str, Any]:
    try:
        with file.open("rb") as stream:
            content = stream.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"the file cannot be read: {error.strerror}") from None
    if len(content) > MAX_FILE_BYTES:
        raise ConfigError(f"the file is over {MAX_FILE_BYTES} bytes long; is it the right one?")
    try:
        # Decimals: money is read as it is written.
        table = tomllib.loads(content.decode(), parse_float=Decimal)
    except UnicodeDecodeError:
        raise ConfigError("the file is not text in UTF-8") from None
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigError(f"the file is not TOML: {error}") from None
    _refuse_depth(table)
    return table


def _refuse_depth(table: dict[str, Any]) -> None:
    """Dotted keys nest without end at no cost to whoever writes them."""
    level: list[Any] = [table]
    for _ in range(MAX_DEPTH):
        level = [
            item
            for value in level
            for item in (value.values() if isinstance(value, dict) else value)
            if isinstance(item, dict | list)
        ]
        if not level:
            return
    raise ConfigError(f"the file has tables within tables, {MAX_DEPTH} deep; nest them less")


def _place_data_dir(text: str | None, environ: Mapping[str, str]) -> Path:
    if text is not None:
        return absolute_path(text, working_directory())
    home = environ.get("XDG_DATA_HOME") or "~/.local/share"
    return absolute_path(home, working_directory()) / "dragoman"


def _check_origins(origins: tuple[str, ...]) -> None:
    for index, origin in enumerate(origins):
        scheme, separator, host = origin.partition("://")
        if origin == "*" or (
            separator and scheme in {"http", "https"} and host and "/" not in host
        ):
            continue
        raise ConfigError(
            f"cors_origins[{index}] is {origin!r}; use scheme and host without a path, "
            'like "https://app.example.com", or "*"'
        )


def _check_networks(networks: tuple[str, ...]) -> None:
    for index, network in enumerate(networks):
        try:
            parse_network(network)
        except ValueError as error:
            raise ConfigError(f"trusted_proxies[{index}]: {error}") from None


# --- The environment ----------------------------------------------------------------------------


def _scalar_settings() -> dict[str, Any]:
    """The top-level settings that one variable or flag can hold, and their types."""
    return {
        field.name: field.type
        for field in msgspec.structs.fields(Settings)
        if not (section_of(field.type) is not None and is_list_of_sections(field.type))
    }


def _apply_environment(
    table: dict[str, Any], environ: Mapping[str, str], origins: dict[str, str]
) -> list[str]:
    """Put what the environment sets into `table`; returns a warning for each unknown variable."""
    warnings: list[str] = []
    given = {n: text for n, text in environ.items() if n.startswith(ENVIRONMENT_PREFIX) and text}
    if not given:
        return warnings
    settings = _scalar_settings()
    for variable, text in given.items():
        name = variable.removeprefix(ENVIRONMENT_PREFIX)
        if name in _OTHER_VARIABLES:
            continue
        wanted = settings.get(name.lower())
        if wanted is None:
            known = [ENVIRONMENT_PREFIX + n.upper() for n in settings]
            near = suggest(variable, known)
            if near.startswith("did"):
                warnings.append(f"the variable {variable} is not known; {near}")
            continue
        table[name.lower()] = convert_text(variable, text, wanted)
        origins[name.lower()] = variable
    return warnings


def read_proxies(environ: Mapping[str, str]) -> ProxySettings:
    """The proxies that curl and most programs would use, in lower or upper case.

    `HTTP_PROXY` in upper case is not taken in a CGI process, where a client's `Proxy` header sets it.
    """

    def read(name: str) -> str | None:
        return environ.get(name) or environ.get(name.upper()) or None

    http = environ.get("http_proxy") or (
        None if "REQUEST_METHOD" in environ else environ.get("HTTP_PROXY")
    )
    fallback = read("all_proxy")
    exceptions = (read("no_proxy") or "").split(",")
    return ProxySettings(
        http=http or fallback,
        https=read("https_proxy") or fallback,
        no_proxy=tuple(name.strip() for name in exceptions if name.strip()),
    )
