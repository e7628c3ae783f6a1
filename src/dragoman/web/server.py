"""Listens, serves, and stops in a way that lets answers finish."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
from collections.abc import Awaitable, Callable, Iterator
from typing import Protocol

from dragoman.web.in_flight import InFlight
from dragoman.web.protocol import Asgi, Connections

BACKLOG = 2048
"""Connections that may wait to be accepted; the kernel may allow fewer."""
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
CUT_WAIT_S = 2
"""How long answers that were cut at the end of the grace may take to say so."""

_log = logging.getLogger("dragoman.server")


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; raises `OSError` where the address cannot be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, port))
        sock.listen(BACKLOG)
        sock.setblocking(False)
    except BaseException:
        sock.close()
        raise
    return sock


class Acceptor(Protocol):
    """Where connections come from."""

    async def begin(self, connections: Connections) -> None:
        """Let every connection join `connections` from now on."""
        ...

    def retire(self) -> None:
        """Let others take new connections, where there are any; whoever comes here is refused."""
        ...

    def close(self) -> None:
        """Take no more connections; those that there are stay."""
        ...


class Listener:
    """Accepts what comes to a listening socket, which it owns."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._server: asyncio.Server | None = None

    async def begin(self, connections: Connections) -> None:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            connections.protocol, sock=self._sock, backlog=BACKLOG
        )

    def retire(self) -> None:
        """Nothing: there are no others."""

    def close(self) -> None:
        if self._server is not None:
            self._server.close()


class Stop:
    """The wish to stop, which asked for twice is a wish to hurry."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.hurried = asyncio.Event()

    def ask(self) -> None:
        if self.asked.is_set():
            self.hurried.set()
        self.asked.set()

    @contextlib.contextmanager
    def on_signals(self) -> Iterator[None]:
        """Within it SIGTERM and SIGINT ask."""
        loop = asyncio.get_running_loop()
        for number in STOP_SIGNALS:
            loop.add_signal_handler(number, self.ask)
        try:
            yield
        finally:
            for number in STOP_SIGNALS:
                loop.remove_signal_handler(number)


async def run_until_stopped(
    application: Asgi,
    acceptor: Acceptor,
    in_flight: InFlight,
    stop: Stop,
    *,
    grace_s: float,
    when_ready: Callable[[], Awaitable[None]],
) -> None:
    """Serve until `stop` is asked for, then refuse new work and let running answers finish.

    Being hurried ends the grace. Returns when everything is closed.
    """
    connections = Connections(application)
    await acceptor.begin(connections)
    try:
        await when_ready()
        await stop.asked.wait()
        acceptor.retire()
        _log.info("stopping: %d answers under way", len(in_flight))
        await _drain(in_flight, grace_s, stop.hurried)
    finally:
        acceptor.close()
        await connections.close(CUT_WAIT_S)


async def _drain(in_flight: InFlight, grace_s: float, hurry: asyncio.Event) -> None:
    draining = asyncio.ensure_future(in_flight.drain(grace_s))
    hurried = asyncio.ensure_future(hurry.wait())
    await asyncio.wait({draining, hurried}, return_when=asyncio.FIRST_COMPLETED)
    if not draining.done():
        draining.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await draining
        cut = await in_flight.drain(0)
    else:
        cut = draining.result()
    hurried.cancel()
    if cut:
        _log.warning("%d answers were cut, because the time to stop was over", cut)
