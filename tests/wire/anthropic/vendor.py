"""Parses our answers with the `anthropic` SDK's own types, streams with its own accumulator."""

from __future__ import annotations

import json

import httpx2
from anthropic import Stream
from anthropic.lib.streaming._messages import accumulate_event
from anthropic.types import ErrorResponse, Message, RawMessageStreamEvent
from pydantic import TypeAdapter

_event: TypeAdapter[RawMessageStreamEvent] = TypeAdapter(RawMessageStreamEvent)


def check_response(body: bytes) -> Message:
    message = Message.model_validate_json(body, strict=True)
    assert message.stop_reason is not None
    return message


def check_stream(body: bytes) -> Message | None:
    """The message that the SDK makes of a stream; `None` where it ends in an error."""
    snapshot = None
    json_bufs: dict[int, bytes] = {}
    for sse in Stream.raw_events(httpx2.Response(200, content=body)):
        if sse.event == "error":
            ErrorResponse.model_validate_json(sse.data, strict=True)
            return None
        event = _event.validate_json(sse.data)
        assert sse.event == event.type == json.loads(sse.data)["type"]
        snapshot = accumulate_event(event=event, current_snapshot=snapshot, json_bufs=json_bufs)
        if event.type == "message_stop":
            break
    assert snapshot is not None
    assert snapshot.stop_reason is not None
    return Message.model_validate(snapshot.model_dump())
