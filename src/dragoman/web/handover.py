"""Hands connections from the process that listens to those that serve.

One process accepts and passes each connection on, over a Unix socket, to the server that has the fewest.
Servers that all accept from one listening socket do not share the load: whoever wakes first takes
everything that waits, so that of 16 connections opened at once one of two servers took all 16, time and
again. A listening socket for each (SO_REUSEPORT) leaves it to a hash, and leaves connections with a
server that has died. Here a server that dies or hangs is passed over, and a server that dies takes
with it no connection that has not reached it.

A server says how many connections it has been given in all, and how many are open, when that has changed.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
from collections.abc import Callable

from dragoman.web.protocol import Connections

ACCEPT_AT_ONCE = 64
REPORT_PERIOD_S = 0.25
PAUSE_S = 0.05
"""Before accepting is tried again, where there were no means to."""
RETIRED = 1 << 32
"""Stands in for the number of open connections of a server that is stopping."""
_REPORT = struct.Struct("=QQ")
_CLOSE_ON_EXEC = getattr(socket, "MSG_CMSG_CLOEXEC", 0)

_log = logging.getLogger("dragoman.server")


class Taker:
    """One server, as the process that listens knows it."""

    def __init__(self, dealer: Dealer, channel: socket.socket) -> None:
        channel.setblocking(False)
        self.channel = channel
        self._dealer = dealer
        self._given = 0
        self._received = 0
        self._open = 0
        self._buffer = b""

    @property
    def load(self) -> int:
        """How many connections it has, and has been given and not yet spoken of."""
        return self._open + self._given - self._received

    def give(self, connection: socket.socket) -> bool:
        """Whether it took the connection; it has not when it is dead, or has not looked for long."""
        try:
            socket.send_fds(self.channel, [b"c"], [connection.fileno()])
        except (BlockingIOError, OSError):
            return False
        self._given += 1
        return True

    def read_reports(self) -> None:
        try:
            data = self.channel.recv(64 * _REPORT.size)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._dealer.remove(self)
            return
        self._buffer += data
        whole = len(self._buffer) - len(self._buffer) % _REPORT.size
        if whole:
            self._received, self._open = _REPORT.unpack_from(self._buffer, whole - _REPORT.size)
            self._buffer = self._buffer[whole:]


class Dealer:
    """Accepts what comes to a listening socket, and hands it on; waits while there is nobody to take it."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._takers: list[Taker] = []
        self._held: socket.socket | None = None
        """Accepted, and still to be given to somebody."""
        self._loop = asyncio.get_running_loop()
        self._is_accepting = False
        self._is_closed = False
        self._pause: asyncio.TimerHandle | None = None

    def add(self, channel: socket.socket) -> Taker:
        """Let the server at the other end of `channel` have its share from now on."""
        taker = Taker(self, channel)
        self._takers.append(taker)
        self._loop.add_reader(channel, taker.read_reports)
        self._resume()
        return taker

    def remove(self, taker: Taker) -> None:
        """Give it no more; closes its channel."""
        if taker in self._takers:
            self._takers.remove(taker)
            self._loop.remove_reader(taker.channel)
            taker.channel.close()
        if not self._takers:
            self._stop_accepting()

    def close(self) -> None:
        self._is_closed = True
        for taker in list(self._takers):
            self.remove(taker)
        self._stop_accepting()
        if self._pause is not None:
            self._pause.cancel()
        if self._held is not None:
            self._held.close()
        self._sock.close()

    def _resume(self) -> None:
        self._pause = None
        if self._takers and not self._is_accepting and not self._is_closed:
            self._is_accepting = True
            self._loop.add_reader(self._sock, self._accept)

    def _stop_accepting(self) -> None:
        if self._is_accepting:
            self._is_accepting = False
            self._loop.remove_reader(self._sock)

    def _rest(self) -> None:
        self._stop_accepting()
        if self._pause is None:
            self._pause = self._loop.call_later(PAUSE_S, self._resume)

    def _accept(self) -> None:
        for _ in range(ACCEPT_AT_ONCE):
            if self._held is None:
                try:
                    self._held, _address = self._sock.accept()
                except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                    return
                except OSError as error:
                    _log.error("cannot accept connections: %s", error.strerror)
                    self._rest()
                    return
            if not self._give(self._held):
                self._rest()
                return
            self._held.close()
            self._held = None

    def _give(self, connection: socket.socket) -> bool:
        for taker in sorted(self._takers, key=lambda taker: taker.load):
            if taker.give(connection):
                # The first of equals is the one that has waited longest.
                self._takers.remove(taker)
                self._takers.append(taker)
                return True
        return False


class HandedConnections:
    """An `Acceptor`: takes the connections that come over `channel`, which it owns."""

    def __init__(self, channel: socket.socket) -> None:
        channel.setblocking(False)
        self._channel = channel
        self._loop = asyncio.get_running_loop()
        self._connections: Connections | None = None
        self._starting: set[asyncio.Task[object]] = set()
        self._received = 0
        self._is_retired = False
        self._reported = (0, 0)
        self._timer: asyncio.TimerHandle | None = None

    async def begin(self, connections: Connections) -> None:
        self._connections = connections
        self._loop.add_reader(self._channel, self._receive)
        self._report()

    def retire(self) -> None:
        self._is_retired = True
        self._report()

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None
        if self._channel.fileno() >= 0:
            self._loop.remove_reader(self._channel)
            self._channel.close()

    def _receive(self) -> None:
        for _ in range(ACCEPT_AT_ONCE):
            try:
                data, handles, _flags, _address = socket.recv_fds(
                    self._channel, 1, 1, _CLOSE_ON_EXEC
                )
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                data = b""
            if not data:
                # Whoever listened is gone.
                self._loop.remove_reader(self._channel)
                return
            self._received += 1
            for handle in handles:
                self._start(socket.socket(fileno=handle))

    def _start(self, connection: socket.socket) -> None:
        assert self._connections is not None
        connection.setblocking(False)
        starting = self._loop.create_task(_start(self._connections.protocol, connection))
        self._starting.add(starting)
        starting.add_done_callback(self._starting.discard)

    def _report(self) -> None:
        assert self._connections is not None
        if self._timer is not None:
            self._timer.cancel()
        is_open = RETIRED if self._is_retired else len(self._connections.open)
        report = (self._received, is_open)
        if report != self._reported:
            try:
                self._channel.send(_REPORT.pack(*report))
            except OSError:
                pass  # it has enough to read, or is gone
            else:
                self._reported = report
        self._timer = self._loop.call_later(REPORT_PERIOD_S, self._report)


async def _start(protocol: Callable[[], asyncio.Protocol], connection: socket.socket) -> None:
    try:
        await asyncio.get_running_loop().connect_accepted_socket(protocol, connection)
    except OSError:
        connection.close()
