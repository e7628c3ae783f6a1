"""Lets another process use this one's engines: the side of the process that runs them.

One `EngineShare` for each process that is let in. The queue and its bound are the supervisor's, so they
hold over all processes together, first come, first served. What a process holds is free again as soon
as its end of the link is closed, which the kernel does for one that dies.
"""

from __future__ import annotations

import socket
from asyncio import get_running_loop
from collections.abc import Callable, Mapping
from typing import assert_never

import msgspec

from dragoman.engine.share_messages import (
    Asked,
    EngineFacts,
    MessageLink,
    Note,
    RefusalReason,
    Refused,
    Release,
    State,
    Take,
    Taken,
    Turn,
)
from dragoman.engine.slots import Ticket
from dragoman.engine.supervisor import Engine, EngineSupervisor
from dragoman.errors import DragomanError, Draining, InvalidRequest, Overloaded


class EngineShare:
    def __init__(self, supervisors: Mapping[str, EngineSupervisor]) -> None:
        self._supervisors = supervisors
        self._tickets: dict[int, Ticket] = {}
        self._awaited: dict[str, Engine] = {}
        """The engines that the other process waits for, by model."""
        self._listeners: list[tuple[EngineSupervisor, Callable[[], None]]] = []
        self._link = MessageLink(
            msgspec.msgpack.Decoder(Asked), on_message=self._on_message, on_lost=self.close
        )

    async def begin(self, sock: socket.socket) -> None:
        """Serve whoever has the other end of `sock`, which is closed in the end."""
        await get_running_loop().create_unix_connection(lambda: self._link, sock=sock)
        for model, supervisor in self._supervisors.items():

            def tell(model: str = model) -> None:
                self._tell_state(model)

            tell()
            supervisor.availability.on_change.append(tell)
            self._listeners.append((supervisor, tell))

    def close(self) -> None:
        """Take back everything that the other process holds."""
        listeners, self._listeners = self._listeners, []
        for supervisor, listener in listeners:
            supervisor.availability.on_change.remove(listener)
        tickets, self._tickets = self._tickets, {}
        # Those that wait go first, or they would be given the slots of those that do not.
        for ticket in reversed(tickets.values()):
            ticket.release()
        awaited, self._awaited = self._awaited, {}
        for engine in awaited.values():
            engine.end_wait()
        self._link.close()

    def _tell_state(self, model: str) -> None:
        supervisor = self._supervisors[model]
        engine = supervisor.engine
        facts = None
        if engine is not None:
            facts = EngineFacts(
                pid=engine.pid,
                socket_path=engine.socket_path,
                key=engine.key,
                vocabulary=engine.vocabulary,
                context_tokens=engine.context_tokens,
                knows_tools=engine.knows_tools,
            )
        self._link.send(State(model, facts, supervisor.failure, supervisor.system_fingerprint))

    def _on_message(self, message: Asked) -> None:
        match message:
            case Take():
                self._take(message)
            case Release():
                ticket = self._tickets.pop(message.ticket, None)
                if ticket is not None:
                    ticket.release()
            case Note():
                self._note(message)
            case _:
                assert_never(message)

    def _take(self, ask: Take) -> None:
        supervisor = self._supervisors.get(ask.model)
        numbers = range(ask.first, ask.first + ask.count)
        try:
            if supervisor is None or any(
                number in self._tickets for number in (ask.first, numbers[-1])
            ):
                raise Draining
            tickets = supervisor.take(ask.count)
        except (Overloaded, InvalidRequest, Draining) as error:
            self._link.send(_refusal(ask.first, error))
            return
        self._link.send(Taken(ask.first))
        for number, ticket in zip(numbers, tickets, strict=True):
            self._tickets[number] = ticket

            def tell(number: int = number) -> None:
                self._link.send(Turn(number))

            ticket.when_turn(tell)

    def _note(self, note: Note) -> None:
        supervisor = self._supervisors.get(note.model)
        engine = supervisor.engine if supervisor is not None else None
        if engine is None or engine.pid != note.pid:
            return  # of one that is gone
        begun = self._awaited.get(note.model) is engine
        if begun and (note.was_idle or not note.is_awaited):
            del self._awaited[note.model]
            engine.end_wait()
            begun = False
        if note.is_awaited and not begun:
            self._awaited[note.model] = engine
            engine.begin_wait()
        if note.has_progressed:
            engine.progressed()


def _refusal(first: int, error: DragomanError) -> Refused:
    return Refused(first, _reason(error), error.message, error.param, error.retry_after_s)


def _reason(error: DragomanError) -> RefusalReason:
    match error:
        case Overloaded():
            return "overloaded"
        case InvalidRequest():
            return "too_many"
        case _:
            return "draining"
