"""What the interface description says of conversations and feedback is what the routes do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jsonschema_rs
import msgspec
from tests.web.conversing import interaction, open_place

from dragoman.dialects.studio import STUDIO
from dragoman.web.interactions import PARAMETERS
from dragoman.web.interface import InterfacePages

PAGES = InterfacePages((STUDIO,), version="0.0.1", server_url="http://here")
DOCUMENT: dict[str, Any] = msgspec.json.decode(PAGES.document)
OTHER = "0d6f2c1e-6a43-4f0b-9d1e-2b7c8a9e4f10"


def described() -> dict[tuple[str, str], dict[str, Any]]:
    return {
        (method, path): operation
        for path, methods in DOCUMENT["paths"].items()
        for method, operation in methods.items()
        if operation["tags"] == ["conversations"]
    }


def require_fit(value: Any, operation: dict[str, Any], status: int = 200) -> None:
    schema = operation["responses"][str(status)]["content"]["application/json"]["schema"]
    jsonschema_rs.validator_for({**schema, "components": DOCUMENT["components"]}).validate(value)


def test_every_route_is_described() -> None:
    assert set(described()) == {
        ("get", "/api/v1/interactions"),
        ("post", "/api/v1/interactions"),
        ("get", "/api/v1/interactions/{completion_id}"),
        ("delete", "/api/v1/interactions/{completion_id}"),
        ("post", "/api/v1/feedback"),
        ("post", "/api/v1/comparison"),
        ("post", "/api/v1/outcome"),
    }
    parameters = described()["get", "/api/v1/interactions"]["parameters"]
    assert [each["name"] for each in parameters] == list(PARAMETERS)


async def test_every_example_can_be_sent_and_every_answer_fits(tmp_path: Path) -> None:
    async with open_place(tmp_path) as place:
        await place.call("POST", "/interactions", interaction(completion_id=OTHER))
        for (method, path), operation in described().items():
            if method != "post":
                continue
            media = operation["requestBody"]["content"]["application/json"]
            for example in media["examples"].values():
                body = example["value"]
                answer = await place.ask("POST", path.removeprefix("/api/v1"), body)
                assert answer.status_code == 200, answer.text
                assert "x-dragoman-ignored" not in answer.headers
                require_fit(answer.json(), operation)
                refused = await place.ask("POST", path.removeprefix("/api/v1"), {})
                require_fit(refused.json(), operation, 400)
        page = await place.call("GET", "/interactions")
        require_fit(page, described()["get", "/api/v1/interactions"])
        path = f"/interactions/{OTHER}"
        below = "/api/v1/interactions/{completion_id}"
        require_fit(await place.call("GET", path), described()["get", below])
        require_fit(await place.call("DELETE", path), described()["delete", below])
        missing = await place.ask("GET", path)
        require_fit(missing.json(), described()["get", below], 404)
