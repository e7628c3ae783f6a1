"""Runs the application on uvicorn: bounded request heads, and a stop that lets answers finish.

uvicorn parses with httptools on uvloop. Its protocol bounds neither the size nor the time of a
request's head, so ours does: `MAX_HEAD_BYTES`, `HEAD_TIMEOUT_S`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
from collections.abc import Awaitable, Callable, Iterator

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from dragoman.web.application import Application
from dragoman.web.in_flight import InFlight

MAX_HEAD_BYTES = 64 * 1024
"""Past it no more is read; what one read brings (256 KiB at most) may be over it."""
HEAD_TIMEOUT_S = 30.0
KEEP_ALIVE_S = 75
CUT_WAIT_S = 2
"""How long answers that were cut at the end of the grace may take to say so."""

_log = logging.getLogger("dragoman.server")


class BoundedProtocol(HttpToolsProtocol):
    """uvicorn's HTTP/1.1 protocol, with bounds on what comes before a request's body."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._head_bytes = 0
        self._in_head = True
        self._head_timer: asyncio.TimerHandle | None = None
        self._start_head_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_head_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._in_head:
            self._head_bytes += len(data)
        super().data_received(data)
        if self._in_head:
            # A head that comes in one piece, as nearly all do, never gets here.
            if self._head_timer is None:
                self._start_head_timer()
            if self._head_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
                self.send_400_response("Request head too large.")

    def on_message_begin(self) -> None:
        self._in_head = True
        self._head_bytes = 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._stop_head_timer()
        super().on_headers_complete()

    def _start_head_timer(self) -> None:
        self._head_timer = self.loop.call_later(HEAD_TIMEOUT_S, self._head_is_late)

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _head_is_late(self) -> None:
        if not self.transport.is_closing():
            self.transport.close()


class _Uvicorn(uvicorn.Server):
    """Leaves signals to us: uvicorn raises them again when it is done, which would not exit with 0."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; raises `OSError` where the address cannot be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, port))
        sock.listen(2048)
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
    config = uvicorn.Config(
        application,
        http=BoundedProtocol,
        ws="none",
        loop="none",
        lifespan="off",
        interface="asgi3",
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=CUT_WAIT_S,
    )
    # What uvicorn has to say is said by us already, or (a response that was cut) is meant.
    logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
    server = _Uvicorn(config)
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    hurry = asyncio.Event()

    def on_signal() -> None:
        if stop.is_set():
            hurry.set()
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal)
    serving = loop.create_task(server.serve(sockets=[sock]))
    try:
        await when_ready()
        await stop.wait()
        _log.info("stopping: %d answers under way", len(in_flight))
        await _drain(in_flight, grace_s, hurry)
    finally:
        server.should_exit = True
        await serving
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
