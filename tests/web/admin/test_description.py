"""The admin API's description is valid, whole, and shown without anything from elsewhere."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator
from tests.web.admin.conftest import Office


@pytest.fixture
async def document(office: Office) -> Any:
    answer = await office.client.get("/admin/v1/openapi.json")
    assert answer.status_code == 200
    return answer.json()


async def test_the_document_is_valid_openapi(document: Any) -> None:
    OpenAPIV31SpecValidator(document).validate()


async def test_patterns_are_in_the_words_of_json_schema(document: Any) -> None:
    key = document["components"]["schemas"]["admin.ProjectWish"]["properties"]["key"]
    assert re.fullmatch(key["pattern"], "support")
    assert r"\\Z" not in json.dumps(document)


async def test_every_route_is_described_with_its_refusals(document: Any) -> None:
    operations = [
        (path, method, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]
    assert len(operations) >= 35
    names = [operation["operationId"] for _, _, operation in operations]
    assert len(set(names)) == len(names)
    for path, method, operation in operations:
        assert path.startswith("/admin/v1/")
        assert operation["security"], path
        assert {"401", "403", "429", "503"} <= operation["responses"].keys(), (path, method)
        assert any(status.startswith("2") for status in operation["responses"]), (path, method)
        in_path = {p["name"] for p in operation.get("parameters", ()) if p["in"] == "path"}
        assert in_path == set(re.findall(r"{(\w+)}", path))
        assert "administration" not in {p["name"] for p in operation.get("parameters", ())}


async def test_fields_say_what_they_mean(document: Any) -> None:
    wish = document["components"]["schemas"]["admin.KeyWish"]
    assert "24 hours" in wish["properties"]["creation_token"]["description"]
    assert document["components"]["schemas"]["admin.PageOfKeyView"]["properties"]["data"]


async def test_a_repeated_wish_is_described(document: Any) -> None:
    top_up = document["paths"]["/admin/v1/accounts/{account_id}/top-ups"]["post"]
    assert {"200", "201"} <= top_up["responses"].keys()
    header = next(p for p in top_up["parameters"] if p["in"] == "header")
    assert header["name"] == "Idempotency-Key"


async def test_the_page_needs_nothing_from_elsewhere(office: Office, document: Any) -> None:
    page = await office.client.get("/admin/v1/docs")
    assert page.status_code == 200
    assert page.headers["content-security-policy"].startswith("default-src 'none'")
    for path in document["paths"]:
        assert path.rpartition("/")[2].strip("{}") in page.text
    linked = re.findall(r'(?:src|href)="([^"#]+)"', page.text)
    assert linked
    for link in linked:
        assert "//" not in link, link
        assert (await office.client.get(f"/admin/v1/{link}")).status_code == 200, link


async def test_there_is_nothing_else_beside_the_page(office: Office) -> None:
    for path in ("/admin/v1/docs/none", "/admin/v1/docs/../keys", "/admin/v1/openapi.json/x"):
        assert (await office.client.get(path)).status_code in (401, 404)


async def test_what_belongs_to_a_project_has_its_own_section(document: Any) -> None:
    nouns = {
        path: operation["tags"]
        for path, methods in document["paths"].items()
        for operation in methods.values()
    }
    assert nouns["/admin/v1/projects/{project}/models/{model}"] == ["projects"]
    assert nouns["/admin/v1/projects/{project}/templates/{template}/versions"] == ["templates"]
    assert nouns["/admin/v1/projects/{project}/campaigns/{campaign}/report"] == ["campaigns"]
    assert nouns["/admin/v1/projects/{project}/metrics"] == ["metrics"]
    assert nouns["/admin/v1/accounts/{account_id}/users/{user}"] == ["interactions"]
    assert {tag for tags in nouns.values() for tag in tags} <= {
        tag["name"] for tag in document["tags"]
    }


async def test_parameters_in_the_path_say_what_they_take(document: Any) -> None:
    operation = document["paths"]["/admin/v1/projects/{project}/models/{model}"]["get"]
    words = {p["name"]: p["description"] for p in operation["parameters"]}
    assert words == {
        "project": "The project's id or key.",
        "model": "The model's key in the project; it may have slashes.",
    }
