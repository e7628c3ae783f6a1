"""Whatever a schema's grammar allows is valid; whatever it cannot honour is refused by name."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.engine.grammar_samples import Sampler

from dragoman.engine.schema_grammar import compile_schema
from dragoman.engine.schema_text import UnsupportedSchema, read_schema

HONOURED: list[Any] = [
    True,
    {},
    {"type": "object"},
    {
        "type": "object",
        "properties": {
            "a": {"type": "integer", "minimum": 0, "maximum": 17},
            "b": {"type": "string"},
            "c": {
                "type": "array",
                "items": {"type": "number", "minimum": 0.25, "exclusiveMaximum": 3},
                "minItems": 1,
                "maxItems": 3,
            },
        },
        "required": ["b"],
        "additionalProperties": False,
    },
    {
        "type": "object",
        "properties": {name: {"const": name} for name in "abcd"},
        "minProperties": 2,
        "maxProperties": 3,
    },
    {
        "$defs": {
            "tree": {
                "type": "object",
                "properties": {
                    "value": {"type": "integer"},
                    "leaves": {
                        "type": "array",
                        "items": {"$ref": "#/$defs/tree"},
                        "maxItems": 2,
                    },
                },
                "required": ["value"],
            }
        },
        "$ref": "#/$defs/tree",
    },
    {
        "oneOf": [
            {"properties": {"t": {"const": "a"}}, "required": ["t"], "type": "object"},
            {"properties": {"t": {"const": "b"}}, "required": ["t"], "type": "object"},
            {"type": "null"},
        ]
    },
    {
        "type": "object",
        "properties": {"kind": {"type": "string"}},
        "required": ["kind"],
        "anyOf": [
            {"properties": {"kind": {"const": "x"}}},
            {"properties": {"kind": {"enum": ["y", "z"]}}, "required": ["kind"]},
        ],
    },
    {
        "allOf": [
            {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]},
            {
                "properties": {
                    "b": {"type": "integer", "multipleOf": 5, "minimum": 1, "maximum": 50}
                },
                "required": ["b"],
            },
        ]
    },
    {"type": ["string", "null", "integer"], "enum": ["a", None, 3, 4.5]},
    {"enum": ["short", "much too long"], "type": "string", "maxLength": 5},
    {"type": "array", "prefixItems": [{"type": "integer"}, {"type": "string"}], "maxItems": 2},
    {"type": "array", "prefixItems": [{"type": "integer"}], "items": False, "minItems": 1},
    {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "type": "array",
        "items": [{"type": "integer"}],
        "additionalItems": {"type": "null"},
    },
    {"type": "object", "additionalProperties": {"type": "integer", "minimum": -5}},
    {"type": "number", "minimum": -2.5, "maximum": 10},
    {"type": "number", "exclusiveMinimum": 0.001, "maximum": 0.0025},
    {"type": "number", "minimum": 0, "maximum": 1},
    {"type": "integer", "exclusiveMinimum": 5},
    {"type": "integer", "maximum": -7},
    {"type": "integer", "minimum": 99, "maximum": 10001},
    {"type": "string", "minLength": 2, "maxLength": 5},
    {"type": "string", "maxLength": 100_000_000},
    {"type": "string", "pattern": "^[A-Z]{2}-\\d{1,3}$"},
    {"type": "string", "pattern": "ab+c?"},
    {"type": "string", "pattern": '^(?:\\w+[ "\\\\]){1,4}\\S$|^x$'},
    {"type": "string", "pattern": "^[^a-z\\n]+\\u00e9\\t$", "minLength": 2},
    *({"type": "string", "format": form} for form in ("date", "time", "date-time", "uuid")),
    *({"type": "string", "format": form} for form in ("ipv4", "email", "uri", "unheard-of")),
]


@pytest.mark.parametrize("schema", HONOURED, ids=lambda schema: json.dumps(schema)[:60])
def test_every_text_of_the_grammar_is_valid_against_the_schema(schema: Any) -> None:
    validator = jsonschema_rs.validator_for(
        schema, validate_formats=True, ignore_unknown_formats=True
    )
    sampler = Sampler(compile_schema(schema), seed=1)
    for _ in range(60):
        text = sampler.text()
        assert validator.is_valid(json.loads(text)), text


REFUSED: list[tuple[Any, str, str]] = [
    ({"not": {}}, "not", "leave it out"),
    ({"properties": {"a": {"if": {}}}}, "properties.a.if", "leave it out"),
    ({"type": "array", "uniqueItems": True}, "uniqueItems", "leave it out"),
    ({"type": "object", "patternProperties": {"a": {}}}, "patternProperties", "leave it out"),
    ({"$ref": "https://example.com/schema.json"}, "$ref", "into the schema itself"),
    ({"$ref": "#/$defs/none"}, "$ref", "points to nothing"),
    ({"$ref": "#"}, "$ref", "refers to itself"),
    ({"anyOf": [{"$ref": "#"}, {"type": "null"}]}, "anyOf[0].$ref", "refers to itself"),
    ({"oneOf": [{"minLength": 2}, {"maximum": 3}]}, "oneOf", "use anyOf"),
    ({"type": "string", "pattern": "(?=x)"}, "pattern", "look-around"),
    ({"type": "string", "pattern": "^a{1,1000000}b{2,1}$"}, "pattern", "more than 2000 times"),
    ({"type": "string", "pattern": "^((a{0,500}){0,500}){0,500}$"}, "pattern", "may be empty"),
    ({"type": "string", "pattern": "^((a{1,99}){1,99}){1,99}$"}, "pattern", "repeats too much"),
    ({"type": "string", "pattern": "(" * 40 + "a" + ")" * 40}, "pattern", "nested too deeply"),
    ({"type": "string", "pattern": "^[a-z]+$", "maxLength": 3}, "pattern", "maxLength"),
    ({"type": "string", "minLength": 3000}, "minLength", "at most 2000"),
    ({"type": "number", "multipleOf": 0.1}, "multipleOf", "integer"),
    ({"type": "integer", "minimum": 3, "maximum": 2}, "", "no number"),
    ({"enum": []}, "", "no value"),
    ({"enum": list(range(2000))}, "enum", "at most 1000"),
    ({"type": "strin"}, "type", "one or more of"),
    ({"properties": []}, "properties", "must be an object"),
    ({"required": "a"}, "required", "list of names"),
    ({"anyOf": []}, "anyOf", "list of schemas"),
    (False, "", "no value"),
    (
        {"items": {"type": "null"}, "allOf": [{"prefixItems": [{"type": "string"}]}]},
        "allOf[0]",
        "prefixItems",
    ),
]


@pytest.mark.parametrize(("schema", "path", "words"), REFUSED, ids=lambda value: str(value)[:40])
def test_what_cannot_be_honoured_is_refused_by_its_place(
    schema: Any, path: str, words: str
) -> None:
    with pytest.raises(UnsupportedSchema, match=words) as refused:
        compile_schema(schema)
    assert refused.value.path == path


def test_an_endless_all_of_is_refused() -> None:
    with pytest.raises(UnsupportedSchema, match="refers to itself"):
        compile_schema({"allOf": [{"$ref": "#"}]})


def test_alternatives_that_multiply_are_refused_before_they_fill_the_memory() -> None:
    schema: Any = {"type": "string"}
    for name in "abcdefghijklmnopqrstuvwxyz":
        schema = {
            "type": "object",
            "properties": {name: schema},
            "anyOf": [{"required": [name]}, {"minProperties": 1}],
        }
    with pytest.raises(UnsupportedSchema, match="too large"):
        compile_schema(schema)


@pytest.mark.parametrize(
    "raw", [b'{"a":' * 50_000, b"[" * 100_000, b'{"items":' * 70 + b"true" + b"}" * 70]
)
def test_deep_nesting_is_refused_when_it_is_read(raw: bytes) -> None:
    with pytest.raises(UnsupportedSchema, match=r"nested|bytes|JSON"):
        read_schema(raw)


def _schemas(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    small = st.integers(0, 4)
    several = st.lists(inner, min_size=1, max_size=3)
    names = st.sampled_from("abcd")
    return st.fixed_dictionaries(
        {},
        optional={
            "type": st.sampled_from(["object", "array", "string", "number", "integer", "null"])
            | st.just(["string", "null"]),
            "properties": st.dictionaries(names, inner, max_size=3),
            "required": st.lists(names, max_size=2, unique=True),
            "additionalProperties": inner,
            "minProperties": small,
            "maxProperties": small,
            "items": inner,
            "prefixItems": several,
            "minItems": small,
            "maxItems": small,
            "pattern": st.sampled_from(["^a+$", "b", "^[x-z]{2}$", "^(a|b)*c?$"]),
            "minLength": small,
            "maxLength": small,
            "minimum": st.sampled_from([-1, 0, 2.5]),
            "exclusiveMaximum": st.sampled_from([3, 5, 2.75]),
            "enum": st.lists(st.sampled_from([1, "a", None, True, 2.5, {"a": 1}]), max_size=3),
            "const": st.sampled_from([1, True, "a"]),
            "anyOf": several,
            "oneOf": several,
            "allOf": several,
        },
    )


@settings(max_examples=150, deadline=None)
@given(
    st.recursive(st.booleans() | st.just({"type": "string"}), _schemas, max_leaves=5),
    st.integers(0, 10_000),
)
def test_any_schema_is_honoured_or_refused(schema: Any, seed: int) -> None:
    try:
        grammar = compile_schema(schema)
    except UnsupportedSchema:
        return
    validator = jsonschema_rs.validator_for(schema)
    sampler = Sampler(grammar, seed)
    for _ in range(4):
        text = sampler.text()
        assert validator.is_valid(json.loads(text)), text


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    [
                        "type",
                        "items",
                        "enum",
                        "anyOf",
                        "properties",
                        "required",
                        "$ref",
                        "const",
                        "allOf",
                        "minimum",
                        "pattern",
                        "maxItems",
                    ]
                ),
                inner,
                max_size=3,
            )
        ),
        max_leaves=8,
    )
)
def test_what_is_no_schema_is_refused_and_never_breaks_anything(value: Any) -> None:
    with suppress(UnsupportedSchema):
        compile_schema(value)
