"""Listens, serves, and stops in a way that lets answers finish."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
from collections.abc import Awaitable, Callable

from dragoman.web.application import Application
from dragoman.web.in_flight import InFlight
from dragoman.web.protocol import Connections

BACKLOG = 2048
"""Connections that may wait to be accepted; the kernel may allow fewer."""
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


async def run_until_stopped(
    application: Application,
    sock: socket.socket,
    in_flight: InFlight,
    *,
    grace_s: float,
    when_ready: Callable[[], Awaitable[None]],
) -> None:
    """Serve until SIGTERM or SIGINT, then refuse new work and let running answers finish.

    A second signal ends the grace. Returns when everything is closed.
    """
    loop = asyncio.get_running_loop()
    connections = Connections(application)
    server = await loop.create_server(connections.protocol, sock=sock, backlog=BACKLOG)
    stop = asyncio.Event()
    hurry = asyncio.Event()

    def on_signal() -> None:
        if stop.is_set():
            hurry.set()
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal)
    try:
        await when_ready()
        await stop.wait()
        _log.info("stopping: %d answers under way", len(in_flight))
        await _drain(in_flight, grace_s, hurry)
    finally:
        server.close()
        await connections.close(CUT_WAIT_S)
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


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
