"""Hypothesis strategies for canonical values that chat completions can carry whole.

`requests` makes what `encode_request` and `decode_request` must take back and forth unchanged;
`responses` what both directions of an answer must. Other wire formats narrow them by `map`/`filter`.
"""

from __future__ import annotations

import json
from typing import Any

import msgspec
from hypothesis import strategies as st

from dragoman.chat import (
    AUTO_TOOL_CHOICE,
    TEXT_FORMAT,
    ChatRequest,
    ChatResponse,
    Choice,
    FinishReason,
    Image,
    Message,
    Part,
    PartDelta,
    PartEnded,
    PartStarted,
    Reasoning,
    Refusal,
    ResponseFormat,
    Sampling,
    StreamEvent,
    Text,
    Thinking,
    TokenLogprob,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
    Usage,
    events_of,
)

texts = st.text(st.characters(codec="utf-8"), max_size=20)
some_text = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20)
names = st.from_regex(r"[a-zA-Z_][a-zA-Z0-9_-]{0,20}", fullmatch=True)
call_ids = st.from_regex(r"[a-zA-Z0-9_-]{1,40}", fullmatch=True)
_scalars = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | texts
json_values = st.recursive(
    _scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
json_objects = st.dictionaries(texts, json_values, max_size=3)
caches = st.sampled_from([None, "5m", "1h"])


def _raw(value: Any) -> msgspec.Raw:
    return msgspec.Raw(json.dumps(value).encode())


raw_objects = json_objects.map(_raw)
argument_texts = json_objects.map(json.dumps)

text_parts = st.builds(Text, some_text, caches)
images = st.builds(
    Image,
    data=st.sampled_from(["iVBORw0KGgo=", "AAAA"]),
    media_type=st.sampled_from(["image/png", "image/jpeg"]),
    detail=st.sampled_from([None, "auto", "low", "high"]),
    cache=caches,
) | st.builds(Image, url=st.just("https://images.test/a.png"), cache=caches)
signed_reasoning = st.builds(Reasoning, text=some_text, signature=some_text) | st.builds(
    Reasoning, redacted=some_text
)
# Providers sign all of their thinking or none of it; unsigned pieces flow into one.
reasoning = st.lists(signed_reasoning, max_size=2) | st.builds(Reasoning, text=some_text).map(
    lambda part: [part]
)


def _call_id(call: ToolCall) -> str:
    return call.id


tool_calls = st.builds(ToolCall, id=call_ids, name=names, arguments=argument_texts)


@st.composite
def assistant_parts(draw: st.DrawFn) -> tuple[Part, ...]:
    """In the order that the wire keeps: thinking, text, refusal, calls."""
    parts: list[Part] = [*draw(reasoning)]
    parts += [Text(text) for text in draw(st.lists(some_text, max_size=1))]
    parts += [Refusal(text) for text in draw(st.lists(some_text, max_size=1))]
    calls: list[ToolCall] = draw(st.lists(tool_calls, max_size=3, unique_by=_call_id))
    parts += calls
    return tuple(parts)


@st.composite
def conversations(draw: st.DrawFn) -> tuple[Message, ...]:
    """Turns in which every tool result answers a call of the assistant turn before it."""
    messages: list[Message] = []
    for _ in range(draw(st.integers(1, 3))):
        kind = draw(st.sampled_from(["system", "user", "exchange"]))
        if kind == "system":
            messages.append(Message("system", (Text(draw(texts)),), draw(st.none() | names)))
            continue
        parts = draw(st.lists(text_parts | images, min_size=1, max_size=3))
        messages.append(Message("user", tuple(parts), draw(st.none() | names)))
        if kind == "exchange":
            said = draw(assistant_parts())
            messages.append(Message("assistant", said))
            for part in said:
                if isinstance(part, ToolCall):
                    held = tuple([Text(text) for text in draw(st.lists(some_text, max_size=1))])
                    result = ToolResult(call_id=part.id, parts=held, name=draw(st.none() | names))
                    messages.append(Message("tool", (result,)))
    return tuple(messages)


tools = st.lists(
    st.builds(
        Tool,
        name=names,
        description=st.none() | texts,
        parameters=raw_objects,
        strict=st.none() | st.booleans(),
        cache=caches,
    ),
    max_size=3,
    unique_by=lambda tool: tool.name,
).map(tuple)

response_formats = (
    st.just(TEXT_FORMAT)
    | st.just(ResponseFormat(kind="json_object"))
    | st.builds(
        ResponseFormat,
        kind=st.just("json_schema"),
        name=names,
        description=st.none() | texts,
        schema=raw_objects,
        strict=st.none() | st.booleans(),
    )
)

samplings = st.builds(
    Sampling,
    temperature=st.none() | st.floats(0, 2),
    top_p=st.none() | st.floats(0, 1),
    frequency_penalty=st.none() | st.floats(-2, 2),
    presence_penalty=st.none() | st.floats(-2, 2),
    seed=st.none() | st.integers(-(2**63), 2**63 - 1),
    logit_bias=st.dictionaries(
        st.integers(0, 200_000), st.integers(-100, 100).map(float), max_size=3
    ).map(lambda bias: tuple(bias.items())),
)


@st.composite
def requests(draw: st.DrawFn, model: str = "upstream-model") -> ChatRequest:
    """A request of the `openai` dialect, without its context, which no provider is sent."""
    offered = draw(tools)
    choice = AUTO_TOOL_CHOICE
    if offered:
        named = st.sampled_from([ToolChoice("named", tool.name) for tool in offered])
        plain = st.sampled_from([ToolChoice("none"), ToolChoice("required"), AUTO_TOOL_CHOICE])
        choice = draw(named | plain)
    logprobs = draw(st.booleans())
    stream = draw(st.booleans())
    return ChatRequest(
        dialect="openai",
        target=model,
        messages=draw(conversations()),
        tools=offered,
        tool_choice=choice,
        parallel_tool_calls=draw(st.sampled_from([None, False])) if offered else None,
        sampling=draw(samplings),
        default_sampling=Sampling(temperature=1.0, top_p=1.0),
        max_output_tokens=draw(st.none() | st.integers(1, 2**31 - 1)),
        stop=tuple(draw(st.lists(some_text, max_size=4))),
        choices=draw(st.integers(1, 8)),
        response_format=draw(response_formats),
        logprobs=logprobs,
        top_logprobs=draw(st.integers(0, 20)) if logprobs else 0,
        thinking=draw(
            st.none()
            | st.sampled_from(["minimal", "low", "high"]).map(lambda e: Thinking(effort=e))
            | st.just(Thinking(enabled=False, effort="none"))
        ),
        stream=stream,
        stream_usage="separate_chunk" if stream else "none",
        extensions=tuple(draw(st.dictionaries(st.sampled_from(FORWARDED), raw_objects)).items()),
    )


FORWARDED = ("x_first", "x_second")
"""Unknown fields that a row under test must forward for `requests` to come back whole."""
FORWARDS = ("reasoning_content", "reasoning_details", "cache_control", *FORWARDED)

_token_logprobs = st.builds(
    TokenLogprob,
    some_text,
    st.floats(-50, 0),
    st.none() | st.just((80, 97)),
    st.lists(st.builds(TokenLogprob, some_text, st.floats(-50, 0)), max_size=2).map(tuple),
)


@st.composite
def _choices(draw: st.DrawFn) -> Choice:
    parts = draw(assistant_parts())
    reason: FinishReason = draw(st.sampled_from(["stop", "length", "content_filter"]))
    if reason == "stop" and any(isinstance(part, ToolCall) for part in parts):
        reason = "tool_calls"
    has_text = any(isinstance(part, Text) for part in parts)
    tokens = draw(st.lists(_token_logprobs, max_size=2)) if has_text else []
    return Choice(parts=parts, finish_reason=reason, logprobs=tuple(tokens) or None)


@st.composite
def usages(draw: st.DrawFn) -> Usage:
    cached, written = draw(st.integers(0, 10**6)), draw(st.integers(0, 10**6))
    thinking = draw(st.integers(0, 10**6))
    return Usage(
        input_tokens=cached + written + draw(st.integers(0, 10**6)),
        # More than its reasoning: a provider whose two numbers are equal cannot be told from one
        # that counts them apart and produced nothing else.
        output_tokens=thinking + draw(st.integers(1, 10**6)),
        cached_input_tokens=cached,
        cache_write_tokens=written,
        reasoning_tokens=thinking,
    )


@st.composite
def responses(draw: st.DrawFn, max_choices: int = 3) -> ChatResponse:
    return ChatResponse(
        choices=tuple(draw(st.lists(_choices(), min_size=1, max_size=max_choices))),
        usage=draw(usages()),
    )


@st.composite
def streams(draw: st.DrawFn, max_choices: int = 3) -> tuple[ChatResponse, list[StreamEvent]]:
    """An answer, and one of the many streams that collect to it."""
    response = draw(responses(max_choices))
    events: list[StreamEvent] = []
    for event in events_of(response):
        part = event.part if isinstance(event, PartStarted) else None
        if isinstance(part, Text) or (isinstance(part, Reasoning) and part.redacted is None):
            empty = Text("") if isinstance(part, Text) else Reasoning()
            events.append(PartStarted(empty, event.choice))  # type: ignore[union-attr]
            events += _deltas(draw, part.text, event.choice)  # type: ignore[union-attr]
            if isinstance(part, Reasoning):
                events.append(PartEnded(event.choice, part.signature))  # type: ignore[union-attr]
        elif isinstance(part, ToolCall):
            call = ToolCall(id=part.id, name=part.name)
            events.append(PartStarted(call, event.choice))  # type: ignore[union-attr]
            events += _deltas(draw, part.arguments, event.choice)  # type: ignore[union-attr]
        elif isinstance(event, PartEnded) and isinstance(events[-1], PartEnded):
            continue  # The thinking's end, with its signature, is there.
        else:
            events.append(event)
    return response, events


def _deltas(draw: st.DrawFn, text: str, choice: int) -> list[StreamEvent]:
    if not text:
        return []
    cut = draw(st.integers(0, len(text)))
    return [PartDelta(piece, choice) for piece in (text[:cut], text[cut:]) if piece]
