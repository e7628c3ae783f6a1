"""From every client's format to every provider's and back: calls, thinking and usage arrive whole."""

from __future__ import annotations

import json
from typing import Any, Literal

import anthropic
import httpx
import msgspec
import openai
import pytest
from adaptive_sdk.rest import rest_types
from anthropic.types import Message, RawMessageStreamEvent
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types.chat import ChatCompletion, ChatCompletionChunk, ChatCompletionMessage
from pydantic import TypeAdapter
from tests.conftest import Served
from tests.scripted_provider import Call, Script, ScriptedProvider, Tokens

Client = Literal["openai", "studio", "anthropic", "dreamsolve"]
PATHS: dict[Client, str] = {
    "openai": "/v1/chat/completions",
    "studio": "/api/v1/chat/completions",
    "anthropic": "/v1/messages",
    "dreamsolve": "/api/v1/completions",
}
WEATHER = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
OPENAI_TOOLS: Any = [{"type": "function", "function": {"name": "weather", "parameters": WEATHER}}]
ANTHROPIC_TOOLS: Any = [{"name": "weather", "description": "?", "input_schema": WEATHER}]
PARALLEL = (
    Call("weather", ('{"city"', ': "Pa', 'ris"}'), id="call_one"),
    Call("weather", ('{"city": "Rome"}',), id="call_two"),
)
CITIES = [{"city": "Paris"}, {"city": "Rome"}]
CROSSINGS = [
    (client, model, stream)
    for client in PATHS
    for model in ("gpt", "claude")
    for stream in (False, True)
    # This client's format names no model: the default one answers.
    if client != "dreamsolve" or model == "gpt"
]
every_crossing = pytest.mark.parametrize(("client", "model", "stream"), CROSSINGS)


class Seen(msgspec.Struct):
    """What a client understands of an answer."""

    text: str = ""
    thinking: str = ""
    calls: list[tuple[str, str, Any]] = []
    """Id, name and arguments of each."""
    finish: str | None = None
    usage: tuple[int, int, int] = (-1, -1, -1)
    """Whole prompt, cached part of it, answer."""


def body_of(client: Client, model: str, *, stream: bool, tools: bool) -> dict[str, Any]:
    body: dict[str, Any] = {"messages": [{"role": "user", "content": "Weather?"}], "stream": stream}
    if client != "dreamsolve":
        body["model"] = model
    if client == "anthropic":
        body["max_tokens"] = 500
    if client == "studio" and stream:
        body["stream_options"] = {"include_usage": True}
    if tools:
        is_openai = client in ("openai", "studio")
        body["tools"] = OPENAI_TOOLS if is_openai else ANTHROPIC_TOOLS
    return body


def ask(gateway: Served, client: Client, body: dict[str, Any]) -> Seen:
    response = httpx.post(
        gateway.url + PATHS[client], json=body, headers=gateway.headers, timeout=20
    )
    assert response.status_code == 200, response.text
    if client in ("openai", "studio"):
        if not body["stream"]:
            return seen_in_completion(ChatCompletion.model_validate_json(response.text))
        return seen_in_chunks(client, payloads(response.text))
    if not body["stream"]:
        return seen_in_message(Message.model_validate_json(response.text))
    return seen_in_events(payloads(response.text))


def payloads(text: str) -> list[str]:
    return [line[6:] for line in text.splitlines() if line.startswith("data: ")]


def seen_in_completion(answer: ChatCompletion) -> Seen:
    (choice,) = answer.choices
    usage = answer.usage
    assert usage is not None
    details = usage.prompt_tokens_details
    calls = choice.message.tool_calls or []
    assert all(call.type == "function" for call in calls)
    return Seen(
        text=choice.message.content or "",
        thinking=getattr(choice.message, "reasoning_content", None) or "",
        calls=[
            (call.id, call.function.name, json.loads(call.function.arguments))
            for call in calls
            if call.type == "function"
        ],
        finish=choice.finish_reason,
        usage=(
            usage.prompt_tokens,
            (details.cached_tokens if details else None) or 0,
            usage.completion_tokens,
        ),
    )


def seen_in_chunks(client: Client, frames: list[str]) -> Seen:
    """Folded by OpenAI's client; `studio`'s repeated roles are checked first and taken out."""
    assert frames.pop() == "[DONE]"
    state: ChatCompletionStreamState[Any] = ChatCompletionStreamState()
    thinking, usage = "", None
    completion_ids = set()
    for index, frame in enumerate(frames):
        plain = json.loads(frame)
        if client == "studio":
            rest_types.ChatResponseChunk.model_validate_json(frame)
            for choice in plain["choices"]:
                completion_ids.add(choice["completion_id"])
                delta = choice["delta"]
                assert delta["id"] == choice["completion_id"]
                assert delta["role"] == "assistant"
                assert isinstance(delta["content"], str)
                if index:
                    del delta["role"]
        for choice in plain["choices"]:
            thinking += choice["delta"].get("reasoning_content") or ""
        chunk = ChatCompletionChunk.model_validate(plain)
        usage = chunk.usage or usage
        state.handle_chunk(chunk)
    assert client == "openai" or len(completion_ids) == 1
    answer = state.get_final_completion()
    seen = seen_in_completion(
        ChatCompletion.model_validate(
            answer.model_dump() | {"usage": usage.model_dump() if usage else None}
        )
    )
    seen.thinking = thinking
    return seen


def seen_in_message(answer: Message) -> Seen:
    seen = Seen(calls=[], finish=answer.stop_reason)
    for block in answer.content:
        if block.type == "text":
            seen.text += block.text
        elif block.type == "thinking":
            seen.thinking += block.thinking
        elif block.type == "tool_use":
            seen.calls.append((block.id, block.name, block.input))
    usage = answer.usage
    cached = usage.cache_read_input_tokens or 0
    seen.usage = (usage.input_tokens + cached, cached, usage.output_tokens)
    return seen


_event: TypeAdapter[RawMessageStreamEvent] = TypeAdapter(RawMessageStreamEvent)


def seen_in_events(frames: list[str]) -> Seen:
    message: dict[str, Any] = {}
    arguments: dict[int, str] = {}
    for frame in frames:
        plain = json.loads(frame)
        if plain["type"] == "ping":
            continue
        _event.validate_python(plain)
        match plain["type"]:
            case "message_start":
                message = plain["message"]
            case "content_block_start":
                assert plain["index"] == len(message["content"])
                message["content"].append(plain["content_block"])
            case "content_block_delta":
                block, delta = message["content"][plain["index"]], plain["delta"]
                for field in ("text", "thinking"):
                    if field in delta:
                        block[field] += delta[field]
                if "signature" in delta:
                    block["signature"] = delta["signature"]
                if "partial_json" in delta:
                    arguments[plain["index"]] = (
                        arguments.get(plain["index"], "") + delta["partial_json"]
                    )
            case "message_delta":
                message |= plain["delta"]
                message["usage"] |= plain["usage"]
    assert json.loads(frames[-1])["type"] == "message_stop"
    for index, text in arguments.items():
        message["content"][index]["input"] = json.loads(text or "{}")
    return seen_in_message(Message.model_validate(message))


# --- There ---


@every_crossing
def test_parallel_calls_arrive_whole_in_order_and_under_their_own_ids(
    gateway: Served, provider: ScriptedProvider, client: Client, model: str, stream: bool
) -> None:
    provider.default = Script(text="I look.", calls=PARALLEL)
    seen = ask(gateway, client, body_of(client, model, stream=stream, tools=True))
    assert seen.text == "I look."
    assert [name for _, name, _ in seen.calls] == ["weather", "weather"]
    assert [arguments for _, _, arguments in seen.calls] == CITIES
    assert len({call_id for call_id, _, _ in seen.calls}) == 2
    assert seen.finish == ("tool_calls" if client in ("openai", "studio") else "tool_use")


@every_crossing
def test_thinking_arrives_where_the_clients_format_has_a_place_for_it(
    gateway: Served, provider: ScriptedProvider, client: Client, model: str, stream: bool
) -> None:
    provider.default = Script(reasoning="Rain is wet.", text="Wet.")
    seen = ask(gateway, client, body_of(client, model, stream=stream, tools=False))
    assert seen.text == "Wet."
    assert seen.thinking == ("" if client == "dreamsolve" else "Rain is wet.")


@every_crossing
def test_usage_counts_the_whole_prompt_once_and_its_cached_part_apart(
    gateway: Served, provider: ScriptedProvider, client: Client, model: str, stream: bool
) -> None:
    provider.default = Script(text="Wet.", usage=Tokens(input=120, cached=100, output=7))
    seen = ask(gateway, client, body_of(client, model, stream=stream, tools=False))
    # DreamSolve's page has no field for the cached part.
    cached = 0 if client == "dreamsolve" else 100
    assert seen.usage == (120, cached, 7)


# --- The two forms of usage in a stream ---


@pytest.mark.parametrize("model", ["gpt", "claude"])
@pytest.mark.parametrize("client", ["openai", "studio"])
@pytest.mark.parametrize("options", [None, {}, {"include_usage": False}, {"include_usage": True}])
def test_usage_is_streamed_once_in_the_form_that_was_asked_for(
    gateway: Served,
    provider: ScriptedProvider,
    client: Client,
    model: str,
    options: dict[str, bool] | None,
) -> None:
    provider.default = Script(deltas=("a", "b"), usage=Tokens(input=5, output=2))
    body = body_of(client, model, stream=True, tools=False) | {"stream_options": options}
    response = httpx.post(
        gateway.url + PATHS[client], json=body, headers=gateway.headers, timeout=20
    )
    *frames, done = payloads(response.text)
    assert done == "[DONE]"
    chunks = [json.loads(frame) for frame in frames]
    with_usage = [chunk for chunk in chunks if chunk.get("usage") is not None]
    without_choices = [chunk for chunk in chunks if not chunk["choices"]]
    wants = bool(options and options.get("include_usage"))
    if wants:
        assert with_usage == without_choices == chunks[-1:]
        assert chunks[-2]["choices"][0]["finish_reason"] == "stop"
    elif client == "openai":
        assert with_usage == chunks[-1:]
        assert without_choices == []
        assert chunks[-1]["choices"][0]["finish_reason"] == "stop"
    else:
        assert with_usage == without_choices == []
    for chunk in with_usage:
        assert chunk["usage"]["total_tokens"] == 7


# --- And back: the tool loop closes ---


@every_crossing
def test_results_of_parallel_calls_reach_the_provider_beside_their_calls(
    gateway: Served, provider: ScriptedProvider, client: Client, model: str, stream: bool
) -> None:
    provider.enqueue(Script(calls=PARALLEL), Script(text="Sunny and wet."))
    body = body_of(client, model, stream=stream, tools=True)
    seen = ask(gateway, client, body)
    body["messages"] += _loop(client, seen)
    assert ask(gateway, client, body).text == "Sunny and wet."
    sent = provider.requests[-1].body["messages"]
    if model == "gpt":
        calls = sent[1]["tool_calls"]
        assert [call["id"] for call in calls] == ["call_one", "call_two"]
        assert [json.loads(call["function"]["arguments"]) for call in calls] == CITIES
        assert [(turn["role"], turn["tool_call_id"], turn["content"]) for turn in sent[2:]] == [
            ("tool", "call_one", "sunny"),
            ("tool", "call_two", "wet"),
        ]
    else:
        calls = [block for block in sent[1]["content"] if block["type"] == "tool_use"]
        assert [call["input"] for call in calls] == CITIES
        assert [call["id"] for call in calls] == ["call_one", "call_two"]
        assert len(sent) == 3
        assert [result["tool_use_id"] for result in sent[2]["content"]] == ["call_one", "call_two"]


def _loop(client: Client, seen: Seen) -> list[dict[str, Any]]:
    """The calls, and their results, as a client of that format sends them back."""
    results = ["sunny", "wet"]
    if client in ("openai", "studio"):
        calls = [
            {
                "id": call_id,
                "type": "function",
                "function": {"name": name, "arguments": json.dumps(arguments)},
            }
            for call_id, name, arguments in seen.calls
        ]
        return [
            {"role": "assistant", "content": None, "tool_calls": calls},
            *(
                {"role": "tool", "tool_call_id": call[0], "content": result}
                for call, result in zip(seen.calls, results, strict=True)
            ),
        ]
    return [
        {
            "role": "assistant",
            "content": [
                {"type": "tool_use", "id": call_id, "name": name, "input": arguments}
                for call_id, name, arguments in seen.calls
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": call[0], "content": result}
                for call, result in zip(seen.calls, results, strict=True)
            ],
        },
    ]


# --- And back: thinking is handed to whoever thought it ---

THOUGHT = Script(reasoning="Rain is wet.", calls=(Call("weather", ("{}",), id="call_one"),))


@pytest.mark.parametrize("stream", [False, True])
def test_an_openai_client_hands_signed_thinking_back_to_an_anthropic_provider(
    gateway: Served, provider: ScriptedProvider, stream: bool
) -> None:
    provider.enqueue(THOUGHT, Script(text="Wet."))
    client = openai.OpenAI(base_url=f"{gateway.url}/v1", api_key=gateway.key)
    asked: list[Any] = [{"role": "user", "content": "Weather?"}]
    message: ChatCompletionMessage
    if stream:
        with client.chat.completions.stream(
            model="claude", messages=asked, tools=OPENAI_TOOLS
        ) as events:
            message = events.get_final_completion().choices[0].message
    else:
        message = (
            client.chat.completions.create(model="claude", messages=asked, tools=OPENAI_TOOLS)
            .choices[0]
            .message
        )
    returned: Any = message.model_dump(exclude_none=True, exclude={"parsed": True})
    result: Any = {"role": "tool", "tool_call_id": "call_one", "content": "wet"}
    answer = client.chat.completions.create(
        model="claude", messages=[*asked, returned, result], tools=OPENAI_TOOLS
    )
    assert answer.choices[0].message.content == "Wet."
    thinking, call = provider.requests[-1].body["messages"][1]["content"]
    assert thinking == {
        "type": "thinking",
        "thinking": "Rain is wet.",
        "signature": "EqQBCgIYAhIM",
    }
    assert call["id"] == "call_one"


@pytest.mark.parametrize("model", ["claude", "thinker", "gpt"])
@pytest.mark.parametrize("stream", [False, True])
def test_an_anthropic_client_hands_thinking_back_to_providers_that_take_it(
    gateway: Served, provider: ScriptedProvider, model: str, stream: bool
) -> None:
    provider.enqueue(THOUGHT, Script(text="Wet."))
    client = anthropic.Anthropic(base_url=gateway.url, api_key=gateway.key)
    asked: list[Any] = [{"role": "user", "content": "Weather?"}]
    message: Message
    if stream:
        with client.messages.stream(
            model=model, max_tokens=50, messages=asked, tools=ANTHROPIC_TOOLS
        ) as events:
            message = events.get_final_message()
    else:
        message = client.messages.create(
            model=model, max_tokens=50, messages=asked, tools=ANTHROPIC_TOOLS
        )
    assert [block.type for block in message.content] == ["thinking", "tool_use"]
    result = {"type": "tool_result", "tool_use_id": message.content[1].to_dict()["id"]}
    loop: list[Any] = [
        {"role": "assistant", "content": message.content},
        {"role": "user", "content": [result | {"content": "wet"}]},
    ]
    answer = client.messages.create(
        model=model,
        max_tokens=50,
        messages=[*asked, *loop],
        tools=ANTHROPIC_TOOLS,
    )
    assert [block.type for block in answer.content] == ["text"]
    turn = provider.requests[-1].body["messages"][1]
    if model == "claude":
        assert turn["content"][0]["signature"] == "EqQBCgIYAhIM"
        assert turn["content"][0]["thinking"] == "Rain is wet."
    elif model == "thinker":
        assert turn["reasoning_content"] == "Rain is wet."
    else:
        assert "Rain is wet." not in json.dumps(turn)
