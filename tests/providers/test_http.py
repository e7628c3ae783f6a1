"""HTTP providers in both upstream formats, against a scripted one: every fault has its error."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from tests.scripted_provider import Call, Gate, Script, ScriptedProvider, Tokens

from dragoman.chat import (
    ChatRequest,
    ChatResponse,
    Collector,
    Message,
    Reasoning,
    StreamEvent,
    Text,
    ToolCall,
)
from dragoman.errors import (
    ContextOverflow,
    DragomanError,
    InvalidRequest,
    ProviderError,
    ProviderGarbled,
    ProviderOverloaded,
    ProviderRefusedUs,
    ProviderTimeout,
    ProviderUnreachable,
)
from dragoman.http_client import HttpClient
from dragoman.providers.catalog import CATALOG
from dragoman.providers.http import HttpProvider
from dragoman.records.model import Model
from dragoman.records.provider import ProviderRow, Timeouts, UpstreamWire

SECRET = "sk-live-5f3c9a17b2d84e60"
MODEL = Model(id="ours", provider="scripted", upstream_name="theirs")
WIRES: tuple[UpstreamWire, ...] = ("openai", "anthropic")


@pytest.fixture(scope="module")
def shared_script() -> Iterator[ScriptedProvider]:
    with ScriptedProvider() as scripted:
        yield scripted


@pytest.fixture
def scripted(shared_script: ScriptedProvider) -> ScriptedProvider:
    shared_script.reset()
    return shared_script


@pytest.fixture
async def client() -> AsyncIterator[HttpClient]:
    client = HttpClient()
    yield client
    await client.aclose()


@pytest.fixture(params=WIRES)
def row(request: pytest.FixtureRequest, scripted: ScriptedProvider) -> ProviderRow:
    known = CATALOG[request.param]
    return msgspec.structs.replace(
        known, base_url=scripted.base_url, timeouts=Timeouts(connect_s=5, first_byte_s=5, idle_s=5)
    )


@pytest.fixture
def http_provider(row: ProviderRow, client: HttpClient) -> HttpProvider:
    return HttpProvider(row, client, lambda reference: SECRET)


def ask(*, stream: bool, text: str = "Hi") -> ChatRequest:
    return ChatRequest(
        dialect="openai",
        target="ours",
        messages=(Message("user", (Text(text),)),),
        stream=stream,
        max_output_tokens=50,
    )


async def answer(provider: HttpProvider, *, stream: bool) -> ChatResponse:
    collector = Collector()
    async for events in provider.stream(ask(stream=stream), MODEL):
        assert events, "no list is empty"
        collector.feed(events)
    return collector.response()


async def failure(provider: HttpProvider, *, stream: bool) -> DragomanError:
    with pytest.raises(DragomanError) as caught:
        await answer(provider, stream=stream)
    return caught.value


# --- Answers ---


@pytest.mark.parametrize("stream", [False, True])
async def test_answer_comes_whole(
    http_provider: HttpProvider, scripted: ScriptedProvider, stream: bool
) -> None:
    scripted.enqueue(
        Script(
            reasoning="Let me see.",
            deltas=("Hel", "lo ", "wörld"),
            calls=(Call("look", ('{"at"', ': "it"}')),),
            usage=Tokens(100, 20, cached=60),
        )
    )
    response = await answer(http_provider, stream=stream)
    parts = response.choices[0].parts
    assert [type(part) for part in parts] == [Reasoning, Text, ToolCall]
    assert response.choices[0].text == "Hello wörld"
    assert isinstance(parts[2], ToolCall)
    assert (parts[2].id, parts[2].name) == ("call_abc123", "look")
    assert msgspec.json.decode(parts[2].arguments) == {"at": "it"}
    assert response.choices[0].finish_reason == "tool_calls"
    assert response.usage.input_tokens == 100
    assert response.usage.output_tokens == 20
    assert response.usage.cached_input_tokens == 60


@pytest.mark.parametrize("stream", [False, True])
async def test_answer_in_single_bytes_is_the_same(
    http_provider: HttpProvider, scripted: ScriptedProvider, stream: bool
) -> None:
    script = Script(deltas=("Hel", "lo"), calls=(Call("look", ('{"a":', "1}")),))
    scripted.enqueue(script, replace(script, one_byte_at_a_time=True))
    assert await answer(http_provider, stream=stream) == await answer(http_provider, stream=stream)


@pytest.mark.parametrize("framing", ["chunked", "content-length", "close"])
@pytest.mark.parametrize("stream", [False, True])
async def test_answer_in_any_framing_is_the_same(
    http_provider: HttpProvider, scripted: ScriptedProvider, stream: bool, framing: str
) -> None:
    scripted.enqueue(Script(text="same"), Script(text="same", framing=framing))  # type: ignore[arg-type]
    assert await answer(http_provider, stream=stream) == await answer(http_provider, stream=stream)


async def test_request_is_the_providers_own(
    http_provider: HttpProvider, scripted: ScriptedProvider, row: ProviderRow
) -> None:
    await answer(http_provider, stream=True)
    sent = scripted.requests[0]
    assert sent.body["model"] == "theirs"
    assert sent.body["stream"] is True
    assert sent.headers["content-type"] == "application/json"
    assert sent.headers["user-agent"].startswith("dragoman/")
    if row.wire == "openai":
        assert sent.path == "/v1/chat/completions"
        assert sent.headers["authorization"] == f"Bearer {SECRET}"
        assert sent.body["max_completion_tokens"] == 50
    else:
        assert sent.path == "/v1/messages"
        assert sent.headers["x-api-key"] == SECRET
        assert sent.headers["anthropic-version"] == "2023-06-01"
        assert "authorization" not in sent.headers


async def test_every_read_is_one_list(
    http_provider: HttpProvider, scripted: ScriptedProvider
) -> None:
    gate = Gate()
    scripted.enqueue(Script(deltas=("a", "b"), frame_gate=gate, frames_before_gate=4))
    batches: list[list[StreamEvent]] = []
    async for events in http_provider.stream(ask(stream=True), MODEL):
        batches.append(events)
        if "a" in repr(events):
            gate.open()
    assert len(batches) >= 2, "what has come is handed on before the rest comes"


async def test_connection_is_kept_after_whole_answers(
    http_provider: HttpProvider, scripted: ScriptedProvider
) -> None:
    for stream in (True, False, True, True):
        await answer(http_provider, stream=stream)
    await asyncio.sleep(0)
    assert {recorded.connection_id for recorded in scripted.requests} == {
        scripted.requests[0].connection_id
    }


async def test_connection_dropped_between_requests_is_not_noticed(
    http_provider: HttpProvider, scripted: ScriptedProvider
) -> None:
    scripted.default = Script(text="fine", drop_after=True)
    for stream in (False, True, False):
        assert (await answer(http_provider, stream=stream)).choices[0].text == "fine"


async def test_whole_answer_to_a_stream_is_taken(
    http_provider: HttpProvider, scripted: ScriptedProvider, row: ProviderRow
) -> None:
    """Some servers ignore `stream`."""
    await answer(http_provider, stream=False)
    body = WHOLE[row.wire]
    scripted.enqueue(Script(body=body, content_type="application/json; charset=utf-8"))
    response = await answer(http_provider, stream=True)
    assert response.choices[0].text == "whole"


WHOLE: dict[UpstreamWire, bytes] = {
    "openai": b'{"id":"x","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,'
    b'"message":{"role":"assistant","content":"whole"},"finish_reason":"stop"}],'
    b'"usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}}',
    "anthropic": b'{"id":"msg_1","type":"message","role":"assistant","model":"m","content":'
    b'[{"type":"text","text":"whole"}],"stop_reason":"end_turn","stop_sequence":null,'
    b'"usage":{"input_tokens":1,"output_tokens":1}}',
}


async def test_stream_is_over_at_its_last_frame(
    http_provider: HttpProvider, scripted: ScriptedProvider
) -> None:
    """A provider that keeps the stream open after its last frame holds nobody up."""
    gate = Gate()
    scripted.enqueue(Script(text="over", body_end_gate=gate))
    response = await asyncio.wait_for(answer(http_provider, stream=True), 4)
    assert response.choices[0].text == "over"
    gate.open()
    await scripted.until(lambda: scripted.requests[0].is_answered)
    await answer(http_provider, stream=True)
    assert not scripted.requests[0].is_disconnected


# --- Faults ---

STREAMED_FAULTS: dict[str, tuple[Script, type[DragomanError]]] = {
    "cut after a frame": (Script(deltas=("a", "b"), cut_after_frames=2), ProviderGarbled),
    "cut in a frame": (Script(deltas=("a", "b"), cut_after_bytes=500), ProviderGarbled),
    "cut before any frame": (Script(cut_after_bytes=0), ProviderGarbled),
    "reset": (Script(deltas=("a", "b"), cut_after_frames=2, cut_by="reset"), ProviderGarbled),
    "no finish": (Script(body=b": nothing\n\n", content_type="text/event-stream"), ProviderGarbled),
    "closed before the head": (Script(cut_before_head=True), ProviderUnreachable),
    "garbled frame": (Script(deltas=("a", "b"), bad_frame_after=3), ProviderGarbled),
    "error frame": (Script(deltas=("a", "b"), error_frame_after=3), ProviderError),
    "error frame at once": (Script(error_frame_after=0), ProviderError),
    "HTML": (Script(body=b"<html>Oops</html>", content_type="text/html"), ProviderGarbled),
    "empty JSON": (Script(body=b"{}", content_type="application/json"), ProviderGarbled),
    "empty": (Script(body=b"", content_type="text/event-stream"), ProviderGarbled),
    "binary": (Script(body=b"\x00\xff" * 50, content_type="text/event-stream"), ProviderGarbled),
}
WHOLE_FAULTS: dict[str, tuple[Script, type[DragomanError]]] = {
    "cut": (Script(cut_after_bytes=30), ProviderGarbled),
    "reset": (Script(cut_after_bytes=30, cut_by="reset"), ProviderGarbled),
    "closed before the head": (Script(cut_before_head=True), ProviderUnreachable),
    "truncated JSON": (Script(body=b'{"id":"x","choices":[{"ind'), ProviderGarbled),
    "HTML": (Script(body=b"<html>Oops</html>", content_type="text/html"), ProviderGarbled),
    "empty": (Script(body=b""), ProviderGarbled),
    "another object": (Script(body=b'{"hello":"world"}'), ProviderGarbled),
    "a list": (Script(body=b"[]"), ProviderGarbled),
}
STATUS_FAULTS: dict[str, tuple[Script, type[DragomanError]]] = {
    "redirect": (Script(status=302, headers=(("location", "/x"),)), ProviderError),
    "not modified": (Script(status=304, body=b""), ProviderError),
    "bad request": (Script(status=400), InvalidRequest),
    "refused key": (Script(status=401), ProviderRefusedUs),
    "forbidden": (Script(status=403), ProviderRefusedUs),
    "no such model": (Script(status=404), ProviderError),
    "busy": (Script(status=429, headers=(("retry-after", "7"),)), ProviderOverloaded),
    "server error": (Script(status=500), ProviderError),
    "HTML error": (Script(status=502, body=b"<h1>Bad", content_type="text/html"), ProviderError),
    "empty error": (Script(status=503, body=b""), ProviderError),
    "huge error": (Script(status=500, body=b'{"error":"' + b"x" * 2_000_000), ProviderError),
    "cut error": (Script(status=500, cut_after_bytes=5), DragomanError),
}
FAULTS = [
    *[pytest.param(True, *fault, id=f"stream: {name}") for name, fault in STREAMED_FAULTS.items()],
    *[pytest.param(False, *fault, id=f"whole: {name}") for name, fault in WHOLE_FAULTS.items()],
    *[pytest.param(True, *fault, id=f"stream: {name}") for name, fault in STATUS_FAULTS.items()],
    *[pytest.param(False, *fault, id=f"whole: {name}") for name, fault in STATUS_FAULTS.items()],
]


@pytest.mark.parametrize(("stream", "script", "expected"), FAULTS)
async def test_fault_is_named_and_leaves_nothing_behind(
    http_provider: HttpProvider,
    scripted: ScriptedProvider,
    stream: bool,
    script: Script,
    expected: type[DragomanError],
) -> None:
    scripted.enqueue(script)
    error = await failure(http_provider, stream=stream)
    assert isinstance(error, expected)
    if error.blame != "client":
        assert error.message == type(error).default_message, "nothing of the provider's inside"
    # The next request is answered as if nothing had been.
    response = await answer(http_provider, stream=stream)
    assert response.choices[0].finish_reason == "stop"
    assert len(scripted.requests) == 2, "a failure is not tried again here"


async def test_retry_after_is_kept(http_provider: HttpProvider, scripted: ScriptedProvider) -> None:
    scripted.enqueue(Script(status=429, headers=(("retry-after", "7"),)))
    assert (await failure(http_provider, stream=False)).retry_after_s == 7


async def test_context_overflow_is_told_apart(
    http_provider: HttpProvider, scripted: ScriptedProvider, row: ProviderRow
) -> None:
    bodies = {
        "openai": b'{"error":{"message":"This model\'s maximum context length is 8192 tokens.",'
        b'"type":"invalid_request_error","param":"messages","code":"context_length_exceeded"}}',
        "anthropic": b'{"type":"error","error":{"type":"invalid_request_error",'
        b'"message":"prompt is too long: 205000 tokens > 200000 maximum"}}',
    }
    scripted.enqueue(Script(status=400, body=bodies[row.wire]))
    assert isinstance(await failure(http_provider, stream=True), ContextOverflow)


async def test_what_came_before_a_failure_is_handed_on(
    http_provider: HttpProvider, scripted: ScriptedProvider
) -> None:
    """Even in the same read: what was produced is metered."""
    scripted.enqueue(Script(deltas=("a", "b"), error_frame_after=4, frames_per_write=100))
    seen: list[StreamEvent] = []

    async def watch() -> None:
        async for events in http_provider.stream(ask(stream=True), MODEL):
            seen.extend(events)

    with pytest.raises(ProviderError):
        await watch()
    assert "text='a'" in repr(seen)


@pytest.mark.parametrize(
    ("script", "timeouts"),
    [
        (Script(first_byte_gate=Gate()), Timeouts(first_byte_s=0.05)),
        (Script(deltas=("a", "b"), stall_after_frames=2), Timeouts(idle_s=0.05)),
        (Script(deltas=("a", "b"), stall_after_frames=2), Timeouts(total_s=0.1)),
    ],
    ids=["no first byte", "stall", "too long in all"],
)
async def test_slowness_is_bounded(
    row: ProviderRow,
    client: HttpClient,
    scripted: ScriptedProvider,
    script: Script,
    timeouts: Timeouts,
) -> None:
    impatient = msgspec.structs.replace(row, timeouts=timeouts)
    provider = HttpProvider(impatient, client, lambda reference: SECRET)
    scripted.enqueue(script)
    assert isinstance(await failure(provider, stream=True), ProviderTimeout)
    await scripted.until(lambda: scripted.requests[0].is_disconnected)


async def test_answer_over_its_bound_is_refused(
    row: ProviderRow, client: HttpClient, scripted: ScriptedProvider
) -> None:
    small = msgspec.structs.replace(row, max_response_bytes=10_000)
    provider = HttpProvider(small, client, lambda reference: SECRET)
    for stream in (True, False):
        scripted.enqueue(Script(text="a" * 20_000))
        assert isinstance(await failure(provider, stream=stream), ProviderGarbled)


async def test_unreachable_provider_is_named(row: ProviderRow, client: HttpClient) -> None:
    nowhere = msgspec.structs.replace(row, base_url="http://127.0.0.1:9/v1")
    provider = HttpProvider(nowhere, client, lambda reference: SECRET)
    error = await failure(provider, stream=True)
    assert isinstance(error, ProviderUnreachable)
    assert "refused" in (error.detail or "")
    health = await provider.check()
    assert not health.ok
    assert "127.0.0.1:9" in (health.remedy or "")


# --- Leaving ---


@pytest.mark.parametrize("how", ["close", "cancel"])
async def test_leaving_stops_the_generation_at_once(
    http_provider: HttpProvider, scripted: ScriptedProvider, how: str
) -> None:
    scripted.enqueue(Script(deltas=("a", "b"), stall_after_frames=3))
    stream = http_provider.stream(ask(stream=True), MODEL)
    await anext(stream)
    if how == "close":
        await stream.aclose()
    else:
        # The first frames may come in one read or in several; the stall is behind them all.
        async def drain() -> None:
            async for _ in stream:
                pass

        reading = asyncio.create_task(drain())
        await asyncio.sleep(0.01)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
    await scripted.until(lambda: scripted.requests[0].is_disconnected, timeout_s=5)
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_leaving_before_the_head_stops_the_generation(
    http_provider: HttpProvider, scripted: ScriptedProvider
) -> None:
    scripted.enqueue(Script(first_byte_gate=Gate()))
    asking = asyncio.create_task(answer(http_provider, stream=False))
    await scripted.until(lambda: bool(scripted.requests))
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    await scripted.until(lambda: scripted.requests[0].is_disconnected, timeout_s=5)


# --- Secrets ---


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    "script",
    [
        Script(status=401, body=b'{"error":{"message":"bad key ' + SECRET.encode() + b'"}}'),
        Script(status=400, body=b'{"error":{"message":"' + SECRET.encode() + b' is odd"}}'),
        Script(status=500, body=SECRET.encode()),
        Script(body=b'{"error":{"message":"no ' + SECRET.encode() + b'"}}'),
    ],
)
async def test_secret_is_in_nothing_that_can_be_seen(
    http_provider: HttpProvider,
    scripted: ScriptedProvider,
    caplog: pytest.LogCaptureFixture,
    script: Script,
    stream: bool,
) -> None:
    caplog.set_level(logging.DEBUG)
    scripted.enqueue(script)
    error: BaseException | None = await failure(http_provider, stream=stream)
    shown = repr(http_provider) + repr(vars(http_provider)) + caplog.text
    while error is not None:
        shown += repr(error) + str(error) + repr(getattr(error, "detail", ""))
        error = error.__cause__
    assert SECRET not in shown


@pytest.mark.parametrize("stream", [False, True])
async def test_missing_secret_is_the_operators_to_mend(
    row: ProviderRow, client: HttpClient, scripted: ScriptedProvider, stream: bool
) -> None:
    def resolve(reference: str) -> str:
        raise LookupError("the environment variable NAME is not set")

    provider = HttpProvider(row, client, resolve)
    error = await failure(provider, stream=stream)
    assert isinstance(error, ProviderRefusedUs)
    assert "NAME is not set" in (error.detail or "")
    assert "NAME" not in error.message
    assert not (await provider.check()).ok
    assert not scripted.requests, "nothing is sent without a key"


class RotatingFile:
    """A secret in a file, and how often it was read."""

    def __init__(self, path: Path, secret: str) -> None:
        self.path = path
        self.reads = 0
        self.write(secret)

    def write(self, secret: str) -> None:
        self.path.write_text(secret)

    def resolve(self, reference: str) -> str:
        self.reads += 1
        try:
            return Path(reference.removeprefix("file:")).read_text()
        except OSError:
            raise LookupError(f"{reference} cannot be read") from None


@pytest.fixture
def key_file(tmp_path: Path) -> RotatingFile:
    return RotatingFile(tmp_path / "key", "old-key-123456")


@pytest.fixture
def rotating_provider(row: ProviderRow, client: HttpClient, key_file: RotatingFile) -> HttpProvider:
    return HttpProvider(
        msgspec.structs.replace(row, api_key=f"file:{key_file.path}"), client, key_file.resolve
    )


@pytest.mark.parametrize("stream", [False, True])
async def test_rotated_key_is_found_when_the_old_one_is_refused(
    rotating_provider: HttpProvider,
    scripted: ScriptedProvider,
    key_file: RotatingFile,
    stream: bool,
) -> None:
    scripted.accepted_keys = {"old-key-123456"}
    await answer(rotating_provider, stream=stream)
    key_file.write("new-key-123456")
    scripted.accepted_keys = {"new-key-123456"}
    assert (await answer(rotating_provider, stream=stream)).choices[0].text
    assert len(scripted.requests) == 3
    await answer(rotating_provider, stream=stream)
    assert len(scripted.requests) == 4


async def test_refused_key_that_did_not_change_is_not_tried_again(
    rotating_provider: HttpProvider, scripted: ScriptedProvider, key_file: RotatingFile
) -> None:
    scripted.accepted_keys = {"another"}
    assert isinstance(await failure(rotating_provider, stream=False), ProviderRefusedUs)
    assert len(scripted.requests) == 1
    assert key_file.reads == 2


async def test_key_file_is_not_read_for_each_request(
    rotating_provider: HttpProvider, key_file: RotatingFile
) -> None:
    for _ in range(10):
        await answer(rotating_provider, stream=False)
    assert key_file.reads == 1


async def test_key_that_vanishes_for_a_moment_stays_in_use(
    rotating_provider: HttpProvider, scripted: ScriptedProvider, key_file: RotatingFile
) -> None:
    await answer(rotating_provider, stream=False)
    key_file.path.unlink()
    scripted.enqueue(Script(status=401))
    assert isinstance(await failure(rotating_provider, stream=False), ProviderRefusedUs)
    assert (await answer(rotating_provider, stream=False)).choices[0].text


# --- Rows ---


async def test_row_says_how_it_is_asked(
    row: ProviderRow, client: HttpClient, scripted: ScriptedProvider
) -> None:
    odd = msgspec.structs.replace(
        row,
        base_url=f"{scripted.url}/some/base/",
        chat_path="deployments/{model}/chat/completions",
        query=(("api-version", "2024-10-21"), ("sig", "env:SIG")),
        headers=(("X-Team", "a b"), ("X-Token", "env:TOKEN"), ("User-Agent", "custom")),
        auth_header="api-key",
        wire="openai",
    )
    provider = HttpProvider(odd, client, lambda reference: f"<{reference}>")
    model = msgspec.structs.replace(MODEL, upstream_name="a/b c")
    async for _ in provider.stream(ask(stream=False), model):
        pass
    sent = scripted.requests[0]
    assert sent.path == (
        "/some/base/deployments/a%2Fb%20c/chat/completions"
        "?api-version=2024-10-21&sig=%3Cenv%3ASIG%3E"
    )
    assert sent.headers["x-team"] == "a b"
    assert sent.headers["x-token"] == "<env:TOKEN>"
    assert sent.headers["user-agent"] == "custom"
    assert sent.headers["api-key"] == f"<{row.api_key}>"
    assert "authorization" not in sent.headers


async def test_row_without_a_key_sends_none(
    row: ProviderRow, client: HttpClient, scripted: ScriptedProvider
) -> None:
    provider = HttpProvider(msgspec.structs.replace(row, api_key=None), client, lambda r: SECRET)
    await answer(provider, stream=False)
    assert not {"authorization", "x-api-key", "api-key"} & set(scripted.requests[0].headers)


async def test_key_that_no_header_can_hold_is_refused_unseen(
    row: ProviderRow, client: HttpClient
) -> None:
    provider = HttpProvider(row, client, lambda reference: "snow\N{SNOWMAN}man-secret\r\nX: y")
    error = await failure(provider, stream=False)
    assert isinstance(error, ProviderRefusedUs)
    assert "man-secret" not in repr(error) + repr(error.detail) + repr(error.__cause__)


# --- Counting and checking ---


async def test_prompt_is_counted_where_the_wire_can(
    http_provider: HttpProvider, scripted: ScriptedProvider, row: ProviderRow
) -> None:
    scripted.enqueue(Script(usage=Tokens(input=1234)))
    counted = await http_provider.count_input(ask(stream=False), MODEL)
    if row.wire == "anthropic":
        assert counted == 1234
        assert scripted.requests[0].path == "/v1/messages/count_tokens"
        assert "max_tokens" not in scripted.requests[0].body
        cut = Script(cut_before_head=True)  # on a kept connection it is tried once more
        scripted.enqueue(Script(status=500), cut, cut)
        assert await http_provider.count_input(ask(stream=False), MODEL) is None
        assert await http_provider.count_input(ask(stream=False), MODEL) is None
    else:
        assert counted is None
        assert not scripted.requests


async def test_check_costs_nothing_and_tells_what_is_wrong(
    http_provider: HttpProvider, scripted: ScriptedProvider
) -> None:
    assert (await http_provider.check()).ok
    assert (scripted.requests[0].method, scripted.requests[0].path) == ("GET", "/v1/models")
    scripted.accepted_keys = {"another"}
    health = await http_provider.check()
    assert not health.ok
    assert "401" in health.message
    assert SECRET not in repr(health)
    assert "API_KEY" in (health.remedy or "")
