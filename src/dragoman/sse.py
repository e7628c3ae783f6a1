"""Server-sent events: bytes, split anywhere, to events.

https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation

An event ends at a blank line; what follows the last one is kept for the next call, and is dropped
when the stream ends, as the specification wants it. In the common case (whole events, LF, one `data`
line) a burst costs one split and one slice an event. Lines may end in LF, CRLF or CR: the last two
are turned into LF before anything else looks at them.
"""

from __future__ import annotations

import msgspec

MAX_EVENT_BYTES = 8 * 1024 * 1024

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class SseEvent(msgspec.Struct, frozen=True, gc=False):
    data: bytes
    name: bytes = b"message"


class EventTooLarge(ValueError):
    """An event passes the bound; the stream cannot be read on."""


class SseParser:
    """Feed it bytes as they come; it never copies a byte more than twice."""

    __slots__ = ("_is_after_cr", "_is_started", "_max_event_bytes", "_pending")

    def __init__(self, max_event_bytes: int = MAX_EVENT_BYTES) -> None:
        self._max_event_bytes = max_event_bytes
        self._pending = bytearray()
        self._is_after_cr = False
        self._is_started = False

    @property
    def has_pending(self) -> bool:
        """Whether an event has begun and not ended."""
        return bool(self._pending.strip(b"\n"))

    def feed(self, data: bytes) -> list[SseEvent]:
        """The events that `data` completes. Raises `EventTooLarge`."""
        if self._is_after_cr or b"\r" in data:
            data = self._with_line_feeds(data)
        pending = self._pending
        if pending:
            # Only where a blank line may have come is it worth joining what was kept.
            if b"\n\n" not in data and not (pending.endswith(b"\n") and data.startswith(b"\n")):
                self._keep(data)
                return []
            data = bytes(pending) + data
            pending.clear()
        blocks = data.split(b"\n\n")
        rest = blocks.pop()
        if rest:
            self._keep(rest)
        if not blocks:
            return []
        if not self._is_started:
            self._is_started = True
            blocks[0] = blocks[0].removeprefix(_BYTE_ORDER_MARK)
        events = []
        for block in blocks:
            line_end = block.find(b"\n")
            if line_end < 0 and block.startswith(b"data: "):
                events.append(SseEvent(block[6:]))
            elif (
                block.startswith(b"event: ")
                and block.startswith(b"data: ", line_end + 1)
                and block.find(b"\n", line_end + 1) < 0
            ):
                events.append(SseEvent(block[line_end + 7 :], block[7:line_end] or b"message"))
            elif block and (event := _parse_block(block)) is not None:
                events.append(event)
        return events

    def _keep(self, data: bytes) -> None:
        self._pending += data
        if len(self._pending) > self._max_event_bytes:
            raise EventTooLarge(f"an event is longer than {self._max_event_bytes} bytes")

    def _with_line_feeds(self, data: bytes) -> bytes:
        if self._is_after_cr and data:
            # The CR was already taken for a line's end; its LF is not another.
            data = data.removeprefix(b"\n")
            self._is_after_cr = False
        if data.endswith(b"\r"):
            self._is_after_cr = True
        return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")


def _parse_block(block: bytes) -> SseEvent | None:
    """One event's lines; `None` where they hold no data, which makes it no event."""
    name = b"message"
    data: list[bytes] = []
    for line in block.split(b"\n"):
        field, _, value = line.partition(b":")
        if value.startswith(b" "):
            value = value[1:]
        if field == b"data":
            data.append(value)
        elif field == b"event":
            name = value or b"message"
    return SseEvent(b"\n".join(data), name) if data else None
