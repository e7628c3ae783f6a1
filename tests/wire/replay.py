"""Reads a golden transcript and replays it through the codecs; `README.md` describes the files."""

from __future__ import annotations

import importlib
import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import msgspec

from dragoman.chat import (
    ChatRequest,
    Failed,
    Finished,
    NanoUSD,
    ResponseHead,
    StreamEvent,
    collect,
    events_of,
)
from dragoman.errors import DragomanError
from dragoman.ports import Dialect
from dragoman.records.model import Model
from dragoman.records.provider import ProviderRow

WIRE = Path(__file__).parent

HEAD = ResponseHead(
    request_id="req_golden",
    response_id="0123456789abcdef0123456789abcdef",
    created_s=1_720_712_536,
    model="golden-model",
    session_id="5e551077-0000-4000-8000-000000000001",
    completion_ids=tuple(f"c0111e70-0000-4000-8000-{index:012d}" for index in range(8)),
    system_fingerprint="fp_golden",
)
MODEL = Model(id="golden-model", provider="golden", upstream_name="upstream-model")
ROWS = {
    "openai": ProviderRow(name="golden", wire="openai", base_url="https://provider.test/v1"),
    "anthropic": ProviderRow(name="golden", wire="anthropic", base_url="https://provider.test/v1"),
}


class Settings(msgspec.Struct, forbid_unknown_fields=True):
    """`case.json`."""

    upstream: Literal["openai", "anthropic"] = "openai"
    headers: dict[str, str] = {}
    kind: Literal["model", "project"] = "model"
    status: int = 200
    provider_status: int = 200
    provider_headers: dict[str, str] = {}
    head: dict[str, Any] = {}
    cost_nano_usd: int | None = None
    """What the answer is charged."""
    model: dict[str, Any] = {}
    row: dict[str, Any] = {}


class Case:
    """One folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.settings = msgspec.json.decode(self.read("case.json") or b"{}", type=Settings)
        name = folder.parent.name
        self.dialect: Dialect = getattr(
            importlib.import_module(f"dragoman.dialects.{name}"), name.upper()
        )
        wire = self.settings.upstream
        self.upstream: Any = getattr(
            importlib.import_module(f"dragoman.dialects.{wire}"), f"{wire.upper()}_UPSTREAM"
        )
        self.head = msgspec.structs.replace(HEAD, **self.settings.head)
        self.model = msgspec.structs.replace(MODEL, **self.settings.model)
        self.row = msgspec.structs.replace(
            ROWS[wire], **msgspec.convert(self.settings.row, dict[str, Any])
        )

    def read(self, name: str) -> bytes | None:
        path = self.folder / name
        return path.read_bytes() if path.exists() else None

    def read_json(self, name: str) -> Any:
        body = self.read(name)
        return None if body is None else json.loads(body)

    @property
    def is_answered(self) -> bool:
        """Whether a provider is asked at all."""
        return any(self.folder.glob("provider_response.*"))

    # --- The steps ---

    def request(self) -> ChatRequest:
        """The client's request, decoded and bound; raises the dialect's error."""
        body = self.read("request.json")
        assert body is not None, "a case needs its request.json"
        request = self.dialect.decode_request(body, self.settings.headers)
        return self.dialect.bind_target(request, self.settings.kind)

    def provider_events(self) -> list[StreamEvent]:
        """The provider's answer as events; raises what a provider adapter would."""
        stream = self.read("provider_response.sse")
        if stream is not None:
            decoder = self.upstream.stream_decoder()
            events: list[StreamEvent] = []
            try:
                for payload in sse_payloads(stream):
                    events += decoder.feed(payload)
                events += decoder.close()
            except DragomanError as error:
                events.append(Failed(error))
            return events
        body = self.read("provider_response.json")
        assert body is not None
        if self.settings.provider_status != 200:
            raise self.upstream.decode_error(
                self.settings.provider_status, self.settings.provider_headers, body
            )
        return events_of(self.upstream.decode_response(body))

    def answer(self, request: ChatRequest, events: list[StreamEvent]) -> bytes:
        """What the client is sent; a stream one event at a time, as it comes."""
        events = [self._charged(event) for event in events]
        if not request.stream:
            return self.dialect.encode_response(request, collect(events), self.head)
        encoder = self.dialect.stream_encoder(request, self.head)
        return b"".join([encoder.feed([event]) for event in events]) + encoder.close()

    def _charged(self, event: StreamEvent) -> StreamEvent:
        if self.settings.cost_nano_usd is None or not isinstance(event, Finished):
            return event
        if event.usage is None:
            return event
        cost = NanoUSD(self.settings.cost_nano_usd)
        usage = msgspec.structs.replace(event.usage, cost_nano_usd=cost)
        return msgspec.structs.replace(event, usage=usage)


def cases() -> Iterator[Path]:
    for request in sorted(WIRE.glob("*/*/request.json")):
        yield request.parent


def sse_payloads(stream: bytes) -> list[bytes]:
    """The data of each event of a well-formed stream."""
    payloads = []
    for frame in stream.replace(b"\r\n", b"\n").split(b"\n\n"):
        lines = [line[5:].removeprefix(b" ") for line in frame.split(b"\n") if line[:5] == b"data:"]
        if lines:
            payloads.append(b"\n".join(lines))
    return payloads


def frames(stream: bytes) -> list[Any]:
    """A stream as comparable values: each frame is its lines, with JSON data parsed."""
    assert stream == b"" or stream.endswith(b"\n\n"), "a stream ends with a whole frame"
    found = []
    for frame in stream.split(b"\n\n")[:-1]:
        lines: list[Any] = []
        for line in frame.decode().strip("\n").split("\n"):
            field, _, value = line.partition(": ")
            try:
                lines.append([field, json.loads(value)])
            except ValueError:
                lines.append([field, value])
        found.append(lines)
    return found


def canonical_form(value: object) -> Any:
    """`value` as JSON in the form of `canonical.json`."""
    match value:
        case msgspec.Raw():
            return {"is": "Raw", "json": json.loads(bytes(value))}
        case msgspec.Struct():
            form: dict[str, Any] = {"is": type(value).__name__}
            for field in msgspec.structs.fields(value):
                inner = getattr(value, field.name)
                if field.required or inner != field.default:
                    form[field.name] = canonical_form(inner)
            return form
        case tuple() | list():
            return [canonical_form(item) for item in value]
        case dict():
            return {key: canonical_form(item) for key, item in value.items()}
        case _:
            return value


def vendor_check(dialect: str, which: str, body: bytes) -> None:
    """Parse `body` with the vendor's own types, where the dialect's folder says how."""
    path = WIRE / dialect / "vendor.py"
    if not path.exists():
        return
    spec = importlib.util.spec_from_file_location(f"golden_vendor_{dialect}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    getattr(module, which)(body)
