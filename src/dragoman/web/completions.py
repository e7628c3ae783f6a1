"""The completion routes: one class for every dialect, whole answers and streams.

A stream's headers are held until its first token, so that an early failure is a proper status. When
the hold is over they go out, and comments keep the connection alive; from then on a failure is one
error frame and the end. A stream of bare text has no frames: its connection is aborted instead.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

import msgspec

from dragoman.chat import ChatRequest, Failed, ResponseHead, StreamEvent
from dragoman.errors import (
    DragomanError,
    Draining,
    Internal,
    InvalidRequest,
    MethodNotAllowed,
    Unauthenticated,
)
from dragoman.pipeline import Answer, Arrival, Pipeline, Plan, Tab
from dragoman.policy.idempotency import (
    REPLAYED_HEADER,
    Replay,
    check_may_be_kept,
    hash_request,
    read_key,
)
from dragoman.policy.projects import is_guest
from dragoman.ports import Dialect, StreamEncoder
from dragoman.web.call import Call, Headers
from dragoman.web.door import Door
from dragoman.web.guests import Guests
from dragoman.web.in_flight import Guard, InFlight

KEEP_ALIVE_COMMENT = b": keep-alive\n\n"
MAX_IGNORED_HEADER = 1000
"""Bytes of the header that names ignored fields."""

_JSON = (b"content-type", b"application/json")
_STREAM_HEADERS = (
    (b"cache-control", b"no-cache, no-transform"),
    (b"x-accel-buffering", b"no"),
    (b"x-content-type-options", b"nosniff"),
)


class WebLimits(msgspec.Struct, frozen=True, kw_only=True):
    max_body_bytes: int
    body_timeout_s: float
    header_hold_s: float
    keep_alive_s: float


class Route:
    """A path: which methods it takes, and in which shape its errors are told."""

    methods: tuple[str, ...] = ("POST",)

    def __init__(self, dialect: Dialect) -> None:
        self.dialect = dialect

    async def __call__(self, call: Call) -> None:
        if call.method not in self.methods:
            raise MethodNotAllowed(
                f"{call.method} is not allowed here; use {' or '.join(self.methods)}.",
                allow=self.methods,
            )
        await self.answer(call)

    async def answer(self, call: Call) -> None:
        raise AssertionError(f"no route answers {call.path}")


class CompletionRoute(Route):
    """`POST` a conversation, get the answer."""

    def __init__(
        self,
        dialect: Dialect,
        door: Door,
        pipeline: Pipeline,
        in_flight: InFlight,
        limits: WebLimits,
        guests: Guests | None = None,
    ) -> None:
        """`guests`: where callers without a key may be served; `None`: nowhere on this path."""
        super().__init__(dialect)
        self._door = door
        self._pipeline = pipeline
        self._in_flight = in_flight
        self._limits = limits
        self._guests = guests

    async def answer(self, call: Call) -> None:
        if self._in_flight.is_draining:
            raise Draining(retry_after_s=1)
        body: bytes | None = None
        try:
            principal = await self._door.authenticate(call, self.dialect.name)
        except Unauthenticated:
            if self._guests is None or call.presented_key() is not None:
                raise
            principal, body = await self._guests.admit(call)
        tab = self._pipeline.receive(principal, call.request_id, self.dialect)
        call.late_headers = tab.rate_headers
        try:
            tab.enter()
            if body is None:
                limits = self._limits
                body = await call.read_body(limits.max_body_bytes, limits.body_timeout_s)
            plan = await self._pipeline.admit(self.dialect.decode_request(body, call.headers), tab)
            replay = await _replay_of(call, plan, tab, body)
            if replay is not None:
                await self._replay(call, plan, tab, replay)
            elif plan.request.stream:
                await self._stream(call, plan, tab)
            else:
                await self._complete(call, plan, tab)
        except DragomanError as error:
            tab.error = error
            raise
        finally:
            if not tab.is_closed:
                # Whatever has not been settled by now never will be an answer.
                tab.close("failed", _told(call, tab))

    async def _replay(self, call: Call, plan: Plan, tab: Tab, replay: Replay) -> None:
        """Give an earlier answer again: whole, or in the pieces in which it came."""
        call.common_headers.append(REPLAYED_HEADER)
        tab.replay(replay)
        if not plan.request.stream:
            body = self.dialect.encode_response(plan.request, replay.response(), replay.head)
            await call.send_whole(200, [_JSON, *_ignored_header(plan, replay.head.model)], body)
            return
        stream = _StreamedAnswer(call, self.dialect, plan, self._limits)
        try:
            with Guard(call, self._in_flight, tab):
                await stream.run(Answer(head=replay.head, batches=_again(replay)))
        finally:
            stream.stop_keep_alive()

    async def _complete(self, call: Call, plan: Plan, tab: Tab) -> None:
        with Guard(call, self._in_flight, tab) as guard:
            response, head = await self._pipeline.complete(plan, tab)
        if guard.why is not None:
            tab.close(guard.why, 0)
            if guard.why == "client_gone":
                return
            raise Draining(retry_after_s=1)
        body = self.dialect.encode_response(plan.request, response, head)
        await call.send_whole(200, [_JSON, *_ignored_header(plan, head.model)], body)

    async def _stream(self, call: Call, plan: Plan, tab: Tab) -> None:
        stream = _StreamedAnswer(call, self.dialect, plan, self._limits)
        error: DragomanError | None = None
        try:
            with Guard(call, self._in_flight, tab) as guard:
                try:
                    await stream.run(await self._pipeline.open(plan, tab))
                except DragomanError as failed:
                    error = tab.error = failed
        finally:
            stream.stop_keep_alive()
        if guard.why is not None or error is not None:
            # At once: the client may take its time with what it is told now.
            tab.close(guard.why or "failed", _told(call, tab))
        if guard.why == "client_gone":
            return
        if guard.why == "server_stops":
            error = Draining(retry_after_s=1)
        if error is not None:
            await stream.fail(error, tab)


async def _replay_of(call: Call, plan: Plan, tab: Tab, body: bytes) -> Replay | None:
    """What was answered before to the same wish. Raises `Conflict`, or `InvalidRequest`."""
    idempotency_key = read_key(call.headers)
    if idempotency_key is None:
        return None
    check_may_be_kept(plan.request)
    if is_guest(tab.principal):
        # Whoever asks without a key is anybody, and must not be given another's answer.
        raise InvalidRequest(
            "an Idempotency-Key belongs to an API key; leave the header out, or send a key",
            param="Idempotency-Key",
        )
    return await tab.claim(idempotency_key, hash_request(call.path, call.headers, body))


async def _again(replay: Replay) -> AsyncGenerator[list[StreamEvent], None]:
    for batch in replay.batches:
        yield batch


def _told(call: Call, tab: Tab) -> int:
    """The status that the client was told, or will be; 0: none."""
    if call.is_answered:
        return call.status
    error = tab.error
    if error is None and isinstance(sys.exception(), Exception):
        # Of a fault of ours, clients are told this.
        error = Internal()
    return tab.dialect.error_status(error) if error is not None else 0


class _StreamedAnswer:
    """The sending side of one stream."""

    __slots__ = (
        "_answered_by",
        "_call",
        "_dialect",
        "_encoder",
        "_keeper",
        "_last_sent_s",
        "_limits",
        "_loop",
        "_plan",
        "_timer",
        "is_ended",
    )

    def __init__(self, call: Call, dialect: Dialect, plan: Plan, limits: WebLimits) -> None:
        self._call = call
        self._dialect = dialect
        self._plan = plan
        self._limits = limits
        self._encoder: StreamEncoder | None = None
        self._answered_by: str | None = None
        self.is_ended = False
        self._loop = asyncio.get_running_loop()
        self._last_sent_s = self._loop.time()
        self._keeper: asyncio.Task[None] | None = None
        self._timer = self._loop.call_later(limits.header_hold_s, self._keep_alive)

    def _keep_alive(self) -> None:
        """Look for a silence that has lasted long enough, and when to look again."""
        period_s = self._limits.keep_alive_s
        quiet_s = self._loop.time() - self._last_sent_s
        is_held = not self._call.is_answered
        next_s = period_s - quiet_s
        if is_held and self._plan.max_ttft_ms is not None:
            # The wait for the first token ends by itself, and then in a status of its own.
            next_s = period_s
        elif is_held or next_s <= 0:
            self._keeper = self._loop.create_task(self._send_comment())
            next_s = period_s
        self._timer = self._loop.call_later(next_s, self._keep_alive)

    async def _send_comment(self) -> None:
        """A sign of life; before it the headers, if they are still held."""
        if not self._call.is_answered:
            await self._send_head()
        if not self._plan.request.bare_text:
            await self._send(KEEP_ALIVE_COMMENT)

    def stop_keep_alive(self) -> None:
        self._timer.cancel()
        if self._keeper is not None:
            self._keeper.cancel()

    async def _send_head(self) -> None:
        request = self._plan.request
        content_type = self._dialect.stream_content_type(request).encode()
        await self._call.send_head(
            200,
            [
                (b"content-type", content_type),
                *_STREAM_HEADERS,
                *_ignored_header(self._plan, self._answered_by),
            ],
        )

    async def _send(self, frames: bytes) -> None:
        self._last_sent_s = self._loop.time()
        await self._call.send_body(frames, more=True)

    async def run(self, answer: Answer) -> None:
        """Send the whole answer. Awaiting each send is what holds the provider to the client's pace."""
        encoder = self._encoder = self._dialect.stream_encoder(self._plan.request, answer.head)
        self._answered_by = answer.head.model
        async with aclosing(answer.batches) as batches:
            async for batch in batches:
                last = batch[-1]
                if isinstance(last, Failed):
                    raise last.error
                frames = encoder.feed(batch)
                if not self._call.is_answered:
                    await self._send_head()
                if frames:
                    await self._send(frames)
        self.stop_keep_alive()
        self.is_ended = True
        await self._call.send_body(encoder.close())

    async def fail(self, error: DragomanError, tab: Tab) -> None:
        """Tell of `error`: by status where nothing was sent, else in the stream."""
        if not self._call.is_answered:
            raise error
        if self.is_ended or self._plan.request.bare_text:
            # Left without its end, the response is cut off by the server, which is the message.
            return
        encoder = self._encoder or self._dialect.stream_encoder(
            self._plan.request, self._provisional_head(tab.arrival)
        )
        await self._call.send_body(encoder.feed([Failed(error)]))

    def _provisional_head(self, arrival: Arrival) -> ResponseHead:
        """For an error frame of a stream of which nothing was ever heard."""
        return ResponseHead(
            request_id=arrival.request_id,
            response_id=arrival.request_id.removeprefix("req_").rjust(32, "0"),
            created_s=int(arrival.unix_s),
            model=self._plan.targets[0].id,
            session_id=self._plan.request.context.session_id or "",
            completion_ids=("",) * self._plan.request.choices,
        )


class CountTokensRoute(Route):
    """`POST` a conversation, get the number of its tokens. Nothing is generated, and nothing charged."""

    def __init__(
        self,
        dialect: Dialect,
        decode: Callable[[bytes, dict[str, str]], ChatRequest],
        encode: Callable[[int], bytes],
        door: Door,
        pipeline: Pipeline,
        limits: WebLimits,
    ) -> None:
        super().__init__(dialect)
        self._decode = decode
        self._encode = encode
        self._door = door
        self._pipeline = pipeline
        self._limits = limits

    async def answer(self, call: Call) -> None:
        principal = await self._door.authenticate(call, self.dialect.name)
        tab = self._pipeline.receive(principal, call.request_id, self.dialect)
        call.late_headers = tab.rate_headers
        try:
            tab.enter()
            limits = self._limits
            body = await call.read_body(limits.max_body_bytes, limits.body_timeout_s)
            plan = await self._pipeline.admit(self._decode(body, call.headers), tab)
            count = await self._pipeline.count_input(plan.request, plan.targets[0])
        except DragomanError as error:
            tab.error = error
            raise
        finally:
            tab.close("failed", _told(call, tab))
        headers: Headers = [_JSON]
        if count.is_estimated:
            headers.append((b"x-dragoman-estimated", b"input_tokens"))
        await call.send_whole(200, headers, self._encode(count.tokens))


def _ignored_header(plan: Plan, answered_by: str | None) -> Headers:
    """Names the fields that neither the dialect nor the target knows, as far as they fit.

    `answered_by` is the target's id; `None`: not known yet, and probably the first.
    """
    extensions = plan.request.extensions
    if not extensions:
        return []
    target = next((each for each in plan.targets if each.id == answered_by), plan.targets[0])
    forwards = target.forwards
    names = ", ".join(
        [
            name if name.isascii() and name.isprintable() else ascii(name)
            for name, _ in extensions
            if name not in forwards
        ]
    )
    return [(b"x-dragoman-ignored", names.encode()[:MAX_IGNORED_HEADER])] if names else []
