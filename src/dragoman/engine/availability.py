"""Whether there is an engine now, and the wait for one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar

from dragoman.engine.access import LoadedEngine
from dragoman.errors import Draining, EngineFailed

LOAD_TIMEOUT_S = 600.0
RESTART_WAIT_S = 15.0
"""How long a request waits for an engine that is being restarted."""

E = TypeVar("E", bound=LoadedEngine)


class Availability(Generic[E]):
    def __init__(self) -> None:
        self.engine: E | None = None
        self.failure: str | None = None
        """Why there is no engine, in words for the operator, while it fails to start."""
        self.has_loaded = False
        """There has been one before."""
        self.is_closing = False
        self.on_change: list[Callable[[], None]] = []
        self._changed = asyncio.Event()

    def publish(self, engine: E | None) -> None:
        self.engine = engine
        if engine is not None:
            self.has_loaded = True
        self._tell()

    def close(self) -> None:
        """Refuse whoever waits, and whoever asks from here on."""
        self.is_closing = True
        self._tell()

    def _tell(self) -> None:
        self._changed.set()
        for listener in list(self.on_change):
            listener()

    async def running(self, after: LoadedEngine | None = None) -> E:
        """See `EngineAccess.running`."""
        if self.engine is not None and self.engine is not after:
            return self.engine
        # A first load may take as long as it needs; a restart is quick, or something is wrong.
        wait_s = RESTART_WAIT_S if self.has_loaded else LOAD_TIMEOUT_S
        try:
            async with asyncio.timeout(wait_s):
                return await self._next_engine(after)
        except TimeoutError:
            raise EngineFailed(retry_after_s=5.0) from None

    async def _next_engine(self, after: LoadedEngine | None) -> E:
        while (engine := self.engine) is None or engine is after:
            if self.is_closing:
                raise Draining
            if self.failure is not None:
                raise EngineFailed(
                    "The model cannot be started; the server's log says why.", detail=self.failure
                )
            self._changed.clear()
            await self._changed.wait()
        return engine
