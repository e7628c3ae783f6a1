"""The settings file's projects and tool servers, made true: when the server starts, and when somebody asks.

A start must not fail because of what others did to a project since; so it keeps what they changed, and goes on
where something cannot be applied, and says both.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from dragoman.config import Config
from dragoman.policy.routing import ModelDirectory
from dragoman.ports import Clock
from dragoman.records.model import Model
from dragoman.stores import Store, open_store

if TYPE_CHECKING:
    from dragoman.policy.administration import Administration
    from dragoman.policy.administration.definitions import Definitions, Difference, FileApplied

MAX_NAMED = 20

_log = logging.getLogger("dragoman.definitions")


def configured_models(config: Config) -> ModelDirectory:
    """The models that can be named, as they are configured; nothing of them is loaded."""
    local = [
        Model(id=model.id, provider="local", upstream_name=model.id, aliases=model.aliases)
        for model in config.local_models
    ]
    hosted = [model for provider in config.providers for model in provider.models]
    return ModelDirectory([*local, *hosted], config.default_model)


def definitions_of(config: Config, office: Administration, store: Store) -> Definitions:
    """What `config` defines, over the store beneath `office`."""
    from dragoman.policy.administration.definitions import (  # noqa: PLC0415 - most starts need none
        Definitions,
    )

    return Definitions(
        office,
        store,
        configured_models(config),
        projects=config.projects,
        tool_servers=config.tool_servers,
    )


def apply_at_start(config: Config, clock: Clock) -> None:
    """Make what there is follow the file, but for what others changed since; to be called once, by one process,
    before connections are taken.

    Says in the log what was made, what was kept, and what could not be. Raises what the store raises.
    """
    store = open_store(config.data_dir)
    try:
        apply_definitions(config, store, clock)
    finally:
        store.close()


def apply_definitions(config: Config, store: Store, clock: Clock) -> None:
    """The same over a store that is open."""
    if not (
        *config.projects,
        *config.tool_servers,
        *store.list_projects(),
        *store.list_tool_servers(),
    ):
        return
    from dragoman.policy.administration import (  # noqa: PLC0415 - most starts need none
        Administration,
    )

    office = Administration(
        store,
        clock,
        f"file:{config.path or 'none'}",
        directory=configured_models(config),
        allows_plain_webhooks=config.webhook_allow_private,
    )
    _tell(definitions_of(config, office, store).apply(force=False))
    for collision in office.projects.collisions():
        _log.warning("%s", collision)
    if not config.accounting:
        _warn_of_campaigns(store)


def _warn_of_campaigns(store: Store) -> None:
    keys = [campaign.key for campaign in store.list_campaigns() if campaign.is_active]
    if keys:
        _log.warning(
            "nothing is counted for the campaigns %s: nothing is kept of completions while accounting = false",
            ", ".join(keys[:20]),
        )


def _tell(applied: FileApplied) -> None:
    """Of values only where they are: they may be prompts."""
    if applied.changed:
        _log.info("made as the settings file says: %s", _paths(applied.changed))
    kept = [each for each in applied.kept if not _is_gone(each)]
    if kept:
        _log.warning(
            "kept, because others changed it since the settings file was applied: %s; to see it:"
            " dragoman config diff; to make it what the file says: dragoman config apply --overwrite",
            _paths(kept),
        )
    gone = [each for each in applied.kept if _is_gone(each)]
    if gone:
        _log.warning(
            "no longer in the settings file, and kept: %s; to end a project: dragoman projects archive KEY;"
            " a tool server: dragoman tools remove KEY; to keep it without the file: dragoman config release",
            _paths(gone),
        )
    for failure in applied.failed:
        _log.error(
            "%s is not as the settings file says: %s; after mending it: dragoman config apply",
            failure.path,
            failure.reason,
        )


def _is_gone(difference: Difference) -> bool:
    return difference.state == "only_api" and difference.path.count(".") == 1


def _paths(differences: Sequence[Difference]) -> str:
    named = ", ".join(each.path for each in differences[:MAX_NAMED])
    more = len(differences) - MAX_NAMED
    return f"{named} and {more} more" if more > 0 else named
