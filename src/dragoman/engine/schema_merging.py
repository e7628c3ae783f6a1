"""Schemas made plain: references followed, `allOf` joined, alternatives told apart."""

from __future__ import annotations

from typing import Any, cast

from dragoman.engine.schema_text import (
    ANNOTATIONS,
    FOREIGN,
    MAX_DEPTH,
    TYPES,
    Schema,
    Unsatisfiable,
    UnsupportedSchema,
    is_local,
    join,
    number,
    overlap,
    text_of,
    type_list,
    values_of,
)

MAX_STEPS = 20_000
"""How much work one schema may make: alternatives with properties beside them multiply."""


class SchemaReader:
    """Reads one schema; `spend` counts the work that it makes."""

    def __init__(self, root: Schema | bool) -> None:
        self.root = root
        self.spent = 0
        self._unfolding = 0

    @staticmethod
    def check_shape(schema: Schema, path: str) -> None:
        """Raise for keywords that no grammar can honour, and for what is no schema at all."""
        # Any other unknown keyword is an annotation by the standard, and constrains nothing.
        for keyword in schema.keys() & FOREIGN:
            raise UnsupportedSchema(
                join(path, keyword), "is not supported by this model; leave it out"
            )
        if not isinstance(schema.get("properties", {}), dict):
            raise UnsupportedSchema(join(path, "properties"), "must be an object")
        if not isinstance(schema.get("enum", []), list):
            raise UnsupportedSchema(join(path, "enum"), "must be a list of values")
        required = schema.get("required", [])
        if not isinstance(required, list) or not all(isinstance(name, str) for name in required):
            raise UnsupportedSchema(join(path, "required"), "must be a list of names")

    def resolve(self, pointer: str, path: str) -> object:
        """Source: https://www.rfc-editor.org/rfc/rfc6901"""
        found: object = self.root
        for part in pointer.split("/")[1:]:
            key = part.replace("~1", "/").replace("~0", "~").replace("%25", "%")
            if isinstance(found, dict) and key in found:
                found = found[key]
            elif isinstance(found, list) and key.isdecimal() and int(key) < len(found):
                found = found[int(key)]
            else:
                raise UnsupportedSchema(path, "points to nothing")
        return found

    def plain(self, schema: object, path: str) -> Schema:
        """`schema` as an object without references or `allOf` at its top."""
        if self._unfolding > MAX_DEPTH:
            raise UnsupportedSchema(path, "refers to itself, or is nested too deeply")
        self._unfolding += 1
        try:
            schema = self._unfolded(schema, path)
        finally:
            self._unfolding -= 1
        if schema is True:
            return {}
        if schema is False:
            raise Unsatisfiable(path, "allows no value at all")
        if not isinstance(schema, dict):
            raise UnsupportedSchema(path, "must be a schema: an object or a boolean")
        self.check_shape(schema, path)
        return cast(Schema, schema)

    def _unfolded(self, schema: object, path: str) -> object:
        while isinstance(schema, dict) and ("$ref" in schema or "allOf" in schema):
            self.spend(1, path)
            if "$ref" not in schema:
                schema = self.merged_all_of(schema, path)
                continue
            pointer = schema["$ref"]
            if not is_local(pointer):
                raise UnsupportedSchema(
                    join(path, "$ref"), "must point into the schema itself: '#/…'"
                )
            rest = {k: v for k, v in schema.items() if k not in ANNOTATIONS | {"$ref"}}
            target = self.resolve(pointer, path)
            schema = self.merge(self.plain(target, path), rest, path) if rest else target
        return schema

    # --- Combinations ---

    def merged_all_of(self, schema: Schema, path: str) -> Schema:
        parts = schema["allOf"]
        path = join(path, "allOf")
        if not isinstance(parts, list) or not parts:
            raise UnsupportedSchema(path, "must be a list of schemas")
        self.spend(len(parts), path)
        merged = {k: v for k, v in schema.items() if k not in ANNOTATIONS | {"allOf"}}
        for i, part in enumerate(parts):
            merged = self.merge(merged, self.plain(part, f"{path}[{i}]"), f"{path}[{i}]")
        return merged

    def spend(self, count: int, path: str) -> None:
        self.spent += count
        if self.spent > MAX_STEPS:
            raise UnsupportedSchema(path, "is too large; use fewer alternatives or references")

    def merge(self, one: Schema, other: Schema, path: str) -> Schema:
        """A schema that allows what both allow."""
        self.spend(1, path)
        self.check_shape(one, path)
        self.check_shape(other, path)
        _require_separable(one, other, path)
        _require_separable(other, one, path)
        merged = {key: value for key, value in one.items() if key not in ANNOTATIONS}
        closed = [
            set(each.get("properties", ()))
            for each in (one, other)
            if each.get("additionalProperties", True) is False
        ]
        for key, value in other.items():
            if key in ANNOTATIONS:
                continue
            if key not in merged:
                merged[key] = value
            elif text_of(merged[key]) != text_of(value):
                merged[key] = self._merged_value(key, merged[key], value, path)
        if closed and "properties" in merged:
            allowed = set.intersection(*closed)
            merged["properties"] = {k: v for k, v in merged["properties"].items() if k in allowed}
        return merged

    def _merged_value(self, key: str, one: Any, other: Any, path: str) -> Any:
        path = join(path, key)
        if key == "properties" and isinstance(one, dict) and isinstance(other, dict):
            both = {**one, **other}
            for name in one.keys() & other.keys():
                both[name] = {"allOf": [one[name], other[name]]}
            return both
        if key == "required" and isinstance(one, list) and isinstance(other, list):
            return list(dict.fromkeys([*one, *other]))
        if key == "type":
            return self._common_types(one, other, path)
        if key == "enum" and isinstance(one, list) and isinstance(other, list):
            texts = set(map(text_of, other))
            return [value for value in one if text_of(value) in texts]
        if key in ("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties"):
            return max(number(one, path), number(other, path))
        if key in ("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties"):
            return min(number(one, path), number(other, path))
        if key == "additionalProperties" and False in (one, other):
            return False
        if key == "additionalProperties" and True in (one, other):
            return other if one is True else one
        raise UnsupportedSchema(path, "cannot be combined with the one beside it")

    @staticmethod
    def _common_types(one: object, other: object, path: str) -> list[str]:
        left, right = type_list(one, path), type_list(other, path)
        common = [kind for kind in left if kind in right]
        if ("number" in left and "integer" in right) or ("integer" in left and "number" in right):
            common.append("integer")
        if not common:
            raise Unsatisfiable(path, "leaves no type that both allow")
        return list(dict.fromkeys(common))

    def are_apart(self, alternatives: list[object], path: str) -> bool:
        """Whether no value can be valid against two of them."""
        plain = [self.plain(alternative, path) for alternative in alternatives]
        self.spend(len(plain) ** 2 // 8, path)
        return all(
            self._are_two_apart(one, other, path)
            for i, one in enumerate(plain)
            for other in plain[i + 1 :]
        )

    def _are_two_apart(self, one: Schema, other: Schema, path: str) -> bool:
        left, right = values_of(one), values_of(other)
        if left is not None and right is not None:
            return not overlap(left, right)
        common = _allowed_kinds(one, path) & _allowed_kinds(other, path)
        if not common:
            return True
        if common != {"object"}:
            return False
        required = set(one.get("required", ())) & set(other.get("required", ()))
        for name in required:
            first = one.get("properties", {}).get(name)
            second = other.get("properties", {}).get(name)
            if isinstance(first, dict) and isinstance(second, dict):
                left, right = values_of(first), values_of(second)
                if left is not None and right is not None and not overlap(left, right):
                    return True
        return False


def _allowed_kinds(schema: Schema, path: str) -> set[str]:
    """Every type that a value may have; without `type`, that is any."""
    kinds = set(type_list(schema.get("type", list(TYPES)), path))
    return kinds | {"number"} if "integer" in kinds else kinds


def _require_separable(one: Schema, other: Schema, path: str) -> None:
    """Raise where a keyword speaks of what its neighbours do not name, and those would change."""
    if "prefixItems" in other and "items" in one and "prefixItems" not in one:
        raise UnsupportedSchema(path, "combines items with prefixItems of another schema")
    if isinstance(one.get("items"), list) or "additionalItems" in one:
        raise UnsupportedSchema(join(path, "items"), "cannot be combined with other schemas")
    others = one.get("additionalProperties", True)
    if not isinstance(others, bool) and (
        other.get("properties", {}).keys() - one.get("properties", {}).keys()
    ):
        raise UnsupportedSchema(
            join(path, "additionalProperties"),
            "cannot be combined with properties of another schema",
        )
