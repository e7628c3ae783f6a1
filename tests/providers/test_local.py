"""From requests to the engine's questions, and from its chunks to events, without an engine."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest
from tests.engine.asking import as_schema, chat, tool

from dragoman.chat import (
    ChatRequest,
    Collector,
    Finished,
    Image,
    Message,
    PartDelta,
    Sampling,
    Started,
    StreamEvent,
    Text,
    ToolCall,
    ToolChoice,
    ToolResult,
)
from dragoman.engine import guard
from dragoman.errors import (
    ContextOverflow,
    EngineFailed,
    InvalidRequest,
    ProviderGarbled,
    UnsupportedField,
)
from dragoman.policy.routing import bind
from dragoman.providers.local import describe_model
from dragoman.providers.local_answer import AnswerReader
from dragoman.providers.local_prompt import Question, ask
from dragoman.providers.local_wire import ChunkReader, read_error
from dragoman.records.local_model import LocalModel

WEATHER = tool("get_weather", {"type": "object", "properties": {"city": {"type": "string"}}})


def question(request: ChatRequest, *, knows_tools: bool = False) -> Question:
    return ask(request, vocabulary=1000, context_tokens=256, knows_tools=knows_tools)


def sent(request: ChatRequest, *, knows_tools: bool = False, index: int = 0) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(question(request, knows_tools=knows_tools).body(index))
    return body


def test_each_choice_has_its_own_seed_within_the_engines_range() -> None:
    request = chat(sampling=Sampling(seed=2**63))
    assert sent(request, index=1)["seed"] == guard.engine_seed(2**63 + 1, 0)
    assert 0 <= sent(chat(sampling=Sampling(seed=-1)))["seed"] < 2**32 - 1


def test_the_output_limit_never_exceeds_the_context() -> None:
    assert sent(chat(max_output_tokens=10**9))["max_tokens"] == 256
    assert sent(chat(max_output_tokens=None))["max_tokens"] == 256


@pytest.mark.parametrize(
    "message",
    [
        Message("user", (Text("x" * 20_000),)),
        Message("tool", (ToolResult(call_id="c", parts=(Text("x" * 20_000),)),)),
        Message("assistant", (ToolCall(id="c", name="f", arguments="x" * 20_000),)),
    ],
    ids=["text", "result", "call"],
)
def test_what_can_never_fit_is_refused_before_its_tokens_are_counted(message: Message) -> None:
    with pytest.raises(ContextOverflow, match=r"messages hold 2000\d characters"):
        question(chat(messages=(Message("user", (Text("Hi."),)), message)))


def test_tools_stand_in_the_system_text_of_a_model_that_knows_none() -> None:
    body = sent(chat(tools=(WEATHER,)))
    assert "tools" not in body
    assert "grammar" not in body
    assert '"name":"get_weather"' in body["messages"][0]["content"]
    assert "get_weather" not in json.dumps(
        sent(chat(tools=(WEATHER,), tool_choice=ToolChoice("none")))
    )


def test_a_template_that_knows_tools_gets_them() -> None:
    body = sent(chat(tools=(WEATHER,), tool_choice=ToolChoice("required")), knows_tools=True)
    assert body["tools"][0]["function"]["name"] == "get_weather"
    assert body["tool_choice"] == "required"
    assert "grammar" not in body


LOOP = (
    Message("user", (Text("Weather?"),)),
    Message("assistant", (ToolCall(id="c1", name="get_weather", arguments='{"city":"Rome"}'),)),
    Message("tool", (ToolResult(call_id="c1", parts=(Text("rain"),)),)),
    Message("user", (Text("And now?"),)),
)


def test_earlier_calls_and_results_are_told_as_text() -> None:
    messages = sent(chat(messages=LOOP, tools=(WEATHER,)))["messages"]
    assert [message["role"] for message in messages] == ["system", "user", "assistant", "user"]
    assert '{"name": "get_weather", "arguments": {"city":"Rome"}}' in messages[2]["content"]
    assert messages[3]["content"] == "Result of get_weather: rain\n\nAnd now?"


def test_earlier_calls_and_results_keep_their_form_for_a_template_that_knows_it() -> None:
    messages = sent(chat(messages=LOOP, tools=(WEATHER,)), knows_tools=True)["messages"]
    assert [message["role"] for message in messages] == ["user", "assistant", "tool", "user"]
    assert messages[1]["tool_calls"][0]["function"]["arguments"] == '{"city":"Rome"}'
    assert messages[2]["tool_call_id"] == "c1"


def test_a_call_or_an_answer_in_the_asked_for_form() -> None:
    grammar = sent(chat(tools=(WEATHER,), response_format=as_schema({"const": 1})))["grammar"]
    assert "<tool_call>" in grammar
    assert "answer" in grammar


def test_an_image_is_refused_by_its_place() -> None:
    request = chat(messages=(Message("user", (Image(url="https://example.com/x.png"),)),))
    with pytest.raises(UnsupportedField) as refused:
        guard.check_request(request)
    assert refused.value.param == "messages[0].content"


def test_a_prefill_and_a_prescribed_form_exclude_each_other() -> None:
    messages = (Message("user", (Text("x"),)), Message("assistant", (Text("{"),)))
    with pytest.raises(InvalidRequest) as refused:
        question(chat(messages=messages, response_format=as_schema({})))
    assert refused.value.param == "response_format"


def test_a_tool_that_cannot_be_forced_is_named_by_its_place_among_all() -> None:
    bad = tool("bad", {"properties": {"a": {"not": {}}}})
    with pytest.raises(InvalidRequest) as refused:
        question(chat(tools=(WEATHER, bad), tool_choice=ToolChoice("named", "bad")))
    assert refused.value.param == "tools[1].function.parameters.properties.a.not"
    # Only offered, it is the model's to try.
    assert question(chat(tools=(bad,))).calls == "possible"


# --- Chunks -------------------------------------------------------------------------------------


def frame(delta: dict[str, Any], finish: str | None = None, **more: Any) -> bytes:
    chunk = {"choices": [{"index": 0, "delta": delta, "finish_reason": finish}], **more}
    return b"data: " + json.dumps(chunk).encode() + b"\n\n"


USAGE = b'data: {"choices":[],"usage":{"prompt_tokens":5,"completion_tokens":2,"total_tokens":7,"prompt_tokens_details":{"cached_tokens":3}}}\n\n'
DONE = b"data: [DONE]\n\n"


def read(data: bytes, step: int, asked: Question | None = None) -> list[StreamEvent]:
    chunks, answer = ChunkReader(), AnswerReader(asked or question(chat()), 0)
    events: list[StreamEvent] = []
    for at in range(0, len(data), step):
        events += answer.feed(chunks.feed(data[at : at + step]))
    return events + answer.finish()


@pytest.mark.parametrize("step", [1, 7, 10_000])
def test_a_stream_is_read_however_it_is_split(step: int) -> None:
    data = b": comment\n\n" + frame({"role": "assistant", "content": None})
    data += frame({"content": "Hé"}) + frame({"content": "llo"})
    data += frame({}, "stop", __verbose={"stop_type": "word", "stopping_word": "!"}) + USAGE + DONE
    events = read(data, step)
    assert [event.text for event in events if isinstance(event, PartDelta)] == ["Hé", "llo"]
    finished = events[-1]
    assert isinstance(finished, Finished)
    assert (finished.reason, finished.stop_sequence) == ("stop", "!")
    assert finished.usage is not None
    assert (finished.usage.input_tokens, finished.usage.cached_input_tokens) == (5, 3)


@pytest.mark.parametrize("cut", [frame({"content": "x"}), frame({}, "stop"), b""])
def test_an_answer_that_is_cut_off_never_looks_finished(cut: bytes) -> None:
    with pytest.raises(EngineFailed):
        read(cut, 100)


def test_an_error_in_mid_stream_is_raised_without_the_engines_words() -> None:
    data = (
        frame({"content": "x"})
        + b'error: {"error":{"message":"prompt: secret","type":"server_error"}}\n\n'
    )
    with pytest.raises(EngineFailed) as failed:
        read(data, 50)
    assert "secret" not in f"{failed.value.message}{failed.value.detail}"


def test_garbage_is_garbage() -> None:
    with pytest.raises(ProviderGarbled):
        read(b"data: {]\n\n", 50)
    assert isinstance(read_error(502, b"<html>"), EngineFailed)


def test_calls_of_a_template_that_knows_them_become_parts() -> None:
    asked = question(chat(tools=(WEATHER,)), knows_tools=True)
    data = frame(
        {"tool_calls": [{"index": 0, "id": "a", "function": {"name": "x", "arguments": "{"}}]}
    )
    data += frame({"tool_calls": [{"index": 0, "function": {"arguments": "}"}}]})
    data += frame(
        {"tool_calls": [{"index": 1, "id": "b", "function": {"name": "x", "arguments": "{}"}}]}
    )
    data += frame({}, "tool_calls") + USAGE + DONE
    collector = Collector()
    collector.feed([Started(0), *read(data, 50, asked)])
    (choice,) = collector.response().choices
    calls = [part for part in choice.parts if isinstance(part, ToolCall)]
    assert [(call.id, call.arguments) for call in calls] == [("a", "{}"), ("b", "{}")]
    assert choice.finish_reason == "tool_calls"


# --- The model as others see it -----------------------------------------------------------------


def test_the_packaged_model_has_its_authors_settings() -> None:
    model = describe_model(LocalModel(id="smollm2-135m-instruct"))
    assert model.ends_at_context
    assert model.aliases == ("local",)
    assert model.default_sampling == Sampling(temperature=0.2, top_p=0.9)
    assert model.default_system_prompt is not None
    assert "images" in model.lacks


def test_more_stop_strings_than_the_engine_takes_are_left_to_the_pipeline() -> None:
    model = describe_model(LocalModel(id="smollm2-135m-instruct"))
    bound = bind(chat(stop=tuple(f"stop {i}" for i in range(200))), model)
    guard.check_request(bound)
    assert len(bound.stop) == guard.MAX_STOPS


def test_a_users_model_keeps_its_own_settings() -> None:
    model = describe_model(LocalModel(id="mine", path="/m.gguf", temperature=0.5))
    assert model.aliases == ()
    assert model.default_sampling == Sampling(temperature=0.5)
    assert model.default_system_prompt is None


def test_importing_the_provider_loads_nothing_native() -> None:
    code = "import sys, dragoman.providers.local; print([m for m in ('xllamacpp','numpy','gguf','jsonschema_rs') if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
