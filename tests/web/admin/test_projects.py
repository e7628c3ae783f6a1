"""The admin API's routes of projects, templates, metrics, campaigns and tool servers, through the whole
application."""

from __future__ import annotations

from typing import Any

import msgspec
from tests.web.admin.conftest import Office

from dragoman.web.admin.examples import EXAMPLES


async def make_project(office: Office, key: str = "shop", **fields: Any) -> Any:
    fields.setdefault("models", [{"model": "small"}, {"model": "vendor/large"}])
    return await office.json("POST", "/projects", {"key": key, **fields}, expect=201)


async def actions(office: Office) -> list[str]:
    return [e["action"] for e in (await office.json("GET", "/audit"))["data"]]


# --- Projects -----------------------------------------------------------------------------------


async def test_a_project_lives(office: Office) -> None:
    made = await make_project(office, public={"requests_per_minute": 5})
    assert made["default_model"] == "small"
    assert made["public"]["requests_per_minute"] == 5
    assert (made["is_in_settings"], made["archived_at"]) == (False, None)
    assert [model["name"] for model in made["models"]] == ["shop/small", "shop/vendor/large"]
    assert [model["is_default"] for model in made["models"]] == [True, False]
    assert await office.json("GET", "/projects/shop") == made
    assert await office.json("GET", f"/projects/{made['id']}") == made
    changed = await office.json("PATCH", "/projects/shop", {"name": "Shop", "public": None})
    assert (changed["name"], changed["public"]) == ("Shop", None)
    assert (await office.json("POST", "/projects/shop/archive"))["archived_at"] is not None
    assert (await office.json("GET", "/projects"))["data"] == []
    assert len((await office.json("GET", "/projects?archived=true"))["data"]) == 1
    await office.call("PATCH", "/projects/shop", {"name": "x"}, expect=409)
    assert (await office.json("POST", "/projects/shop/restore")) == changed


async def test_the_same_wish_makes_one_project(office: Office) -> None:
    wish = {"key": "shop", "models": [{"model": "small"}]}
    first = await office.call("POST", "/projects", wish, expect=201, idempotency_key="w")
    again = await office.call("POST", "/projects", wish, expect=200, idempotency_key="w")
    assert again.json() == first.json()
    assert again.headers["idempotent-replayed"] == "true"
    error = (await office.call("POST", "/projects", wish, expect=409)).json()["error"]
    assert (error["param"], error["type"]) == ("key", "conflict_error")


async def test_faults_are_told_with_their_field(office: Office) -> None:
    await make_project(office)
    for method, path, body, status, param in (
        ("POST", "/projects", {"key": "small"}, 409, "key"),
        ("POST", "/projects", {"key": "UPPER"}, 400, "key"),
        ("POST", "/projects", {"key": "p", "models": [{"model": "none"}]}, 400, "models[0].model"),
        ("POST", "/projects", {"key": "p", "nonsense": 1}, 400, None),
        ("POST", "/projects", {"key": "p", "account_id": "acct_none"}, 400, "account_id"),
        (
            "PATCH",
            "/projects/shop",
            {"models": [{"model": "small"}, {"model": "small"}]},
            400,
            "models[1].key",
        ),
        ("PATCH", "/projects/none", {"name": "x"}, 404, "project"),
        ("POST", "/projects/shop/models", {"model": "s", "key": "small"}, 409, "key"),
        ("POST", "/projects/shop/rights", {"member": "x@y.z", "right": "edit"}, 400, "member"),
        ("GET", "/projects/shop/models/none", None, 404, "model"),
        ("GET", "/projects/shop/templates/none", None, 404, "template"),
        ("GET", "/projects/shop/metrics/none", None, 404, "metric"),
        ("GET", "/projects/shop/campaigns/none", None, 404, "campaign"),
        ("GET", "/projects/none/campaigns", None, 404, "project"),
        ("GET", "/tool-servers/none", None, 404, "tool_server"),
        ("DELETE", "/projects/shop/metrics/cost", None, 409, "metric"),
    ):
        error = (await office.call(method, path, body, expect=status)).json()["error"]
        assert (error["code"], error["param"]) == (status, param), (path, error)
        assert error["message"]


async def test_models_with_slashes_in_their_keys(office: Office) -> None:
    await make_project(office, models=[{"model": "small"}])
    path = "/projects/shop/models/vendor/large"
    attached = await office.json("PUT", path, {"model": "vendor/large"})
    assert (attached["key"], attached["name"]) == ("vendor/large", "shop/vendor/large")
    assert await office.json("GET", path) == attached
    assert await office.json("GET", "/projects/shop/models/vendor%2Flarge") == attached
    for other in ("vendor/large/", "vendor//large", "vendor%2F%2Flarge", "%2Fvendor/large"):
        await office.call("GET", f"/projects/shop/models/{other}", expect=404)
    await office.call("DELETE", path, expect=204)
    await office.call("DELETE", path, expect=404)


async def test_models_are_attached_and_rights_are_given(office: Office) -> None:
    await make_project(office, models=[])
    wish = {"model": "s", "sampling": {"temperature": 0.1}, "max_ttft_ms": 500}
    attached = await office.json("POST", "/projects/shop/models", wish, expect=201)
    assert (attached["key"], attached["model"], attached["is_default"]) == ("s", "small", True)
    assert attached["sampling"]["temperature"] == 0.1
    assert attached["tool_bounds"]["rounds"] == 5
    await office.json("POST", "/accounts/acct_default/members", {"email": "ann@x.org"}, expect=201)
    given = await office.json(
        "POST", "/projects/shop/rights", {"member": "ann@x.org", "right": "admin"}
    )
    assert [right["right"] for right in given["rights"]] == ["admin"]
    left = await office.json("DELETE", "/projects/shop/rights/ann@x.org")
    assert left["rights"] == []


async def test_projects_are_listed_in_pages(office: Office) -> None:
    for n in range(5):
        office.clock.now_s += 1
        await make_project(office, f"p{n}")
    await office.json("POST", "/projects/p1/archive")
    seen: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        page = await office.json("GET", f"/projects?limit=2&cursor={cursor}")
        assert len(page["data"]) <= 2
        seen += [project["key"] for project in page["data"]]
        cursor = page["next_cursor"]
    assert seen == ["p0", "p2", "p3", "p4"]


# --- Templates and metrics ----------------------------------------------------------------------


async def test_a_template_is_written_shown_and_rolled_back(office: Office) -> None:
    await make_project(office)
    path = "/projects/shop/templates"
    wish = {
        "key": "greeting",
        "text": "Hi {{a.b}} {{c}}",
        "arguments": [{"name": "c", "default": {"x": [1]}}],
    }
    made = await office.json("POST", path, wish, expect=201)
    assert made["active"]["arguments"] == [
        {"name": "a.b", "is_required": True, "default": None, "description": None},
        {"name": "c", "is_required": False, "default": {"x": [1]}, "description": None},
    ]
    await office.call("POST", path, wish, expect=200)
    second = await office.json("POST", f"{path}/greeting/versions", {"text": "Yo"}, expect=201)
    assert (second["version"], second["is_active"]) == (2, True)
    await office.call("POST", f"{path}/greeting/versions", {"text": "Yo"}, expect=200)
    assert (await office.json("GET", f"{path}/greeting"))["newest_version"] == 2
    rolled = await office.json("POST", f"{path}/greeting/roll-back")
    assert rolled["active"]["version"] == 1
    versions = (await office.json("GET", f"{path}/greeting/versions"))["data"]
    assert [(v["version"], v["is_active"]) for v in versions] == [(1, True), (2, False)]
    assert (await office.json("GET", f"{path}/greeting/versions/2"))["text"] == "Yo"
    await office.call("GET", f"{path}/greeting/versions/3", expect=404)
    activated = await office.json("POST", f"{path}/greeting/activate", {"version": 2})
    assert activated["active"]["text"] == "Yo"
    shown = await office.json(
        "POST", f"{path}/greeting/preview", {"version": 1, "arguments": {"a": {"b": "<b>"}}}
    )
    assert shown == {"text": 'Hi <b> {"x":[1]}', "arguments": ["a.b", "c"], "missing": []}
    unkept = await office.json("POST", f"{path}/preview", {"text": "{{x}}"})
    assert unkept["missing"] == ["x"]
    await office.call("DELETE", f"{path}/greeting", expect=204)
    assert (await office.json("GET", path))["data"] == []


async def test_metrics_come_change_and_go(office: Office) -> None:
    await make_project(office)
    path = "/projects/shop/metrics"
    made = await office.json("POST", path, {"key": "helpful", "kind": "bool"}, expect=201)
    assert (made["is_built_in"], made["better"]) == (False, "higher_is_better")
    changed = await office.json("PATCH", f"{path}/helpful", {"description": "Was it?"})
    assert await office.json("GET", f"{path}/{made['id']}") == changed
    keys = [m["key"] for m in (await office.json("GET", path))["data"]]
    assert keys == ["helpful", "cost", "errors", "first_token_ms", "tokens", "total_ms"]
    await office.call("DELETE", f"{path}/helpful", expect=204)
    await office.call("DELETE", f"{path}/helpful", expect=404)


async def test_what_may_be_deleted_is_listed_in_pages_that_miss_nothing(office: Office) -> None:
    await make_project(office)
    path = "/projects/shop/templates"
    for key in ("c", "a", "e", "d", "b"):
        await office.json("POST", path, {"key": key, "text": key}, expect=201)
    first = await office.json("GET", f"{path}?limit=2")
    assert [template["key"] for template in first["data"]] == ["a", "b"]
    await office.call("DELETE", f"{path}/b", expect=204)
    second = await office.json("GET", f"{path}?limit=2&cursor={first['next_cursor']}")
    assert [template["key"] for template in second["data"]] == ["c", "d"]
    last = await office.json("GET", f"{path}?limit=2&cursor={second['next_cursor']}")
    assert [template["key"] for template in last["data"]] == ["e"]
    assert last["next_cursor"] is None
    await office.json("POST", "/projects/shop/metrics", {"key": "zeal", "kind": "bool"}, expect=201)
    seen: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        page = await office.json("GET", f"/projects/shop/metrics?limit=2&cursor={cursor}")
        seen += [metric["key"] for metric in page["data"]]
        cursor = page["next_cursor"]
    assert seen == ["zeal", "cost", "errors", "first_token_ms", "tokens", "total_ms"]


# --- Campaigns ----------------------------------------------------------------------------------


async def test_a_campaign_lives(office: Office) -> None:
    await make_project(office)
    path = "/projects/shop/campaigns"
    wish = {
        "key": "which",
        "metric": "total_ms",
        "arms": [{"model": "small"}, {"model": "vendor/large", "sampling": {"top_p": 0.5}}],
    }
    made = await office.call("POST", path, wish, expect=201, idempotency_key="w")
    again = await office.call("POST", path, wish, expect=200, idempotency_key="w")
    campaign = made.json()
    assert again.json() == campaign
    assert [arm["key"] for arm in campaign["arms"]] == ["A", "B"]
    assert (campaign["metric"], campaign["metric_id"]) == ("total_ms", "total_ms")
    assert campaign["arms"][1]["sampling"]["top_p"] == 0.5
    changed = await office.json("PATCH", f"{path}/which", {"traffic_split": 0.25})
    assert changed["traffic_split"] == 0.25
    report = await office.json("GET", f"{path}/{campaign['id']}/report")
    assert (report["status"], report["metric"]) == ("WARMUP", "total_ms")
    assert report["headline"]
    await office.call("DELETE", "/projects/shop/models/small", expect=409)
    assert (await office.json("POST", f"{path}/which/cancel"))["status"] == "CANCELLED"
    await office.call("PATCH", f"{path}/which", {"traffic_split": 1}, expect=409)
    assert [c["key"] for c in (await office.json("GET", path))["data"]] == ["which"]


# --- Tool servers -------------------------------------------------------------------------------


async def test_a_tool_server_lives(office: Office) -> None:
    wish = {
        "key": "web",
        "kind": "mcp_http",
        "url": "https://tools.example.com/mcp",
        "headers": {"Authorization": "env:TOOL_WEB", "X-Team": "hidden"},
    }
    made = await office.json("PUT", "/tool-servers/web", wish)
    assert made["headers"] == [
        {"name": "Authorization", "reference": "env:TOOL_WEB"},
        {"name": "X-Team", "reference": None},
    ]
    assert "hidden" not in str(made)
    assert (await office.json("GET", "/tool-servers"))["data"] == [made]
    assert (await office.json("POST", "/tool-servers/web/disable"))["is_enabled"] is False
    assert await office.json("POST", "/tool-servers/web/enable") == made
    await office.call("PUT", "/tool-servers/other", wish, expect=400)
    await office.call("DELETE", "/tool-servers/web", expect=204)
    assert await actions(office) == [
        f"tool_server.{what}" for what in ("delete", "enable", "disable", "create")
    ] + ["key.create", "key.create"]


async def test_what_only_the_machines_owner_may_do_is_refused(office: Office) -> None:
    for wish, param in (
        ({"key": "x", "kind": "mcp_stdio", "command": ["sh", "-c", "id"]}, "kind"),
        (
            {
                "key": "x",
                "kind": "mcp_http",
                "url": "https://a.example.com",
                "headers": {"Authorization": "file:/etc/shadow"},
            },
            "headers.Authorization",
        ),
    ):
        error = (await office.call("PUT", "/tool-servers/x", wish, expect=403)).json()["error"]
        assert (error["type"], error["param"]) == ("permission_error", param)
    assert (await office.json("GET", "/tool-servers"))["data"] == []


async def test_a_tool_server_is_asked_what_it_has(office: Office) -> None:
    wish = {"key": "web", "kind": "mcp_http", "url": "https://tools.example.com"}
    await office.json("PUT", "/tool-servers/web", wish)
    tools = (await office.json("GET", "/tool-servers/web/tools"))["data"]
    assert [(tool["id"], tool["function"]) for tool in tools] == [("web/find", "web__find")]
    await office.call("GET", "/tool-servers/none/tools", expect=404)
    await office.json("POST", "/tool-servers/web/disable")
    await office.call("GET", "/tool-servers/web/tools", expect=409)


# --- The page's examples ------------------------------------------------------------------------

_PATHS = {
    "put_tool_server": "/tool-servers/{key}",
    "create_project": "/projects",
    "attach_model": "/projects/shop/models",
    "put_attached_model": "/projects/shop/models/small",
    "change_project": "/projects/shop",
    "set_right": "/projects/shop/rights",
    "create_template": "/projects/shop/templates",
    "add_version": "/projects/shop/templates/greeting/versions",
    "activate_version": "/projects/shop/templates/greeting/activate",
    "preview_template": "/projects/shop/templates/greeting/preview",
    "preview_text": "/projects/shop/templates/preview",
    "create_metric": "/projects/shop/metrics",
    "change_metric": "/projects/shop/metrics/helpful",
    "create_campaign": "/projects/shop/campaigns",
    "change_campaign": "/projects/shop/campaigns/bold-or-not",
}
_METHODS = {"put": "PUT", "change": "PATCH"}


async def test_the_examples_work_one_after_the_other(office: Office) -> None:
    await office.json(
        "POST", "/accounts/acct_default/members", {"email": "ann@example.com"}, expect=201
    )
    shown = (await office.client.get("/admin/v1/openapi.json")).json()
    for name, examples in EXAMPLES.items():
        method = _METHODS.get(name.partition("_")[0], "POST")
        described = next(
            operation
            for operations in shown["paths"].values()
            for operation in operations.values()
            if operation["operationId"] == name
        )
        content = described["requestBody"]["content"]["application/json"]["examples"]
        assert [each["value"] for each in content.values()] == [body for _, body in examples]
        for _, body in examples:
            path = _PATHS[name].format(key=body.get("key"))
            answer = await office.call(method, path, msgspec.json.encode(body))
            assert answer.status_code in (200, 201), (name, answer.text)
