"""A request that is sent again is answered again, and charged once.

The `Idempotency-Key` header names a wish, within one API key. Whoever comes first with it runs; its answer is
kept for a day, as the events that it was made of and in the batches that they came in, so that a stream is
replayed as a stream. What was not answered whole is not kept, and may be tried again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import cast

import msgspec

from dragoman.chat import (
    ChatRequest,
    ChatResponse,
    Failed,
    Finished,
    NanoUSD,
    Opaque,
    PartDelta,
    PartEnded,
    PartStarted,
    Reasoning,
    Refusal,
    ResponseHead,
    Started,
    StreamEvent,
    Text,
    ToolCall,
    collect,
)
from dragoman.errors import Conflict, InvalidRequest
from dragoman.records.idempotency import Claim, KeptAnswer
from dragoman.records.key import KeyId

HEADER = "idempotency-key"
REPLAYED_HEADER = (b"idempotent-replayed", b"true")
MAX_KEY_CHARS = 255
KEPT_FOR_S = 24 * 3600.0
MAX_KEPT_BYTES = 4 * 1024 * 1024
"""Of an answer, as it is kept; of a longer one only that it was given."""

# Headers other than the body's that change what is answered.
_TELLING_HEADERS = ("x-stream-format",)


def read_key(headers: Mapping[str, str]) -> str | None:
    """The request's `Idempotency-Key`. Raises `InvalidRequest` where it has one that cannot be used."""
    key = headers.get(HEADER)
    if key is None:
        return None
    if not 1 <= len(key) <= MAX_KEY_CHARS or not key.isascii() or not key.isprintable():
        raise InvalidRequest(
            f"the Idempotency-Key header must have 1 to {MAX_KEY_CHARS} printable ASCII characters;"
            " a UUID is a good one",
            param="Idempotency-Key",
        )
    return key


def check_may_be_kept(request: ChatRequest) -> None:
    """Raises `InvalidRequest` where the client wants nothing of its request kept."""
    if request.context.store is False:
        raise InvalidRequest(
            "an Idempotency-Key cannot be used with store: false, because a copy of the answer has to be"
            " kept for a day; leave one of them out",
            param="store",
        )


def hash_request(path: str, headers: Mapping[str, str], body: bytes) -> bytes:
    """Whatever changes the answer changes this."""
    digest = hashlib.sha256()
    for name in (path, *[headers.get(name, "") for name in _TELLING_HEADERS]):
        digest.update(name.encode() + b"\0")
    digest.update(body)
    return digest.digest()


def make_claim(
    key_id: KeyId, idempotency_key: str, body_hash: bytes, request_id: str, now_s: float
) -> Claim:
    return Claim(
        key_id=key_id,
        idempotency_key=idempotency_key,
        body_hash=body_hash,
        request_id=request_id,
        expires_s=now_s + KEPT_FOR_S,
    )


# --- An answer as it is kept ---

_KINDS: tuple[type[msgspec.Struct], ...] = (
    PartDelta,
    Started,
    PartEnded,
    Finished,
    # A part's beginning is kept as the part.
    Text,
    Reasoning,
    ToolCall,
    Refusal,
    Opaque,
)
_BARE_DELTA = len(_KINDS)
"""Text and nothing else: most of every stream."""
_NUMBERS = {kind: number for number, kind in enumerate(_KINDS)}
_DECODERS = tuple([msgspec.msgpack.Decoder(kind) for kind in _KINDS])

_KeptEvent = tuple[int, int, msgspec.Raw]
"""Kind, choice, and what there is of it."""


class _Kept(msgspec.Struct, array_like=True, frozen=True):
    head: ResponseHead
    batches: tuple[bytes, ...]
    """Each a list of events, encoded when it came."""


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Kept).decode
_decode_batch = msgspec.msgpack.Decoder(list[_KeptEvent]).decode
_decode_text = msgspec.msgpack.Decoder(str).decode


def _encode_batch(events: list[StreamEvent]) -> bytes:
    kept: list[tuple[int, int, object]] = []
    for event in events:
        assert not isinstance(event, Failed), "what failed is not kept"
        if isinstance(event, PartDelta) and event.logprobs is None:
            kept.append((_BARE_DELTA, event.choice, event.text))
        else:
            value = event.part if isinstance(event, PartStarted) else event
            kept.append((_NUMBERS[type(value)], event.choice, value))
    return _encode(kept)


def _decode_event(kept: _KeptEvent) -> StreamEvent:
    number, choice, raw = kept
    if number == _BARE_DELTA:
        return PartDelta(_decode_text(raw), choice)
    value = _DECODERS[number].decode(raw)
    if isinstance(value, Text | Reasoning | ToolCall | Refusal | Opaque):
        return PartStarted(value, choice)
    return cast("StreamEvent", value)


class AnswerKeeper:
    """Gathers the answer of one request, as long as it is short enough to be kept."""

    __slots__ = ("_batches", "_head", "_last", "_left_bytes")

    def __init__(self, max_bytes: int = MAX_KEPT_BYTES) -> None:
        self._left_bytes = max_bytes
        self._head: ResponseHead | None = None
        self._batches: list[bytes] = []
        self._last: list[StreamEvent] = []

    def begin(self, head: ResponseHead) -> None:
        """A target answers: the one whose events follow."""
        self._head = head

    def feed(self, events: list[StreamEvent]) -> None:
        """More of the answer: all of it, in order, up to the last `Finished`."""
        if self._last:
            self._put(self._last)
        # What ends the answer is to have its cost.
        self._last = events

    def _put(self, events: list[StreamEvent]) -> None:
        if self._left_bytes < 0:
            return
        batch = _encode_batch(events)
        self._left_bytes -= len(batch)
        if self._left_bytes < 0:
            self._batches.clear()
            return
        self._batches.append(batch)

    def answer(self, cost_nano_usd: NanoUSD | None) -> bytes | None:
        """The whole answer, with what it cost; `None`: it is too long to be kept."""
        assert self._head is not None, "an answer is kept that no target has begun"
        self._put([_with_cost(event, cost_nano_usd) for event in self._last])
        self._last = []
        if self._left_bytes < 0:
            return None
        return _encode(_Kept(self._head, tuple(self._batches)))


def _with_cost(event: StreamEvent, cost_nano_usd: NanoUSD | None) -> StreamEvent:
    if not isinstance(event, Finished) or event.usage is None:
        return event
    usage = msgspec.structs.replace(event.usage, cost_nano_usd=cost_nano_usd)
    return msgspec.structs.replace(event, usage=usage)


class Replay(msgspec.Struct, frozen=True, kw_only=True):
    """An answer that was given before, to be given again."""

    head: ResponseHead
    batches: list[list[StreamEvent]]

    def response(self) -> ChatResponse:
        """The answer at rest."""
        return collect([event for batch in self.batches for event in batch])


def read_answer(kept: KeptAnswer, request_id: str) -> Replay:
    """The answer as it was given, but for the id of the request that asks for it now.

    Raises `Conflict` where it was too long to be kept.
    """
    if kept.answer is None:
        raise _unreadable(kept, "was too long to be kept")
    try:
        found = _decode(kept.answer)
        batches = [
            [_decode_event(event) for event in _decode_batch(batch)] for batch in found.batches
        ]
    except (msgspec.DecodeError, IndexError) as error:
        # Another version of the server wrote it.
        raise _unreadable(kept, "cannot be read by this version of the server") from error
    head = msgspec.structs.replace(found.head, request_id=request_id)
    return Replay(head=head, batches=batches)


def _unreadable(kept: KeptAnswer, why: str) -> Conflict:
    return Conflict(
        f"The request with this Idempotency-Key was answered, as {kept.request_id}, and its answer {why}."
        " It is not run again; use a new key to ask anew."
    )
