"""The rules that hold on every path: order of checks, error shapes, ids, sizes, origins."""

from __future__ import annotations

import json
import re
import time
from typing import Any

import httpx
import pytest
from tests.conftest import SCRIPTED_SECRET, Served
from tests.scripted_provider import Script, ScriptedProvider

CHAT: dict[str, Any] = {"messages": [{"role": "user", "content": "hi"}]}
PATHS: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": CHAT | {"model": "gpt"},
    "/api/v1/chat/completions": CHAT | {"model": "gpt"},
    "/api/v1/completions": CHAT,
    "/v1/messages": CHAT | {"model": "gpt", "max_tokens": 50},
}
OF_PROJECTS = (
    "/api/v1/interactions",
    "/api/v1/feedback",
    "/api/v1/comparison",
    "/api/v1/outcome",
)
every_path = pytest.mark.parametrize("path", list(PATHS))


def error_text(path: str, response: httpx.Response) -> str:
    """The message of an error, after checking that it has its path's shape."""
    assert response.headers["content-type"] == "application/json"
    body = response.json()
    if path == "/api/v1/completions":
        assert set(body) == {"error"}
        assert isinstance(body["error"], str)
        return str(body["error"])
    if path.startswith("/v1/messages"):
        assert body["type"] == "error"
        assert body["request_id"] == response.headers["x-request-id"]
        assert set(body["error"]) >= {"type", "message"}
    else:
        assert set(body["error"]) == {"message", "type", "param", "code"}
    return str(body["error"]["message"])


@pytest.fixture
def http(gateway: Served) -> httpx.Client:
    return httpx.Client(base_url=gateway.url, headers=gateway.headers, timeout=20)


@every_path
def test_a_missing_or_wrong_key_is_401_before_the_body_is_read(
    gateway: Served, path: str, provider: ScriptedProvider
) -> None:
    for headers in ({}, {"authorization": "Bearer drg_sk_" + "x" * 32}, {"x-api-key": "nope"}):
        response = httpx.post(gateway.url + path, headers=headers, content=b"not json at all")
        assert response.status_code == 401
        text = error_text(path, response)
        if path == "/api/v1/completions":
            assert text == "Unauthorized. Please log in."
        elif path == "/v1/chat/completions":
            assert text == "Invalid API key."
            assert response.json()["error"]["type"] == "authentication_error"
            assert response.json()["error"]["code"] == 401
    assert provider.requests == []


@every_path
def test_the_key_is_taken_as_bearer_or_as_x_api_key(
    gateway: Served, path: str, provider: ScriptedProvider
) -> None:
    for headers in ({"authorization": f"bearer {gateway.key}"}, {"x-api-key": gateway.key}):
        response = httpx.post(gateway.url + path, headers=headers, json=PATHS[path])
        assert response.status_code == 200, response.text


@every_path
def test_the_wrong_method_is_405_with_allow_before_the_key(gateway: Served, path: str) -> None:
    for method in ("GET", "PUT", "DELETE", "PATCH"):
        response = httpx.request(method, gateway.url + path)
        assert response.status_code == 405
        assert response.headers["allow"] == "POST"
        error_text(path, response)


@pytest.mark.parametrize(
    "path", ["/v1/completions", "/v1/embeddings", "/v1/", "/api/v1/nothing", "/elsewhere"]
)
def test_an_unknown_path_is_404_naming_those_that_exist(gateway: Served, path: str) -> None:
    response = httpx.post(gateway.url + path, json={})
    assert response.status_code == 404
    assert "completions" in error_text(path, response)


@every_path
def test_a_body_that_is_no_json_object_is_400(http: httpx.Client, path: str) -> None:
    for content in (b"", b"{", b"[]", b'"text"', b"\xff\xfe", b"nul"):
        response = http.post(path, content=content)
        assert response.status_code == 400
        text = error_text(path, response)
        if path == "/api/v1/completions":
            assert text == "Messages are required and must be an array"


@every_path
def test_a_missing_or_odd_content_type_is_accepted(http: httpx.Client, path: str) -> None:
    body = json.dumps(PATHS[path]).encode()
    for headers in ({}, {"content-type": "text/plain"}, {"content-type": "☃".encode().hex()}):
        assert http.post(path, content=body, headers=headers).status_code == 200


@every_path
def test_a_body_over_the_limit_is_413_by_its_length_and_by_its_bytes(
    http: httpx.Client, path: str
) -> None:
    big = json.dumps({"pad": "x" * 2_000_000}).encode()

    def pieces() -> Any:
        yield from (big[i : i + 65536] for i in range(0, len(big), 65536))

    for content in (big, pieces()):
        try:
            response = http.post(path, content=content)
        except httpx.WriteError:
            # The server has answered and closed while this client was still sending.
            continue
        assert response.status_code == 413
        error_text(path, response)


@every_path
def test_every_answer_carries_a_request_id_of_its_own(http: httpx.Client, path: str) -> None:
    seen = set()
    bodies: list[dict[str, Any]] = [PATHS[path], {"messages": []}]
    for body in bodies:
        response = http.post(path, json=body)
        request_id = response.headers["x-request-id"]
        assert re.fullmatch(r"req_[0-9a-f]{24}", request_id)
        if path in ("/api/v1/completions", "/v1/messages"):
            assert response.headers["request-id"] == request_id
        else:
            assert "request-id" not in response.headers
        seen.add(request_id)
    assert len(seen) == 2


def test_refusals_before_the_body_carry_a_request_id_as_well(gateway: Served) -> None:
    asked = [("POST", path, 401) for path in PATHS]
    asked += [("GET", path, 405) for path in PATHS]
    asked += [("POST", "/v1/embeddings", 404), ("OPTIONS", "/v1/chat/completions", 204)]
    for method, path, status in asked:
        response = httpx.request(method, gateway.url + path)
        assert response.status_code == status
        assert response.headers["x-request-id"].startswith("req_")


@every_path
def test_unknown_fields_are_ignored_and_named(http: httpx.Client, path: str) -> None:
    response = http.post(path, json=PATHS[path] | {"frobnicate": 1, "sch\r\nön": {"a": []}})
    assert response.status_code == 200
    assert "frobnicate" in response.headers["x-dragoman-ignored"]
    assert "x-dragoman-ignored" not in http.post(path, json=PATHS[path]).headers


def test_a_providers_row_forwards_the_unknown_fields_that_it_allows(
    http: httpx.Client, provider: ScriptedProvider
) -> None:
    body = PATHS["/v1/chat/completions"] | {"forwarded_field": {"a": 1}, "other": 2}
    response = http.post("/v1/chat/completions", json=body)
    assert provider.requests[-1].body["forwarded_field"] == {"a": 1}
    assert "other" not in provider.requests[-1].body
    assert response.headers["x-dragoman-ignored"] == "other"


@pytest.mark.parametrize("streamed", [False, True])
def test_a_field_is_named_as_ignored_if_whoever_answers_is_not_sent_it(
    http: httpx.Client, provider: ScriptedProvider, streamed: bool
) -> None:
    body = PATHS["/v1/chat/completions"] | {"model": "gpt-backed", "stream": streamed}
    body |= {"forwarded_field": {"a": 1}}
    answered = http.post("/v1/chat/completions", json=body)
    assert "x-dragoman-ignored" not in answered.headers
    provider.enqueue(Script(status=503, body=b"{}"), Script(text="from claude"))
    answered = http.post("/v1/chat/completions", json=body)
    assert "from claude" in answered.text
    assert "forwarded_field" not in provider.requests[-1].body
    assert answered.headers["x-dragoman-ignored"] == "forwarded_field"


@every_path
def test_an_explicit_null_means_absent(http: httpx.Client, path: str) -> None:
    nulls = dict.fromkeys(("stop", "temperature", "top_p", "tools", "tool_choice", "stream"))
    assert http.post(path, json=PATHS[path] | nulls).status_code == 200


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/api/v1/chat/completions"])
def test_neutral_values_never_cause_a_refusal(http: httpx.Client, path: str) -> None:
    neutral = {
        "n": 1,
        "presence_penalty": 0,
        "frequency_penalty": 0,
        "logprobs": False,
        "logit_bias": {},
        "parallel_tool_calls": True,
        "stream_options": {},
        "stop": [],
        "tools": [],
    }
    for model in ("gpt", "claude", "gpt-text-only"):
        response = http.post(path, json=CHAT | {"model": model} | neutral)
        assert response.status_code == 200, response.text


def test_a_field_that_no_target_can_honour_is_400_by_name(http: httpx.Client) -> None:
    for field, value in {"seed": 7, "n": 2, "logit_bias": {"1": 5}}.items():
        response = http.post("/v1/chat/completions", json=CHAT | {"model": "claude", field: value})
        assert response.status_code == 400
        assert response.json()["error"]["param"] == field
        assert field in response.json()["error"]["message"]


def test_more_choices_than_allowed_is_a_400_naming_the_bound(http: httpx.Client) -> None:
    for path in ("/v1/chat/completions", "/api/v1/chat/completions"):
        response = http.post(path, json=CHAT | {"model": "gpt", "n": 9})
        assert response.status_code == 400
        assert "8" in error_text(path, response)
        assert http.post(path, json=CHAT | {"model": "gpt", "n": 129}).status_code == 400


def test_functions_are_refused_naming_tools(http: httpx.Client) -> None:
    for field, value in {"functions": [{"name": "f"}], "function_call": "auto"}.items():
        body = CHAT | {"model": "gpt", field: value}
        response = http.post("/v1/chat/completions", json=body)
        assert response.status_code == 400
        assert "tools" in response.json()["error"]["message"]


@pytest.mark.parametrize(
    ("path", "status"),
    [("/v1/chat/completions", 400), ("/api/v1/chat/completions", 404), ("/v1/messages", 404)],
)
def test_an_unknown_model(http: httpx.Client, path: str, status: int) -> None:
    response = http.post(path, json=PATHS[path] | {"model": "no-such-model"})
    assert response.status_code == status
    text = error_text(path, response)
    assert "no-such-model" in text
    if path.startswith("/api/v1"):
        assert text.startswith("EntityNotFound:")
        assert "model" in text


def test_an_alias_is_answered_under_the_full_id(http: httpx.Client) -> None:
    for path in ("/v1/chat/completions", "/api/v1/chat/completions", "/v1/messages"):
        response = http.post(path, json=PATHS[path] | {"model": "gpt-alias"})
        assert response.json()["model"] == "gpt"


# --- Providers' faults, by blame ---


@every_path
@pytest.mark.parametrize("status", [401, 403])
def test_a_provider_that_refuses_our_key_is_never_the_clients_401(
    http: httpx.Client, provider: ScriptedProvider, path: str, status: int
) -> None:
    provider.default = Script(status=status, body=b'{"error":{"message":"Incorrect API key xyz"}}')
    response = http.post(path, json=PATHS[path])
    assert response.status_code in (500, 503)
    assert "xyz" not in response.text


@every_path
def test_a_providers_429_can_be_tried_again(
    http: httpx.Client, provider: ScriptedProvider, path: str
) -> None:
    provider.default = Script(status=429, headers=(("retry-after", "7"),), body=b"{}")
    response = http.post(path, json=PATHS[path])
    if path == "/api/v1/completions":
        assert response.status_code == 500
        assert response.json() == {"error": "Failed to get AI response"}
    else:
        assert response.status_code in (503, 529)
    assert response.headers["retry-after"] == "7"


@every_path
def test_an_unreachable_provider_is_503_and_a_fallback_answers_for_it(
    http: httpx.Client, provider: ScriptedProvider, path: str
) -> None:
    if path == "/api/v1/completions":
        pytest.skip("this dialect names no model")
    response = http.post(path, json=PATHS[path] | {"model": "nowhere"})
    assert response.status_code in (503, 529)
    response = http.post(path, json=PATHS[path] | {"model": "nowhere-backed"})
    assert response.status_code == 200
    assert response.json()["model"] == "gpt"


def test_no_secret_and_no_prompt_reaches_the_log(
    gateway: Served, http: httpx.Client, provider: ScriptedProvider
) -> None:
    prompt = "the-prompt-that-nobody-may-log"
    body = {"model": "gpt", "messages": [{"role": "user", "content": prompt}]}
    quoting = json.dumps({"error": {"message": f"bad input: {prompt}"}}).encode()
    scripts = [Script(), Script(status=500), Script(status=401), Script(bad_frame_after=1)]
    for script in (*scripts, Script(status=400, body=quoting)):
        provider.default = script
        http.post("/v1/chat/completions", json=body)
        http.post("/v1/chat/completions", json=body | {"stream": True})
    http.post("/v1/chat/completions", json=body | {"temperature": prompt})
    last = http.get("/v1/models")
    deadline_s = time.monotonic() + 10
    while last.headers["x-request-id"] not in gateway.log:
        assert time.monotonic() < deadline_s, "the log never named the last request"
        # Lines are written a few times a second: until then, there is more to log.
        http.get("/healthz")
    assert prompt not in gateway.log
    assert gateway.key not in gateway.log
    assert SCRIPTED_SECRET not in gateway.log


def test_the_providers_secret_is_sent_to_it_and_the_clients_key_is_not(
    gateway: Served, http: httpx.Client, provider: ScriptedProvider
) -> None:
    http.post("/v1/chat/completions", json=CHAT | {"model": "gpt"})
    http.post("/v1/chat/completions", json=CHAT | {"model": "claude"})
    openai, anthropic = provider.requests
    assert openai.headers["authorization"] == f"Bearer {SCRIPTED_SECRET}"
    assert anthropic.headers["x-api-key"] == SCRIPTED_SECRET
    for request in provider.requests:
        assert gateway.key not in str(request.headers)
        assert gateway.key.encode() not in request.raw_body


# --- Origins ---


@every_path
def test_a_preflight_is_answered_before_the_key_check(gateway: Served, path: str) -> None:
    headers = {
        "origin": "https://app.example.com",
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization,content-type",
    }
    response = httpx.options(gateway.url + path, headers=headers)
    assert response.status_code == 204
    assert response.headers["access-control-allow-origin"] == "https://app.example.com"
    assert "POST" in response.headers["access-control-allow-methods"]
    assert "authorization" in response.headers["access-control-allow-headers"]


@every_path
def test_only_configured_origins_may_read_answers(http: httpx.Client, path: str) -> None:
    allowed = http.post(path, json=PATHS[path], headers={"origin": "https://app.example.com"})
    assert allowed.headers["access-control-allow-origin"] == "https://app.example.com"
    exposed = allowed.headers["access-control-expose-headers"]
    assert "x-request-id" in exposed
    assert "retry-after" in exposed
    refused = http.post(path, json=PATHS[path], headers={"origin": "https://evil.example.com"})
    assert "access-control-allow-origin" not in refused.headers


# --- Neighbours ---


def test_models_are_listed_and_found_by_id_and_alias(gateway: Served, http: httpx.Client) -> None:
    for path in ("/v1/models", "/api/v1/models"):
        assert httpx.get(gateway.url + path).status_code == 401
        listed = http.get(path).json()
        assert listed["object"] == "list"
        assert [entry["id"] for entry in listed["data"]][:2] == ["gpt", "gpt-text-only"]
    assert http.get("/v1/models/gpt-alias").json()["id"] == "gpt"
    missing = http.get("/v1/models/nope")
    assert missing.status_code == 404
    assert error_text("/v1/models/nope", missing)
    missing = http.get("/api/v1/models/nope")
    assert missing.status_code == 404
    assert error_text("/api/v1/models/nope", missing).startswith("EntityNotFound: model:")


def test_health_needs_no_key_and_says_what_is_on(gateway: Served) -> None:
    health = httpx.get(gateway.url + "/healthz").json()
    assert health["status"] == "ok"
    assert health["features"]["authentication"] is True
    assert health["features"]["embedded_engine"] is False


def test_the_interface_description_and_its_page_are_served(gateway: Served) -> None:
    document = httpx.get(gateway.url + "/openapi.json")
    for path in PATHS:
        assert "post" in document.json()["paths"][path]
    again = httpx.get(
        gateway.url + "/openapi.json", headers={"if-none-match": document.headers["etag"]}
    )
    assert again.status_code == 304
    page = httpx.get(gateway.url + "/docs")
    assert page.status_code == 200
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert httpx.get(gateway.url + "/docs/page.css").status_code == 200


def test_every_example_of_the_description_is_answered(
    gateway: Served, http: httpx.Client, provider: ScriptedProvider
) -> None:
    document = httpx.get(gateway.url + "/openapi.json").json()
    sent = 0
    for path, methods in document["paths"].items():
        if path.startswith(OF_PROJECTS):
            continue  # there is no project here: `test_interactions_description` has one
        content = methods.get("post", {}).get("requestBody", {}).get("content", {})
        for name, example in content.get("application/json", {}).get("examples", {}).items():
            body = dict(example["value"])
            if "model" in body:
                body["model"] = "gpt"
            response = http.post(path, json=body)
            assert response.status_code == 200, (path, name, response.text)
            sent += 1
    assert sent >= len(PATHS)
