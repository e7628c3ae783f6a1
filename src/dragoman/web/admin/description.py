"""The description of the admin API: Litestar's OpenAPI document with what it leaves out, and a page.

Litestar knows routes and types. Added here: what every route may answer beside success, that a key is
needed, and an order of names that the page is made for. Nothing of it is loaded from elsewhere.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Any

import msgspec

from dragoman.policy.administration import project_wishes, templates, usage, wishes
from dragoman.policy.campaigns import reporting
from dragoman.policy.interactions import rows
from dragoman.records import interaction_query, price, tool_server
from dragoman.web.admin import campaigns, errors, project_views, views
from dragoman.web.admin import usage as usage_answers
from dragoman.web.admin.errors import AdminError
from dragoman.web.admin.examples import EXAMPLES
from dragoman.web.docs_page import ADMIN_KEY, render_page
from dragoman.web.interface import page_of, static_pages
from dragoman.web.json_schema import SchemaBook

Page = tuple[int, list[tuple[bytes, bytes]], bytes]
Json = dict[str, Any]

DOCUMENT_PATH = "/admin/v1/openapi.json"
PAGE_PATH = "/admin/v1/docs"
FAMILY = "admin"

_DESCRIPTION = (
    "Accounts, keys, plans, prices, credits and usage of this server; projects with their templates, metrics,"
    " campaigns and conversations; tool servers. Every route needs an admin key,"
    " `dragoman keys create NAME --admin` makes one; clients' keys are refused.\n\n"
    "Amounts are integer nano-USD (`amount_nano_usd`), or exact US dollars as text (`amount`)."
    " Moments are RFC 3339. Lists end where `next_cursor` is null.\n\n"
    "Changes hold from a key's next request on, in every process, and each leaves a line in the audit"
    " log. With an `Idempotency-Key` the same wish is done once, however often it is sent."
)
_REFUSALS = {
    "400": "A field breaks a rule; `param` names it.",
    "401": "There is no admin key that holds.",
    "403": "The key is not one for administration, or not from here.",
    "404": "Something that the path or the body names does not exist.",
    "409": "It conflicts with what is there, or with an earlier wish of the same name.",
    "429": "Too many attempts without a key; see `Retry-After`.",
    "503": "The database takes no writes at the moment; nothing was changed.",
}
_PATH_WORDS = {
    "project": "The project's id or key.",
    "template": "The template's id or key.",
    "metric": "The metric's id or key.",
    "campaign": "The campaign's id or key.",
    "model": "The model's key in the project; it may have slashes.",
    "member": "The member's id or e-mail address.",
    "server": "The tool server's key.",
    "version": "The version's number.",
    "user": "The end user, exactly as requests named them.",
}
"""Of parameters in the path that are no mere ids."""
_REF = "#/components/schemas/"
_DESCRIBED = (
    wishes,
    project_wishes,
    views,
    project_views,
    usage_answers,
    usage,
    templates,
    campaigns,
    reporting,
    rows,
    interaction_query,
    tool_server,
    price,
    errors,
)


def describe(document: Json, *, server_url: str) -> Json:
    """The whole document, out of Litestar's."""
    book = SchemaBook("")
    error = book.schema(AdminError)
    schemas = {**document["components"]["schemas"], **book.components}
    _add_words(schemas)
    paths = {
        path: {
            method: _operation(operation, error, noun_of(path))
            for method, operation in methods.items()
            if isinstance(operation, dict)
        }
        for path, methods in document["paths"].items()
    }
    whole: Json = {
        "openapi": "3.1.0",
        "info": {**document["info"], "description": _DESCRIPTION},
        "servers": [{"url": server_url}],
        # The last has no routes: the page shows the types of them all there.
        "tags": [
            *({"name": noun} for noun in dict.fromkeys(map(noun_of, paths))),
            {"name": FAMILY},
        ],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "key": {"type": "apiKey", "in": "header", "name": "x-api-key"},
            },
        },
    }
    named: Json = _renamed(whole)
    return named


def pages_of(document: Json) -> dict[str, Page]:
    """By path: the document, the page, and the page's files."""
    html = render_page(document, ADMIN_KEY).encode()
    return {
        DOCUMENT_PATH: page_of(msgspec.json.encode(document), b"application/json"),
        PAGE_PATH: page_of(html, b"text/html; charset=utf-8"),
        **static_pages(PAGE_PATH),
    }


_OWN_NOUNS = {
    "templates": "templates",
    "metrics": "metrics",
    "campaigns": "campaigns",
    "users": "interactions",
}
"""Of what lies below something else: the section that it belongs to."""


def noun_of(path: str) -> str:
    """What the route at `path` is about: `accounts` of `/admin/v1/accounts/{account_id}`, and `templates` of
    `/admin/v1/projects/{project}/templates`."""
    parts = path.split("/")[3:]
    return next((_OWN_NOUNS[part] for part in parts[1:] if part in _OWN_NOUNS), parts[0])


def _operation(operation: Json, error: Json, noun: str) -> Json:
    described = {
        **operation,
        "tags": [noun],
        "security": [{"bearer": []}, {"key": []}],
    }
    described.pop("deprecated", None)
    examples = EXAMPLES.get(operation["operationId"])
    if examples is not None:
        described["requestBody"] = _with_examples(operation["requestBody"], examples)
    for parameter in described.get("parameters", ()):
        parameter.setdefault("description", _words(parameter["name"]))
        if parameter["in"] == "path":
            parameter["example"] = f"{{{parameter['name']}}}"
    headers = {"x-request-id": {"schema": {"type": "string"}}}
    responses = {
        status: {**answer, "headers": {**answer.get("headers", {}), **headers}}
        for status, answer in operation["responses"].items()
        if status.startswith("2")
    }
    if "201" in responses:
        responses["200"] = {
            **responses["201"],
            "description": "Nothing new: what the same wish did before.",
        }
    for status, words in _REFUSALS.items():
        responses[status] = {
            "description": words,
            "headers": headers,
            "content": {"application/json": {"schema": error}},
        }
    described["responses"] = responses
    return described


def _with_examples(body: Json, examples: Iterable[tuple[str, Json]]) -> Json:
    shown = {
        f"example{number}": {"summary": summary, "value": value}
        for number, (summary, value) in enumerate(examples, 1)
    }
    content = {
        media_type: {**content, "examples": shown}
        for media_type, content in body["content"].items()
    }
    return {**body, "content": content}


def _add_words(schemas: dict[str, Json]) -> None:
    """What our types say of themselves and of their fields, beneath each, in their source."""
    for module in _DESCRIBED:
        for node in ast.parse(inspect.getsource(module)).body:
            if not isinstance(node, ast.ClassDef):
                continue
            for name, schema in schemas.items():
                if name.partition("_")[0] != node.name:
                    continue
                if text := ast.get_docstring(node):
                    schema.setdefault("description", " ".join(text.split()))
                for field, words in _field_words(node):
                    if field in schema.get("properties", {}):
                        _describe_field(schema["properties"], field, words)


def _field_words(node: ast.ClassDef) -> Iterator[tuple[str, str]]:
    for line, below in pairwise(node.body):
        match line, below:
            case (
                ast.AnnAssign(target=ast.Name(id=field)),
                ast.Expr(value=ast.Constant(value=str() as words)),
            ):
                yield field, " ".join(words.split())


def _describe_field(properties: Json, field: str, words: str) -> None:
    schema = properties[field]
    if "$ref" in schema:
        # The page shows what stands beside a reference, where it is one of several.
        schema = properties[field] = {"anyOf": [schema]}
    schema["description"] = words


def _words(name: str) -> str:
    return _PATH_WORDS.get(name, f"The {name.replace('_id', '')}'s id.")


def _renamed(value: Any) -> Any:
    """The same with every component's name plain, and in the family that the page shows."""
    match value:
        case dict():
            return {
                ("anyOf" if key == "oneOf" else key): {
                    _component(name): _renamed(schema) for name, schema in inner.items()
                }
                if key == "schemas"
                else _REF + _component(inner.removeprefix(_REF))
                if key == "$ref"
                else _renamed(inner)
                for key, inner in value.items()
            }
        case list() | tuple():
            return [_renamed(item) for item in value]
        case str() if value.endswith(r"\Z"):
            # Python's end of a text, in the words of ECMA-262, which JSON Schema's patterns are of.
            return value.removesuffix(r"\Z") + "$"
        case _:
            return value


def _component(name: str) -> str:
    """`Page_dragoman.web.admin.views.KeyView_` is `admin.PageOfKeyView`."""
    outer, _, inner = name.partition("_dragoman.")
    if inner:
        outer += "Of" + inner.rstrip("_").rpartition(".")[2]
    return f"{FAMILY}.{outer}"
