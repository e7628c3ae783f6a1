"""The admin API's routes of projects, templates, metrics and tool servers, through the whole application."""

from __future__ import annotations

from typing import Any

from tests.web.admin.conftest import Office


async def make_project(office: Office, key: str = "shop", **fields: Any) -> Any:
    fields.setdefault("models", [{"model": "small"}])
    return await office.json("POST", "/projects", {"key": key, **fields}, expect=201)


async def test_models_with_slashes_in_their_keys(office: Office) -> None:
    await make_project(office)
    path = "/projects/shop/models/vendor/large"
    attached = await office.json("PUT", path, {"model": "vendor/large"})
    assert (attached["key"], attached["name"]) == ("vendor/large", "shop/vendor/large")
    assert await office.json("GET", path) == attached
    assert await office.json("GET", "/projects/shop/models/vendor%2Flarge") == attached
    await office.call("DELETE", path, expect=204)
    await office.call("DELETE", path, expect=404)
