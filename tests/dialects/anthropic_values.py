"""Hypothesis strategies for canonical values that Anthropic's wire format can carry whole."""

from __future__ import annotations

import json
from typing import Any

import msgspec
from hypothesis import strategies as st
from tests.dialects.canonical import (
    call_ids,
    names,
    signed_reasoning,
    usages,
)

from dragoman.chat import (
    AUTO_TOOL_CHOICE,
    TEXT_FORMAT,
    CacheTTL,
    ChatRequest,
    ChatResponse,
    Choice,
    FinishReason,
    Image,
    Message,
    Opaque,
    Part,
    PartDelta,
    PartEnded,
    PartStarted,
    Reasoning,
    ResponseFormat,
    Sampling,
    StreamEvent,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
    events_of,
)

said = st.text(st.characters(codec="utf-8"), max_size=8).map(lambda text: text + ".")
"""Never blank: the API refuses that, and blank texts are left out on the way to it."""
_CACHES: list[CacheTTL | None] = [None, "5m", "1h"]
caches = st.sampled_from(_CACHES)
text_parts = st.builds(Text, said, caches)
images = st.builds(
    Image,
    data=st.sampled_from(["iVBORw0KGgo=", "AAAA"]),
    media_type=st.sampled_from(["image/png", "image/webp"]),
    cache=caches,
) | st.builds(Image, url=st.just("https://images.test/a.png"), cache=caches)
documents = said.map(
    lambda text: Opaque(
        wire="anthropic",
        kind="document",
        json=json.dumps({"type": "document", "source": {"type": "text", "data": text}}),
    )
)


def _object(value: Any) -> msgspec.Raw:
    return msgspec.Raw(json.dumps({"type": "object", **value}).encode())


_scalars = st.none() | st.booleans() | st.integers(-(2**63), 2**63) | said
_small_objects = st.dictionaries(said, _scalars | st.lists(_scalars, max_size=2), max_size=2)
schemas = _small_objects.map(_object)
inputs = _small_objects.map(json.dumps)


@st.composite
def conversations(draw: st.DrawFn) -> tuple[Message, ...]:
    """In the order that the wire keeps: the system prompt, then turns that alternate."""
    messages: list[Message] = []
    system = draw(st.lists(text_parts, max_size=2))
    if system:
        messages.append(Message("system", tuple(system)))
    first_id = draw(call_ids)
    calls: list[ToolCall] = []
    for turn in range(draw(st.integers(1, 3))):
        if calls:
            messages.append(Message("tool", tuple([_result(draw, call) for call in calls])))
        if not calls or draw(st.booleans()):
            parts = draw(st.lists(text_parts | images | documents, min_size=1, max_size=3))
            messages.append(Message("user", tuple(parts)))
        calls = [
            ToolCall(id=f"{first_id}{turn}{i}", name=draw(names), arguments=draw(inputs))
            for i in range(draw(st.integers(0, 3)))
        ]
        answer: list[Part] = [
            *draw(st.lists(signed_reasoning, max_size=2)),
            *draw(st.lists(text_parts, min_size=1, max_size=2)),
        ]
        messages.append(Message("assistant", (*answer, *calls)))
    return tuple(messages)


def _result(draw: st.DrawFn, call: ToolCall) -> ToolResult:
    return ToolResult(
        call_id=call.id,
        parts=tuple(draw(st.lists(text_parts | images, max_size=2))),
        is_error=draw(st.booleans()),
        cache=draw(caches),
    )


tools = st.lists(
    st.builds(
        Tool,
        name=names,
        description=st.none() | said,
        parameters=schemas,
        strict=st.none() | st.booleans(),
        cache=caches,
    ),
    max_size=3,
    unique_by=lambda tool: tool.name,
).map(tuple)

thinking = st.sampled_from(
    [
        None,
        Thinking(enabled=False),
        Thinking(budget_tokens=2000),
        Thinking(budget_tokens=1024, display="omitted"),
        Thinking(display="summarized"),
        Thinking(effort="high"),
        Thinking(effort="low", is_implied=True),
    ]
)


@st.composite
def requests(draw: st.DrawFn, model: str = "upstream-model") -> ChatRequest:
    offered = draw(tools)
    choice = AUTO_TOOL_CHOICE
    if offered:
        named = st.sampled_from([ToolChoice("named", tool.name) for tool in offered])
        plain = st.sampled_from([ToolChoice("none"), ToolChoice("required"), AUTO_TOOL_CHOICE])
        choice = draw(named | plain)
    parallel = st.sampled_from([None, False])
    return ChatRequest(
        dialect="anthropic",
        target=model,
        messages=draw(conversations()),
        tools=offered,
        tool_choice=choice,
        parallel_tool_calls=draw(parallel) if offered and choice.mode != "none" else None,
        sampling=draw(
            st.builds(
                Sampling,
                temperature=st.none() | st.floats(0, 1),
                top_p=st.none() | st.floats(0, 1),
                top_k=st.none() | st.integers(0, 500),
            )
        ),
        max_output_tokens=draw(st.integers(2001, 2**31 - 1)),
        stop=tuple(draw(st.lists(said, max_size=4))),
        response_format=draw(
            st.just(TEXT_FORMAT)
            | schemas.map(
                lambda schema: ResponseFormat(kind="json_schema", schema=schema, strict=True)
            )
        ),
        thinking=draw(thinking),
        stream=draw(st.booleans()),
        extensions=tuple(draw(st.dictionaries(st.sampled_from(FORWARDED), schemas)).items()),
    )


FORWARDED = ("x_first", "x_second")
"""Unknown fields that a row under test must forward for `requests` to come back whole."""


@st.composite
def responses(draw: st.DrawFn) -> ChatResponse:
    parts: list[Part] = draw(
        st.lists(signed_reasoning | st.builds(Reasoning, text=said) | said.map(Text), max_size=4)
    )
    calls = draw(
        st.lists(
            st.builds(ToolCall, id=st.text(max_size=12), name=names, arguments=inputs),
            max_size=3,
        )
    )
    reason: FinishReason = draw(st.sampled_from(["stop", "length", "content_filter", "paused"]))
    stop_sequence = None
    if reason == "stop" and calls:
        reason = "tool_calls"
    elif reason == "stop":
        stop_sequence = draw(st.none() | said)
    choice = Choice(parts=(*parts, *calls), finish_reason=reason, stop_sequence=stop_sequence)
    return ChatResponse(choices=(choice,), usage=draw(usages()))


@st.composite
def streams(draw: st.DrawFn) -> tuple[ChatResponse, list[StreamEvent]]:
    """An answer, and one of the many streams that collect to it."""
    response = draw(responses())
    events: list[StreamEvent] = []
    for event in events_of(response):
        part = event.part if isinstance(event, PartStarted) else None
        match part:
            case Text(text=text):
                events += (PartStarted(Text("")), *_deltas(draw, text))
            case ToolCall(arguments=text):
                events.append(PartStarted(ToolCall(id=part.id, name=part.name)))
                events += _deltas(draw, text)
            case Reasoning(redacted=None, text=text):
                events += (PartStarted(Reasoning()), *_deltas(draw, text))
                events.append(PartEnded(0, part.signature))
            case None if (
                isinstance(event, PartEnded) and events and isinstance(events[-1], PartEnded)
            ):
                pass  # The thinking's end, with its signature, is there.
            case _:
                events.append(event)
    return response, events


def _deltas(draw: st.DrawFn, text: str) -> list[StreamEvent]:
    cut = draw(st.integers(0, len(text)))
    return [PartDelta(piece) for piece in (text[:cut], text[cut:]) if piece]
