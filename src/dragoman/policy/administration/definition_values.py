"""Definitions of projects and tool servers as values by path, which can be compared one by one.

The items of a list are named by their keys: `("models", "fast", "sampling", "temperature")`. What stands at
its default has no value.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from dragoman.policy.administration.project_wishes import ProjectDefinition, ToolServerWish

Path = tuple[str, ...]
Values = dict[Path, msgspec.Raw]
Keys = Mapping[str, str]

PROJECT_KEYS: Keys = {
    "models": "key",
    "tools": "id",
    "templates": "key",
    "arguments": "name",
    "metrics": "key",
    "rights": "member",
}
SERVER_KEYS: Keys = {"tools": "name"}
"""Lists by the field that names their items; every other list is one value."""
_ANY_JSON = frozenset({"default", "parameters"})
_SECRET_PLACES = frozenset({"environment", "headers"})
_BARE = re.compile(r"[A-Za-z0-9_@/-]+")
PRESENT = msgspec.Raw(b"true")


def keys_of(definition: ProjectDefinition | ToolServerWish) -> Keys:
    return PROJECT_KEYS if isinstance(definition, ProjectDefinition) else SERVER_KEYS


def values_of(definition: ProjectDefinition | ToolServerWish, keys: Keys) -> Values:
    return dict(_walk(_plain(definition), (), keys))


def encoded(definition: ProjectDefinition | ToolServerWish) -> msgspec.Raw:
    """As it is kept beside what was made of it: what stands at its default left out."""
    return msgspec.Raw(msgspec.json.encode(_plain(definition)))


def values_in(applied: msgspec.Raw | None, keys: Keys) -> Values | None:
    if applied is None:
        return None
    kept = msgspec.json.decode(applied)
    return dict(_walk(kept, (), keys)) if isinstance(kept, dict) else None


def _plain(value: Any) -> Any:
    if isinstance(value, msgspec.Struct):
        return {
            field.name: _plain(given)
            for field in msgspec.structs.fields(value)
            if (given := getattr(value, field.name)) is not msgspec.UNSET
            and (field.required or given != _default(field))
        }
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return msgspec.to_builtins(value)


def _default(field: msgspec.structs.FieldInfo) -> Any:
    if field.default_factory is not msgspec.NODEFAULT:
        return field.default_factory()
    return field.default


def _walk(fields: dict[str, Any], path: Path, keys: Keys) -> Iterator[tuple[Path, msgspec.Raw]]:
    for name, value in fields.items():
        here = (*path, name)
        if name == "note" and path[:1] == ("templates",):
            continue  # Why a text is as it is makes no other text.
        if name in keys and isinstance(value, list):
            for item in value:
                if not (isinstance(item, dict) and keys[name] in item):
                    continue  # As another version of the server kept it.
                rest = {field: given for field, given in item.items() if field != keys[name]}
                if name == "tools" and keys[name] == "id":
                    rest.setdefault("enabled", True)
                yield from (
                    _walk(rest, (*here, item[keys[name]]), keys)
                    if rest
                    else [((*here, item[keys[name]]), PRESENT)]
                )
        elif isinstance(value, dict) and name not in _ANY_JSON:
            yield from _walk(value, here, keys)
        else:
            yield here, msgspec.Raw(msgspec.json.encode(value, order="deterministic"))


def tree_of(values: Values, keys: Keys) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for path, value in values.items():
        node = tree
        for name in path[:-1]:
            child = node.setdefault(name, {})
            if not isinstance(child, dict):
                # That it is there was all there was to say of it, until now.
                child = node[name] = {}
            node = child
        node.setdefault(path[-1], msgspec.json.decode(value))
    return _with_lists(tree, keys)


def _with_lists(fields: dict[str, Any], keys: Keys) -> dict[str, Any]:
    return {
        name: [
            {keys[name]: key, **(_with_lists(item, keys) if isinstance(item, dict) else {})}
            for key, item in value.items()
        ]
        if name in keys and isinstance(value, dict)
        else _with_lists(value, keys)
        if isinstance(value, dict) and name not in _ANY_JSON
        else value
        for name, value in fields.items()
    }


def name_of(definition: ProjectDefinition | ToolServerWish) -> str:
    is_project = isinstance(definition, ProjectDefinition)
    return f"{'projects' if is_project else 'tool_servers'}.{definition.key}"


def show_path(top: str, path: Iterable[str]) -> str:
    """As TOML writes keys: those with odd characters in quotes."""
    words = [word if _BARE.fullmatch(word) else msgspec.json.encode(word).decode() for word in path]
    return ".".join([top, *words] if top else words)


def show_value(path: Path, value: msgspec.Raw | None) -> msgspec.Raw | None:
    """Without what may be a secret; references to secrets are none."""
    if value is None or path[0] not in _SECRET_PLACES:
        return value
    text = msgspec.json.decode(value)
    if isinstance(text, str) and text.startswith(("env:", "file:")):
        return value
    return msgspec.Raw(b'"(hidden)"')
