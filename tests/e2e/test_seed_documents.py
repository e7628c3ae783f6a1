"""The published documents' own examples, as written but for host and token."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import httpx
import pytest
from tests.conftest import Served

pytestmark = pytest.mark.engine


def curl(served: Served, command: str) -> tuple[int, dict[str, str], str]:
    """Run a curl command with host and token replaced; status, headers, body."""
    command = command.replace("https://dreamsolve.ai", served.url)
    command = command.replace("http://studio.premai.io", served.url)
    command = command.replace("https://api.example.com", served.url)
    command = command.replace("https://api.dos.ai", served.url)
    for token in ("YOUR_ACCESS_TOKEN", "YOUR_API_KEY", "<token>"):
        command = command.replace(token, served.key)
    done = subprocess.run(
        ["bash", "-c", command + " -s -i"], capture_output=True, text=True, timeout=280, check=True
    )
    head, _, body = done.stdout.replace("\r\n", "\n").partition("\n\n")
    status, *lines = head.split("\n")
    headers = {line.split(": ")[0].lower(): line.split(": ", 1)[1] for line in lines}
    return int(status.split()[1]), headers, body


# --- DreamSolve ---


@pytest.mark.parametrize(
    "body",
    [
        """{
"messages": [
{ "role": "user", "content": "Explain quantum computing in simple terms" }
],
"max_tokens": 500
}""",
        """{
"messages": [
{ "role": "system", "content": "You are a helpful coding assistant." },
{ "role": "user", "content": "Write a Python function to reverse a string" }
],
"max_tokens": 1000
}""",
    ],
    ids=["simple", "with system prompt"],
)
def test_dreamsolve_completions(engine_server: Served, body: str) -> None:
    status, headers, text = curl(
        engine_server,
        f"""curl -X POST \\
-H "Authorization: Bearer YOUR_ACCESS_TOKEN" \\
-H "Content-Type: application/json" \\
-d '{body}' \\
https://dreamsolve.ai/api/v1/completions""",
    )
    assert status == 200
    assert headers["content-type"] == "application/json"
    answer = json.loads(text)
    assert answer["id"].startswith("msg_")
    assert (answer["type"], answer["role"]) == ("message", "assistant")
    assert answer["content"][0]["type"] == "text"
    assert len(answer["content"][0]["text"]) > 20
    assert answer["model"] == "smollm2-135m-instruct"
    assert answer["usage"]["input_tokens"] > 0
    assert answer["usage"]["output_tokens"] > 0


@pytest.mark.timeout(300)  # the page's own maximum of 2000 tokens, on slow machines
def test_dreamsolve_streaming_completion(engine_server: Served) -> None:
    status, headers, text = curl(
        engine_server,
        """curl -X POST \\
-H "Authorization: Bearer YOUR_ACCESS_TOKEN" \\
-H "Content-Type: application/json" \\
-d '{
"messages": [
{ "role": "user", "content": "Write a short story about a robot" }
],
"stream": true,
"max_tokens": 2000
}' \\
https://dreamsolve.ai/api/v1/completions""",
    )
    assert status == 200
    assert headers["content-type"] == "text/plain; charset=utf-8"
    assert headers["transfer-encoding"] == "chunked"
    assert text.startswith("event: message_start\ndata: ")
    assert text.rstrip().split("\n\n")[-1].startswith("event: message_stop")


def test_dreamsolve_tool_definition(engine_server: Served) -> None:
    tools = {
        "tools": [
            {
                "name": "get_weather",
                "description": "Get current weather for a location",
                "input_schema": {
                    "type": "object",
                    "properties": {"location": {"type": "string", "description": "City name"}},
                    "required": ["location"],
                },
            }
        ],
        "tool_choice": "auto",
    }
    asked: dict[str, Any] = {"messages": [{"role": "user", "content": "Weather in Paris?"}]}
    for choice in ("auto", "none", "any"):
        response = httpx.post(
            f"{engine_server.url}/api/v1/completions",
            headers=engine_server.headers,
            json=asked | tools | {"tool_choice": choice, "max_tokens": 60},
            timeout=100,
        )
        assert response.status_code == 200
        kinds = {block["type"] for block in response.json()["content"]}
        if choice == "any":
            assert kinds == {"tool_use"}
        if choice == "none":
            assert kinds <= {"text"}


def test_dreamsolve_errors(engine_server: Served) -> None:
    url = f"{engine_server.url}/api/v1/completions"
    refused = httpx.post(url, json={"messages": []})
    assert (refused.status_code, refused.json()) == (
        401,
        {"error": "Unauthorized. Please log in."},
    )
    bodies: list[dict[str, Any]] = [{}, {"messages": None}, {"messages": "hi"}, {"messages": []}]
    for body in bodies:
        response = httpx.post(url, json=body, headers=engine_server.headers)
        assert (response.status_code, response.json()) == (
            400,
            {"error": "Messages are required and must be an array"},
        )


# --- DOS AI ---


def test_dos_ai_basic_streaming_json_mode_and_tools(engine_server: Served) -> None:
    asked = {"model": "local", "messages": [{"role": "user", "content": "Hello!"}]}
    tool = {
        "type": "function",
        "function": {
            "name": "get_weather",
            "parameters": {
                "type": "object",
                "properties": {"location": {"type": "string"}},
                "required": ["location"],
            },
        },
    }
    bodies: list[dict[str, Any]] = [
        {"max_tokens": 20},
        {"max_tokens": 20, "stream": True},
        {"max_tokens": 60, "response_format": {"type": "json_object"}},
        {"max_tokens": 60, "tools": [tool], "tool_choice": "auto"},
    ]
    for body in bodies:
        status, _, text = curl(
            engine_server,
            f"""curl https://api.dos.ai/v1/chat/completions \\
  -H "Authorization: Bearer YOUR_API_KEY" \\
  -H "Content-Type: application/json" \\
  -d '{json.dumps(asked | body)}'""",
        )
        assert status == 200, text
        if "stream" in body:
            frames = [line[6:] for line in text.splitlines() if line.startswith("data: ")]
            assert frames[-1] == "[DONE]"
            last = json.loads(frames[-2])
            assert last["choices"][0]["finish_reason"] in ("stop", "length")
            assert last["usage"]["total_tokens"] > 0
        else:
            assert json.loads(text)["object"] == "chat.completion"


# --- Prem Studio ---


def test_prem_studio_request_as_documented(engine_server: Served) -> None:
    status, _, text = curl(
        engine_server,
        """curl --request POST \\
  --url http://studio.premai.io/api/v1/chat/completions \\
  --header 'Authorization: Bearer <token>' \\
  --header 'Content-Type: application/json' \\
  --data '{
  "messages": [
    {
      "role": "system",
      "content": "Be brief.",
      "name": "rules",
      "tool_calls": [
        {
          "id": "call_1",
          "type": "function",
          "function": {
            "name": "look",
            "arguments": "{}"
          }
        }
      ],
      "tool_call_id": "call_1"
    },
    {
      "role": "user",
      "content": "What is the capital of France?"
    }
  ],
  "model": "local",
  "max_completion_tokens": 30
}'""",
    )
    assert status == 200, text
    answer = json.loads(text)
    assert answer["object"] == "chat.completion"
    assert answer["model"] == "smollm2-135m-instruct"
    assert answer["choices"][0]["finish_reason"] in ("stop", "length")
    assert isinstance(answer["choices"][0]["message"]["content"], str)
    assert isinstance(answer["system_fingerprint"], str)
    assert set(answer["usage"]) >= {"completion_tokens", "prompt_tokens", "total_tokens"}


# --- Adaptive ---


def test_adaptive_request_with_every_field_that_needs_no_project(engine_server: Served) -> None:
    status, _, text = curl(
        engine_server,
        """curl --request POST \\
  --url https://api.example.com/api/v1/chat/completions \\
  --header 'Authorization: Bearer <token>' \\
  --header 'Content-Type: application/json' \\
  --data '
{
  "messages": [
    {
      "content": "Hello there",
      "role": "user",
      "name": "ann",
      "completion_id": "3c90c3cc-0d44-4b50-8888-8dd25736052a",
      "metadata": {"any": ["thing", 1]}
    }
  ],
  "model": "local",
  "stop": [
    "\\n\\n\\n"
  ],
  "max_tokens": 12,
  "temperature": 0.5,
  "top_p": 0.9,
  "max_ttft_ms": 60000,
  "stream": true,
  "stream_options": {
    "include_usage": true
  },
  "session_id": "3c90c3cc-0d44-4b50-8888-8dd25736052a",
  "user": "3c90c3cc-0d44-4b50-8888-8dd25736052a",
  "n": 1,
  "labels": {
    "key": "value"
  },
  "metadata": {
    "key": "value"
  },
  "system_prompt_args": {},
  "tags": [
    "greeting"
  ],
  "use_tools": false,
  "store": false
}
'""",
    )
    assert status == 200, text
    frames = [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: {")]
    assert {frame["session_id"] for frame in frames} == {"3c90c3cc-0d44-4b50-8888-8dd25736052a"}
    deltas = [frame["choices"][0] for frame in frames if frame["choices"]]
    assert len({delta["completion_id"] for delta in deltas}) == 1
    for delta in deltas:
        assert isinstance(delta["delta"]["id"], str)
        assert isinstance(delta["delta"]["role"], str)
        assert isinstance(delta["delta"]["content"], str)
    assert frames[-1]["choices"] == []
    assert frames[-1]["usage"]["completion_tokens"] <= 12


def test_max_tokens_0_gives_an_empty_answer_of_length(engine_server: Served) -> None:
    response = httpx.post(
        f"{engine_server.url}/api/v1/chat/completions",
        headers=engine_server.headers,
        json={
            "model": "local",
            "messages": [{"role": "user", "content": "Hello"}],
            "max_tokens": 0,
            "n": 0,
        },
    )
    answer = response.json()
    assert response.status_code == 200
    assert answer["choices"][0]["message"]["content"] == ""
    assert answer["choices"][0]["finish_reason"] == "length"
    assert answer["usage"]["completion_tokens"] == 0
    assert answer["usage"]["prompt_tokens"] > 0
