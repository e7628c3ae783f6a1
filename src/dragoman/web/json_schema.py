"""JSON Schema of the wire's types, those that are only ever encoded included.

msgspec describes what it can decode; some of our types it cannot: an answer that is one of several
untagged shapes, a field whose default is raw JSON. For the rest this says the same as it does.
Source: https://json-schema.org/draft/2020-12
"""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, Literal, NewType, TypeVar, Union, get_args, get_origin

import msgspec
from msgspec import structs

Schema = dict[str, Any]

_PLAIN = {
    str: "string",
    int: "integer",
    float: "number",
    bool: "boolean",
    type(None): "null",
    dict: "object",
    list: "array",
    tuple: "array",
}
_ANYTHING = (Any, object, msgspec.Raw)
_ARRAYS = (list, tuple, set, frozenset, Sequence)
_NUMBER_BOUNDS = {
    "ge": "minimum",
    "gt": "exclusiveMinimum",
    "le": "maximum",
    "lt": "exclusiveMaximum",
    "multiple_of": "multipleOf",
    "pattern": "pattern",
    "title": "title",
    "description": "description",
    "examples": "examples",
}
_LENGTHS = {"string": "Length", "array": "Items", "object": "Properties"}


class SchemaBook:
    """Gathers every struct that is come across as a component named `prefix` + its name."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._structs: dict[str, type[msgspec.Struct]] = {}
        self.components: dict[str, Schema] = {}

    def name_of(self, struct: type[msgspec.Struct]) -> str:
        return f"{self._prefix}{struct.__name__}"

    def schema(self, type_: Any) -> Schema:
        """The schema of values of `type_`; raises `TypeError` for types that no wire format has."""
        if any(type_ is anything for anything in _ANYTHING) or isinstance(type_, TypeVar):
            return {}
        if type_ is None or (isinstance(type_, type) and type_ in _PLAIN):
            return {"type": _PLAIN[type(None) if type_ is None else type_]}
        if type_ is datetime:
            return {"type": "string", "format": "date-time"}
        if isinstance(type_, type) and issubclass(type_, msgspec.Struct):
            return self._reference(type_)
        if isinstance(type_, NewType):
            return self.schema(type_.__supertype__)
        origin, arguments = get_origin(type_), get_args(type_)
        if origin is Annotated:
            return self._annotated(arguments[0], arguments[1:])
        if origin is Literal:
            return {"enum": list(arguments)}
        if origin in (Union, types.UnionType):
            return self._union(arguments)
        if origin in _ARRAYS:
            return {"type": "array", "items": self.schema(arguments[0])}
        if origin in (dict, Mapping):
            return {"type": "object", "additionalProperties": self.schema(arguments[1])}
        raise TypeError(f"{type_!r} has no place on the wire")

    def _annotated(self, type_: Any, notes: Sequence[Any]) -> Schema:
        schema = self.schema(type_)
        for note in notes:
            if not isinstance(note, msgspec.Meta):
                continue
            for name, keyword in _NUMBER_BOUNDS.items():
                if (value := getattr(note, name)) is not None:
                    schema[keyword] = value
            for end in ("min", "max"):
                if (length := getattr(note, f"{end}_length")) is not None:
                    schema[f"{end}{_LENGTHS[schema['type']]}"] = length
            schema |= note.extra_json_schema or {}
        return schema

    def _union(self, variants: Sequence[Any]) -> Schema:
        schemas = [self.schema(v) for v in variants if v is not msgspec.UnsetType]
        if len(schemas) == 1:
            return schemas[0]
        if {} in schemas:
            # Anything, or something: anything.
            return {}
        # A union within a union says no more than its variants do.
        flat: list[Schema] = []
        for schema in schemas:
            inner = schema["anyOf"] if schema.keys() <= {"anyOf", "discriminator"} else [schema]
            flat += [variant for variant in inner if variant not in flat]
        return {"anyOf": flat}

    def _reference(self, struct: type[msgspec.Struct]) -> Schema:
        name = self.name_of(struct)
        known = self._structs.setdefault(name, struct)
        if known is not struct:
            raise TypeError(f"{known!r} and {struct!r} would both be named {name}")
        if name not in self.components:
            self.components[name] = {}  # A struct may hold itself.
            self.components[name] |= self._struct(struct)
        return {"$ref": f"#/components/schemas/{name}"}

    def _struct(self, struct: type[msgspec.Struct]) -> Schema:
        config = struct.__struct_config__
        properties: Schema = {}
        required = []
        if config.tag_field is not None:
            properties[config.tag_field] = {"const": config.tag}
            required.append(config.tag_field)
        for field in structs.fields(struct):
            schema = self.schema(field.type)
            if _is_shown(field.default):
                schema["default"] = field.default
            properties[field.encode_name] = schema
            if field.required:
                required.append(field.encode_name)
        described: Schema = {"title": struct.__name__, "type": "object", "properties": properties}
        # Without a docstring of its own a struct inherits one, which may be somebody else's.
        if text := vars(struct).get("__doc__"):
            described["description"] = " ".join(text.split())
        if required:
            described["required"] = required
        if config.forbid_unknown_fields:
            described["additionalProperties"] = False
        return described


def _is_shown(default: Any) -> typing.TypeGuard[str | float | bool]:
    """Whether a default tells a reader anything: `null` only means that the field is absent."""
    return isinstance(default, (str, int, float))
