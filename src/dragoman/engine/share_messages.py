"""What a process that runs engines and one that uses them say to each other.

Over a pair of connected Unix sockets, each message as four bytes of length and MessagePack. A ticket's
number is chosen by whoever takes it, so that it can be released before the answer has come.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Annotated, Generic, Literal, TypeVar, cast

import msgspec

MAX_MESSAGE_BYTES = 64 * 1024
_LENGTH_BYTES = 4


class EngineFacts(msgspec.Struct, frozen=True, kw_only=True):
    """How a loaded engine is reached, and what it is."""

    pid: int
    socket_path: str
    key: str
    vocabulary: int
    context_tokens: int
    knows_tools: bool

    def __repr__(self) -> str:
        return f"EngineFacts(pid={self.pid})"


# --- From the user of engines -------------------------------------------------------------------


class Take(msgspec.Struct, frozen=True, tag=True):
    """Asks for the tickets `first`, `first + 1`, … of one model's engine."""

    model: str
    first: int
    count: Annotated[int, msgspec.Meta(ge=1, le=1024)]


class Release(msgspec.Struct, frozen=True, tag=True):
    ticket: int


class Note(msgspec.Struct, frozen=True, tag=True):
    """How the wait for an engine went since the last note."""

    model: str
    pid: int
    is_awaited: bool
    """Somebody waits for it now."""
    was_idle: bool
    """There was a moment in which nobody did."""
    has_progressed: bool


# --- From the process that runs them ------------------------------------------------------------


class Taken(msgspec.Struct, frozen=True, tag=True):
    first: int


RefusalReason = Literal["overloaded", "draining", "too_many"]


class Refused(msgspec.Struct, frozen=True, tag=True):
    first: int
    reason: RefusalReason
    message: str
    param: str | None
    retry_after_s: float | None


class Turn(msgspec.Struct, frozen=True, tag=True):
    """The slot is this ticket's."""

    ticket: int


class State(msgspec.Struct, frozen=True, tag=True):
    """Everything that is to be known of one model's engine, whenever it changes."""

    model: str
    engine: EngineFacts | None
    failure: str | None
    system_fingerprint: str | None


Asked = Take | Release | Note
Told = Taken | Refused | Turn | State

M = TypeVar("M")


class MessageLink(asyncio.Protocol, Generic[M]):
    """One end of the pair. `on_message` may not raise; `on_lost` is called once."""

    def __init__(
        self,
        decoder: msgspec.msgpack.Decoder[M],
        on_message: Callable[[M], None],
        on_lost: Callable[[], None],
    ) -> None:
        self._decode = decoder.decode
        self._encode = msgspec.msgpack.Encoder().encode
        self._on_message = on_message
        self._on_lost = on_lost
        self._received = bytearray()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        received = self._received
        received += data
        start = 0
        while len(received) - start >= _LENGTH_BYTES:
            begin = start + _LENGTH_BYTES
            length = int.from_bytes(received[start:begin])
            if length > MAX_MESSAGE_BYTES:
                self.close()
                return
            if len(received) - begin < length:
                break
            try:
                message = self._decode(received[begin : begin + length])
            except msgspec.DecodeError:
                # The other end is of another version, or out of its mind.
                self.close()
                return
            self._on_message(message)
            start = begin + length
        del received[:start]

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        self._transport = None
        self._on_lost()

    def send(self, message: msgspec.Struct) -> None:
        """Without waiting: at most a few messages for each ticket and each engine are on their way."""
        if self._transport is not None:
            data = self._encode(message)
            self._transport.write(len(data).to_bytes(_LENGTH_BYTES) + data)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()
