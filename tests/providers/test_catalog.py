"""Every row of the catalog can be used as it stands, but for Azure's, which has a host for each customer."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import get_args
from urllib.parse import urlsplit

import pytest

import dragoman
from dragoman.chat import ChatRequest, Message, Reasoning, Text
from dragoman.http_client import Endpoint, HttpClient
from dragoman.providers.catalog import CATALOG
from dragoman.providers.http import HttpProvider
from dragoman.providers.wires import WIRES
from dragoman.records.model import Feature, Model
from dragoman.records.provider import ProviderRow, UpstreamWire

ROWS = [pytest.param(row, id=name) for name, row in CATALOG.items()]
CHANGES_THE_PRICE = {"service_tier", "web_search_options", "prediction", "modalities", "provider"}


def test_catalog_has_what_is_promised() -> None:
    promised = {
        *("openai", "anthropic", "vllm", "sglang", "ollama", "llama-server", "openrouter", "groq"),
        *("mistral", "deepseek", "together", "azure-openai", "dos-ai", "prem"),
    }
    assert promised <= set(CATALOG)
    assert all(name == row.name for name, row in CATALOG.items())


@pytest.mark.parametrize("row", ROWS)
def test_row_is_sound(row: ProviderRow) -> None:
    assert row.wire in get_args(UpstreamWire)
    assert row.lacks <= set(get_args(Feature))
    assert not set(row.forwards) & CHANGES_THE_PRICE
    assert row.api_key is None or re.fullmatch(r"env:[A-Z_]+", row.api_key)
    url = urlsplit(row.base_url)
    assert not row.base_url.endswith("/")
    assert url.scheme == "https" or url.hostname == "127.0.0.1", "no key travels in the clear"
    endpoint = Endpoint("POST", f"{row.base_url}/{WIRES[row.wire].chat_path}")
    assert endpoint.key.startswith(url.scheme)


@pytest.mark.parametrize(
    ("name", "field"),
    [
        ("deepseek", "reasoning_content"),
        ("openrouter", "reasoning_details"),
        ("vllm", "reasoning"),
        ("sglang", "reasoning_content"),
        ("llama-server", "reasoning_content"),
        ("ollama", "reasoning"),
    ],
)
def test_thinking_goes_back_in_the_field_that_the_vendor_reads(name: str, field: str) -> None:
    row = CATALOG[name]
    asked = ChatRequest(
        dialect="openai",
        target="m",
        messages=(Message("assistant", (Reasoning(text="Hm"), Text("Yes."))),),
    )
    body = WIRES[row.wire].codec.encode_request(
        asked, Model(id="m", provider=name, upstream_name="m"), row, stream=False
    )
    (message,) = json.loads(body)["messages"]
    assert "Hm" in json.dumps(message.pop(field))
    assert message == {"role": "assistant", "content": "Yes."}


def test_azure_sends_no_key_before_it_has_its_own_host() -> None:
    host = urlsplit(CATALOG["azure-openai"].base_url).hostname
    assert host is not None
    assert host.endswith(".invalid")


@pytest.mark.parametrize("row", ROWS)
async def test_provider_is_made_of_its_row(row: ProviderRow) -> None:
    client = HttpClient()
    provider = HttpProvider(row, client, lambda reference: "secret")
    assert provider.name == row.name
    await provider.aclose()
    await client.aclose()


def test_no_code_compares_a_providers_name() -> None:
    """A provider is a row: its name is written in the catalog alone."""
    names = "|".join(re.escape(name) for name in CATALOG if name not in get_args(UpstreamWire))
    comparison = re.compile(rf"""(==|!=|\bin\b|\bcase\b)\s*[\(\[\{{]?\s*["']({names})["']""")
    root = Path(dragoman.__file__).parent
    found = [
        f"{path.relative_to(root)}: {line.strip()}"
        for path in root.rglob("*.py")
        for line in path.read_text().splitlines()
        if comparison.search(line)
    ]
    assert not found
