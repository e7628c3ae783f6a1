"""MCP over the pipes of a child process: messages are lines, and every line is bounded.

The SDK's own transport holds a line of any length, and hands on our environment; this one does neither.
Imported with the SDK, when an MCP server is first asked.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import signal
import sys
from asyncio.subprocess import PIPE, Process, SubprocessStreamProtocol
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, asynccontextmanager, suppress
from pathlib import Path

import anyio
import msgspec
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.shared.message import SessionMessage
from mcp_types import PARSE_ERROR, ErrorData, JSONRPCError, jsonrpc_message_adapter

from dragoman.tools.mcp_words import MAX_MESSAGE_BYTES, TOO_LONG
from dragoman.tools.outcomes import ToolFault

MAX_DISCARDED_BYTES = 256 << 20
"""Of a line that is too long; a server that writes more is ended."""
MAX_UNASKED = 10_000
"""Messages and other lines between two of ours; a server that writes more is ended."""
READ_BYTES = 64 * 1024
FAREWELL_S = 1.0
"""For a server to end by itself once its input has."""
MAX_REPORT_LINES = 40
MAX_REPORT_CHARS = 400

_LAUNCHER = Path(__file__).with_name("launcher.py")
HEAD_BYTES = 4096
# Of a response that is not or cannot be read: ids of ours are numbers, and stand before results.
_ID = re.compile(rb'\A\s*\{[^{}\[\]]*?"id"\s*:\s*([0-9]{1,15})\b')

_log = logging.getLogger("dragoman.tools")

Incoming = MemoryObjectSendStream[SessionMessage | Exception]
Outgoing = MemoryObjectReceiveStream[SessionMessage]
Streams = tuple[
    MemoryObjectReceiveStream[SessionMessage | Exception], MemoryObjectSendStream[SessionMessage]
]


class Child(msgspec.Struct, frozen=True, kw_only=True):
    """What is run."""

    server: str
    """The server's key."""
    command: tuple[str, ...]
    environment: tuple[tuple[str, str], ...]
    """All of it."""
    scrub: Callable[[str], str]


@asynccontextmanager
async def run_child(child: Child, on_end: Callable[[], None]) -> AsyncGenerator[Streams, None]:
    """Start it, and end it with all that it has started; `on_end` is called when it falls silent.

    Raises `ToolFault` where it cannot be started.
    """
    process, transport = await _start(child)
    incoming, received = anyio.create_memory_object_stream[SessionMessage | Exception](0)
    sent, outgoing = anyio.create_memory_object_stream[SessionMessage](0)
    pipes = _Pipes(process, child)
    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(pipes.read, incoming, on_end)
            tasks.start_soon(pipes.write, outgoing, incoming)
            tasks.start_soon(pipes.report)
            try:
                yield received, sent
            finally:
                received.close()
                with anyio.CancelScope(shield=True):
                    await _stop(process)
                tasks.cancel_scope.cancel()
    finally:
        _kill_group(process)
        # Whoever left the group may hold the pipes open.
        transport.close()
        for stream in (incoming, received, sent, outgoing):
            stream.close()


async def _start(child: Child) -> tuple[Process, asyncio.SubprocessTransport]:
    loop = asyncio.get_running_loop()
    try:
        transport, protocol = await loop.subprocess_exec(
            lambda: SubprocessStreamProtocol(limit=READ_BYTES, loop=loop),
            sys.executable,
            "-I",
            "-S",
            str(_LAUNCHER),
            str(os.getpid()),
            *child.command,
            stdin=PIPE,
            stdout=PIPE,
            stderr=PIPE,
            env=dict(child.environment),
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        raise ToolFault("unreachable", "The tool's server cannot be started.") from error
    return Process(transport, protocol, loop), transport


async def _stop(process: Process) -> None:
    assert process.stdin is not None
    try:
        process.stdin.close()
        await _wait(process)
    finally:
        _kill_group(process)
    await _wait(process)


async def _wait(process: Process) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(FAREWELL_S):
            await process.wait()


def _kill_group(process: Process) -> None:
    if process.returncode is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


class _Pipes:
    def __init__(self, process: Process, child: Child) -> None:
        self._process = process
        self._child = child
        self._unasked = 0
        self._has_begun = False

    async def read(self, incoming: Incoming, on_end: Callable[[], None]) -> None:
        """Hand on each line that is a message, until there are no more."""
        try:
            async with incoming, aclosing(self._lines()) as lines:
                await self._hand_on(lines, incoming)
        except (anyio.ClosedResourceError, anyio.BrokenResourceError):
            pass  # the session has ended
        finally:
            on_end()
        # A full pipe would keep it from ending, and us from seeing its end.
        stdout = self._process.stdout
        assert stdout is not None
        while await stdout.read(READ_BYTES):
            pass

    async def _hand_on(
        self, lines: AsyncGenerator[bytes | JSONRPCError, None], incoming: Incoming
    ) -> None:
        async for line in lines:
            self._unasked += 1
            if self._unasked > MAX_UNASKED:
                _log.warning(
                    "tool server %s: ended, because it writes what nobody asked for",
                    self._child.server,
                )
                return
            message = _parse(line)
            if message is not None:
                await incoming.send(message)

    async def _lines(self) -> AsyncGenerator[bytes | JSONRPCError, None]:
        stdout = self._process.stdout
        assert stdout is not None
        line = bytearray()
        discarded = 0
        while chunk := await stdout.read(READ_BYTES):
            for piece in chunk.splitlines(keepends=True):
                is_end = piece.endswith(b"\n")
                if discarded:
                    discarded += len(piece)
                    if discarded > MAX_DISCARDED_BYTES:
                        return
                elif len(line) + len(piece) > MAX_MESSAGE_BYTES:
                    head = bytes(line[:HEAD_BYTES] or piece[:HEAD_BYTES])
                    if (error := _stand_in(head, TOO_LONG, "the message is too long")) is not None:
                        yield error
                    line.clear()
                    discarded = 1
                else:
                    line += piece
                if is_end:
                    if not discarded:
                        yield bytes(line)
                    line.clear()
                    discarded = 0

    async def write(self, outgoing: Outgoing, incoming: Incoming) -> None:
        stdin = self._process.stdin
        assert stdin is not None
        try:
            async with outgoing:
                async for message in outgoing:
                    self._unasked = 0
                    text = message.message.model_dump_json(by_alias=True, exclude_unset=True)
                    if '"tools/call"' in text:
                        self._has_begun = True
                    stdin.write(text.encode("utf-8", "replace") + b"\n")
                    await stdin.drain()
        except OSError:
            # It may live on without an input: the session has to see the end all the same.
            incoming.close()

    async def report(self) -> None:
        """What it says of its start goes to the log. Once it is used, it may speak of users' words."""
        stderr = self._process.stderr
        assert stderr is not None
        left = MAX_REPORT_LINES
        while chunk := await stderr.read(READ_BYTES):
            for line in chunk.decode("utf-8", "replace").splitlines():
                if not left or self._has_begun:
                    break
                left -= 1
                shown = self._child.scrub(line)[:MAX_REPORT_CHARS]
                printable = "".join(each if each.isprintable() else " " for each in shown)
                _log.info("tool server %s says: %s", self._child.server, printable)


def _parse(line: bytes | JSONRPCError) -> SessionMessage | None:
    """Servers that print to their output by mistake are borne with."""
    if isinstance(line, JSONRPCError):
        return SessionMessage(line)
    try:
        return SessionMessage(jsonrpc_message_adapter.validate_json(line, by_name=False))
    except ValueError:
        error = _stand_in(line[:HEAD_BYTES], PARSE_ERROR, "the message cannot be read")
        return SessionMessage(error) if error is not None else None


def _stand_in(head: bytes, code: int, message: str) -> JSONRPCError | None:
    """An error in place of the response that begins with `head`."""
    found = _ID.match(head)
    if found is None:
        return None
    return JSONRPCError(
        jsonrpc="2.0", id=int(found[1]), error=ErrorData(code=code, message=message)
    )
