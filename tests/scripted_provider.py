"""A provider made of a script: it speaks OpenAI chat completions and Anthropic Messages, and misbehaves.

    with ScriptedProvider() as provider:
        provider.enqueue(Script(text="Hello"), Script(status=500))
        … requests to provider.base_url …
        assert provider.requests[0].body["model"] == "m"

It runs on a thread and event loop of its own, so sync and async tests use it alike. Its bytes are
written by hand, in the form that the vendors document; nothing of ours encodes them:
https://platform.openai.com/docs/api-reference/chat and
https://docs.anthropic.com/en/api/messages-streaming. Run as a program, it serves until stopped.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Literal

import uvloop

Json = dict[str, Any]

CREATED = 1_700_000_000
OPENAI_ID = "chatcmpl-B9MBs8CjcvOU2jLn4n570S5qMJKcT"
ANTHROPIC_ID = "msg_013Zva2CMHLNnXjNJJKqJ2EF"


class Gate:
    """Closed until a test opens it: what a provider's slowness is made of, without sleeps."""

    def __init__(self) -> None:
        self._is_open = threading.Event()
        self._waiters: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []
        self._lock = threading.Lock()

    def open(self) -> None:
        with self._lock:
            self._is_open.set()
            for loop, event in self._waiters:
                loop.call_soon_threadsafe(event.set)
            self._waiters.clear()

    async def passed(self) -> None:
        event = asyncio.Event()
        with self._lock:
            if self._is_open.is_set():
                return
            self._waiters.append((asyncio.get_running_loop(), event))
        await event.wait()


@dataclass(frozen=True)
class Call:
    """A tool call; `pieces` are the arguments as they are streamed."""

    name: str
    pieces: tuple[str, ...] = ("{}",)
    id: str = "call_abc123"


@dataclass(frozen=True)
class Tokens:
    """`input` includes `cached`, as OpenAI counts; Anthropic's numbers are derived from it."""

    input: int = 19
    output: int = 10
    cached: int = 0
    reasoning: int = 0


@dataclass(frozen=True)
class Script:
    """One answer, and what goes wrong with it."""

    text: str | None = None
    """The answer in one delta; `deltas` in several. Neither: a short greeting, unless there are calls."""
    deltas: tuple[str, ...] = ()
    calls: tuple[Call, ...] = ()
    reasoning: str | None = None
    usage: Tokens | None = field(default_factory=Tokens)
    finish: str | None = None
    """The vendor's own word; `None`: what fits."""
    model: str | None = None
    """The model that the answer names; `None`: the one asked for."""

    status: int = 200
    body: bytes | None = None
    """Sent as it is, in place of an answer."""
    content_type: str | None = None
    headers: tuple[tuple[str, str], ...] = ()

    first_byte_gate: Gate | None = None
    frame_gate: Gate | None = None
    """Holds everything after `frames_before_gate` frames."""
    frames_before_gate: int = 1
    body_end_gate: Gate | None = None
    """Stands between the last frame and the body's own end."""
    first_byte_delay_s: float = 0.0
    frame_delay_s: float = 0.0
    stall_after_frames: int | None = None
    """Then silence until the client leaves."""
    cut_after_frames: int | None = None
    cut_after_bytes: int | None = None
    """Of the response's body; 0 cuts after its head."""
    cut_before_head: bool = False
    cut_by: Literal["close", "reset"] = "close"
    bad_frame_after: int | None = None
    """Puts `bad_frame` after so many frames and goes on."""
    bad_frame: bytes = b'data: {"id":"chatcmpl-1","choices":[{"ind\n\n'
    error_frame_after: int | None = None
    """The vendor's own error event after so many frames, and the end of the stream."""
    without_end: bool = False
    """The stream closes properly, and lacks its last frame (`[DONE]`, `message_stop`)."""

    one_byte_at_a_time: bool = False
    frames_per_write: int = 1
    framing: Literal["chunked", "content-length", "close"] | None = None
    """`None`: chunked for streams, content-length for the rest."""
    drop_after: bool = False
    """Closes the connection after the answer, without having said so."""


@dataclass
class Recorded:
    """A request as it arrived."""

    method: str
    path: str
    headers: Mapping[str, str]
    raw_body: bytes
    connection_id: int
    arrived_s: float
    disconnected_s: float | None = None
    """When the client left before its answer was whole."""
    sent_frames: int = 0
    is_answered: bool = False

    @property
    def body(self) -> Json:
        value = json.loads(self.raw_body)
        assert isinstance(value, dict)
        return value

    @property
    def is_disconnected(self) -> bool:
        return self.disconnected_s is not None


class ScriptedProvider:
    """See the module's top. Scripts are taken from the queue, then by model, then `default`."""

    def __init__(self, default: Script | Callable[[Recorded], Script] | None = None) -> None:
        self.default: Script | Callable[[Recorded], Script] = default or Script()
        self.accepted_keys: set[str] | None = None
        """When set, a request with any other key gets the vendor's 401."""
        self.models = ["scripted-model"]
        self.requests: list[Recorded] = []
        self.open_connections = 0
        self.port = 0
        self._queue: deque[Script] = deque()
        self._by_model: dict[str, Script] = {}
        self._changed = threading.Condition()
        self._connections = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._thread: threading.Thread | None = None
        self._started = threading.Event()

    # --- For the test ---

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def base_url(self) -> str:
        return f"{self.url}/v1"

    def enqueue(self, *scripts: Script) -> None:
        with self._changed:
            self._queue.extend(scripts)

    def reset(self) -> None:
        """Forget every script and request, for the next test."""
        with self._changed:
            self._queue.clear()
            self._by_model.clear()
            self.requests.clear()
            self.accepted_keys = None
            self.default = Script()

    def when_model(self, model: str, script: Script) -> None:
        with self._changed:
            self._by_model[model] = script

    def wait_until(self, is_true: Callable[[], bool], timeout_s: float = 10.0) -> None:
        """Block until `is_true()`; it is asked again whenever something happens here."""
        with self._changed:
            if not self._changed.wait_for(is_true, timeout_s):
                raise TimeoutError("the scripted provider did not see what the test waits for")

    async def until(self, is_true: Callable[[], bool], timeout_s: float = 10.0) -> None:
        """`wait_until` for async tests."""
        await asyncio.to_thread(self.wait_until, is_true, timeout_s)

    def start(self) -> ScriptedProvider:
        self._thread = threading.Thread(target=self._run, name="scripted-provider", daemon=True)
        self._thread.start()
        self._started.wait(10)
        assert self.port, "the scripted provider did not start"
        return self

    def stop(self) -> None:
        loop, stop = self._loop, self._stop
        if loop is not None and stop is not None:
            loop.call_soon_threadsafe(stop.set)
        if self._thread is not None:
            self._thread.join(10)

    def __enter__(self) -> ScriptedProvider:
        return self.start()

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self.stop()

    # --- The server ---

    def _run(self) -> None:
        uvloop.run(self._serve())

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        tasks: set[asyncio.Task[None]] = set()

        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            tasks.add(task)
            try:
                await self._converse(reader, writer)
            except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
                pass
            except RuntimeError as error:
                # How uvloop says that a connection was reset since it was last used.
                if "closed" not in str(error):
                    raise
            finally:
                tasks.discard(task)
                writer.transport.abort()
                self._note(open_connections=-1)

        server = await asyncio.start_server(accept, "127.0.0.1", self.port, backlog=1024)
        self.port = server.sockets[0].getsockname()[1]
        self._started.set()
        await self._stop.wait()
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _note(self, *, open_connections: int = 0) -> None:
        with self._changed:
            self.open_connections += open_connections
            self._changed.notify_all()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections += 1
        connection_id = self._connections
        self._note(open_connections=1)
        first_byte = asyncio.ensure_future(reader.read(1))
        try:
            while first := await first_byte:
                recorded = await _read_request(first, reader, connection_id)
                with self._changed:
                    self.requests.append(recorded)
                    self._changed.notify_all()
                script = self._script_for(recorded)
                first_byte = asyncio.ensure_future(reader.read(1))
                answer = asyncio.ensure_future(self._answer(recorded, script, writer))
                await asyncio.wait({answer, first_byte}, return_when=asyncio.FIRST_COMPLETED)
                if not answer.done() and _is_end(first_byte):
                    answer.cancel()
                    recorded.disconnected_s = time.monotonic()
                    self._note()
                    return
                try:
                    is_kept = await answer
                except ConnectionError:
                    recorded.disconnected_s = time.monotonic()
                    self._note()
                    return
                recorded.is_answered = True
                self._note()
                if not is_kept:
                    return
        finally:
            first_byte.cancel()

    def _script_for(self, recorded: Recorded) -> Script:
        if self.accepted_keys is not None and _key_of(recorded) not in self.accepted_keys:
            return Script(status=401, body=_refusal_of_key(recorded))
        if recorded.path.split("?")[0].endswith("/models"):
            listing = [{"id": m, "object": "model", "owned_by": "scripted"} for m in self.models]
            return Script(body=json.dumps({"object": "list", "data": listing}).encode())
        with self._changed:
            if self._queue:
                return self._queue.popleft()
        by_model = self._by_model.get(_model_of(recorded))
        if by_model is not None:
            return by_model
        return self.default(recorded) if callable(self.default) else self.default

    async def _answer(
        self, recorded: Recorded, script: Script, writer: asyncio.StreamWriter
    ) -> bool:
        """Play `script`; whether the connection stays open."""
        if script.first_byte_gate is not None:
            await script.first_byte_gate.passed()
        if script.first_byte_delay_s:
            await asyncio.sleep(script.first_byte_delay_s)
        if script.cut_before_head:
            _cut(writer, script)
            return False
        frames, content_type = _frames_of(recorded, script)
        framing = script.framing or (
            "chunked" if content_type == "text/event-stream" else "content-length"
        )
        head = [f"HTTP/1.1 {script.status} {'OK' if script.status == 200 else 'Status'}"]
        head.append(f"content-type: {script.content_type or content_type}")
        head += [f"{name}: {value}" for name, value in script.headers]
        if framing == "content-length":
            head.append(f"content-length: {sum(map(len, frames))}")
        elif framing == "chunked":
            head.append("transfer-encoding: chunked")
        else:
            head.append("connection: close")
        play = _Player(script, writer, framing == "chunked", recorded, self._note)
        await play.head("\r\n".join(head).encode() + b"\r\n\r\n")
        if not await play.frames(frames):
            _cut(writer, script)
            return False
        if script.body_end_gate is not None:
            await script.body_end_gate.passed()
        if framing == "chunked":
            await play.raw(b"0\r\n\r\n")
        if framing == "close" or script.drop_after:
            writer.close()
            return False
        return True


class _Player:
    """Writes frames at the script's pace."""

    def __init__(
        self,
        script: Script,
        writer: asyncio.StreamWriter,
        is_chunked: bool,
        recorded: Recorded,
        note: Callable[[], None],
    ) -> None:
        self._script = script
        self._writer = writer
        self._is_chunked = is_chunked
        self._recorded = recorded
        self._note = note
        self._sent_bytes = 0

    async def raw(self, data: bytes) -> None:
        if self._script.one_byte_at_a_time:
            for index in range(len(data)):
                self._writer.write(data[index : index + 1])
                await self._writer.drain()
                await asyncio.sleep(0)
        else:
            self._writer.write(data)
            await self._writer.drain()

    async def head(self, data: bytes) -> None:
        await self.raw(data)

    async def frames(self, frames: list[bytes]) -> bool:
        """Send them all; false where the script cuts them short."""
        script = self._script
        step = max(1, script.frames_per_write)
        for start in range(0, len(frames), step):
            if script.cut_after_frames is not None and start >= script.cut_after_frames:
                return False
            if script.stall_after_frames is not None and start >= script.stall_after_frames:
                await asyncio.Event().wait()
            if script.frame_gate is not None and start >= script.frames_before_gate:
                await script.frame_gate.passed()
            if script.frame_delay_s and start:
                await asyncio.sleep(script.frame_delay_s)
            data = b"".join(frames[start : start + step])
            limit = script.cut_after_bytes
            if limit is not None and self._sent_bytes + len(data) > limit:
                await self._body(data[: limit - self._sent_bytes])
                return False
            await self._body(data)
            self._recorded.sent_frames += min(step, len(frames) - start)
            self._note()
        return True

    async def _body(self, data: bytes) -> None:
        self._sent_bytes += len(data)
        if data and self._is_chunked:
            data = f"{len(data):x}\r\n".encode() + data + b"\r\n"
        await self.raw(data)


def _cut(writer: asyncio.StreamWriter, script: Script) -> None:
    if script.cut_by == "reset":
        raw: socket.socket = writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()
    else:
        writer.close()


def _is_end(first_byte: asyncio.Future[bytes]) -> bool:
    """Whether the client closed, rather than sent its next request early."""
    if not first_byte.done():
        return False
    return first_byte.exception() is not None or first_byte.result() == b""


async def _read_request(first: bytes, reader: asyncio.StreamReader, connection_id: int) -> Recorded:
    head = first + await reader.readuntil(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    method, path, _ = lines[0].split(" ")
    headers = {}
    for line in lines[1:]:
        name, colon, value = line.partition(":")
        if colon:
            headers[name.strip().lower()] = value.strip()
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Recorded(method, path, headers, body, connection_id, time.monotonic())


def _key_of(recorded: Recorded) -> str:
    headers = recorded.headers
    bearer = headers.get("authorization", "").removeprefix("Bearer ")
    return headers.get("x-api-key") or headers.get("api-key") or bearer


def _model_of(recorded: Recorded) -> str:
    try:
        return str(recorded.body.get("model"))
    except ValueError:
        return ""


def _is_anthropic(recorded: Recorded) -> bool:
    return "/messages" in recorded.path or "anthropic-version" in recorded.headers


def _refusal_of_key(recorded: Recorded) -> bytes:
    if _is_anthropic(recorded):
        error: Json = {"type": "authentication_error", "message": "invalid x-api-key"}
        return json.dumps({"type": "error", "error": error}).encode()
    shown = _key_of(recorded)
    # OpenAI repeats the key in its answer, mostly starred out; some compatible servers repeat it all.
    message = (
        f"Incorrect API key provided: {shown}. You can find your API key at https://example.com."
    )
    error = {"message": message, "type": "invalid_request_error", "param": None}
    return json.dumps({"error": {**error, "code": "invalid_api_key"}}).encode()


def _frames_of(recorded: Recorded, script: Script) -> tuple[list[bytes], str]:
    """The body in the pieces that are paced, and its content type."""
    if script.body is not None:
        return [script.body], "application/json"
    if script.status != 200:
        return [_error_body(recorded, script.status)], "application/json"
    request = recorded.body
    if recorded.path.endswith("/count_tokens"):
        counted = (script.usage or Tokens()).input
        return [json.dumps({"input_tokens": counted}).encode()], "application/json"
    is_anthropic = _is_anthropic(recorded)
    if request.get("stream"):
        frames = (
            _anthropic_frames(request, script) if is_anthropic else _openai_frames(request, script)
        )
        if script.without_end:
            frames.pop()
        if script.error_frame_after is not None:
            frames[script.error_frame_after :] = [_error_frame(is_anthropic)]
        if script.bad_frame_after is not None:
            frames.insert(script.bad_frame_after, script.bad_frame)
        return frames, "text/event-stream"
    message = (
        _anthropic_message(request, script) if is_anthropic else _openai_completion(request, script)
    )
    return [json.dumps(message).encode()], "application/json"


def _error_body(recorded: Recorded, status: int) -> bytes:
    message = f"scripted failure {status}"
    if _is_anthropic(recorded):
        kinds = {400: "invalid_request_error", 401: "authentication_error", 403: "permission_error"}
        kinds |= {404: "not_found_error", 429: "rate_limit_error", 529: "overloaded_error"}
        error: Json = {"type": kinds.get(status, "api_error"), "message": message}
        return json.dumps({"type": "error", "error": error}).encode()
    kind = "invalid_request_error" if status < 500 else "server_error"
    error = {"message": message, "type": kind, "param": None, "code": None}
    return json.dumps({"error": error}).encode()


def _error_frame(is_anthropic: bool) -> bytes:
    if is_anthropic:
        error = {"type": "overloaded_error", "message": "Overloaded"}
        return _event("error", {"type": "error", "error": error})
    error = {"message": "The server had an error", "type": "server_error"}
    return _data({"error": {**error, "param": None, "code": None}})


def _deltas(script: Script) -> tuple[str, ...]:
    if script.deltas:
        return script.deltas
    if script.text is not None:
        return (script.text,) if script.text else ()
    return () if script.calls else ("Hello! How can I help you today?",)


# --- OpenAI chat completions ---


def _data(value: Json) -> bytes:
    return b"data: " + json.dumps(value, separators=(",", ":")).encode() + b"\n\n"


def _openai_usage(usage: Tokens) -> Json:
    return {
        "prompt_tokens": usage.input,
        "completion_tokens": usage.output,
        "total_tokens": usage.input + usage.output,
        "prompt_tokens_details": {"cached_tokens": usage.cached, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning, "audio_tokens": 0},
    }


def _openai_calls(script: Script) -> list[Json]:
    return [
        {
            "id": call.id,
            "type": "function",
            "function": {"name": call.name, "arguments": "".join(call.pieces)},
        }
        for call in script.calls
    ]


def _openai_finish(script: Script) -> str:
    return script.finish or ("tool_calls" if script.calls else "stop")


def _openai_completion(request: Json, script: Script) -> Json:
    message: Json = {"role": "assistant", "content": "".join(_deltas(script)) or None}
    message |= {"refusal": None, "annotations": []}
    if script.reasoning is not None:
        message["reasoning_content"] = script.reasoning
    if script.calls:
        message["tool_calls"] = _openai_calls(script)
    finish = _openai_finish(script)
    completion: Json = {
        "id": OPENAI_ID,
        "object": "chat.completion",
        "created": CREATED,
        "model": script.model or request.get("model"),
        "choices": [
            {"index": index, "message": message, "logprobs": None, "finish_reason": finish}
            for index in range(request.get("n") or 1)
        ],
        "service_tier": "default",
        "system_fingerprint": "fp_44709d6fcb",
    }
    if script.usage is not None:
        completion["usage"] = _openai_usage(script.usage)
    return completion


def _openai_frames(request: Json, script: Script) -> list[bytes]:
    wants_usage = bool((request.get("stream_options") or {}).get("include_usage"))
    base: Json = {
        "id": OPENAI_ID,
        "object": "chat.completion.chunk",
        "created": CREATED,
        "model": script.model or request.get("model"),
        "service_tier": "default",
        "system_fingerprint": "fp_44709d6fcb",
    }
    indexes = range(request.get("n") or 1)
    frames: list[bytes] = []

    def put(delta: Json, finish: str | None = None) -> None:
        for index in indexes:
            choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish}
            usage: Json = {"usage": None} if wants_usage else {}
            frames.append(_data({**base, "choices": [choice], **usage}))

    put({"role": "assistant", "content": "", "refusal": None})
    if script.reasoning is not None:
        put({"reasoning_content": script.reasoning})
    for text in _deltas(script):
        put({"content": text})
    for position, call in enumerate(script.calls):
        function: Json = {"name": call.name, "arguments": ""}
        put(
            {
                "tool_calls": [
                    {"index": position, "id": call.id, "type": "function", "function": function}
                ]
            }
        )
        for piece in call.pieces:
            put({"tool_calls": [{"index": position, "function": {"arguments": piece}}]})
    put({}, _openai_finish(script))
    if wants_usage and script.usage is not None:
        frames.append(_data({**base, "choices": [], "usage": _openai_usage(script.usage)}))
    frames.append(b"data: [DONE]\n\n")
    return frames


# --- Anthropic Messages ---


def _event(name: str, value: Json) -> bytes:
    data = json.dumps(value, separators=(",", ":")).encode()
    return b"event: " + name.encode() + b"\ndata: " + data + b"\n\n"


def _anthropic_usage(usage: Tokens) -> Json:
    return {
        "input_tokens": usage.input - usage.cached,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": usage.cached,
        "output_tokens": usage.output,
    }


def _anthropic_finish(script: Script) -> str:
    return script.finish or ("tool_use" if script.calls else "end_turn")


def _anthropic_message(request: Json, script: Script) -> Json:
    content: list[Json] = []
    if script.reasoning is not None:
        content.append(
            {"type": "thinking", "thinking": script.reasoning, "signature": "EqQBCgIYAhIM"}
        )
    if _deltas(script):
        content.append({"type": "text", "text": "".join(_deltas(script))})
    for call in script.calls:
        arguments = json.loads("".join(call.pieces))
        content.append({"type": "tool_use", "id": call.id, "name": call.name, "input": arguments})
    return {
        "id": ANTHROPIC_ID,
        "type": "message",
        "role": "assistant",
        "model": script.model or request.get("model"),
        "content": content,
        "stop_reason": _anthropic_finish(script),
        "stop_sequence": None,
        "usage": _anthropic_usage(script.usage or Tokens(0, 0)),
    }


def _anthropic_frames(request: Json, script: Script) -> list[bytes]:
    usage = script.usage or Tokens(0, 0)
    message = _anthropic_message(request, script)
    message |= {"content": [], "stop_reason": None}
    message["usage"] = {**message["usage"], "output_tokens": 1}
    frames = [_event("message_start", {"type": "message_start", "message": message})]
    index = 0

    def block(start: Json, deltas: list[Json]) -> None:
        nonlocal index
        opened = {"type": "content_block_start", "index": index, "content_block": start}
        frames.append(_event("content_block_start", opened))
        if index == 0:
            frames.append(_event("ping", {"type": "ping"}))
        for delta in deltas:
            value = {"type": "content_block_delta", "index": index, "delta": delta}
            frames.append(_event("content_block_delta", value))
        frames.append(_event("content_block_stop", {"type": "content_block_stop", "index": index}))
        index += 1

    if script.reasoning is not None:
        deltas: list[Json] = [{"type": "thinking_delta", "thinking": script.reasoning}]
        deltas.append({"type": "signature_delta", "signature": "EqQBCgIYAhIM"})
        block({"type": "thinking", "thinking": "", "signature": ""}, deltas)
    if _deltas(script):
        texts: list[Json] = [{"type": "text_delta", "text": text} for text in _deltas(script)]
        block({"type": "text", "text": ""}, texts)
    for call in script.calls:
        pieces: list[Json] = [
            {"type": "input_json_delta", "partial_json": p} for p in ("", *call.pieces)
        ]
        block({"type": "tool_use", "id": call.id, "name": call.name, "input": {}}, pieces)
    delta = {"stop_reason": _anthropic_finish(script), "stop_sequence": None}
    ended = {"type": "message_delta", "delta": delta, "usage": {"output_tokens": usage.output}}
    frames.append(_event("message_delta", ended))
    frames.append(_event("message_stop", {"type": "message_stop"}))
    return frames


def main() -> None:
    parser = argparse.ArgumentParser(description="Serve scripted completions until stopped.")
    parser.add_argument("--port", type=int, default=0)
    provider = ScriptedProvider()
    provider.port = parser.parse_args().port
    provider.start()
    print(provider.base_url, flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    main()
