"""Engines that another process runs: the side of the process that uses them.

`SharedEngines` is one link for all models; `SharedEngine` is what the local provider is given for each.
Requests go to the engine's socket directly. What has to be one for all processes is asked for over the
link: places in the queue, and whether anybody waits in vain.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import assert_never

import msgspec

from dragoman.engine.access import LoadedEngine
from dragoman.engine.availability import Availability
from dragoman.engine.share_messages import (
    EngineFacts,
    MessageLink,
    Note,
    Refused,
    Release,
    State,
    Take,
    Taken,
    Told,
    Turn,
)
from dragoman.errors import DragomanError, Draining, EngineFailed, InvalidRequest, Overloaded

NOTE_PERIOD_S = 0.1
"""How often at most it is told how the wait for an engine goes."""

_ERRORS: dict[str, type[DragomanError]] = {
    "overloaded": Overloaded,
    "too_many": InvalidRequest,
    "draining": Draining,
}


class SharedEngines:
    """`paths` says where each model's file is, for those who ask."""

    def __init__(self, paths: Mapping[str, Path]) -> None:
        self.engines = {model: SharedEngine(self, model, path) for model, path in paths.items()}
        self._asks: dict[int, asyncio.Future[None]] = {}
        self._places: dict[int, SharedPlace] = {}
        self._next_ticket = 0
        self._is_lost = False
        self._link = MessageLink(
            msgspec.msgpack.Decoder(Told), on_message=self._on_message, on_lost=self._lost
        )

    async def begin(self, sock: socket.socket) -> None:
        """Talk to whoever has the other end of `sock`."""
        await asyncio.get_running_loop().create_unix_connection(lambda: self._link, sock=sock)

    async def aclose(self) -> None:
        """Use them no more; the process that runs them takes back what is held."""
        for engine in self.engines.values():
            await engine.aclose()
        self._link.close()

    async def take(self, model: str, count: int) -> list[SharedPlace]:
        if self._is_lost:
            raise Draining
        first = self._next_ticket
        self._next_ticket += count
        places = [SharedPlace(self, first + i) for i in range(count)]
        answered = asyncio.get_running_loop().create_future()
        self._asks[first] = answered
        self._places |= {place.number: place for place in places}
        self._link.send(Take(model, first, count))
        try:
            await answered
        except BaseException:
            # A caller that leaves has taken nothing. Of a refusal there is nothing to give back.
            for place in places:
                place.release()
            raise
        finally:
            self._asks.pop(first, None)
        return places

    def release(self, place: SharedPlace) -> None:
        if self._places.pop(place.number, None) is not None:
            self._link.send(Release(place.number))

    def note(self, note: Note) -> None:
        self._link.send(note)

    def _on_message(self, message: Told) -> None:
        match message:
            case Turn():
                place = self._places.get(message.ticket)
                if place is not None:
                    place.turn.set()
            case Taken():
                answered = self._asks.get(message.first)
                if answered is not None and not answered.done():
                    answered.set_result(None)
            case Refused():
                answered = self._asks.get(message.first)
                if answered is not None and not answered.done():
                    answered.set_exception(
                        _ERRORS[message.reason](
                            message.message,
                            param=message.param,
                            retry_after_s=message.retry_after_s,
                        )
                    )
            case State():
                engine = self.engines.get(message.model)
                if engine is not None:
                    engine.learn(message)
            case _:
                assert_never(message)

    def _lost(self) -> None:
        """Whoever ran the engines is gone, and they with it."""
        self._is_lost = True
        for answered in self._asks.values():
            if not answered.done():
                answered.set_exception(Draining())
        for place in self._places.values():
            place.is_lost = True
            place.turn.set()
        for engine in self.engines.values():
            engine.lose()


class SharedPlace:
    """Implements `Place`."""

    __slots__ = ("_engines", "is_lost", "number", "turn")

    def __init__(self, engines: SharedEngines, number: int) -> None:
        self._engines = engines
        self.number = number
        self.turn = asyncio.Event()
        self.is_lost = False

    async def wait(self) -> None:
        await self.turn.wait()
        if self.is_lost:
            raise EngineFailed(retry_after_s=2.0)

    def release(self) -> None:
        self._engines.release(self)


class SharedEngine:
    """Implements `EngineAccess` for one model."""

    def __init__(self, engines: SharedEngines, model: str, model_path: Path) -> None:
        self.model = model
        self.model_path = model_path
        self.system_fingerprint: str | None = None
        self._engines = engines
        self._availability = Availability[RemoteEngine]()

    @property
    def engine(self) -> RemoteEngine | None:
        return self._availability.engine

    @property
    def failure(self) -> str | None:
        return self._availability.failure

    async def running(self, *, after: LoadedEngine | None = None) -> RemoteEngine:
        return await self._availability.running(after)

    async def admit(self, count: int) -> Sequence[SharedPlace]:
        return await self._engines.take(self.model, count)

    async def start(self) -> None:
        """Nothing: it is started by the process that runs it."""

    async def aclose(self) -> None:
        self._availability.close()

    def learn(self, state: State) -> None:
        availability = self._availability
        self.system_fingerprint = state.system_fingerprint
        availability.failure = state.failure
        engine = availability.engine
        if state.engine is None:
            engine = None
        elif engine is None or engine.facts != state.engine:
            engine = RemoteEngine(self._engines, self.model, state.engine)
        # A first load may have been and gone before this process began.
        availability.has_loaded = availability.has_loaded or state.system_fingerprint is not None
        availability.publish(engine)

    def lose(self) -> None:
        self._availability.close()
        self._availability.publish(None)


class RemoteEngine:
    """Implements `LoadedEngine`: notes how the wait for it goes, and tells that a few times a second."""

    def __init__(self, engines: SharedEngines, model: str, facts: EngineFacts) -> None:
        self.facts = facts
        self.pid = facts.pid
        self.socket_path = facts.socket_path
        self.key = facts.key
        self.vocabulary = facts.vocabulary
        self.context_tokens = facts.context_tokens
        self.knows_tools = facts.knows_tools
        self._engines = engines
        self._model = model
        self._waiting = 0
        self._was_idle = False
        self._has_progressed = False
        self._timer: asyncio.TimerHandle | None = None

    def progressed(self) -> None:
        self._has_progressed = True
        self._tell_soon()

    @contextmanager
    def awaited(self) -> Iterator[None]:
        self._waiting += 1
        self._tell_soon()
        try:
            yield
        finally:
            self._waiting -= 1
            if not self._waiting:
                self._was_idle = True
                self._tell_soon()

    def _tell_soon(self) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(NOTE_PERIOD_S, self._tell)

    def _tell(self) -> None:
        self._timer = None
        note = Note(self._model, self.pid, self._waiting > 0, self._was_idle, self._has_progressed)
        self._was_idle = self._has_progressed = False
        self._engines.note(note)
