"""What a provider asks of an engine, whether its child is run by this process or by another one."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol


class Place(Protocol):
    """A place in the engine's queue, then a slot."""

    async def wait(self) -> None:
        """Return when the slot is this one's. Raises `EngineFailed` where nobody can give it any more."""
        ...

    def release(self) -> None:
        """Once or more often, by whoever was given the place."""
        ...


class LoadedEngine(Protocol):
    """An engine that has its model loaded."""

    @property
    def socket_path(self) -> str: ...

    @property
    def key(self) -> str:
        """What every request to the socket must carry."""
        ...

    @property
    def pid(self) -> int: ...

    @property
    def vocabulary(self) -> int: ...

    @property
    def context_tokens(self) -> int: ...

    @property
    def knows_tools(self) -> bool: ...

    def progressed(self) -> None:
        """It produced something."""
        ...

    def awaited(self) -> AbstractContextManager[None]:
        """Around each wait for the engine. A wait for a slow client is none, and must be outside."""
        ...


class EngineAccess(Protocol):
    """The engine of one local model."""

    @property
    def model_path(self) -> Path: ...

    @property
    def system_fingerprint(self) -> str | None:
        """Known from the first load on."""
        ...

    @property
    def failure(self) -> str | None:
        """Why there is no engine, in words for the operator, while it fails to start."""
        ...

    @property
    def engine(self) -> LoadedEngine | None:
        """The running engine, if there is one at this moment."""
        ...

    async def running(self, *, after: LoadedEngine | None = None) -> LoadedEngine:
        """The engine, waited for while it loads; `EngineFailed` when that takes too long or fails.

        `after` is known to be gone, perhaps before anybody has noticed.
        """
        ...

    async def admit(self, count: int) -> Sequence[Place]:
        """Places for `count` answers, all or none; `Overloaded` when the queue is full."""
        ...

    async def start(self) -> None: ...

    async def aclose(self) -> None: ...
