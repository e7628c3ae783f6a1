"""An MCP server without the SDK, which speaks an old version of the protocol and misbehaves as it is told.

`python odd_program.py BEHAVIOUR`. Its tools are `odd` and what the behaviour adds.
"""

from __future__ import annotations

import json
import sys
from typing import Any

OBJECT = {"type": "object", "properties": {}}


def main() -> None:
    behaviour = sys.argv[1]
    lists = 0
    for line in sys.stdin:
        message = json.loads(line)
        method, number = message["method"], message.get("id")
        if number is None:
            continue
        if method == "initialize":
            if behaviour == "mute":
                continue
            answer(
                number,
                {
                    "protocolVersion": "2025-06-18",
                    "capabilities": {"tools": {"listChanged": True}},
                    "serverInfo": {"name": "odd", "version": "1"},
                },
            )
        elif method == "tools/list":
            lists += 1
            answer(number, {"tools": listed(behaviour, lists), **pages(behaviour)})
        elif method == "tools/call":
            call(behaviour, number)
        else:
            write({"jsonrpc": "2.0", "id": number, "error": {"code": -32601, "message": "no"}})


def listed(behaviour: str, lists: int) -> list[Any]:
    odd = {"name": "odd", "inputSchema": OBJECT}
    if behaviour == "lies":
        return [
            odd,
            {"name": "no-schema", "inputSchema": {**OBJECT, "minProperties": "all"}},
            {
                "name": "wrong-types",
                "inputSchema": {"type": "object", "properties": {"a": {"type": 7}}},
            },
            {"name": "huge", "inputSchema": {**OBJECT, "description": "x" * 40_000}},
            {"name": "elsewhere", "inputSchema": {**OBJECT, "$schema": "http://127.0.0.1:9/x"}},
            {"name": "deep", "inputSchema": {"type": "object", "properties": deep()}},
            {"name": "n" * 200, "inputSchema": OBJECT},
            {"name": "line\nbreak", "inputSchema": OBJECT},
            {"name": "twice", "inputSchema": OBJECT},
            {"name": "twice", "inputSchema": OBJECT},
            {"name": "wordy", "description": "y" * 100_000, "inputSchema": {"type": "object"}},
        ]
    if behaviour == "many":
        return [{"name": f"t{i}", "inputSchema": OBJECT} for i in range(1000)]
    if behaviour == "grows" and lists > 1:
        return [odd, {"name": "grown", "inputSchema": OBJECT}]
    if behaviour == "bad-list":
        return [odd, {"name": "a-list", "inputSchema": {"type": "array"}}]
    return [odd]


def pages(behaviour: str) -> dict[str, Any]:
    return {"nextCursor": "again"} if behaviour == "endless" else {}


def deep() -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(80):
        schema = {"type": "object", "properties": {"a": schema}}
    return {"a": schema}


def call(behaviour: str, number: int) -> None:
    if behaviour == "garbage":
        write_text("this is no JSON at all")
        write_text('{"jsonrpc":"2.0","id":' + str(number) + ',"result":{"content":"a string"}}')
    elif behaviour == "grows":
        write({"jsonrpc": "2.0", "method": "notifications/tools/list_changed"})
        answer(number, {"content": [{"type": "text", "text": "grown"}]})
    elif behaviour == "babbles":
        for _ in range(20_000):
            write({"jsonrpc": "2.0", "method": "notifications/message", "params": {}})
    elif behaviour == "long-line":
        sys.stdout.write('{"jsonrpc":"2.0","method":"notifications/message","params":{"data":"')
        for _ in range(10):
            sys.stdout.write("x" * 1_000_000)
        sys.stdout.write('"}}\n')
        answer(number, {"content": [{"type": "text", "text": "after all"}]})
    elif behaviour == "structured":
        answer(number, {"content": [], "structuredContent": {"a": [1, 2]}})
    elif behaviour == "surrogates":
        write_text(
            f'{{"jsonrpc":"2.0","id":{number},'
            '"result":{"content":[{"type":"text","text":"a\\ud800b"}]}}'
        )
    elif behaviour == "speaks":
        print("the user's secret words", file=sys.stderr, flush=True)
        answer(number, {"content": []})
    else:
        write({"jsonrpc": "2.0", "id": number, "error": {"code": -32000, "message": "m" * 9000}})


def answer(number: int, result: dict[str, Any]) -> None:
    write({"jsonrpc": "2.0", "id": number, "result": result})


def write(message: dict[str, Any]) -> None:
    write_text(json.dumps(message))


def write_text(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    print("odd begins", file=sys.stderr, flush=True)
    main()
