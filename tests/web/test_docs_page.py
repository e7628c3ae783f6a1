"""The page shows all that the document says, as text, and needs nothing that its policy forbids."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

import dragoman.web
from dragoman.web.docs_page import render_page
from dragoman.web.interface import CONTENT_SECURITY_POLICY

VOID = {"meta", "link", "input", "wbr"}
STATIC = Path(dragoman.web.__file__).parent / "static"


def document(**operation: Any) -> dict[str, Any]:
    return {
        "info": {"title": "T", "version": "1", "description": "All of `it`."},
        "tags": [{"name": "openai"}],
        "servers": [{"url": "http://here"}],
        "paths": {
            "/v1/things": {
                "post": {
                    "operationId": "make",
                    "tags": ["openai"],
                    "summary": "Make a thing",
                    "security": [{"bearer": []}],
                    "requestBody": {
                        "content": {
                            "application/json": {
                                "schema": {"$ref": "#/components/schemas/openai.Ask"},
                                "examples": {
                                    "plain": {"summary": "Plain", "value": {"say": "it's <b>"}},
                                    "stream": {"summary": "Streamed", "value": {"stream": True}},
                                },
                            }
                        }
                    },
                    "responses": {
                        "200": {
                            "description": "Made.",
                            "headers": {"x-request-id": {}},
                            "content": {"text/plain": {"schema": {"type": "string"}}},
                        },
                        "429": {"description": "Too many."},
                    },
                    **operation,
                }
            }
        },
        "components": {
            "schemas": {
                "openai.Ask": {
                    "required": ["say"],
                    "properties": {
                        "say": {"type": "string", "description": "What to <i>say</i>."},
                        "heat": {
                            "anyOf": [
                                {"type": "number", "minimum": 0, "maximum": 2},
                                {"type": "null"},
                            ],
                            "default": None,
                        },
                        "turn": {"$ref": "#/components/schemas/openai.Turn"},
                        "mode": {"enum": ["a", "b"], "default": "a"},
                        "odd": {},
                    },
                },
                "openai.Turn": {"properties": {"text": {"type": "array", "items": {}}}},
            }
        },
    }


class Outline(HTMLParser):
    """Checks that tags nest, and gathers what the tests look at."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.attributes: list[tuple[str, str, str | None]] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value) for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    def values(self, name: str) -> Iterator[str]:
        return (value for _, key, value in self.attributes if key == name and value is not None)


def outline(html: str) -> Outline:
    found = Outline()
    found.feed(html)
    found.close()
    assert not found.open
    return found


@pytest.fixture(name="html", scope="module")
def render() -> str:
    return render_page(document())


def test_every_link_on_the_page_has_its_target(html: str) -> None:
    found = outline(html)
    ids = list(found.values("id"))
    assert len(ids) == len(set(ids))
    anchors = [value[1:] for value in found.values("href") if value.startswith("#")]
    assert {"make", "type-openai.Turn"} <= set(anchors)
    assert set(anchors) <= set(ids)


def test_values_are_escaped(html: str) -> None:
    assert "<i>say" not in html
    assert "&lt;i&gt;say" in html


def test_curl_quotes_the_body_for_a_shell(html: str) -> None:
    text = "".join(outline(html).text)
    assert "curl http://here/v1/things \\\n" in text
    assert "curl -N http://here/v1/things \\\n" in text
    assert """it'\\''s <b>""" in text
    assert '-H "Authorization: Bearer $DRAGOMAN_API_KEY"' in text


def test_fields_show_type_bounds_and_default(html: str) -> None:
    text = " ".join("".join(outline(html).text).split())
    assert "From 0 to 2." in text
    assert 'Default "a".' in text
    assert "required" in text
    assert "any JSON" in text


def test_a_public_endpoint_says_so_and_sends_no_key() -> None:
    html = render_page(document(security=[]))
    assert "Needs no key." in html
    assert "Authorization" not in html


def test_examples_fill_in_the_path() -> None:
    model = {"name": "id", "in": "path", "description": "Which.", "example": "one"}
    whole = document(parameters=[model])
    whole["paths"] = {"/v1/things/{id}": whole["paths"]["/v1/things"]}
    html = render_page(whole)
    assert 'data-path="/v1/things/one"' in html
    assert "curl http://here/v1/things/one " in "".join(outline(html).text)


def test_nothing_on_the_page_is_inline_or_from_elsewhere(html: str) -> None:
    found = outline(html)
    assert "style" not in found.open
    for tag, name, value in found.attributes:
        assert name != "style"
        assert not name.startswith("on")
        if name in ("src", "href"):
            assert value is not None
            assert not re.match(r"(?:[a-z]+:|//)", value), (tag, value)
    assert not re.search(r"<script(?! src=)", html)
    assert "<style" not in html


@pytest.mark.parametrize("name", ["page.css", "page.js", "icon.svg"])
def test_static_files_fetch_nothing_and_evaluate_nothing(name: str) -> None:
    text = (STATIC / name).read_text().replace("http://www.w3.org/2000/svg", "")
    assert not re.search(r"https?://|@import|url\(|\beval\b|new Function|innerHTML", text)


def test_policy_allows_nothing_by_default_and_nothing_inline() -> None:
    assert CONTENT_SECURITY_POLICY.startswith("default-src 'none';")
    assert "unsafe" not in CONTENT_SECURITY_POLICY
    assert "*" not in CONTENT_SECURITY_POLICY
