"""The real engine with the real model: what it promises, and what it survives."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from contextlib import aclosing
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from tests.engine.asking import ENDLESS, RunningModel, as_schema, chat, tool

from dragoman.chat import (
    Finished,
    Message,
    PartDelta,
    PartStarted,
    ResponseFormat,
    Sampling,
    Text,
    ToolCall,
    ToolChoice,
    ToolResult,
)
from dragoman.engine.supervisor import EngineSupervisor
from dragoman.errors import (
    ContextOverflow,
    DragomanError,
    EngineFailed,
    InvalidRequest,
    Overloaded,
)
from dragoman.http_client import HttpClient
from dragoman.providers.local import LocalProvider
from dragoman.records.local_model import LocalModel

pytestmark = [pytest.mark.engine, pytest.mark.asyncio(loop_scope="module")]

HOT = Sampling(temperature=1.0)
WEATHER = tool(
    "get_weather",
    {
        "type": "object",
        "properties": {"city": {"type": "string", "maxLength": 40}, "unit": {"enum": ["C", "F"]}},
        "required": ["city"],
    },
)
CLOCK = tool(
    "get_time", {"type": "object", "properties": {"zone": {"type": "string", "maxLength": 9}}}
)


async def test_it_answers_sensibly(running: RunningModel) -> None:
    answer = await running.ask(
        chat("What is the capital of France?", sampling=Sampling(temperature=0.0))
    )
    assert "Paris" in answer.choices[0].text
    assert answer.choices[0].finish_reason == "stop"
    assert answer.system_fingerprint == running.supervisor.system_fingerprint is not None


async def test_usage_is_exact_and_counts_agree(running: RunningModel) -> None:
    request = chat("Tell me a story.", sampling=ENDLESS, max_output_tokens=7)
    counted = await running.provider.count_input(request, running.model)
    usage = (await running.ask(request)).usage
    assert (usage.input_tokens, usage.output_tokens) == (counted, 7)
    again = (await running.ask(request)).usage
    assert 0 < again.cached_input_tokens < again.input_tokens


async def test_same_seed_same_text_alone_and_under_load(running: RunningModel) -> None:
    request = chat("Write a poem.", sampling=Sampling(temperature=1.0, seed=7), logprobs=True)
    alone = (await running.ask(request)).choices
    noise = await running.begin(chat("Count.", sampling=ENDLESS, max_output_tokens=60))
    together = await asyncio.gather(running.ask(request), running.ask(request))
    await noise
    assert [answer.choices for answer in together] == [alone, alone]
    other = chat("Write a poem.", sampling=Sampling(temperature=1.0, seed=8), logprobs=True)
    assert (await running.ask(other)).choices != alone


async def test_choices_interleave_and_usage_comes_once_with_the_last(running: RunningModel) -> None:
    request = chat(
        "Tell me a story.",
        sampling=Sampling(temperature=1.0, seed=3),
        choices=3,
        max_output_tokens=8,
    )
    events = await running.events(request)
    finished = [event for event in events if isinstance(event, Finished)]
    assert sorted(event.choice for event in finished) == [0, 1, 2]
    assert [event.usage is None for event in finished] == [True, True, False]
    deltas = [event.choice for event in events if isinstance(event, PartDelta)]
    assert deltas != sorted(deltas)
    usage = finished[-1].usage
    assert usage is not None
    assert usage.output_tokens <= 24
    assert usage.input_tokens == await running.provider.count_input(request, running.model)
    # Choice i uses seed + i.
    second = await running.ask(
        chat("Tell me a story.", sampling=Sampling(temperature=1.0, seed=4), max_output_tokens=8)
    )
    text = "".join(e.text for e in events if isinstance(e, PartDelta) and e.choice == 1)
    assert text == second.choices[0].text


SCHEMAS: list[Any] = [
    {
        "type": "object",
        "properties": {
            "name": {"type": "string", "maxLength": 12},
            "age": {"type": "integer", "minimum": 1, "maximum": 120},
            "score": {"type": "number", "minimum": 0, "maximum": 1},
        },
        "required": ["name", "age", "score"],
        "additionalProperties": False,
    },
    {"type": "array", "items": {"enum": ["red", "green", 3]}, "minItems": 2, "maxItems": 3},
    {"type": "string", "pattern": "^[A-Z]{2}-[0-9]{4}$"},
    {
        "$defs": {
            "leaf": {"type": "object", "properties": {"v": {"const": 'x"\\é'}}, "required": ["v"]}
        },
        "anyOf": [{"$ref": "#/$defs/leaf"}, {"type": "null"}],
    },
    {"type": "string", "format": "date-time"},
]


@pytest.mark.parametrize("schema", SCHEMAS, ids=lambda schema: json.dumps(schema)[:30])
async def test_json_is_valid_against_its_schema_at_any_temperature(
    running: RunningModel, schema: Any
) -> None:
    request = chat(
        "Describe Bob.", sampling=HOT, response_format=as_schema(schema), max_output_tokens=120
    )
    answers = await asyncio.gather(*(running.ask(request) for _ in range(3)))
    for answer in answers:
        assert answer.choices[0].finish_reason == "stop"
        assert jsonschema_rs.is_valid(schema, json.loads(answer.choices[0].text))


async def test_json_object_is_an_object(running: RunningModel) -> None:
    answer = await running.ask(
        chat(
            "A cat as JSON with a name.",
            sampling=Sampling(temperature=0.2, seed=1),
            response_format=ResponseFormat(kind="json_object"),
            max_output_tokens=200,
        )
    )
    (choice,) = answer.choices
    assert choice.finish_reason == "length" or isinstance(json.loads(choice.text), dict)


async def test_a_forced_call_is_valid_and_streams(running: RunningModel) -> None:
    request = chat(
        "What is the weather in Paris?",
        tools=(CLOCK, WEATHER),
        tool_choice=ToolChoice("named", "get_weather"),
        sampling=HOT,
        max_output_tokens=80,
    )
    events = await running.events(request)
    started = [event.part for event in events if isinstance(event, PartStarted)]
    (call,) = [part for part in started if isinstance(part, ToolCall)]
    assert call.name == "get_weather"
    pieces = [event.text for event in events if isinstance(event, PartDelta)]
    assert len(pieces) > 2
    arguments = json.loads("".join(pieces))
    assert jsonschema_rs.is_valid(json.loads(bytes(WEATHER.parameters)), arguments)
    assert isinstance(events[-1], Finished)
    assert events[-1].reason == "tool_calls"


async def test_required_calls_one_of_the_tools_or_several(running: RunningModel) -> None:
    known = {"get_weather", "get_time"}
    ids: set[str] = set()
    for parallel in (None, True):
        request = chat(
            "Weather in Rome, and the time?",
            tools=(CLOCK, WEATHER),
            tool_choice=ToolChoice("required"),
            parallel_tool_calls=parallel,
            sampling=HOT,
            max_output_tokens=300,
        )
        (choice,) = (await running.ask(request)).choices
        assert choice.finish_reason in ("tool_calls", "length")
        calls = [part for part in choice.parts if isinstance(part, ToolCall)]
        assert calls
        assert len(calls) == len(choice.parts)
        assert {call.name for call in calls} <= known
        assert not ids & {call.id for call in calls}
        ids |= {call.id for call in calls}


async def test_a_tool_loop_closes(running: RunningModel) -> None:
    answer = await running.ask(
        chat(
            messages=(
                Message("user", (Text("What is the weather in Paris?"),)),
                Message(
                    "assistant",
                    (ToolCall(id="call_1", name="get_weather", arguments='{"city":"Paris"}'),),
                ),
                Message("tool", (ToolResult(call_id="call_1", parts=(Text("17 degrees, rain"),)),)),
            ),
            tools=(WEATHER,),
            sampling=Sampling(temperature=0.0),
        )
    )
    assert answer.choices[0].parts


async def test_a_stop_string_ends_the_text_and_is_named(running: RunningModel) -> None:
    spoken = await running.ask(
        chat("Tell me a story.", sampling=Sampling(temperature=1.0, seed=5), max_output_tokens=20)
    )
    text = spoken.choices[0].text
    stop = text[10:14]
    stopped = await running.ask(
        chat(
            "Tell me a story.",
            sampling=Sampling(temperature=1.0, seed=5),
            max_output_tokens=20,
            stop=("never said", stop),
        )
    )
    (choice,) = stopped.choices
    assert choice.text == text[: text.index(stop)]
    assert (choice.finish_reason, choice.stop_sequence) == ("stop", stop)


async def test_logprobs_have_the_asked_for_number_of_alternatives(running: RunningModel) -> None:
    answer = await running.ask(
        # Without chance: of a character that takes several tokens there would be one entry.
        chat(
            logprobs=True,
            top_logprobs=2,
            max_output_tokens=3,
            sampling=Sampling(temperature=0.0, logit_bias=ENDLESS.logit_bias),
        )
    )
    logprobs = answer.choices[0].logprobs
    assert logprobs is not None
    assert len(logprobs) == 3
    assert all(len(entry.top) == 2 and entry.logprob <= 0 for entry in logprobs)
    assert "".join(entry.token for entry in logprobs) == answer.choices[0].text


async def test_a_prefill_is_continued_and_not_repeated(running: RunningModel) -> None:
    answer = await running.ask(
        chat(
            messages=(
                Message("user", (Text("Count to five."),)),
                Message("assistant", (Text("1, 2, 3,"),)),
            ),
            sampling=Sampling(temperature=0.0),
            max_output_tokens=6,
        )
    )
    assert not answer.choices[0].text.startswith("1")
    assert "4" in answer.choices[0].text


async def test_a_prompt_over_the_context_names_messages_and_both_numbers(
    running: RunningModel,
) -> None:
    with pytest.raises(ContextOverflow, match=r"messages take \d+ tokens.*holds 512") as refused:
        await running.ask(chat("word " * 700))
    assert refused.value.param == "messages"
    with pytest.raises(ContextOverflow, match="512"):
        await running.ask(chat("word " * 100_000))


async def test_the_contexts_end_ends_the_answer_with_length(running: RunningModel) -> None:
    answer = await running.ask(chat("word " * 430, sampling=ENDLESS, max_output_tokens=100_000))
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage.total_tokens <= 513


HOSTILE: list[tuple[str, Any]] = [
    ("nested", {"response_format": as_schema(b'{"items":' * 12_000 + b"{}" + b"}" * 12_000)}),
    ("brackets", {"response_format": as_schema(b"[" * 100_000)}),
    ("pattern", {"response_format": as_schema({"type": "string", "pattern": "^a{1,1000000}$"})}),
    (
        "nested pattern",
        {
            "response_format": as_schema(
                {"type": "string", "pattern": "^((a{0,500}){0,500}){0,500}$"}
            )
        },
    ),
    ("regex", {"response_format": as_schema({"type": "string", "pattern": "["})}),
    ("parentheses", {"response_format": as_schema({"type": "string", "pattern": "(" * 100_000})}),
    ("remote", {"response_format": as_schema({"$ref": "http://127.0.0.1:1/x"})}),
    ("enum", {"response_format": as_schema({"enum": list(range(20_000))})}),
    ("ignored constraint", {"response_format": as_schema({"not": {"type": "string"}})}),
    ("stop", {"stop": ("",)}),
    ("stops", {"stop": ("x",) * 1000}),
    ("bias", {"sampling": Sampling(logit_bias=tuple((i, 1.0) for i in range(49_000)))}),
    ("unknown token", {"sampling": Sampling(logit_bias=((49_152, 1.0),))}),
    ("endless bias", {"sampling": Sampling(logit_bias=((5, float("nan")),))}),
    ("top_logprobs", {"logprobs": True, "top_logprobs": 1_000_000}),
    ("max_tokens", {"max_output_tokens": -(2**40)}),
    ("choices", {"choices": 10_000}),
    ("tools", {"tools": tuple(tool(f"t{i}", {}) for i in range(1000))}),
    (
        "tool schema",
        {
            "tools": (tool("t", {"properties": {"a": {"type": "string", "pattern": "(?=a)"}}}),),
            "tool_choice": ToolChoice("required"),
        },
    ),
]


@pytest.mark.parametrize(
    "fields", [fields for _, fields in HOSTILE], ids=[name for name, _ in HOSTILE]
)
async def test_hostile_input_is_refused_by_name_before_it_reaches_the_engine(
    running: RunningModel, fields: dict[str, Any]
) -> None:
    await running.supervisor.running()
    begun = time.perf_counter()
    with pytest.raises(InvalidRequest) as refused:
        await running.ask(chat(**fields))
    assert time.perf_counter() - begun < 1.0
    assert refused.value.param


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "string", "pattern": "^(a+)+$"},
        {"type": "string", "pattern": "^(a|aa|aaa)*b$"},
        {"type": "string", "pattern": "^([a-z]{1,40}){1,40}$"},
        {
            "type": "array",
            "items": {"type": "string", "maxLength": 2000},
            "minItems": 2,
            "maxItems": 1000,
        },
        {"type": "object", "properties": {f"p{i}": {"type": "number"} for i in range(300)}},
        {"type": "integer", "minimum": -987654321012345, "maximum": 987654321012345},
    ],
    ids=lambda schema: json.dumps(schema)[:50],
)
async def test_what_is_let_through_never_stalls_the_engine(
    running: RunningModel, schema: Any
) -> None:
    engine = await running.supervisor.running()
    await running.ask(
        chat("Go on.", sampling=HOT, response_format=as_schema(schema), max_output_tokens=12)
    )
    assert running.supervisor.engine is engine


async def test_leaving_frees_the_slot_within_a_second(running: RunningModel) -> None:
    slots = running.supervisor.model.slots
    requests = [chat("Go on.", sampling=ENDLESS, max_output_tokens=400) for _ in range(slots)]
    tasks = [await running.begin(request) for request in requests]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    begun = time.perf_counter()
    assert running.supervisor.slots.in_use == 0
    await running.ask(chat(max_output_tokens=1))
    assert time.perf_counter() - begun < 1.0


async def test_a_closed_iterator_frees_the_slot_too(running: RunningModel) -> None:
    async with aclosing(
        running.provider.stream(chat("Go on.", sampling=ENDLESS, choices=2), running.model)
    ) as batches:
        async for _ in batches:
            break
    assert running.supervisor.slots.in_use == 0


async def test_a_full_queue_refuses_with_a_time_to_return(running: RunningModel) -> None:
    local = running.supervisor.model
    tickets = await running.supervisor.admit(local.slots + local.max_queue)
    try:
        with pytest.raises(Overloaded) as refused:
            await running.ask(chat())
        assert refused.value.retry_after_s is not None
    finally:
        for ticket in tickets:
            ticket.release()


async def test_a_killed_engine_fails_its_requests_at_once_and_comes_back(
    running: RunningModel,
) -> None:
    engine = await running.supervisor.running()
    endless = chat("Go on.", sampling=ENDLESS, max_output_tokens=400)
    tasks = [await running.begin(endless) for _ in range(2)]
    os.kill(engine.pid, signal.SIGKILL)
    begun = time.perf_counter()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert time.perf_counter() - begun < 1.0
    assert all(isinstance(result, EngineFailed) for result in results)
    # Nobody had to help it.
    await running.supervisor.running(after=engine)
    answer = await running.ask(chat())
    assert answer.choices[0].parts
    assert running.supervisor.engine is not engine


async def test_a_frozen_engine_is_killed_and_replaced(
    running: RunningModel, model_path: Path, tmp_path: Path
) -> None:
    local = LocalModel(id=running.model.id, slots=2, context_tokens=128, stall_s=3.0)
    supervisor = EngineSupervisor(local, model_path, tmp_path)
    client = HttpClient()
    provider = LocalProvider({local.id: supervisor}, client)
    one = RunningModel(provider, supervisor, running.model)
    await supervisor.start()
    try:
        engine = await supervisor.running()
        task = await one.begin(chat("Go on.", sampling=ENDLESS, max_output_tokens=80))
        os.kill(engine.pid, signal.SIGSTOP)
        begun = time.perf_counter()
        with pytest.raises(EngineFailed):
            await task
        assert time.perf_counter() - begun < local.stall_s + 3.0
        assert (await one.ask(chat())).choices[0].parts
        assert supervisor.engine is not engine
    finally:
        await provider.aclose()
        await client.aclose()


async def test_errors_hold_nothing_of_the_prompt(running: RunningModel) -> None:
    secret = "swordfish-4711"
    for fields in ({"stop": ("",)}, {"response_format": as_schema({"not": {"const": secret}})}):
        with pytest.raises(DragomanError) as refused:
            await running.ask(chat(secret, **fields))
        assert secret not in f"{refused.value.message}{refused.value.param}{refused.value.detail}"


async def test_health_tells_of_a_running_engine(running: RunningModel) -> None:
    await running.supervisor.running()
    health = await running.provider.check()
    assert health.ok
    assert "running" in health.message
