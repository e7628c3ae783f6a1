"""The embedded engine's part of the wiring."""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dragoman.config import Config, ConfigError
from dragoman.http_client import HttpClient
from dragoman.ports import Provider
from dragoman.records.model import Model

if TYPE_CHECKING:
    from dragoman.engine.access import EngineAccess
    from dragoman.engine.supervisor import EngineSupervisor


class Embedded:
    """The local models, and the provider over their engines."""

    def __init__(
        self,
        config: Config,
        engines: Mapping[str, EngineAccess],
        client: HttpClient,
        begin: Callable[[], Awaitable[None]],
        end: Callable[[], Awaitable[None]],
    ) -> None:
        from dragoman.providers.local import LocalProvider, describe_model  # noqa: PLC0415

        self.models: Sequence[Model] = [describe_model(model) for model in config.local_models]
        self.provider: Provider = LocalProvider(engines, client)
        self._begin = begin
        self._end = end

    async def start(self) -> None:
        """Begin to load every model, beside everything else, or to use what another process loads."""
        await self._begin()

    async def aclose(self) -> None:
        await self._end()


def embed(config: Config, client: HttpClient, link: socket.socket | None = None) -> Embedded:
    """`link` leads to the process that runs the engines; without one they are this process's own."""
    # Only who runs or uses an engine waits for its modules to be imported.
    if link is not None:
        from dragoman.engine.shared import SharedEngines  # noqa: PLC0415

        shared = SharedEngines(_model_paths(config))
        return Embedded(config, shared.engines, client, lambda: shared.begin(link), shared.aclose)
    supervisors = supervise_engines(config)

    async def start() -> None:
        for supervisor in supervisors.values():
            await supervisor.start()

    async def end() -> None:
        for supervisor in supervisors.values():
            await supervisor.aclose()

    return Embedded(config, supervisors, client, start, end)


def supervise_engines(config: Config) -> dict[str, EngineSupervisor]:
    """An engine for each local model, still to be started, by the model's id."""
    if not config.local_models:
        return {}
    from dragoman.engine.supervisor import EngineSupervisor  # noqa: PLC0415

    paths = _model_paths(config)
    return {
        model.id: EngineSupervisor(model, paths[model.id], config.data_dir / "run")
        for model in config.local_models
    }


def _model_paths(config: Config) -> dict[str, Path]:
    from dragoman.engine.model_files import installed_model  # noqa: PLC0415

    paths = {}
    for model in config.local_models:
        path = Path(model.path) if model.path is not None else installed_model(config.data_dir)
        if path is None:
            raise ConfigError(
                "the packaged model is not installed; run `dragoman models install`,"
                " or set embedded_model = false"
            )
        paths[model.id] = path
    return paths
