"""Models and providers as configured: the catalog folded in, names checked against each other."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

from dragoman.chat import Sampling
from dragoman.config.check import is_secret_name, suggest
from dragoman.config.paths import absolute_path
from dragoman.config.secrets import is_reference
from dragoman.config.settings import (
    DEFAULT_MODEL_ALIAS,
    DEFAULT_MODEL_ID,
    Config,
    ConfigError,
    ConfiguredProvider,
    ModelSection,
    ProviderSection,
    Settings,
)
from dragoman.providers.wires import WIRES
from dragoman.records.dollar_price import exact_tiers
from dragoman.records.given_price import GivenPrice
from dragoman.records.local_model import LocalModel
from dragoman.records.model import Model
from dragoman.records.provider import FORWARDED_IN_MESSAGES, ProviderRow, Timeouts

LOCAL_PROVIDER = "local"
"""The embedded engine's name among the providers."""

REFERENCE_REMEDY = 'write "env:NAME" or "file:PATH" instead, and keep the secret there'

_MAX_URL_CHARS = 2000


# --- Local models -------------------------------------------------------------------------------


def place_local_models(settings: Settings, base: Path) -> tuple[LocalModel, ...]:
    """The embedded engine's models, with absolute paths; the packaged one where none is given."""
    if not settings.embedded_model:
        return ()
    if not settings.local_models:
        return (LocalModel(id=DEFAULT_MODEL_ID, aliases=(DEFAULT_MODEL_ALIAS,)),)
    placed = []
    for model in settings.local_models:
        if model.path is not None:
            model = msgspec.structs.replace(  # noqa: PLW2901 - the same model, placed
                model, path=str(absolute_path(model.path, base))
            )
        elif not model.aliases:
            model = msgspec.structs.replace(  # noqa: PLW2901 - the same model, named as usual
                model, aliases=(DEFAULT_MODEL_ALIAS,)
            )
        placed.append(model)
    return tuple(placed)


# --- Providers ----------------------------------------------------------------------------------


def resolve_providers(
    sections: tuple[ProviderSection, ...], tables: list[dict[str, Any]], base: Path
) -> tuple[ConfiguredProvider, ...]:
    """Fold the catalog into `sections`; `tables` tells what of them was written down."""
    providers: list[ConfiguredProvider] = []
    for index, (section, table) in enumerate(zip(sections, tables, strict=True)):
        path = f"providers[{index}]"
        _refuse_plain_secrets(section, path)
        row = _resolve_row(section, table, path, base)
        if row.name == LOCAL_PROVIDER:
            raise ConfigError(f"{path}.name is {row.name!r}, the embedded engine's; use another")
        if any(row.name == other.row.name for other in providers):
            raise ConfigError(f"{path}.name is {row.name!r} a second time; give it another name")
        models = tuple(_resolve_model(model, row) for model in section.models)
        providers.append(ConfiguredProvider(row=row, models=models))
    return tuple(providers)


def _resolve_row(
    section: ProviderSection, table: dict[str, Any], path: str, base: Path
) -> ProviderRow:
    from dragoman.providers.catalog import CATALOG  # noqa: PLC0415 - most files have no providers

    known = None
    if section.kind is not None:
        known = CATALOG.get(section.kind)
        if known is None:
            raise ConfigError(f"{path}.kind is {section.kind!r}; {suggest(section.kind, CATALOG)}")
    changes: dict[str, Any] = {
        field: getattr(section, field)
        for field in ProviderRow.__struct_fields__
        if getattr(section, field, None) is not None
    }
    if section.api_key is not None:
        changes["api_key"] = place_reference(section.api_key, base)
    for name in ("headers", "query"):
        if name in changes:
            given = {key: place_reference(value, base) for key, value in changes[name].items()}
            inherited = dict(getattr(known, name)) if known is not None else {}
            changes[name] = tuple((inherited | given).items())
    if "timeouts" in changes:
        timeouts = known.timeouts if known is not None else Timeouts()
        given_timeouts = {name: getattr(section.timeouts, name) for name in table["timeouts"]}
        changes["timeouts"] = msgspec.structs.replace(timeouts, **given_timeouts)
    if known is not None:
        row = msgspec.structs.replace(known, **changes)
    else:
        for name in ("name", "wire", "base_url"):
            if name not in changes:
                raise ConfigError(
                    f"{path}.{name} is missing; add it, or name a kind of the catalog: "
                    f"{', '.join(sorted(CATALOG))}"
                )
        row = ProviderRow(**changes)
    _check_base_url(row.base_url, path)
    return row


def _resolve_model(section: ModelSection, row: ProviderRow) -> Model:
    return Model(
        id=section.id,
        provider=row.name,
        upstream_name=section.upstream_name or section.id,
        aliases=section.aliases,
        fallbacks=section.fallbacks,
        context_tokens=section.context_tokens,
        max_output_tokens=section.max_output_tokens,
        default_sampling=Sampling(temperature=section.temperature, top_p=section.top_p),
        default_system_prompt=section.default_system_prompt,
        lacks=WIRES[row.wire].lacks | row.lacks | section.lacks,
        max_stops=row.max_stops if section.max_stops is None else section.max_stops,
        max_ttft_ms=section.max_ttft_ms,
        forwards=frozenset(row.forwards) - FORWARDED_IN_MESSAGES,
        owned_by=section.owned_by or row.name,
    )


def read_prices(settings: Settings) -> tuple[GivenPrice, ...]:
    """The prices that models were given, in nano-USD; raises `ConfigError`."""
    models: list[tuple[str, LocalModel | ModelSection]] = [
        (f"local_models[{i}]", model) for i, model in enumerate(settings.local_models)
    ]
    for p, provider in enumerate(settings.providers):
        models += [
            (f"providers[{p}].models[{m}]", model) for m, model in enumerate(provider.models)
        ]
    prices = []
    for path, model in models:
        if model.price is None:
            continue
        try:
            tiers = exact_tiers(model.price)
        except ValueError as error:
            raise ConfigError(f"{path}.price.{error}") from None
        prices.append(GivenPrice(model=model.id, source="config", tiers=tiers))
    return tuple(prices)


def _refuse_plain_secrets(section: ProviderSection, path: str) -> None:
    if section.api_key is not None and not is_reference(section.api_key):
        raise ConfigError(f"{path}.api_key holds a secret in plain text; {REFERENCE_REMEDY}")
    for name, pairs in (("headers", section.headers), ("query", section.query)):
        for key, value in (pairs or {}).items():
            if is_secret_name(key) and not is_reference(value):
                raise ConfigError(
                    f"{path}.{name}.{key} holds a secret in plain text; {REFERENCE_REMEDY}"
                )


def place_reference(value: str, base: Path) -> str:
    """Make the path of a `file:` reference absolute, so that it means the same to everyone."""
    kind, _, where = value.partition(":")
    if kind != "file" or not is_reference(value):
        return value
    return f"file:{absolute_path(where, base)}"


def _check_base_url(url: str, path: str) -> None:
    # First what may hold a secret, so that no message repeats it.
    if "@" in url.partition("://")[2].partition("/")[0]:
        raise ConfigError(f"{path}.base_url holds a user name or password; use api_key or headers")
    if "?" in url or "#" in url:
        raise ConfigError(f"{path}.base_url has a ? or #; give parameters as query = {{ … }}")
    try:
        parts = urlsplit(url)
        is_sound = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
        is_placeholder = (parts.hostname or "").endswith(".invalid")
    except ValueError:
        is_sound = is_placeholder = False
    if is_placeholder:
        # The catalog cannot know it: each customer has a host of their own.
        raise ConfigError(f"{path}.base_url is missing; add the one of your account")
    if not is_sound or len(url) > _MAX_URL_CHARS or not url.isprintable() or " " in url:
        raise ConfigError(
            f"{path}.base_url is {url[:60]!r}; use a whole URL with its version path, "
            'like "https://api.openai.com/v1"'
        )


def refuse_own_address(providers: tuple[ConfiguredProvider, ...], host: str, port: int) -> None:
    """Raise `ConfigError` where a provider is this very server, which would ask itself for ever."""
    own = {host, "localhost", "127.0.0.1", "::1"}
    for index, provider in enumerate(providers):
        parts = urlsplit(provider.row.base_url)
        if (
            parts.hostname in own
            and (parts.port or (443 if parts.scheme == "https" else 80)) == port
        ):
            raise ConfigError(
                f"providers[{index}].base_url is {provider.row.base_url}, where this server itself "
                "listens; set port, or the base_url, to another"
            )


def warn_of_open_secrets(providers: tuple[ConfiguredProvider, ...]) -> list[str]:
    """A warning for each provider whose key would travel where others can read it."""
    warnings = []
    for provider in providers:
        parts = urlsplit(provider.row.base_url)
        host = parts.hostname or ""
        is_near = host in {"localhost", "::1"} or host.startswith("127.")
        if provider.row.api_key is not None and parts.scheme == "http" and not is_near:
            warnings.append(
                f"provider {provider.row.name}: its key is sent to {host} unencrypted; use https://"
            )
    return warnings


# --- Names --------------------------------------------------------------------------------------


def check_model_names(
    local_models: tuple[LocalModel, ...], providers: tuple[ConfiguredProvider, ...]
) -> dict[str, str]:
    """Every id and alias, and which setting it is.

    Raises `ConfigError` unless each is usable and means one model.
    """
    owners: dict[str, str] = {}
    models: list[tuple[str, LocalModel | Model]] = [
        (f"local_models[{i}]", model) for i, model in enumerate(local_models)
    ]
    for p, provider in enumerate(providers):
        models += [
            (f"providers[{p}].models[{m}]", model) for m, model in enumerate(provider.models)
        ]
    for path, model in models:
        names = [(f"{path}.id", model.id)]
        names += [(f"{path}.aliases[{i}]", alias) for i, alias in enumerate(model.aliases)]
        for where, name in names:
            if not name or len(name) > 200 or not name.isprintable() or " " in name:
                raise ConfigError(f"{where} is {name[:60]!r}; use up to 200 characters, no spaces")
            if name in owners:
                raise ConfigError(
                    f"{where} is {name!r}, which {owners[name]} is already; give it another name"
                )
            owners[name] = where
    for path, model in models:
        for index, fallback in enumerate(model.fallbacks if isinstance(model, Model) else ()):
            if fallback not in owners:
                raise ConfigError(
                    f"{path}.fallbacks[{index}] is {fallback!r}, which is no model; "
                    f"{suggest(fallback, owners)}"
                )
            if fallback == model.id or fallback in model.aliases:
                raise ConfigError(f"{path}.fallbacks[{index}] is the model itself; remove it")
    return owners


def choose_default_model(
    wanted: str | None,
    local_models: tuple[LocalModel, ...],
    providers: tuple[ConfiguredProvider, ...],
) -> str:
    """The name of the model that answers requests which name none; raises `ConfigError`."""
    models: list[LocalModel | Model] = [*local_models]
    for provider in providers:
        models += provider.models
    names = {name for model in models for name in (model.id, *model.aliases)}
    if not names:
        raise ConfigError(
            "there is no model: embedded_model is false and no provider has models; "
            "add [[providers.models]] with an id, or remove embedded_model = false"
        )
    if wanted is None:
        return DEFAULT_MODEL_ALIAS if DEFAULT_MODEL_ALIAS in names else models[0].id
    if wanted not in names:
        raise ConfigError(
            f"default_model is {wanted!r}, which is no model; {suggest(wanted, names)}"
        )
    return wanted


def without_packaged_model(config: Config) -> Config | None:
    """`config` without the model that has to be fetched first; `None` when no other is left."""
    local_models = tuple(model for model in config.local_models if model.path is not None)
    names = {name for model in local_models for name in (model.id, *model.aliases)}
    for provider in config.providers:
        names |= {name for model in provider.models for name in (model.id, *model.aliases)}
    if not names:
        return None
    wanted = config.default_model if config.default_model in names else None
    providers = tuple(_without_fallbacks(provider, names) for provider in config.providers)
    return msgspec.structs.replace(
        config,
        local_models=local_models,
        providers=providers,
        default_model=choose_default_model(wanted, local_models, providers),
    )


def _without_fallbacks(provider: ConfiguredProvider, names: set[str]) -> ConfiguredProvider:
    """`provider`, whose models fall back only to `names`."""
    models = [
        msgspec.structs.replace(
            model, fallbacks=tuple(name for name in model.fallbacks if name in names)
        )
        for model in provider.models
    ]
    return msgspec.structs.replace(provider, models=tuple(models))
