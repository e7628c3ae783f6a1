"""Bodies that the admin API's page shows, and that people copy: in this order they work, one after the other."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]

EXAMPLES: dict[str, tuple[tuple[str, Json], ...]] = {
    "put_tool_server": (
        (
            "An MCP server, with its secret in a variable of the server's environment",
            {
                "key": "search",
                "kind": "mcp_http",
                "url": "https://search.example.com/mcp",
                "headers": {"Authorization": "env:TOOL_SEARCH_AUTHORIZATION"},
            },
        ),
        (
            "Plain HTTP endpoints",
            {
                "key": "orders",
                "kind": "http",
                "url": "https://orders.example.com",
                "tools": [
                    {
                        "name": "find_order",
                        "description": "What was ordered, and when it comes.",
                        "path": "/find",
                        "parameters": {
                            "type": "object",
                            "properties": {"number": {"type": "string"}},
                            "required": ["number"],
                        },
                    }
                ],
            },
        ),
    ),
    "create_project": (
        (
            "A project with one model",
            {"key": "shop", "name": "The shop", "models": [{"model": "small"}]},
        ),
        (
            "One that keeps little, and is served without a key",
            {
                "key": "demo",
                "models": [{"model": "small", "max_output_tokens": 300}],
                "public": {"requests_per_minute": 30},
                "content": {"redact": [{"kind": "email"}, {"kind": "phone"}], "keep_days": 30},
            },
        ),
    ),
    "create_template": (
        (
            "A system prompt with two gaps",
            {
                "key": "greeting",
                "text": "You help {{customer.name}} in {{language}}.",
                "arguments": [{"name": "language", "default": "English"}],
            },
        ),
    ),
    "add_version": (
        (
            "A better text, which answers from now on",
            {
                "text": "You help {{customer.name}} in {{language}}, in one sentence.",
                "arguments": [{"name": "language", "default": "English"}],
                "note": "Shorter answers.",
            },
        ),
    ),
    "activate_version": (("Back to the first", {"version": 1}),),
    "preview_template": (
        ("With what a request would give", {"arguments": {"customer": {"name": "Ann"}}}),
    ),
    "preview_text": (
        ("A text that is not kept", {"text": "Hello {{name}}", "arguments": {"name": "Ann"}}),
    ),
    "attach_model": (
        (
            "Asked more boldly than it is by default",
            {"model": "small", "key": "bold", "sampling": {"temperature": 1.2}},
        ),
    ),
    "put_attached_model": (
        (
            "With a template, tools and a longest wait",
            {
                "model": "small",
                "template": "greeting",
                "max_ttft_ms": 2000,
                "tools": [{"id": "orders/find_order"}, {"id": "search", "enabled": False}],
            },
        ),
    ),
    "change_project": (("Another default", {"default_model": "bold"}),),
    "set_right": (("By e-mail address", {"member": "ann@example.com", "right": "edit"}),),
    "create_metric": (
        (
            "A thumb, up or down",
            {"key": "helpful", "kind": "bool", "description": "Did the answer help?"},
        ),
    ),
    "change_metric": (("Another name", {"name": "Helpfulness"}),),
    "create_campaign": (
        (
            "Two models, half of the traffic, and an end where one fails more often",
            {
                "key": "bold-or-not",
                "metric": "helpful",
                "arms": [{"model": "small"}, {"model": "bold"}],
                "traffic_split": 0.5,
                "guardrails": [{"measure": "errors", "margin": 0.02}],
            },
        ),
    ),
    "change_campaign": (("More of the traffic", {"traffic_split": 0.8}),),
}
"""By operation: what each example shows, and its body."""
