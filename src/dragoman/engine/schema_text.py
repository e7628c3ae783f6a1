"""JSON Schema as text and as decoded JSON: reading it, bounded, and asking it what it says."""

from __future__ import annotations

import json
from fractions import Fraction
from typing import Any

import msgspec

Schema = dict[str, Any]
"""A schema as decoded JSON: the one place where its shape is nobody's to fix."""

MAX_SCHEMA_BYTES = 128 * 1024
MAX_DEPTH = 64

ANNOTATIONS = frozenset(
    [
        "title",
        "description",
        "default",
        "examples",
        "deprecated",
        "readOnly",
        "writeOnly",
        "$schema",
        "$id",
        "$comment",
        "$defs",
        "definitions",
        "discriminator",
    ]
)
TYPES = ("object", "array", "string", "number", "integer", "boolean", "null")
KEYWORDS_OF = {
    "object": frozenset(
        [
            "properties",
            "required",
            "additionalProperties",
            "minProperties",
            "maxProperties",
            "patternProperties",
            "unevaluatedProperties",
        ]
    ),
    "array": frozenset(
        [
            "items",
            "prefixItems",
            "additionalItems",
            "minItems",
            "maxItems",
            "uniqueItems",
            "unevaluatedItems",
        ]
    ),
    "string": frozenset(["pattern", "format", "minLength", "maxLength"]),
    "number": frozenset(
        ["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"]
    ),
}
KEYWORDS_OF["integer"] = KEYWORDS_OF["number"]

FOREIGN = frozenset(
    [
        "not",
        "if",
        "then",
        "else",
        "contains",
        "minContains",
        "maxContains",
        "propertyNames",
        "dependencies",
        "dependentRequired",
        "dependentSchemas",
        "$dynamicRef",
        "$recursiveRef",
        "extends",
        "disallow",
        "divisibleBy",
    ]
)


class UnsupportedSchema(ValueError):
    """`path` leads from the schema's root to what cannot be honoured; `reason` follows its name."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path} {reason}".strip())
        self.path = path
        self.reason = reason


class Unsatisfiable(UnsupportedSchema):
    """No value at all is valid; an alternative that cannot be is left out of a choice."""


def read_schema(raw: bytes) -> Schema | bool:
    """Decode a schema that a client wrote; raises `UnsupportedSchema`."""
    if len(raw) > MAX_SCHEMA_BYTES:
        raise UnsupportedSchema("", f"must be at most {MAX_SCHEMA_BYTES} bytes long")
    # What no bracket can nest deeper than needs no recursion to be found out.
    try:
        value = msgspec.json.decode(raw)
    except RecursionError:
        raise UnsupportedSchema("", f"must not be nested more than {MAX_DEPTH} deep") from None
    except msgspec.DecodeError:
        raise UnsupportedSchema("", "must be JSON") from None
    if not isinstance(value, dict | bool):
        raise UnsupportedSchema("", "must be an object")
    _require_shallow(value)
    return value


def _require_shallow(value: object) -> None:
    level: list[object] = [value]
    depth = 0
    while level:
        if depth > MAX_DEPTH:
            raise UnsupportedSchema("", f"must not be nested more than {MAX_DEPTH} deep")
        deeper: list[object] = []
        for item in level:
            if isinstance(item, dict):
                deeper.extend(item.values())
            elif isinstance(item, list):
                deeper.extend(item)
        level, depth = deeper, depth + 1


def is_local(pointer: object) -> bool:
    return isinstance(pointer, str) and (pointer == "#" or pointer.startswith("#/"))


def join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def type_list(value: object, path: str) -> list[str]:
    kinds = value if isinstance(value, list) else [value]
    if not kinds or not all(isinstance(kind, str) and kind in TYPES for kind in kinds):
        raise UnsupportedSchema(join(path, "type"), f"must be one or more of {', '.join(TYPES)}")
    return list(dict.fromkeys(kinds))


def kinds_of(schema: Schema, path: str) -> list[str]:
    """The types that are written: those named, or those whose keywords the schema uses, or any.

    A schema without `type` allows every other type too; nobody who writes `properties` means that.
    """
    if "type" in schema:
        kinds = type_list(schema["type"], path)
        return [kind for kind in kinds if not (kind == "integer" and "number" in kinds)]
    used = [
        kind
        for kind in ("object", "array", "string", "number")
        if KEYWORDS_OF[kind] & schema.keys()
    ]
    return used or ["object", "array", "string", "number", "boolean", "null"]


def values_of(schema: Schema) -> list[Any] | None:
    """The values that `const` and `enum` leave; `None`: it has neither."""
    values = schema.get("enum")
    if "const" in schema:
        constant = schema["const"]
        if isinstance(values, list) and text_of(constant) not in map(text_of, values):
            return []
        return [constant]
    return values if isinstance(values, list) else None if values is None else []


def overlap(one: list[Any], other: list[Any]) -> bool:
    return any(value in other for value in one)


def is_of(value: object, kinds: list[str]) -> bool:
    match value:
        case None:
            return "null" in kinds
        case bool():
            return "boolean" in kinds
        case int():
            return "integer" in kinds or "number" in kinds
        case float():
            return "number" in kinds or ("integer" in kinds and value.is_integer())
        case str():
            return "string" in kinds
        case list():
            return "array" in kinds
        case _:
            return "object" in kinds


def text_of(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def number(value: object, path: str) -> int | float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise UnsupportedSchema(path, "must be a number")
    if abs(value) > 1e15:
        raise UnsupportedSchema(path, "must be between -10^15 and 10^15")
    return value


def count(schema: Schema, keyword: str, path: str) -> int | None:
    value = schema.get(keyword)
    if value is None:
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise UnsupportedSchema(join(path, keyword), "must be a whole number, 0 or more")
    return value


def bound(
    schema: Schema, keyword: str, exclusive: str, path: str, tighter: Any
) -> tuple[Fraction | None, bool]:
    """The tighter of both bounds, and whether it is itself left out.

    Until draft 4, the exclusive form was a boolean beside the other.
    """
    plain, strict = schema.get(keyword), schema.get(exclusive)
    inclusive = None if plain is None else Fraction(str(number(plain, join(path, keyword))))
    if isinstance(strict, bool) or strict is None:
        return inclusive, bool(strict) and inclusive is not None
    beyond = Fraction(str(number(strict, join(path, exclusive))))
    if inclusive is None or tighter(inclusive, beyond) == beyond:
        return beyond, True
    return inclusive, False


def ceiling(bound: Fraction | None, above: bool) -> int | None:
    if bound is None:
        return None
    value = -(-bound // 1)
    return value + 1 if above and value == bound else value


def floor(bound: Fraction | None, below: bool) -> int | None:
    if bound is None:
        return None
    value = bound // 1
    return value - 1 if below and value == bound else value
