"""Tool servers: where they may be, what may be sent to them, and what only the machine's owner may set."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from tests.policy.administration.conftest import SetClock, actions, refused

from dragoman.errors import Conflict, Forbidden, InvalidRequest, UnknownEntity
from dragoman.policy.administration import (
    Administration,
    AttachedModelWish,
    ProjectWish,
    ToolServerWish,
)
from dragoman.policy.administration.project_wishes import AttachedToolWish, HttpToolWish
from dragoman.policy.administration.tool_servers import server_wish
from dragoman.stores import Store

MCP: dict[str, Any] = {"key": "web", "kind": "mcp_http", "url": "https://tools.example.com/mcp"}
HTTP: dict[str, Any] = {
    "key": "calc",
    "kind": "http",
    "url": "https://calc.example.com",
    "tools": (HttpToolWish(name="add", path="/add"),),
}
STDIO: dict[str, Any] = {
    "key": "files",
    "kind": "mcp_stdio",
    "command": ("files", "--root", "/srv"),
}


@pytest.fixture
def remote(store: Store, clock: SetClock) -> Administration:
    """Who has an admin key, and not the machine's shell."""
    return Administration(store, clock, "key_x", allows_commands=False)


def test_a_server_is_put_disabled_and_deleted(administration: Administration) -> None:
    servers = administration.tool_servers
    wish = ToolServerWish(**MCP, headers={"Authorization": "env:WEB_AUTH", "X-Team": "a"})
    server, is_new = servers.put(wish)
    assert is_new
    assert servers.put(wish) == (server, False)
    assert servers.find("web") == server
    disabled = servers.set_enabled("web", is_enabled=False)
    assert disabled.disabled_s is not None
    assert servers.set_enabled("web", is_enabled=False) == disabled
    assert servers.set_enabled("web", is_enabled=True) == server
    changed, is_new = servers.put(msgspec.structs.replace(wish, is_enabled=False))
    assert (changed.disabled_s is None, is_new) == (False, False)
    servers.delete("web")
    assert servers.list_all() == []
    with pytest.raises(UnknownEntity, match="'web' does not exist; there are none yet"):
        servers.find("web")
    assert actions(administration) == [
        f"tool_server.{what}" for what in ("create", "disable", "enable", "change", "delete")
    ]


@pytest.mark.parametrize("fields", [MCP, HTTP, STDIO])
def test_a_server_can_be_told_as_the_wish_for_it(
    administration: Administration, fields: dict[str, Any]
) -> None:
    wish = ToolServerWish(**fields)
    server, _ = administration.tool_servers.put(wish)
    assert server_wish(server) == wish


def test_a_server_in_use_is_not_deleted(administration: Administration) -> None:
    administration.tool_servers.put(ToolServerWish(**HTTP))
    model = AttachedModelWish(model="small", tools=(AttachedToolWish(id="calc/add"),))
    administration.projects.create(ProjectWish(key="shop", models=(model,)))
    with pytest.raises(Conflict, match="model 'small' of project 'shop' uses tool server 'calc'"):
        administration.tool_servers.delete("calc")
    others = (HttpToolWish(name="sub", path="/sub"),)
    with pytest.raises(Conflict, match="uses 'calc/add'") as error:
        administration.tool_servers.put(ToolServerWish(**{**HTTP, "tools": others}))
    assert refused(error) == "tools"


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"key": "Web"}, "key"),
        ({"url": None}, "url"),
        ({"url": "ftp://x.example.com"}, "url"),
        ({"url": "https://"}, "url"),
        ({"url": "https://x.example.com:99999"}, "url"),
        ({"url": "https://user:pass@x.example.com"}, "url"),
        ({"url": "https://user@x.example.com"}, "url"),
        ({"url": "https://x.example.com/a b"}, "url"),
        ({"url": "https://x.example.com/#f"}, "url"),
        ({"url": "https://x.example.com/mcp?api_key=abc"}, "url"),
        ({"url": "http://x.example.com"}, "url"),
        ({"url": "https://localhost"}, "url"),
        ({"url": "https://127.0.0.1"}, "url"),
        ({"url": "https://10.1.2.3/mcp"}, "url"),
        ({"url": "https://[::1]/mcp"}, "url"),
        ({"url": "https://[::ffff:127.0.0.1]/mcp"}, "url"),
        ({"url": "https://169.254.169.254/latest"}, "url"),
        ({"command": ("x",)}, "command"),
        ({"environment": {"A": "b"}}, "environment"),
        ({"tools": (HttpToolWish(name="x"),)}, "tools"),
        ({"headers": {"bad name": "x"}}, "headers"),
        ({"headers": {"X-A": "a\r\nX-B: c"}}, "headers.X-A"),
        ({"headers": {"X-A": "ä"}}, "headers.X-A"),
        ({"headers": {"X-A": "1", "x-a": "2"}}, "headers.x-a"),
        ({"headers": {"Content-Length": "5"}}, "headers.Content-Length"),
        ({"headers": {"Host": "other"}}, "headers.Host"),
        ({"headers": {"X-A": "env:not a name"}}, "headers.X-A"),
        ({"headers": {f"X-{n}": "v" for n in range(65)}}, "headers"),
    ],
)
def test_a_server_over_mcp_is_where_it_may_be(
    administration: Administration, change: dict[str, Any], param: str
) -> None:
    with pytest.raises(InvalidRequest) as error:
        administration.tool_servers.put(ToolServerWish(**{**MCP, **change}))
    assert refused(error) == param
    assert administration.tool_servers.list_all() == []
    assert actions(administration) == []


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"command": ()}, "command"),
        ({"command": (" ",)}, "command"),
        ({"command": ("a\0b",)}, "command"),
        ({"url": "https://x.example.com"}, "url"),
        ({"headers": {"X-A": "b"}}, "headers"),
        ({"environment": {"1A": "b"}}, "environment"),
        ({"environment": {"API_TOKEN": "plain"}}, "environment.API_TOKEN"),
    ],
)
def test_a_command_is_whole(
    administration: Administration, change: dict[str, Any], param: str
) -> None:
    with pytest.raises(InvalidRequest) as error:
        administration.tool_servers.put(ToolServerWish(**{**STDIO, **change}))
    assert refused(error) == param


@pytest.mark.parametrize(
    ("tool", "param"),
    [
        ({"path": "add"}, "path"),
        ({"path": "/a/../b"}, "path"),
        ({"path": "/a?b=c"}, "path"),
        ({"path": "https://elsewhere.example.com/"}, "path"),
        ({"path": "/a\\b"}, "path"),
        ({"parameters": {"type": "string"}}, "parameters.type"),
        (
            {"parameters": {"type": "object", "properties": {"a": {"type": "nonsense"}}}},
            "parameters",
        ),
        (
            {"parameters": {"type": "object", "properties": {"a": {"$ref": "https://x.y/z"}}}},
            "parameters",
        ),
        ({"parameters": {"type": "object", "description": "x" * 70_000}}, "parameters"),
    ],
)
def test_an_http_tool_has_a_path_and_a_schema(
    administration: Administration, tool: dict[str, Any], param: str
) -> None:
    tools = (HttpToolWish(name="fine"), HttpToolWish(name="bad", **tool))
    with pytest.raises(InvalidRequest) as error:
        administration.tool_servers.put(ToolServerWish(**{**HTTP, "tools": tools}))
    assert refused(error) == f"tools[1].{param}"


def test_a_schema_without_end_is_refused(administration: Administration) -> None:
    schema: dict[str, Any] = {"type": "object"}
    for _ in range(100):
        schema = {"type": "object", "properties": {"a": schema}}
    tools = (HttpToolWish(name="deep", parameters=schema),)
    with pytest.raises(InvalidRequest, match="nested too deeply"):
        administration.tool_servers.put(ToolServerWish(**{**HTTP, "tools": tools}))


def test_an_http_server_lists_each_tool_once(administration: Administration) -> None:
    for tools, param in (
        ((), "tools"),
        ((HttpToolWish(name="a"), HttpToolWish(name="a")), "tools[1].name"),
    ):
        with pytest.raises(InvalidRequest) as error:
            administration.tool_servers.put(ToolServerWish(**{**HTTP, "tools": tools}))
        assert refused(error) == param


def test_private_addresses_are_for_those_who_say_so(administration: Administration) -> None:
    for url in ("http://127.0.0.1:9000/mcp", "https://10.0.0.5", "http://tools.internal"):
        wish = ToolServerWish(**{**MCP, "url": url}, allow_private=True)
        assert administration.tool_servers.put(wish)[0].url == url


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": "Bearer abcdefghijkl"},
        {"X-Api-Key": "abc"},
        {"Cookie": "a=b"},
        {"X-Custom": "Bearer abcdefghijkl"},
        {"X-Custom": "sk-abcdefghijklmnop1234"},
        {"X-Custom": "drg_sk_abcdefghijklmnop1234"},
    ],
)
def test_secrets_are_referred_to_and_never_repeated(
    administration: Administration, headers: dict[str, str]
) -> None:
    with pytest.raises(InvalidRequest, match="env:NAME or file:PATH") as error:
        administration.tool_servers.put(ToolServerWish(**MCP, headers=headers))
    assert "abc" not in str(error.value)
    assert refused(error) == f"headers.{next(iter(headers))}"


def test_values_stay_out_of_the_audit_log(administration: Administration) -> None:
    administration.tool_servers.put(
        ToolServerWish(**MCP, headers={"X-Team": "valueone", "Authorization": "env:VALUETWO"})
    )
    administration.tool_servers.put(
        ToolServerWish(
            **{**STDIO, "command": ("prog", "valuethree")}, environment={"MODE": "valuefour"}
        )
    )
    told = b"".join(bytes(event.detail) for _, event in administration.audit())
    assert b"value" not in told.lower()
    assert b"X-Team" in told
    assert b"tools.example.com" in told


# --- Without the machine's shell ----------------------------------------------------------------


def test_a_command_is_not_set_up_from_afar(
    administration: Administration, remote: Administration
) -> None:
    with pytest.raises(Forbidden, match="dragoman tools add") as error:
        remote.tool_servers.put(ToolServerWish(**STDIO))
    assert refused(error) == "kind"
    administration.tool_servers.put(ToolServerWish(**STDIO))
    # Nor is one that is there given another command, or made into something else.
    for fields in ({**STDIO, "command": ("sh",)}, {**MCP, "key": "files"}):
        with pytest.raises(Forbidden):
            remote.tool_servers.put(ToolServerWish(**fields))
    assert remote.tool_servers.set_enabled("files", is_enabled=False).disabled_s is not None
    assert remote.tool_servers.set_enabled("files", is_enabled=True).command == STDIO["command"]


@pytest.mark.parametrize("reference", ["file:/etc/shadow", "env:OPENAI_API_KEY"])
def test_the_machines_secrets_are_not_sent_anywhere_from_afar(
    administration: Administration, remote: Administration, reference: str
) -> None:
    wish = ToolServerWish(**MCP, headers={"Authorization": reference})
    with pytest.raises(Forbidden, match="env:TOOL_") as error:
        remote.tool_servers.put(wish)
    assert refused(error) == "headers.Authorization"
    administration.tool_servers.put(wish)
    # What was set up on the machine may stay where it is, but is not sent elsewhere.
    kept, _ = remote.tool_servers.put(msgspec.structs.replace(wish, allow_private=True))
    assert kept.headers == (("Authorization", reference),)
    with pytest.raises(Forbidden):
        remote.tool_servers.put(msgspec.structs.replace(wish, url="https://elsewhere.example.com"))


def test_variables_for_tools_may_be_referred_to_from_afar(remote: Administration) -> None:
    wish = ToolServerWish(**MCP, headers={"Authorization": "env:TOOL_WEB_AUTH"})
    assert remote.tool_servers.put(wish)[1]
