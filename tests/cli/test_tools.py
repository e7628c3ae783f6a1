"""`dragoman tools`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from tests.cli.conftest import Run

MCP_PROGRAM = Path(__file__).parent.parent / "tools" / "mcp_program.py"
TOOLS = [
    {
        "name": "find_order",
        "description": "Finds an order.\x1b[31m",
        "path": "/find",
        "parameters": {"type": "object", "properties": {"number": {"type": "string"}}},
    }
]


def test_a_server_is_added_shown_disabled_and_removed(dragoman: Run, tmp_path: Path) -> None:
    assert "tools add KEY --url URL" in dragoman("tools", "list").err
    (tmp_path / "tools.json").write_text(json.dumps(TOOLS))
    added = dragoman(
        *("tools", "add", "orders", "--url", "https://orders.example.com", "--tools", "tools.json"),
        *("--header", "authorization=env:ORDERS_TOKEN", "--header", "accept-language=en"),
    )
    assert added.code == 0, added.err
    assert "authorization (env:ORDERS_TOKEN), accept-language (set)" in added.out
    assert "Added. Try it: dragoman tools test orders" in added.err
    row = dragoman("tools", "show", "orders", "--json").json
    assert (row["kind"], row["tools"], row["is_from_file"]) == ("http", ["find_order"], False)
    assert row["headers"] == {"authorization": "env:ORDERS_TOKEN", "accept-language": None}
    again = dragoman("tools", "add", "orders", "--url", "https://orders.example.com/mcp")
    assert (again.code, "Changed." in again.err) == (0, True)
    assert dragoman("tools", "show", "orders", "--json").json["kind"] == "mcp_http"
    assert "undo: dragoman tools enable orders" in dragoman("tools", "disable", "orders").out
    assert "disabled" in dragoman("tools", "list").out
    assert dragoman("tools", "enable", "orders").code == 0
    assert dragoman("tools", "remove", "orders").out == "Removed orders.\n"
    assert dragoman("tools", "list", "--json").json == []


def test_a_program_is_a_server_too(dragoman: Run) -> None:
    added = dragoman(
        *("tools", "add", "files", "--env", "LANG=C", "--json", "--", "serve", "--root", "/srv")
    )
    assert added.code == 0, added.err
    assert added.json["kind"] == "mcp_stdio"
    assert added.json["command"] == ["serve", "--root", "/srv"]
    assert added.json["environment"] == {"LANG": None}


def test_a_server_that_a_model_uses_is_not_removed(dragoman: Run) -> None:
    dragoman("tools", "add", "files", "--", "serve")
    dragoman("projects", "create", "support", "-m", "local")
    dragoman("projects", "attach", "support", "local", "--tool", "files")
    ran = dragoman("tools", "remove", "files")
    assert (ran.code, "uses tool server 'files'" in ran.err) == (1, True)


def test_a_servers_tools_are_listed_as_models_are_told_of_them(
    dragoman: Run, tmp_path: Path
) -> None:
    (tmp_path / "tools.json").write_text(json.dumps(TOOLS))
    dragoman("tools", "add", "orders", "--url", "https://o.example.com", "--tools", "tools.json")
    dragoman("tools", "disable", "orders")
    (row,) = dragoman("tools", "test", "orders", "--json").json
    assert (row["id"], row["function"]) == ("orders/find_order", "orders__find_order")
    assert row["parameters"] == TOOLS[0]["parameters"]
    shown = dragoman("tools", "test", "orders")
    assert "orders/find_order" in shown.out
    assert "\x1b" not in shown.out


def test_a_program_is_started_and_asked(dragoman: Run) -> None:
    dragoman("tools", "add", "calc", "--", sys.executable, str(MCP_PROGRAM), "stdio")
    ran = dragoman("tools", "test", "calc", "--json")
    assert ran.code == 0, ran.err
    by_id = {row["id"]: row for row in ran.json}
    assert by_id["calc/add"]["description"] == "Add two numbers."
    assert set(by_id["calc/add"]["parameters"]["properties"]) == {"a", "b"}


def test_a_server_that_cannot_be_had_fails_and_says_why(dragoman: Run, tmp_path: Path) -> None:
    dragoman("tools", "add", "gone", "--", str(tmp_path / "no-such-program"))
    ran = dragoman("tools", "test", "gone")
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.startswith("error: tool server gone lists no tools: unreachable")


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("tools", "show", "none"), 1, "tool server 'none' does not exist"),
        (("tools", "test", "none"), 1, "tool server 'none' does not exist"),
        (("tools", "add", "x"), 2, "url is missing"),
        (("tools", "add", "x", "--url", "http://10.0.0.1"), 2, "unless allow_private"),
        (("tools", "add", "x", "--url", "https://x", "--", "p"), 2, "url does not go with kind"),
        (("tools", "add", "x", "--url", "https://x", "--header", "hush"), 2, "NAME=VALUE"),
        (
            ("tools", "add", "x", "--url", "https://x", "--header", "x-api-key=hush-hush"),
            2,
            "plain text",
        ),
        (("tools", "add", "x", "--url", "https://x", "--tools", "gone.json"), 2, "No such file"),
        (("tools", "add", "x", "--url", "https://x", "--tools", "bad.json"), 2, "is no JSON"),
        (("tools", "add", "x", "--url", "https://x", "--tools", "odd.json"), 2, "[0].method"),
    ],
)
def test_refusals_name_what_is_wrong_and_no_secret(
    dragoman: Run, tmp_path: Path, arguments: tuple[str, ...], code: int, words: str
) -> None:
    (tmp_path / "bad.json").write_text("[")
    (tmp_path / "odd.json").write_text('[{"name": "x", "method": "PUT"}]')
    ran = dragoman(*arguments)
    assert (ran.code, ran.out) == (code, "")
    assert words in ran.err
    assert "hush" not in ran.err
