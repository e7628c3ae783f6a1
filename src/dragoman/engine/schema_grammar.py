"""JSON Schema as a grammar: every text that the grammar allows is valid against the schema.

The engine has a converter of its own, which silently ignores what it does not know and can be frozen
by what it does. This one is sound instead: a constraint is honoured, or its keyword is refused by name.
It need not be complete. Where a schema leaves a choice that a grammar cannot express, the grammar takes
the part of it that it can: properties come in the order they are declared in, undeclared ones are not
invented, and long repeats are cut. Nothing is ever fetched; nothing recurses without a bound.
Source: https://json-schema.org/draft/2020-12/json-schema-validation
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import Any, cast

import msgspec

from dragoman.engine.grammar import (
    Choice,
    Grammar,
    Literal,
    Node,
    Repeat,
    Rule,
    Sequence,
    choice,
    optional,
    sequence,
    size,
)
from dragoman.engine.json_text import (
    COMMA,
    SHARED_RULES,
    SPACE,
    integers,
    numbers,
)
from dragoman.engine.regex_grammar import MAX_REPEATS, Pattern, UnsupportedPattern, string_of

Schema = dict[str, Any]
"""A schema as decoded JSON: the one place where its shape is nobody's to fix."""

MAX_SCHEMA_BYTES = 128 * 1024
MAX_DEPTH = 64
MAX_SIZE = 60_000
"""What a whole grammar may cost the engine: see `grammar.size`."""
MAX_STEPS = 20_000
"""How much work one schema may make: alternatives with properties beside them multiply."""
MAX_VALUES = 1000
"""How many values an `enum` may list."""
MAX_PROPERTIES = 500

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
_TYPES = ("object", "array", "string", "number", "integer", "boolean", "null")
_KEYWORDS_OF = {
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
_KEYWORDS_OF["integer"] = _KEYWORDS_OF["number"]

_DAYS = (
    "(((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01]))|((0[469]|11)-(0[1-9]|[12][0-9]|30))"
    "|(02-(0[1-9]|1[0-9]|2[0-8])))"
)
_TIME = "([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\\.[0-9]{1,6})?(Z|[+\\-](0[0-9]|1[0-4]):[0-5]0)"
FORMATS = {
    "date": f"^[12][0-9]{{3}}-{_DAYS}$",
    "time": f"^{_TIME}$",
    "date-time": f"^[12][0-9]{{3}}-{_DAYS}T{_TIME}$",
    "uuid": "^[0-9a-f]{8}-[0-9a-f]{4}-[1-5][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$",
    "ipv4": "^((25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])\\.){3}"
    "(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])$",
    "email": "^[a-z0-9]{1,20}([._\\-][a-z0-9]{1,20}){0,2}@[a-z0-9]{1,20}(\\.[a-z]{2,10}){1,2}$",
    "uri": "^https?://[a-z0-9]{1,30}(\\.[a-z0-9]{1,30}){1,3}(/[a-zA-Z0-9._\\-]{1,40}){0,5}/?$",
}
"""Forms that are worth the trouble. Any other `format` is an annotation, as the standard has it:
https://json-schema.org/draft/2020-12/json-schema-validation#name-format-annotation-vocabular"""


class UnsupportedSchema(ValueError):
    """`path` leads from the schema's root to what cannot be honoured; `reason` follows its name."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path} {reason}".strip())
        self.path = path
        self.reason = reason


class _Unsatisfiable(UnsupportedSchema):
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


def compile_schema(schema: Schema | bool) -> Grammar:
    """The grammar of compact JSON texts that are valid against `schema`."""
    rules = schema_rules(schema, "root")
    return complete_grammar(rules)


def schema_rules(schema: Schema | bool, name: str) -> dict[str, Node]:
    """Rules for `schema` under `name`, without those of plain JSON that they refer to."""
    rules: dict[str, Node] = {}
    root = _Compiler(schema, name, rules).root()
    return {name: root, **rules}


def complete_grammar(rules: dict[str, Node]) -> Grammar:
    """The rules that `root` needs, those of plain JSON added; raises where the whole costs too much."""
    used: dict[str, Node] = {}
    needed = ["root"]
    while needed:
        name = needed.pop()
        if name in used:
            continue
        node = rules.get(name) or SHARED_RULES.get(name)
        if node is None:
            raise UnsupportedSchema("", "refers to a part that allows no value at all")
        used[name] = node
        needed += _named_rules((node,))
    if sum(map(size, used.values())) > MAX_SIZE:
        raise UnsupportedSchema("", "is too large; use fewer properties, values or repeats")
    return Grammar(used)


def _named_rules(nodes: Iterable[Node]) -> Iterator[str]:
    for node in nodes:
        if isinstance(node, Rule):
            yield node.name
        elif isinstance(node, Repeat):
            yield from _named_rules((node.item,))
        elif isinstance(node, Sequence | Choice):
            yield from _named_rules(node.items)


class _Compiler:
    def __init__(self, root: Schema | bool, prefix: str, rules: dict[str, Node]) -> None:
        self._root = root
        self._prefix = prefix
        self._rules = rules
        self._by_pointer: dict[str, str] = {}
        self._spent = 0
        self._unfolding = 0

    def root(self) -> Node:
        return self._value(self._root, "", 0, frozenset())

    # --- Any schema ---

    def _value(self, schema: object, path: str, depth: int, chasing: frozenset[str]) -> Node:
        """`chasing`: the references followed since the last bracket, to find those that turn in
        circles."""
        if schema is True:
            return Rule("value")
        if schema is False:
            raise _Unsatisfiable(path, "allows no value at all")
        if not isinstance(schema, dict):
            raise UnsupportedSchema(path, "must be a schema: an object or a boolean")
        if depth > MAX_DEPTH:
            raise UnsupportedSchema(path, f"is nested more than {MAX_DEPTH} deep")
        self._spend(1, path)
        self._refuse_foreign(schema, path)
        if "$ref" in schema:
            return self._reference(schema, path, depth, chasing)
        if "allOf" in schema:
            return self._value(self._merged_all_of(schema, path), path, depth + 1, chasing)
        if "const" in schema or "enum" in schema:
            return self._listed(schema, path)
        for keyword in ("anyOf", "oneOf"):
            if keyword in schema:
                return self._alternatives(schema, keyword, path, depth, chasing)
        return self._typed(schema, path, depth)

    @staticmethod
    def _refuse_foreign(schema: Schema, path: str) -> None:
        # Any other unknown keyword is an annotation by the standard, and constrains nothing.
        for keyword in schema.keys() & _FOREIGN:
            raise UnsupportedSchema(
                _join(path, keyword), "is not supported by this model; leave it out"
            )

    def _reference(self, schema: Schema, path: str, depth: int, chasing: frozenset[str]) -> Node:
        pointer = schema["$ref"]
        path = _join(path, "$ref")
        if not _is_local(pointer):
            raise UnsupportedSchema(path, "must point into the schema itself: '#/…'")
        rest = {key: value for key, value in schema.items() if key not in ANNOTATIONS | {"$ref"}}
        target = self._resolve(pointer, path)
        if pointer in chasing:
            raise UnsupportedSchema(path, "refers to itself")
        if rest:
            merged = self._merge(self._plain(target, path), rest, path)
            return self._value(merged, path, depth + 1, chasing | {pointer})
        name = self._by_pointer.get(pointer)
        if name is None:
            name = self._by_pointer[pointer] = self._new_rule()
            # The path that is told is where the reference leads, which is what must be mended.
            where = pointer[2:].replace("/", ".")
            try:
                self._rules[name] = self._value(target, where, depth + 1, chasing | {pointer})
            except _Unsatisfiable:
                del self._by_pointer[pointer]
                raise
        return Rule(name)

    def _new_rule(self) -> str:
        self._spend(1, "")
        return f"{self._prefix}-{self._spent}"

    def _resolve(self, pointer: str, path: str) -> object:
        """Source: https://www.rfc-editor.org/rfc/rfc6901"""
        found: object = self._root
        for part in pointer.split("/")[1:]:
            key = part.replace("~1", "/").replace("~0", "~").replace("%25", "%")
            if isinstance(found, dict) and key in found:
                found = found[key]
            elif isinstance(found, list) and key.isdecimal() and int(key) < len(found):
                found = found[int(key)]
            else:
                raise UnsupportedSchema(path, "points to nothing")
        return found

    def _plain(self, schema: object, path: str) -> Schema:
        """`schema` as an object without references or `allOf` at its top."""
        self._unfolding += 1
        if self._unfolding > MAX_DEPTH:
            raise UnsupportedSchema(path, "refers to itself, or is nested too deeply")
        while isinstance(schema, dict) and ("$ref" in schema or "allOf" in schema):
            self._spend(1, path)
            if "$ref" not in schema:
                schema = self._merged_all_of(schema, path)
                continue
            pointer = schema["$ref"]
            if not _is_local(pointer):
                raise UnsupportedSchema(
                    _join(path, "$ref"), "must point into the schema itself: '#/…'"
                )
            rest = {k: v for k, v in schema.items() if k not in ANNOTATIONS | {"$ref"}}
            target = self._resolve(pointer, path)
            schema = self._merge(self._plain(target, path), rest, path) if rest else target
        self._unfolding -= 1
        if schema is True:
            return {}
        if schema is False:
            raise _Unsatisfiable(path, "allows no value at all")
        if not isinstance(schema, dict):
            raise UnsupportedSchema(path, "must be a schema: an object or a boolean")
        return cast(Schema, schema)

    # --- Combinations ---

    def _merged_all_of(self, schema: Schema, path: str) -> Schema:
        parts = schema["allOf"]
        path = _join(path, "allOf")
        if not isinstance(parts, list) or not parts:
            raise UnsupportedSchema(path, "must be a list of schemas")
        self._spend(len(parts), path)
        merged = {k: v for k, v in schema.items() if k not in ANNOTATIONS | {"allOf"}}
        for i, part in enumerate(parts):
            merged = self._merge(merged, self._plain(part, f"{path}[{i}]"), f"{path}[{i}]")
        return merged

    def _spend(self, count: int, path: str) -> None:
        self._spent += count
        if self._spent > MAX_STEPS:
            raise UnsupportedSchema(path, "is too large; use fewer alternatives or references")

    def _merge(self, one: Schema, other: Schema, path: str) -> Schema:
        """A schema that allows what both allow."""
        self._spend(1, path)
        self._refuse_foreign(one, path)
        self._refuse_foreign(other, path)
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
            elif merged[key] != value:
                merged[key] = self._merged_value(key, merged[key], value, path)
        if closed and "properties" in merged:
            allowed = set.intersection(*closed)
            merged["properties"] = {k: v for k, v in merged["properties"].items() if k in allowed}
        return merged

    def _merged_value(self, key: str, one: Any, other: Any, path: str) -> Any:
        path = _join(path, key)
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
            return [value for value in one if value in other]
        if key in ("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties"):
            return max(_number(one, path), _number(other, path))
        if key in ("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties"):
            return min(_number(one, path), _number(other, path))
        if key == "additionalProperties" and False in (one, other):
            return False
        if key == "additionalProperties" and True in (one, other):
            return other if one is True else one
        raise UnsupportedSchema(path, "cannot be combined with the one beside it")

    @staticmethod
    def _common_types(one: object, other: object, path: str) -> list[str]:
        left, right = _type_list(one, path), _type_list(other, path)
        common = [kind for kind in left if kind in right]
        if {"number", "integer"} <= {*left, *right} and "integer" not in common:
            common.append("integer")
        if not common:
            raise _Unsatisfiable(path, "leaves no type that both allow")
        return list(dict.fromkeys(common))

    def _alternatives(
        self, schema: Schema, keyword: str, path: str, depth: int, chasing: frozenset[str]
    ) -> Node:
        alternatives = schema[keyword]
        here = _join(path, keyword)
        if not isinstance(alternatives, list) or not alternatives:
            raise UnsupportedSchema(here, "must be a list of schemas")
        self._spend(len(alternatives), here)
        if keyword == "oneOf" and not self._are_apart(alternatives, here):
            raise UnsupportedSchema(
                here,
                "has alternatives that overlap, which cannot be kept apart; use anyOf, or give each "
                "a required property with a const of its own",
            )
        rest = {k: v for k, v in schema.items() if k not in ANNOTATIONS | {keyword}}
        nodes = []
        missing: _Unsatisfiable | None = None
        for i, alternative in enumerate(alternatives):
            place = f"{here}[{i}]"
            try:
                combined: object = alternative
                if rest:
                    combined = self._merge(self._plain(alternative, place), rest, place)
                nodes.append(self._value(combined, place, depth + 1, chasing))
            except _Unsatisfiable as error:
                missing = error
        if not nodes:
            raise missing or UnsupportedSchema(here, "allows no value at all")
        return choice(nodes)

    def _are_apart(self, alternatives: list[object], path: str) -> bool:
        """Whether no value can be valid against two of them."""
        plain = [self._plain(alternative, path) for alternative in alternatives]
        self._spend(len(plain) ** 2 // 8, path)
        return all(
            self._are_two_apart(one, other, path)
            for i, one in enumerate(plain)
            for other in plain[i + 1 :]
        )

    def _are_two_apart(self, one: Schema, other: Schema, path: str) -> bool:
        left, right = _values_of(one), _values_of(other)
        if left is not None and right is not None:
            return not _overlap(left, right)
        kinds = set(_kinds_of(one, path)), set(_kinds_of(other, path))
        for each in kinds:
            if "integer" in each:
                each.add("number")
        common = kinds[0] & kinds[1]
        if not common:
            return True
        if common != {"object"}:
            return False
        required = set(one.get("required", ())) & set(other.get("required", ()))
        for name in required:
            first = one.get("properties", {}).get(name)
            second = other.get("properties", {}).get(name)
            if isinstance(first, dict) and isinstance(second, dict):
                left, right = _values_of(first), _values_of(second)
                if left is not None and right is not None and not _overlap(left, right):
                    return True
        return False

    # --- Values ---

    def _listed(self, schema: Schema, path: str) -> Node:
        """`const` and `enum`: those of the values that the schema's other keywords allow too."""
        values = _values_of(schema)
        assert values is not None
        if not isinstance(schema.get("enum", []), list):
            raise UnsupportedSchema(_join(path, "enum"), "must be a list of values")
        if len(values) > MAX_VALUES:
            raise UnsupportedSchema(_join(path, "enum"), f"must list at most {MAX_VALUES} values")
        self._spend(len(values), path)
        rest = {k: v for k, v in schema.items() if k not in ANNOTATIONS | {"enum", "const"}}
        if rest.keys() & {"anyOf", "oneOf", "properties", "items", "prefixItems"}:
            raise UnsupportedSchema(path, "combines a list of values with other schemas")
        if rest.keys() - {"type"}:
            values = [value for value in values if self._is_valid(value, rest, path)]
        elif "type" in rest:
            kinds = _type_list(rest["type"], path)
            values = [value for value in values if _is_of(value, kinds)]
        if not values:
            raise _Unsatisfiable(path, "allows no value at all")
        return choice(Literal(_text_of(value)) for value in values)

    @staticmethod
    def _is_valid(value: object, schema: Schema, path: str) -> bool:
        import jsonschema_rs  # noqa: PLC0415  # not on the way to the server's start

        try:
            return bool(jsonschema_rs.is_valid(schema, value))
        except (ValueError, TypeError) as error:
            raise UnsupportedSchema(path, "is not a valid schema") from error

    def _typed(self, schema: Schema, path: str, depth: int) -> Node:
        kinds = _kinds_of(schema, path)
        nodes = []
        missing: _Unsatisfiable | None = None
        for kind in kinds:
            try:
                nodes.append(self._of_type(kind, schema, path, depth))
            except _Unsatisfiable as error:
                missing = error
        if not nodes:
            raise missing or UnsupportedSchema(path, "allows no value at all")
        return choice(nodes)

    def _of_type(self, kind: str, schema: Schema, path: str, depth: int) -> Node:
        if kind == "object":
            return self._object(schema, path, depth)
        if kind == "array":
            return self._array(schema, path, depth)
        if kind == "string":
            return self._string(schema, path)
        if kind in ("number", "integer"):
            return self._number(kind, schema, path)
        return Rule(kind)

    # --- Objects ---

    def _object(self, schema: Schema, path: str, depth: int) -> Node:
        if schema.get("patternProperties"):
            raise UnsupportedSchema(
                _join(path, "patternProperties"), "is not supported by this model; leave it out"
            )
        properties = schema.get("properties", {})
        if not isinstance(properties, dict):
            raise UnsupportedSchema(_join(path, "properties"), "must be an object")
        required = schema.get("required", [])
        if not isinstance(required, list) or not all(isinstance(name, str) for name in required):
            raise UnsupportedSchema(_join(path, "required"), "must be a list of names")
        required = list(dict.fromkeys(required))
        if len(properties) + len(required) > MAX_PROPERTIES:
            raise UnsupportedSchema(
                _join(path, "properties"), f"must name at most {MAX_PROPERTIES} properties"
            )
        least = _count(schema, "minProperties", path) or 0
        most = _count(schema, "maxProperties", path)
        others = schema.get("additionalProperties", True)
        if not properties and not required:
            return self._map(others, least, most, path, depth)
        missing = [name for name in required if name not in properties]
        if missing and False in (others, schema.get("unevaluatedProperties")):
            raise _Unsatisfiable(
                _join(path, "required"), f"names '{missing[0][:60]}', which properties does not"
            )
        members = [
            *properties.items(),
            *((name, others) for name in missing),
        ]
        return self._members(members, set(required), (least, most), path, depth)

    def _members(
        self,
        members: list[tuple[str, object]],
        required: set[str],
        bounds: tuple[int, int | None],
        path: str,
        depth: int,
    ) -> Node:
        least, most = bounds
        nodes: list[tuple[str, Node]] = []
        for name, schema in members:
            try:
                value = self._value(
                    schema, _join(path, f"properties.{name[:60]}"), depth + 1, _NONE
                )
            except _Unsatisfiable:
                if name in required:
                    raise
                continue
            nodes.append((name, sequence(Literal(_text_of(name) + ":"), SPACE, value)))
        # More than are required are needed, or fewer than are declared are allowed: decide which.
        for name, _ in nodes:
            if len(required) < least:
                required = required | {name}
        if len(required) < least or (most is not None and len(required) > most):
            raise _Unsatisfiable(path, "asks for a number of properties that cannot be had")
        room = None if most is None else most - len(required)
        kept: list[tuple[Node, bool]] = []
        for name, node in nodes:
            if name in required:
                kept.append((node, True))
            elif room is None or room > 0:
                kept.append((node, False))
                room = None if room is None else room - 1
        return sequence(Literal("{"), self._listing(kept), Literal("}"))

    def _listing(self, members: list[tuple[Node, bool]]) -> Node:
        """Members in order, any of the optional ones left out, and commas only in between."""
        start: Node | None = None
        tail: Node | None = None
        for member, is_required in reversed(members):
            rule = self._rule(member)
            first = rule if tail is None else sequence(rule, tail)
            if is_required:
                start = first
            else:
                start = self._rule(optional(first) if start is None else choice([first, start]))
            more: Node = sequence(COMMA, rule)
            more = more if is_required else optional(more)
            # A rule of its own, lest every start repeat it.
            tail = self._rule(more if tail is None else sequence(more, tail))
        return start or sequence()

    def _rule(self, node: Node) -> Rule:
        rule = Rule(self._new_rule())
        self._rules[rule.name] = node
        return rule

    def _map(self, others: object, least: int, most: int | None, path: str, depth: int) -> Node:
        """An object of any names; the grammar cannot keep a name from coming twice."""
        if least > 1:
            raise UnsupportedSchema(
                _join(path, "minProperties"), "is not supported by this model without properties"
            )
        if others is False or most == 0:
            if least:
                raise _Unsatisfiable(path, "allows no properties and asks for some")
            return Literal("{}")
        if others is True and least == 0 and most is None:
            return Rule("object")
        try:
            value = self._value(others, _join(path, "additionalProperties"), depth + 1, _NONE)
        except _Unsatisfiable:
            if least:
                raise
            return Literal("{}")
        rule = self._rule(sequence(Rule("string"), Literal(":"), SPACE, value))
        # Twice the same name must not matter: the last one counts, and all are valid.
        return sequence(Literal("{"), _separated(rule, least, most), Literal("}"))

    # --- Arrays ---

    def _array(self, schema: Schema, path: str, depth: int) -> Node:
        if schema.get("uniqueItems"):
            raise UnsupportedSchema(
                _join(path, "uniqueItems"), "is not supported by this model; leave it out"
            )
        least = _count(schema, "minItems", path) or 0
        most = _count(schema, "maxItems", path)
        first = schema.get("prefixItems", [])
        rest: object = schema.get("items", True)
        if isinstance(rest, list):  # before 2020-12
            first, rest = rest, schema.get("additionalItems", True)
        if not isinstance(first, list):
            raise UnsupportedSchema(_join(path, "prefixItems"), "must be a list of schemas")
        if most is not None and least > most:
            raise _Unsatisfiable(path, "asks for more items than it allows")
        if max(least, len(first)) > MAX_REPEATS:
            raise UnsupportedSchema(_join(path, "minItems"), f"must be at most {MAX_REPEATS}")
        if first:
            return self._tuple(first, rest, (least, most), path, depth)
        if rest is True and least == 0 and most is None:
            return Rule("array")
        if most == 0:
            return Literal("[]")
        try:
            item = self._value(rest, _join(path, "items"), depth + 1, _NONE)
        except _Unsatisfiable:
            if least:
                raise
            return Literal("[]")
        return sequence(Literal("["), _separated(self._rule(item), least, most), Literal("]"))

    def _tuple(
        self,
        first: list[object],
        rest: object,
        bounds: tuple[int, int | None],
        path: str,
        depth: int,
    ) -> Node:
        """The leading items all stand there, as far as the bounds allow."""
        least, most = bounds
        count = len(first) if most is None else min(len(first), most)
        items = [
            self._value(schema, _join(path, f"prefixItems[{i}]"), depth + 1, _NONE)
            for i, schema in enumerate(first[:count])
        ]
        nodes: list[Node] = []
        for i, item in enumerate(items):
            nodes += [COMMA, item] if i else [item]
        needed = max(0, least - count)
        room = None if most is None else most - count
        if needed or (room != 0 and rest not in (True, False)):
            other = self._value(rest, _join(path, "items"), depth + 1, _NONE)
            rule = self._rule(sequence(COMMA, other))
            nodes.append(Repeat(rule, needed, None if room is None else min(room, MAX_REPEATS)))
        return sequence(Literal("["), *nodes, Literal("]"))

    # --- Scalars ---

    def _string(self, schema: Schema, path: str) -> Node:
        least = _count(schema, "minLength", path) or 0
        most = _count(schema, "maxLength", path)
        if least > MAX_REPEATS:
            raise UnsupportedSchema(_join(path, "minLength"), f"must be at most {MAX_REPEATS}")
        if most is not None and least > most:
            raise _Unsatisfiable(path, "asks for a longer string than it allows")
        if "pattern" in schema:
            return self._patterned(schema["pattern"], least, most, _join(path, "pattern"))
        form = FORMATS.get(str(schema.get("format")))
        if form is not None and not least and most is None:
            return string_of(Pattern(form))
        if not least and most is None:
            return Rule("string")
        chars = Repeat(Rule("char"), least, None if most is None else min(most, MAX_REPEATS))
        return sequence(Literal('"'), chars, Literal('"'))

    @staticmethod
    def _patterned(text: object, least: int, most: int | None, path: str) -> Node:
        if not isinstance(text, str):
            raise UnsupportedSchema(path, "must be a string")
        try:
            pattern = Pattern(text)
        except UnsupportedPattern as error:
            raise UnsupportedSchema(path, str(error)) from None
        if pattern.shortest < least or (
            most is not None and (pattern.longest is None or pattern.longest > most)
        ):
            raise UnsupportedSchema(
                path, "allows lengths that minLength or maxLength do not; put the bound into it"
            )
        return string_of(pattern)

    def _number(self, kind: str, schema: Schema, path: str) -> Node:
        low, above = _bound(schema, "minimum", "exclusiveMinimum", path, max)
        high, below = _bound(schema, "maximum", "exclusiveMaximum", path, min)
        step = schema.get("multipleOf")
        if step is not None:
            return self._multiples(step, (low, above), (high, below), path)
        if low is None and high is None:
            return Rule(kind)
        node: Node | None
        if kind == "number":
            node = numbers(low, high, above=above, below=below)
        else:
            node = integers(_ceiling(low, above), _floor(high, below))
        if node is None:
            raise _Unsatisfiable(path, "leaves no number between its bounds")
        return node

    @staticmethod
    def _multiples(
        step: object,
        low: tuple[Fraction | None, bool],
        high: tuple[Fraction | None, bool],
        path: str,
    ) -> Node:
        """All of them, where they are integers and few; there is no grammar of division."""
        path = _join(path, "multipleOf")
        value = _number(step, path)
        first, last = _ceiling(*low), _floor(*high)
        if value == 1:
            return integers(first, last) or Rule("integer")
        if not isinstance(value, int) or value < 1 or first is None or last is None:
            raise UnsupportedSchema(
                path, "is only supported as an integer, with both a minimum and a maximum"
            )
        start = -(-first // value)
        end = last // value
        if end - start >= MAX_VALUES:
            raise UnsupportedSchema(path, f"leaves more than {MAX_VALUES} numbers to choose from")
        if end < start:
            raise _Unsatisfiable(path, "leaves no number between the bounds")
        return choice(Literal(str(n * value)) for n in range(start, end + 1))


_NONE: frozenset[str] = frozenset()
_FOREIGN = frozenset(
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


def _is_local(pointer: object) -> bool:
    return isinstance(pointer, str) and (pointer == "#" or pointer.startswith("#/"))


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _separated(rule: Rule, least: int, most: int | None) -> Node:
    """`rule` between `least` and `most` times, with commas."""
    if most is not None:
        most = min(most, MAX_REPEATS)
    more = Repeat(sequence(COMMA, rule), max(0, least - 1), None if most is None else most - 1)
    node = sequence(rule, more)
    return node if least else optional(node)


def _type_list(value: object, path: str) -> list[str]:
    kinds = value if isinstance(value, list) else [value]
    if not kinds or not all(isinstance(kind, str) and kind in _TYPES for kind in kinds):
        raise UnsupportedSchema(_join(path, "type"), f"must be one or more of {', '.join(_TYPES)}")
    return list(dict.fromkeys(kinds))


def _kinds_of(schema: Schema, path: str) -> list[str]:
    """The types that are written: those named, or those whose keywords the schema uses, or any.

    A schema without `type` allows every other type too; nobody who writes `properties` means that.
    """
    if "type" in schema:
        kinds = _type_list(schema["type"], path)
        return [kind for kind in kinds if not (kind == "integer" and "number" in kinds)]
    used = [
        kind
        for kind in ("object", "array", "string", "number")
        if _KEYWORDS_OF[kind] & schema.keys()
    ]
    return used or ["object", "array", "string", "number", "boolean", "null"]


def _values_of(schema: Schema) -> list[Any] | None:
    if "const" in schema:
        values = schema.get("enum", [schema["const"]])
        return [schema["const"]] if schema["const"] in values else []
    values = schema.get("enum")
    return values if isinstance(values, list) else None if values is None else []


def _overlap(one: list[Any], other: list[Any]) -> bool:
    return any(value in other for value in one)


def _is_of(value: object, kinds: list[str]) -> bool:
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


def _text_of(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _number(value: object, path: str) -> int | float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise UnsupportedSchema(path, "must be a number")
    if abs(value) > 1e15:
        raise UnsupportedSchema(path, "must be between -10^15 and 10^15")
    return value


def _count(schema: Schema, keyword: str, path: str) -> int | None:
    value = schema.get(keyword)
    if value is None:
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise UnsupportedSchema(_join(path, keyword), "must be a whole number, 0 or more")
    return value


def _bound(
    schema: Schema, keyword: str, exclusive: str, path: str, tighter: Any
) -> tuple[Fraction | None, bool]:
    """The tighter of both bounds, and whether it is itself left out.

    Until draft 4, the exclusive form was a boolean beside the other.
    """
    plain, strict = schema.get(keyword), schema.get(exclusive)
    inclusive = None if plain is None else Fraction(str(_number(plain, _join(path, keyword))))
    if isinstance(strict, bool) or strict is None:
        return inclusive, bool(strict) and inclusive is not None
    beyond = Fraction(str(_number(strict, _join(path, exclusive))))
    if inclusive is None or tighter(inclusive, beyond) == beyond:
        return beyond, True
    return inclusive, False


def _ceiling(bound: Fraction | None, above: bool) -> int | None:
    if bound is None:
        return None
    value = -(-bound // 1)
    return value + 1 if above and value == bound else value


def _floor(bound: Fraction | None, below: bool) -> int | None:
    if bound is None:
        return None
    value = bound // 1
    return value - 1 if below and value == bound else value
