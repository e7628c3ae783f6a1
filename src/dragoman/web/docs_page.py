"""The page at `/docs`: the OpenAPI document as HTML that people read.

Rendered once, without a template engine or a viewer's bundle: everything in it is escaped text, its
style and script are files of our own, and nothing is fetched from elsewhere, so that the strictest
content-security policy fits.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

import msgspec


class ShownKey(msgspec.Struct, frozen=True):
    """The key that the examples need: the variable that holds it, and how it begins."""

    variable: str
    prefix: str


CLIENT_KEY = ShownKey("DRAGOMAN_API_KEY", "drg_sk_")
ADMIN_KEY = ShownKey("ADMIN_KEY", "drg_admin_")


class _Site(msgspec.Struct, frozen=True):
    """Where the examples are sent, and with which key."""

    url: str
    key: ShownKey


_REF = "#/components/schemas/"
_FAMILY_NAMES = {
    "openai": "OpenAI",
    "studio": "Studio (Prem, Adaptive)",
    "dreamsolve": "DreamSolve",
    "anthropic": "Anthropic",
    "conversations": "Conversations and feedback",
    "server": "Server",
    "admin": "Types",
}

Json = Mapping[str, Any]


def render_page(document: Json, key: ShownKey = CLIENT_KEY) -> str:
    """The whole page for an OpenAPI document of ours, whose examples are sent with `key`."""
    families = [tag["name"] for tag in document["tags"]]
    by_family: dict[str, list[tuple[str, str, Json]]] = {family: [] for family in families}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            by_family[operation["tags"][0]].append((path, method, operation))
    site = _Site(document["servers"][0]["url"], key)
    info = document["info"]
    sections = "".join(
        _family(family, operations, document, site) for family, operations in by_family.items()
    )
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{escape(info["title"])} API</title>
<link rel="icon" href="docs/icon.svg">
<link rel="stylesheet" href="docs/page.css">
<script src="docs/page.js" defer></script>
</head>
<body>
<a class="skip" href="#content">To the content</a>
<nav aria-label="Endpoints">
<p class="brand"><a href="#top">{escape(info["title"])}</a> <small>{escape(info["version"])}</small></p>
{_navigation(by_family)}
<p class="links"><a href="openapi.json">openapi.json</a></p>
</nav>
<main id="content">
<header id="top">
<h1>{escape(info["title"])} API</h1>
{_paragraphs(info["description"])}
<form id="key-form" class="key" autocomplete="off">
<label for="key">Key for <q>Send</q></label>
<input id="key" type="password" placeholder="{escape(key.prefix)}…" spellcheck="false">
<small>Stays on this page; forgotten when it is closed.</small>
</form>
</header>
{sections}
</main>
</body>
</html>
"""


def _navigation(by_family: Mapping[str, list[tuple[str, str, Json]]]) -> str:
    parts = []
    for family, operations in by_family.items():
        links = "".join(
            f'<li><a href="#{escape(operation["operationId"])}">'
            f'<span class="method {method}">{method.upper()}</span> {_breakable(path)}</a></li>'
            for path, method, operation in operations
        )
        parts.append(f"<h2>{_family_name(family)}</h2><ul>{links}</ul>")
    return "".join(parts)


def _family_name(family: str) -> str:
    return escape(_FAMILY_NAMES.get(family, family))


def _breakable(path: str) -> str:
    """A path that narrow columns may break after a slash."""
    return escape(path).replace("/", "/<wbr>")


def _paragraphs(text: str) -> str:
    """Paragraphs of plain text, in which backquotes mark code."""
    return "".join(f"<p>{_inline(paragraph)}</p>" for paragraph in text.split("\n\n"))


def _inline(text: str) -> str:
    pieces = escape(text).split("`")
    if len(pieces) % 2 == 0:  # A backquote without its partner is only a character.
        return escape(text)
    return "".join(
        f"<code>{piece}</code>" if index % 2 else piece for index, piece in enumerate(pieces)
    )


# --- Operations ---------------------------------------------------------------------------------


def _family(
    family: str, operations: list[tuple[str, str, Json]], document: Json, site: _Site
) -> str:
    schemas = document["components"]["schemas"]
    rendered = "".join(
        _operation(path, method, operation, schemas, site) for path, method, operation in operations
    )
    shown = {
        _schema_name(media["schema"])
        for _, _, operation in operations
        for media in operation.get("requestBody", {}).get("content", {}).values()
    }
    types = "".join(
        _type(name, schema)
        for name, schema in schemas.items()
        if name.startswith(f"{family}.") and name not in shown and schema.get("properties")
    )
    if types:
        types = f'<details class="types"><summary>Types</summary>{types}</details>'
    return f'<section class="family"><h2>{_family_name(family)}</h2>{rendered}{types}</section>'


def _operation(
    path: str, method: str, operation: Json, schemas: Mapping[str, Json], site: _Site
) -> str:
    anchor = escape(operation["operationId"])
    parts = [
        f'<article id="{anchor}"><h3><span class="method {method}">{method.upper()}</span> '
        f'<code>{_breakable(path)}</code> <a class="anchor" href="#{anchor}" '
        f'aria-label="Link to this endpoint">#</a></h3>',
        f"<p>{_inline(operation['summary'])}</p>",
    ]
    if "description" in operation:
        parts.append(_paragraphs(operation["description"]))
    if not operation["security"]:
        parts.append("<p>Needs no key.</p>")
    parts.append(_parameters(operation.get("parameters", ())))
    parts.append(_examples(path, method, operation, site))
    if "requestBody" in operation:
        media = operation["requestBody"]["content"]["application/json"]
        parts.append(f"<h4>Request</h4>{_fields(schemas[_schema_name(media['schema'])])}")
    parts.append(f"<h4>Answers</h4>{_answers(operation['responses'])}</article>")
    return "".join(parts)


def _parameters(parameters: Any) -> str:
    if not parameters:
        return ""
    rows = "".join(
        f"<tr><td><code>{escape(parameter['name'])}</code></td><td>{escape(parameter['in'])}</td>"
        f"<td>{_inline(parameter['description'])}</td></tr>"
        for parameter in parameters
    )
    return (
        "<h4>Parameters</h4><div class='scroll'><table><thead><tr><th>Name</th><th>In</th>"
        f"<th>What it does</th></tr></thead><tbody>{rows}</tbody></table></div>"
    )


def _examples(path: str, method: str, operation: Json, site: _Site) -> str:
    content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
    examples = content.get("examples") or {"": {"summary": "", "value": None}}
    key = site.key if operation["security"] else None
    for parameter in operation.get("parameters", ()):
        if parameter["in"] == "path":
            path = path.replace(f"{{{parameter['name']}}}", parameter["example"])
    parts = ["<h4>Examples</h4>" if len(examples) > 1 else "<h4>Example</h4>"]
    for index, example in enumerate(examples.values()):
        body = None if example["value"] is None else _pretty(example["value"])
        command = _curl(path, method, body, key=key, is_stream=_is_stream(example))
        shown = escape(command).replace(
            "{origin}", f'<span class="origin">{escape(site.url)}</span>'
        )
        data = "" if body is None else f' data-body="{escape(body)}"'
        parts.append(
            f'<details class="example"{" open" if index == 0 else ""}>'
            f"<summary>{_inline(example['summary'] or operation['summary'])}</summary>"
            f'<div class="code" data-method="{method.upper()}" data-path="{escape(path)}"{data}>'
            f'<pre tabindex="0">{shown}</pre><p class="actions">'
            f'<button type="button" class="copy">Copy</button>'
            f'<button type="button" class="send">Send</button></p></div></details>'
        )
    return "".join(parts)


def _is_stream(example: Json) -> bool:
    return isinstance(example["value"], dict) and example["value"].get("stream") is True


def _curl(
    path: str, method: str, body: str | None, *, key: ShownKey | None, is_stream: bool
) -> str:
    lines = [f"curl {'-N ' if is_stream else ''}{{origin}}{path}"]
    if key is not None:
        lines.append(f'-H "Authorization: Bearer ${key.variable}"')
    if body is not None:
        quoted = body.replace("'", "'\\''")
        lines += ["-H 'Content-Type: application/json'", f"-d '{quoted}'"]
    elif method != "get":
        lines.append(f"-X {method.upper()}")
    return " \\\n  ".join(lines)


def _pretty(value: Any) -> str:
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode()


def _answers(responses: Json) -> str:
    parts = []
    for status, answer in responses.items():
        kind = "ok" if status.startswith("2") else "failed"
        headers = ", ".join(f"<code>{escape(name)}</code>" for name in answer.get("headers", ()))
        parts.append(
            f'<details class="answer {kind}"><summary><b>{escape(status)}</b> '
            f"{_inline(answer['description'])}</summary>"
            f"{_contents(answer.get('content', {}))}<p class='headers'>Headers: {headers}</p></details>"
        )
    return "".join(parts)


def _contents(content: Json) -> str:
    parts = []
    for media_type, media in content.items():
        schema = media["schema"].get("contentSchema", media["schema"])
        parts.append(f"<p><code>{escape(media_type)}</code> {_type_name(schema)}</p>")
        for example in media.get("examples", {}).values():
            value = example["value"]
            text = value if isinstance(value, str) else _pretty(value)
            parts.append(f'<pre tabindex="0">{escape(text)}</pre>')
    return "".join(parts)


# --- Types --------------------------------------------------------------------------------------


def _schema_name(schema: Json) -> str:
    return str(schema.get("$ref", "")).removeprefix(_REF)


def _type(name: str, schema: Json) -> str:
    short = name.partition(".")[2]
    return f'<section id="type-{escape(name)}"><h4>{escape(short)}</h4>{_fields(schema)}</section>'


def _fields(schema: Json) -> str:
    required = set(schema.get("required", ()))
    # What must be there comes first, and what should no longer be used last.
    fields = sorted(
        schema.get("properties", {}).items(),
        key=lambda item: (item[0] not in required, item[1].get("deprecated", False)),
    )
    rows = "".join(_field(name, field, is_required=name in required) for name, field in fields)
    return (
        "<div class='scroll'><table class='fields'><thead><tr><th>Field</th><th>Type</th>"
        f"<th>What it means</th></tr></thead><tbody>{rows}</tbody></table></div>"
    )


def _field(name: str, field: Json, *, is_required: bool) -> str:
    mark = ""
    if is_required:
        mark = ' <span class="required">required</span>'
    elif field.get("deprecated"):
        mark = ' <span class="deprecated">deprecated</span>'
    return (
        f"<tr><td><code>{escape(name)}</code>{mark}</td><td>{_type_name(field)}</td>"
        f"<td>{' '.join(_notes(field))}</td></tr>"
    )


_BOUNDS = (
    ("minimum", "At least"),
    ("exclusiveMinimum", "More than"),
    ("maximum", "At most"),
    ("exclusiveMaximum", "Less than"),
    ("minItems", "Items: at least"),
    ("maxItems", "Items: at most"),
    ("minLength", "Characters: at least"),
    ("maxLength", "Characters: at most"),
)


def _notes(field: Json) -> Iterator[str]:
    variants = [field, *field.get("anyOf", ())]
    for variant in variants:
        if "description" in variant:
            yield _inline(variant["description"])
    for variant in variants:
        if "minimum" in variant and "maximum" in variant:
            yield f"From {variant['minimum']:g} to {variant['maximum']:g}."
            continue
        for bound, words in _BOUNDS:
            if bound in variant:
                yield f"{words} {variant[bound]:g}."
    if "default" in field:
        yield f"Default <code>{escape(_compact(field['default']))}</code>."


def _compact(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _type_name(schema: Json) -> str:
    """The type in words, with links; `null` is left out, for it only means absent."""
    match schema:
        case {"$ref": _}:
            name = _schema_name(schema)
            return f'<a href="#type-{escape(name)}">{escape(name.partition(".")[2])}</a>'
        case {"enum": [*values]}:
            return " or ".join(f"<code>{escape(_compact(value))}</code>" for value in values)
        case {"const": value}:
            return f"<code>{escape(_compact(value))}</code>"
        case {"anyOf": [*variants]}:
            names = [_type_name(v) for v in variants if v.get("type") != "null"]
            return " or ".join(dict.fromkeys(names))
        case {"type": "array"}:
            return f"array of {_type_name(schema.get('items', {}))}"
        case {"type": "object", "additionalProperties": dict() as values} if values:
            return f"object of {_type_name(values)}"
        case {"type": str() as kind}:
            return escape(kind)
        case _:
            return "any JSON"
