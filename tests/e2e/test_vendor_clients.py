"""The vendors' own clients, unchanged but for base URL and key, before the embedded model."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any
from uuid import UUID

import adaptive_sdk
import anthropic
import openai
import premai
import pytest
from tests.conftest import Served
from tests.node_packages import node_modules

MODEL = "smollm2-135m-instruct"
LISTED = [MODEL, "support", "support/quick", "support/careful"]
"""The model, and the documents' project."""
CAPITAL: list[Any] = [{"role": "user", "content": "What is the capital of France?"}]
WEATHER = {
    "type": "object",
    "properties": {"location": {"type": "string"}},
    "required": ["location"],
    "additionalProperties": False,
}
OPENAI_TOOL: Any = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Get current weather for a location",
        "parameters": WEATHER,
    },
}

pytestmark = pytest.mark.engine


# --- openai, Python ---


@pytest.fixture
def openai_client(engine_server: Served) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{engine_server.url}/v1", api_key=engine_server.key)


def test_openai_answers_from_a_real_model(openai_client: openai.OpenAI) -> None:
    answer = openai_client.chat.completions.create(
        model="local", messages=CAPITAL, max_tokens=30, temperature=0
    )
    assert answer.object == "chat.completion"
    assert answer.id.startswith("chatcmpl-")
    assert answer.model == MODEL
    assert "Paris" in (answer.choices[0].message.content or "")
    assert answer.choices[0].finish_reason in ("stop", "length")
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
    assert 0 < answer.usage.completion_tokens <= 30


def test_openai_streams_and_the_vendors_unguarded_loop_reads_every_chunk(
    openai_client: openai.OpenAI,
) -> None:
    text, usages = "", []
    stream = openai_client.chat.completions.create(
        model="local", messages=CAPITAL, max_tokens=30, temperature=0, stream=True
    )
    for chunk in stream:
        text += chunk.choices[0].delta.content or ""
        usages.append(chunk.usage)
    assert "Paris" in text
    assert usages[-1] is not None
    assert usages[:-1] == [None] * (len(usages) - 1)


def test_openai_include_usage_comes_in_its_own_chunk(openai_client: openai.OpenAI) -> None:
    chunks = list(
        openai_client.chat.completions.create(
            model="local",
            messages=CAPITAL,
            max_tokens=5,
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    assert chunks[-1].choices == []
    assert chunks[-1].usage is not None
    assert all(chunk.usage is None for chunk in chunks[:-1])


def test_openai_the_same_seed_gives_the_same_text(openai_client: openai.OpenAI) -> None:
    texts = {
        openai_client.chat.completions.create(
            model="local", messages=CAPITAL, max_tokens=20, temperature=1.0, seed=11
        )
        .choices[0]
        .message.content
        for _ in range(3)
    }
    assert len(texts) == 1


def test_openai_several_choices_whole_and_streamed(openai_client: openai.OpenAI) -> None:
    answer = openai_client.chat.completions.create(
        model="local", messages=CAPITAL, max_tokens=8, n=3, seed=5, temperature=1.0
    )
    assert [choice.index for choice in answer.choices] == [0, 1, 2]
    assert answer.usage is not None
    streamed: dict[int, str] = {0: "", 1: "", 2: ""}
    finished = []
    for chunk in openai_client.chat.completions.create(
        model="local", messages=CAPITAL, max_tokens=8, n=3, seed=5, temperature=1.0, stream=True
    ):
        for choice in chunk.choices:
            streamed[choice.index] += choice.delta.content or ""
            if choice.finish_reason:
                finished.append(choice.index)
    assert sorted(finished) == [0, 1, 2]
    assert [streamed[i] for i in range(3)] == [c.message.content for c in answer.choices]


def test_openai_stop_strings_are_left_out(openai_client: openai.OpenAI) -> None:
    answer = openai_client.chat.completions.create(
        model="local", messages=CAPITAL, max_tokens=40, temperature=0, stop=["Paris"]
    )
    assert "Paris" not in (answer.choices[0].message.content or "")
    assert answer.choices[0].finish_reason == "stop"


def test_openai_json_mode_and_schema_hold_from_a_small_model(openai_client: openai.OpenAI) -> None:
    answer = openai_client.chat.completions.create(
        model="local",
        messages=[{"role": "user", "content": "Give me a city and its country as JSON."}],
        response_format={
            "type": "json_schema",
            "json_schema": {
                "name": "city",
                "schema": {
                    "type": "object",
                    "properties": {
                        "city": {"type": "string", "maxLength": 20},
                        "country": {"type": "string", "maxLength": 20},
                    },
                    "required": ["city", "country"],
                    "additionalProperties": False,
                },
            },
        },
        max_tokens=100,
        temperature=1.0,
    )
    assert answer.choices[0].finish_reason == "stop"
    assert set(json.loads(answer.choices[0].message.content or "")) == {"city", "country"}
    answer = openai_client.chat.completions.create(
        model="local",
        messages=CAPITAL,
        response_format={"type": "json_object"},
        max_tokens=200,
        temperature=0.2,
        seed=1,
    )
    if answer.choices[0].finish_reason == "stop":
        assert isinstance(json.loads(answer.choices[0].message.content or ""), dict)


@pytest.mark.parametrize(
    "choice", ["required", {"type": "function", "function": {"name": "get_weather"}}]
)
def test_openai_forced_tool_calls_hold_and_the_loop_closes(
    openai_client: openai.OpenAI, choice: Any
) -> None:
    messages: list[Any] = [{"role": "user", "content": "What is the weather in Paris?"}]
    answer = openai_client.chat.completions.create(
        model="local", messages=messages, tools=[OPENAI_TOOL], tool_choice=choice, max_tokens=80
    )
    message = answer.choices[0].message
    assert answer.choices[0].finish_reason == "tool_calls"
    assert message.content is None
    call: Any = (message.tool_calls or [])[0]
    assert call.id
    assert call.function.name == "get_weather"
    assert isinstance(json.loads(call.function.arguments)["location"], str)
    messages += [
        message.model_dump(exclude_unset=True),
        {"role": "tool", "tool_call_id": call.id, "content": "Sunny, 21 degrees."},
    ]
    answer = openai_client.chat.completions.create(
        model="local", messages=messages, tools=[OPENAI_TOOL], max_tokens=40
    )
    assert answer.choices[0].message.content or answer.choices[0].message.tool_calls


def test_openai_stream_helper_accumulates_a_tool_call(openai_client: openai.OpenAI) -> None:
    with openai_client.chat.completions.stream(
        model="local",
        messages=[{"role": "user", "content": "What is the weather in Paris?"}],
        tools=[OPENAI_TOOL],
        tool_choice="required",
        max_tokens=80,
    ) as stream:
        final = stream.get_final_completion()
    call: Any = (final.choices[0].message.tool_calls or [])[0]
    assert call.function.name == "get_weather"
    assert "location" in json.loads(call.function.arguments)


def test_openai_errors_are_the_clients_own_classes(engine_server: Served) -> None:
    client = openai.OpenAI(base_url=f"{engine_server.url}/v1", api_key="drg_sk_wrong")
    with pytest.raises(openai.AuthenticationError, match="Invalid API key"):
        client.chat.completions.create(model="local", messages=CAPITAL)
    client = openai.OpenAI(base_url=f"{engine_server.url}/v1", api_key=engine_server.key)
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model="local", messages=CAPITAL, temperature=3)
    assert caught.value.param == "temperature"
    assert caught.value.request_id
    with pytest.raises(openai.BadRequestError):
        client.chat.completions.create(model="none", messages=CAPITAL)


def test_openai_logprobs(openai_client: openai.OpenAI) -> None:
    answer = openai_client.chat.completions.create(
        model="local", messages=CAPITAL, max_tokens=4, logprobs=True, top_logprobs=2
    )
    logprobs = answer.choices[0].logprobs
    assert logprobs is not None
    assert logprobs.content
    assert all(len(token.top_logprobs) == 2 for token in logprobs.content)
    assert all(token.logprob <= 0 for token in logprobs.content)


async def test_openai_async(engine_server: Served) -> None:
    async with openai.AsyncOpenAI(
        base_url=f"{engine_server.url}/v1", api_key=engine_server.key
    ) as client:
        answer = await client.chat.completions.create(model="local", messages=CAPITAL, max_tokens=5)
        assert answer.choices[0].message.content
        models = [model.id async for model in client.models.list()]
    assert models == LISTED


# --- openai, Node ---


def test_openai_node(engine_server: Served, tmp_path: Path) -> None:
    script = tmp_path / "ask.mjs"
    script.write_text(
        """
import { createRequire } from "node:module";
const { default: OpenAI } = await import(
  createRequire(process.env.MODULES + "/x.js").resolve("openai"));
const client = new OpenAI({ baseURL: process.env.BASE, apiKey: process.env.KEY });
const messages = [{ role: "user", content: "What is the capital of France?" }];
const whole = await client.chat.completions.create(
  { model: "local", messages, max_tokens: 30, temperature: 0 });
let streamed = "";
const stream = await client.chat.completions.create(
  { model: "local", messages, max_tokens: 30, temperature: 0, stream: true });
for await (const chunk of stream) streamed += chunk.choices[0].delta.content ?? "";
let refusal;
try { await client.chat.completions.create({ model: "none", messages }); }
catch (error) { refusal = { status: error.status, param: error.param, id: error.requestID }; }
console.log(JSON.stringify({ whole: whole.choices[0].message.content, streamed, refusal }));
"""
    )
    environment = os.environ | {
        "BASE": f"{engine_server.url}/v1",
        "KEY": engine_server.key,
        "MODULES": str(node_modules()),
    }
    done = subprocess.run(
        ["node", str(script)],
        check=False,
        env=environment,
        capture_output=True,
        text=True,
        timeout=90,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert "Paris" in told["whole"]
    assert told["streamed"] == told["whole"]
    assert told["refusal"]["status"] == 400
    assert told["refusal"]["id"].startswith("req_")


# --- anthropic ---


@pytest.fixture
def anthropic_client(engine_server: Served) -> anthropic.Anthropic:
    return anthropic.Anthropic(base_url=engine_server.url, api_key=engine_server.key)


def test_anthropic_answers(anthropic_client: anthropic.Anthropic) -> None:
    answer = anthropic_client.messages.create(
        model="local",
        max_tokens=30,
        messages=CAPITAL,
        system="Be brief.",
        extra_body={"temperature": 0},
    )
    assert answer.type == "message"
    assert answer.model == MODEL
    assert answer.content[0].type == "text"
    assert "Paris" in answer.content[0].text
    assert answer.usage.input_tokens > 0
    assert answer.usage.output_tokens > 0
    assert answer.stop_reason in ("end_turn", "max_tokens")


def test_anthropic_stream_helper(anthropic_client: anthropic.Anthropic) -> None:
    with anthropic_client.messages.stream(
        model="local", max_tokens=30, messages=CAPITAL, extra_body={"temperature": 0}
    ) as stream:
        text = "".join(stream.text_stream)
        final = stream.get_final_message()
    assert "Paris" in text
    assert final.content[0].type == "text"
    assert final.content[0].text == text
    assert final.usage.output_tokens > 0


def test_anthropic_tools_whole_and_streamed(anthropic_client: anthropic.Anthropic) -> None:
    asked: dict[str, Any] = {
        "model": "local",
        "max_tokens": 80,
        "messages": [{"role": "user", "content": "What is the weather in Paris?"}],
        "tools": [{"name": "get_weather", "description": "Weather", "input_schema": WEATHER}],
        "tool_choice": {"type": "any"},
    }
    answer = anthropic_client.messages.create(**asked)
    with anthropic_client.messages.stream(**asked) as stream:
        final = stream.get_final_message()
    for message in (answer, final):
        assert message.stop_reason == "tool_use"
        call: Any = message.content[-1]
        assert call.type == "tool_use"
        assert call.name == "get_weather"
        assert isinstance(call.input["location"], str)
    asked["messages"] += [
        {"role": "assistant", "content": [block.model_dump() for block in answer.content]},
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": answer.content[-1].id, "content": "Sunny."}
            ],
        },
    ]
    closed = anthropic_client.messages.create(**(asked | {"tool_choice": {"type": "auto"}}))
    assert closed.content


def test_anthropic_counts_tokens_exactly(anthropic_client: anthropic.Anthropic) -> None:
    counted = anthropic_client.messages.count_tokens(model="local", messages=CAPITAL)
    answer = anthropic_client.messages.create(model="local", max_tokens=1, messages=CAPITAL)
    cached = answer.usage.cache_read_input_tokens or 0
    assert counted.input_tokens == answer.usage.input_tokens + cached


def test_anthropic_errors_are_the_clients_own_classes(engine_server: Served) -> None:
    client = anthropic.Anthropic(base_url=engine_server.url, api_key="drg_sk_wrong")
    with pytest.raises(anthropic.AuthenticationError):
        client.messages.create(model="local", max_tokens=1, messages=CAPITAL)
    client = anthropic.Anthropic(base_url=engine_server.url, api_key=engine_server.key)
    with pytest.raises(anthropic.NotFoundError):
        client.messages.create(model="none", max_tokens=1, messages=CAPITAL)
    with pytest.raises(anthropic.BadRequestError) as caught:
        client.messages.create(model="local", max_tokens=1, messages=[])
    assert caught.value.request_id


def test_anthropic_lists_models(anthropic_client: anthropic.Anthropic) -> None:
    assert [model.id for model in anthropic_client.models.list()] == LISTED


# --- premai ---


def test_premai_answers_and_lists(engine_server: Served) -> None:
    client = premai.PremAI(base_url=engine_server.url, api_key=engine_server.key)
    answer: Any = client.chat.completions(
        model="local",
        messages=[{"role": "user", "content": "What is the capital of France?"}],
        temperature=0,
        max_completion_tokens=30,
        seed=3,
    )
    assert "Paris" in answer.choices[0].message.content
    assert answer.model == MODEL
    assert answer.usage.completion_tokens > 0
    assert [entry.id for entry in client.models.list().data] == LISTED


def test_premai_streams(engine_server: Served) -> None:
    client = premai.PremAI(base_url=engine_server.url, api_key=engine_server.key)
    # This client hands the raw stream over; the vendor's sample prints each delta, unguarded.
    with client.chat.with_streaming_response.completions(
        model="local",
        messages=[{"role": "user", "content": "What is the capital of France?"}],
        temperature=0,
        max_completion_tokens=30,
        stream=True,
    ) as response:
        payloads = [line[6:] for line in response.iter_lines() if line.startswith("data: ")]
    assert payloads.pop() == "[DONE]"
    text = "".join(json.loads(p)["choices"][0]["delta"]["content"] for p in payloads)
    assert "Paris" in text


# --- adaptive-sdk ---


def test_adaptive_chat_whole_and_streamed(engine_server: Served) -> None:
    client = adaptive_sdk.Adaptive(base_url=engine_server.url, api_key=engine_server.key)
    session = "3c90c3cc-0d44-4b50-8888-8dd25736052a"
    asked: dict[str, Any] = {
        "project": MODEL,
        "messages": CAPITAL,
        "max_tokens": 30,
        "temperature": 0,
        "session_id": session,
        "labels": {"key": "value"},
    }
    answer = client.chat.create(**asked)
    assert str(answer.session_id) == session
    assert "Paris" in answer.choices[0].message.content
    assert str(UUID(answer.choices[0].completion_id)) == answer.choices[0].completion_id
    chunks = list(client.chat.create(**asked, stream=True, stream_include_usage=True))
    text = "".join(chunk.choices[0].delta.content for chunk in chunks if chunk.choices)
    assert text == answer.choices[0].message.content
    assert chunks[-1].usage is not None
    client.close()


async def test_adaptive_async_chat_whole_and_streamed(engine_server: Served) -> None:
    client = adaptive_sdk.AsyncAdaptive(base_url=engine_server.url, api_key=engine_server.key)
    asked: dict[str, Any] = {
        "project": MODEL,
        "messages": CAPITAL,
        "max_tokens": 10,
        "temperature": 0,
    }
    answer = await client.chat.create(**asked)
    text = ""
    async for chunk in await client.chat.create(**asked, stream=True):
        text += chunk.choices[0].delta.content if chunk.choices else ""
    assert text == answer.choices[0].message.content
    await client.close()
